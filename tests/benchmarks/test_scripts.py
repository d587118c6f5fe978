"""Every benchmark starts, and each part of it works on a tiny input."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import measure_finder
import measure_recovery
from srn.datasets.pack import pack_faces
from srn.datasets.sample import Sample
from srn.face.geometry import Box, CropSpec
from srn.face.localizer import Localizer
from srn.face.scheme import IBUG_68
from srn.inference.box_fit import BoxFit
from srn.inference.face_finder import FoundFace
from srn.inference.landmarker import FaceLandmarker
from srn.inference.runtime import OnnxLocalizer
from srn.media.pictures import write_image
from srn.media.pts import write_pts

SCRIPTS = sorted(
    path.stem
    for path in (Path(__file__).parents[2] / "benchmarks").glob("*.py")
    if 'if __name__ == "__main__"' in path.read_text(encoding="utf-8")
)


def write_face(stem: Path, landmarks: np.ndarray, seed: int = 0) -> None:
    """A picture of noise with a face's annotation beside it."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    write_image(stem.with_suffix(".jpg"), np.random.default_rng(seed).integers(0, 256, (150, 150, 3), dtype=np.uint8))
    write_pts(stem.with_suffix(".pts"), landmarks)


@pytest.fixture
def data(tmp_path: Path, face: np.ndarray) -> Path:
    """Three test faces of 300W with their boxes, and a masked one."""
    points = face * 60 + [75, 75]
    for number, subset in enumerate(("helen/testset", "lfpw/testset", "ibug")):
        write_face(tmp_path / "300W" / subset / f"face{number}", points, number)
        corners = Box.around(points).as_array()
        boxes = tmp_path / "300W" / "bbs" / subset
        boxes.mkdir(parents=True)
        write_pts(boxes / f"face{number}.pts", corners[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2))
    write_face(tmp_path / "masked_300W" / "ibug" / "face2", points, 2)
    return tmp_path


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_script_explains_itself(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setattr(sys, "argv", [f"{script}.py", "--help"])

    with pytest.raises(SystemExit) as left:
        importlib.import_module(script).main()

    assert left.value.code == 0
    assert f"python benchmarks/{script}.py" in capsys.readouterr().out


# --- the face finder's boxes


def observations(fit: BoxFit, count: int = 40) -> list[measure_finder.Observation]:
    """Faces that were found by boxes from which `fit` leads to their landmark boxes."""
    rng = np.random.default_rng(0)
    seen = []
    for _ in range(count):
        x, y, size = rng.uniform(50, 200, 3)
        box = Box(x, y, x + size, y + 1.3 * size)
        seen.append(measure_finder.Observation(fit.apply(box), [FoundFace(box, 0.9)], 0.01))
    return seen


def test_a_known_fit_is_found_again(tmp_path: Path) -> None:
    true = BoxFit(0.01, 0.12, 1.02, 0.77)
    seen = observations(true)

    fit = measure_finder.fit_boxes(seen)

    np.testing.assert_allclose([fit.dx, fit.dy, fit.sx, fit.sy], [0.01, 0.12, 1.02, 0.77], atol=1e-3)
    assert np.abs(measure_finder.residuals(seen, fit)).max() < 2e-3
    assert " 100.0 " in measure_finder.row("all", seen, fit)
    measure_finder.write_fit(tmp_path / "fit.json", "mine", fit, measure_finder.statistics(seen, fit))
    assert json.loads((tmp_path / "fit.json").read_text())["mine"]["recall"] == 1.0


def test_a_face_that_nothing_overlaps_is_missed() -> None:
    seen = observations(BoxFit())
    lost = measure_finder.Observation(Box(500, 500, 600, 600), seen[0].found, 0.01)

    assert measure_finder.statistics([*seen, lost], BoxFit())["recall"] == round(40 / 41, 4)


def test_missing_pictures_are_the_users_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert measure_finder.main([str(tmp_path)]) == 2
    assert "expected pictures with .pts files" in capsys.readouterr().err


# --- the tracker


def test_the_trackers_scenes_know_their_truth() -> None:
    portrait = measure_recovery.Portrait()
    landmarker = FaceLandmarker(threads=1)
    wait, ids = measure_recovery.until_right(landmarker, measure_recovery.hidden(portrait, 5, 1), 6, "A", 14)

    assert 0 <= wait < 8
    assert ids


def test_costs_and_events_become_a_page() -> None:
    costs = [measure_recovery.Cost(1, 30.0, 2.0, 2)]
    page = measure_recovery.page({"peak_memory_mb": [(50, 300.0)]}, [["hidden", "0", "yes"]], costs)

    assert "| hidden | 0 | yes |" in page
    assert "| 1 | 30.0 | 2.0 | 2 | 33 |" in page


def test_clips_are_measured(data: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import measure_tracker

    localizer = OnnxLocalizer(tiny_weights, threads=1)  # exporting the network again would take long
    monkeypatch.setattr(measure_tracker.ExportedNetworks, "localizer", lambda *_: localizer)
    monkeypatch.setattr(measure_tracker, "ANIMATED_FRAME", CropSpec(120, 60.0))
    options = ["--picture", str(tiny_weights), "--clips", "2", "--frames", "2", "--out", str(tmp_path / "out")]
    assert measure_tracker.main([str(data), "--threads", "1", *options]) == 0

    content = json.loads((tmp_path / "out" / "video.json").read_text())
    assert content["not_there"] == ["CK_plus", "youtube_faces"]
    assert all(row["frames"] == 4 for rows in content["sets"].values() for row in rows)
    assert "default tracker, picture weights" in (tmp_path / "out" / "video.md").read_text()


# --- weights and recipes


def test_weights_are_measured(data: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import measure_weights

    monkeypatch.setattr(measure_weights, "masked_version", lambda samples, _data, _folder: samples)
    options = ["--weights", str(tiny_weights), "--threads", "1", "--out", str(tmp_path / "out")]
    assert measure_weights.main([str(data), *options]) == 0

    content = json.loads((tmp_path / "out" / "weights.json").read_text())
    assert content["table"]["300W, ground-truth box: Full"]["n"] == 3
    assert content["table"]["Masked 300W (authors' 30), ground-truth box"]["n"] == 1
    half = content["visibility"][measure_weights.HALF]
    assert half["points"] == 3 * 68
    assert 0 < half["occluded_share"] < 0.5  # one face of three is behind an occluder
    assert half["prior"]["roc_auc"] < 0.5  # which the two others cannot foretell
    assert {path.name for path in (tmp_path / "out").glob("*.png")} >= {"ced.png", "box_curve.png"}


def test_recipes_are_compared_on_the_same_cases(
    tmp_path: Path, face: np.ndarray, fake_localizer: Callable[..., Localizer]
) -> None:
    pytest.importorskip("torch")
    import measure_recipes

    samples = []
    for number in range(30):
        stem = tmp_path / ("300W_LP_AFW" if number % 5 == 4 else "helen") / f"face{number}"
        points = face * [50 + number % 7, 60] + [75, 75]
        write_face(stem, points, number)
        samples.append(Sample(stem.with_suffix(".jpg"), points, IBUG_68, stem.parent.name))
    pack, problems = pack_faces(samples)
    assert not problems
    training, validation = pack.subset(np.arange(20)), pack.subset(np.arange(20, 30))

    first, second = (list(measure_recipes.cases(pack, training, validation)) for _ in range(2))

    assert {name for name, _ in first} == set(measure_recipes.CONDITIONS)
    assert all(
        one.box == other.box and np.array_equal(one.image, other.image)
        for (_, one), (_, other) in zip(first, second, strict=True)
    )
    localizer = fake_localizer(lambda crop: (face * 60 + 48, None, None))
    errors = measure_recipes.measure(FaceLandmarker(localizer=localizer, accuracy="fast"), first)
    assert all(0 < error < 100 for error in errors.values())


def test_every_arm_is_a_recipe() -> None:
    pytest.importorskip("torch")
    import measure_recipes

    configs = {name: measure_recipes.arm_config(arm, 1000, 1, None) for name, arm in measure_recipes.ARMS.items()}

    changed = [name for name, config in configs.items() if config != configs["the recipe"]]
    assert len(changed) == len(configs) - 2  # "the recipe", and the one that only leaves renderings out

"""`srn evaluate`: its JSON, its table, its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest

from srn.cli.evaluate import Normalizer
from srn.face.metrics import NORMALIZERS
from srn.media.pictures import read_image
from srn.media.pts import read_pts, write_pts

from .conftest import coordinate_file

Shape = npt.NDArray[np.float64]
Run = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path, annotated_file: Callable[..., Path], truths: dict[int, Shape]) -> Path:
    """Two folders with three annotated faces, and detector boxes for those of the first."""
    for name, blue in (("one/a", 0), ("one/b", 100), ("two/c", 200)):
        annotated_file(tmp_path / "set" / f"{name}.png", blue)
        if name.startswith("one"):
            (x0, y0), (x1, y1) = truths[blue].min(axis=0), truths[blue].max(axis=0)
            write_pts(tmp_path / "set" / "bbs" / f"{name}.pts", np.array([[x0, y0], [x0, y1], [x1, y1], [x1, y0]]) + 4)
    return tmp_path / "set"


@pytest.fixture
def biased(use_localizer: Callable[[Any], None], true_localizer: Any, truths: dict[int, Shape]) -> dict[int, float]:
    """A localizer that is 5 crop pixels off everywhere; gives the error of each face, calculated by hand."""
    use_localizer(true_localizer(truths, (3.0, 4.0)))
    errors = {}
    for blue, shape in truths.items():
        side = np.sqrt((np.ptp(shape, axis=0) ** 2).sum() / 2)
        errors[blue] = float(5 * side / 60 / np.hypot(*(shape[36] - shape[45])))
    return errors


def evaluate(srn: Run, tmp_path: Path, *arguments: object) -> tuple[Any, dict[str, Any]]:
    path = tmp_path / "result.json"
    # One pass and no mirrored average: the bias stays what it is.
    ran = srn("evaluate", *arguments, "--json", path, "--accuracy", "fast", "--no-flip-average")
    return ran, json.loads(path.read_text()) if path.exists() else {}


def test_json(srn: Run, biased: dict[int, float], root: Path, tmp_path: Path) -> None:
    ran, values = evaluate(srn, tmp_path, root / "one", root / "two")
    assert ran.code == 0
    assert ran.err == ""
    assert {"n", "nme", "failure_rate", "auc", "normalizer", "init", "weights", "per_image"} <= set(values)
    assert (values["n"], values["normalizer"], values["init"], values["weights"]) == (
        3, "interocular", "gt-box", "fake",
    )  # fmt: skip
    assert (values["accuracy"], values["flip_average"]) == ("fast", False)
    assert values["nme"] == pytest.approx(np.mean(list(biased.values())), rel=0.01)
    assert values["failure_rate"] == 1.0
    names = [(Path(face["path"]).name, face["subset"]) for face in values["per_image"]]
    assert names == [("a.png", "one"), ("b.png", "one"), ("c.png", "two")]
    for face, error in zip(values["per_image"], biased.values(), strict=True):
        assert face["nme"] == pytest.approx(error, rel=0.01)
    assert set(values["subsets"]) == {"one", "two"}
    assert values["subsets"]["two"]["nme"] == pytest.approx(biased[200], rel=0.01)


def test_the_table_is_in_per_cent(srn: Run, biased: dict[int, float], root: Path, tmp_path: Path) -> None:
    ran, values = evaluate(srn, tmp_path, root / "one", root / "two")
    for row, part in (("one", values["subsets"]["one"]), ("two", values["subsets"]["two"]), ("all", values)):
        (line,) = [line for line in ran.out.splitlines() if line.strip("│| ").startswith(row)]
        assert f"{part['nme'] * 100:.2f}" in line
        assert f" {part['n']} " in line


def test_threshold(srn: Run, biased: dict[int, float], root: Path, tmp_path: Path) -> None:
    error = biased[0]  # of every face: the bias grows with the face, and so does the normalizer
    ran, values = evaluate(srn, tmp_path, root / "one", root / "two", "--threshold", 2 * error)
    assert ran.code == 0, ran.err
    # No face is off by more; the curve jumps from 0 to 1 half way to the threshold.
    assert (values["failure_rate"], values["threshold"]) == (0.0, 2 * error)
    assert values["auc"] == pytest.approx(0.5, abs=0.01)
    assert evaluate(srn, tmp_path, root / "one", "--threshold", error / 2)[1]["failure_rate"] == 1.0


def test_two_networks_on_the_same_faces(
    srn: Run,
    monkeypatch: pytest.MonkeyPatch,
    true_localizer: Any,
    truths: dict[int, Shape],
    biased: dict[int, float],
    root: Path,
    tmp_path: Path,
) -> None:
    """The other network is off by twice as much: the difference is one error, on every face."""
    good, bad = true_localizer(truths, (3.0, 4.0)), true_localizer(truths, (6.0, 8.0))
    monkeypatch.setattr(
        "srn.inference.landmarker.open_localizer", lambda weights, **options: good if weights is None else bad
    )
    (tmp_path / "other.onnx").touch()
    ran, values = evaluate(
        srn, tmp_path, root / "one", root / "two", "--compare", tmp_path / "other.onnx", "--no-cache",
        "--ced", tmp_path / "ced.svg", "--report", tmp_path / "report",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    pair = values["compared_with"]
    assert pair["nme"] == pytest.approx(2 * biased[0], rel=0.01)
    assert pair["difference"] == pytest.approx(-biased[0], rel=0.01)
    assert (pair["faces"], pair["share_better"], pair["share_worse"]) == (3, 1.0, 0.0)
    assert pair["p_value"] == 0.25  # two of the eight patterns of signs
    for name in ("fake", "fake (2)"):  # the table and the chart had the first alone
        assert all(f"│ {name}, {part} " in ran.out for part in ("one", "two", "all"))
        assert f"{name} (n = 3, AUC" in (tmp_path / "ced.svg").read_text()
    (line,) = [line for line in ran.out.splitlines() if " against fake" in line]
    assert f"{pair['difference'] * 100:+.2f} points on 3 faces (95 % interval -" in line
    page = (tmp_path / "report" / "index.html").read_text()  # as the table and the chart
    assert f"fake against fake (2), face by face: {line.partition('%: ')[2]}." in page
    assert "fake (2) (n = 3, AUC" in page
    row = page.partition(">fake (2)</th>")[2].partition("</tr>")[0]
    assert f">{pair['nme'] * 100:.2f}<small>" in row

    alone = evaluate(srn, tmp_path, root / "two", "--compare", tmp_path / "other.onnx", "--no-cache")[0].out
    assert "points on 1 faces (no interval, sign-flip p = 1.000)" in alone


def test_videos(srn: Run, biased: dict[int, float], truths: dict[int, Shape], tmp_path: Path) -> None:
    """Six frames that are the same: a constant error does not shake, and nobody finds a face in a gradient."""
    for frame in range(1, 7):
        coordinate_file(tmp_path / "videos" / "clip" / "imgs" / f"{frame:06d}.png", 0)
        (tmp_path / "videos" / "clip" / "annot").mkdir(exist_ok=True)
        write_pts(tmp_path / "videos" / "clip" / "annot" / f"{frame:06d}.pts", truths[0])
    ran, values = evaluate(srn, tmp_path, tmp_path / "videos", "--video")
    assert ran.code == 0, ran.err
    by_name = {method["method"]: method for method in values["methods"]}
    known = by_name["frame by frame, true boxes"]
    assert (known["clips"], known["frames"], known["missed"], known["lost"]) == (1, 6, 0, 0)
    assert known["nme"] == pytest.approx(biased[0], rel=0.01)
    assert known["jitter"] == pytest.approx(0, abs=1e-6)
    for name in ("frame by frame, face finder", "tracker", "tracker, not smoothed"):
        assert (by_name[name]["missed"], by_name[name]["nme"]) == (6, None)
    assert "6 frames" in ran.out


def test_video_mistakes(srn: Run, biased: dict[int, float], root: Path, tmp_path: Path) -> None:
    assert srn("evaluate", root / "one", "--video").mistake.startswith(f"{root / 'one'}: expected videos with points")
    ran = srn("evaluate", root / "one", "--video", "--ced", tmp_path / "ced.png")
    assert ran.mistake == "--ced: expected no such option with --video, found one"
    ran = srn("evaluate", root / "one", "--video", "--threshold", 0.1)
    assert ran.mistake == "--threshold: expected no such option with --video, found one"
    ran = srn("evaluate", root / "one", "--video", "--cache", tmp_path / "kept")
    assert ran.mistake == "--cache: expected no such option with --video, found one"


def test_normalizer_and_boxes(srn: Run, biased: dict[int, float], root: Path, tmp_path: Path) -> None:
    ran, values = evaluate(srn, tmp_path, root / "one", "--init", "bbs", "--normalizer", "bbox")
    assert ran.code == 0
    assert (values["init"], values["normalizer"]) == ("bbs", "bbox")
    # The detector's boxes lie 4 pixels to the right of the true ones and 4 below: so does the mean shape in them.
    sizes = [np.sqrt(np.prod(np.ptp(read_pts(root / "one" / f"{stem}.pts"), axis=0))) for stem in "ab"]
    assert values["mean_shape_nme"] == pytest.approx(np.mean(4 * np.sqrt(2) / np.array(sizes)), rel=1e-3)
    assert values["nme"] < biased[0]


def test_the_default_averages_with_the_mirrored_crop(
    srn: Run, biased: dict[int, float], root: Path, tmp_path: Path
) -> None:
    path = tmp_path / "result.json"
    assert srn("evaluate", root / "one", "--json", path).code == 0
    values = json.loads(path.read_text())
    assert (values["accuracy"], values["flip_average"]) == ("best", True)
    assert values["nme"] == pytest.approx(np.mean([biased[0], biased[100]]) * 4 / 5, rel=0.02)  # 3 of (3, 4) cancels


def test_a_face_that_the_finder_misses(srn: Run, biased: dict[int, float], root: Path, tmp_path: Path) -> None:
    ran, values = evaluate(srn, tmp_path, root / "two", "--init", "finder")  # a gradient: nobody sees a face in it
    assert ran.code == 0
    assert (values["n"], values["missed"], values["nme"], values["failure_rate"]) == (1, 1, None, 1.0)
    assert values["per_image"][0]["nme"] is None


def test_ced(srn: Run, biased: dict[int, float], root: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    ran, _ = evaluate(srn, tmp_path, root / "one", root / "two", "--ced", tmp_path / "ced.png")
    assert ran.code == 0
    assert read_image(tmp_path / "ced.png").shape == (660, 960, 3)


def test_bad_files_are_left_out_named_and_exit_with_one(
    srn: Run, biased: dict[int, float], root: Path, tmp_path: Path
) -> None:
    (root / "one" / "b.png").write_bytes(b"broken")
    (root / "two" / "lonely.jpg").write_bytes(b"x")
    ran, values = evaluate(srn, tmp_path, root / "one", root / "two")
    assert ran.code == 1
    assert values["n"] == 2
    assert values["nme"] == pytest.approx((biased[0] + biased[200]) / 2, rel=0.01)
    first, second = sorted(ran.err.splitlines())
    assert f"{root / 'one' / 'b.png'}: expected a picture" in first
    assert f"{root / 'two' / 'lonely.jpg'}: no lonely.pts beside it" in second


def test_mistakes_are_told_in_one_line(srn: Run, biased: dict[int, float], root: Path, tmp_path: Path) -> None:
    message = srn("evaluate", root / "one", tmp_path / "nowhere").mistake
    assert "nowhere: expected the folders of 300W, WFLW, COFW or 300VW, or pictures with .pts files" in message
    assert message.endswith("found no such folder")
    message = srn("evaluate", root / "two", "--init", "bbs").mistake
    assert message.endswith("c.png: expected a box in the dataset's bbs folder, found none")
    ran = srn("evaluate", root / "one", "--normalizer", "iod")
    assert ran.code == 2
    assert "interocular" in ran.err


def test_every_normalizer_can_be_chosen() -> None:
    assert get_args(Normalizer) == tuple(NORMALIZERS)

"""`srn evaluate`: its JSON, its table, its exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.data.media import read_image
from srn.data.pts import read_pts, write_pts

Shape = npt.NDArray[np.float64]
Run = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path, coordinate_file: Callable[..., Path], truths: dict[int, Shape]) -> Path:
    """Two folders with three annotated faces, and detector boxes for those of the first."""
    for name, blue in (("one/a", 0), ("one/b", 100), ("two/c", 200)):
        coordinate_file(tmp_path / "set" / f"{name}.png", blue)
        write_pts(tmp_path / "set" / f"{name}.pts", truths[blue])
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
    ran = srn("evaluate", *arguments, "--json", path, "--passes", "1", "--no-flip-average")
    return ran, json.loads(path.read_text()) if path.exists() else {}


def test_json(srn: Run, biased: dict[int, float], root: Path, tmp_path: Path) -> None:
    ran, values = evaluate(srn, tmp_path, root / "one", root / "two")
    assert ran.code == 0
    assert ran.err == ""
    assert {"n", "nme", "failure_rate", "auc", "normalizer", "init", "weights", "per_image"} <= set(values)
    assert (values["n"], values["normalizer"], values["init"], values["weights"]) == (
        3, "interocular", "gt-box", "fake",
    )  # fmt: skip
    assert (values["passes"], values["flip_average"]) == (1, False)
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
    assert (values["passes"], values["flip_average"]) == (2, True)
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
    assert "nowhere: expected a folder of pictures" in srn("evaluate", root / "one", tmp_path / "nowhere").mistake
    message = srn("evaluate", root / "two", "--init", "bbs").mistake
    assert message.endswith("c.png: expected a box in the dataset's bbs folder, found none")
    ran = srn("evaluate", root / "one", "--normalizer", "iod")
    assert ran.code == 2
    assert "interocular" in ran.err

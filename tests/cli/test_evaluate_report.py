"""`srn evaluate --report`, its kept results, and several sets at once."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from .conftest import coordinate_file

Shape = npt.NDArray[np.float64]
Run = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path, annotated_file: Callable[..., Path]) -> Path:
    """The same subset name in two datasets."""
    for name, blue in (("300W/ibug/a", 0), ("300W/ibug/b", 100), ("masked/ibug/a", 0)):
        annotated_file(tmp_path / f"{name}.png", blue)
    (tmp_path / "300W" / "bbs").mkdir()
    (tmp_path / "masked" / "bbs").mkdir()
    return tmp_path


def test_report(srn: Run, knowing: Any, root: Path, tmp_path: Path) -> None:
    ran = srn("evaluate", root / "300W" / "ibug", "--report", tmp_path / "page", "--accuracy", "fast")
    assert ran.code == 0
    text = (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
    assert "srn evaluate " in text
    assert "--report" in text
    for section in ("numbers", "curve", "components", "faces", "boxes", "speed", "origin"):
        assert f'<section id="{section}"' in text
    assert "2 faces" in text  # of the box curve
    assert str(tmp_path / "page" / "index.html") in ran.out

    again = srn("evaluate", root / "300W" / "ibug", "--report", tmp_path / "page", "--accuracy", "fast")
    assert again.code == 0  # its own page is replaced
    (tmp_path / "index.html").write_text("<title>My site</title>")
    other = srn("evaluate", root / "300W" / "ibug", "--report", tmp_path)
    assert "--report: expected a new file, or a report page of srn" in other.mistake


def test_sets_of_one_name_are_told_apart(srn: Run, knowing: Any, root: Path, tmp_path: Path) -> None:
    srn("evaluate", root / "300W" / "ibug", root / "masked" / "ibug", "--json", tmp_path / "r.json", "--no-cache")
    values = json.loads((tmp_path / "r.json").read_text())
    assert {name: part["n"] for name, part in values["subsets"].items()} == {"300W/ibug": 2, "masked/ibug": 1}
    srn("evaluate", root / "300W" / "ibug", "--json", tmp_path / "r.json", "--no-cache")
    assert list(json.loads((tmp_path / "r.json").read_text())["subsets"]) == ["ibug"]


def test_the_second_run_measures_nothing(
    srn: Run, knowing: Any, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srn.cli.evaluate.weights_digest", lambda landmarker, weights: "w")

    told: list[str] = []

    def run(*arguments: object) -> tuple[int, dict[str, Any]]:
        batches = len(knowing.batches)
        file = tmp_path / "r.json"
        ran = srn("evaluate", root / "300W" / "ibug", "--cache", tmp_path / "kept", "--json", file, *arguments)
        told[:] = ran.err.splitlines()
        return len(knowing.batches) - batches, json.loads(file.read_text())

    batches, first = run()
    assert batches > 0
    assert told == []
    assert run() == (0, first)
    (line,) = told
    assert re.fullmatch(r"fake: kept from \d\d \w+ \d{4}, \d\d:\d\d; --fresh measures anew", line)
    assert run("--fresh") == (batches, first)
    assert run() == (0, first)
    assert run("--accuracy", "fast")[0] > 0
    assert run("--normalizer", "bbox")[0] == 0
    assert run("--no-cache")[0] == batches
    files = sorted(path.name for path in (tmp_path / "kept").iterdir())
    assert len(files) == 2  # two accuracies


def test_a_localizer_that_is_of_no_file_is_never_kept(srn: Run, knowing: Any, root: Path, tmp_path: Path) -> None:
    srn("evaluate", root / "300W" / "ibug", "--cache", tmp_path / "kept")
    assert not (tmp_path / "kept").exists()


def test_the_root_of_another_dataset_stands_for_its_test_set(
    srn: Run, knowing: Any, tmp_path: Path, truths: dict[int, Shape]
) -> None:
    """WFLW's 68-point list: six flags, and a test subset."""
    coordinate_file(tmp_path / "W" / "WFLW_images" / "e" / "a.png", 0)
    points = " ".join(f"{v:.3f}" for v in truths[0].ravel())
    (x0, y0), (x1, y1) = truths[0].min(axis=0), truths[0].max(axis=0)
    folder = tmp_path / "W" / "WFLW_annotations" / "list_68pt_rect_attr_train_test"
    folder.mkdir(parents=True)
    box = f"{x0:.0f} {y0:.0f} {x1:.0f} {y1:.0f}"
    (folder / "list_68pt_rect_attr_test.txt").write_text(f"{points} {box} 1 0 0 0 1 0 e/a.png\n")
    ran = srn("evaluate", tmp_path / "W", "--json", tmp_path / "r.json", "--no-cache")
    assert ran.code == 0, ran.err
    values = json.loads((tmp_path / "r.json").read_text())
    assert values["n"] == 1
    assert set(values["attributes"]) == {"pose", "occlusion"}
    assert values["nme"] < 0.01

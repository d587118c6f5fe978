"""The benchmark of many pictures: distances of two result files, and its page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import measure_many_pictures


def faces_file(path: Path, shift: float, faces: int = 1) -> Path:
    face = {"box": [0, 0, 30, 40], "landmarks": [[10 + shift, 20], [20, 30 + shift]]}
    images = [{"path": "a.jpg", "faces": [face] * faces}, {"path": "b.jpg", "faces": []}]
    path.write_text(json.dumps({"images": images}))
    return path


def test_distances_are_shares_of_the_face(tmp_path: Path) -> None:
    old = faces_file(tmp_path / "old.json", 0.0)
    found = measure_many_pictures.apart(old, faces_file(tmp_path / "new.json", 1.0, faces=2))
    size = 50 / 2**0.5  # of the box: its diagonal over the root of two
    assert found["largest_percent_of_face"] == pytest.approx(100 / size, abs=0.01)
    assert (found["pictures"], found["pictures_with_as_many_faces"]) == (2, 1)
    assert measure_many_pictures.apart(old, old)["largest_percent_of_face"] == 0


def test_the_page_holds_every_part() -> None:
    both = {"old": 10.0, "new": 5.0}
    measured: dict[str, Any] = {"command": "python x.py", "date": "2026-01-02", "hardware": "none", "commit": "abc"}
    content = {
        "measured": {"speed": {**measured, "set": "ten pictures", "load": 0.5}},
        "speed": {"JSON": {"pictures_a_second": both, "ratio_clock": 2.0, "cpu_ms_a_picture": both, "ratio_cpu": 2.25,
                           "apart": {"pictures": 10, "pictures_with_as_many_faces": 9,
                                     "median_percent_of_face": 0.125}}},
        "start": {"import srn": {"cpu_ms": both, "wall_ms": both, "ratio_cpu": 0.5, "ratio_clock": 0.75}},
        "memory": {"JSON": {"old": 1400, "new": 450}},
        "kill": {"pictures": 1000, "kills": 3, "done_at_the_kills": [32, 64, 96], "taken_over_by_the_last_run": 96,
                 "files": 2001, "lost_files": 0, "further_files": 0, "unequal_files": 0,
                 "cpu_s": {"undisturbed": 20.0, "killed and resumed": 24.0}},
    }  # fmt: skip
    page = measure_many_pictures.page(content)
    assert "speed: `python x.py`, commit abc, ten pictures, load 0.5" in page
    for cells in (
        "| 2.25 | 9 of 10 | 0.125 |",
        "| 0.75 |",
        "| JSON | 1400 | 450 |",
        "| of these lost, unequal | 0, 0 |",
    ):
        assert cells in page

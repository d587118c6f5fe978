"""Files larger than any honest one are refused before they are read: those with holes take no place on a disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srn.datasets.coco import broken_coco, is_coco
from srn.datasets.matlab import read_mat5
from srn.datasets.plain import read_table
from srn.datasets.report import ReadingReport
from srn.errors import DataError
from srn.face.scheme import IBUG_68
from srn.media.pictures import read_image
from srn.media.pts import read_pts
from srn.media.result_reading import read_results
from srn.media.tables import read_rows


@pytest.fixture
def holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Make a file of 2,000 bytes where 1,000 are the limit."""
    monkeypatch.setenv("SRN_MAX_BYTES", "1000")
    monkeypatch.setenv("SRN_MAX_PIXELS", "10")

    def make(name: str) -> Path:
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 2000)
        return tmp_path / name

    return make


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("a.jpg", read_image),
        ("a.pts", read_pts),
        ("a.mat", read_mat5),
        ("a.json", read_results),
        ("a.jsonl", read_results),
        ("a.csv", read_results),
        ("a.csv", lambda path: read_rows(path, "a table")),
        ("a.csv", lambda path: read_table(path, IBUG_68, ReadingReport())),
    ],
)
def test_a_file_with_holes_is_not_read(holes: Callable[[str], Path], name: str, read: Callable[[Path], Any]) -> None:
    with pytest.raises(DataError, match=rf"{name}: expected a file of at most 1000 bytes \(SRN_MAX_BYTES .*found 2000"):
        read(holes(name))


def test_nor_as_coco(holes: Callable[[str], Path]) -> None:
    path = holes("a.json")
    assert not is_coco(path)
    assert "expected a file of at most 1000 bytes" in str(broken_coco(path))


def test_a_picture_may_be_as_large_as_its_pixels(holes: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRN_MAX_PIXELS", "1000")
    with pytest.raises(DataError, match="found 2000 bytes that do not decode to one"):
        read_image(holes("a.jpg"))

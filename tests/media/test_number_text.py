"""Numbers from text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.datasets.plain import read_table
from srn.datasets.report import ReadingReport
from srn.errors import DataError
from srn.face.scheme import COFW_29
from srn.media.boxes import read_boxes
from srn.media.number_text import number_in, whole_number_in
from srn.media.pts import read_pts
from srn.media.result_reading import read_results

ODD = ["1_0", "１０", "١٠"]
"""Ten to Python, and to no other program."""


@pytest.mark.parametrize("value", ["10", " 10\t", "1e1", "+10.", 10, 10.0, np.float32(10)])
def test_what_is_ten_to_everybody(value: Any) -> None:
    assert number_in(value) == 10


@pytest.mark.parametrize("text", [*ODD, "\u00a010", "", "ten", "1 0", "0x10"])
def test_what_is_no_number(text: str) -> None:
    for read in (number_in, whole_number_in):
        with pytest.raises(ValueError, match=r".*"):
            read(text)


def test_a_whole_number_has_no_fraction() -> None:
    assert (whole_number_in(" 10\t"), whole_number_in(10.0)) == (10, 10)
    assert (whole_number_in("007"), whole_number_in(np.int64(2**53 + 1))) == (7, 2**53 + 1)
    with pytest.raises(ValueError, match=r"1\.5"):
        whole_number_in(1.5)


def _points(text: str) -> str:
    return f"version: 1\nn_points: 2\n{{\n1 2\n{text} 4\n}}\n"


@pytest.mark.parametrize("text", ODD)
@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("a.pts", _points("{}"), read_pts),
        ("b.csv", "a.jpg,{},2,30,40\n", read_boxes),
        ("b.json", '{{"a.jpg": [["{}", 2, 30, 40]]}}', read_boxes),
        ("r.csv", "picture,x0,y0,x1,y1\na.jpg,{},2,30,40\n", read_results),
        ("l.csv", "path,face,point,x,y\na.jpg,0,0,{},2\n", read_results),
        ("p.csv", "path,face,point,x,y\na.jpg,0,{},1,2\n", read_results),
    ],
)
def test_every_reader_refuses_them(
    tmp_path: Path, name: str, content: str, read: Callable[[Path], object], text: str
) -> None:
    path = tmp_path / name
    path.write_text(content.format(text) if name != "a.pts" else _points(text), encoding="utf-8")
    with pytest.raises(DataError, match=name):
        read(path)


def test_a_table_of_faces_names_the_line(tmp_path: Path) -> None:
    header = ",".join(["picture", *(f"{axis}{k}" for k in range(29) for axis in "xy")])
    (tmp_path / "t.csv").write_text(f"{header}\na.png,{','.join(['1_0', *map(str, range(57))])}\n")
    report = ReadingReport()
    assert read_table(tmp_path / "t.csv", COFW_29, report) == []
    assert report.problems == [
        f"{tmp_path / 't.csv'}: line 2: expected 59 columns, numbers for every point, found '1_0'; left out"
    ]

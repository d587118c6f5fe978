"""Files of the user's own face boxes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from srn.errors import DataError
from srn.face.geometry import Box
from srn.media.boxes import PictureBoxes, read_boxes

EXPECTED = {"a.jpg": [Box(1, 2, 30, 40), Box(5, 6, 7.5, 8)], "in/b.png": [Box(-3, 0, 10, 10)]}


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"a.jpg": [[1, 2, 30, 40], [5, 6, 7.5, 8]], "in/b.png": [[-3, 0, 10, 10]], "c.png": []}))
    assert read_boxes(file) == {**EXPECTED, "c.png": []}


@pytest.mark.parametrize(
    "text",
    [
        "a.jpg,1,2,30,40\na.jpg,5,6,7.5,8\nin/b.png,-3,0,10,10\n",
        "path,x0,y0,x1,y1\r\na.jpg,1,2,30,40\r\nin/b.png,-3,0,10,10\r\n\r\na.jpg,5,6,7.5,8",
        'picture, x0, y0, x1, y1\n"a.jpg", 1, 2, 30, 40\n   \na.jpg,5,6,7.5,8\nin/b.png,-3.0,0,1e1,10\n',
        "\ufeffa.jpg,1,2,30,40\na.jpg,5,6,7.5,8\nin/b.png,-3,0,10,10\n",
    ],
    ids=["bare", "header", "spaces", "byte order mark"],
)
def test_csv(tmp_path: Path, text: str) -> None:
    file = tmp_path / "boxes.csv"
    file.write_bytes(text.encode())
    assert read_boxes(file) == EXPECTED


@pytest.mark.parametrize(
    ("name", "text", "place", "found"),
    [
        ("b.csv", "path,x0,y0,x1,y1\na.jpg,1,2,30,40\nb.jpg,1,2,x,4\n", "line 3", "1 2 x 4"),
        ("b.csv", "a.jpg,1,2,3\n", "line 1", "1 2 3"),
        ("b.csv", "a.jpg\n", "line 1", "nothing"),
        ("b.csv", "a.jpg,1,2,3,4,5\n", "line 1", "1 2 3 4 5"),
        ("b.csv", "a.jpg,10,2,3,4\n", "line 1", "10 2 3 4"),
        ("b.csv", "a.jpg,1,2,nan,4\n", "line 1", "1 2 nan 4"),
        ("b.json", '{"a.jpg": [[1, 2, 3, 4], [1, 2, 3]]}', "a.jpg, box 2", "1 2 3"),
        ("b.json", '{"a.jpg": [1, 2, 3, 4]}', "a.jpg, box 1", "1"),
        ("b.json", '{"a.jpg": [[1, 2, 3, null]]}', "a.jpg, box 1", "1 2 3 None"),
        ("b.json", '{"a.jpg": [[5, 2, 3, 4]]}', "a.jpg, box 1", "5 2 3 4"),
    ],
)
def test_a_bad_box_is_named_with_its_line(tmp_path: Path, name: str, text: str, place: str, found: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_boxes(tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name}: {place}: expected four numbers x0 < x1, y0 < y1 as 'x0, y0, x1, y1', found {found}"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [[1,2', "expected JSON"),
        ("[[1, 2, 3, 4]]", "found list"),
        ('{"a.jpg": {"box": [1, 2, 3, 4]}}', 'expected an object {"picture"'),
    ],
)
def test_other_json_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(DataError, match=r"b\.json: expected") as caught:
        read_boxes(tmp_path / "b.json")
    assert message in str(caught.value)


def test_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: expected a readable file of boxes"):
        read_boxes(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"b\.csv: expected a readable file of boxes"):
        read_boxes(tmp_path / "b.csv")


def test_boxes_are_found_by_path_before_name() -> None:
    first, second = Box(0, 0, 1, 1), Box(0, 0, 2, 2)
    boxes = PictureBoxes({"in/a.jpg": [first], "a.jpg": [second]})
    assert boxes[Path("in") / "a.jpg"] == [first]
    assert boxes[Path("elsewhere") / "a.jpg"] == [second]
    assert boxes[Path("b.jpg")] == []

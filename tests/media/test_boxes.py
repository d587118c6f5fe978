"""Files of the user's own face boxes."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.face import Face
from srn.media.boxes import PictureBoxes, read_boxes
from srn.media.results import compact, json_lines, picture_record, write_pictures_json

EXPECTED = {"a.jpg": [Box(1, 2, 30, 40), Box(5, 6, 7.5, 8)], "in/b.png": [Box(-3, 0, 10, 10)]}


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "boxes.json"
    file.write_text(json.dumps({"a.jpg": [[1, 2, 30, 40], [5, 6, 7.5, 8]], "in/b.png": [[-3, 0, 10, 10]], "c.png": []}))
    assert read_boxes(file) == {**EXPECTED, "c.png": []}


def test_a_single_box_needs_no_list_around_it(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text('{"a.jpg": [1, 2, 30, 40], "b.jpg": [[1, 2, 30, 40]]}')
    assert read_boxes(tmp_path / "boxes.json") == {name: [Box(1, 2, 30, 40)] for name in ("a.jpg", "b.jpg")}


@pytest.mark.parametrize("name", ["faces.json", "faces.jsonl"])
def test_files_of_found_faces_are_files_of_boxes(tmp_path: Path, name: str) -> None:
    faces = [
        Face(np.tile(box.center, (68, 1)) + np.eye(68, 2), None, None, box, 1.0, IBUG_68).to_dict()
        for box in EXPECTED["a.jpg"]
    ]
    records = [picture_record(Path("a.jpg"), (9, 9), faces), picture_record(Path("c.png"), (9, 9), [])]
    if name.endswith("l"):
        with json_lines(tmp_path / name) as write:
            for record in records:
                write(record)
    else:
        write_pictures_json(tmp_path / name, map(compact, records), partial=True)
    assert read_boxes(tmp_path / name) == {"a.jpg": EXPECTED["a.jpg"], "c.png": []}


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
        ("b.csv", "a.jpg\n", "line 1", "only 'a.jpg'"),
        ("b.csv", "a.jpg;1;2;3;4\n", "line 1", "only 'a.jpg;1;2;3;4'"),  # of a spreadsheet
        ("b.csv", "a.jpg,1,2,3,4,5\n", "line 1", "1 2 3 4 5"),
        ("b.csv", "a.jpg,10,2,3,4\n", "line 1", "10 2 3 4"),
        ("b.csv", "a.jpg,1,2,nan,4\n", "line 1", "1 2 nan 4"),
        ("b.csv", 'a.jpg,1,2,"3\n4"\n', "line 2", "1 2 3 4"),
        ("b.json", '{"a.jpg": [[1, 2, 3, 4], [1, 2, 3]]}', "a.jpg, box 2", "1 2 3"),
        ("b.json", '{"a.jpg": [1, 2, 3]}', "a.jpg, box 1", "1 2 3"),
        ("b.json", '{"images": [{"path": "a.jpg", "faces": [{"box": [1, 2, 3]}]}]}', "a.jpg, box 1", "1 2 3"),
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
        ('{"a": [[1,2', "expected JSON, found a mistake in line 1, column 12"),
        ("[[1, 2, 3, 4]]", "found a list"),
        ('{"a.jpg": [[1, 2, 3, 4]], "a.jpg": []}', "expected JSON, found the name 'a.jpg' twice"),
        ('{"images": [{"path": "a.jpg"}]}', "picture 1: expected a 'path' and 'faces' with a 'box', as srn detect"),
        ('{"images": [{"file_name": "a.jpg"}]}', "found no 'path'"),
        ('{"a.jpg": {"box": [1, 2, 3, 4]}}', 'expected an object {"picture"'),
    ],
)
def test_other_json_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "b.json").write_text(text)
    with pytest.raises(DataError, match=r"b\.json: (picture 1: )?expected") as caught:
        read_boxes(tmp_path / "b.json")
    assert message in str(caught.value)


def test_a_name_twice_in_a_line_is_named(tmp_path: Path) -> None:
    """The second value would take the place of the first."""
    (tmp_path / "b.jsonl").write_text('{"path": "a.jpg", "faces": [{"box": [1, 2, 3, 4]}], "faces": []}')
    with pytest.raises(DataError, match=r"b\.jsonl: line 1: expected a JSON object, found the name 'faces' twice"):
        read_boxes(tmp_path / "b.jsonl")


def test_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.csv: expected a readable file of boxes"):
        read_boxes(tmp_path / "none.csv")
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"b\.csv: expected a readable file of boxes"):
        read_boxes(tmp_path / "b.csv")


@pytest.mark.parametrize("name", ["a\u2028b.jpg", "a\x85b.jpg", "a\x0bb.jpg", "a\nb.jpg"])
def test_any_line_end_may_stand_in_a_name(tmp_path: Path, name: str) -> None:
    (tmp_path / "b.csv").write_text(f'"{name}",1,2,30,40\n', newline="")
    record = json.dumps({"path": name, "faces": [{"box": [1, 2, 30, 40]}]}, ensure_ascii=False)
    (tmp_path / "b.jsonl").write_text(f"{record}\n\n", newline="")
    for file in ("b.csv", "b.jsonl"):
        assert read_boxes(tmp_path / file) == {name: [Box(1, 2, 30, 40)]}


def test_boxes_are_found_by_path_before_name() -> None:
    first, second = Box(0, 0, 1, 1), Box(0, 0, 2, 2)
    boxes = PictureBoxes({"in/a.jpg": [first], "a.jpg": [second]})
    assert boxes[Path("in") / "a.jpg"] == [first]
    assert boxes[Path("elsewhere") / "a.jpg"] == [second]
    assert boxes[Path("b.jpg")] == []


@pytest.mark.parametrize("key", ["./a.jpg", "a.jpg", "in/../a.jpg", "{cwd}/a.jpg", "elsewhere/../a.jpg"])
@pytest.mark.parametrize("picture", ["a.jpg", "./a.jpg", "{cwd}/a.jpg"])
def test_a_path_is_the_same_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str, picture: str
) -> None:
    monkeypatch.chdir(tmp_path)
    boxes = PictureBoxes({key.format(cwd=tmp_path): [Box(0, 0, 1, 1)]})
    assert boxes[Path(picture.format(cwd=tmp_path))] == [Box(0, 0, 1, 1)]


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_accents_are_the_same_composed_and_decomposed(forms: Any) -> None:
    key, picture = (unicodedata.normalize(form, "é/é.jpg") for form in forms)
    assert PictureBoxes({key: [Box(0, 0, 1, 1)]})[Path(picture)] == [Box(0, 0, 1, 1)]
    assert PictureBoxes({key[-6:].lstrip("/"): [Box(0, 0, 1, 1)]})[Path("in", picture)] == [Box(0, 0, 1, 1)]


@pytest.mark.parametrize(
    "text",
    [
        '{"a.jpg": [[1, 2, 3, 4]]}',
        '\n{\n "a.jpg": [[1, 2, 3, 4]]}\n',
        '{"images":[{"path":"a.jpg","width":9,"height":9,"faces":[{"box":[1,2,3,4]}]}]}',
        '{"path":"a.jpg","faces":[{"box":[1,2,3,4]}]}\n{"path":"b.jpg","faces":[]}\n',
        "a.jpg,1,2,3,4\n",
    ],
)
def test_a_file_without_a_suffix_is_what_its_text_is(tmp_path: Path, text: str) -> None:
    """A pipe has none: `--boxes <(command)`."""
    (tmp_path / "63").write_text(text)
    assert read_boxes(tmp_path / "63")["a.jpg"] == [Box(1, 2, 3, 4)]


def test_two_pictures_whose_names_look_the_same_have_their_own_boxes() -> None:
    one, other = (unicodedata.normalize(form, "é.jpg") for form in ("NFC", "NFD"))
    boxes = PictureBoxes({one: [Box(0, 0, 1, 1)], other: [Box(0, 0, 2, 2)]})
    assert (boxes[Path(one)], boxes[Path(other)]) == ([Box(0, 0, 1, 1)], [Box(0, 0, 2, 2)])
    assert boxes.unused([Path(one), Path(other)]) == []


def test_paths_of_windows() -> None:
    boxes = PictureBoxes({"in\\a.jpg": [Box(0, 0, 1, 1)], "C:\\b.jpg": [Box(0, 0, 2, 2)]})
    assert boxes[Path("in/a.jpg")] == boxes[Path("in\\a.jpg")] == [Box(0, 0, 1, 1)]
    assert boxes.unused([Path("in/a.jpg"), Path("b.jpg")]) == ["C:\\b.jpg"]


def test_keys_that_are_no_picture_are_known() -> None:
    boxes = PictureBoxes({"a.jpg": [], "b.jpg": [Box(0, 0, 1, 1)], "in/c.jpg": []})
    assert boxes.unused([Path("in/a.jpg"), Path("c.jpg")]) == ["b.jpg", "in/c.jpg"]
    assert boxes.key_of(Path("in/a.jpg")) == "a.jpg"
    assert boxes.key_of(Path("c.jpg")) is None


@pytest.mark.parametrize("values", ["-1e308,-1e308,1e308,1e308", "0,0,1e7,9", "0,0,inf,9"])
def test_a_box_larger_than_any_picture(tmp_path: Path, values: str) -> None:
    (tmp_path / "b.csv").write_text(f"a.jpg,{values}\n")
    with pytest.raises(DataError, match=r"b\.csv: line 1: expected four numbers"):
        read_boxes(tmp_path / "b.csv")


def test_a_file_without_end_and_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="/dev/zero: expected a readable file of boxes"):
        read_boxes("/dev/zero")
    (tmp_path / "b.csv").write_bytes(b"caf\xe9.jpg,0,0,1,1\n")
    assert read_boxes(tmp_path / "b.csv") == {os.fsdecode(b"caf\xe9.jpg"): [Box(0, 0, 1, 1)]}

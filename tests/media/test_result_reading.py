"""Reading faces that any tool wrote."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.errors import DataError
from srn.media.pts import write_pts
from srn.media.result_reading import read_results
from srn.media.results import write_pictures_coco, write_pictures_csv, write_pictures_json, write_pictures_parquet

POINTS = [[1.0, 2.0], [3.5, 4.0], [5.0, 9.25]]
FACE = {
    "box": [1.0, 2.0, 5.0, 9.25], "score": 0.75, "landmarks": POINTS, "visibility": [1.0, 0.25, 1.0],
    "confidence": [0.5, 0.75, 1.0],
}  # fmt: skip
OTHER = {
    **FACE,
    "landmarks": [[x + 10, y] for x, y in POINTS],
    "visibility": [0.0, 1.0, 1.0],
    "box": [11.0, 2.0, 15.0, 9.25],
}
PICTURES: list[dict[str, Any]] = [
    {"path": "a/one.jpg", "width": 20, "height": 10, "faces": [FACE, OTHER]},
    {"path": "b/two.jpg", "width": 20, "height": 10, "faces": []},
]
Write = Callable[[Path], None]


def as_json(path: Path) -> None:
    write_pictures_json(path, [json.dumps(one) for one in PICTURES])


def as_lines(path: Path) -> None:
    path.write_text("\n".join(json.dumps(one) for one in PICTURES) + "\n\n")


def as_list(path: Path) -> None:
    path.write_text(json.dumps(PICTURES))


@pytest.mark.parametrize(("name", "write"), [("x.json", as_json), ("x.jsonl", as_lines), ("x.json", as_list)])
def test_json_keeps_everything(tmp_path: Path, name: str, write: Write) -> None:
    write(tmp_path / name)
    assert read_results(tmp_path / name) == {"a/one.jpg": [FACE, OTHER], "b/two.jpg": []}


@pytest.mark.parametrize(("name", "write"), [("x.json", as_json), ("x.jsonl", as_lines), ("x.csv", None)])
def test_a_byte_order_mark_is_passed_over(tmp_path: Path, name: str, write: Write | None) -> None:
    """Editors of Windows write one. In JSON Lines it was a mistake in line 1."""
    (write or (lambda path: write_pictures_csv(path, PICTURES)))(tmp_path / name)
    before = read_results(tmp_path / name)
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (tmp_path / name).read_bytes())
    assert read_results(tmp_path / name) == before


def test_points_by_picture(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"one": POINTS, "two": [POINTS, OTHER["landmarks"]], "none": []}))
    found = read_results(tmp_path / "x.json")
    assert [face["landmarks"] for face in found["one"] + found["two"]] == [POINTS, POINTS, OTHER["landmarks"]]
    assert found["none"] == []
    assert found["one"][0]["visibility"] is None


@pytest.mark.parametrize("name", ["x.csv", "x.parquet"])
def test_tables_of_points(tmp_path: Path, name: str) -> None:
    if name == "x.parquet":
        pytest.importorskip("pyarrow")
    (write_pictures_parquet if name == "x.parquet" else write_pictures_csv)(tmp_path / name, PICTURES)
    (faces,) = read_results(tmp_path / name).values()  # a picture without a face has no row
    assert [{key: face[key] for key in ("landmarks", "visibility", "confidence")} for face in faces] == [
        {key: face[key] for key in ("landmarks", "visibility", "confidence")} for face in (FACE, OTHER)
    ]


def test_a_table_of_faces(tmp_path: Path) -> None:
    header = "picture,x0,y0,x1,y1,x2,y2,hidden0,hidden1,hidden2"
    (tmp_path / "x.csv").write_text(f"{header}\none.png,1,2,3.5,4,5,9.25,0,1,0\n")
    (face,) = read_results(tmp_path / "x.csv")["one.png"]
    assert (face["landmarks"], face["visibility"]) == (POINTS, [1.0, 0.0, 1.0])


def test_coco(tmp_path: Path) -> None:
    write_pictures_coco(tmp_path / "x.json", PICTURES)
    found = read_results(tmp_path / "x.json")
    names = {Path(name).name: faces for name, faces in found.items()}
    assert names["two.jpg"] == []
    assert names["one.jpg"][0] == {**FACE, "visibility": [1.0, 0.0, 1.0], "confidence": None}


def coco(triples: list[Any]) -> dict[str, Any]:
    return {"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [{"image_id": 1, "keypoints": triples}]}


@pytest.mark.parametrize(
    ("flags", "visibility", "confidence"),
    [((2, 2), None, None), ((1, 1), None, None), ((2, 1), [1.0, 0.0], None), ((0.5, 0.75), None, [0.5, 0.75])],
    ids=["all visible says nothing", "all hidden says nothing", "flags", "scores of a detector"],
)
def test_the_third_number_of_coco(tmp_path: Path, flags: Any, visibility: Any, confidence: Any) -> None:
    (tmp_path / "x.json").write_text(json.dumps(coco([1, 2, flags[0], 3, 4, flags[1]])))
    (face,) = read_results(tmp_path / "x.json")["a.jpg"]
    assert (face["visibility"], face["confidence"]) == (visibility, confidence)


def test_a_folder(tmp_path: Path) -> None:
    write_pts(tmp_path / "clip" / "000001.pts", np.array(POINTS))
    (tmp_path / "other.jsonl").write_text(json.dumps({"frame": 2, "time_s": 0.0, "faces": [FACE]}))
    (tmp_path / "._hidden.pts").write_text("nothing")
    found = read_results(tmp_path)
    assert {name: faces[0]["landmarks"] for name, faces in found.items()} == {
        "clip/000001": POINTS, "other/000002": POINTS,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "{", "x.json: expected predictions: "),
        ("x.json", "3", "found int"),
        ("x.json", "{}", "found none"),
        ("x.json", '{"annotations": [], "images": []}', "COCO 'images'"),
        ("x.json", json.dumps(coco([1, 2, 0, 3, 4, 2])), "annotation 1: expected 'keypoints'"),
        ("x.json", json.dumps(coco([0, 0, 0, 3, 4, 1])), "found 1 points without a position (flag 0)"),
        ("x.json", json.dumps(coco([0, 0, 0, 3, 4, 0.7])), "found 1 points without a position (flag 0)"),
        (
            "x.csv",
            "picture,x0,y0,x2,y2\na,1,2,3,4\n",
            "expected a column x1 before those of later points, found x2",
        ),
        ("x.csv", "picture,point,x,y\na,0,1,2\na,0,5,6\n", "line 3: expected a face's number and a point's, found the"),
        ("x.json", '[{"path": "a", "faces": [{"landmarks": [[1, 2], [3]]}]}]', "picture 1: expected "),
        ("x.json", '[{"path": "a", "faces": [{"landmarks": [[1, NaN]]}]}]', "picture 1: expected finite points"),
        ("x.json", '[{"path": "a", "faces": [{"landmarks": [[1, 2]], "confidence": [2]}]}]', "within [0, 1]"),
        ("x.jsonl", '{"path": "a", "faces": []}\n{', "line 2: expected a JSON object"),
        ("x.csv", "a,b\n1,2\n", "expected the columns path, face, point, x, y; or picture"),
        ("x.csv", "path,face,point,x,y\na,0,1,2,3\n", "a, face 0: expected the points 0 to 0"),
        ("x.csv", "path,face,point,x,y\n", "found an empty one"),
        ("x.txt", "", "found the suffix '.txt'"),
        ("y/x", "", "found no such file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, name: str, text: str, message: str) -> None:
    if "/" not in name:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError) as caught:
        read_results(tmp_path / name)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)


def test_pictures_without_a_face_in_any_form(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a.jpg": null, "b.jpg": [], "c.jpg": [[1, 2]]}')
    found = read_results(tmp_path / "a.json")
    assert {name: len(faces) for name, faces in found.items()} == {"a.jpg": 0, "b.jpg": 0, "c.jpg": 1}


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.json", '{"a.jpg": 5}', "a.json: a.jpg: expected points"),
        ("a.json", '{"a.jpg": [[1, 2]], "a.jpg": [[3, 4]]}', "found the name 'a.jpg' twice"),
        ("a.json", '{"a.jpg": [[1, NaN]]}', "a.json: a.jpg: expected finite points"),
        ("a.json", '{"a.jpg": [[1, 2], [3]]}', "a.json: a.jpg: expected finite points"),
        ("a.json", '{"a.jpg": [[1, -1e308]]}', "found a point at 1e+308"),
        ("a.json", '{"annotations": [], "images": 5}', "expected COCO 'images'"),
        ("a.json", "[" * 10_000, "found too many brackets within brackets"),
        ("a.jsonl", '{"faces": []}', "line 1: expected an object with 'path' or 'frame', and 'faces', found neither"),
        (
            "a.jsonl",
            '{"path": "a", "faces": [], "faces": []}',
            "line 1: expected a JSON object, found the name 'faces' twice",
        ),
        ("a.jsonl", '{"frame": NaN, "faces": []}', "line 1: expected an object with 'path' or 'frame'"),
        ("a.csv", "path,face,point,x,y\na.jpg,0,7,1,2\n", "a.jpg, face 0: expected the points 0 to 0"),
        ("a.parquet", "PAR1 and nothing else", "a.parquet: expected a Parquet table"),
    ],
)
def test_odd_content_is_one_line(tmp_path: Path, name: str, content: str, found: str) -> None:
    if name == "a.parquet":
        pytest.importorskip("pyarrow", reason="Parquet needs pandas and pyarrow: pip install 'srn[pandas]'")
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError) as error:
        read_results(tmp_path / name)
    assert found in str(error.value)
    assert "\n" not in str(error.value)


def test_pipes_and_devices_are_no_predictions(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    (tmp_path / "b.json").symlink_to("/dev/zero")
    for name in ("a.json", "b.json"):
        with pytest.raises(DataError, match=r"expected predictions: .* found a device or a pipe"):
            read_results(tmp_path / name)


def test_tables_keep_names_that_are_not_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_pictures_csv(tmp_path / "a.csv", [{**PICTURES[0], "path": name}])
    assert list(read_results(tmp_path / "a.csv")) == [name]


def test_any_line_end_may_stand_in_a_name(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"path": "a\u2028b\x85.jpg", "faces": []}\r\n\n', encoding="utf-8")
    assert read_results(tmp_path / "a.jsonl") == {"a\u2028b\x85.jpg": []}


def test_a_table_that_unfolds_too_far_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas", reason="Parquet needs pandas and pyarrow: pip install 'srn[pandas]'")
    pytest.importorskip("pyarrow")
    rows = {"path": ["a.jpg"] * 50_000, "face": 0, "point": 0, "x": 1.0, "y": 1.0}
    pandas.DataFrame(rows).to_parquet(tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    monkeypatch.setenv("SRN_MAX_BYTES", "100000")
    with pytest.raises(DataError, match="expected arrays of at most 100000 bytes"):
        read_results(tmp_path / "a.parquet")

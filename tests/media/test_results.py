"""Result files, to the byte."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.errors import InputError
from srn.media.results import (
    compact,
    frame_record,
    json_lines,
    picture_record,
    write_pictures_coco,
    write_pictures_csv,
    write_pictures_json,
    write_pictures_lines,
    write_pictures_parquet,
)

from ..conftest import full_disk

FACE: dict[str, Any] = {
    "box": [1.0, 2.0, 11.5, 22.25],
    "score": 0.9,
    "landmarks": [[1.5, 2.0], [11.25, 22.0]],
    "visibility": [0.49, 0.5],
    "confidence": [0.1, 1.0],
}
BARE = {**FACE, "visibility": None, "confidence": None}


@pytest.fixture
def pictures() -> list[dict[str, Any]]:
    return [picture_record(Path("in/a b.png"), (30, 20), [FACE, BARE]), picture_record(Path("c,d.png"), (5, 6), [])]


def test_json(tmp_path: Path, pictures: list[dict[str, Any]]) -> None:
    lines = [compact(picture) for picture in pictures]
    write_pictures_json(tmp_path / "new" / "a.json", lines[1:])
    text = '{"images":[{"path":"c,d.png","width":6,"height":5,"faces":[]}]}'
    assert (tmp_path / "new" / "a.json").read_text() == text
    stream = io.StringIO()
    write_pictures_json(stream, lines[1:])
    assert stream.getvalue() == text + "\n"
    write_pictures_json(tmp_path / "b.json", lines)
    assert json.loads((tmp_path / "b.json").read_text()) == {"images": pictures}


def test_lines(tmp_path: Path, pictures: list[dict[str, Any]]) -> None:
    write_pictures_lines(tmp_path / "a.jsonl", map(compact, pictures))
    assert [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()] == pictures


def test_csv(tmp_path: Path, pictures: list[dict[str, Any]]) -> None:
    write_pictures_csv(tmp_path / "a.csv", [*pictures, picture_record(Path("c,d.png"), (5, 6), [BARE])])
    lines = (tmp_path / "a.csv").read_bytes().decode().split(os.linesep)
    assert lines == [
        "path,face,point,x,y,visibility,confidence,covariance_xx,covariance_xy,covariance_yy",
        "in/a b.png,0,0,1.5,2.0,0.49,0.1,,,",
        "in/a b.png,0,1,11.25,22.0,0.5,1.0,,,",
        "in/a b.png,1,0,1.5,2.0,,,,,",
        "in/a b.png,1,1,11.25,22.0,,,,,",
        '"c,d.png",0,0,1.5,2.0,,,,,',
        '"c,d.png",0,1,11.25,22.0,,,,,',
        "",
    ]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_covariances_in_tables(tmp_path: Path, kind: str) -> None:
    """Behind all other columns, so that readers of older tables go on; pandas is an independent reader."""
    pandas = pytest.importorskip("pandas")
    if kind == "parquet":
        pytest.importorskip("pyarrow")
    picture = picture_record(Path("a.png"), (5, 6), [{**BARE, "covariance": [[4.5, -1.25, 2], [1, 0, 0.5]]}, BARE])
    (write_pictures_csv if kind == "csv" else write_pictures_parquet)(tmp_path / "a", [picture])
    table = (pandas.read_csv if kind == "csv" else pandas.read_parquet)(tmp_path / "a")
    assert list(table)[7:] == ["covariance_xx", "covariance_xy", "covariance_yy"]
    values = table.iloc[:, 7:].to_numpy()
    assert values[:2].tolist() == [[4.5, -1.25, 2], [1, 0, 0.5]]
    assert np.isnan(values[2:]).all()


def test_coco(tmp_path: Path, pictures: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_pictures_coco(Path("in/b.json"), [pictures[1], pictures[0]])
    images = json.loads((tmp_path / "in" / "b.json").read_text())["images"]
    assert [image["file_name"] for image in images] == [str(tmp_path / "c,d.png"), "a b.png"]
    write_pictures_coco(tmp_path / "a.json", [pictures[1], pictures[0]])
    content = json.loads((tmp_path / "a.json").read_text())
    assert content["images"] == [
        {"id": 1, "file_name": "c,d.png", "width": 6, "height": 5},
        {"id": 2, "file_name": "in/a b.png", "width": 20, "height": 30},
    ]
    first, second = content["annotations"]
    assert (first["id"], second["id"], first["image_id"], second["image_id"]) == (1, 2, 2, 2)
    assert first["keypoints"] == [1.5, 2.0, 1, 11.25, 22.0, 2]  # hidden, visible
    assert second["keypoints"] == [1.5, 2.0, 2, 11.25, 22.0, 2]
    assert (first["bbox"], first["area"], first["num_keypoints"]) == ([1.0, 2.0, 10.5, 20.25], 212.62, 2)
    assert {annotation["category_id"] for annotation in content["annotations"]} == {content["categories"][0]["id"]}


def test_json_lines(tmp_path: Path) -> None:
    records = [frame_record(0, 0.0333333333, [FACE]), frame_record(1, 2 / 30, [])]
    text = f'{json.dumps(records[0], separators=(",", ":"))}\n{{"frame":1,"time_s":0.066667,"faces":[]}}\n'
    assert text.startswith('{"frame":0,"time_s":0.033333,"faces":[{"box":[1.0,')
    with json_lines(tmp_path / "a.jsonl") as write:
        for record in records:
            write(record)
        assert not (tmp_path / "a.jsonl").exists()
        (growing,) = tmp_path.iterdir()
        assert growing.read_text() == text  # each line is written at once
    assert (tmp_path / "a.jsonl").read_text() == text
    stream = io.StringIO()
    with json_lines(stream) as write:
        write(records[1])
        assert stream.getvalue() == text.splitlines(keepends=True)[1]
    with json_lines(None) as write:
        write(records[0])


def test_the_lines_of_an_interrupted_run_are_kept(tmp_path: Path) -> None:
    def interrupted() -> None:
        with json_lines(tmp_path / "a.jsonl") as write:
            write({"frame": 0})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.jsonl").read_text() == '{"frame":0}\n'


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    with json_lines(tmp_path / "a.jsonl") as write, full_disk(1000):
        write({"text": "x" * 600})
        for _ in range(2):
            with pytest.raises(InputError, match=r"a\.jsonl: expected a file that can be written, found File too "):
                write({"text": "x" * 600})
        write({"text": "y"})
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"][0] for line in lines] == ["x", "y"]


def test_an_interrupted_run_says_that_it_is_partial(tmp_path: Path, pictures: list[dict[str, Any]]) -> None:
    write_pictures_json(tmp_path / "a.json", [compact(picture) for picture in pictures], partial=True)
    assert json.loads((tmp_path / "a.json").read_text()) == {"images": pictures, "partial": True}
    write_pictures_coco(tmp_path / "b.json", pictures, partial=True)
    assert json.loads((tmp_path / "b.json").read_text())["partial"] is True


def test_the_standard_output_by_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures_json(Path("-"), [])
    with json_lines(Path("-")) as write:
        write({"a": 1})
    assert capsys.readouterr().out == '{"images":[]}\n{"a":1}\n'


def test_a_parquet_file_takes_names_that_are_not_utf_8(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="Parquet needs pandas and pyarrow: pip install 'srn[pandas]'")
    pandas = pytest.importorskip("pandas")
    face = {"landmarks": [[1, 2]], "visibility": None, "confidence": None, "box": [0, 0, 1, 1], "score": 1.0}
    names = [os.fsdecode(b"caf\xe9.jpg"), "café.jpg", "\x1b[31m.jpg"]
    write_pictures_parquet(tmp_path / "a", [picture_record(Path(name), (9, 9), [face]) for name in names])
    assert pandas.read_parquet(tmp_path / "a")["path"].tolist() == ["caf\\xe9.jpg", *names[1:]]

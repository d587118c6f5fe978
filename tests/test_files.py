"""Atomic writing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from srn.errors import InputError
from srn.files import CsvLog, growing_file, write_atomically, write_csv, write_json


def test_makes_folders_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c.bin"
    write_atomically(target, b"one")
    write_atomically(target, b"two")
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["c.bin"]


def test_text_is_stored_as_utf_8_with_its_own_line_ends(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a.txt", "é\r\nb\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa9\r\nb\n"


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "c.bin"
    target.write_bytes(b"old")

    def fill_the_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fill_the_disk)
    with pytest.raises(InputError, match=r"c\.bin: expected a file that can be written, found No space left"):
        write_atomically(target, b"newer", durable=True)
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["c.bin"]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"x\.bin: expected a file that can be written"):
        write_atomically(tmp_path / "file" / "x.bin", b"content")


def test_a_growing_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.jsonl"
    with growing_file(target) as beside:
        assert beside.suffix == ".jsonl"
        assert beside.parent == target.parent
        beside.write_text("one\n")
        assert not target.exists()
    assert target.read_text() == "one\n"
    assert [p.name for p in target.parent.iterdir()] == ["a.jsonl"]


def test_a_growing_file_is_kept_when_interrupted(tmp_path: Path) -> None:
    def interrupted() -> None:
        with growing_file(tmp_path / "a.txt") as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.txt").read_text() == "half"


def test_a_growing_file_of_nothing_leaves_the_old_one_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with growing_file(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    with pytest.raises(InputError, match="a file that can be written"), growing_file(tmp_path / "a.txt" / "b"):
        pass


def test_json_and_csv(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"a": [1]})
    assert (tmp_path / "a.json").read_text() == '{\n "a": [\n  1\n ]\n}\n'
    write_csv(tmp_path / "a.csv", [("x", "y"), (1, "a,b")])
    assert (tmp_path / "a.csv").read_bytes() == b'x,y\n1,"a,b"\n'
    write_csv(tmp_path / "a.csv", [("x",), (1.5,)], line_end="\r\n")
    assert (tmp_path / "a.csv").read_bytes() == b"x\r\n1.5\r\n"


def test_a_log_grows_by_a_row_and_drops_the_rows_that_a_resumed_run_repeats(tmp_path: Path) -> None:
    path = tmp_path / "run" / "log.csv"
    log = CsvLog(path, ("step", "loss"))
    for step in (10, 20, 30):
        log.append({"loss": step / 100, "step": step})
    assert path.read_bytes() == b"step,loss\n10,0.1\n20,0.2\n30,0.3\n"
    resumed = CsvLog(path, ("step", "loss"), last=20)
    assert path.read_text() == "step,loss\n10,0.1\n20,0.2\n"
    resumed.append({"step": 30, "loss": ""})
    assert path.read_text() == "step,loss\n10,0.1\n20,0.2\n30,\n"


def test_a_log_of_older_columns_gets_the_new_ones_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / "log.csv", [("step", "old", "loss"), (1, 2, 3)])
    CsvLog(tmp_path / "log.csv", ("step", "loss", "new"), last=5, line_end="\r\n")
    assert (tmp_path / "log.csv").read_bytes() == b"step,loss,new\r\n1,3,\r\n"

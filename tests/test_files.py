"""Atomic writing."""

from __future__ import annotations

from pathlib import Path

import pytest

from srn.errors import InputError
from srn.files import write_atomically, written_beside


def test_makes_folders_and_leaves_nothing_beside(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "c.bin"
    write_atomically(target, b"one")
    write_atomically(target, b"two")
    assert target.read_bytes() == b"two"
    assert [path.name for path in target.parent.iterdir()] == ["c.bin"]


def test_a_failed_write_keeps_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "c.bin"
    target.write_bytes(b"old")

    def fill_the_disk(self: Path, content: bytes) -> int:
        with self.open("wb") as stream:
            stream.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fill_the_disk)
    with pytest.raises(InputError, match=r"c\.bin: expected a file that can be written, found No space left"):
        write_atomically(target, b"newer")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["c.bin"]


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(InputError, match=r"x\.bin: expected a file that can be written"):
        write_atomically(tmp_path / "file" / "x.bin", b"content")


def test_a_growing_file_gets_its_name_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "a.jsonl"
    with written_beside(target) as beside:
        assert beside.suffix == ".jsonl"
        assert beside.parent == target.parent
        beside.write_text("one\n")
        assert not target.exists()
    assert target.read_text() == "one\n"
    assert [p.name for p in target.parent.iterdir()] == ["a.jsonl"]


def test_a_growing_file_is_kept_when_interrupted(tmp_path: Path) -> None:
    def interrupted() -> None:
        with written_beside(tmp_path / "a.txt") as beside:
            beside.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (tmp_path / "a.txt").read_text() == "half"


def test_a_growing_file_of_nothing_leaves_the_old_one_alone(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    with written_beside(tmp_path / "a.txt"):
        pass
    assert (tmp_path / "a.txt").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    with pytest.raises(InputError, match="a file that can be written"), written_beside(tmp_path / "a.txt" / "b"):
        pass

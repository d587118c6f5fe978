"""The journal of a run: whole batches, equal options, one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srn.errors import InputError
from srn.media.journal import Entry, Journal, journal_beside, stamp_of
from srn.media.listing import pictures_in

OPTIONS = {"PATHS": ["a"], "--out": None, "--passes": 2}
RECORD = {"path": "a.jpg", "width": 4, "height": 3, "faces": [], "left_out": 2}
A, B = Entry("a", RECORD), Entry("in/b", {**RECORD, "path": "b"}, False)
C = Entry("c", RECORD, stamp=(1234, 1_700_000_000_000_000_001))


def left_in(path: Path) -> list[Entry] | None:
    journal = Journal(path, OPTIONS, resume=True)
    journal.close(finished=False)
    return journal.left


def test_what_was_added_is_read_again(tmp_path: Path) -> None:
    path = journal_beside(tmp_path / "new" / "faces.json")
    assert path == tmp_path / "new" / ".faces.json.partial.jsonl"
    journal = Journal(path, OPTIONS, resume=True)
    assert journal.left is None  # nothing was left: a new run begins
    journal.append([A, B])
    journal.close(finished=False)
    journal = Journal(path, OPTIONS, resume=True)
    assert journal.left == [A, B]
    journal.append([C])
    journal.close(finished=False)
    assert left_in(path) == [A, B, C]
    last = Journal(path, OPTIONS)
    assert last.left is None
    assert path.read_text() == json.dumps(OPTIONS, separators=(",", ":")) + "\n"
    last.close(finished=True)
    assert not path.exists()


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_torn_batch_is_dropped(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "j.jsonl"
    journal = Journal(path, OPTIONS)
    journal.append([A])
    whole = path.stat().st_size
    journal.append([B, C])
    journal.close(finished=False)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - min(cut, path.stat().st_size - whole))
    journal = Journal(path, OPTIONS, resume=True)
    assert journal.left == [A]
    assert path.stat().st_size == whole
    journal.append([B, C])
    journal.close(finished=False)
    assert left_in(path) == [A, B, C]


def test_a_run_that_was_killed_at_once_left_nothing(tmp_path: Path) -> None:
    for text in ("", '{"PATHS":["a"'):
        (tmp_path / "j.jsonl").write_text(text)
        journal = Journal(tmp_path / "j.jsonl", OPTIONS, resume=True)
        assert journal.left is None
        journal.close(finished=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({**OPTIONS, "--passes": 1}, "expected --passes 2, as in the run that was left in .*, found 1"),
        ({**OPTIONS, "--new": "x"}, "expected --new none, as in the run that was left in .*, found x"),
        ({"PATHS": ["a"], "--out": None}, "expected --passes 2, as in the run that was left in .*, found none"),
    ],
)
def test_other_options_are_named(tmp_path: Path, options: dict[str, object], message: str) -> None:
    Journal(tmp_path / "j.jsonl", OPTIONS).close(finished=False)
    before = (tmp_path / "j.jsonl").read_bytes()
    with pytest.raises(InputError, match=message):
        Journal(tmp_path / "j.jsonl", options, resume=True)
    assert (tmp_path / "j.jsonl").read_bytes() == before


@pytest.mark.parametrize("line", ["nonsense", '{"a":1}', "[[1]]", '["abcd"]'])
def test_another_file_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(f"{json.dumps(OPTIONS)}\n{line}\n[]\n")
    with pytest.raises(InputError, match=r"j\.jsonl, line 2: expected a line of a journal of 'srn detect', found"):
        Journal(path, OPTIONS, resume=True)


@pytest.mark.parametrize(
    "batch",
    [
        3, {"a": RECORD}, ["a"], [["a", RECORD]], [["a", None, True]], [[["a"], RECORD, True]], [["a", {}, True]],
        [["a", {**RECORD, "left_out": "2"}, True]], [["a", {**RECORD, "faces": [{"box": 1}]}, True]],
        [["a", {**RECORD, "width": None}, True]], [["a", {**RECORD, "pictures": "2"}, True]],
        [["a", RECORD, True, [1]]], [["a", RECORD, True, None, 2]], [["a", RECORD, True], ["b"]],
    ],
)  # fmt: skip
def test_entries_that_are_none_are_named_with_their_line(tmp_path: Path, batch: object) -> None:
    """Else they would be written into the results, or end the run amid its work."""
    (tmp_path / "j.jsonl").write_text(f"{json.dumps(OPTIONS)}\n{json.dumps(batch)}\n")
    with pytest.raises(
        InputError, match=r"j\.jsonl, line 2: expected a line of a journal of 'srn detect', found (no|other)"
    ):
        Journal(tmp_path / "j.jsonl", OPTIONS, resume=True)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl", OPTIONS)
    program = (
        "import sys; from pathlib import Path; from srn.media.journal import Journal\n"
        "try: Journal(Path(sys.argv[1]), {})\n"
        "except Exception as error: print(error)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "j.jsonl")], capture_output=True, text=True, check=True
    )
    assert (
        ran.stdout == f"{tmp_path / 'j.jsonl'}: expected a run that no other process holds, found one at work there\n"
    )
    journal.close(finished=True)


def test_journals_are_no_pictures(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    Journal(journal_beside(tmp_path / "b.jpg"), OPTIONS).close(finished=False)
    assert [picture.path.name for picture in pictures_in([tmp_path]).pictures] == ["a.jpg"]


def test_entries_of_older_versions_have_no_stamp(tmp_path: Path) -> None:
    path = tmp_path / "j.jsonl"
    Journal(path, OPTIONS).close(finished=False)
    with path.open("a") as file:
        file.write(json.dumps([["a", RECORD, True]]) + "\n")
    assert left_in(path) == [A]


def test_another_content_has_another_stamp(tmp_path: Path) -> None:
    assert stamp_of(tmp_path / "a") is None
    (tmp_path / "a").write_bytes(b"one")
    os.utime(tmp_path / "a", ns=(0, 5))
    assert stamp_of(tmp_path / "a") == (3, 5)

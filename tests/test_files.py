"""Atomic writing."""

from __future__ import annotations

import csv
import os
import signal
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from srn.errors import InputError
from srn.files import (
    CHART,
    FACES_CSV,
    FACES_JSON,
    NETWORK,
    NUMBERS_JSON,
    PACK,
    VIDEO,
    WEIGHTS,
    FileKind,
    Output,
    check_outputs,
    csv_text,
    growing_file,
    interruptions_held,
    opened_text,
    write_atomically,
    write_json,
)


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
    write_json(tmp_path / "a.json", {"a": [1.5, float("nan"), -float("inf")]})
    assert (tmp_path / "a.json").read_text() == '{\n "a": [\n  1.5,\n  null,\n  null\n ]\n}\n'
    assert csv_text([("x", "y"), (1, "a,b")]) == 'x,y\n1,"a,b"\n'
    assert csv_text([("x",), (1.5,)], line_end="\r\n") == "x\r\n1.5\r\n"


# --- in the place of a file


def written(path: Path, content: bytes) -> None:
    write_atomically(path, content)


def grown(path: Path, content: bytes) -> None:
    with growing_file(path) as beside, beside.open("wb") as file:
        file.write(content)


WRITERS = pytest.mark.parametrize("write", [written, grown])
Write = Callable[[Path, bytes], None]


@WRITERS
def test_a_link_is_followed_and_the_mode_is_kept(tmp_path: Path, write: Write) -> None:
    (tmp_path / "far").mkdir()
    target = tmp_path / "far" / "private.json"
    target.write_bytes(b"old")
    target.chmod(0o600)
    link = tmp_path / "link.json"
    link.symlink_to(target)
    write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["far", "link.json", "private.json"]


@WRITERS
def test_a_pipe_is_written_into(tmp_path: Path, write: Write) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_bytes()))
    reader.start()
    write(pipe, b"content")
    reader.join(10)
    assert got == [b"content"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@WRITERS
def test_a_device_is_written_into(write: Write) -> None:
    write(Path("/dev/null"), b"content")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("name", ["-", "/dev/stdout"])
def test_the_standard_output(name: str, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    sys.stdout.write("before ")
    write_atomically(name, b"content")
    assert capsysbinary.readouterr().out == b"before content"


@WRITERS
@pytest.mark.parametrize("length", [230, 255])
def test_the_longest_names(tmp_path: Path, write: Write, length: int) -> None:
    path = tmp_path / ("ä" * (length // 2 - 2) + "x" * (length % 2) + ".txt")
    write(path, b"content")
    assert path.read_bytes() == b"content"
    with pytest.raises(InputError, match="found File name too long"):
        write(tmp_path / ("x" * 256), b"content")


def test_names_that_are_not_utf_8_keep_their_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9")
    write_atomically(tmp_path / f"{name}.csv", csv_text([(name, 1)]))
    assert (tmp_path / f"{name}.csv").read_bytes() == b"caf\xe9,1\n"


@pytest.mark.parametrize("name", ["a\u2028b", "a\rb", "a\nb", "a\r\nb", "a\x85b", "a\x0cb", os.fsdecode(b"caf\xe9")])
def test_line_ends_in_names_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    write_atomically(tmp_path / "a.csv", csv_text([(name, "b")]))
    assert list(csv.reader(opened_text(tmp_path / "a.csv"))) == [[name, "b"]]


# --- the check of outputs

PICTURE, JSON = b"\xff\xd8\xff\xe0 and so on", b'{"images":[]}'


@pytest.mark.parametrize(
    ("kind", "content", "free", "forced"),
    [
        (FACES_JSON, JSON, True, True),
        (FACES_JSON, b"", True, True),
        (FACES_JSON, PICTURE, False, False),
        (FACES_JSON, b"\x89PNG\r\n\x1a\n", False, False),
        (FACES_JSON, b"\0\0\0\x18ftypmp42", False, False),
        (FACES_JSON, b"P6\n2 2\n255\n", False, False),
        (FACES_JSON, b"\0\0\0\x0cjP  \r\n", False, False),
        (FACES_JSON, b"\0\0\0\x08wide\0\0\0\0mdat", False, False),
        (FACES_JSON, b"\0\0\x01\xba!\0", False, False),
        (FACES_JSON, b"FLV\x01\x05", False, False),
        (FACES_JSON, b"OggS\0\x02", False, False),
        (FACES_JSON, (b"G@\x11" + bytes(185)) * 2, False, False),
        (FACES_JSON, b'{"a.jpg": [[1, 2, 3, 4]]}', False, True),
        (FACES_JSON, b"a letter", False, True),
        (FACES_JSON, b'{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}', False, True),
        (FACES_JSON, b'{"images":[{"license":4,"file_name":"a.jpg"}],"annotations":[]}', False, True),
        (FACES_JSON, b'{"images":[{"id":1,"file_name":"a.jpg","width":9}],"annotations":[]}', True, True),
        (NUMBERS_JSON, b'{\n "n": 3,\n "missed": 0}', True, True),
        (NUMBERS_JSON, b'{\n  "name": "a package of npm"}', False, True),
        (NUMBERS_JSON, b'{\n "a": 1}', False, True),
        (FACES_CSV, b"path,face,point,x,y,visibility,confidence\n", True, True),
        (FACES_CSV, b"a.jpg,1,2,3,4\n", False, True),
        (VIDEO, b"\0\0\0\x18ftypmp42 ... \nwritten by srn.", True, True),
        (VIDEO, b"\x1aE\xdf\xa3 ... \nwritten by srn.", True, True),
        (VIDEO, b"\0\0\0\x18ftypmp42, of the user's", False, True),
        (VIDEO, b"\x1aE\xdf\xa3", False, True),
        (VIDEO, PICTURE, False, False),
        (CHART, b'<?xml version="1.0" encoding="UTF-8"?>\n<svg width="9">, a drawing', False, True),
        (CHART, b"\x89PNG\r\n\x1a\n, a photograph", False, True),
        (CHART, PICTURE, False, False),
        (WEIGHTS, b"12345678" + b'{"__metadata__":{"license":"MIT","format":"srn weights 1"', True, True),
        (WEIGHTS, b"12345678" + b'{"__metadata__":{"format":"pt"},"w":{"dtype":"F32"', False, True),
        (NETWORK, b"\x08\x0a\x12\x03srn:", True, True),
        (NETWORK, b"\x08\x0a\x12\x07pytorch", False, True),
        (NETWORK, b"\x08\x0a\x12\x0donnx.quantize", False, True),
        (PACK, b"PK\x03\x04" + bytes(26) + b"format.npy", True, True),
        (PACK, b"PK\x03\x04" + bytes(26) + b"word/document.xml", False, True),
        (PACK, b"a letter", False, True),
    ],
)
def test_a_file_of_another_kind(tmp_path: Path, kind: FileKind, content: bytes, free: bool, forced: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    for force, allowed in ((False, free), (True, forced)):
        if allowed:
            check_outputs([Output("--out", path, kind)], [], force=force)
        else:
            with pytest.raises(InputError, match=rf"--out: expected a new file, or {kind.words}, found .*file, a "):
                check_outputs([Output("--out", path, kind)], [], force=force)
    assert path.read_bytes() == content


def test_an_input_is_never_an_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("in/a.json").write_bytes(JSON)
    Path("link.json").symlink_to("in/a.json")
    os.link("in/a.json", "hard.json")
    for path in ("in/a.json", "link.json", "hard.json", tmp_path / "in" / ".." / "in" / "a.json"):
        with pytest.raises(InputError, match="--json: expected another file than the inputs, found "):
            check_outputs([Output("--json", Path(path), FACES_JSON)], [Path("in/a.json")], force=True)
    check_outputs([Output("--json", Path("in/a.json"), FACES_JSON)], [Path("in")])  # an earlier result among pictures
    Path("in/notes.txt").write_text("notes")
    with pytest.raises(InputError, match="a file of another kind in a folder that is read"):
        check_outputs([Output("--json", Path("in/notes.txt"), FACES_JSON)], [Path("in")], force=True)


def test_a_folder_of_outputs_may_hold_no_input(tmp_path: Path) -> None:
    inside = tmp_path / "set" / "a"
    inside.mkdir(parents=True)
    for out in (inside, tmp_path / "set", tmp_path):
        with pytest.raises(InputError, match="OUT: expected a folder without any input"):
            check_outputs([Output("OUT", out, apart=True)], [inside])
        check_outputs([Output("--out", out)], [inside])
    check_outputs([Output("OUT", inside / "masked", apart=True)], [inside])


def test_two_outputs_are_two_files(tmp_path: Path) -> None:
    one = tmp_path / "a.json"
    with pytest.raises(InputError, match="--b: expected another file than that of --a"):
        check_outputs([Output("--a", one, FACES_JSON), Output("--b", tmp_path / "x" / ".." / "a.json", FACES_JSON)], [])


def test_no_output_lies_below_another(tmp_path: Path) -> None:
    file = Output("--json", tmp_path / "a", FACES_JSON)
    for other in (Output("--out", tmp_path / "a"), Output("--out", tmp_path / "a" / "b" / "c"),
                  Output("--plot", tmp_path / "a" / "b.svg", CHART)):  # fmt: skip
        for outputs in ([file, other], [other, file]):
            with pytest.raises(
                InputError, match=f"{other.name}: expected a folder that can be made, found .*of --json"
            ):
                check_outputs(outputs, [])
    check_outputs([file, Output("--out", tmp_path), Output("--plot", tmp_path / "b.svg", CHART)], [])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("circle", "found .*circle: Too many levels of symbolic links"),
        ("folder", "a file for JSON of faces, found .*folder, a folder"),
        ("file/a.json", "found .*Not a directory"),
        ("x" * 256, "found .*File name too long"),
    ],
)
def test_a_place_that_cannot_be_written(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(InputError, match=message):
        check_outputs([Output("--json", tmp_path / name, FACES_JSON)], [])
    with pytest.raises(
        InputError, match=r"--out: expected a folder that can be made, found .*file, which is no folder"
    ):
        check_outputs([Output("--out", tmp_path / "file" / "deeper")], [])


def test_permissions_are_checked_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # the superuser may do everything
    outputs = [Output("--json", tmp_path / "new" / "a.json", FACES_JSON), Output("--out", tmp_path / "new")]
    for output in outputs:
        with pytest.raises(InputError, match=f"expected a folder that can be written, found {tmp_path}: no permission"):
            check_outputs([output], [])


def test_what_may_go_to_the_standard_output() -> None:
    check_outputs([Output("--json", Path("-"), FACES_JSON)], [])
    check_outputs([Output("--json", Path("/dev/null"), FACES_JSON)], [Path("/dev/null")])
    with pytest.raises(InputError, match="--out: expected a file for a video, found the standard output"):
        check_outputs([Output("--out", Path("-"), VIDEO)], [])


@pytest.mark.parametrize(
    "write", [lambda path: write_atomically(path, "new"), lambda path: growing_file(path).__enter__()]
)
def test_an_interruption_while_the_file_beside_is_made_leaves_none(
    write: Callable[[Path], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = os.close

    def interrupted(descriptor: int) -> None:
        close(descriptor)
        monkeypatch.undo()
        os.kill(os.getpid(), signal.SIGINT)

    (tmp_path / "a.txt").write_text("older")
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(os, "close", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "a.txt")
    finally:
        signal.signal(signal.SIGINT, before)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.txt", "older")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("fails", [False, True])
def test_interruptions_wait_for_the_end_of_a_block(number: signal.Signals, fails: bool) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    def work() -> None:
        with interruptions_held():
            os.kill(os.getpid(), number)
            done.append(1)
            with interruptions_held():
                done.append(2)
            if fails:
                raise ValueError

    done: list[int] = []
    before = signal.signal(number, stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert done == [1, 2]
        assert signal.getsignal(number) is stop
    finally:
        signal.signal(number, before)


def test_ignored_interruptions_stay_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as under nohup
    try:
        with interruptions_held():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

"""Every command: outputs are checked before any work, an interruption ends it in order, names are text."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
import pytest
import typer
from rich.console import Console

from srn.cli import detect as detect_module
from srn.cli import options
from srn.cli.command import command
from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.batch import detect_pictures
from srn.inference.face import Face
from srn.media.pictures import write_image
from srn.media.pts import write_pts
from srn.media.video_reading import open_video
from srn.media.video_writing import VideoWriter

from .conftest import coordinate_file, grey_video

Run = Callable[..., Any]
Shape = npt.NDArray[np.float64]


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C works, also where the tests run in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, face: Shape) -> Path:
    """The working folder: pictures, an annotated set, a video, a box file, a letter, and weights."""
    coordinate_file(tmp_path / "a.png").rename(tmp_path / "a.jpg")
    for name in ("b.jpg", "set/c.jpg"):
        write_image(tmp_path / name, np.full((200, 200, 3), 120, np.uint8))
    write_pts(tmp_path / "set" / "c.pts", face * 80 + 100)
    grey_video(tmp_path / "v.mp4", 8)
    (tmp_path / "boxes.json").write_text('{"a.jpg": [[60, 60, 140, 140]]}')
    (tmp_path / "letter.txt").write_text("Dear reader")
    (tmp_path / "w.onnx").write_bytes(b"\x08\x08")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


AN_INPUT, ANOTHER = "expected another file than the inputs, found ", "expected a new file, or "


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("detect a.jpg --json a.jpg", f"--json: {AN_INPUT}a.jpg"),
        ("detect a.jpg --json ./set/../a.jpg", f"--json: {AN_INPUT}"),
        ("detect --json a.jpg b.jpg", f"--json: {ANOTHER}JSON of faces, found a.jpg, a picture or a video"),
        ("detect a.jpg --json v.mp4 --force", f"--json: {ANOTHER}JSON of faces, found v.mp4, a picture or a video"),
        ("detect a.jpg --boxes boxes.json --json boxes.json --force", f"--json: {AN_INPUT}boxes.json"),
        ("detect a.jpg --json boxes.json", f"--json: {ANOTHER}JSON of faces, found boxes.json, a file of another kind"),
        ("detect a.jpg --json letter.txt", f"--json: {ANOTHER}JSON of faces, found letter.txt, a file of another kind"),
        ("detect a.jpg --weights w.onnx --json w.onnx", f"--json: {AN_INPUT}w.onnx"),
        ("detect a.jpg --json set", "--json: expected a file for JSON of faces, found set, a folder"),
        ("detect a.jpg --out letter.txt", "--out: expected a folder that can be made, found letter.txt"),
        (
            "detect a.jpg --out o --format coco --json o/landmarks.json",
            "--format: expected another file than that of --json",
        ),
        ("track v.mp4 --json v.mp4", f"--json: {AN_INPUT}v.mp4"),
        ("track v.mp4 --out v.mp4", f"--out: {AN_INPUT}v.mp4"),
        ("track v.mp4 --out a.jpg", f"--out: {ANOTHER}a video, found a.jpg, a picture or a video"),
        ("track v.mp4 --json a.jpg", f"--json: {ANOTHER}JSON lines of frames, found a.jpg, a picture or a video"),
        ("track v.mp4 --out o.mp4 --json o.mp4", "--json: expected another file than that of --out"),
        ("track v.mp4 --out -", "--out: expected a file for a video, found the standard output"),
        ("evaluate set --json set/c.pts", f"--json: {ANOTHER}JSON of numbers, found set/c.pts"),
        ("evaluate set --ced letter.txt", f"--ced: {ANOTHER}a chart, found letter.txt"),
        ("evaluate set --box-curve boxes.json", f"--box-curve: {ANOTHER}a chart or JSON of numbers, found boxes.json"),
        ("evaluate set --report letter.txt/r", "--report: expected a folder that can be made, found letter.txt"),
        ("evaluate set --cache letter.txt", "--cache: expected a folder that can be made, found letter.txt"),
        ("evaluate set --ced a.xyz", "a.xyz: expected a chart (."),
        ("mask set set", "OUT: expected a folder without any input, found set, which holds set"),
        ("mask set --out .", "--out: expected a folder without any input, found ., which holds set"),
        ("mask set .", "OUT: expected a folder without any input, found ., which holds set"),
        ("export w.onnx --out w.onnx", f"--out: {AN_INPUT}w.onnx"),
        ("export w.onnx --out a.jpg", f"--out: {ANOTHER}an ONNX file, found a.jpg"),
        ("data pack set --out letter.txt", f"--out: {ANOTHER}a pack, found letter.txt"),
        ("train set --out letter.txt", "--out: expected a folder that can be made, found letter.txt"),
        ("average w.onnx --out w.onnx --run set --data set", f"--out: {AN_INPUT}w.onnx"),
        ("hofs train --out letter.txt", "--out: expected a folder that can be made, found letter.txt"),
        ("hofs synthesize w.onnx --videos set --out .", "--out: expected a folder without any input"),
        ("reproduce table4 --data set --out letter.txt", "--out: expected a folder that can be made, found letter.txt"),
    ],
)
def test_nothing_is_destroyed(srn: Run, desk: Path, command: str, message: str) -> None:
    before = content(desk)
    assert srn(*command.split()).mistake.startswith(message)
    assert content(desk) == before


@pytest.mark.parametrize(
    "command", ["detect a.jpg --out o.JPG", "anonymize v.mp4 --out o.mp4", "mask set --out o.webm"]
)
def test_a_new_folder_has_no_name_of_a_file(srn: Run, desk: Path, command: str) -> None:
    """A folder `drawn.jpg` was made, which no viewer opens; one that is there may have any name."""
    name = command.split()[-1]
    assert srn(*command.split()).mistake == f"--out: expected a folder, found {name}, the name of a file"
    assert not (desk / name).exists()
    (desk / "o.jpg").mkdir()
    assert srn("detect", "a.jpg", "--out", "o.jpg").code == 0


@pytest.mark.parametrize("command", [("detect", ""), ("detect", "a.jpg", "--json", ""), ("detect", "a.jpg", "--json=")])
def test_an_empty_word_is_no_path(srn: Run, desk: Path, command: tuple[str, ...]) -> None:
    expected = "command line: expected a value for every option and argument, found an empty one"
    assert srn(*command).mistake == expected


def test_a_forced_output(srn: Run, desk: Path, knowing: Any) -> None:
    ran = srn("detect", "a.jpg", "--boxes", "boxes.json", "--json", "letter.txt", "--force")
    assert ran.code == 0
    assert json.loads(Path("letter.txt").read_text())["images"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("mask set out --seed -1", "'--seed'"),
        ("train --data set --out run --seed -1", "'--seed'"),
        ("hofs train --data set --out run --seed -1", "'--seed'"),
        ("reproduce table4 --data set --out out --seed -1", "'--seed'"),
        ("detect a.jpg --threads 0", "'--threads'"),
        (f"train set --out run --seed {10**30}", "TrainConfig.seed: expected a whole number from 0 to 92233720368547"),
        (f"hofs train set --out run --seed {10**30}", "AgentConfig.seed: expected a whole number from 0 to 922337203"),
        (f"export robust --out e.onnx --iterations {10**30}", "srn: --iterations: expected at most 3, as the weig"),
        ("benchmark --seconds inf", "'--seconds'"),
        ("track clip.mp4 --trace inf", "'--trace'"),
        ("detect a.jpg --all --min-confidence 0.5", "srn: --all: expected no --min-confidence beside it, found 0.5"),
        ("train --data set --out run --faces 8 --device banana", "srn: --device: expected auto, cpu, cuda, ..., found"),
    ],
)
def test_options_out_of_range(srn: Run, desk: Path, command: str, message: str) -> None:
    pytest.importorskip("torch")
    ran = srn(*command.split())
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert "Traceback" not in ran.err


# --- names are text


@pytest.mark.parametrize(
    "name", ["[red]x[-red]", "x\\[red]", ":smile:", "[", "a\x1b[31mb", "a\nb", "caf\udce9", "<b>&"]
)
def test_names_are_printed_as_text(srn: Run, desk: Path, name: str) -> None:
    shown = name.replace("\x1b", r"\x1b").replace("\n", r"\x0a").replace("\udce9", r"\xe9")
    expected = f"{shown}.jpg: expected a picture or a folder, found no such file"
    assert srn("detect", f"{name}.jpg").mistake == expected
    Path(f"{name}.jpg").write_bytes(b"broken")
    ran = srn("detect", f"{name}.jpg", "--json", f"{name}.json")
    assert ran.err.splitlines()[1].startswith(f"failed: {shown}.jpg: expected a picture")
    assert json.loads(Path(f"{name}.json").read_text()) == {"images": []}
    assert "\x1b" not in ran.err


def test_a_title_of_a_table_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    options.console.file = __import__("sys").stdout
    table = options.number_table("[red]x :smile:", "set", ())
    table.add_row("[b]:smile:")
    options.console.print(table)
    options.console.file = None  # type: ignore[assignment]
    out = capsys.readouterr().out
    assert "[red]x :smile:" in out
    assert "[b]:smile:" in out


# --- errors of others


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (OSError(28, "No space left on device", "o.json"), 2, "srn: o.json: No space left on device"),
        (MemoryError(), 70, "srn: MemoryError in test_command.py, line "),
        (ValueError("odd\nlines"), 70, "srn: ValueError in test_command.py, line "),
    ],
)
def test_no_foreign_exception_reaches_the_terminal(
    srn: Run, desk: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, line: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(detect_module, "pictures_in", fail)
    ran = srn("detect", "a.jpg")
    assert ran.code == code
    assert ran.err.startswith(line)
    assert ran.err.count("\n") == 1
    if code == 70:
        monkeypatch.setenv("SRN_TRACEBACK", "1")
        with pytest.raises(type(error)):
            srn("detect", "a.jpg")


# --- interruptions


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_detection_keeps_its_pictures(
    srn: Run, desk: Path, knowing: Any, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    handlers = [signal.getsignal(some) for some in (signal.SIGINT, signal.SIGTERM)]

    def interrupted(*arguments: Any, **options: Any) -> Any:
        yield from detect_pictures(*arguments, **options)
        os.kill(os.getpid(), number)

    monkeypatch.setattr(detect_module, "detect_pictures", interrupted)
    ran = srn("detect", "a.jpg", "--json", "o.json", "--boxes", "boxes.json")
    assert (ran.code, ran.err) == (130, "srn: interrupted\n")
    values = json.loads(Path("o.json").read_text())
    assert [image["path"] for image in values["images"]] == ["a.jpg"]
    assert values["partial"] is True
    assert [signal.getsignal(some) for some in (signal.SIGINT, signal.SIGTERM)] == handlers


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_track_keeps_whole_lines_and_a_video(
    srn: Run, desk: Path, monkeypatch: pytest.MonkeyPatch, face: Shape, number: int
) -> None:
    class Tracker:
        frames = 0

        def update(self, frame: Any, time_s: float) -> list[Face]:
            self.frames += 1
            if self.frames == 5:
                os.kill(os.getpid(), number)
            shape = face * 60 + 60
            return [Face(shape, None, None, Box.around(shape), 0.9, IBUG_68, 1)]

    class Landmarker:
        def tracker(self, **_: Any) -> Tracker:
            return Tracker()

    monkeypatch.setattr(options, "open_landmarker", lambda *arguments: Landmarker())
    close = VideoWriter.__exit__

    def closed(self: VideoWriter, *exception: Any) -> None:
        os.kill(os.getpid(), number)  # once more, when the outputs are being completed
        close(self, *exception)

    monkeypatch.setattr(VideoWriter, "__exit__", closed)
    ran = srn("track", "v.mp4", "--json", "o.jsonl", "--out", "o.mp4")
    assert (ran.code, ran.err.splitlines()) == (130, ["1 face in 4 frames", "interrupted; the finished part is kept"])
    assert len([json.loads(line) for line in Path("o.jsonl").read_text().splitlines()]) == 4
    assert len(list(open_video("o.mp4"))) == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_that_makes_a_clean_up_fail_is_told(
    srn: Run, desk: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """`numpy.savez` is interrupted in the midst of an array: `zipfile` cannot close what is still being written."""
    Path("o.npz").write_bytes(older := b"PK\x03\x04" + bytes(26) + b"format.npy of an older pack")

    open_member = zipfile.ZipFile.open

    def interrupted(*arguments: Any, **options: Any) -> IO[bytes]:
        member = open_member(*arguments, **options)
        os.kill(os.getpid(), number)
        return member

    monkeypatch.setattr(zipfile.ZipFile, "open", interrupted)
    before = content(desk)
    ran = srn("data", "pack", "set", "--out", "o.npz")
    assert (ran.code, ran.err.splitlines()[-1]) == (130, "srn: interrupted")
    assert "zip" not in ran.err.lower()
    assert content(desk) == before
    assert Path("o.npz").read_bytes() == older


def test_an_interruption_after_which_the_finished_part_cannot_be_kept(
    srn: Run, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> Iterator[list[Any]]:
        yield []
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            raise InputError.at("o.json", "a file that can be written", "No space left on device")

    monkeypatch.setattr(detect_module, "detect_pictures", interrupted)
    ran = srn("detect", "a.jpg", "--json", "o.json", "--boxes", "boxes.json")
    assert ran.code == 130
    assert ran.err.splitlines() == [
        "srn: o.json: expected a file that can be written, found No space left on device", "srn: interrupted",
    ]  # fmt: skip


def test_an_interruption_while_a_line_is_printed_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    enter = Console.__enter__

    def interrupted(console: Console) -> Console:
        enter(console)
        monkeypatch.undo()
        os.kill(os.getpid(), signal.SIGINT)
        return console

    monkeypatch.setattr(Console, "__enter__", interrupted)
    with pytest.raises(typer.Exit) as ended:
        command(lambda: options.messages.print("working"))()
    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "srn: interrupted\n"


STARTED = """
import atexit, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
_, moment = sys.argv

class Finder:
    def find_spec(self, name, *_):
        if name == moment:
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, Finder())
if moment == "the end":
    atexit.register(signal.raise_signal, signal.SIGINT)
sys.argv = ["srn", "--version"]
if moment == "while standard error is silenced":
    silence = os.dup2
    os.dup2 = lambda *streams: (silence(*streams), signal.raise_signal(signal.SIGINT))
    sys.argv = ["srn", "weights"]
from srn.__main__ import main
main()
"""


@pytest.mark.parametrize("moment", ["srn.cli.main", "srn.cli.options", "while standard error is silenced", "the end"])
def test_ctrl_c_while_the_libraries_load_and_after_the_work(moment: str) -> None:
    done = subprocess.run([sys.executable, "-c", STARTED, moment], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == ((0, "") if moment == "the end" else (130, "srn: interrupted\n"))
    assert done.stdout.startswith("srn ") == (moment == "the end")


def test_libraries_print_nothing_between_the_lines() -> None:
    """Neither those in C nor Matplotlib, of a home into which it may not write."""
    program = (
        "import logging, os, sys\n"
        "from srn.cli.command import quiet_libraries\n"
        "with quiet_libraries():\n"
        "    os.write(2, b'Corrupt JPEG data')\n"
        "    logging.getLogger('matplotlib').warning('mkdir -p failed')\n"
        "    print('ours', file=sys.stderr)\n"
        "os.write(2, b'after')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "ours\nafter"

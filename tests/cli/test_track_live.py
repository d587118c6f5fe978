"""`srn track` live: datagrams, a chart, a window; and the contact sheet of `srn detect`."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.cli import options
from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.files import CHART, SHEET
from srn.inference.batch import detect_pictures
from srn.inference.face import Face

from .conftest import coordinate_file, grey_video

Run = Callable[..., Any]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Eight grey frames."""
    return grey_video(tmp_path / "clip.mp4", 8, 10.0)


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, face: npt.NDArray[np.float64]) -> None:
    """Every `srn track` sees one face."""
    shape, sure = face * 60 + [80, 60], np.full(68, 0.7, np.float32)

    class Landmarker:
        class localizer:
            scheme = IBUG_68

        def tracker(self, **arguments: Any) -> Any:
            return self

        def update(self, frame: npt.NDArray[np.uint8], time_s: float) -> list[Face]:
            return [Face(shape, sure, sure, Box.around(shape), 0.9, IBUG_68, 1)]

    monkeypatch.setattr(options, "open_landmarker", lambda *arguments: Landmarker())


def test_udp_and_chart(srn: Run, scripted: None, clip: Path, tmp_path: Path) -> None:
    """Both take every frame; the lines are not printed beside them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        port = listener.getsockname()[1]
        ran = srn("track", clip, "--udp", port, "--plot", tmp_path / "chart.png", "--json", tmp_path / "p.jsonl")
        got = [json.loads(listener.recv(65536)) for _ in range(8)]

    assert (ran.code, ran.out, ran.err) == (0, "", "1 face in 8 frames\n")
    lines = [json.loads(line) for line in (tmp_path / "p.jsonl").read_text().splitlines()]
    assert [one["frame"] for one in got] == [one["frame"] for one in lines] == list(range(8))
    assert got[0]["faces"][0]["landmarks"] == lines[0]["faces"][0]["landmarks"]
    assert len(got[0]["faces"][0]["pose"]) == 3
    assert CHART.head.match((tmp_path / "chart.png").read_bytes())
    assert srn("track", clip, "--udp", f"127.0.0.1:{port}").out == ""


def test_osc_beside_udp(srn: Run, scripted: None, clip: Path) -> None:
    """Both send every frame: one datagram, or one for the frame and one for its face."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(5)
        port = listener.getsockname()[1]
        ran = srn("track", clip, "--udp", port, "--osc", f":{port}", "--frames", 3)
        got = [listener.recv(65536) for _ in range(9)]

    assert (ran.code, ran.out, ran.err) == (0, "", "1 face in 3 frames\n")
    assert sum(one.startswith(b"{") for one in got) == 3
    assert sum(b"/srn/frame\0\0,ifi\0\0\0\0" in one for one in got) == 3
    assert sum(b"/srn/face/1/landmarks\0" in one for one in got) == 3


def test_a_chart_is_drawn_also_where_the_lines_cannot_be_written(
    srn: Run, scripted: None, clip: Path, tmp_path: Path
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    ran = srn("track", clip, "--json", "/dev/full", "--plot", tmp_path / "chart.png")
    assert (ran.code, ran.err.splitlines()[-1]) == (
        1, "failed: /dev/full: expected a file that can be written, found No space left on device",
    )  # fmt: skip
    assert CHART.head.match((tmp_path / "chart.png").read_bytes())


def test_lines_and_a_chart_that_cannot_be_written_are_both_told(
    srn: Run, scripted: None, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")

    def unwritten(chart: Any) -> None:
        raise InputError("the chart")

    monkeypatch.setattr("srn.uses.plot.TrackChart.write", unwritten)
    ran = srn("track", clip, "--json", "/dev/full", "--plot", tmp_path / "chart.png")
    assert ran.code == 1
    assert [line.partition(":")[2].split(":")[0] for line in ran.err.splitlines()[-2:]] == [" /dev/full", " the chart"]


def test_mistakes(srn: Run, scripted: None, clip: Path, tmp_path: Path) -> None:
    assert "address: expected HOST:PORT" in srn("track", clip, "--udp", "nowhere").mistake
    assert "address: expected HOST:PORT" in srn("track", clip, "--osc", "nowhere").mistake
    assert "expected a chart (.png, .svg, .pdf), found .txt" in srn("track", clip, "--plot", tmp_path / "a.txt").mistake
    (tmp_path / "notes.png").write_text("mine")
    assert "a file of another kind" in srn("track", clip, "--plot", tmp_path / "notes.png").mistake


def test_no_window_is_said_in_one_line(srn: Run, scripted: None, clip: Path) -> None:
    """The tests' OpenCV is the headless one."""
    said = srn("track", clip, "--show").mistake
    assert said.startswith("--show needs a window: this OpenCV (opencv-python-headless) has no windows; `srn ui`")
    assert "pip uninstall -y opencv-python-headless && pip install opencv-python" in said


def test_a_window_that_is_closed_ends_the_run_in_order(
    srn: Run, scripted: None, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [-1, -1, ord("q")]
    monkeypatch.setattr("srn.uses.window.why_no_window", lambda: None)
    for name in ("namedWindow", "imshow", "destroyAllWindows"):
        monkeypatch.setattr(f"cv2.{name}", lambda *arguments: None)
    monkeypatch.setattr("cv2.waitKey", lambda wait: keys.pop(0))
    monkeypatch.setattr("cv2.getWindowProperty", lambda *arguments: 1.0)

    ran = srn("track", clip, "--show", "--json", tmp_path / "p.jsonl")
    assert (ran.code, ran.out) == (0, "")
    assert "interrupted" not in ran.err
    assert len((tmp_path / "p.jsonl").read_text().splitlines()) == 3


def test_a_contact_sheet(srn: Run, knowing: Any, tmp_path: Path) -> None:
    for number, blue in enumerate((0, 100)):
        coordinate_file(tmp_path / "in" / f"{number}.jpg", blue)
    (tmp_path / "boxes.json").write_text('{"0.jpg": [[70, 80, 170, 180]], "1.jpg": [[73, 65, 183, 175]]}')
    given = ("detect", tmp_path / "in", "--boxes", tmp_path / "boxes.json", "--sheet", tmp_path / "sheet.png")

    for _ in range(2):  # its own file may be replaced
        assert srn(*given, "--json", tmp_path / "faces.json").code == 0
    assert SHEET.head.match((tmp_path / "sheet.png").read_bytes())
    said = srn(*given, "--json", tmp_path / "faces.json", "--resume").mistake
    assert said == "--sheet: expected a run of this machine from its beginning, found --resume or --engine"


def test_a_sheet_that_cannot_be_written_and_one_of_an_interrupted_run(
    srn: Run, knowing: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    coordinate_file(tmp_path / "0.jpg", 0)
    (tmp_path / "boxes.json").write_text('{"0.jpg": [[70, 80, 170, 180]]}')
    sheet = tmp_path / "sheet.png"
    given = ("detect", tmp_path / "0.jpg", "--boxes", tmp_path / "boxes.json", "--sheet", sheet)

    def detect_and_stop(*arguments: Any, **more: Any) -> Iterator[Any]:
        yield from detect_pictures(*arguments, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("srn.cli.detect.detect_pictures", detect_and_stop)
        assert srn(*given).code == 130
    assert SHEET.head.match(sheet.read_bytes())

    def full(path: Path, content: bytes) -> None:
        raise InputError.at(path, "space to write", "no space left on device")

    monkeypatch.setattr("srn.uses.sheet.write_atomically", full)
    ran = srn(*given)
    assert ran.code == 1
    assert "1 face in 1 picture" in ran.err
    assert f"{sheet}: expected space to write, found no space left on device" in ran.err

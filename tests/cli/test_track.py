"""`srn track`: lines and video out, mistakes in one line, what an interrupted or broken run leaves."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import threading
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.cbook import get_sample_data

from srn.cli import options
from srn.cli import track as track_module
from srn.errors import DataError
from srn.face.geometry import Box, FloatArray, similarity, transform_points
from srn.face.scheme import IBUG_68
from srn.inference.face import Face
from srn.inference.landmarker import FaceLandmarker
from srn.media import ffmpeg
from srn.media.ffmpeg import UNTOLD
from srn.media.pictures import read_image
from srn.media.video_reading import TimedFrame, open_video
from srn.media.video_writing import VideoWriter

from ..conftest import full_disk
from .conftest import grey_video

Run = Callable[..., Any]
Picture = npt.NDArray[np.uint8]
Shape = npt.NDArray[np.float64]


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


# --- with a tracker that knows


class ScriptedTracker:
    """Sees one face, which moves by two pixels a frame. It is its own localizer, too."""

    name, tells_direction = "tiny.onnx", False

    def __init__(self, face: Shape) -> None:
        self.face, self.times = face, list[float]()

    def update(self, frame: Picture, time_s: float | None = None) -> list[Face]:
        assert time_s is not None
        self.times.append(time_s)
        shape = self.face * 60 + [60 + 2 * len(self.times), 60]
        sure = np.full(68, 0.7, np.float32)
        return [Face(shape, sure, sure, Box.around(shape), 0.9, IBUG_68, 1)]


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch, face: Shape) -> dict[str, Any]:
    """Every `srn track` uses a scripted tracker; what it was made with is noted."""
    noted: dict[str, Any] = {}

    class Landmarker:
        localizer = ScriptedTracker

        def tracker(self, **arguments: Any) -> ScriptedTracker:
            noted.update(arguments, tracker=ScriptedTracker(face))
            return noted["tracker"]

    monkeypatch.setattr(options, "open_landmarker", lambda *arguments: Landmarker())
    return noted


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve grey frames."""
    return grey_video(tmp_path / "clip.mp4", 12)


def annex_b(path: Path) -> bytes:
    """The H.264 stream of a video without its container."""
    import av

    out = path.with_suffix(".h264")
    with av.open(str(path)) as video, av.open(str(out), "w", format="h264") as bare:
        stream = bare.add_stream_from_template(video.streams.video[0])
        for packet in video.demux(video.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                bare.mux(packet)
    return out.read_bytes()


def test_lines_and_video(srn: Run, scripted: dict[str, Any], clip: Path, tmp_path: Path, face: Shape) -> None:
    ran = srn("track", clip, "--out", tmp_path / "o" / "drawn.mp4", "--json", tmp_path / "o" / "points.jsonl")
    assert (ran.code, ran.out) == (0, "")
    assert ran.err == "1 face in 12 frames\n"
    lines = read_lines(tmp_path / "o" / "points.jsonl")
    assert [line["frame"] for line in lines] == list(range(12))
    np.testing.assert_allclose([line["time_s"] for line in lines], np.arange(12) / 30, atol=1e-3)
    (found,) = lines[4]["faces"]
    assert set(found) == {"box", "score", "landmarks", "visibility", "confidence", "track_id", "state"}
    assert found["track_id"] == 1
    np.testing.assert_allclose(found["landmarks"], face * 60 + [70, 60], atol=0.01)
    frames = list(open_video(tmp_path / "o" / "drawn.mp4"))
    assert len(frames) == 12
    assert (np.abs(frames[5].image.astype(int) - 90).max(axis=2) > 60).mean() > 0.01
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == ["drawn.mp4", "points.jsonl"]


def test_faces_that_were_seen_for_a_moment_are_told(
    srn: Run, scripted: dict[str, Any], clip: Path, face: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frame every minute holds each face for one of them: that is not nobody."""

    def update(self: ScriptedTracker, frame: Picture, time_s: float | None = None) -> list[Face]:
        self.times.append(time_s or 0.0)
        return [Face(face * 60 + 60, None, None, Box.around(face * 60 + 60), 0.9, IBUG_68, len(self.times))]

    monkeypatch.setattr(ScriptedTracker, "update", update)
    assert srn("track", clip).err == "0 faces in 12 frames; 12 seen in fewer than 5 frames\n"


@pytest.mark.parametrize("with_pyav", [True, False])
def test_nothing_is_said_of_a_video_that_a_full_disk_took(
    srn: Run, scripted: dict[str, Any], clip: Path, tmp_path: Path, with_pyav: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without PyAV it lacks its sound, and half a video was left, as if it were whole."""
    if not with_pyav:
        monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
    out = tmp_path / "o" / "drawn.mp4"
    with full_disk(1000):
        ran = srn("track", clip, "--out", out)
    assert (ran.code, ran.err.splitlines()) == (
        1,
        [
            "1 face in 12 frames",
            f"failed: {out}: expected a file that can be written, found File too large",
        ],
    )
    assert list(out.parent.iterdir()) == []
    gc.collect()  # PyAV 14 prints a traceback where it frees a container that could not be closed: not in a later test


def test_frames_of_several_sizes_are_told(srn: Run, scripted: dict[str, Any], clip: Path, tmp_path: Path) -> None:
    """Recordings that were joined, calls whose picture changes its size."""
    pytest.importorskip("av")
    other = grey_video(tmp_path / "other.mp4", 3, size=(120, 160))
    joined = tmp_path / "joined.h264"
    joined.write_bytes(b"".join(annex_b(path) for path in (clip, other)))
    ran = srn("track", joined, "--json", tmp_path / "a.jsonl")
    sizes = "frames of 2 sizes (160 x 120, 120 x 160): points are pixels of their own frame"
    assert ran.err.splitlines() == ["1 face in 15 frames", sizes]
    assert [line.get("width") for line in read_lines(tmp_path / "a.jsonl")] == [None] * 12 + [120] * 3


def test_without_files_the_lines_go_to_the_standard_output(srn: Run, scripted: dict[str, Any], clip: Path) -> None:
    ran = srn("track", clip)
    assert ran.code == 0
    assert [json.loads(line)["frame"] for line in ran.out.splitlines()] == list(range(12))


def test_with_only_a_video_the_standard_output_is_silent(
    srn: Run, scripted: dict[str, Any], clip: Path, tmp_path: Path
) -> None:
    ran = srn("track", clip, "--out", tmp_path / "drawn.mp4")
    assert (ran.code, ran.out) == (0, "")


def test_ellipses_are_drawn(
    srn: Run, scripted: dict[str, Any], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by `srn detect`: around the points, in the video only, with weights that tell them."""

    def update(self: ScriptedTracker, frame: Picture, time_s: float | None = None) -> list[Face]:
        return [dataclasses.replace(one, covariance=np.tile(9 * np.eye(2), (68, 1, 1))) for one in seen(self, frame, 1)]

    seen = ScriptedTracker.update
    assert srn("track", clip, "--ellipses", "--json", tmp_path / "a.jsonl").mistake == (
        "--ellipses: expected --out or --show beside it, found neither"
    )
    assert srn("track", clip, "--trace", 0).mistake == "--trace: expected --out or --show beside it, found neither"
    mistake = srn("track", clip, "--ellipses", "--out", tmp_path / "a.mp4").mistake
    assert mistake == "--ellipses: expected weights with the direction of errors, found tiny.onnx"
    assert not list(tmp_path.glob("a.*"))
    monkeypatch.setattr(ScriptedTracker, "update", update)
    monkeypatch.setattr(ScriptedTracker, "tells_direction", True)
    for name, further in (("plain", ()), ("drawn", ("--ellipses",))):
        assert srn("track", clip, "--out", tmp_path / f"{name}.mp4", *further).code == 0
    plain, drawn = (next(iter(open_video(tmp_path / f"{name}.mp4"))).image for name in ("plain", "drawn"))
    changed = np.abs(plain.astype(int) - drawn).max(axis=2) > 40
    assert 100 < changed.sum() < changed.size / 3


def test_options_reach_the_tracker(srn: Run, scripted: dict[str, Any], clip: Path) -> None:
    ran = srn(
        "track", clip, "--no-smooth", "--start", "previous", "--iterations", "2", "--find-every", "9", "--frames", "5"
    )  # fmt: skip
    assert len(ran.out.splitlines()) == 5
    tracker = scripted.pop("tracker")
    assert len(tracker.times) == 5
    assert scripted == {
        "smooth": False, "start": "previous", "iterations": 2, "find_every": 9,
        "frame_rate": pytest.approx(30, rel=0.01),
    }  # fmt: skip


def test_more_iterations_than_the_weights_run_are_a_mistake_and_no_failed_video(
    srn: Run, tmp_path: Path, clip: Path
) -> None:
    ran = srn("track", clip, "--iterations", "99", "--json", tmp_path / "a.jsonl")
    assert ran.mistake == "iterations: expected at least 1 and at most 3, which the weights run, found 99"


class Interrupted:
    """A reader that ends after some frames with an exception."""

    frame_rate, time_base, length, has_sound, colors = 30.0, Fraction(1, 90000), 100, False, UNTOLD

    def __init__(self, error: BaseException, frames: int = 7) -> None:
        self.error, self.frames, self.closed = error, frames, False

    def __iter__(self) -> Any:
        for k in range(self.frames):
            yield TimedFrame(k, k / 30, np.full((120, 160, 3), 90, np.uint8))
        raise self.error

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize(
    ("source", "error", "code", "message"),
    [
        ("clip.mp4", KeyboardInterrupt(), 130, "interrupted; the finished part is kept"),
        ("0", KeyboardInterrupt(), 0, "interrupted; the finished part is kept"),
        ("clip.mp4", DataError("clip.mp4: cut off"), 1, "failed: clip.mp4: cut off"),
    ],
)
def test_what_is_done_is_kept(
    srn: Run, scripted: dict[str, Any], tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch,
    source: str, error: BaseException, code: int, message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    reader = Interrupted(error)
    monkeypatch.setattr(track_module, "open_video", lambda path, live: reader)
    ran = srn("track", source, "--out", "drawn.mp4", "--json", "points.jsonl")
    assert ran.code == code
    assert ran.err.splitlines() == ["1 face in 7 frames", message]
    assert reader.closed
    assert [line["frame"] for line in read_lines(Path("points.jsonl"))] == list(range(7))
    assert len(list(open_video("drawn.mp4"))) == 7
    assert sorted(p.name for p in Path().iterdir()) == ["clip.mp4", "drawn.mp4", "points.jsonl"]


def test_before_the_first_frame_nothing_is_said_to_be_kept(
    srn: Run, scripted: dict[str, Any], tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an earlier run wrote stays."""
    outputs = ("--out", tmp_path / "drawn.mp4", "--json", tmp_path / "points.jsonl")
    assert srn("track", clip, *outputs).code == 0
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(track_module, "open_video", lambda path, live: Interrupted(KeyboardInterrupt(), frames=0))
    ran = srn("track", clip, *outputs)
    assert (ran.code, ran.err.splitlines()) == (130, ["0 faces in 0 frames", "interrupted before the first frame"])
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_interruption_inside_the_tracker(
    srn: Run, scripted: dict[str, Any], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = ScriptedTracker.update

    def interrupted(self: ScriptedTracker, frame: Picture, time_s: float | None = None) -> list[Face]:
        if len(self.times) == 4:
            raise KeyboardInterrupt
        return update(self, frame, time_s)

    monkeypatch.setattr(ScriptedTracker, "update", interrupted)
    assert srn("track", clip, "--json", tmp_path / "points.jsonl").code == 130
    assert len(read_lines(tmp_path / "points.jsonl")) == 4


def test_a_truncated_video(srn: Run, scripted: dict[str, Any], clip: Path, tmp_path: Path) -> None:
    """A Matroska file cut in the middle: the lines of what is there, one message, exit 1."""
    path = tmp_path / "cut.mkv"
    rng = np.random.default_rng(0)
    with VideoWriter(path, 30.0) as video:
        for k in range(60):
            video.write(rng.integers(0, 255, (120, 160, 3)).astype(np.uint8), k / 30)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    ran = srn("track", path, "--json", tmp_path / "points.jsonl")
    assert ran.code == 1
    summary, failed = ran.err.splitlines()
    count = len(read_lines(tmp_path / "points.jsonl"))
    assert 5 < count < 50
    assert summary == f"1 face in {count} frames"
    assert failed.startswith(f"failed: {path}: expected ")
    assert failed.endswith("the file is cut off or broken")


def test_sound_that_gets_lost_is_told(
    srn: Run, scripted: dict[str, Any], clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from srn.media import ffmpeg

    monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
    ran = srn("track", clip, "--out", tmp_path / "drawn.mp4")
    assert ran.code == 0
    assert "drawn.mp4: without sound: sound, if there is any, is copied only with PyAV" in ran.err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_sound_of_a_pipe_is_told_to_be_left_out(srn: Run, scripted: dict[str, Any], tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.mkv"), "w") as file:
        pictures, sound = file.add_stream("mpeg4", rate=10), file.add_stream("aac", rate=44100, layout="mono")
        pictures.width = pictures.height = 64
        pictures.pix_fmt = "yuv420p"
        for _ in range(3):
            file.mux(pictures.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        piece.sample_rate = 44100
        file.mux([*sound.encode(piece), *sound.encode(None), *pictures.encode(None)])
    os.mkfifo(tmp_path / "pipe")
    feeding = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=[(tmp_path / "a.mkv").read_bytes()])
    feeding.start()
    ran = srn("track", tmp_path / "pipe", "--out", tmp_path / "drawn.mp4")
    feeding.join()
    assert ran.code == 0
    assert ran.err.endswith("drawn.mp4: without sound: it is copied from files alone\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nowhere.mp4",), "nowhere.mp4: expected a video file, found no such file"),
        (("folder",), "folder: expected a video file, found a folder"),
        (("clip.mp4", "--out", "a.gif"), "a.gif: expected a video file to write"),
        (("clip.mp4", "--out", "clip.mp4"), "--out: expected another file than the inputs, found clip.mp4"),
        (("clip.mp4", "--json", "./clip.mp4"), "--json: expected another file than the inputs, found clip.mp4"),
        (("clip.mp4", "--weights", "none.onnx"), "none.onnx: expected a network exported by 'srn export'"),
    ],
)
def test_mistakes_are_told_in_one_line(
    srn: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder").mkdir()
    assert srn("track", *arguments).mistake.startswith(message)
    assert sorted(p.name for p in Path().iterdir()) == ["clip.mp4", "folder"]


def test_a_file_named_like_a_camera_is_a_file(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert track_module._source("0") == 0
    clip.rename("0")
    assert track_module._source("0") == "0"
    assert track_module._source("clip.mp4") == "clip.mp4"


# --- the real thing


def moving(k: int) -> FloatArray:
    """(2, 3): where the portrait lies in frame k."""
    t = k / 30
    offset = np.array([40 * np.sin(2.2 * t), 12 * np.sin(3.1 * t)])
    return similarity(
        0.55 * (1 + 0.06 * np.sin(1.7 * t)), 0.08 * np.sin(2.6 * t), np.array([264.0, 250]), offset + [160, 120]
    )


@pytest.fixture(scope="module")
def portrait_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Grace Hopper (public domain, Matplotlib's sample data) brought to life for a second; hidden for five frames."""
    portrait = read_image(get_sample_data("grace_hopper.jpg", asfileobj=False))
    path = tmp_path_factory.mktemp("clip") / "hopper.mp4"
    with VideoWriter(path, 30.0) as video:
        for k in range(30):
            frame = cv2.warpAffine(portrait, moving(k), (320, 240), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
            if 18 <= k < 23:
                x, y = (int(v) for v in transform_points(moving(k), np.array([[264.0, 250.0]]))[0])
                frame[max(y - 75, 0) : y + 75, max(x - 60, 0) : x + 60] = (80, 60, 50)
            video.write(frame, k / 30)
    return path


def test_shipped_weights_end_to_end(srn: Run, robust_weights: Path, portrait_clip: Path, tmp_path: Path) -> None:
    ran = srn("track", portrait_clip, "--threads", "1", "--json", tmp_path / "p.jsonl", "--out", tmp_path / "o.mp4")
    assert (ran.code, ran.err) == (0, "1 face in 30 frames\n")
    lines = read_lines(tmp_path / "p.jsonl")
    assert [[face["track_id"] for face in line["faces"]] for line in lines] == [[1]] * 30
    portrait = read_image(get_sample_data("grace_hopper.jpg", asfileobj=False))
    (still,) = FaceLandmarker(threads=1).detect(portrait)
    for k, line in enumerate(lines):
        expected = transform_points(moving(k), still.landmarks)
        off = (
            np.linalg.norm(np.array(line["faces"][0]["landmarks"]) - expected, axis=1).mean()
            / Box.around(expected).size
        )
        sure, seen = np.mean(line["faces"][0]["confidence"]), np.mean(line["faces"][0]["visibility"])
        if 18 <= k < 23:
            assert seen == 0  # a guess, and it says so
            assert off < 0.12
        elif k < 18 or k > 24:
            assert off < 0.025
            assert sure > 0.5
            assert seen > 0.8
    assert len(list(open_video(tmp_path / "o.mp4"))) == 30

"""Writing videos: frames, times, sound, sizes, and files that cannot be written."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import signal
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from srn.errors import DataError, InputError
from srn.files import VIDEO, Output, check_outputs
from srn.media import ffmpeg
from srn.media.ffmpeg import Colors
from srn.media.video_reading import open_video
from srn.media.video_writing import VideoWriter

from ..conftest import full_disk
from .conftest import drawn, frames_of, make, number_of

av = pytest.importorskip("av", reason="PyAV (the extra `video`) makes the test videos")


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return []
        return [(round(float(p.pts * p.time_base), 4), bytes(p)) for p in file.demux(audio=0) if p.pts is not None]


def write_two(path: Path, moment: float) -> None:
    with VideoWriter(path, 30.0) as video:
        video.write(drawn(0), 0.0)
        video.write(drawn(1), moment)


@pytest.mark.parametrize(("name", "moment"), [("a.avi", 3600.0), ("a.mkv", 1e16)])
def test_times_that_a_file_cannot_hold_are_told(tmp_path: Path, name: str, moment: float) -> None:
    """AVI counts every frame from 0: a gap of an hour was a foreign error. What came before is kept."""
    expected = "expected frames and times that such a video can hold, found"
    with pytest.raises(InputError, match=rf"{name}: {expected} .* at {moment:.1f} s"):
        write_two(tmp_path / name, moment)
    assert len(frames_of(open_video(tmp_path / name))) == 1


@pytest.mark.usefixtures("no_pyav")
def test_a_gap_of_years_is_not_filled_with_frames(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a next frame within 2000 s, found none for 1000000000 s"):
        write_two(tmp_path / "a.mp4", 1e9)


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".webm"])
def test_there_and_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"a{suffix}"
    with VideoWriter(path, 30.0) as out:
        for k in range(10):
            out.write(drawn(k), k / 30)
    frames = frames_of(open_video(path))
    assert [number_of(frame.image) for frame in frames] == list(range(10))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(10) / 30, atol=0.04)
    assert np.abs(frames[4].image.astype(int) - drawn(4)).mean() < 6
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".webm"])
@pytest.mark.parametrize(("width", "matrix", "brightness"), [(320, 6, 81), (1280, 1, 63)])  # BT.601, BT.709
def test_colours_are_those_that_players_show(
    tmp_path: Path, suffix: str, width: int, matrix: int, brightness: int
) -> None:
    """Large videos were stored by the matrix of small ones, and did not tell it: players showed other colours."""
    path = tmp_path / f"a{suffix}"
    red = np.full((16, width, 3), (255, 0, 0), np.uint8)
    with VideoWriter(path, 30.0) as out:
        out.write(red, 0.0)
    with av.open(str(path)) as file:
        frame = next(file.decode(video=0))
        told = file.streams.video[0].codec_context.colorspace
    assert told == (2 if suffix == ".avi" else matrix)  # an AVI cannot tell it
    assert abs(int(frame.to_ndarray()[8, 8]) - brightness) <= 1
    assert np.abs(frames_of(open_video(path))[0].image[8, 8].astype(int) - [255, 0, 0]).max() <= 4


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".webm"])
def test_a_high_dynamic_range_stays_one(tmp_path: Path, suffix: str) -> None:
    """As phones record: shown without word of BT.2020 and HLG, such a video is pale."""
    first, second, colors = tmp_path / "a.mp4", tmp_path / f"b{suffix}", Colors(primaries=9, transfer=18)
    with VideoWriter(first, 30.0, colors=colors) as out:
        out.write(drawn(0), 0.0)
    reader = open_video(first)
    assert reader.colors == colors
    with VideoWriter(second, 30.0, colors=reader.colors) as out:
        for frame in frames_of(reader):
            out.write(frame.image, frame.time_s)
    with av.open(str(second)) as file:
        context = next(file.decode(video=0)) and file.streams.video[0].codec_context
        assert (context.color_primaries, context.color_trc) == (9, 18)


@pytest.mark.parametrize("with_pyav", [True, False])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_its_own_videos_are_told_from_those_of_others(
    tmp_path: Path, suffix: str, with_pyav: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no output takes the place of the user's video; players pass over the sign."""
    if not with_pyav:
        monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
    path = tmp_path / f"a{suffix}"
    with VideoWriter(path, 30.0) as out:
        for k in range(3):
            out.write(drawn(k), k / 30)
    own, content = [Output("--out", path, VIDEO)], path.read_bytes()
    check_outputs(own, [])
    assert [number_of(frame.image) for frame in frames_of(open_video(path))] == [0, 1, 2]
    path.write_bytes(content[:-1])
    with pytest.raises(InputError, match=r"found .*, a video that srn did not write \(--force replaces it\)"):
        check_outputs(own, [])
    check_outputs(own, [], force=True)


def test_uneven_times_survive_there_and_back(tmp_path: Path) -> None:
    base = Fraction(1, 12800)
    times = [0, 0.04, 0.05, 0.2, 0.21, 0.5, 0.9, 0.92]
    source = open_video(make(tmp_path / "a.mp4", times))
    with VideoWriter(tmp_path / "b.mp4", source.frame_rate, source.time_base) as out:
        for frame in source:
            out.write(frame.image, frame.time_s)
    with av.open(str(tmp_path / "a.mp4")) as one, av.open(str(tmp_path / "b.mp4")) as other:
        assert [float(f.pts * f.time_base) for f in one.decode(video=0)] == [
            float(f.pts * f.time_base) for f in other.decode(video=0)
        ]
        assert other.streams.video[0].time_base == base


def test_sound_is_copied_as_it_is(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", 30, sound="aac", sound_s=0.4)
    with VideoWriter(tmp_path / "b.mp4", 30.0, sound_from=source) as out:
        for frame in open_video(source):
            out.write(frame.image, frame.time_s)
        out.complete()
    assert out.sound_lost is None
    assert sound_packets(source) == sound_packets(tmp_path / "b.mp4")
    assert len(sound_packets(source)) > 30


def test_sound_ends_with_the_pictures_of_an_interrupted_video(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", 30, sound="aac")

    def interrupted() -> None:
        with VideoWriter(tmp_path / "b.mp4", 30.0, sound_from=source) as out:
            for k in range(10):
                out.write(drawn(k), k / 30)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    kept = sound_packets(tmp_path / "b.mp4")
    assert kept == sound_packets(source)[: len(kept)]
    assert 0.25 < kept[-1][0] <= 10 / 30 + 0.03
    assert len(frames_of(open_video(tmp_path / "b.mp4"))) == 10  # it plays
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", "b.mp4"]


def test_sound_that_the_file_cannot_hold_is_left_out_and_told(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", 12, sound="aac")
    with VideoWriter(tmp_path / "b.webm", 30.0, sound_from=source) as out:
        for k in range(12):
            out.write(drawn(k), k / 30)
    assert out.sound_lost == "a .webm file does not take aac sound"
    assert len(frames_of(open_video(tmp_path / "b.webm"))) == 12


@pytest.mark.parametrize(("begin_s", "suffix"), [(0.5, ".avi"), (0.5, ".mkv"), (0.0, ".avi")])
def test_sound_that_begins_later_is_never_played_too_early(tmp_path: Path, begin_s: float, suffix: str) -> None:
    """All sound of an AVI file begins at 0."""
    source = make(tmp_path / "a.mkv", 30, sound="libmp3lame", sound_begin_s=begin_s)
    with VideoWriter(tmp_path / f"b{suffix}", 30.0, sound_from=source) as out:
        for k in range(30):
            out.write(drawn(k), k / 30)
    if begin_s and suffix == ".avi":
        assert re.fullmatch(r"an \.avi file would play it 0\.\d\d s too early", out.sound_lost or "")
    else:
        assert out.sound_lost is None
        assert sound_packets(tmp_path / f"b{suffix}")[0][0] == pytest.approx(begin_s, abs=0.06)


def test_a_video_without_sound_is_none_the_worse(tmp_path: Path) -> None:
    source = make(tmp_path / "a.mp4", 5)
    with VideoWriter(tmp_path / "b.mp4", 30.0, sound_from=source) as out:
        out.write(drawn(0), 0)
    assert out.sound_lost is None


def test_odd_sizes_get_their_edge_repeated(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 30.0) as out:
        out.write(drawn(0, 95, 63), 0)
    assert frames_of(open_video(tmp_path / "a.mp4"))[0].image.shape == (64, 96, 3)


@pytest.mark.parametrize("with_pyav", [True, False])
def test_a_frame_of_another_size_is_fitted(tmp_path: Path, with_pyav: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_pyav:
        monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
    with VideoWriter(tmp_path / "a.avi", 30.0) as out:
        out.write(drawn(0), 0)
        out.write(drawn(1, 192, 128), 1 / 30)
    assert [f.image.shape for f in frames_of(open_video(tmp_path / "a.avi"))] == [(64, 96, 3)] * 2


def test_equal_times_are_set_apart(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 30.0) as out:
        for k, moment in enumerate((0, 0, 0.1, 0.1)):
            out.write(drawn(k), moment)
    assert [number_of(f.image) for f in frames_of(open_video(tmp_path / "a.mp4"))] == [0, 1, 2, 3]


@pytest.mark.usefixtures("no_pyav")
def test_opencv_keeps_pace_by_repeating_and_leaving_out(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10.0, sound_from="any.mp4") as out:
        for k, moment in enumerate((5.0, 5.1, 5.4, 5.44, 5.5)):
            out.write(drawn(k), moment)
    assert "pip install 'srn[video]'" in (out.sound_lost or "")
    numbers = [number_of(frame.image) for frame in frames_of(open_video(tmp_path / "a.mp4"))]
    assert numbers == [0, 1, 1, 1, 2, 4]


@pytest.mark.parametrize("name", ["a.gif", "a", "a.jpg"])
def test_unknown_kinds_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"expected a video file to write \(\.mp4, "):
        VideoWriter(tmp_path / name, 30.0)


@pytest.mark.usefixtures("no_pyav")
def test_webm_needs_pyav(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.webm: expected a video file to write"):
        VideoWriter(tmp_path / "a.webm", 30.0)


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(InputError, match="found a folder"):
        VideoWriter(tmp_path / "folder.mp4", 30.0)
    (tmp_path / "file").write_text("x")
    with (
        pytest.raises(InputError, match="expected a file that can be written"),
        VideoWriter(tmp_path / "file" / "a.mp4", 30.0),
    ):
        pass


def test_without_frames_there_is_no_file(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 30.0):
        pass
    assert list(tmp_path.iterdir()) == []


def test_writing_to_a_closed_video_is_refused(tmp_path: Path) -> None:
    out: Any = VideoWriter(tmp_path / "a.mp4", 30.0)
    with pytest.raises(InputError, match="opened with 'with'"):
        out.write(drawn(0), 0)


@pytest.mark.parametrize("reader", ["PyAV", "OpenCV"])
@pytest.mark.parametrize("name", ["12:30.mp4", "file:a.mp4", "concat:a|b.mp4", "%03d.mp4", "é [red].mp4"])
def test_any_name_is_a_file_in_and_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, reader: str) -> None:
    monkeypatch.chdir(tmp_path)
    if reader == "OpenCV":
        monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
    with VideoWriter(name, 30.0) as out:
        out.write(drawn(0), 0)
        out.write(drawn(1), 1 / 30)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert len(list(open_video(name))) == 2


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.mp4")
    with VideoWriter(path, 30.0) as out:
        out.write(drawn(0), 0)
    assert len(list(open_video(path))) == 1


@pytest.mark.parametrize("with_pyav", [True, False])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".avi"])
def test_a_full_disk_leaves_no_broken_video(
    tmp_path: Path, rng: np.random.Generator, suffix: str, with_pyav: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenCV tells nothing of it."""
    if not with_pyav:
        monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
    out = VideoWriter(tmp_path / f"a{suffix}", 30.0)
    refused = pytest.raises(InputError, match=r"a\.\w+: expected a file that can be written, found File too large")
    with full_disk(20_000), refused, out:
        for k in range(20):
            out.write(rng.integers(0, 256, (240, 320, 3)).astype(np.uint8), k / 30)
    assert list(tmp_path.iterdir()) == []
    assert not out.is_written
    gc.collect()  # PyAV 14 prints a traceback where it frees a container that could not be closed: not in a later test


@pytest.mark.usefixtures("no_pyav")
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi"])
def test_a_disk_that_is_full_for_a_time_leaves_no_half_video(
    tmp_path: Path, rng: np.random.Generator, suffix: str
) -> None:
    """OpenCV left out the frames from then on and the end of the file: an MP4 could not be played at all."""
    out = VideoWriter(tmp_path / f"a{suffix}", 30.0)
    frames = rng.integers(0, 256, (20, 240, 320, 3)).astype(np.uint8)
    refused = pytest.raises(InputError, match=r"a\.\w+: .* found a part of the video missing: was the disk full")
    with refused, out:
        with full_disk(20_000):
            for k in range(10):
                out.write(frames[k], k / 30)
        for k in range(10, 20):
            out.write(frames[k], k / 30)
    assert list(tmp_path.iterdir()) == []
    assert not out.is_written


def test_an_interruption_while_a_video_is_completed_leaves_the_older_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Writer:
        fourcc = staticmethod(cv2.VideoWriter.fourcc)

        def __init__(self, path: str, *_: Any) -> None:
            self.write = lambda image: Path(path).write_bytes(b"half a video")

        def isOpened(self) -> bool:
            return True

        def release(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
    monkeypatch.setattr(cv2, "VideoWriter", Writer)
    (tmp_path / "a.mp4").write_bytes(b"an older video")
    with pytest.raises(KeyboardInterrupt), VideoWriter(tmp_path / "a.mp4", 30.0) as out:
        out.write(drawn(0), 0)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.mp4", b"an older video")]


@pytest.fixture
def before_frame(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], None]], None]:
    """Makes something happen before the container takes what the encoder gave for a frame, counted from 1."""

    def arrange(frame: int, happens: Callable[[], None]) -> None:
        class Container:
            def __init__(self, path: str, mode: str) -> None:
                self.opened, self.frames = opened(path, mode), 0

            def __getattr__(self, name: str) -> Any:
                return getattr(self.opened, name)

            def mux(self, packets: Any) -> None:
                self.frames += 1
                if self.frames == frame:
                    happens()
                self.opened.mux(packets)

        opened = av.open
        monkeypatch.setattr(av, "open", Container)

    return arrange


@pytest.mark.parametrize("frame", [1, 12, 19])
def test_an_interruption_between_encoder_and_file_loses_no_frame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before_frame: Any, frame: int
) -> None:
    before_frame(frame, lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with VideoWriter(tmp_path / "a.mp4", 30.0) as out, contextlib.suppress(KeyboardInterrupt):
            for k in range(20):
                out.write(drawn(k), k / 30)
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.undo()
    assert len(list(open_video(tmp_path / "a.mp4"))) == frame


def test_without_a_frame_an_older_video_and_a_pipe_are_kept(tmp_path: Path, before_frame: Any) -> None:
    def fail() -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "a.mp4").write_bytes(b"an older video")
    os.mkfifo(tmp_path / "pipe.mp4")
    with VideoWriter(tmp_path / "pipe.mp4", 30.0):
        pass
    before_frame(1, fail)
    with pytest.raises(InputError, match="No space left"), VideoWriter(tmp_path / "a.mp4", 30.0) as out:
        out.write(drawn(0), 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mp4", "pipe.mp4"]
    assert (tmp_path / "a.mp4").read_bytes() == b"an older video"


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv", ".avi", ".webm"])
@pytest.mark.parametrize("with_pyav", [True, False])
def test_the_aspect_of_pixels_is_kept(
    tmp_path: Path, suffix: str, with_pyav: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The video is shown as wide for its height as its source."""
    path = tmp_path / f"a{suffix}"
    if not with_pyav:
        if suffix == ".webm":
            pytest.skip("OpenCV writes no WebM")
        monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
    with VideoWriter(path, 30.0) as video:
        for k in range(4):
            video.write(drawn(k), k / 30, Fraction(3, 2))
    monkeypatch.undo()
    frame = next(iter(open_video(path)))
    height, width = frame.image.shape[:2]
    assert width * frame.pixel_aspect / height == pytest.approx(1.5 * 96 / 64, rel=0.02)

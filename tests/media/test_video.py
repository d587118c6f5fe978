"""Videos in and out: frames, times, rotation, sound, broken files; with PyAV, and with OpenCV alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import DataError, InputError
from srn.media import video
from srn.media.video import (
    Camera,
    OpenCvReader,
    PyAvReader,
    TimedFrame,
    VideoReader,
    VideoWriter,
    open_video,
)

av = pytest.importorskip("av", reason="PyAV (the extra `video`) makes the test videos")

Picture = npt.NDArray[np.uint8]
Read = Callable[[Path], VideoReader]

READERS = pytest.mark.parametrize("read", [PyAvReader, OpenCvReader])


@pytest.fixture
def no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the extra `video`."""
    monkeypatch.setattr(video, "_pyav", lambda: None)


def drawn(k: int, width: int = 96, height: int = 64) -> Picture:
    """Frame k: grey, with a bright block that tells the number by its place and a mark in the upper left corner."""
    image = np.full((height, width, 3), 60, np.uint8)
    image[:12, :12] = (220, 40, 40)
    image[30:50, 2 * k : 2 * k + 16] = 230
    return image


def number_of(image: Picture) -> int:
    columns = np.argwhere((image[40] > 150).all(axis=1))[:, 0]
    return round(float(columns.min()) / 2)


def make(
    path: Path,
    times: list[float] | int = 20,
    *,
    codec: str = "libx264",
    sound: str | None = None,
    rotation: int = 0,
    time_base: Fraction = Fraction(1, 12800),
    early_header: bool = False,
    noise: bool = False,
    sound_s: float = 0.0,
) -> Path:
    """A video by PyAV: frame k is `drawn(k)`, shown at `times[k]`."""
    moments = [k / 30 for k in range(times)] if isinstance(times, int) else times
    with av.open(str(path), "w", options={"movflags": "faststart"} if early_header else {}) as out:
        stream = out.add_stream(codec, rate=30, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = time_base
        if rotation:
            stream.set_display_rotation(rotation)
        voice = out.add_stream(sound, rate=44100) if sound else None
        if voice is not None:
            voice.layout = "mono"
        for k, moment in enumerate(moments):
            image = drawn(k)
            if noise:  # so that frames weigh more than headers
                image[14:28] = np.random.default_rng(k).integers(0, 255, (14, 96, 3))
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = round(moment / time_base), time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
        if voice is not None:
            for k in range(int((moments[-1] + sound_s) * 44100 / 1024)):
                wave = (np.sin(np.arange(k * 1024, (k + 1) * 1024) / 16) * 8000).astype(np.int16)[None]
                piece = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
                piece.sample_rate, piece.pts = 44100, k * 1024
                out.mux(voice.encode(piece))
            out.mux(voice.encode(None))
    return path


def frames_of(reader: VideoReader) -> list[TimedFrame]:
    try:
        return list(reader)
    finally:
        reader.close()


def sound_packets(path: Path) -> list[tuple[float, bytes]]:
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return []
        return [(round(float(p.pts * p.time_base), 4), bytes(p)) for p in file.demux(audio=0) if p.pts is not None]


# --- reading


@READERS
@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "libx264"), (".mkv", "mpeg4"), (".avi", "mpeg4")])
def test_every_frame_in_its_order(tmp_path: Path, read: Read, suffix: str, codec: str) -> None:
    base = Fraction(1, 30) if codec == "mpeg4" else Fraction(1, 12800)
    reader = read(make(tmp_path / f"a{suffix}", codec=codec, time_base=base))
    assert reader.frame_rate == pytest.approx(30, rel=0.01)
    assert reader.length in (20, 21)
    frames = frames_of(reader)
    assert [frame.number for frame in frames] == list(range(20))
    assert [number_of(frame.image) for frame in frames] == list(range(20))
    np.testing.assert_allclose(np.diff([frame.time_s for frame in frames])[2:], 1 / 30, atol=0.002)
    assert frames[0].image.shape == (64, 96, 3)
    red = frames[3].image[2:9, 2:9].mean(axis=(0, 1))
    assert red[0] > 150
    assert red[2] < 90  # RGB, not BGR


@READERS
def test_uneven_times_are_kept(tmp_path: Path, read: Read) -> None:
    times = [0, 0.04, 0.05, 0.2, 0.21, 0.5, 0.9, 0.92]
    frames = frames_of(read(make(tmp_path / "a.mp4", times)))
    np.testing.assert_allclose([frame.time_s for frame in frames], times, atol=1e-4)


@READERS
@pytest.mark.parametrize(("rotation", "corner"), [(90, "lower left"), (180, "lower right"), (-90, "upper right")])
def test_rotation_metadata_are_heeded(tmp_path: Path, read: Read, rotation: int, corner: str) -> None:
    """The upper left mark of the stored frame, turned counterclockwise by the metadata."""
    image = frames_of(read(make(tmp_path / "a.mp4", 3, rotation=rotation)))[0].image
    assert image.shape == ((96, 64, 3) if abs(rotation) == 90 else (64, 96, 3))
    rows = slice(-9, -2) if "lower" in corner else slice(2, 9)
    columns = slice(-9, -2) if "right" in corner else slice(2, 9)
    red = image[rows, columns].mean(axis=(0, 1))
    assert red[0] > 150
    assert red[1] < 100


@READERS
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.mkv", "mpeg4"), ("a.avi", "mpeg4")])
def test_a_cut_off_file_gives_what_it_has_and_one_line(tmp_path: Path, read: Read, name: str, codec: str) -> None:
    base = Fraction(1, 30) if codec == "mpeg4" else Fraction(1, 12800)
    path = make(tmp_path / name, 44, codec=codec, time_base=base, early_header=True, noise=True)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 6 // 10])
    got: list[TimedFrame] = []
    with pytest.raises(DataError, match=r"a\.\w+: expected .*, found \d+.*: the file is cut off or broken") as error:
        got.extend(read(path))
    assert "\n" not in str(error.value)
    assert 5 < len(got) < 40
    assert [number_of(frame.image) for frame in got[:6]] == list(range(6))


def test_damage_in_the_middle_does_not_end_the_reading(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", 40)
    content = bytearray(path.read_bytes())
    begin = content.index(b"mdat")
    middle = begin + (content.index(b"moov") - begin) // 2
    content[middle : middle + 120] = b"\xff" * 120
    path.write_bytes(content)
    frames: list[TimedFrame] = []
    with contextlib.suppress(DataError):  # FFmpeg mends what it can, and then nothing is wrong
        frames.extend(PyAvReader(path))
    assert len(frames) > 30
    assert number_of(frames[0].image) == 0
    assert number_of(frames[-1].image) == 39


@pytest.mark.parametrize("with_pyav", [True, False])
def test_what_is_no_video(tmp_path: Path, with_pyav: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_pyav:
        monkeypatch.setattr(video, "_pyav", lambda: None)
    text = tmp_path / "a.mp4"
    text.write_text("no video")
    with pytest.raises(DataError, match=r"a\.mp4: expected a video that"):
        open_video(text)
    with pytest.raises(DataError, match="expected a video file, found no such file"):
        open_video(tmp_path / "none.mp4")
    with pytest.raises(DataError, match="found a folder"):
        open_video(tmp_path)


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        voice = out.add_stream("aac", rate=44100)
        voice.layout = "mono"
        piece = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.int16), format="s16", layout="mono")
        piece.sample_rate, piece.pts = 44100, 0
        out.mux(voice.encode(piece))
        out.mux(voice.encode(None))
    with pytest.raises(DataError, match="no pictures in it"):
        open_video(path)


def test_pyav_is_taken_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.mp4", 3)
    assert isinstance(open_video(path), PyAvReader)
    monkeypatch.setattr(video, "_pyav", lambda: None)
    assert isinstance(open_video(path), OpenCvReader)


def test_frames_are_read_one_at_a_time(tmp_path: Path) -> None:
    """Nothing is decoded far ahead: the first frames are there although the file's end is missing."""
    path = make(tmp_path / "a.mp4", 40)
    reader = PyAvReader(path)
    frames: Iterator[TimedFrame] = iter(reader)
    assert number_of(next(frames).image) == 0
    assert number_of(next(frames).image) == 1
    reader.close()


# --- a camera


class FakeCapture:
    """Three frames, then silence."""

    def __init__(self, index: int) -> None:
        self.left, self.open = 3, index == 0

    def isOpened(self) -> bool:
        return self.open

    def get(self, what: int) -> float:
        return 25.0 if what == cv2.CAP_PROP_FPS else 0.0

    def read(self) -> tuple[bool, Picture | None]:
        self.left -= 1
        return (True, drawn(2 - self.left)[:, :, ::-1]) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.open = False


def test_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    moments = iter([100.0, 100.04, 100.1])
    monkeypatch.setattr(video.time, "monotonic", lambda: next(moments))
    reader = open_video(0)
    assert isinstance(reader, Camera)
    assert (reader.frame_rate, reader.length) == (25.0, None)
    frames: list[TimedFrame] = []
    with pytest.raises(DataError, match="camera 0: expected frames without end, found silence after 3"):
        frames.extend(reader)
    np.testing.assert_allclose([frame.time_s for frame in frames], [0, 0.04, 0.1])
    assert frames[0].image[5, 5].tolist() == [220, 40, 40]
    with pytest.raises(DataError, match="camera 7: expected a camera of this machine, found none of that number"):
        open_video(7)


# --- writing


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
        monkeypatch.setattr(video, "_pyav", lambda: None)
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

"""Reading videos: frames, times, rotation, broken files, cameras; with PyAV, and with OpenCV alone."""

from __future__ import annotations

import contextlib
import functools
import http.server
import itertools
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import DataError, MissingDependencyError
from srn.media import ffmpeg
from srn.media.pictures import write_image
from srn.media.video_reading import Camera, OpenCvReader, PyAvReader, TimedFrame, VideoReader, open_video

from .conftest import drawn, frames_of, make, number_of, place_matrix, rotate

av = pytest.importorskip("av", reason="PyAV (the extra `video`) makes the test videos")

Picture = npt.NDArray[np.uint8]
Read = Callable[[Path], VideoReader]

READERS = pytest.mark.parametrize("read", [PyAvReader, OpenCvReader])


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


def test_texts_that_are_no_utf8_do_not_matter(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4")
    whole = path.read_bytes()
    assert b"Lavf" in whole  # the name of the program that wrote it
    path.write_bytes(whole.replace(b"Lavf", b"\xff\xfe\xfd\xfc"))
    assert len(list(PyAvReader(path))) == 20


def test_pyav_19_is_opened_by_what_it_knows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, opened = make(tmp_path / "a.mp4"), av.open
    monkeypatch.setattr(av, "__version__", "19.0.2")
    monkeypatch.setattr(av, "open", lambda file, *, options, timeout: opened(file, options=options, timeout=timeout))
    assert len(list(PyAvReader(path))) == 20


@pytest.mark.parametrize(
    ("matrix", "shown"),
    [((-1, 0, 0, 1), lambda a: a[:, ::-1]), ((1, 0, 0, -1), lambda a: a[::-1]),
     ((0, 1, 1, 0), lambda a: a.swapaxes(0, 1)), ((0, -1, -1, 0), lambda a: a[::-1, ::-1].swapaxes(0, 1))],
    ids=["left for right", "top for bottom", "transposed", "transposed the other way"],
)  # fmt: skip
def test_mirrored_videos_are_shown_mirrored(
    tmp_path: Path, matrix: tuple[int, int, int, int], shown: Callable[[Picture], Picture]
) -> None:
    """As cameras that show oneself store them. OpenCV does not tell that a video is mirrored."""
    path = make(tmp_path / "a.mp4", 3)
    stored = frames_of(PyAvReader(path))[0].image
    place_matrix(path, matrix)
    np.testing.assert_array_equal(frames_of(PyAvReader(path))[0].image, shown(stored))


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


def test_what_ffmpeg_says_of_broken_frames_never_waits_for_python() -> None:
    """Its threads would, while this one waits for them to end: `srn track` of a broken video hung."""
    before, told = av.logging.get_level(), av.logging.get_last_error()
    av.logging.set_level(av.logging.WARNING)
    try:
        ffmpeg.quiet()
        av.logging.log(av.logging.ERROR, "h264", "a broken frame")
        assert av.logging.get_last_error() == told
    finally:
        av.logging.set_level(before)


@pytest.mark.parametrize("with_pyav", [True, False])
def test_what_is_no_video(tmp_path: Path, with_pyav: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not with_pyav:
        monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
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


def test_the_cover_of_a_piece_of_music_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic.value  # PyAV 14 takes the number
        picture = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        out.mux(cover.encode(picture.reformat(format="yuvj420p")))
        out.mux(cover.encode(None))
    with pytest.raises(DataError, match=r"a\.m4a: expected .*, found no pictures in it but the cover of its sound"):
        open_video(path)


@READERS
def test_recordings_that_were_joined_go_on(tmp_path: Path, read: Read) -> None:
    """The clock of the second begins anew: `cat a.ts b.ts > all.ts`. Its frames had all one time."""
    one = make(tmp_path / "one.ts", 20, codec="mpeg2video", time_base=Fraction(1, 30)).read_bytes()
    joined = tmp_path / "all.ts"
    joined.write_bytes(one + one)
    frames = frames_of(read(joined))
    assert len(frames) in (38, 39, 40)  # decoders lose one or two where the clock is set back
    steps = np.diff([frame.time_s for frame in frames])
    np.testing.assert_allclose(steps, 1 / 30, atol=0.04)
    assert steps.min() > 0.01


def test_a_piece_that_keeps_the_clock_of_the_whole_is_not_cut_off(tmp_path: Path) -> None:
    """As `ffmpeg -copyts -ss 3600` writes it: the file's duration counts from 0."""
    path = make(tmp_path / "a.mkv", [3600 + k / 30 for k in range(20)], codec="mpeg4", time_base=Fraction(1, 30))
    frames = frames_of(PyAvReader(path))
    np.testing.assert_allclose([frames[0].time_s, frames[-1].time_s], [3600, 3600 + 19 / 30], atol=1e-3)


def test_pyav_is_taken_where_it_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.mp4", 3)
    assert isinstance(open_video(path), PyAvReader)
    monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)
    assert isinstance(open_video(path), OpenCvReader)


def test_frames_are_read_one_at_a_time(tmp_path: Path) -> None:
    """Nothing is decoded far ahead: the first frames are there although the file's end is missing."""
    path = make(tmp_path / "a.mp4", 40)
    reader = PyAvReader(path)
    frames: Iterator[TimedFrame] = iter(reader)
    assert number_of(next(frames).image) == 0
    assert number_of(next(frames).image) == 1
    reader.close()


@READERS
@pytest.mark.parametrize(("rotation", "aspect"), [(0, Fraction(16, 11)), (90, Fraction(11, 16))])
def test_the_aspect_of_pixels(tmp_path: Path, read: Read, rotation: int, aspect: Fraction) -> None:
    path = make(tmp_path / "a.mp4", 3, rotation=rotation, pixel_aspect=Fraction(16, 11))
    assert {frame.pixel_aspect for frame in read(path)} == {aspect}


PLAYLISTS = {
    "hls": "#EXTM3U\n#EXTINF:1,\nother.mp4\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile other.mp4\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>other.mp4</BaseURL></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n",
    "text": "some text",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
@pytest.mark.parametrize("read", [open_video, PyAvReader, OpenCvReader])
def test_files_that_name_others_open_none(tmp_path: Path, kind: str, read: Read) -> None:
    make(tmp_path / "other.mp4", 3)
    (tmp_path / "a.mp4").write_text(PLAYLISTS[kind])
    with pytest.raises(DataError, match=r"a\.mp4: expected a video that"):
        read(tmp_path / "a.mp4")


@READERS
def test_the_limit_of_pixels_holds_for_frames(tmp_path: Path, read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "a.mp4", 3)
    monkeypatch.setenv("SRN_MAX_PIXELS", "6000")
    with pytest.raises(DataError, match=r"a\.mp4: expected a picture of at most .* found 96 x 64"):
        read(path)


@pytest.mark.parametrize("address", ["rtsp://127.0.0.1:8554/cam", "http://127.0.0.1:9/a.mp4"])
def test_addresses_need_a_flag(address: str) -> None:
    with pytest.raises(DataError, match=f"{address}: expected a video file, or --live for an address"):
        open_video(address)
    with pytest.raises(DataError, match=f"{address}: expected a video that FFmpeg can read, found Connection refused"):
        open_video(address, live=True)


def test_a_stream_over_http(tmp_path: Path) -> None:
    make(tmp_path / "a.mkv", 5)
    (tmp_path / "local.m3u8").write_text(f"#EXTM3U\n#EXTINF:1,\nfile://{tmp_path}/a.mkv\n#EXT-X-ENDLIST\n")
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            start = f"http://127.0.0.1:{server.server_port}"
            assert len(frames_of(open_video(f"{start}/a.mkv", live=True))) == 5
            with pytest.raises(DataError):  # an address never opens a file of this machine
                frames_of(open_video(f"{start}/local.m3u8", live=True))
        finally:
            server.shutdown()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe(tmp_path: Path) -> None:
    content = make(tmp_path / "a.mkv", 5).read_bytes()
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content), daemon=True).start()
    assert len(frames_of(open_video(tmp_path / "pipe"))) == 5


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_an_index_at_the_end_is_out_of_reach_in_a_pipe(tmp_path: Path) -> None:
    content = make(tmp_path / "a.mp4", 5).read_bytes()
    index = content.rindex(b"moov") - 4
    far = struct.pack(">I4s", 1 << 20, b"free") + bytes((1 << 20) - 8)  # as much as the frames of a longer video
    content = content[:index] + far + content[index:]
    (tmp_path / "a.mp4").write_bytes(content)
    assert len(frames_of(open_video(tmp_path / "a.mp4"))) == 5
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content), daemon=True).start()
    with pytest.raises(
        DataError, match="found none that decodes: the index of this MP4 stands at its end, out of reach"
    ):
        frames_of(open_video(tmp_path / "pipe"))


def test_a_device_is_no_video(no_pyav: None) -> None:
    with pytest.raises(DataError, match="/dev/zero: expected a video file, found a device"):
        open_video("/dev/zero")
    with pytest.raises(MissingDependencyError, match=r"pip install 'srn\[video\]'"):
        open_video("rtsp://127.0.0.1/x", live=True)


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
        return (True, np.full((64, 96, 3), (40, 40, 220), np.uint8)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        self.open = False


def test_a_dropped_frame_does_not_end_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuttering(FakeCapture):
        """Every other frame is missing."""

        def read(self) -> tuple[bool, Picture | None]:
            self.missed = not getattr(self, "missed", False)
            return (False, None) if self.missed else super().read()

    monkeypatch.setattr(cv2, "VideoCapture", Stuttering)
    monkeypatch.setattr("srn.media.video_reading.MISS_S", 0.0)
    reader = open_video("/dev/video0")
    frames: list[TimedFrame] = []
    with pytest.raises(DataError, match="found silence after 3"):
        frames.extend(reader)
    assert [frame.number for frame in frames] == [0, 1, 2]


def test_a_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "VideoCapture", FakeCapture)
    monkeypatch.setattr("srn.media.video_reading.MISS_S", 0.0)
    moments = iter([100.0, 100.04, 100.1])
    monkeypatch.setattr("srn.media.video_reading.time.monotonic", lambda: next(moments))
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


@pytest.mark.parametrize("number", [-1, 1 << 31, 10**20])
def test_a_number_of_no_camera(number: int) -> None:
    with pytest.raises(DataError, match=f"camera {number}: expected a camera of this machine, found none"):
        open_video(number)


def test_a_picture_is_called_one(tmp_path: Path) -> None:
    write_image(tmp_path / "a.jpg", drawn(0))
    with pytest.raises(DataError, match=r"a\.jpg: expected a video .* found a picture: see srn detect$"):
        open_video(tmp_path / "a.jpg")


def interlaced(path: Path, moves: int = 5, later: int = 1, codec: str = "libx264") -> list[Picture]:
    """Write 12 interlaced frames of a block that moves by `moves` pixels in half a frame; returns the earlier moments.

    The even lines of a frame are `later` halves of a frame later than the odd ones.
    """

    def moment(k: int) -> Picture:
        image = np.full((96, 160, 3), 60, np.uint8)
        image[20:76, moves * k + 4 : moves * k + 40] = 220
        return image

    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, options={"flags": "+ildct+ilme", "b": "4000000"})
        stream.width, stream.height, stream.pix_fmt = 160, 96, "yuv420p"
        for k in range(12):
            woven = moment(2 * k)
            woven[::2] = moment(2 * k + later)[::2]
            out.mux(stream.encode(av.VideoFrame.from_ndarray(woven, format="rgb24")))
        out.mux(stream.encode(None))
    return [moment(2 * k) for k in range(12)]


def off(images: Iterable[Picture], true: list[Picture]) -> list[float]:
    return [float(np.abs(a.astype(int) - b).mean()) for a, b in zip(images, true, strict=True)]


@pytest.mark.parametrize(("rotation", "moves", "later"), [(0, 5, 1), (90, 5, 1), (0, 5, 0), (0, 0, 1)])
def test_interlaced_frames_become_whole(tmp_path: Path, rotation: int, moves: int, later: int) -> None:
    path = tmp_path / "a.mp4"
    true = interlaced(path, moves, later)
    with av.open(str(path)) as container:
        decoded = off((frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)), true)
    if rotation:
        rotate(path, rotation)
    frames = frames_of(open_video(path))
    assert [frame.number for frame in frames] == list(range(12))
    np.testing.assert_allclose([frame.time_s for frame in frames], np.arange(12) / 25, atol=1e-6)
    whole = off((np.rot90(frame.image, -rotation // 90) for frame in frames), true)
    assert np.mean(whole) < 0.3  # the first has no frame before it, and is off by 0.55
    assert np.mean(whole) < 0.15 * np.mean(decoded) or not (moves and later)  # else the lines fit as they are


def test_frames_become_whole_in_recordings_that_were_joined(tmp_path: Path) -> None:
    """Only the second is interlaced, the third has another size; no frame waits for ever in the filter."""
    plain = make(tmp_path / "plain.ts", 8, codec="mpeg2video", time_base=Fraction(1, 30)).read_bytes()
    interlaced(tmp_path / "fields.ts", codec="mpeg2video")
    (tmp_path / "all.ts").write_bytes(plain + (tmp_path / "fields.ts").read_bytes() + plain)
    frames = frames_of(PyAvReader(tmp_path / "all.ts"))
    parts = [[*part] for _, part in itertools.groupby(frames, lambda frame: frame.image.shape[1])]
    assert [part[0].image.shape[1] for part in parts] == [96, 160, 96]
    assert [len(part) for part in parts] == pytest.approx([8, 12, 8], abs=1)  # decoders lose one where one ends
    for part in parts[::2]:
        numbers = [number_of(frame.image) for frame in part]
        assert numbers == list(range(numbers[0], numbers[0] + len(part)))
    assert np.diff([frame.time_s for frame in frames]).min() > 0

"""Write videos: by PyAV (extra `video`) as H.264 with exact times and sound, else by OpenCV as MPEG-4."""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, cast

import cv2
import numpy as np

from srn.errors import DataError, InputError, first_line
from srn.face.geometry import ImageArray
from srn.files import VIDEO, growing_file, interruptions_held, writing_to
from srn.media import ffmpeg
from srn.media.ffmpeg import UNTOLD, Colors
from srn.media.sound import begin_s, opened_sound, sound_packets
from srn.media.video_reading import VideoReader

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.packet import Packet
    from av.video.stream import VideoStream

# Suffixes of the videos that PyAV and OpenCV can write, with the codecs.
CODECS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".avi": "mpeg4", ".webm": "vp9"}
FOURCC = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID"}
QUALITY = {"libx264": {"crf": "18", "preset": "veryfast"}, "libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "6"}}
_LIMITED_RANGE = 1  # FFmpeg's number of brightness from 16 to 235
MOST_EARLY_S = 0.1  # of sound that an AVI file, where all sound begins at 0, plays before its pictures
MOST_REPEATED = 60_000  # frames of a gap that a constant rate fills; FFmpeg's AVI has the same limit


class FrameSink(Protocol):
    """Takes the frames of a video one after the other: a file, a window."""

    def write(self, image: ImageArray, time_s: float, pixel_aspect: Fraction = ...) -> None:
        """Take a frame (H, W, 3) uint8 RGB; times (seconds) never fall."""

    def complete(self) -> None:
        """Take note that the last frame was the end of the video."""


class VideoWriter:
    """Write a video to a temporary file, renamed on exit: an interrupted video can be played, too.

    Use as a context: `with VideoWriter(path, 30.0) as video: video.write(image, time_s)`. Without PyAV the frame rate
    is constant, and there is no sound; `sound_lost` is the reason why the sound of `sound_from` is missing.
    `is_written` tells, behind the block, whether the video is there.

    Args:
        path: `.mp4`, `.m4v`, `.mov`, `.mkv`, `.avi`, and with PyAV `.webm`.
        frame_rate: average frames per second.
        time_base: unit of the clock in seconds.
        sound_from: a video whose sound is copied unchanged.
        colors: what the colours of the frames mean (`VideoReader.colors`), which is told to players; needs PyAV.

    Raises:
        InputError: the suffix is not supported, or the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        frame_rate: float,
        time_base: Fraction = Fraction(1, 90000),
        sound_from: str | os.PathLike[str] | None = None,
        colors: Colors = UNTOLD,
    ) -> None:
        self.path, self._colors = Path(path), colors
        suffixes = FOURCC if ffmpeg.find_pyav() is None else CODECS
        if self.path.suffix.lower() not in suffixes:
            expected = f"a video file to write ({', '.join(suffixes)})"
            raise InputError.at(self.path, expected, self.path.suffix or "no suffix")
        if os.path.isdir(self.path):  # unlike Path.is_dir, of names that are too long, too
            raise InputError.at(self.path, "a video file to write", "a folder")
        self._rate, self._time_base, self._sound_from = frame_rate, time_base, sound_from
        self._file = growing_file(self.path)
        self._beside: Path | None = None
        self._sink: _PyAvSink | _OpenCvSink | None = None
        self._complete = self._has_frames = False
        self.sound_lost: str | None = None
        self.is_written = False

    @classmethod
    def like(
        cls, reader: VideoReader, path: str | os.PathLike[str], sound_from: str | os.PathLike[str] | None = None
    ) -> Self:
        """Make a writer of frames that come from a video, with its rate, clock and colours."""
        return cls(path, reader.frame_rate, reader.time_base, sound_from, reader.colors)

    def __enter__(self) -> Self:
        self._beside = self._file.__enter__()
        return self

    def write(self, image: ImageArray, time_s: float, pixel_aspect: Fraction = Fraction(1)) -> None:
        """Add a frame (H, W, 3) uint8 RGB, scaled to the first one's size; times (seconds) never fall.

        The first frame's `pixel_aspect`, width over height of a pixel, is the video's. In WebM, and without
        PyAV, frames are stretched to square pixels instead.
        """
        if self._beside is None:
            raise InputError.at(self.path, "a video opened with 'with'", "a closed one")
        with interruptions_held():  # the encoder gives a frame away once: the file would lack it, or all after it
            self._write(image, time_s, pixel_aspect)

    def _write(self, image: ImageArray, time_s: float, pixel_aspect: Fraction) -> None:
        assert self._beside is not None
        if self._sink is None:
            beside, rate, sound = self._beside, self._rate, self._sound_from
            if ffmpeg.find_pyav() is None:
                self._sink = _OpenCvSink(
                    beside, image, rate=rate, begin_s=time_s, sound_from=sound, aspect=pixel_aspect
                )
            else:
                self._sink = _PyAvSink(
                    beside, image, rate=rate, time_base=self._time_base, sound_from=sound, aspect=pixel_aspect,
                    colors=self._colors,
                )  # fmt: skip
            self.sound_lost = self._sink.sound_lost
        with self._writing(f" at {time_s:.1f} s"):
            self._sink.write(image, time_s)
        self._has_frames = True

    @contextlib.contextmanager
    def _writing(self, place: str = "") -> Iterator[None]:
        """Turn what the encoder or the container refuses into an `InputError`."""
        av = ffmpeg.find_pyav()
        refusals = (OverflowError,) if av is None else (OverflowError, av.FFmpegError)
        try:
            with writing_to(self.path):
                yield
        except refusals as error:
            found = f"{first_line(error)}{place}"
            raise InputError.at(self.path, "frames and times that such a video can hold", found) from error

    def complete(self) -> None:
        """Declare the last frame the end of the video: sound that outlasts it is copied as well."""
        self._complete = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        is_playable = False  # without its end the video is not
        try:
            if self._sink is not None:
                with self._writing():
                    self._sink.close(self._complete)
            is_playable = self._has_frames
            if is_playable and self._beside is not None and self._beside.is_file():
                with contextlib.suppress(OSError), interruptions_held():  # the video is whole without
                    _sign(self._beside)
        finally:
            if not is_playable and self._beside is not None and self._beside != self.path:  # a pipe is written into
                self._beside.unlink(missing_ok=True)
            self._beside = self._sink = None
            self._file.__exit__(kind, error, trace)
        self.is_written = is_playable


def _sign(video: Path) -> None:
    """Add a last part that players pass over, by which `srn.files` knows the program's own videos from the user's.

    Raises:
        OSError: it could not be added, all or nothing.
    """
    length, suffix = len(VIDEO.end), video.suffix.lower()
    head = struct.pack(">I4s", 8 + length, b"free")
    if suffix in (".mkv", ".webm"):
        head = bytes([0xEC, 0x80 | length])
    elif suffix == ".avi":
        head = struct.pack("<4sI", b"JUNK", length)
    with video.open("ab", buffering=0) as file:
        whole = file.tell()
        if file.write(head + VIDEO.end) < len(head) + length:
            file.truncate(whole)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


class _PyAvSink:
    def __init__(
        self,
        path: Path,
        first: ImageArray,
        *,
        rate: float,
        time_base: Fraction,
        sound_from: str | os.PathLike[str] | None,
        aspect: Fraction,
        colors: Colors,
    ) -> None:
        import av

        self._av, self._path, self._time_base, self._colors = av, path, time_base, colors
        height, width = first.shape[:2]
        stretched = path.suffix.lower() == ".webm"  # PyAV's WebM files have no place for it
        self._size = (max(round(width * aspect), 1), height) if stretched else (width, height)
        self._aspect = Fraction(1) if stretched else aspect
        self._last = -1
        self._waiting: Packet[AudioStream] | None = None
        self.sound_lost: str | None = None
        self._source = None if sound_from is None else opened_sound(sound_from)
        late = begin_s(self._source) if self._source is not None and path.suffix.lower() == ".avi" else 0.0
        if late > MOST_EARLY_S:
            self._lose_sound(f"an .avi file would play it {late:.2f} s too early")  # it has no place for a delay
        try:
            self._open(rate)
        except (av.FFmpegError, ValueError) as error:  # mostly: the container does not support this sound codec
            if self._source is None:
                raise InputError.at(path, "a video that can be written", first_line(error)) from error
            codec = self._source.streams.audio[0].codec_context.name
            self._lose_sound(f"a {path.suffix} file does not take {codec} sound")
            self._container.close()
            with InputError.reading(path, "a video that can be written"):
                self._open(rate)

    def _lose_sound(self, reason: str) -> None:
        self.sound_lost = reason
        if self._source is not None:
            self._source.close()
            self._source = None

    def _open(self, rate: float) -> None:
        self._container = self._av.open(str(self._path), "w")
        codec = CODECS[self._path.suffix.lower()]
        if codec not in self._av.codecs_available:
            codec = {"libx264": "mpeg4", "vp9": "libvpx-vp9"}[codec]
        fraction = Fraction(rate).limit_denominator(1001)
        options = QUALITY.get(codec, {"qscale": "3"})
        stream = cast("VideoStream", self._container.add_stream(codec, rate=fraction, options=options))
        width, height = self._size
        # Colour is stored at half the resolution, in blocks of two by two: an odd edge is repeated once.
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        if codec == "mpeg4":
            stream.bit_rate = int(max(width * height * rate * 0.2, 500_000))
            # Its clock has 16 bits, and AVI knows no other times than whole frames.
            avi = self._path.suffix.lower() == ".avi"
            self._time_base = 1 / fraction if avi else max(self._time_base, Fraction(1, 65535))
        stream.codec_context.time_base = self._time_base
        stream.codec_context.sample_aspect_ratio = self._aspect
        # Told, and the usual one where a format does not tell it: a player that guesses another shifts all colours.
        self._matrix = ffmpeg.usual_matrix(stream.width, stream.height)
        stream.codec_context.colorspace, stream.codec_context.color_range = self._matrix, _LIMITED_RANGE
        stream.codec_context.color_primaries, stream.codec_context.color_trc = self._colors
        self._stream = stream
        self._sound = None
        if self._source is not None:
            self._packets = sound_packets(self._source)
            self._sound = self._container.add_stream_from_template(self._source.streams.audio[0])
        self._container.start_encoding()

    def write(self, image: ImageArray, time_s: float) -> None:
        width, height = self._size
        padded = np.pad(_fitted(image, width, height), ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24").reformat(
            format="yuv420p", dst_colorspace=self._matrix, dst_color_range=_LIMITED_RANGE
        )
        frame.colorspace, frame.color_range = self._matrix, _LIMITED_RANGE
        self._last = max(round(time_s / self._time_base), self._last + 1)  # no two frames at one time
        frame.pts, frame.time_base = self._last, self._time_base
        self._copy_sound(time_s)
        self._container.mux(self._stream.encode(frame))

    def _copy_sound(self, until_s: float) -> None:
        """Copy the sound up to a time in step with the frames, so that neither is buffered in memory."""
        while self._sound is not None:
            try:
                packet = self._waiting or next(self._packets)
            except (StopIteration, self._av.FFmpegError):
                self._sound = None
                return
            self._waiting = packet
            if packet.pts is not None and float(packet.pts * packet.time_base) > until_s:
                return
            self._waiting = None
            packet.stream = self._sound
            self._container.mux(packet)

    def close(self, complete: bool) -> None:
        shown = float(self._last * self._time_base + 1 / self._stream.codec_context.framerate)
        self._copy_sound(float("inf") if complete else shown)
        self._container.mux(self._stream.encode(None))
        self._container.close()
        if self._source is not None:
            self._source.close()


def _fitted(image: ImageArray, width: int, height: int) -> ImageArray:
    if image.shape[:2] == (height, width):
        return image
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


class _OpenCvSink:
    """Frames are repeated or left out to keep pace with their times."""

    def __init__(
        self,
        path: Path,
        first: ImageArray,
        *,
        rate: float,
        begin_s: float,
        sound_from: str | os.PathLike[str] | None,
        aspect: Fraction,
    ) -> None:
        height, width = first.shape[:2]
        self._path, self._rate, self._begin = path, rate, begin_s
        self._size = max(round(width * aspect), 1), height
        self._count, self._last = 0, _fitted(first, *self._size)
        no_sound = "sound, if there is any, is copied only with PyAV: pip install 'srn[video]'"
        self.sound_lost = None if sound_from is None else no_sound
        code = cv2.VideoWriter.fourcc(*FOURCC[path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(path), code, rate, self._size)
        if not self._writer.isOpened():
            raise InputError.at(path, "a video that OpenCV can write", "none")

    def write(self, image: ImageArray, time_s: float) -> None:
        image = _fitted(image, *self._size)
        place = round((time_s - self._begin) * self._rate)
        if place - self._count > MOST_REPEATED:
            gap = f"none for {(place - self._count) / self._rate:.0f} s"
            raise DataError.at("video", f"a next frame within {MOST_REPEATED / self._rate:.0f} s", gap)
        while self._count < place:
            self._put(self._last)
        if self._count == place:
            self._put(image)
        self._last = image

    def _put(self, image: ImageArray) -> None:
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self, complete: bool) -> None:
        del complete  # there is no sound that could outlast the frames
        self._writer.release()
        if self._path.is_file():  # and no pipe
            # OpenCV tells nothing of frames that it could not write. The end of the file, which counts them, is then
            # missing, even where the disk has room again.
            video = cv2.VideoCapture(str(self._path), cv2.CAP_FFMPEG)
            stated = video.get(cv2.CAP_PROP_FRAME_COUNT)
            video.release()
            if stated < self._count:
                _sign(self._path)  # where there is still no room, it says why
                raise OSError("a part of the video missing: was the disk full?")

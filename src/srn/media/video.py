"""Videos in and out, frame by frame: no more than a few frames are ever in memory.

With PyAV (the extra `video`) every frame keeps its exact time, sound is passed on untouched and videos are written as
H.264. Without it OpenCV does the same work as well as it can: no sound, one constant frame rate, MPEG-4.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self, cast

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import DataError, InputError
from srn.files import growing_file

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

Picture = npt.NDArray[np.uint8]

DEFAULT_RATE = 30.0
"""Frames a second of a video that does not say."""

CODECS = {".mp4": "libx264", ".m4v": "libx264", ".mov": "libx264", ".mkv": "libx264", ".avi": "mpeg4", ".webm": "vp9"}
"""Kinds of video that can be written, with the codec that PyAV writes them in."""

FOURCC = {".mp4": "mp4v", ".m4v": "mp4v", ".mov": "mp4v", ".mkv": "mp4v", ".avi": "XVID"}
"""Likewise for OpenCV."""


class TimedFrame(NamedTuple):
    """A frame of a video.

    Attributes:
        number: from 0, in the order of presentation.
        time_s: when it is shown, seconds, by the video's own clock; never before the frame in front of it.
        image: (H, W, 3) uint8 RGB, upright.
    """

    number: int
    time_s: float
    image: Picture


class VideoReader(Protocol):
    """A video that is read once, from the front."""

    @property
    def frame_rate(self) -> float:
        """Frames a second, on average."""
        ...

    @property
    def time_base(self) -> Fraction:
        """Unit of the video's clock, seconds."""
        ...

    @property
    def length(self) -> int | None:
        """How many frames there should be; None where nobody knows."""
        ...

    def __iter__(self) -> Iterator[TimedFrame]:
        """The frames. Where the video is broken: what can be read of it, then a `DataError`."""
        ...

    def close(self) -> None:
        """Let go of the file or camera."""
        ...


def _pyav() -> ModuleType | None:
    """PyAV, where it is installed."""
    try:
        import av
    except ImportError:
        return None
    return av


def quiet() -> None:
    """Keep FFmpeg from printing what it thinks of broken files, for a `DataError` says it in one line. In programs."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    av = _pyav()
    if av is not None:
        av.logging.set_level(av.logging.PANIC)


def open_video(source: str | os.PathLike[str] | int) -> VideoReader:
    """Open a video file, or a camera by its number.

    Raises:
        DataError: there is no such file or camera, or it is no video.
    """
    if isinstance(source, int):
        return Camera(source)
    path = Path(source)
    if not path.is_file():
        raise DataError.at(path, "a video file", "a folder" if path.is_dir() else "no such file")
    return PyAvReader(path) if _pyav() is not None else OpenCvReader(path)


class PyAvReader:
    """A video file through PyAV."""

    def __init__(self, path: Path) -> None:
        import av

        self.path = path
        try:
            self._container: InputContainer = av.open(str(path))
            self._stream = self._container.streams.video[0]
        except (av.FFmpegError, IndexError) as error:
            found = "no pictures in it" if isinstance(error, IndexError) else _short(error)
            raise DataError.at(path, "a video that FFmpeg can read", found) from error
        self._stream.thread_type = "AUTO"
        self._errors = (av.FFmpegError,)

    @property
    def frame_rate(self) -> float:
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else DEFAULT_RATE

    @property
    def time_base(self) -> Fraction:
        return self._stream.time_base or Fraction(1, 90000)

    @property
    def length(self) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        seconds = self._seconds() or (self._container.duration or 0) / 1e6 or None
        return None if seconds is None else max(round(seconds * self.frame_rate), 1)

    def _seconds(self) -> float | None:
        """How long the pictures should go on, by their own account; None where they give none."""
        if self._stream.duration:
            return float(self._stream.duration * self.time_base)
        tag = self._stream.metadata.get("DURATION", "")  # Matroska's: 01:02:03.500000000
        if re.fullmatch(r"\d+:\d\d:\d\d(\.\d+)?", tag):
            hours, minutes, seconds = tag.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        # Beside the pictures there may be sound that goes on after them.
        alone = len(self._container.streams) == 1 and self._container.duration is not None
        return (self._container.duration or 0) / 1e6 if alone else None

    def __iter__(self) -> Iterator[TimedFrame]:
        number, time_s, broken = 0, 0.0, 0
        packets = self._packets()
        for packet in packets:
            try:
                frames = packet.decode()
            except self._errors:
                broken += 1
                continue
            for frame in frames:
                broken += bool(frame.is_corrupt)
                moment = None if frame.pts is None else float(frame.pts * (frame.time_base or self.time_base))
                if moment is None:  # a stream without a clock
                    moment = time_s + 1 / self.frame_rate if number else 0.0
                time_s = max(moment, time_s) if number else moment
                yield TimedFrame(number, time_s, _upright(frame))
                number += 1
        self._check(number, time_s, broken)

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Packets of the pictures as far as the file goes, and the empty one that gets the last frames out."""
        demuxed = self._container.demux(self._stream)
        while True:
            try:
                yield next(demuxed)
            except StopIteration:
                return
            except self._errors:  # the file ends in the middle of something; `_check` tells how much is missing
                from av.packet import Packet

                flush = cast("Packet[VideoStream]", Packet())
                flush.stream = self._stream
                yield flush
                return

    def _check(self, number: int, last_s: float, broken: int) -> None:
        """Raise `DataError` unless `number` frames up to `last_s` are what the file promised."""
        if not number:
            raise DataError.at(self.path, "a video with frames", "none that decodes")
        promised, seconds = self._stream.frames, self._seconds()
        start = float((self._stream.start_time or 0) * self.time_base)
        _check_count(self.path, promised or None, number, (last_s - start) * self.frame_rate)
        if not promised and seconds is not None and last_s - start < 0.98 * seconds - max(0.5, 3 / self.frame_rate):
            found = f"{number} frames up to {last_s:.1f} s: the file is cut off or broken"
            raise DataError.at(self.path, f"{seconds:.1f} s of video", found)
        if broken:
            raise DataError.at(
                self.path, f"{number + broken} whole frames", f"{broken} broken ones (left out or smeared)"
            )

    def close(self) -> None:
        self._container.close()


def _check_count(path: Path, promised: int | None, number: int, by_time: float) -> None:
    """Raise `DataError` where a file says that it has `promised` frames and gave only `number`.

    Frames that stand still for several may be counted more than once (AVI), so what the clock says (`by_time`, frames)
    counts as well; edit lists hide some, so a frame or two are not missed.
    """
    if promised is not None and max(number, by_time + 1) < promised - max(2, 0.01 * promised):
        raise DataError.at(path, f"{promised} frames", f"{number}: the file is cut off or broken")


def _short(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(text).splitlines()[0]


def _upright(frame: VideoFrame) -> Picture:
    """A decoded frame as (H, W, 3) uint8 RGB, turned as its metadata say."""
    image = frame.to_ndarray(format="rgb24").astype(np.uint8, copy=False)
    turns = round(frame.rotation / 90) % 4  # counterclockwise, as NumPy's
    return np.ascontiguousarray(np.rot90(image, turns)) if turns else image


class OpenCvReader:
    """A video file through OpenCV."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._capture = cv2.VideoCapture(str(path))
        if not self._capture.isOpened():
            raise DataError.at(path, "a video that OpenCV can read", "none")
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)

    @property
    def frame_rate(self) -> float:
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        return rate if np.isfinite(rate) and 0 < rate < 1000 else DEFAULT_RATE

    @property
    def time_base(self) -> Fraction:
        return Fraction(1, 90000)

    @property
    def length(self) -> int | None:
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return count if count > 0 else None

    def __iter__(self) -> Iterator[TimedFrame]:
        number, time_s, length = 0, 0.0, self.length
        while True:
            got, frame = self._capture.read()
            if not got or frame is None:
                break
            moment = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            if number and not moment > time_s:  # some containers have no clock
                moment = time_s + 1 / self.frame_rate
            time_s = moment
            yield TimedFrame(number, time_s, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False))
            number += 1
        if not number:
            raise DataError.at(self.path, "a video with frames", "none that decodes")
        _check_count(self.path, length, number, time_s * self.frame_rate)

    def close(self) -> None:
        self._capture.release()


class Camera:
    """A camera of this machine, through OpenCV; times are those of the arrival, from the first frame on."""

    def __init__(self, index: int) -> None:
        self.index = index
        self._capture = cv2.VideoCapture(index)
        if not self._capture.isOpened():
            raise DataError.at(f"camera {index}", "a camera of this machine", "none of that number")

    @property
    def frame_rate(self) -> float:
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        return rate if np.isfinite(rate) and 0 < rate < 1000 else DEFAULT_RATE

    @property
    def time_base(self) -> Fraction:
        return Fraction(1, 1000000)

    @property
    def length(self) -> None:
        return None

    def __iter__(self) -> Iterator[TimedFrame]:
        number, begin = 0, 0.0
        while True:
            got, frame = self._capture.read()
            if not got or frame is None:
                raise DataError.at(f"camera {self.index}", "frames without end", f"silence after {number}")
            now = time.monotonic()
            begin = begin if number else now
            yield TimedFrame(number, now - begin, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False))
            number += 1

    def close(self) -> None:
        self._capture.release()


class VideoWriter:
    """Writes a video beside `path` and gives it its name when closed, so that an interrupted one can be played.

    Use as a context: `with VideoWriter(path, 30.0) as video: video.write(image, time_s)`.

    Args:
        path: `.mp4`, `.mov`, `.mkv`, `.avi`, and with PyAV `.webm`.
        frame_rate: frames a second, about; with PyAV each frame is shown at its own time.
        time_base: unit of the clock that times are kept in.
        sound_from: a video whose sound is copied as it is; needs PyAV.

    Raises:
        InputError: the kind of file is not known, or it cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        frame_rate: float,
        time_base: Fraction = Fraction(1, 90000),
        sound_from: str | os.PathLike[str] | None = None,
    ) -> None:
        self.path = Path(path)
        kinds = FOURCC if _pyav() is None else CODECS
        if self.path.suffix.lower() not in kinds:
            raise InputError.at(
                self.path, f"a video file to write ({', '.join(kinds)})", self.path.suffix or "no suffix"
            )
        if self.path.is_dir():
            raise InputError.at(self.path, "a video file to write", "a folder")
        self._rate, self._time_base, self._sound_from = frame_rate, time_base, sound_from
        self._beside = growing_file(self.path)
        self._place: Path | None = None
        self._whole = False
        self._sink: _PyAvSink | _OpenCvSink | None = None
        self.sound_lost: str | None = None
        """Why the sound of `sound_from` is not in the file; None where it is, or where there was none."""

    def __enter__(self) -> Self:
        self._place = self._beside.__enter__()
        return self

    def write(self, image: Picture, time_s: float) -> None:
        """Add a frame (H, W, 3) uint8 RGB of the size of the first one, shown at `time_s`, after all before it."""
        if self._place is None:
            raise InputError.at(self.path, "a video opened with 'with'", "a closed one")
        if self._sink is None:
            if _pyav() is not None:
                self._sink = _PyAvSink(self._place, image, self._rate, self._time_base, self._sound_from)
                self.sound_lost = self._sink.sound_lost
            else:
                self._sink = _OpenCvSink(self._place, image, self._rate)
                if self._sound_from is not None:
                    self.sound_lost = "sound is copied only with PyAV: pip install 'srn[video]'"
        self._sink.write(image, time_s)

    def complete(self) -> None:
        """Say that the last frame was the video's last: sound that goes on after it belongs to it, too."""
        self._whole = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._sink is not None:
                self._sink.close(self._whole)
        finally:
            self._place = self._sink = None
            self._beside.__exit__(kind, error, trace)


class _PyAvSink:
    """An open output of PyAV."""

    def __init__(
        self,
        path: Path,
        first: Picture,
        rate: float,
        time_base: Fraction,
        sound_from: str | os.PathLike[str] | None,
    ) -> None:
        import av

        self._av, self._path, self._time_base = av, path, time_base
        self._size = first.shape[:2]
        self._last = -1
        self._waiting: Packet[AudioStream] | None = None
        self.sound_lost: str | None = None
        self._source = None if sound_from is None else _opened_sound(sound_from)
        try:
            self._open(rate)
        except (av.FFmpegError, ValueError) as error:  # mostly: the container does not take this kind of sound
            if self._source is None:
                raise InputError.at(path, "a video that can be written", _short(error)) from error
            codec = self._source.streams.audio[0].codec_context.name
            self.sound_lost = f"a {path.suffix} file does not take {codec} sound"
            self._source.close()
            self._source = None
            self._container.close()
            self._open(rate)

    def _open(self, rate: float) -> None:
        self._container = self._av.open(str(self._path), "w")
        codec = CODECS[self._path.suffix.lower()]
        if codec not in self._av.codecs_available:
            codec = {"libx264": "mpeg4", "vp9": "libvpx-vp9"}[codec]
        options = {
            "libx264": {"crf": "18", "preset": "veryfast"},
            "libvpx-vp9": {"crf": "24", "b": "0", "cpu-used": "6"},
        }
        fraction = Fraction(rate).limit_denominator(1001)
        added = self._container.add_stream(codec, rate=fraction, options=options.get(codec, {"qscale": "3"}))
        stream = cast("VideoStream", added)
        height, width = self._size
        # Colour is stored at half the resolution, in blocks of two by two: an odd edge is repeated once.
        stream.width, stream.height, stream.pix_fmt = width + width % 2, height + height % 2, "yuv420p"
        if codec == "mpeg4":
            stream.bit_rate = int(max(width * height * rate * 0.2, 500_000))
            # Its clock has 16 bits, and AVI knows no other times than whole frames.
            avi = self._path.suffix.lower() == ".avi"
            self._time_base = 1 / fraction if avi else max(self._time_base, Fraction(1, 65535))
        stream.codec_context.time_base = self._time_base
        self._stream = stream
        self._sound = None
        if self._source is not None:
            self._packets = self._source.demux(self._source.streams.audio[0])
            self._sound = self._container.add_stream_from_template(self._source.streams.audio[0])
        self._container.start_encoding()

    def write(self, image: Picture, time_s: float) -> None:
        if image.shape[:2] != self._size:
            image = cv2.resize(image, self._size[::-1], interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        height, width = self._size
        padded = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        frame = self._av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
        self._last = max(round(time_s / self._time_base), self._last + 1)  # no two frames at one time
        frame.pts, frame.time_base = self._last, self._time_base
        self._copy_sound(time_s)
        self._container.mux(self._stream.encode(frame))

    def _copy_sound(self, until_s: float) -> None:
        """Sound as far as the pictures go, so that neither waits for the other in memory."""
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
            if packet.dts is not None:  # else the empty packet at the end
                packet.stream = self._sound
                self._container.mux(packet)

    def close(self, whole: bool) -> None:
        shown = float(self._last * self._time_base + 1 / self._stream.codec_context.framerate)
        self._copy_sound(float("inf") if whole else shown)
        self._container.mux(self._stream.encode(None))
        self._container.close()
        if self._source is not None:
            self._source.close()


def _opened_sound(path: str | os.PathLike[str]) -> InputContainer | None:
    """The video opened for its sound; None where it has none."""
    import av

    try:
        source = av.open(str(path))
    except av.FFmpegError as error:
        raise DataError.at(path, "a video to take the sound from", _short(error)) from error
    if source.streams.audio:
        return source
    source.close()
    return None


class _OpenCvSink:
    """An open output of OpenCV: at a constant rate, so frames are repeated or left out to keep pace with the times."""

    def __init__(self, path: Path, first: Picture, rate: float) -> None:
        height, width = first.shape[:2]
        self._size, self._rate = (width, height), rate
        code = cv2.VideoWriter.fourcc(*FOURCC[path.suffix.lower()])
        self._writer = cv2.VideoWriter(str(path), code, rate, self._size)
        if not self._writer.isOpened():
            raise InputError.at(path, "a video that OpenCV can write", "none")
        self._begin: float | None = None
        self._count = 0
        self._last: Picture = first

    def write(self, image: Picture, time_s: float) -> None:
        if image.shape[1::-1] != self._size:
            image = cv2.resize(image, self._size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        if self._begin is None:
            self._begin = time_s
        place = round((time_s - self._begin) * self._rate)
        while self._count < place:
            self._put(self._last)
        if self._count == place:
            self._put(image)
        self._last = image

    def _put(self, image: Picture) -> None:
        self._writer.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        self._count += 1

    def close(self, whole: bool) -> None:
        del whole  # there is no sound that could go on
        self._writer.release()

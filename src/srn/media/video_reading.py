"""Read videos and cameras frame by frame: by PyAV (extra `video`) with exact times, else by OpenCV."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import cv2
import numpy as np

from srn.errors import DataError, MissingDependencyError
from srn.face.geometry import ImageArray
from srn.media import ffmpeg
from srn.media.ffmpeg import UNTOLD, Colors
from srn.media.limits import check_pixels
from srn.media.picture_count import is_still
from srn.media.pictures import IMAGE_SUFFIXES, opaque_rgb

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

DEFAULT_RATE = 30.0  # frames per second of a video that does not state its rate
LIVE_MISSES = 100  # frames of a live source that may be missing one after the other
SET_BACK_FRAMES = 1.5  # durations of a frame by which a clock runs back where another recording begins
MISS_S = 0.05  # pause after a missing frame of a camera


class TimedFrame(NamedTuple):
    """A frame of a video: its index from 0, its time by the video's own clock, which never runs back, and its picture.

    The picture is (H, W, 3) uint8 RGB, upright.
    """

    number: int
    time_s: float
    image: ImageArray
    pixel_aspect: Fraction = Fraction(1)  # width of a pixel over its height, as the frame is to be shown


class VideoReader(Protocol):
    """A video that is read once, from the first frame on, with no more than a few frames in memory."""

    @property
    def frame_rate(self) -> float:
        """Average frames per second."""

    @property
    def time_base(self) -> Fraction:
        """Unit of the video's clock in seconds."""

    @property
    def length(self) -> int | None:
        """Expected number of frames; None where it is unknown."""

    @property
    def has_sound(self) -> bool:
        """Whether sound is known to come with the frames."""

    @property
    def colors(self) -> Colors:
        """What the colours mean, as far as it is known."""

    def __iter__(self) -> Iterator[TimedFrame]:
        """Yield the frames. A broken video yields its readable frames, then raises `DataError`."""

    def close(self) -> None:
        """Release the file or camera."""


def open_video(source: str | os.PathLike[str] | int, *, live: bool = False) -> VideoReader:
    """Open a video file, a pipe (`-` is the standard input), a camera, or an address.

    Args:
        source: a path, a camera's number or device (`/dev/video0`), or an address such as `rtsp://host/stream`.
        live: whether addresses may be opened. They and pipes need PyAV.

    Raises:
        DataError: there is no such file, camera or stream, it is not a video, or it is an address without `live`.
        MissingDependencyError: PyAV is needed and is not installed.
    """
    if isinstance(source, int):
        return Camera(source)
    text = os.fspath(source)
    device = re.fullmatch(r"/dev/video(\d+)", text)
    if device is not None:
        return Camera(int(device[1]))
    is_address = re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None
    if is_address and not live:
        raise DataError.at(text, "a video file, or --live for an address", "an address")
    path = Path("/dev/stdin" if text == "-" else text)
    if is_address or _is_pipe(path) or (text == "-" and path.exists()):
        if ffmpeg.find_pyav() is None:
            raise MissingDependencyError.for_extra("PyAV", "video", "reading a stream")
        return PyAvReader(text if is_address else path, live=is_address)
    if not path.is_file():
        found = "a folder" if path.is_dir() else "a device" if path.exists() else "no such file"
        raise DataError.at(path, "a video file", found)
    with DataError.reading(path, "a video file"):
        found_video = is_video(path)
    if not found_video:
        raise DataError.at(path, "a video that FFmpeg can read (MP4, Matroska, AVI, ...)", _other_kind(path))
    return PyAvReader(path) if ffmpeg.find_pyav() is not None else OpenCvReader(path)


def is_video(path: Path) -> bool:
    """Whether a file is a video, or an animation, by its first bytes."""
    return ffmpeg.is_container(path) and not is_still(head_of(path))


def _is_pipe(path: Path) -> bool:
    return path.exists() and stat.S_ISFIFO(path.stat().st_mode)


def head_of(path: Path) -> bytes:
    """Return the first bytes of a file, by which its kind shows."""
    with path.open("rb") as file:
        return file.read(400)


def _other_kind(path: Path) -> str:
    """Say what a file is that is no video."""
    head = head_of(path)
    if is_still(head):
        return "a picture: see srn detect"
    if head[:4] == b"RIFF" and head[12:16] == b"VP8X" and head[20] & 2:
        return "an animated WebP, which FFmpeg does not read: save it as a GIF or a video"
    return "a picture: see srn detect" if path.suffix.lower() in IMAGE_SUFFIXES else "another kind of file"


class PyAvReader:
    def __init__(self, path: str | Path, *, live: bool = False) -> None:
        import av

        self.path, self._live = path, live
        expected = "a video that FFmpeg can read"
        with DataError.reading(path, expected):
            self._container = ffmpeg.open_input(path, live=live)
        pictures = ffmpeg.picture_streams(self._container)
        if not pictures:
            found = "no pictures in it" + " but the cover of its sound" * bool(self._container.streams.video)
            raise DataError.at(path, expected, found)
        # An AVIF animation is a picture, which programs without animations show, and a track of all its pictures.
        self._stream = pictures[0] if pictures[0].frames != 1 else max(pictures, key=lambda one: one.frames)
        if self._stream.codec_context is None:
            raise DataError.at(path, expected, "pictures of an unknown codec")
        check_pixels(path, self._stream.width, self._stream.height)
        self._stream.thread_type = "AUTO"
        self._errors, self._broken = (av.FFmpegError,), 0

    @property
    def frame_rate(self) -> float:
        return float(self._stream.average_rate or self._stream.guessed_rate or DEFAULT_RATE)

    @property
    def time_base(self) -> Fraction:
        return self._stream.time_base or Fraction(1, 90000)

    @property
    def length(self) -> int | None:
        if self._stream.frames:
            return self._stream.frames
        seconds = self._seconds() or (self._container.duration or 0) / 1e6 or None
        return None if seconds is None else max(round(seconds * self.frame_rate), 1)

    @property
    def has_sound(self) -> bool:
        return bool(self._container.streams.audio)

    @property
    def colors(self) -> Colors:
        return Colors(int(self._stream.codec_context.color_primaries), int(self._stream.codec_context.color_trc))

    def _seconds(self) -> float | None:
        """Duration of the picture stream as the file states it; None where it does not."""
        if self._stream.duration:
            return float(self._stream.duration * self.time_base)
        tag = self._stream.metadata.get("DURATION", "")  # Matroska's: 01:02:03.500000000
        if re.fullmatch(r"\d+:\d\d:\d\d(\.\d+)?", tag):
            hours, minutes, seconds = tag.split(":")
            return int(hours) * 3600 + int(minutes) * 60 + float(seconds)
        # The container's duration counts only without other streams: sound may outlast the pictures.
        alone = len(self._container.streams) == 1 and self._container.duration is not None
        return (self._container.duration or 0) / 1e6 if alone else None

    def __iter__(self) -> Iterator[TimedFrame]:
        number, time_s = 0, 0.0
        later = 0.0  # seconds by which the clock was set back: recordings that were joined each begin anew
        for frame in ffmpeg.progressive(self._decoded()):
            if frame.pts is not None:
                moment = later + float(frame.pts * (frame.time_base or self.time_base))
                if number and time_s - moment > SET_BACK_FRAMES / self.frame_rate:
                    later += time_s + 1 / self.frame_rate - moment
                    moment = time_s + 1 / self.frame_rate
                time_s = max(moment, time_s) if number else moment
            elif number:  # a stream without a clock
                time_s += 1 / self.frame_rate
            check_pixels(self.path, frame.width, frame.height)
            aspect = self._stream.sample_aspect_ratio or Fraction(1)
            turns, mirrored = ffmpeg.orientation(frame)
            if turns % 2:
                aspect = 1 / aspect
            yield TimedFrame(number, time_s, _upright(frame, turns, mirrored=mirrored), aspect)
            number += 1
        self._check(number, time_s, 0 if self._live else self._broken)

    def _decoded(self) -> Iterator[VideoFrame]:
        """Yield the frames that decode, and count those that are broken."""
        for packet in self._packets():
            try:
                frames = packet.decode()
            except self._errors:
                self._broken += 1
                continue
            for frame in frames:
                self._broken += bool(frame.is_corrupt)
                yield frame

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        """Yield the packets of the picture stream, then the empty packet that flushes the decoder."""
        demuxed, misses = self._container.demux(self._stream), 0
        while True:
            try:
                packet = next(demuxed)
                misses = 0
                yield packet
            except StopIteration:
                return
            except self._errors:
                misses += 1
                if self._live and misses < LIVE_MISSES:  # a packet that got lost ends no stream
                    demuxed = self._container.demux(self._stream)
                    continue
                # The file is cut off inside a packet: `_check` reports the missing rest.
                from av.packet import Packet

                flush = cast("Packet[VideoStream]", Packet())
                flush.stream = self._stream
                yield flush
                return

    def _check(self, number: int, last_s: float, broken: int) -> None:
        """Raise `DataError` unless `number` frames up to `last_s` are as many as the file states."""
        if not number:
            piped = "mov" in self._container.format.name and not self._live and _is_pipe(Path(self.path))
            hint = ": the index of this MP4 stands at its end, out of reach in a pipe; name the file itself"
            raise DataError.at(self.path, "a video with frames", "none that decodes" + hint * piped)
        stated, seconds = self._stream.frames, self._seconds()
        start = float((self._stream.start_time or 0) * self.time_base)
        _check_count(self.path, stated or None, number, (last_s - start) * self.frame_rate)
        # The end of a Matroska file counts from 0, whatever its first frame: FFmpeg cuts pieces that keep their clock.
        reached = last_s - (min(start, 0) if "matroska" in self._container.format.name else start)
        if not stated and seconds is not None and reached < 0.98 * seconds - max(0.5, 3 / self.frame_rate):
            found = f"{number} frames up to {last_s:.1f} s: the file is cut off or broken"
            raise DataError.at(self.path, f"{seconds:.1f} s of video", found)
        if not self._live and not _has_end(Path(self.path), self._container.format.name):
            raise DataError.at(self.path, "an animation with its end", f"{number} frames: the file is cut off")
        if broken:
            found = f"{broken} broken ones (left out or smeared)"
            raise DataError.at(self.path, f"{number + broken} whole frames", found)

    def close(self) -> None:
        self._container.close()


def _has_end(path: Path, format_name: str) -> bool:
    """Whether a GIF or PNG has its last block; true of all other formats. Neither states how many frames follow."""
    mark = {"gif": b";", "apng": b"IEND"}.get(format_name)
    if mark is None or not path.is_file():
        return True
    with path.open("rb") as file:
        file.seek(max(file.seek(0, os.SEEK_END) - 4096, 0))
        last = file.read().rstrip(b"\0")
    return last.endswith(mark) if mark == b";" else mark in last


def _upright(frame: VideoFrame, turns: int, *, mirrored: bool) -> ImageArray:
    """Convert a decoded frame to (H, W, 3) uint8 RGB, over white as a picture, mirrored, then turned by quarters."""
    ffmpeg.state_matrix(frame)
    clear = any(component.is_alpha for component in frame.format.components)
    # RGB has no matrix. Where none is named for it, PyAV 14 passes over the frame's own.
    image = frame.to_ndarray(format="bgra" if clear else "rgb24", dst_colorspace=ffmpeg.BT601)
    image = image.astype(np.uint8, copy=False)
    image = opaque_rgb(image) if clear else image
    return np.ascontiguousarray(np.rot90(image[:, ::-1] if mirrored else image, turns))


def _check_count(path: str | Path, stated: int | None, number: int, by_time: float) -> None:
    """Raise `DataError` where a file states `stated` frames and yielded only `number`.

    AVI files may count a repeated frame more than once, so the number by the clock, `by_time`, counts as well. Edit
    lists hide some frames, so a few missing ones are tolerated.
    """
    if stated is not None and max(number, by_time + 1) < stated - max(2, 0.01 * stated):
        raise DataError.at(path, f"{stated} frames", f"{number}: the file is cut off or broken")


def open_capture(path: Path) -> cv2.VideoCapture:
    """Open a video file by OpenCV's FFmpeg, never as a playlist or as a series of pictures.

    Raises:
        DataError: it is not a video, or its frames have more pixels than the limit.
    """
    is_video = path.is_file() and ffmpeg.is_container(path)
    capture = cv2.VideoCapture(ffmpeg.local_file(path), cv2.CAP_FFMPEG) if is_video else None
    if capture is None or not capture.isOpened():
        raise DataError.at(path, "a video that OpenCV can read", "none")
    check_pixels(path, *(round(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)))
    return capture


class _Capture:
    has_sound, colors = False, UNTOLD  # OpenCV does not tell

    def __init__(self, capture: cv2.VideoCapture) -> None:
        self._capture = capture

    @property
    def frame_rate(self) -> float:
        rate = float(self._capture.get(cv2.CAP_PROP_FPS))
        return rate if np.isfinite(rate) and 0 < rate < 1000 else DEFAULT_RATE

    def _read(self) -> ImageArray | None:
        got, image = self._capture.read()
        return (
            cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False) if got and image is not None else None
        )

    def close(self) -> None:
        self._capture.release()


class OpenCvReader(_Capture):
    """A video file, read by OpenCV."""

    time_base = Fraction(1, 90000)

    def __init__(self, path: Path) -> None:
        self.path = path
        super().__init__(open_capture(path))
        self._capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)

    @property
    def length(self) -> int | None:
        count = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        return count if count > 0 else None

    def __iter__(self) -> Iterator[TimedFrame]:
        number, time_s, stated = 0, 0.0, self.length
        upright = Fraction(self._capture.get(cv2.CAP_PROP_SAR_NUM) or 1) / Fraction(
            self._capture.get(cv2.CAP_PROP_SAR_DEN) or 1
        )
        turned = round(self._capture.get(cv2.CAP_PROP_ORIENTATION_META) / 90) % 2
        aspect = (1 / upright if turned else upright) if upright > 0 else Fraction(1)
        while (image := self._read()) is not None:
            moment = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
            if number and not moment > time_s:  # some containers have no clock
                moment = time_s + 1 / self.frame_rate
            time_s = moment
            yield TimedFrame(number, time_s, image, aspect)
            number += 1
        if not number:
            raise DataError.at(self.path, "a video with frames", "none that decodes")
        _check_count(self.path, stated, number, time_s * self.frame_rate)


class Camera(_Capture):
    """A camera of this machine, read by OpenCV. Times are those of arrival, counted from the first frame."""

    time_base = Fraction(1, 1000000)
    length = None

    def __init__(self, index: int) -> None:
        self.index = index
        if 0 <= index < 1 << 31:  # OpenCV takes -1 for any camera, and no larger number
            super().__init__(cv2.VideoCapture(index))
        if not (hasattr(self, "_capture") and self._capture.isOpened()):
            raise DataError.at(f"camera {index}", "a camera of this machine", "none of that number")

    def __iter__(self) -> Iterator[TimedFrame]:
        number, begin, misses = 0, 0.0, 0
        while misses < LIVE_MISSES:
            image = self._read()
            if image is None:  # a frame that got lost ends no run
                misses += 1
                time.sleep(MISS_S)
                continue
            now = time.monotonic()
            begin = begin if number else now
            yield TimedFrame(number, now - begin, image)
            number, misses = number + 1, 0
        raise DataError.at(f"camera {self.index}", "frames without end", f"silence after {number}")

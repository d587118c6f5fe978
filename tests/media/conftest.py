"""Videos for the tests: made by PyAV, with frames that tell their own number."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.media import ffmpeg
from srn.media.video_reading import TimedFrame, VideoReader

Picture = npt.NDArray[np.uint8]


@pytest.fixture
def no_pyav(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the extra `video`."""
    monkeypatch.setattr(ffmpeg, "find_pyav", lambda: None)


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
    sound_begin_s: float = 0.0,
    pixel_aspect: Fraction = Fraction(1),
) -> Path:
    """A video by PyAV: frame k is `drawn(k)`, shown at `times[k]`."""
    moments = [k / 30 for k in range(times)] if isinstance(times, int) else times
    import av

    with av.open(str(path), "w", options={"movflags": "faststart"} if early_header else {}) as out:
        stream: Any = out.add_stream(codec, rate=30, options={"g": "5"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        stream.codec_context.time_base = time_base
        stream.codec_context.sample_aspect_ratio = pixel_aspect
        voice: Any = out.add_stream(sound, rate=44100) if sound else None
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
                piece.sample_rate, piece.pts = 44100, k * 1024 + round(sound_begin_s * 44100)
                piece.time_base = Fraction(1, 44100)
                out.mux(voice.encode(piece))
            out.mux(voice.encode(None))
    if rotation:
        rotate(path, rotation)
    return path


def rotate(path: Path, degrees: int) -> None:
    """Write a rotation, counterclockwise, into the track header of an MP4 file."""
    angle = np.deg2rad(degrees)
    cos, sin = round(np.cos(angle)), round(np.sin(angle))
    place_matrix(path, (cos, -sin, sin, cos))


def place_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write a, b, c, d into the track header of an MP4 file (ISO/IEC 14496-12, 8.3.2): x, y -> a x + c y, b x + d y."""
    content = bytearray(path.read_bytes())
    a, b, c, d = (value << 16 for value in matrix)
    packed = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    start = content.index(b"tkhd") + 44
    content[start : start + len(packed)] = packed
    path.write_bytes(content)


def frames_of(reader: VideoReader) -> list[TimedFrame]:
    try:
        return list(reader)
    finally:
        reader.close()

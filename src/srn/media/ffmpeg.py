"""FFmpeg through PyAV, an optional package (extra `video`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from srn.media.limits import limit

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.filter import Graph
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_FORMATS = (
    "mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "asf", "ogg", "gif", "apng", "ivf", "mxf", "rm",
    "wtv", "yuv4mpegpipe", "nut", "dv", "h264", "hevc", "m4v", "obu",
)  # fmt: skip
_LIVE_FORMATS = "rtsp", "rtp", "rtp_mpegts", "hls", "mpjpeg", "live_flv"
_LIVE_PROTOCOLS = "rtsp,rtsps,rtp,rtmp,rtmps,srt,http,https,httpproxy,tcp,udp,tls,crypto"
_TIMEOUT_S = 20.0
BT601, _BT709, _NO_MATRIX = 6, 1, 2  # FFmpeg's numbers of the matrices between RGB and the colours that are stored
_SD_SIZE = 1279, 576  # width and height up to which players take the colours of a video that states none for BT.601


class Colors(NamedTuple):
    """What the red, green and blue of a video mean: FFmpeg's numbers (those of ITU-T H.273), 2 for what is not told.

    Phones record high dynamic range by BT.2020 (9) and HLG (18): shown as others are, it is pale.
    """

    primaries: int = 2
    transfer: int = 2


UNTOLD = Colors()
"""Of a video that does not say what its colours mean."""


# The first bytes of these formats.
_HEAD = re.compile(
    rb".{4}(?:ftyp|moov|mdat|free|skip|wide|pnot)|\x1aE\xdf\xa3|RIFF.{4}AVI |FLV\x01|0&\xb2u\x8ef\xcf\x11|OggS"
    rb"|GIF8[79]a|\x89PNG\r\n\x1a\n(?=.*acTL)|DKIF|\x06\x0e\x2b\x34|\.RMF|\xb7\xd8\x00 7I\xda\x11|YUV4MPEG2 "
    rb"|nut/multimedia|\x1f\x07\x00|\x00\x00\x00?\x01|\x47.{187}\x47|.{4}\x47.{191}\x47|\x12\x00\x0a",
    re.DOTALL,
)


def find_pyav() -> ModuleType | None:
    """Return the module `av`; None where PyAV is not installed."""
    try:
        import av
    except ImportError:
        return None
    return av


def quiet() -> None:
    """Silence FFmpeg's messages about broken files, which a `DataError` reports in one line. For programs only.

    At any level PyAV hands errors to Python. A decoder's thread that has one would wait for this thread to let Python
    go, and this thread, which closes the decoder, for the other: a broken video would hang the program for ever.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    av = find_pyav()
    if av is not None:
        av.logging.set_level(None)


def local_file(path: str | os.PathLike[str]) -> str:
    """Return the name under which FFmpeg opens a file as a file: in `12:30.mp4` it would see a protocol."""
    return os.path.abspath(path)


def open_input(source: str | os.PathLike[str], *, live: bool = False) -> InputContainer:
    """Open a video by PyAV: no format that names other files or addresses, and no frame above the limit of pixels.

    Args:
        source: a file, a pipe, or an address where `live` is true.
        live: whether it is an address: it may name other addresses, but no file, and has to answer in time.

    Raises:
        av.FFmpegError: it cannot be opened.
    """
    import av

    options = {"protocol_whitelist": "file,pipe", "format_whitelist": ",".join(_FORMATS), "rtsp_transport": "tcp"}
    if live:
        options |= {"protocol_whitelist": _LIVE_PROTOCOLS, "format_whitelist": ",".join([*_FORMATS, *_LIVE_FORMATS])}
    options["max_pixels"] = str(limit("SRN_MAX_PIXELS"))
    name, timeout = (str(source), _TIMEOUT_S) if live else (local_file(source), None)
    # Texts of the file that are no UTF-8 must not raise: from version 19 on PyAV sees to it, and has no such argument.
    lenient: dict[str, Any] = {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
    return av.open(name, options=options, timeout=timeout, **lenient)


def picture_streams(container: InputContainer) -> list[VideoStream]:
    """Return the streams of pictures, without the cover of its sound: one picture, no video."""
    from av.stream import Disposition

    return [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]


def progressive(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """Yield as many frames, from the first interlaced one on by FFmpeg's filter `bwdif`.

    The even and the odd lines of an interlaced frame are of two moments. The filter keeps those of the earlier one, and
    fills in the others. It leaves frames between that are not interlaced, and is one frame late.
    """
    graph: Graph | None = None
    form: tuple[int, int, str] | None = None
    for frame in frames:
        if graph is None and not frame.interlaced_frame:
            yield frame
            continue
        if graph is None or form != (frame.width, frame.height, frame.format.name):
            if graph is not None:
                yield from _filtered(graph, None)
            graph, form = _bwdif(frame), (frame.width, frame.height, frame.format.name)
        yield from _filtered(graph, frame)
    if graph is not None:
        yield from _filtered(graph, None)


def _bwdif(frame: VideoFrame) -> Graph:
    """Make the filter for frames of this one's size, format and clock."""
    from av.filter import Graph

    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base or Fraction(1, 90000)
    )
    whole = graph.add("bwdif", "mode=send_frame:deint=interlaced")
    graph.link_nodes(source, whole, graph.add("buffersink")).configure()
    return graph


def _filtered(graph: Graph, frame: VideoFrame | None) -> Iterator[VideoFrame]:
    """Yield what a filter gives for one more frame, or, for None, its rest."""
    graph.vpush(frame)
    while True:
        try:
            yield graph.vpull()
        except (BlockingIOError, EOFError):  # it waits for the next frame; there is none
            return


def orientation(frame: VideoFrame) -> tuple[int, bool]:
    """Return how a frame is to be shown: by how many quarter turns, and whether left and right change places before.

    The turns are counterclockwise, as NumPy's, 0 to 3. Cameras that show oneself write mirrored matrices, of which
    FFmpeg's rotation tells the turns alone, as if nothing were mirrored: upside down for one that is only mirrored.
    """
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].astype(np.float64)  # x, y -> a x + c y, b x + d y
    mirrored = a * d < b * c
    degrees = -np.degrees(np.arctan2(-b if mirrored else b, -a if mirrored else a))
    return round(degrees / 90) % 4, bool(mirrored)


def usual_matrix(width: int, height: int) -> int:
    """Return FFmpeg's number of the matrix by which players show a video of a size that states none."""
    return BT601 if width <= _SD_SIZE[0] and height <= _SD_SIZE[1] else _BT709


def state_matrix(frame: VideoFrame) -> None:
    """Give a decoded frame that states no matrix the usual one of its size: FFmpeg takes BT.601 for any."""
    if frame.colorspace == _NO_MATRIX:
        frame.colorspace = usual_matrix(frame.width, frame.height)


def is_container(path: str | os.PathLike[str]) -> bool:
    """Return whether a file begins as a video does, and not as a playlist or another text that names files."""
    with Path(path).open("rb") as file:
        return _HEAD.match(file.read(400)) is not None

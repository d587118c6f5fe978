"""Read the header of a TIFF picture: its size, what its numbers mean, and whether OpenCV reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLORS, _CHANNELS, _PLANES, _EXTRA = 256, 257, 258, 259, 262, 277, 284, 338
_TILE_WIDTH, _TILE_HEIGHT, _PROFILE = 322, 323, 34675
_PARTS = ((273, 279), (324, 325))  # where strips and tiles begin, and their bytes
_TAGS = {
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLORS, _CHANNELS, _PLANES, _EXTRA, _TILE_WIDTH, _TILE_HEIGHT, _PROFILE,
    *(tag for pair in _PARTS for tag in pair),
}  # fmt: skip
_MOST_TAGS = 4096
_KINDS = {1: "u1", 3: "u2", 4: "u4", 7: "u1", 16: "u8"}
_WHITE_IS_ZERO, _SEPARATE = 0, 2
_UNTOLD, _UNKNOWN, _MULTIPLIED = -1, 0, 1  # what a channel behind the colours is
# Those that LibTIFF knows. OpenCV takes black for pictures of any other.
_COMPRESSIONS = frozenset(
    {1, 2, 3, 4, 5, 6, 7, 8, 32766, 32771, 32773, 32809, 32908, 32909, 32946, 34661, 34676, 34677, 34887, 34925,
     50000, 50001}
)  # fmt: skip

_Values = dict[int, npt.NDArray[np.unsignedinteger]]
_NONE = np.zeros(0, np.uint8)


def is_tiff(content: bytes) -> bool:
    return content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def tiff_sizes(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the larger of the sizes, (width, height), of the first picture and of its tiles.

    Nothing where the file ends before the picture does: OpenCV misses no plane of it.
    """
    values = _values(content)
    for begin, size in _PARTS:
        begins, sizes = values.get(begin, _NONE), values.get(size, _NONE)
        if 0 < len(begins) == len(sizes) and (begins.astype(np.float64) + sizes).max() > len(content):
            return
    widths, heights = (
        [int(values[tag][0]) for tag in tags if tag in values]
        for tags in ((_WIDTH, _TILE_WIDTH), (_HEIGHT, _TILE_HEIGHT))
    )
    if widths and heights:
        yield max(widths), max(heights)


class TiffFacts(NamedTuple):
    """What a TIFF picture states and OpenCV passes over; as it is here where there is nothing of the kind.

    Attributes:
        fault: why OpenCV would return a wrong picture, and no error.
        is_negative: whether 0 is white in 16 bits, which OpenCV then reads as the negative.
        is_multiplied: whether OpenCV returns the colours times their opacity, as LibTIFF does to 8 bits.
        has_unknown_channel: whether the channel behind the colours is called something else than an opacity.
        profile: the ICC profile of the colours.
    """

    fault: str | None = None
    is_negative: bool = False
    is_multiplied: bool = False
    has_unknown_channel: bool = False
    profile: bytes | None = None


def tiff_facts(content: bytes) -> TiffFacts:
    """Read the facts of a TIFF picture; nothing special is stated by any other file, nor by a broken header."""
    try:
        values = _values(content) if is_tiff(content) else {}
    except (struct.error, ValueError):
        values = {}
    if not values:
        return TiffFacts()
    bits, extra = _first(values, _BITS, 1), _first(values, _EXTRA, _UNTOLD)
    return TiffFacts(
        _fault(values),
        bits == 16 and _first(values, _COLORS, 1) == _WHITE_IS_ZERO,
        bits == 8 or extra == _MULTIPLIED,
        extra == _UNKNOWN,
        values[_PROFILE].tobytes() if _PROFILE in values else None,
    )


def _fault(values: _Values) -> str | None:
    compression, bits = _first(values, _COMPRESSION, 1), _first(values, _BITS, 1)
    if compression not in _COMPRESSIONS:
        return f"a TIFF picture of compression {compression}"
    if bits > 8 and _first(values, _PLANES, 1) == _SEPARATE and _first(values, _CHANNELS, 1) > 1:
        return f"a TIFF picture with a plane of {bits} bits for each colour"
    return None


def _first(values: _Values, tag: int, default: int) -> int:
    return int(values[tag][0]) if tag in values else default


def _values(content: bytes) -> _Values:
    """Return the values of the first picture's tags, those that matter here.

    Raises:
        struct.error, ValueError: the header is broken.
    """
    order = "<" if content[:2] == b"II" else ">"
    big = 43 in content[2:4]  # BigTIFF
    offset, count, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    directory = struct.unpack_from(order + offset, content, 8 if big else 4)[0]
    entries = struct.unpack_from(order + count, content, directory)[0]
    start, step = directory + struct.calcsize(order + count), 20 if big else 12
    found: _Values = {}
    for place in range(start, start + step * min(entries, _MOST_TAGS), step):
        tag, kind, length = struct.unpack_from(order + entry, content, place)
        if tag not in _TAGS or length == 0:
            continue
        dtype = np.dtype(order + _KINDS.get(kind, "u4"))
        at = place + struct.calcsize(order + entry)
        if length * dtype.itemsize > step - (at - place):  # they lie elsewhere
            at = struct.unpack_from(order + offset, content, at)[0]
        if tag == _PROFILE and at + length > len(content):
            continue  # it costs no picture
        found[tag] = np.frombuffer(content, dtype, length, at)
    return found

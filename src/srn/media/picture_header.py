"""Read the size of a picture from its header. Formats that are not listed here are not decoded."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Collection, Iterable, Iterator

_Sizes = Iterator[tuple[int, int]]

_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PNM = re.compile(rb"P[1-6]" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})")
_PNM_WHITE = re.compile(rb"P[2356]" + _SPACE + rb"\d{1,9}" + _SPACE + rb"\d{1,9}" + _SPACE + rb"(\d{1,9})")
# FF 00 is data, D0 to D7 are restarts inside the data; any number of FF may precede. Nothing is looked at twice.
_JPEG_DATA = rb"(?:[^\xff]*+\xff++[\x00\xd0-\xd7])*+[^\xff]*+"
_JPEG_MARKER = re.compile(_JPEG_DATA + rb"\xff++([\x01-\xcf\xd8-\xfe])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE, _JPEG_END = frozenset({0x01, 0xD8}), 0xD9  # markers without a length
_PNM_HEADER = 1 << 16  # bytes
_MOST_PARTS = 100_000
"""Segments of a JPEG and sizes of any picture at most: more are no picture's, and would take long to read."""
_TIFF_WIDTHS, _TIFF_HEIGHTS = (256, 322), (257, 323)  # tags of the picture and of its tiles
_TIFF_BITS, _TIFF_COLORS = 258, 262
_WHITE_IS_ZERO = 0


def stated_size(content: bytes) -> tuple[int, int] | None:
    """Return the width and height of an encoded picture, in pixels.

    Of several sizes in one header the largest counts, since decoders may take any. The result is None where the format
    is unknown, the header is broken, or a JPEG ends before its end marker: some versions of OpenCV fill the rest of
    such a file with grey and report nothing.
    """
    try:
        found = next((read(content) for recognize, read in _FORMATS if recognize(content)), iter(()))
        sizes = list(itertools.islice(found, _MOST_PARTS + 1))
    except (struct.error, IndexError, ValueError, OverflowError):
        return None
    return max(sizes, key=lambda size: size[0] * size[1]) if 0 < len(sizes) <= _MOST_PARTS else None


def stated_white(content: bytes) -> int | None:
    """Return the value of white that a PNM picture states, where decoders leave it: below 65,535, and not 255."""
    match = _PNM_WHITE.match(content, 0, _PNM_HEADER)
    white = 0 if match is None else int(match[1])
    if content[1:2] in b"23" and white < 255:  # numbers as text: OpenCV sees to it
        return None
    return white if 0 < white < 65535 and white != 255 else None


def is_negative(content: bytes) -> bool:
    """Tell whether 0 is white in a TIFF picture of 16 bits, which OpenCV then reads as its negative."""
    if not _is_tiff(content):
        return False
    try:
        stated = dict(_tiff_values(content, (_TIFF_BITS, _TIFF_COLORS)))
    except struct.error:
        return False
    return stated.get(_TIFF_BITS) == 16 and stated.get(_TIFF_COLORS) == _WHITE_IS_ZERO


def transparent_grey(content: bytes) -> int | None:
    """Return the grey that a PNG picture of 8 bits without an alpha channel calls transparent; None without one."""
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[24:26] != b"\x08\0":  # 8 bits, grey
        return None
    place = 8
    while content[place + 4 : place + 8] not in (b"tRNS", b"IDAT", b"IEND", b""):
        place += 12 + struct.unpack_from(">I", content, place)[0]
    return content[place + 9] if content[place + 4 : place + 8] == b"tRNS" else None


def _unpacked(layout: str, content: bytes, places: Iterable[int]) -> _Sizes:
    for place in places:
        width, height = struct.unpack_from(layout, content, place)
        yield abs(width), abs(height)


def _jpeg(content: bytes) -> _Sizes:
    sizes: list[tuple[int, int]] = []
    place = 0
    for _ in range(_MOST_PARTS):
        if (found := _JPEG_MARKER.match(content, place)) is None:
            return
        marker, place = found[1][0], found.end()
        if marker == _JPEG_END:
            yield from sizes
            return
        if marker not in _JPEG_BARE:
            if marker in _JPEG_FRAMES:
                height, width = struct.unpack_from(">HH", content, place + 3)
                sizes.append((width, height))
            place += struct.unpack_from(">H", content, place)[0]


def _png(content: bytes) -> _Sizes:
    place = 8
    while content[place + 4 : place + 8] != b"IEND":  # OpenCV 5 takes memory for any length that a chunk claims
        place += 12 + struct.unpack_from(">I", content, place)[0]
    return _unpacked(">II", content, [16])


def _webp(content: bytes) -> _Sizes:
    if content[12:16] == b"VP8X":
        yield 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    elif content[12:16] == b"VP8L":
        bits = struct.unpack_from("<I", content, 21)[0]
        yield 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    else:
        width, height = struct.unpack_from("<HH", content, 26)
        yield width & 0x3FFF, height & 0x3FFF


def _is_tiff(content: bytes) -> bool:
    return content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _tiff_values(content: bytes, tags: Collection[int]) -> Iterator[tuple[int, int]]:
    """Yield the tags, and their first values, of a TIFF file's first picture that are among some."""
    order = "<" if content[:2] == b"II" else ">"
    big = 43 in content[2:4]  # BigTIFF
    offset, count, entry = ("Q", "Q", "HHQ") if big else ("I", "H", "HHI")
    directory = struct.unpack_from(order + offset, content, 8 if big else 4)[0]
    entries = struct.unpack_from(order + count, content, directory)[0]
    start, step = directory + struct.calcsize(order + count), 20 if big else 12
    for place in range(start, start + step * min(entries, 4096), step):
        tag, kind, values = struct.unpack_from(order + entry, content, place)
        if tag in tags:
            number = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind, "I")
            at = place + struct.calcsize(order + entry)
            if values * struct.calcsize(order + number) > step - (at - place):  # they lie elsewhere
                at = struct.unpack_from(order + offset, content, at)[0]
            yield tag, struct.unpack_from(order + number, content, at)[0]


def _tiff(content: bytes) -> _Sizes:
    found = list(_tiff_values(content, [*_TIFF_WIDTHS, *_TIFF_HEIGHTS]))
    widths, heights = ([value for tag, value in found if tag in tags] for tags in (_TIFF_WIDTHS, _TIFF_HEIGHTS))
    if widths and heights:
        yield max(widths), max(heights)


def _bmp(content: bytes) -> _Sizes:
    return _unpacked("<HH" if content[14:15] == b"\x0c" else "<ii", content, [18])


def _pnm(content: bytes) -> _Sizes:
    match = _PNM.match(content, 0, _PNM_HEADER)
    if match is not None:
        yield int(match[1]), int(match[2])


def _after(mark: bytes) -> Callable[[bytes], _Sizes]:
    """Return a reader of the sizes four bytes behind every place of a mark."""
    return lambda content: _unpacked(">II", content, (m.end() + 4 for m in re.finditer(re.escape(mark), content)))


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[bytes], _Sizes]], ...] = (
    (lambda content: content[:3] == b"\xff\xd8\xff", _jpeg),
    (lambda content: content[:8] == b"\x89PNG\r\n\x1a\n", _png),
    (lambda content: content[:4] == b"RIFF" and content[8:12] == b"WEBP", _webp),
    (_is_tiff, _tiff),
    (lambda content: content[:6] in (b"GIF87a", b"GIF89a"), lambda content: _unpacked("<HH", content, [6])),
    (lambda content: content[:2] == b"BM", _bmp),
    (lambda content: _PNM.match(content, 0, _PNM_HEADER) is not None, _pnm),
    # JPEG 2000, in a file of boxes or bare: the code stream begins with the marker of its sizes.
    (lambda content: content[4:8] == b"jP  " or content[:4] == b"\xff\x4f\xff\x51", _after(b"\xff\x4f\xff\x51")),
    (lambda content: content[4:8] == b"ftyp", _after(b"ispe")),  # AVIF and HEIC
)

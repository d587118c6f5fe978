"""Read the size of a picture from its header. Formats that are not listed here are not decoded."""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterable, Iterator

from srn.media.tiff_header import is_tiff, tiff_sizes

_Sizes = Iterator[tuple[int, int]]

_SPACE = rb"(?:\s|#[^\r\n]*[\r\n])+"
_PNM = re.compile(rb"P[1-6]" + _SPACE + rb"(\d{1,9})" + _SPACE + rb"(\d{1,9})")
_PNM_WHITE = re.compile(rb"P[2356]" + _SPACE + rb"\d{1,9}" + _SPACE + rb"\d{1,9}" + _SPACE + rb"(\d{1,9})")
# FF 00 is data, D0 to D7 are restarts inside the data; any number of FF may precede. Nothing is looked at twice.
_JPEG_DATA = rb"(?:[^\xff]*+\xff++[\x00\xd0-\xd7])*+[^\xff]*+"
_JPEG_MARKER = re.compile(_JPEG_DATA + rb"\xff++([\x01-\xcf\xd8-\xfe])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE, _JPEG_END = frozenset({0x01, 0xD8}), 0xD9  # markers without a length
_JPEG_SCAN, _MOST_SCANS = 0xDA, 500  # encoders write some ten; a decoder goes through the whole picture for each
_PNM_HEADER = 1 << 16  # bytes
_MOST_PARTS = 100_000
"""Segments of a JPEG and sizes of any picture at most: more are no picture's, and would take long to read."""
_SIZE_OF_JPEG_2000 = b"\xff\x4f\xff\x51"  # the code stream begins with the marker of its sizes
_AVIF_BITS = re.compile(rb"av1C\x81.(.)", re.DOTALL)
_PROFILE = re.compile(b"colr(?:prof|rICC)")
_AVIF_TURN, _AVIF_MIRROR = (re.compile(b"\0\0\0\x09" + name + b"(.)", re.DOTALL) for name in (b"irot", b"imir"))


def is_png(content: bytes) -> bool:
    return content[:8] == b"\x89PNG\r\n\x1a\n"


def is_gif(content: bytes) -> bool:
    return content[:6] in (b"GIF87a", b"GIF89a")


def is_webp(content: bytes) -> bool:
    return content[:4] == b"RIFF" and content[8:12] == b"WEBP"


def is_iso_media(content: bytes) -> bool:
    """Whether a file is one of boxes (ISO/IEC 14496-12): AVIF, HEIC, or a video."""
    return content[4:8] == b"ftyp"


def _is_jpeg_2000(content: bytes) -> bool:
    """In a file of boxes of its own sort, or bare."""
    return content[4:8] == b"jP  " or content[:4] == _SIZE_OF_JPEG_2000


def stated_size(content: bytes) -> tuple[int, int] | None:
    """Return the width and height of an encoded picture, in pixels.

    Of several sizes in one header the largest counts, since decoders may take any. The result is None where the format
    is unknown, the header is broken, or a JPEG has more than 500 scans, which would take minutes to decode, or ends
    before its end marker: some versions of OpenCV fill the rest of such a file with grey and report nothing.
    """
    try:
        found = next((read(content) for recognize, read in _FORMATS if recognize(content)), iter(()))
        sizes = list(itertools.islice(found, _MOST_PARTS + 1))
    except (struct.error, IndexError, ValueError, OverflowError):
        return None
    return max(sizes, key=lambda size: size[0] * size[1]) if 0 < len(sizes) <= _MOST_PARTS else None


def stated_white(content: bytes) -> int | None:
    """Return the value of white that a picture states, where decoders leave its numbers: below 65,535, and not 255."""
    if (depth := _stated_depth(content)) is not None:
        return (1 << depth) - 1 if 8 < depth < 16 else None
    match = _PNM_WHITE.match(content, 0, _PNM_HEADER)
    white = 0 if match is None else int(match[1])
    if content[1:2] in b"23" and white < 255:  # numbers as text: OpenCV sees to it
        return None
    return white if 0 < white < 65535 and white != 255 else None


def _stated_depth(content: bytes) -> int | None:
    """Return the bits of a number of an AVIF or JPEG 2000 picture; None of other formats."""
    if is_iso_media(content) and (found := _AVIF_BITS.search(content)) is not None:
        return 12 if found[1][0] & 0x60 == 0x60 else 10 if found[1][0] & 0x40 else 8
    if _is_jpeg_2000(content) and (place := content.find(_SIZE_OF_JPEG_2000)) >= 0:
        return (content[place + 42 : place + 43] or b"\7")[0] % 128 + 1  # a first bit of 1 is a sign's
    return None


def stated_turn(content: bytes) -> tuple[int, int | None]:
    """Return how an AVIF picture is to be shown: turned by quarters, counterclockwise, and then mirrored.

    The second value is None, 0 (top and bottom change places) or 1 (left and right). EXIF has no say in this format.
    """
    turn, mirror = (pattern.search(content) for pattern in (_AVIF_TURN, _AVIF_MIRROR))
    return (0 if turn is None else turn[1][0] & 3), (None if mirror is None else mirror[1][0] & 1)


def stated_profile(content: bytes) -> bytes | None:
    """Return the ICC profile of a file of boxes (AVIF), None without one."""
    found = _PROFILE.search(content) if is_iso_media(content) else None
    if found is None:
        return None
    begin = found.start() - 4  # of the box, with its length
    return content[found.end() : begin + int.from_bytes(content[begin : begin + 4], "big")]


def transparent_grey(content: bytes) -> int | None:
    """Return the grey that a PNG picture without an alpha channel calls transparent, None without one.

    It counts as decoders count: up to 65,535 in a picture of 16 bits, else up to 255.
    """
    if not is_png(content) or content[25:26] != b"\0":  # grey
        return None
    depth, place = content[24], 8
    while content[place + 4 : place + 8] not in (b"tRNS", b"IDAT", b"IEND", b""):
        place += 12 + struct.unpack_from(">I", content, place)[0]
    if content[place + 4 : place + 8] != b"tRNS" or depth not in (1, 2, 4, 8, 16):
        return None
    grey = int.from_bytes(content[place + 8 : place + 10], "big") % (1 << depth)
    return grey if depth == 16 else grey * 255 // ((1 << depth) - 1)


def _unpacked(layout: str, content: bytes, places: Iterable[int]) -> _Sizes:
    for place in places:
        width, height = struct.unpack_from(layout, content, place)
        yield abs(width), abs(height)


def _jpeg(content: bytes) -> _Sizes:
    sizes: list[tuple[int, int]] = []
    place = scans = 0
    for _ in range(_MOST_PARTS):
        if (found := _JPEG_MARKER.match(content, place)) is None or scans > _MOST_SCANS:
            return
        marker, place = found[1][0], found.end()
        scans += marker == _JPEG_SCAN
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
    (is_png, _png),
    (is_webp, _webp),
    (is_tiff, tiff_sizes),
    (is_gif, lambda content: _unpacked("<HH", content, [6])),
    (lambda content: content[:2] == b"BM", _bmp),
    (lambda content: _PNM.match(content, 0, _PNM_HEADER) is not None, _pnm),
    (_is_jpeg_2000, _after(_SIZE_OF_JPEG_2000)),
    (is_iso_media, _after(b"ispe")),
)

"""Count the pictures of a file from its headers: the frames of an animation, the pages of a TIFF."""

from __future__ import annotations

import itertools
import os
import re
import struct
from collections.abc import Iterator

from srn.media.picture_header import is_gif, is_iso_media, is_png, is_webp
from srn.media.tiff_header import is_tiff

MOST_PARTS = 100_000
"""Blocks of a file that are looked at: no more than a fraction of a second, whatever the bytes are."""

_SUB_BLOCKS = re.compile(rb"(?:\xff[\s\S]{255})*+")  # of a GIF: the longest ones, at once
_REDUCED_OR_MASK = 0b101  # bits of TIFF's NewSubfileType: a thumbnail, or a mask of another page
STILLS = frozenset({b"avif", b"mif1", b"heic", b"heix", b"heim", b"heis"})  # brands of AVIF and HEIC
SEQUENCES = frozenset({b"avis", b"msf1", b"hevc", b"hevx"})  # of those that hold more than single pictures


def stated_count(content: bytes) -> int:
    """Return how many pictures an encoded picture's file states; 1 where it states none, or the header is broken.

    Frames of a GIF, PNG, WebP, AVIF or HEIC, pages of a TIFF; thumbnails and masks do not count, nor do the further
    pictures that telephones put behind a JPEG. Nothing is decoded. Of a file of very many parts the first
    `MOST_PARTS` count.
    """
    found = 0
    for starts, pictures in _FORMATS:
        if starts(content):
            try:
                for seen in itertools.islice(pictures(content), MOST_PARTS):
                    found += seen
            except (struct.error, IndexError, OverflowError):  # it ends early: what was seen until then
                pass
            break
    return max(found, 1)


def told_count(count: int, name: str | os.PathLike[str], animation: str | None = None) -> str:
    """Return the line that tells of a file of several pictures, and what to do about the others.

    `animation` is what to do about an animation; if None, it is to be tracked.
    """
    suffix = os.fspath(name).lower().rpartition(".")[2]
    if suffix in ("tif", "tiff"):
        advice = "save the others as files of their own"
    elif animation is not None:
        advice = animation
    elif suffix in ("gif", "png", "apng", "avif"):
        advice = "'srn track' reads an animation"
    else:
        advice = "'srn track' reads an animation once it is saved as a GIF or a video"
    return f"{name}: holds {count} pictures, and only the first is read: {advice}"


def _gif(content: bytes) -> Iterator[int]:
    place = 13 + _palette(content[10])
    while (kind := content[place]) != 0x3B:
        if kind == 0x2C:  # a picture: its place, its palette, and the size of its codes
            place += 11 + _palette(content[place + 9])
        elif kind == 0x21:
            place += 2
        else:
            return
        while size := content[place]:
            match = _SUB_BLOCKS.match(content, place)
            if size == 255 and match is not None and match.end() > place:
                place = match.end()
            else:
                place += 1 + size
            yield 0
        place += 1
        yield int(kind == 0x2C and place <= len(content))


def _palette(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _png(content: bytes) -> Iterator[int]:
    """One for each frame, and one for a picture that is no part of the animation, which other readers show."""
    place, animated, framed = 8, False, False
    while (kind := content[place + 4 : place + 8]) not in (b"IEND", b""):
        animated |= kind == b"acTL"
        if kind == b"IDAT" and not animated:  # as of most: its data need not be looked through
            return
        yield int(kind == b"fcTL" or (kind == b"IDAT" and not framed))
        framed |= kind in (b"fcTL", b"IDAT")
        place += 12 + struct.unpack_from(">I", content, place)[0]


def _webp(content: bytes) -> Iterator[int]:
    place = 12
    while place + 8 <= len(content):
        yield int(content[place : place + 4] == b"ANMF")
        size = struct.unpack_from("<I", content, place + 4)[0]
        place += 8 + size + size % 2


def _tiff(content: bytes) -> Iterator[int]:
    order = "<" if content[:2] == b"II" else ">"
    big = 43 in content[2:4]  # BigTIFF
    offset, number, step, value = ("Q", "Q", 20, 12) if big else ("I", "H", 12, 8)
    directory, seen = struct.unpack_from(order + offset, content, 8 if big else 4)[0], set[int]()
    while directory and directory not in seen:
        seen.add(directory)
        entries = struct.unpack_from(order + number, content, directory)[0]
        start = directory + struct.calcsize(order + number)
        kind = 0
        for place in range(start, start + step * entries, step):
            tag = struct.unpack_from(order + "H", content, place)[0]
            if tag >= 254:  # they ascend
                kind = struct.unpack_from(order + "I", content, place + value)[0] if tag == 254 else 0
                break
            yield 0
        yield int(not kind & _REDUCED_OR_MASK)
        directory = struct.unpack_from(order + offset, content, start + step * entries)[0]


def _boxes(content: bytes) -> Iterator[int]:
    """The samples of the longest track: an animation may have one for its opacity as well."""
    if SEQUENCES & _brands(content):
        marks = itertools.islice(re.finditer(rb"stsz", content), MOST_PARTS)
        counts = (struct.unpack_from(">I", content, mark.end() + 8)[0] for mark in marks)
        yield max((count for count in counts if count <= len(content)), default=0)  # a sample has a byte at least


def _brands(content: bytes) -> frozenset[bytes]:
    """Return the brands of a file of boxes, the major one and those with which it is compatible."""
    named = content[8 : min(struct.unpack_from(">I", content)[0], 400)]
    return frozenset(named[place : place + 4] for place in range(0, len(named), 4))


def is_of_pictures(content: bytes) -> bool:
    """Whether a file, or its first 400 bytes, has a format of pictures that may be animated: GIF, PNG, AVIF, HEIC."""
    boxed = is_iso_media(content) and content[8:12] in STILLS | SEQUENCES
    return boxed or is_gif(content) or is_png(content)


def is_still(content: bytes) -> bool:
    """Whether a file of boxes, or its first 400 bytes, is an AVIF or HEIC picture without an animation."""
    return is_iso_media(content) and content[8:12] in STILLS and not _brands(content) & SEQUENCES


_FORMATS = ((is_gif, _gif), (is_png, _png), (is_webp, _webp), (is_tiff, _tiff), (is_iso_media, _boxes))

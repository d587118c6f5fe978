"""A contact sheet: the faces of many pictures on one, the least confident first, each with its points and its name."""

from __future__ import annotations

import bisect
import os
import struct
import threading
import zlib
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from srn.errors import InputError, printable
from srn.face.geometry import CropGeometry, CropSpec, ImageArray
from srn.files import write_atomically
from srn.inference.batch import Detection
from srn.inference.drawing import DOUBTFUL_COLOR, draw_face
from srn.inference.face import Face
from srn.media.pictures import encode_image

MOST = 240
"""Faces on a sheet: the least confident ones, which are worth a look."""

TILE, LABEL, COLUMNS = 150, 34, 8  # pixels of a face, of the words below it; faces in a row
_SHARE = 0.62  # of a tile that a face takes
_PAPER, _INK, _QUIET = (250, 250, 250), (20, 20, 24), (110, 110, 116)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_NAME = b"Software\0srn contact sheet"  # by which the program knows its own sheets from a user's picture


class _Tile(NamedTuple):
    """A face on the sheet: its confidence and place in the run, by which it is sorted, and its picture."""

    confidence: float
    name: str
    number: int
    image: ImageArray


class ContactSheet:
    """Gathers faces, in threads, and draws them on one picture, sorted by their mean confidence.

    Args:
        path: the PNG file that `write` writes.
        most: number of faces that are kept: the least confident ones.

    Raises:
        InputError: there is no room for a face, or the file has another suffix than .png.
    """

    def __init__(self, path: str | os.PathLike[str], most: int = MOST) -> None:
        if most < 1:
            raise InputError.at("contact sheet", "room for at least 1 face", str(most))
        if Path(path).suffix.lower() not in (".png", ""):
            raise InputError.at(path, "a picture file .png", Path(path).suffix)
        self.path, self.most, self.faces = Path(path), most, 0
        self._tiles: list[_Tile] = []
        self._lock = threading.Lock()

    def add(self, found: Detection) -> None:
        """Take the faces of a picture."""
        for number, face in enumerate(found.faces):
            confidence = 1.0 if face.mean_confidence is None else face.mean_confidence
            with self._lock:
                self.faces += 1
                full = len(self._tiles) >= self.most and confidence >= self._tiles[-1].confidence
            if full:
                continue
            tile = _Tile(confidence, str(found.picture.path), number, _tile(found.image, face, found.picture.path.name))
            with self._lock:
                bisect.insort(self._tiles, tile, key=lambda one: one[:3])
                del self._tiles[self.most :]

    def image(self) -> ImageArray:
        """Return the sheet, (H, W, 3) uint8 RGB."""
        columns = min(COLUMNS, max(len(self._tiles), 3))
        rows = max(-(-len(self._tiles) // columns), 1)
        head = 30
        sheet = np.full((head + rows * (TILE + LABEL), columns * TILE, 3), _PAPER, np.uint8)
        shown = len(self._tiles)
        words = f"{shown} of {self.faces} faces" if shown < self.faces else f"{shown} faces"
        _write(sheet, f"{words}, least confident first", (8, 20), _INK, 0.5)
        for place, tile in enumerate(self._tiles):
            y, x = head + place // columns * (TILE + LABEL), place % columns * TILE
            sheet[y : y + TILE + LABEL, x : x + TILE] = tile.image
        return sheet

    def write(self) -> None:
        """Write the sheet as a PNG file that says what it is.

        Raises:
            InputError: the file cannot be written.
        """
        content = encode_image(self.image(), ".png")
        end = 8 + 12 + struct.unpack(">I", content[8:12])[0]  # of the first chunk
        chunk = b"tEXt" + _NAME
        named = struct.pack(">I", len(_NAME)) + chunk + struct.pack(">I", zlib.crc32(chunk))
        write_atomically(self.path, content[:end] + named + content[end:])


def _tile(image: ImageArray, face: Face, name: str) -> ImageArray:
    """Return a face with its points and words below it, (TILE + LABEL, TILE, 3)."""
    geometry = CropGeometry.around(face.landmarks, CropSpec(TILE, TILE * _SHARE), 0.0)
    crop = geometry.crop(image).copy()
    colors = dict.fromkeys(face.scheme.components, DOUBTFUL_COLOR) if face.is_doubtful else None
    draw_face(crop, geometry.to_crop(face.landmarks), face.scheme, visibility=face.visibility, colors=colors)
    tile = np.full((TILE + LABEL, TILE, 3), _PAPER, np.uint8)
    tile[:TILE] = crop
    value = "no confidence" if face.mean_confidence is None else f"{face.mean_confidence:.2f}"
    hidden = 0 if face.visibility is None else int((face.visibility < 0.5).sum())
    _write(tile, f"{value}, {hidden} hidden" if hidden else value, (4, TILE + 13), _INK, 0.42)
    _write(tile, _short(printable(name)), (4, TILE + 28), _QUIET, 0.38)
    return tile


def _write(image: ImageArray, text: str, place: tuple[int, int], color: tuple[int, int, int], size: float) -> None:
    # OpenCV's font has no other letters than ASCII's.
    cv2.putText(image, text.encode("ascii", "replace").decode(), place, _FONT, size, color, 1, cv2.LINE_AA)


def _short(name: str) -> str:
    """Shorten a name in its middle: both ends tell pictures apart."""
    return name if len(name) <= 22 else f"{name[:10]}..{name[-10:]}"

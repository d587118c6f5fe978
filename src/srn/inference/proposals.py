"""Propose the parts of a picture that may hold small faces, so that the face finder need not search all of it closely.

A small network looks at the picture at a quarter of the resolution that the finder needs, in levels a factor of two
apart. It was trained on training faces and backgrounds only (`docs/face_finder.md`).
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import Box, ImageArray
from srn.face.localizer import Float32Array
from srn.inference.engines import Device
from srn.inference.found_boxes import Found
from srn.inference.sessions import open_session

SMALLEST, LARGEST = 6.0, 12.0  # height of the faces that the network knows, pixels of its level
ENLARGED = 4  # the finder sees a proposed region at this multiple of the level's resolution
THRESHOLD = 0.15  # least probability of a face (`docs/face_finder.md`)
SUSPECTED = 12.0  # height of a face, in pixels of the finder's picture, from which it leaves a trace in the heat map
SUSPICION = 0.025  # least heat of such a trace (`docs/face_finder.md`)
CELL = 4  # pixels of the level in a cell of the network's map
BLOCK = 2  # cells in a side of a block; a region consists of whole blocks
MARGIN = 2  # cells of context that the finder sees around a region
LONGEST_REGION = 24  # blocks in a side of a region at most: it bounds the finder's memory


class Region(NamedTuple):
    """A part of a picture, to be searched at `scale` times the picture's resolution.

    `core` and `around` are (x0, y0, x1, y1) in whole pixels counted from the corner. Faces centred in `core` are
    wanted; `around` is the same with its context.
    """

    scale: float
    core: tuple[int, int, int, int]
    around: tuple[int, int, int, int]


class ProposalNetwork:
    """The network that the package ships, in ONNX Runtime."""

    def __init__(self, *, threads: int | None = None, device: Device = "cpu") -> None:
        where = resources.files("srn") / "weights" / "proposals.onnx"
        expected = "the network that proposes small faces"
        self._session = open_session(where.read_bytes(), str(where), expected, threads=threads, device=device)

    def __call__(self, image: ImageArray) -> Float32Array:
        """Map a picture (H, W, 3) to the probability of a face of 6 to 12 pixels around each cell: (H / 4, W / 4)."""
        height, width = image.shape[:2]
        padding = ((0, -height % CELL), (0, -width % CELL), (0, 0))
        padded = np.pad(image, padding, mode="edge").transpose(2, 0, 1)[None]
        logits = self._session.run(["logits"], {"image": np.ascontiguousarray(padded, np.float32)})[0][0, 0]
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)

    def regions(self, image: ImageArray, smallest: float, largest: float, searched: Found) -> Iterator[Region]:
        """Propose where faces from `smallest` to `largest` pixels of height may be.

        Where the search of the picture by the finder had enough resolution to suspect them, it must have done so.
        """
        scale, level = SMALLEST / smallest, image
        while True:
            height, width = (max(1, round(side * scale)) for side in image.shape[:2])
            interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
            level = cv2.resize(level, (width, height), interpolation=interpolation).astype(np.uint8, copy=False)
            likely = np.atleast_2d(self(level) > THRESHOLD)
            if SMALLEST / scale * searched.scale >= SUSPECTED:
                near = cv2.dilate(searched.heat, np.ones((5, 5), np.uint8))
                likely &= cv2.resize(near, likely.shape[::-1], interpolation=cv2.INTER_LINEAR) > SUSPICION
            yield from regions_of(likely, scale, image.shape)
            if LARGEST / scale >= largest:
                return
            scale /= 2


def regions_of(likely: npt.NDArray[np.bool_], scale: float, shape: tuple[int, ...]) -> Iterator[Region]:
    """Cover the likely cells (rows, columns) of a level by regions of a picture of `shape` (H, W, ...)."""
    rows, columns = (-(-n // BLOCK) for n in likely.shape)
    padded = np.zeros((rows * BLOCK, columns * BLOCK), bool)
    padded[: likely.shape[0], : likely.shape[1]] = likely
    blocks = np.any(padded.reshape(rows, BLOCK, columns, BLOCK), axis=(1, 3))
    for row, column in np.argwhere(blocks).tolist():
        if not blocks[row, column]:  # taken by an earlier region
            continue
        right, below = column + 1, row + 1
        while right < columns and right - column < LONGEST_REGION and blocks[row, right]:
            right += 1
        while below < rows and below - row < LONGEST_REGION and blocks[below, column:right].all():
            below += 1
        blocks[row:below, column:right] = False
        cells = np.array([column, row, right, below]) * BLOCK
        core, around = (
            _in_picture(cells + margin * np.array([-1, -1, 1, 1]), CELL / scale, shape) for margin in (0, MARGIN)
        )
        yield Region(ENLARGED * scale, core, around)


def region_of_box(box: Box, scale: float, shape: tuple[int, ...]) -> Region:
    """Give the region that shows a face box with half its size around it."""
    corners = np.array([*(box.center - box.size), *(box.center + box.size)])
    around = _in_picture(corners, 1.0, shape)
    return Region(scale, around, around)


def _in_picture(
    edges: npt.NDArray[np.floating | np.integer], factor: float, shape: tuple[int, ...]
) -> tuple[int, int, int, int]:
    x0, y0, x1, y1 = (edges * factor).tolist()
    height, width = shape[:2]
    left, top = min(max(int(x0), 0), width - 1), min(max(int(y0), 0), height - 1)
    return left, top, max(min(int(np.ceil(x1)), width), left + 1), max(min(int(np.ceil(y1)), height), top + 1)

"""Propose the parts of a picture that may hold small faces, so that the face finder need not search all of it closely.

A small network looks at the picture at a quarter of the resolution that the finder needs, in levels a factor of two
apart. It was trained on training faces and backgrounds only (`docs/face_finder.md`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

import cv2
import numpy as np

from srn.face.geometry import Float64Array, ImageArray
from srn.face.localizer import Float32Array
from srn.face.onnx_file import SHIPPED, read_model
from srn.inference.engines import Device
from srn.inference.found_boxes import Found, resized
from srn.inference.parts import PartNetwork
from srn.inference.sessions import open_session

SMALLEST, LARGEST = 6.0, 12.0  # height of the faces that the network knows, pixels of its level
ENLARGED = 4  # the finder sees a proposed region at this multiple of the level's resolution
THRESHOLD = 0.45  # least probability of a face (`docs/face_finder.md`)
SUSPECTED = 12.0  # height of a face, in pixels of the finder's picture, from which it leaves a trace in the heat map
SUSPICION = 0.025  # least heat of such a trace (`docs/face_finder.md`)
CELL = 4  # pixels of the level in a cell of the network's map
REACH = 12.0  # pixels of the level around a likely cell's centre that the finder sees
CROWD = 16  # proposals of a level above which none is judged: their searches are joined, and most hold a face
RUN_COST = 6000  # time that a search takes beside its pixels, in pixels
LARGEST_COST = 1_500_000  # of a search: it bounds the memory

Rectangle: TypeAlias = tuple[int, int, int, int]
"""A part of a picture: x0, y0, x1, y1 in whole pixels counted from the corner."""


class ProposalNetwork:
    """The network that the package ships, in ONNX Runtime."""

    def __init__(self, *, threads: int | None = None, device: Device = "cpu") -> None:
        where, expected = SHIPPED / "proposals.onnx", "the network that proposes small faces"
        self._session = open_session(read_model(where, expected), where, expected, threads=threads, device=device)
        self._parts = PartNetwork(threads=threads, device=device)

    def __call__(self, image: ImageArray) -> Float32Array:
        """Map a picture (H, W, 3) to the probability of a face of 6 to 12 pixels around each cell: (H / 4, W / 4)."""
        height, width = image.shape[:2]
        padded = cv2.copyMakeBorder(image, 0, -height % CELL, 0, -width % CELL, cv2.BORDER_REPLICATE)
        level = np.ascontiguousarray(padded.transpose(2, 0, 1)[None], np.float32)
        logits = self._session.run(["logits"], {"image": level})[0][0, 0]
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)

    def parts(
        self, image: ImageArray, smallest: float, largest: float, searched: Found, known: Float64Array
    ) -> Iterator[tuple[float, Float64Array]]:
        """Propose where faces from `smallest` to `largest` pixels of height may be: scales, and parts (K, 4) to search.

        Where the finder's search of the picture had enough resolution to suspect them, it must have done so. None are
        proposed within larger faces, `known` (K, 4).
        """
        scale = SMALLEST / smallest
        level, _ = resized(image, scale)
        while True:
            chances = np.atleast_2d(self(level))
            likely = (chances > THRESHOLD) & (chances == cv2.dilate(chances, np.ones((3, 3), np.uint8)))
            if SMALLEST / scale * searched.scale >= SUSPECTED:
                near = cv2.dilate(searched.heat, np.ones((5, 5), np.uint8))
                likely &= cv2.resize(near, likely.shape[::-1], interpolation=cv2.INTER_LINEAR) > SUSPICION
            for box in known[(known[:, 3] - known[:, 1]) * scale > LARGEST]:
                x0, y0, x1, y1 = np.maximum(np.round(box * (scale / CELL)).astype(int), 0)
                likely[y0:y1, x0:x1] = False
            center = (np.argwhere(likely)[:, ::-1] + 0.5) * (CELL / scale)
            if len(center) <= CROWD:
                center = center[self._parts.likely(image, center, ENLARGED * scale)]
            limits = image.shape[1::-1]
            parts = [np.clip(center + sign * REACH / scale, 0, limits) for sign in (-1, 1)]
            yield ENLARGED * scale, np.hstack(parts)
            if LARGEST / scale >= largest:
                return
            scale /= 2
            height, width = (max(1, round(side * scale)) for side in image.shape[:2])
            level = cv2.resize(level, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def joined(parts: Float64Array, scale: float, shape: tuple[int, ...]) -> list[Rectangle]:
    """Clip parts (K, 4) to a picture of `shape` (H, W, ...), and join those that one search at `scale` sees cheaper."""
    parts = np.clip(np.hstack([np.floor(parts[:, :2]), np.ceil(parts[:, 2:])]), 0, shape[1::-1] * 2)
    regions = np.empty((0, 4))
    for part in parts[(parts[:, 2:] > parts[:, :2]).all(axis=1)]:
        while len(regions):
            unions = np.hstack([np.minimum(regions[:, :2], part[:2]), np.maximum(regions[:, 2:], part[2:])])
            costs = _cost(unions, scale)
            gains = np.where(costs > LARGEST_COST, -1, _cost(regions, scale) + _cost(part, scale) - costs)
            best = gains.argmax()
            if gains[best] < 0:
                break
            part, regions = unions[best], np.delete(regions, best, axis=0)
        regions = np.vstack([regions, part])
    if len(regions) > 1:
        union = np.hstack([regions[:, :2].min(axis=0), regions[:, 2:].max(axis=0)])
        if _cost(union, scale) <= min(_cost(regions, scale).sum(), LARGEST_COST):
            regions = union[None]  # where no pair alone gains
    return [(x0, y0, x1, y1) for x0, y0, x1, y1 in regions.astype(int).tolist()]


def _cost(parts: Float64Array, scale: float) -> Float64Array:
    """Give the time of searches of parts (..., 4), in pixels of the search."""
    return np.asarray(((parts[..., 2:] - parts[..., :2]) * scale).prod(axis=-1) + RUN_COST)

"""Faces that lie turned in the plane: find and place them in pictures turned by quarter turns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from srn.face.geometry import ImageArray
from srn.inference.found_boxes import FoundFace, points_turned_back, turned_back
from srn.inference.proposals import joined

TURNED_SIZE = 80.0  # size of a face, in pixels, in the search that places the box of a turned face
TURNED_THRESHOLD = 0.5  # lowest score of a face that lies on its side or upside down
UPRIGHT = 0.65  # score of a face whose landmarks lie upright from which no turn is tried (`docs/face_finder.md`)
CERTAIN = 0.75  # score of an upright face in a turned picture from which no other turn is tried
TRIED = 4  # largest number of faces that are tried in all turns
ALL = (0, 1, 2, 3)
SUSPECTED = 0.25  # score of a weak face from which all turns are tried


Search: TypeAlias = Callable[[ImageArray, float], list[FoundFace]]
"""Finds the faces of a picture resized by a factor, best first, in its pixels, turned as their landmarks lie."""
Whole: TypeAlias = Callable[[ImageArray], list[FoundFace]]
"""Likewise, in the reduced picture."""


def righted(image: ImageArray, faces: Sequence[FoundFace], search: Search, max_iou: float) -> list[FoundFace]:
    """Search again around faces that may lie turned, in the picture turned likewise; the rest is upright.

    Those are faces whose landmarks lie turned, and the best ones of a picture where none is surely upright. The best
    ones are tried in all turns, the rest in that of their landmarks. Of two that then overlap by more than `max_iou`,
    the first is kept.
    """
    found: list[FoundFace] = []
    unsure = all(face.turn or face.score < UPRIGHT for face in faces)
    for number, face in enumerate(faces):
        best = number < TRIED
        if face.turn or (unsure and best and face.score >= SUSPECTED):
            placed = _placed(image, face, search, ALL if best else (face.turn,))
            face = placed or replace(face, turn=0, tilt=0.0, points=None)
        if all(face.box.iou(other.box) <= max_iou for other in found):
            found.append(face)
    return sorted(found, key=lambda face: -face.score)


def found_turned(image: ImageArray, whole: Whole, search: Search) -> list[FoundFace]:
    """Find the faces of a picture without upright ones: those of its best turn, or else one that lies askew."""
    best: list[FoundFace] = []
    weak: list[FoundFace] = []
    for turn in (1, 2, 3):
        upright = np.ascontiguousarray(np.rot90(image, turn))
        faces = [_seen(face, turn, image.shape) for face in whole(upright)]
        surest = [face for face in faces if face.turn == turn]
        if surest and surest[0].score > max(TURNED_THRESHOLD, best[0].score if best else 0):
            best = surest
        weak = sorted([*weak, *faces[:1]], key=lambda face: -face.score)[:1]
    if not best and weak and weak[0].score >= SUSPECTED:
        placed = _placed(image, weak[0], search, ALL)
        best = [] if placed is None else [placed]
    return best


def found_beside(image: ImageArray, faces: list[FoundFace], search: Whole, max_iou: float) -> list[FoundFace]:
    """Search a picture that shows turned faces in their turns as well, as closely as the picture itself.

    An upright face of such a search is a face where the picture showed none, or a less sure one that was taken for
    upright: they overlap by more than `max_iou`.
    """
    for turn in sorted({face.turn for face in faces} - {0}):
        for found in search(np.ascontiguousarray(np.rot90(image, turn))):
            seen = _seen(found, turn, image.shape)
            others = [face for face in faces if face.box.iou(seen.box) > max_iou]
            surer = all(face.turn == 0 and face.score < seen.score for face in others)
            if found.turn == 0 and found.score > TURNED_THRESHOLD and surer:
                faces = [*(face for face in faces if face not in others), seen]
    return sorted(faces, key=lambda face: -face.score)


def _placed(image: ImageArray, face: FoundFace, search: Search, turns: Sequence[int]) -> FoundFace | None:
    """Find a face in its part of the picture turned by quarter turns, first by its own: the surest upright one."""
    best: FoundFace | None = None
    around = face.box.adjusted((0, 0), (2, 2)).as_array()[None]
    for x0, y0, x1, y1 in joined(around, 1.0, image.shape):
        part = image[y0:y1, x0:x1]
        for turn in sorted(turns, key=lambda turn: turn != face.turn):
            if best is not None and best.score >= CERTAIN:
                break
            upright = np.ascontiguousarray(np.rot90(part, turn))
            for found in search(upright, min(TURNED_SIZE / face.box.size, 1.0))[:1]:
                if found.turn == 0 and found.score > (TURNED_THRESHOLD if best is None else best.score):
                    seen = _seen(found, turn, part.shape)
                    best = _moved(seen, x0, y0)
    if best is not None and best.turn == face.turn == 0:
        return face  # its box is the mean of several
    return best


def _seen(face: FoundFace, turn: int, shape: tuple[int, ...]) -> FoundFace:
    """Map a face of a picture of `shape` turned counter-clockwise by quarter turns back to that picture."""
    if turn == 0:
        return face
    points = None if face.points is None else points_turned_back(face.points, turn, shape)
    return replace(face, box=turned_back(face.box, turn, shape), turn=(turn + face.turn) % 4, points=points)


def _moved(face: FoundFace, right: float, down: float) -> FoundFace:
    points = None if face.points is None else tuple((x + right, y + down) for x, y in face.points)
    return replace(face, box=face.box.adjusted((right, down)), points=points)

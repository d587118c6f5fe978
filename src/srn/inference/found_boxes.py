"""Found faces; and their boxes as arrays: decode them from a network's maps, merge them, map them to the picture."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import Box, Float64Array, FloatArray, ImageArray
from srn.face.localizer import Float32Array

IntArray: TypeAlias = npt.NDArray[np.intp]
ComplexArray: TypeAlias = npt.NDArray[np.complex128]
Points: TypeAlias = tuple[tuple[float, float], ...]
"""Eyes, nose tip and corners of the mouth of a face as x and y, of both the left one first."""

HALVED = 640  # longer side of a picture, in pixels, from which it is halved before it becomes much smaller
SURE = 0.55  # score of a face, even within a larger one
LARGEST_TILT = math.pi / 4  # beyond it the next quarter turn is nearer
# Eyes, nose tip and corners of the mouth (x + iy) of an upright face: of the mean shape of 300W's training faces, which
# the shipped weights hold, about their middle, in face units.
_UPRIGHT = np.array([-0.2073 - 0.2315j, 0.2073 - 0.2315j, 0.0118j, -0.1838 + 0.2256j, 0.1838 + 0.2256j])


@dataclass(frozen=True)
class FoundFace:
    """A face found in a picture, with the finder's confidence in [0, 1] as its score.

    The box is in picture pixels, in the finder's own convention, and may extend beyond the picture. Of a doubtful face
    the score is below the finder's threshold: its landmarks decide whether it is a face. Turned counter-clockwise by
    `turn` quarter turns, the picture shows the face about upright; turned further by `tilt` (radians, x to y, so
    clockwise), it shows it quite upright. `points`, if the finder gives them, are eyes, nose tip and corners of the
    mouth, of both the left one first: x and y in picture pixels.
    """

    box: Box
    score: float
    doubtful: bool = False
    turn: int = 0
    tilt: float = 0.0
    points: tuple[tuple[float, float], ...] | None = None

    @property
    def angle(self) -> float:
        """Rotation of the picture that shows the face upright, in radians, x to y."""
        return self.tilt - self.turn * math.pi / 2


class Found(NamedTuple):
    """What one search found, in a picture resized by `scale`: K boxes in picture pixels.

    `boxes` (K, 4), `scores` (K,); `turns` (K,): quarter turns, counter-clockwise, of the picture that show the face
    upright, as its landmarks lie; `points` (K, 5, 2): eyes, nose tip and corners of the mouth, of both the left one
    first, picture pixels. `heat` (h, w) is the probability that a face is centred in a cell of 4 x 4 pixels.
    """

    scale: float
    boxes: Float64Array
    scores: Float64Array
    turns: IntArray
    points: Float64Array
    heat: Float32Array

    def select(self, kept: npt.NDArray[np.bool_]) -> Found:
        """Return the same search with some of its boxes, by a mask (K,)."""
        return self._replace(
            boxes=self.boxes[kept], scores=self.scores[kept], turns=self.turns[kept], points=self.points[kept]
        )


def decode_centerface(
    heat: Float32Array, scale: Float32Array, offset: Float32Array, landmarks: Float32Array, threshold: float
) -> tuple[Float64Array, Float64Array, IntArray, Float64Array]:
    """Read boxes out of CenterFace's maps: one for each cell of 4 x 4 pixels with a probability above the threshold.

    Args:
        heat: (h, w) probability that a face is centred in the cell.
        scale: (2, h, w) logarithm of a quarter of its height and width, in pixels.
        offset: (2, h, w) its centre relative to the cell's, in cells: y and x.
        landmarks: (10, h, w) y and x of eyes, nose and corners of the mouth, from the box's corner in its sides.

    Returns:
        Boxes (K, 4), edges in input pixels counted from the corner, scores (K,), turns (K,) and points (K, 5, 2) as in
        `Found`, counted likewise, in reading order.
    """
    cells = np.argwhere(heat > threshold)  # (K, 2): row, column
    rows, columns = cells.T
    center = (cells + offset[:, rows, columns].T.astype(np.float64) + 0.5) * 4
    half = np.exp(scale[:, rows, columns].T.astype(np.float64)) * 2
    boxes = np.hstack([(center - half)[:, ::-1], (center + half)[:, ::-1]])
    points = landmarks[:, rows, columns].T.reshape(-1, 5, 2) * (2 * half)[:, None]
    down, right = ((points[:, 3] + points[:, 4]) - (points[:, 0] + points[:, 1])).T  # from the eyes to the mouth
    turns = np.where(np.abs(right) > np.abs(down), np.where(right < 0, 1, 3), np.where(down < 0, 2, 0))
    placed = points[..., ::-1] + boxes[:, None, :2]
    return boxes, heat[rows, columns].astype(np.float64), turns, placed


def rotations(points: FloatArray) -> ComplexArray:
    """Return how a picture is rotated to show faces upright, as complex numbers (K,): the angle, x to y, is theirs.

    It is that of the least-squares similarity to a face that looks ahead, and the mean of several is that of the mean
    of their points. `points` (K, 5, 2), x and y: eyes, nose tip, corners of the mouth, of both the left one first.
    """
    across = points[..., 0] + 1j * points[..., 1]
    return np.asarray((across - across.mean(axis=-1, keepdims=True)).conj() @ _UPRIGHT, np.complex128)


def tilt_beside(turn: int, rotation: complex) -> float:
    """Return what quarter turns, counter-clockwise, leave of a rotation: radians, x to y, of at most `LARGEST_TILT`.

    It is 0 where more than another quarter turn is left: the points do not show a face that lies so.
    """
    tilt = float(np.angle(rotation * 1j**turn))
    return 0.0 if abs(tilt) > math.pi / 2 else min(max(tilt, -LARGEST_TILT), LARGEST_TILT)


def merge_overlaps(
    boxes: FloatArray, points: FloatArray, scores: FloatArray, max_iou: float
) -> tuple[Float64Array, Float64Array, IntArray]:
    """Suppress boxes (K, 4) greedily; each box kept becomes the mean of those that agree with it.

    Neighbouring cells and other picture sizes detect the same face again. The mean of the boxes with an IoU of at
    least 1/2, weighted by their scores, varies less than the best box alone. A box that overlaps a better one by more
    than `max_iou` is dropped. Returns the means, best first, those of `points` (K, 5, 2), and the places of the best
    boxes in `boxes`.
    """
    order = np.argsort(-scores, kind="stable")
    kept, merged, placed = [], [], []
    while order.size:
        overlap = iou_with(boxes[order[0]], boxes[order])
        agree = order[overlap >= 0.5]
        kept.append(order[0])
        weights = scores[agree]  # by hand: np.average takes three times as long
        merged.append((boxes[agree] * weights[:, None]).sum(axis=0) / weights.sum())
        placed.append((points[agree] * weights[:, None, None]).sum(axis=0) / weights.sum())
        overlap[0] = np.inf  # the box itself leaves the list for every max_iou
        order = order[overlap <= max_iou]
    means = np.array(merged, dtype=np.float64).reshape(-1, 4)
    return means, np.array(placed, dtype=np.float64).reshape(-1, 5, 2), np.array(kept, dtype=np.intp)


def parts_of_faces(boxes: Float64Array, scores: Float64Array) -> npt.NDArray[np.bool_]:
    """Say which boxes (K, 4), best first, lie within a better and much larger one: parts of a face that look like one.

    Scores (K,) of at least `SURE` are those of whole faces: of a portrait held before the chest, of a collage.
    """
    parts = np.zeros(len(boxes), bool)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for k in range(len(boxes)):
        shared = np.maximum(np.minimum(boxes[k, 2:], boxes[:, 2:]) - np.maximum(boxes[k, :2], boxes[:, :2]), 0)
        part = (shared.prod(axis=1) > 0.7 * areas) & (areas < areas[k] / 3) & (scores < SURE)
        parts[k + 1 :] |= part[k + 1 :]
    return parts


def turned_back(box: Box, turn: int, shape: tuple[int, ...]) -> Box:
    """Map a box of a picture of `shape` (H, W, ...) turned counter-clockwise by quarter turns back to that picture."""
    (x0, y0), (x1, y1) = points_turned_back(((box.x0, box.y0), (box.x1, box.y1)), turn, shape)
    return Box(min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1))


def points_turned_back(points: Points, turn: int, shape: tuple[int, ...]) -> Points:
    """Map points likewise."""
    height, width = shape[:2]
    if turn == 1:
        return tuple((width - 1 - y, x) for x, y in points)
    if turn == 2:
        return tuple((width - 1 - x, height - 1 - y) for x, y in points)
    return tuple((y, height - 1 - x) for x, y in points)


def iou_with(box: FloatArray, boxes: FloatArray) -> Float64Array:
    overlap = np.maximum(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(overlap / ((box[2:] - box[:2]).prod() + area - overlap), np.float64)


def resized(image: ImageArray, scale: float) -> tuple[ImageArray, Float64Array]:
    """Resize by about `scale`; also return the exact ratio of the sides (x, y) after rounding to whole pixels.

    A large picture is halved first, which OpenCV does much faster; an odd row or column at its end is lost. A picture
    that keeps its size is returned as it is, not copied.
    """
    height, width = image.shape[:2]
    size, halvings = (max(1, round(width * scale)), max(1, round(height * scale))), 0
    while scale * 2**halvings <= 0.25 and max(height, width) >= HALVED and min(height, width) > 1:
        height, width, halvings = height // 2, width // 2, halvings + 1
        image = image[: 2 * height, : 2 * width]
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
    if size != (width, height):
        interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)
    return image, np.array([size[0] / width, size[1] / height]) / 2**halvings


def to_picture(places: FloatArray, ratio: FloatArray) -> Float64Array:
    """Convert places (..., 2) of a resized picture, counted from its corner, to 0-based pixel centres of the picture.

    Boxes (K, 4) are two places each.
    """
    # They scale about the picture's corner, which lies half a pixel before the centre of the first pixel.
    return np.asarray((places.reshape(-1, 2) / ratio - 0.5).reshape(places.shape), np.float64)

"""Boxes of found faces, as arrays: decode them from a network's maps, merge them, map them to the picture."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from srn.face.geometry import Box, Float64Array, FloatArray, ImageArray
from srn.face.localizer import Float32Array

SURE = 0.55  # score of a face, even within a larger one


class Found(NamedTuple):
    """What one search found: boxes (K, 4) in picture pixels and scores (K,), in a picture resized by `scale`.

    `heat` (h, w) is the probability that a face is centred in a cell of 4 x 4 pixels of that size.
    """

    scale: float
    boxes: Float64Array
    scores: Float64Array
    heat: Float32Array


def decode_centerface(
    heat: Float32Array, scale: Float32Array, offset: Float32Array, threshold: float
) -> tuple[Float64Array, Float64Array]:
    """Decode the network's maps to boxes, without suppression (Xu et al. 2019, section 3).

    Args:
        heat: (h, w) probability that a face is centred in the cell; a cell is 4 x 4 input pixels.
        scale: (2, h, w) logarithm of the face's height and width in cells.
        offset: (2, h, w) y and x of the centre relative to the middle of the cell.
        threshold: cells of at most this heat are ignored.

    Returns:
        Boxes (K, 4), edges in input pixels counted from the corner, and scores (K,), in reading order.
    """
    cells = np.argwhere(heat > threshold)  # (K, 2): row, column
    rows, columns = cells.T
    center = (cells + offset[:, rows, columns].T.astype(np.float64) + 0.5) * 4
    half = np.exp(scale[:, rows, columns].T.astype(np.float64)) * 2
    boxes = np.hstack([(center - half)[:, ::-1], (center + half)[:, ::-1]])
    return boxes, heat[rows, columns].astype(np.float64)


def merge_overlaps(boxes: FloatArray, scores: FloatArray, max_iou: float) -> tuple[Float64Array, Float64Array]:
    """Suppress boxes (K, 4) greedily; each box kept becomes the mean of those that agree with it. Best first.

    Neighbouring cells and other picture sizes detect the same face again. The mean of the boxes with an IoU of at
    least 1/2, weighted by their scores, varies less than the best box alone. A box that overlaps a better one by more
    than `max_iou` is dropped.
    """
    order = np.argsort(-scores, kind="stable")
    kept, merged = [], []
    while order.size:
        overlap = _iou_with(boxes[order[0]], boxes[order])
        agree = order[overlap >= 0.5]
        kept.append(order[0])
        merged.append(np.average(boxes[agree], axis=0, weights=scores[agree]))
        overlap[0] = np.inf  # the box itself leaves the list for every max_iou
        order = order[overlap <= max_iou]
    return np.array(merged, dtype=np.float64).reshape(-1, 4), np.asarray(scores, dtype=np.float64)[kept]


def without_parts(boxes: Float64Array, scores: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Drop boxes (K, 4), best first, within a better and much larger one: parts of a face that look like one.

    Scores (K,) of at least `SURE` are those of whole faces: of a portrait held before the chest, of a collage.
    """
    kept = np.ones(len(boxes), bool)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    for k in range(len(boxes)):
        shared = np.clip(np.minimum(boxes[k, 2:], boxes[:, 2:]) - np.maximum(boxes[k, :2], boxes[:, :2]), 0, None)
        part = (shared.prod(axis=1) > 0.7 * areas) & (areas < areas[k] / 6) & (scores < SURE)
        kept[k + 1 :] &= ~part[k + 1 :]
    return boxes[kept], scores[kept]


def turned_back(box: Box, turn: int, shape: tuple[int, ...]) -> Box:
    """Map a box of a picture of `shape` (H, W, ...) turned counter-clockwise by quarter turns back to that picture."""
    height, width = shape[:2]
    x0, y0, x1, y1 = box.as_array().tolist()
    if turn == 1:
        return Box(width - 1 - y1, x0, width - 1 - y0, x1)
    if turn == 2:
        return Box(width - 1 - x1, height - 1 - y1, width - 1 - x0, height - 1 - y0)
    return Box(y0, height - 1 - x1, y1, height - 1 - x0)


def _iou_with(box: FloatArray, boxes: FloatArray) -> Float64Array:
    overlap = np.clip(np.minimum(box[2:], boxes[:, 2:]) - np.maximum(box[:2], boxes[:, :2]), 0, None).prod(axis=1)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return np.asarray(overlap / ((box[2:] - box[:2]).prod() + area - overlap), np.float64)


def resized(image: ImageArray, scale: float) -> tuple[ImageArray, Float64Array]:
    """Resize by about `scale`; also return the exact ratio of the sides (x, y) after rounding to whole pixels."""
    height, width = image.shape[:2]
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    reduced = cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)
    return reduced, np.array([size[0] / width, size[1] / height])


def to_picture(edges: FloatArray, ratio: FloatArray) -> Float64Array:
    """Convert edges (K, 4) of a resized picture, counted from its corner, to 0-based pixel centres of the picture."""
    # Edges scale about the picture's corner, which lies half a pixel before the centre of the first pixel.
    return np.asarray(edges / np.tile(ratio, 2) - 0.5, np.float64)

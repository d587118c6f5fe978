"""Drawn faces: crops with predicted and true points, and sheets of them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from srn.datasets.sample import PictureSource
from srn.errors import DataError
from srn.evaluation.results import FaceResult
from srn.face.geometry import Box, CropGeometry, CropSpec, ImageArray
from srn.face.scheme import LandmarkScheme
from srn.inference.drawing import SUBPIXEL_BITS, draw_face, fixed_point
from srn.media.pictures import read_image

TILE = 320
"""Width and height of a drawn crop in pixels."""

_FACE_SHARE = 0.62
"""Share of the crop that the face's box takes."""

TRUTH_COLOR = (255, 255, 255)


def draw_result(
    result: FaceResult,
    scheme: LandmarkScheme,
    *,
    size: int = TILE,
    truth: bool = True,
    source: PictureSource | None = None,
) -> ImageArray | None:
    """Draw the crop of a face: predicted points in colour, true points as white dots joined to them by lines.

    `source` reads a picture that is no file of its own.

    Returns:
        (size, size, 3) uint8 RGB; None without true points, or if the picture cannot be read any more.
    """
    target = result.target_landmarks
    if target is None:
        return None
    try:
        image = read_image(result.path) if source is None else source()
    except DataError:
        return None
    box = Box.around(target)
    if result.landmarks is not None:  # enlarge the crop for a prediction far off, within limits
        reach = Box.around(np.vstack([target, result.landmarks]))
        scale = float(np.clip(max(reach.width, reach.height) / max(box.width, box.height), 1.0, 1.6))
        box = box.adjusted(np.zeros(2), (scale, scale))
    crop = CropGeometry.from_box(box, CropSpec(size, size * _FACE_SHARE))
    tile: ImageArray = np.ascontiguousarray(crop.crop(image))
    true = crop.to_crop(target)
    if result.landmarks is not None:
        shape = crop.to_crop(result.landmarks)
        if truth:
            for a, b in zip(fixed_point(true), fixed_point(shape), strict=True):
                cv2.line(tile, a.tolist(), b.tolist(), TRUTH_COLOR, 1, cv2.LINE_AA, SUBPIXEL_BITS)
        draw_face(tile, shape, scheme, visibility=result.visibility, contours=not truth, size=size / 150)
    if truth:
        radius = round(max(size / 400, 0.8) * (1 << SUBPIXEL_BITS))
        for point in fixed_point(true):
            cv2.circle(tile, point.tolist(), radius, TRUTH_COLOR, -1, cv2.LINE_AA, SUBPIXEL_BITS)
    return tile


def sheet(tiles: Sequence[ImageArray], columns: int = 5, gap: int = 6) -> ImageArray:
    """Arrange tiles (S, S, 3) of one size on white, row after row."""
    size = tiles[0].shape[0]
    rows = -(-len(tiles) // columns)
    width = min(columns, len(tiles))
    page = np.full((rows * (size + gap) - gap, width * (size + gap) - gap, 3), 255, np.uint8)
    for index, tile in enumerate(tiles):
        y, x = (index // columns) * (size + gap), (index % columns) * (size + gap)
        page[y : y + size, x : x + size] = tile
    return page

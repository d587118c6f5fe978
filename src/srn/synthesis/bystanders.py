"""Another person's head before a face, so that a side of the face is hidden, and another face is seen beside it."""

from __future__ import annotations

import cv2
import numpy as np

from srn.face.geometry import Box, FloatArray, ImageArray, similarity
from srn.synthesis.occluders import Covered

HEAD = (0.62, 0.74)
"""Half the width and half the height of a head, in sizes of its face box."""

HEAD_ABOVE = 0.14
"""So far above the middle of the face box (brows to chin) lies the middle of the head."""

BODY = (0.4, 0.4, 1.05)
"""How far below the middle of the face neck and shoulders begin, half their width there and where the picture ends."""

NEAR, FAR = 0.5, 1.05
"""Least and greatest distance of both faces' middles, in sizes of the hidden face."""


def other_head(image: ImageArray, other: ImageArray, shape: FloatArray, rng: np.random.Generator) -> Covered:
    """Lay the head and shoulders of another person over a side of a face, in place; return the covered pixels (H, W).

    Args:
        image: (H, W, 3) uint8 RGB, painted on.
        other: (S, S, 3) uint8 RGB, a packed face: its face box fills the middle half (`PACK_CROP`).
        shape: (N, 2) landmarks of the face that is hidden, pixels of `image`.
        rng: size, place and tilt of the other head.
    """
    box, side = Box.around(shape), other.shape[0]
    face = side / 2
    scale, tilt = box.size / face * rng.uniform(0.75, 1.35), rng.normal(0, 0.2)
    # Beside the face or below it: who stands behind somebody rarely looks out from under them.
    direction, distance = rng.uniform(-0.25, np.pi + 0.25), box.size * rng.uniform(NEAR, FAR)
    place = box.center + distance * np.array([np.cos(direction), np.sin(direction)])
    matrix = similarity(scale, tilt, np.full(2, (side - 1) / 2), place)
    height, width = image.shape[:2]
    donor = cv2.warpAffine(other, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    outline = cv2.warpAffine(_outline(side), matrix, (width, height), flags=cv2.INTER_LINEAR)
    opacity = cv2.GaussianBlur(outline, (0, 0), float(rng.uniform(0.6, 1.8))).astype(np.float32)[..., None] / 255
    image[:] = np.round(image * (1 - opacity) + donor * opacity).astype(np.uint8)
    return np.asarray(opacity[..., 0] > 0.5)


def _outline(side: int) -> ImageArray:
    """Draw head and shoulders in a packed face's picture: (S, S) uint8, 255 inside."""
    face, middle = side / 2, (side - 1) / 2
    drawn = np.zeros((side, side), np.uint8)
    axes = (round(HEAD[0] * face), round(HEAD[1] * face))
    cv2.ellipse(drawn, (round(middle), round(middle - HEAD_ABOVE * face)), axes, 0, 0, 360, (255,), -1)
    top, narrow, wide = (share * face for share in BODY)
    left, right = (
        [(middle - narrow, middle + top), (middle - wide, side)],
        [(middle + wide, side), (middle + narrow, middle + top)],
    )
    cv2.fillPoly(drawn, [np.round([*left, *right]).astype(np.int32)], (255,))
    return drawn

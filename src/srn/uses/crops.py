"""Aligned crops that other networks expect: ArcFace's and FFHQ's.

Both give a `CropGeometry`: `crop(image)` cuts, `to_crop` and `to_picture` convert points there and back. Pixels outside
the picture repeat its edge (the original programs paint them black or blur them).
"""

from __future__ import annotations

import numpy as np

from srn.errors import InputError, check_count
from srn.face.geometry import CropGeometry, CropSpec, Float64Array, fit_similarity, invert_affine
from srn.inference.face import Face
from srn.uses.points import MOUTH_CORNERS, check_scheme, five_points

ARCFACE_SIZE = 112

ARCFACE_POINTS: Float64Array = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)
"""(5, 2): eyes, tip of the nose, corners of the mouth in ArcFace's crop of 112 x 112 pixels, as InsightFace's
`face_align.py` states them (Deng et al., CVPR 2019). Left ones first."""
ARCFACE_POINTS.setflags(write=False)


def arcface_geometry(face: Face, size: int = ARCFACE_SIZE) -> CropGeometry:
    """Place ArcFace's crop: the similarity that brings the five points nearest to `ARCFACE_POINTS` (Umeyama 1991).

    The eyes' points are the centres of the six points of each eye. A larger `size` scales the published points.

    Args:
        size: side of the crop in pixels.

    Raises:
        InputError: another scheme than the 68 points, a size below 1, or five points in one place.
    """
    check_scheme(face.scheme, "ArcFace's crop")
    check_count("size", size)
    matrix = fit_similarity(five_points(face.landmarks), ARCFACE_POINTS * (size / ARCFACE_SIZE))
    return CropGeometry(matrix, CropSpec(size, float(size)))


def ffhq_geometry(face: Face, size: int = 1024) -> CropGeometry:
    """Place FFHQ's crop by the formula of NVIDIA's `ffhq-dataset` (Karras et al., CVPR 2019).

    With the vectors from eye to eye and from the eyes' middle to the mouth's, the square's half side x is along
    eye_to_eye - rot90(eye_to_mouth), as long as the larger of 2 |eye_to_eye| and 1.8 |eye_to_mouth|; its centre lies
    0.1 eye_to_mouth below the eyes' middle.

    Args:
        size: side of the crop in pixels.

    Raises:
        InputError: another scheme than the 68 points, a size below 1, or points without extent.
    """
    check_scheme(face.scheme, "FFHQ's crop")
    check_count("size", size)
    left, right = five_points(face.landmarks)[:2]
    middle, mouth = (left + right) / 2, face.landmarks[list(MOUTH_CORNERS)].mean(axis=0)
    across, down = right - left, mouth - middle
    side = across - down[::-1] * [-1, 1]
    length = float(np.hypot(*side))
    if length == 0:
        raise InputError.at("FFHQ's crop", "eyes and mouth apart from each other", "points without extent")
    side = side / length * max(np.hypot(*across) * 2.0, np.hypot(*down) * 1.8)
    below, center = side[::-1] * [-1, 1], middle + down * 0.1
    # A pixel u of the crop lies at 2 (u + 1/2) / size - 1 half sides from the centre.
    linear = np.column_stack([side, below]) * (2 / size)
    corner = center + linear @ np.full(2, 0.5 - size / 2)
    return CropGeometry(invert_affine(np.column_stack([linear, corner])), CropSpec(size, float(size)))

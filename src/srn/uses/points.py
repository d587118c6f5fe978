"""The points of the 68 that the uses name: lids, lips, and the five points of face recognition."""

from __future__ import annotations

from typing import NamedTuple

from srn.errors import InputError
from srn.face.geometry import Float64Array, FloatArray
from srn.face.scheme import IBUG_68, LandmarkScheme


class Opening(NamedTuple):
    """An eye or the inner lips: its two corners, and pairs of an upper and a lower point between them."""

    corners: tuple[int, int]
    pairs: tuple[tuple[int, int], ...]


def opening_of(outline: tuple[int, ...]) -> Opening:
    """Read an outline that begins in the left corner and runs over the upper side, as those of the 68 points do."""
    half = len(outline) // 2
    upper, lower = outline[1:half], outline[:half:-1]
    return Opening((outline[0], outline[half]), tuple(zip(upper, lower, strict=True)))


def check_scheme(scheme: LandmarkScheme, what: str) -> None:
    """Raise `InputError` unless the scheme is that of the 68 points."""
    if scheme is not IBUG_68:
        raise InputError.at(what, f"the points of {IBUG_68.name}", scheme.name)


_OUTER_LIPS, _INNER_LIPS = (points for component, points, closed in IBUG_68.contours if component == "mouth" and closed)

LEFT_EYE = opening_of(IBUG_68.part("left_eye"))
"""Left in the picture."""
RIGHT_EYE = opening_of(IBUG_68.part("right_eye"))
INNER_LIPS = opening_of(_INNER_LIPS)
MOUTH_CORNERS = opening_of(_OUTER_LIPS).corners
NOSE_TIP = next(points for component, points, _ in IBUG_68.contours if component == "nose")[-1]


def five_points(landmarks: FloatArray) -> Float64Array:
    """Return (5, 2) of (68, 2): the eyes' centres, the tip of the nose, the corners of the mouth; left ones first."""
    left, right = (landmarks[list(points)].mean(axis=0) for points in IBUG_68.eyes)
    rest = landmarks[[NOSE_TIP, *MOUTH_CORNERS]]
    five: Float64Array = rest.astype("float64")[[0, 0, 0, 1, 2]]
    five[0], five[1] = left, right
    return five

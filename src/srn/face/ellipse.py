"""The error model of a point with a direction: an ellipse of uncertainty, longer along an outline than across it.

The error vector e of a point has the density

    p(e) = exp(-sqrt(e' A^-1 e) / b) / (2 pi b^2 sqrt(det A)),    A = [[1 + d1, d2], [d2, 1 - d1]],

where b is half of the point's expected error and d = (d1, d2), |d| < 1, its *direction*. With d = 0 it is round, the
model of `confidence_from_error`. The radius sqrt(e' A^-1 e) / b has the density r exp(-r), whose second moment is 6. So
the covariance is 3 b^2 A. Its trace, the mean square of the error, is 6 b^2 whatever the direction: a direction says
where an error goes, not how large it is. The standard deviations are b sqrt(3 (1 + |d|)) at half the angle of d, and
b sqrt(3 (1 - |d|)) across.

A is linear in d, so covariances of points are averaged by averaging b^2 d.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import FloatArray

Direction = TypeVar("Direction", bound=FloatArray)

RADII = {0.5: 0.9690, 0.9: 2.2457}
"""Radius of the ellipse that holds a share of the errors, in standard deviations: with r = sqrt(3) times it, the share
is 1 - (1 + r) exp(-r). Normal errors would have 1.18 and 2.15."""


def covariance(expected_error: FloatArray, direction: FloatArray) -> FloatArray:
    """Return covariances (..., 2, 2) from expected errors (...), of any unit, and directions (..., 2)."""
    one, other = direction[..., 0], direction[..., 1]
    shape = np.stack([np.stack([1 + one, other], axis=-1), np.stack([other, 1 - one], axis=-1)], axis=-2)
    variance: FloatArray = 0.75 * np.square(expected_error)[..., None, None] * shape
    return variance


def rotated(direction: Direction, angle: FloatArray | float) -> Direction:
    """Return directions (..., 2) in a picture that is rotated by `angle` (radians, x to y): they turn by twice that."""
    cos, sin = np.cos(2 * np.asarray(angle)), np.sin(2 * np.asarray(angle))
    one, other = direction[..., 0], direction[..., 1]
    turned = np.stack([cos * one - sin * other, sin * one + cos * other], axis=-1)
    return turned.astype(direction.dtype)  # type: ignore[return-value]


def mirrored(direction: Direction) -> Direction:
    """Return directions (..., 2) in the mirrored picture, without a change of the points' order."""
    return direction * np.array([1, -1], direction.dtype)  # type: ignore[return-value]


def semi_axes(covariances: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return standard deviations (..., 2) along and across the long axis, and its angle (...): radians, x to y."""
    xx, xy, yy = covariances[..., 0, 0], covariances[..., 0, 1], covariances[..., 1, 1]
    mean, half = (xx + yy) / 2, np.hypot((xx - yy) / 2, xy)
    return np.sqrt(np.maximum(np.stack([mean + half, mean - half], axis=-1), 0)), np.arctan2(2 * xy, xx - yy) / 2


def are_covariances(matrices: FloatArray) -> bool:
    """Tell whether finite matrices (N, 2, 2) are symmetric and positive semi-definite, but for rounding to 4 digits."""
    if not np.isfinite(matrices).all() or not np.array_equal(matrices[:, 0, 1], matrices[:, 1, 0]):
        return False
    xx, xy, yy = entries(matrices.astype(np.float64)).T
    smaller = (xx + yy) / 2 - np.hypot((xx - yy) / 2, xy)  # eigenvalue
    return bool((smaller >= -1e-4 - 1e-6 * np.abs(xx + yy)).all())


def entries(matrices: FloatArray) -> FloatArray:
    """Return xx, xy and yy (N, 3) of symmetric matrices (N, 2, 2), as files hold them."""
    return matrices.reshape(-1, 4)[:, [0, 1, 3]]


def matrices(entries: Any) -> npt.NDArray[np.float32]:
    """Return the symmetric matrices (N, 2, 2) of xx, xy and yy (N, 3).

    Raises:
        InputError: they are not three numbers for each point.
    """
    with InputError.reading("covariance", "three numbers xx, xy, yy for each point"):
        values = np.array(entries, np.float64)
        if values.ndim != 2 or values.shape[1] != 3:
            raise ValueError(f"the shape {values.shape}")
    with np.errstate(over="ignore"):  # infinite values are named by who checks them
        return values[:, [0, 1, 1, 2]].reshape(-1, 2, 2).astype(np.float32)

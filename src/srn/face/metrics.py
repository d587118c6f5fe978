"""Metrics of the field. Errors are fractions (0.03 is 3 %); only printed tables show per cent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import FloatArray
from srn.face.scheme import LandmarkScheme

Float64Array = npt.NDArray[np.float64]


def interocular(target_shape: FloatArray, scheme: LandmarkScheme) -> float:
    """Distance in pixels between the outer eye corners of a shape (N, 2)."""
    left, right = scheme.eye_corners
    return float(np.linalg.norm(target_shape[left] - target_shape[right]))


def interpupil(target_shape: FloatArray, scheme: LandmarkScheme) -> float:
    """Distance in pixels between the two eye centres, each the mean of that eye's points."""
    left, right = (target_shape[list(points)].mean(axis=0) for points in scheme.eyes)
    return float(np.linalg.norm(left - right))


def bbox(target_shape: FloatArray, scheme: LandmarkScheme) -> float:
    """Geometric mean of the sides of the tight box, in pixels."""
    width, height = np.ptp(target_shape, axis=0)
    return float(np.sqrt(width * height))


def bbox_diagonal(target_shape: FloatArray, scheme: LandmarkScheme) -> float:
    """Diagonal of the tight box, in pixels."""
    return float(np.linalg.norm(np.ptp(target_shape, axis=0)))


NORMALIZERS: Mapping[str, Callable[[FloatArray, LandmarkScheme], float]] = MappingProxyType(
    {"interocular": interocular, "interpupil": interpupil, "bbox": bbox, "bbox-diagonal": bbox_diagonal}
)


def nme(shape: FloatArray, target_shape: FloatArray, normalizer: float) -> float:
    """Normalized mean error of one face: mean point-to-point distance over `normalizer` (pixels), a fraction."""
    if shape.shape != target_shape.shape:
        raise InputError.at("nme", f"a shape of {target_shape.shape}", str(shape.shape))
    return float(np.linalg.norm(shape - target_shape, axis=-1).mean() / normalizer)


def failure_rate(errors: FloatArray, threshold: float) -> float:
    """Share of faces whose error lies above `threshold`; a face without a prediction counts with an infinite error."""
    return float((~(np.asarray(errors) <= threshold)).mean())  # so that a NaN is a failure, too


def ced(errors: FloatArray, thresholds: FloatArray) -> Float64Array:
    """Cumulative error distribution: the share of faces with an error at most each threshold."""
    ordered = np.sort(np.asarray(errors, dtype=np.float64))
    return np.searchsorted(ordered, thresholds, side="right") / len(ordered)


def auc(errors: FloatArray, threshold: float) -> float:
    """Area under the cumulative error distribution from 0 to `threshold`, divided by `threshold`. Exact, no binning.

    Each face adds the stretch of the axis on which it already counts: max(0, threshold - error).
    """
    values = np.asarray(errors, dtype=np.float64)
    return float(np.clip(threshold - values, 0, None).mean() / threshold)

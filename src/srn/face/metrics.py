"""Metrics of landmark localization. Errors are fractions (0.03 is 3 %); printed tables show per cent."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import Float64Array, FloatArray
from srn.face.scheme import LandmarkScheme


def interocular(target_shape: FloatArray, scheme: LandmarkScheme) -> float:
    """Return the distance in pixels between the outer eye corners of a shape (N, 2)."""
    left, right = scheme.eye_corners
    return float(np.linalg.norm(target_shape[left] - target_shape[right]))


def interpupil(target_shape: FloatArray, scheme: LandmarkScheme) -> float:
    """Return the distance in pixels between the eye centres, each the mean of that eye's points."""
    left, right = (target_shape[list(points)].mean(axis=0) for points in scheme.eyes)
    return float(np.linalg.norm(left - right))


def bbox(target_shape: FloatArray, scheme: LandmarkScheme) -> float:
    """Return the geometric mean of the sides of the tight box, in pixels."""
    width, height = np.ptp(target_shape, axis=0)
    return float(np.sqrt(width * height))


def bbox_diagonal(target_shape: FloatArray, scheme: LandmarkScheme) -> float:
    """Return the diagonal of the tight box, in pixels."""
    return float(np.linalg.norm(np.ptp(target_shape, axis=0)))


NORMALIZERS: Mapping[str, Callable[[FloatArray, LandmarkScheme], float]] = MappingProxyType(
    {"interocular": interocular, "interpupil": interpupil, "bbox": bbox, "bbox-diagonal": bbox_diagonal}
)


def nme(shape: FloatArray, target_shape: FloatArray, normalizer: float) -> float:
    """Return the normalized mean error of one face: mean point-to-point distance over `normalizer`, both in pixels.

    Raises:
        InputError: the shapes differ in size.
    """
    if shape.shape != target_shape.shape:
        raise InputError.at("nme", f"a shape of {target_shape.shape}", str(shape.shape))
    return float(np.linalg.norm(shape - target_shape, axis=-1).mean() / normalizer)


def contour_directions(shape: FloatArray, scheme: LandmarkScheme) -> Float64Array:
    """Return the direction (N, 2) of the contour through each point of a shape (N, 2), of length 1.

    It is that from the point before to the point after; at an open end, that to the only neighbour. NaN for a point on
    no contour, and where neighbours coincide.
    """
    sums = np.zeros((scheme.n_points, 2))
    for _, indices, closed in scheme.contours:
        line = shape[list(indices)]
        steps = np.diff(line, axis=0, append=line[:1])  # from each point to the next
        if not closed:
            steps[-1] = 0
        # A point that ends one contour and begins another, as the chin does, has a neighbour on each.
        sums[list(indices)] += steps + np.roll(steps, 1, axis=0)
    with np.errstate(invalid="ignore"):
        return np.asarray(sums / np.linalg.norm(sums, axis=1, keepdims=True), np.float64)


def along_and_across(shape: FloatArray, target_shape: FloatArray, scheme: LandmarkScheme) -> Float64Array:
    """Return how far each point of a shape (N, 2) is off along and across the true contour: (N, 2), pixels, 0 or more.

    A point of the outline has no mark along it, so it is off along it more. NaN as in `contour_directions`.
    """
    direction, error = contour_directions(target_shape, scheme), shape - target_shape
    along = (error * direction).sum(axis=1)
    across = error[:, 1] * direction[:, 0] - error[:, 0] * direction[:, 1]
    return np.abs(np.stack([along, across], axis=1))


def failure_rate(errors: FloatArray, threshold: float) -> float:
    """Return the share of faces with an error above `threshold`; a face without a prediction has an infinite error."""
    return float((~(np.asarray(errors) <= threshold)).mean())  # a NaN is a failure, too


def ced(errors: FloatArray, thresholds: FloatArray) -> Float64Array:
    """Return the cumulative error distribution: the share of faces with an error of at most each threshold."""
    ordered = np.sort(np.asarray(errors, dtype=np.float64))
    return np.searchsorted(ordered, thresholds, side="right") / len(ordered)


def auc(errors: FloatArray, threshold: float) -> float:
    """Return the area under the cumulative error distribution from 0 to `threshold`, divided by `threshold`.

    The area is exact, without binning: each face contributes max(0, threshold - error).
    """
    values = np.asarray(errors, dtype=np.float64)
    return float(np.fmax(threshold - values, 0).mean() / threshold)  # a NaN is a failure, too


def average_precision(scores: FloatArray, positive: npt.NDArray[np.bool_]) -> float:
    """Return the area under the precision-recall step function, in (0, 1]; NaN without a positive.

    Equal scores (K,) share the precision of their last rank. `positive` (K,) are the true labels.
    """
    precision, recall = precision_recall(scores, positive)
    if len(recall) == 0:
        return float("nan")
    return float((np.diff(recall, prepend=0.0) * precision).sum())


def recall_at_precision(scores: FloatArray, positive: npt.NDArray[np.bool_], precision: float = 0.8) -> float:
    """Return the largest recall at a precision of at least `precision` (table 1: 80 %); NaN without a positive.

    It is 0 if no threshold reaches the precision.
    """
    precisions, recalls = precision_recall(scores, positive)
    if len(recalls) == 0:
        return float("nan")
    return float(recalls[precisions >= precision].max(initial=0.0))


def roc_auc(scores: FloatArray, positive: npt.NDArray[np.bool_]) -> float:
    """Return the probability that a positive has a higher score than a negative, equal scores counting half.

    This is the area under the ROC curve. `positive` (K,) are the true labels; NaN unless there are both.
    """
    positive = np.asarray(positive, dtype=bool)
    count, others = int(positive.sum()), int((~positive).sum())
    if count == 0 or others == 0:
        return float("nan")
    _, place, equal = np.unique(np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(equal) - (equal - 1) / 2)[place]  # equal scores share the mean of their ranks
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))


def precision_recall(scores: FloatArray, positive: npt.NDArray[np.bool_]) -> tuple[Float64Array, Float64Array]:
    """Return precision and recall at every distinct threshold, the highest first; empty without a positive."""
    scores, positive = np.asarray(scores, dtype=np.float64), np.asarray(positive, dtype=bool)
    if not positive.any():
        return np.zeros(0), np.zeros(0)
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last_of_ties = np.append(ranked[1:] != ranked[:-1], True)
    hits = np.cumsum(positive[order])[last_of_ties]
    taken = np.flatnonzero(last_of_ties) + 1
    return hits / taken, hits / positive.sum()


def reliability(
    confidence: FloatArray, correct: npt.NDArray[np.bool_], bins: int = 10
) -> tuple[Float64Array, Float64Array, npt.NDArray[np.int64]]:
    """Compare predicted with observed accuracy in equal bins of confidence over [0, 1].

    Returns:
        Mean confidence, share correct and count of each bin; NaN in the first two for empty bins.
    """
    confidence = np.asarray(confidence, dtype=np.float64)
    index = np.clip((confidence * bins).astype(int), 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(index, weights=confidence, minlength=bins) / count
        share = np.bincount(index, weights=np.asarray(correct, dtype=np.float64), minlength=bins) / count
    return mean, share, count


def expected_calibration_error(confidence: FloatArray, correct: npt.NDArray[np.bool_]) -> float:
    """Return the mean distance between confidence and share correct over the bins of `reliability`, by their counts."""
    mean, share, count = reliability(confidence, correct)
    filled = count > 0
    return float((np.abs(mean - share)[filled] * count[filled]).sum() / count.sum())


def clip_nme(shapes: FloatArray, target_shapes: FloatArray, normalizers: FloatArray) -> float:
    """Return the normalized mean error over a clip's frames, without those that have no prediction (NaN).

    Args:
        shapes: (T, N, 2) predicted, pixels, consecutive frames; NaN for a frame without a prediction.
        target_shapes: (T, N, 2) true, pixels.
        normalizers: (T,) pixels.
    """
    _check_clip("clip_nme", shapes, target_shapes, normalizers)
    errors = np.linalg.norm(shapes - target_shapes, axis=-1).mean(axis=1) / normalizers
    return _mean_of_known(errors)


def jitter(shapes: FloatArray, target_shapes: FloatArray, normalizers: FloatArray) -> float:
    """Return the mean acceleration of the error, |e(t+1) - 2 e(t) + e(t-1)| over the normalizer; see `clip_nme`.

    The error e is prediction minus truth. Neither motion of the face nor a constant or evenly drifting error counts.
    Only three consecutive frames with predictions contribute; NaN without any.
    """
    _check_clip("jitter", shapes, target_shapes, normalizers)
    error = shapes - target_shapes
    acceleration = np.linalg.norm(error[2:] - 2 * error[1:-1] + error[:-2], axis=-1).mean(axis=1)
    return _mean_of_known(acceleration / normalizers[1:-1])


def flicker(shapes: FloatArray, target_shapes: FloatArray, normalizers: FloatArray, still: float = 0.002) -> float:
    """Return the mean motion of predicted points between frames while the face is still, over the normalizer.

    A face is still if the mean motion of its true points is at most the share `still` of the normalizer. The other
    arguments are those of `clip_nme`; NaN if the face is never still.
    """
    _check_clip("flicker", shapes, target_shapes, normalizers)
    size = normalizers[1:]
    motion = np.linalg.norm(np.diff(target_shapes, axis=0), axis=-1).mean(axis=1) / size
    jumps = np.linalg.norm(np.diff(shapes, axis=0), axis=-1).mean(axis=1) / size
    return _mean_of_known(jumps[motion <= still])


def _check_clip(name: str, shapes: FloatArray, target_shapes: FloatArray, normalizers: FloatArray) -> None:
    if shapes.ndim != 3 or shapes.shape != target_shapes.shape or normalizers.shape != shapes.shape[:1]:
        found = f"{shapes.shape}, {target_shapes.shape} and {normalizers.shape}"
        raise InputError.at(name, "two clips (T, N, 2) and normalizers (T,)", found)


def _mean_of_known(values: FloatArray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")

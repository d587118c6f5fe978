"""The results of an evaluation: errors by face, and the numbers that follow from them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.evaluation.statistics import ErrorIntervals, PairedComparison, compare_errors, error_intervals, finite_or_none
from srn.face import metrics
from srn.face.scheme import LandmarkScheme
from srn.files import write_json

Initialization = Literal["gt-box", "finder", "bbs"]
"""Source of the face box: the annotation's tight box, the face finder, or the dataset's own detector (`bbs/`)."""

FAILURE_THRESHOLD = 0.08
"""The threshold of the paper's failure rates (table 3)."""

CONFIDENT_WITHIN = 0.03
"""Confidence is the probability of an error below this share of the face's size (`Box.size`)."""


@dataclass(frozen=True)
class FaceResult:
    """One face of an evaluation.

    Attributes:
        path: the picture.
        subset: name of the face's subset.
        nme: error, a fraction of the normalizer; infinite for a face that was not found.
        mean_shape_nme: error of the mean shape in the same box; infinite likewise.
        landmarks: (N, 2) prediction, picture pixels; None for a face that was not found.
        point_errors: (N,) distances to the truth, fractions of the normalizer; None likewise.
        near: (N,) whether each error is below `CONFIDENT_WITHIN` of the face's size; None likewise.
        visibility, confidence: (N,) predictions; None if the weights have no such output.
        occluded: (N,) truth; None if the dataset has no occlusion flags.
        target_landmarks: (N, 2) truth, picture pixels.
        attributes: the dataset's labels of the face.
    """

    path: Path
    subset: str
    nme: float
    mean_shape_nme: float
    landmarks: npt.NDArray[np.float64] | None = None
    point_errors: npt.NDArray[np.float64] | None = None
    near: npt.NDArray[np.bool_] | None = None
    visibility: npt.NDArray[np.float32] | None = None
    confidence: npt.NDArray[np.float32] | None = None
    occluded: npt.NDArray[np.bool_] | None = None
    target_landmarks: npt.NDArray[np.float64] | None = None
    attributes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Evaluation:
    """The results of a set of faces. Numbers are fractions.

    Attributes:
        results: one result per face.
        normalizer: name of the length that errors are divided by, one of `metrics.NORMALIZERS`.
        init: source of the face boxes.
        weights: name of the weights.
        problems: one line for each unreadable picture; these are in none of the numbers.
        scheme: landmark scheme, needed for the numbers by component.
        threshold: larger errors are failures; the area under the curve ends there.
    """

    results: tuple[FaceResult, ...]
    normalizer: str
    init: Initialization
    weights: str
    problems: tuple[str, ...] = ()
    scheme: LandmarkScheme | None = None
    threshold: float = FAILURE_THRESHOLD

    @property
    def errors(self) -> npt.NDArray[np.float64]:
        """(F,) error of every face, infinite for a face that was not found."""
        return np.array([result.nme for result in self.results])

    @property
    def missed(self) -> int:
        """Number of faces that were not found."""
        return int(np.isinf(self.errors).sum())

    @property
    def nme(self) -> float:
        """Mean error of the faces found. Failure rate and area under the curve include the missed ones."""
        return _finite_mean(self.errors)

    @property
    def mean_shape_nme(self) -> float:
        """Mean error of the mean shape in the same boxes: the baseline."""
        return _finite_mean(np.array([result.mean_shape_nme for result in self.results]))

    @property
    def subsets(self) -> tuple[str, ...]:
        """Names of the subsets, in order of appearance."""
        return tuple(dict.fromkeys(result.subset for result in self.results))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of all attributes, sorted."""
        return tuple(sorted({name for result in self.results for name in result.attributes}))

    def subset(self, *names: str) -> Evaluation:
        """Return the faces of one or more subsets."""
        return self._part(result for result in self.results if result.subset in names)

    def parts(self) -> dict[str, Evaluation]:
        """Return every subset by name and, if there are several, `all`."""
        parts = {name: self.subset(name) for name in self.subsets}
        return {**parts, "all": self} if len(parts) > 1 else parts

    def with_attribute(self, name: str) -> Evaluation:
        """Return the faces with an attribute."""
        return self._part(result for result in self.results if name in result.attributes)

    def _part(self, results: Iterable[FaceResult]) -> Evaluation:
        return replace(self, results=tuple(results), problems=())

    def by(self, normalizer: str) -> Evaluation:
        """Return the same predictions with errors divided by another of `metrics.NORMALIZERS`.

        Raises:
            InputError: unknown normalizer, or results without the true points.
        """
        check_normalizer(normalizer)
        if normalizer == self.normalizer:
            return self
        if self.scheme is None or any(result.target_landmarks is None for result in self.results):
            raise InputError.at("normalizer", f"{self.normalizer}, which these results were measured by", normalizer)
        results = tuple(_by(result, self.scheme, self.normalizer, normalizer) for result in self.results)
        return replace(self, results=results, normalizer=normalizer)

    def summary(self) -> dict[str, Any]:
        """Return `n`, `missed`, `nme`, `mean_shape_nme`, `failure_rate`, `auc`."""
        return {
            "n": len(self.results),
            "missed": self.missed,
            "nme": finite_or_none(self.nme),
            "mean_shape_nme": finite_or_none(self.mean_shape_nme),
            "failure_rate": metrics.failure_rate(self.errors, self.threshold),
            "auc": metrics.auc(self.errors, self.threshold),
        }

    def intervals(self, *, seed: int = 0) -> ErrorIntervals:
        """Compute bootstrap 95 % intervals of NME, failure rate and AUC."""
        return error_intervals(self.errors, self.threshold, seed=seed)

    def component_summary(self) -> dict[str, dict[str, float | int]] | None:
        """Compute the mean error of each facial component over the faces found.

        Returns:
            By component: `points` (their number), `nme` and, if occlusion is annotated, `nme_visible` and
            `nme_occluded`. Components without points in the scheme are left out. None without a scheme or a face.
        """
        chosen = [r for r in self.results if r.point_errors is not None]
        if self.scheme is None or not chosen:
            return None
        errors = np.stack([r.point_errors for r in chosen if r.point_errors is not None])
        annotated = np.array([r.occluded is not None for r in chosen])
        hidden = np.array([np.zeros(errors.shape[1], bool) if r.occluded is None else r.occluded for r in chosen])
        summary: dict[str, dict[str, float | int]] = {}
        for name, points in self.scheme.components.items():
            if not points:
                continue
            part, index = errors[:, list(points)], list(points)
            summary[name] = {"points": len(points), "nme": float(part.mean())}
            for key, mask in (("nme_visible", ~hidden), ("nme_occluded", hidden)):
                values = part[annotated][mask[annotated][:, index]]
                if len(values):
                    summary[name][key] = float(values.mean())
        return summary

    def attribute_summary(self) -> dict[str, dict[str, Any]] | None:
        """Return `summary` of the faces with each attribute (WFLW: `pose`, `occlusion`, ...); None without any."""
        return {name: self.with_attribute(name).summary() for name in self.attributes} or None

    def visibility_summary(self) -> dict[str, float | int] | None:
        """Measure the flag "occluded" over all points of the faces with annotated occlusion (table 1).

        Returns:
            `points`, `occluded_share`, `recall_at_80_precision`, `average_precision`, and the mean errors
            `nme_visible` and `nme_occluded`. None unless there are both visible and occluded points.
        """
        chosen = [r for r in self.results if r.visibility is not None and r.occluded is not None]
        if not chosen:
            return None
        scores = np.concatenate([1 - r.visibility for r in chosen if r.visibility is not None])
        occluded = np.concatenate([r.occluded for r in chosen if r.occluded is not None])
        if occluded.all() or not occluded.any():
            return None
        errors = np.concatenate([r.point_errors for r in chosen if r.point_errors is not None])
        return {
            "points": len(occluded),
            "occluded_share": float(occluded.mean()),
            "recall_at_80_precision": metrics.recall_at_precision(scores, occluded),
            "average_precision": metrics.average_precision(scores, occluded),
            "nme_visible": float(errors[~occluded].mean()),
            "nme_occluded": float(errors[occluded].mean()),
        }

    def confidence_points(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]] | None:
        """Return each point's confidence and whether it is near the truth; None if the weights have no confidence."""
        chosen = [r for r in self.results if r.confidence is not None and r.near is not None]
        if not chosen:
            return None
        confidence = np.concatenate([r.confidence for r in chosen if r.confidence is not None])
        return confidence, np.concatenate([r.near for r in chosen if r.near is not None])

    def confidence_summary(self) -> dict[str, Any] | None:
        """Return the expected calibration error of the confidence, and its reliability curve."""
        points = self.confidence_points()
        if points is None:
            return None
        mean, share, count = metrics.reliability(*points)
        filled = count > 0
        return {
            "expected_calibration_error": metrics.expected_calibration_error(*points),
            "confidence": mean[filled].tolist(),
            "observed": share[filled].tolist(),
            "points": count[filled].tolist(),
        }

    def to_dict(self, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the content of `srn evaluate --json`. A missed face has the error null."""
        return {
            **self.summary(),
            "threshold": self.threshold,
            "normalizer": self.normalizer,
            "init": self.init,
            "weights": self.weights,
            **(settings or {}),
            "intervals": self.intervals().to_dict() if self.results else None,
            "components": self.component_summary(),
            "attributes": self.attribute_summary(),
            "visibility": self.visibility_summary(),
            "confidence": self.confidence_summary(),
            "subsets": {name: self.subset(name).summary() for name in self.subsets},
            "per_image": [
                {"path": r.path.as_posix(), "subset": r.subset, "nme": finite_or_none(r.nme)} for r in self.results
            ],
        }


def check_normalizer(name: str) -> None:
    """Raise an `InputError` unless `name` is one of `metrics.NORMALIZERS`."""
    if name not in metrics.NORMALIZERS:
        raise InputError.at("normalizer", f"one of {', '.join(metrics.NORMALIZERS)}", repr(name))


def _finite_mean(values: npt.NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _by(result: FaceResult, scheme: LandmarkScheme, old: str, new: str) -> FaceResult:
    """Divide one face's errors by another length."""
    target = result.target_landmarks
    if target is None or result.landmarks is None:  # the error of a missed face is infinite by any length
        return result
    size = metrics.NORMALIZERS[new](target, scheme)
    return replace(
        result,
        nme=metrics.nme(result.landmarks, target, size),
        mean_shape_nme=result.mean_shape_nme * metrics.NORMALIZERS[old](target, scheme) / size,
        point_errors=np.linalg.norm(result.landmarks - target, axis=-1) / size,
    )


def write_evaluation(
    path: str | os.PathLike[str],
    evaluation: Evaluation,
    settings: Mapping[str, Any] | None = None,
    other: Evaluation | None = None,
) -> None:
    """Write an evaluation as JSON.

    Args:
        path: the file.
        evaluation: the results.
        settings: further options of the evaluation.
        other: an evaluation of the same faces to compare with.

    Raises:
        InputError: the file cannot be written, or the evaluations cannot be compared.
    """
    compared: dict[str, Any] = {}
    if other is not None:
        pair = compare_evaluations(other, evaluation)
        compared["compared_with"] = {"weights": other.weights, **other.summary(), **pair.to_dict()}
    write_json(path, evaluation.to_dict({**(settings or {}), **compared}))


def compare_evaluations(first: Evaluation, second: Evaluation, *, seed: int = 0) -> PairedComparison:
    """Compare two evaluations of the same faces, e.g. with other weights or boxes, or a set and its masked version.

    Faces are paired by picture name and subset; faces without a partner are left out.

    Raises:
        InputError: different normalizers, or no face in common.
    """
    if first.normalizer != second.normalizer:
        raise InputError.at("paired comparison", f"errors by {first.normalizer}", f"by {second.normalizer}")
    ours, theirs = _errors_by_face(first), _errors_by_face(second)
    common = [key for key in ours if key in theirs]
    if not common:
        raise InputError.at("paired comparison", "evaluations of the same faces", "no face in common")
    return compare_errors(np.array([ours[key] for key in common]), np.array([theirs[key] for key in common]), seed=seed)


def _errors_by_face(evaluation: Evaluation) -> dict[tuple[str, str, int], float]:
    """Errors by subset, picture name, and the face's number within that picture."""
    errors: dict[tuple[str, str, int], float] = {}
    for result in evaluation.results:
        number = 0
        while (key := (result.subset, result.path.stem, number)) in errors:
            number += 1
        errors[key] = result.nme
    return errors

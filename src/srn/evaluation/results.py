"""The results of an evaluation: errors by face, and the numbers that follow from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.evaluation.statistics import ErrorIntervals, PairedComparison, compare_errors, error_intervals, finite_or_none
from srn.face import metrics
from srn.face.scheme import LandmarkScheme

Initialization = Literal["gt-box", "finder", "bbs"]
"""Source of the face box: the annotation's tight box, the face finder, or the dataset's own detector (`bbs/`)."""

Origin = Initialization | Literal["predictions"]
"""Where the points of an evaluation began: a face box, or a file of another tool's predictions."""

FAILURE_THRESHOLD = 0.08
"""The threshold of the paper's failure rates (table 3)."""

ERROR_BINS = (0.03, 0.05, 0.08)
"""Bounds of the bins of the faces' errors in `Evaluation.confidence_summary`."""

CONFIDENT_WITHIN = 0.03
"""Confidence is the probability of an error below this share of the face's size (`Box.size`)."""


@dataclass(frozen=True)
class FaceResult:
    """One face of an evaluation.

    Errors are fractions of the normalizer. A face that was not found has infinite errors and no prediction.

    Attributes:
        mean_shape_nme: error of the mean shape in the same box.
        landmarks: (N, 2) prediction, picture pixels.
        point_errors: (N,) distances to the truth.
        near: (N,) whether each error is below `CONFIDENT_WITHIN` of the face's size.
        visibility, confidence: (N,) predictions; None if the weights have no such output.
        occluded: (N,) truth; None if the dataset has no occlusion flags.
        target_landmarks: (N, 2) truth, picture pixels.
        attributes: the dataset's labels of the face.
        video: the video that the picture is a frame of.
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
    video: str | None = None


@dataclass(frozen=True)
class Evaluation:
    """The results of a set of faces. Numbers are fractions.

    Attributes:
        normalizer: name of the length that errors are divided by, one of `metrics.NORMALIZERS`.
        problems: one line for each unreadable picture; these are in none of the numbers.
        scheme: landmark scheme, needed for the numbers by component.
        threshold: larger errors are failures; the area under the curve ends there.
    """

    results: tuple[FaceResult, ...]
    normalizer: str
    init: Origin
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
        """Names, in order of appearance."""
        return tuple(dict.fromkeys(result.subset for result in self.results))

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names, sorted."""
        return tuple(sorted({name for result in self.results for name in result.attributes}))

    def subset(self, *names: str) -> Evaluation:
        """Return the faces of one or more subsets."""
        return self._where(lambda result: result.subset in names)

    def parts(self) -> dict[str, Evaluation]:
        """Return every subset by name and, if there are several, `all`."""
        parts = {name: self.subset(name) for name in self.subsets}
        return {**parts, "all": self} if len(parts) > 1 else parts

    def with_attribute(self, name: str) -> Evaluation:
        """Return the faces with an attribute."""
        return self._where(lambda result: name in result.attributes)

    def _where(self, chosen: Callable[[FaceResult], bool]) -> Evaluation:
        return replace(self, results=tuple(filter(chosen, self.results)), problems=())

    def stacked(self, *names: str) -> list[npt.NDArray[Any]] | None:
        """Stack per-point entries of the faces that have all of them, (F, N, ...) each; None without such a face."""
        values = [[getattr(result, name) for name in names] for result in self.results]
        known = [entries for entries in values if all(entry is not None for entry in entries)]
        return [np.stack(entries) for entries in zip(*known, strict=True)] or None

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

    def intervals(self) -> ErrorIntervals:
        """Compute bootstrap 95 % intervals of NME, failure rate and AUC over faces, or videos (`video_numbers`)."""
        return error_intervals(self.errors, self.threshold, clusters=video_numbers(self.results))

    def component_summary(self) -> dict[str, dict[str, float | int]] | None:
        """Compute the mean error of each facial component over the faces found.

        Returns:
            By component: `points` (their number), `nme`, the parts `along` and `across` its contours (mean distances as
            of `metrics.along_and_across`; not without contours or true points) and, if occlusion is annotated,
            `nme_visible` and `nme_occluded`. Components without points in the scheme are left out. None without a
            scheme or a face.
        """
        every, annotated = self.stacked("point_errors"), self.stacked("point_errors", "occluded")
        if self.scheme is None or every is None:
            return None
        summary: dict[str, dict[str, float | int]] = {}
        directed = self._along_and_across()
        for name, points in self.scheme.components.items():
            if not points:
                continue
            summary[name] = {"points": len(points), "nme": float(every[0][:, list(points)].mean())}
            if directed is not None and (known := np.isfinite(directed[:, list(points), 0])).any():
                along, across = directed[:, list(points)][known].mean(axis=0).tolist()
                summary[name] |= {"along": along, "across": across}
            if annotated is not None:
                errors, hidden = (part[:, list(points)] for part in annotated)
                for key, mask in (("nme_visible", ~hidden), ("nme_occluded", hidden)):
                    if mask.any():
                        summary[name][key] = float(errors[mask].mean())
        return summary

    def outline_summary(self) -> dict[str, float] | None:
        """Return the mean errors `along` and `across` the outline of the faces found; None where it has no contour."""
        directed = self._along_and_across()
        if directed is None or self.scheme is None:
            return None
        outline = directed[:, list(self.scheme.part("jaw"))]
        known = outline[np.isfinite(outline[..., 0])]
        return dict(zip(("along", "across"), known.mean(axis=0).tolist(), strict=True)) if len(known) else None

    def _along_and_across(self) -> npt.NDArray[np.float64] | None:
        """Return `metrics.along_and_across` of the faces found, (F, N, 2), over the normalizer; None without any."""
        stacked = self.stacked("landmarks", "target_landmarks")
        if stacked is None or self.scheme is None:
            return None
        size = metrics.NORMALIZERS[self.normalizer]
        pairs = list(zip(*stacked, strict=True))
        scheme = self.scheme
        return np.stack([metrics.along_and_across(p, t, scheme) / size(t, scheme) for p, t in pairs])

    def attribute_summary(self) -> dict[str, dict[str, Any]] | None:
        """Return `summary` of the faces with each attribute (WFLW: `pose`, `occlusion`, ...); None without any."""
        return {name: self.with_attribute(name).summary() for name in self.attributes} or None

    def visibility_summary(self) -> dict[str, Any] | None:
        """Measure the flag "occluded" over all points of the faces with annotated occlusion (table 1).

        Returns:
            `points`, `occluded_share`; `recall_at_80_precision`, `average_precision` and `roc_auc` of the flag; under
            `prior` the same of a flag that sees no picture: the share of the *other* faces in which the landmark is
            occluded; the mean errors `nme_visible` and `nme_occluded`. None unless there are both kinds of points.
        """
        stacked = self.stacked("visibility", "occluded", "point_errors")
        if stacked is None:
            return None
        visibility, occluded, errors = stacked
        if occluded.all() or not occluded.any():
            return None
        others = occluded.sum(axis=0) - occluded
        return {
            "points": occluded.size,
            "occluded_share": float(occluded.mean()),
            **_flag_summary(1 - visibility, occluded),
            "prior": _flag_summary(others / max(len(occluded) - 1, 1), occluded),
            "nme_visible": float(errors[~occluded].mean()),
            "nme_occluded": float(errors[occluded].mean()),
        }

    def confidence_summary(self) -> dict[str, Any] | None:
        """Measure how well the confidence foretells errors below `CONFIDENT_WITHIN`; None without a confidence.

        Returns:
            `expected_calibration_error`; its reliability curve as `confidence`, `observed` and `points` of each filled
            bin; and under `by_error`, for the faces between two of `ERROR_BINS`, their number, mean confidence and
            the observed share of near points. A face's error is not known in use: the bins show on which faces a
            confidence that is right on average is too high.
        """
        stacked = self.stacked("confidence", "near", "point_errors")
        if stacked is None:
            return None
        points = (stacked[0].ravel(), stacked[1].ravel())
        mean, share, count = metrics.reliability(*points)
        filled = count > 0
        return {
            "expected_calibration_error": metrics.expected_calibration_error(*points),
            "confidence": mean[filled].tolist(),
            "observed": share[filled].tolist(),
            "points": count[filled].tolist(),
            "by_error": _confidence_by_error(*stacked),
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
            "outline": self.outline_summary(),
            "attributes": self.attribute_summary(),
            "visibility": self.visibility_summary(),
            "confidence": self.confidence_summary(),
            "subsets": {name: self.subset(name).summary() for name in self.subsets},
            "per_image": [
                {"path": r.path.as_posix(), "subset": r.subset, "nme": finite_or_none(r.nme)} for r in self.results
            ],
        }


def _flag_summary(scores: npt.NDArray[np.floating], occluded: npt.NDArray[np.bool_]) -> dict[str, float]:
    flat = (scores.ravel().astype(np.float64), occluded.ravel())
    return {
        "recall_at_80_precision": metrics.recall_at_precision(*flat),
        "average_precision": metrics.average_precision(*flat),
        "roc_auc": metrics.roc_auc(*flat),
    }


def _confidence_by_error(
    confidence: npt.NDArray[np.floating], near: npt.NDArray[np.bool_], errors: npt.NDArray[np.floating]
) -> list[dict[str, float | int]]:
    """Summarize (F, N) confidences and observations for the faces of each bin of the face's error."""
    bin_of = np.digitize(errors.mean(axis=1), ERROR_BINS)
    return [
        {
            "error_from": float((0.0, *ERROR_BINS)[number]),
            "faces": int((bin_of == number).sum()),
            "confidence": float(confidence[bin_of == number].mean()),
            "observed": float(near[bin_of == number].mean()),
        }
        for number in np.unique(bin_of).tolist()
    ]


def video_numbers(results: Sequence[FaceResult]) -> npt.NDArray[np.int64] | None:
    """Number the videos that faces belong to, (F,), each picture as one of its own; None without a video."""
    if all(result.video is None for result in results):
        return None
    numbers: dict[str | int, int] = {}
    units = [index if result.video is None else result.video for index, result in enumerate(results)]
    return np.array([numbers.setdefault(unit, len(numbers)) for unit in units])


def check_normalizer(name: str) -> None:
    """Raise an `InputError` unless `name` is one of `metrics.NORMALIZERS`."""
    if name not in metrics.NORMALIZERS:
        raise InputError.at("normalizer", f"one of {', '.join(metrics.NORMALIZERS)}", repr(name))


def _finite_mean(values: npt.NDArray[np.float64]) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _by(result: FaceResult, scheme: LandmarkScheme, old: str, new: str) -> FaceResult:
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


def unique(names: Sequence[str]) -> list[str]:
    """Number the later ones of equal names."""
    return [name if name not in names[:k] else f"{name} ({k + 1})" for k, name in enumerate(names)]


def by_weights(*evaluations: Evaluation | None) -> dict[str, Evaluation]:
    """Return evaluations by the names of their weights, of equal names the later numbered. None is left out."""
    known = [one for one in evaluations if one is not None]
    return dict(zip(unique([one.weights for one in known]), known, strict=True))


def compare_evaluations(first: Evaluation, second: Evaluation) -> PairedComparison:
    """Compare two evaluations of the same faces, e.g. with other weights or boxes, or a set and its masked version.

    Faces are paired by picture name and subset; faces without a partner are left out. For interval and p, the
    frames of a video are one (`video_numbers`).

    Raises:
        InputError: different normalizers, or no face in common.
    """
    if first.normalizer != second.normalizer:
        raise InputError.at("paired comparison", f"errors by {first.normalizer}", f"by {second.normalizer}")
    ours, theirs = _by_face(first), _by_face(second)
    common = [(result, theirs[key]) for key, result in ours.items() if key in theirs]
    if not common:
        raise InputError.at("paired comparison", "evaluations of the same faces", "no face in common")
    errors = np.array([[one.nme, other.nme] for one, other in common])
    return compare_errors(errors[:, 0], errors[:, 1], clusters=video_numbers([one for one, _ in common]))


def _by_face(evaluation: Evaluation) -> dict[tuple[str, str, int], FaceResult]:
    """Results by subset, picture name, and the face's number within that picture."""
    counts: Counter[tuple[str, str]] = Counter()
    found = {}
    for result in evaluation.results:
        name = (result.subset, result.path.stem)
        found[*name, counts[name]] = result
        counts[name] += 1
    return found

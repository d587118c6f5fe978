"""Measuring a landmarker on annotated faces."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from srn.datasets.catalogue import read_dataset, recognize
from srn.datasets.manifest import read_visible
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import FULL_SUBSETS, ReadingReport, read_annotated_folder
from srn.errors import DataError, InputError
from srn.evaluation.statistics import ErrorIntervals, PairedComparison, compare_errors, error_intervals
from srn.face import metrics
from srn.face.geometry import Box, CropGeometry, ImageArray
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.inference.landmarker import FaceLandmarker

Initialization = Literal["gt-box", "finder", "bbs"]

FAILURE_THRESHOLD = 0.08
"""The threshold of the paper's failure rates (table 3)."""

CONFIDENT_WITHIN = 0.03
"""A point's confidence is the probability that it is off by less than this share of the face's size (`Box.size`)."""

MINIMAL_OVERLAP = 0.4
"""A found face belongs to an annotated one where their boxes overlap by this much (intersection over union)."""


@dataclass(frozen=True)
class FaceResult:
    """One face of an evaluation.

    Attributes:
        path: the picture.
        subset: where it belongs.
        nme: error, a fraction of the normalizer; infinite where the face was not found.
        mean_shape_nme: error of the mean shape alone in the same box; infinite likewise.
        landmarks: (N, 2) prediction, picture pixels; None where the face was not found.
        point_errors: (N,) distances to the truth over the normalizer; None likewise.
        near: (N,) whether the point lies within `CONFIDENT_WITHIN` of the face's size of the truth; None likewise.
        visibility, confidence: (N,) as predicted; None where the weights do not say.
        occluded: (N,) truth, where the dataset has it.
        target_landmarks: (N, 2) truth, picture pixels.
        attributes: what the dataset says of the face.
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
    """Results of a set of faces. Numbers are fractions."""

    results: tuple[FaceResult, ...]
    normalizer: str
    init: Initialization
    weights: str
    problems: tuple[str, ...] = ()
    """One line for each picture that could not be read; it is in none of the numbers."""
    scheme: LandmarkScheme | None = None
    """Numbering of the landmarks: what the numbers by component need."""
    threshold: float = FAILURE_THRESHOLD
    """Errors above it are failures; the area under the curve reaches up to it."""

    @property
    def errors(self) -> npt.NDArray[np.float64]:
        """(F,): the error of every face, infinite where it was not found."""
        return np.array([result.nme for result in self.results])

    @property
    def missed(self) -> int:
        """Faces that were not found."""
        return int(np.isinf(self.errors).sum())

    @property
    def nme(self) -> float:
        """Mean error of the faces found. The failure rate and the area under the curve count the missed ones too."""
        found = self.errors[np.isfinite(self.errors)]
        return float(found.mean()) if len(found) else float("nan")

    @property
    def mean_shape_nme(self) -> float:
        """Mean error of the mean shape laid into the same boxes: the zero line."""
        errors = np.array([result.mean_shape_nme for result in self.results])
        found = errors[np.isfinite(errors)]
        return float(found.mean()) if len(found) else float("nan")

    def subset(self, *names: str) -> Evaluation:
        """The part that belongs to one subset, or to several."""
        return self._part(result for result in self.results if result.subset in names)

    def with_attribute(self, name: str) -> Evaluation:
        """The faces that the dataset gives an attribute."""
        return self._part(result for result in self.results if name in result.attributes)

    def _part(self, results: Iterable[FaceResult]) -> Evaluation:
        return replace(self, results=tuple(results), problems=())

    @property
    def attributes(self) -> tuple[str, ...]:
        """Attributes that any face has, sorted."""
        return tuple(sorted({name for result in self.results for name in result.attributes}))

    def by(self, normalizer: str) -> Evaluation:
        """The same predictions, with errors divided by another of `metrics.NORMALIZERS`.

        Raises:
            InputError: unknown normalizer, or results that do not carry the truth.
        """
        _check_normalizer(normalizer)
        if normalizer == self.normalizer:
            return self
        if self.scheme is None or any(result.target_landmarks is None for result in self.results):
            raise InputError.at("normalizer", f"{self.normalizer}, which these results were measured by", normalizer)
        return replace(
            self,
            results=tuple(_by(result, self.scheme, self.normalizer, normalizer) for result in self.results),
            normalizer=normalizer,
        )

    @property
    def subsets(self) -> tuple[str, ...]:
        """Names of the subsets, in order of appearance."""
        return tuple(dict.fromkeys(result.subset for result in self.results))

    def summary(self) -> dict[str, Any]:
        """`n`, `missed`, `nme`, `mean_shape_nme`, `failure_rate`, `auc`."""

        def finite(value: float) -> float | None:
            return value if np.isfinite(value) else None

        return {
            "n": len(self.results),
            "missed": self.missed,
            "nme": finite(self.nme),
            "mean_shape_nme": finite(self.mean_shape_nme),
            "failure_rate": metrics.failure_rate(self.errors, self.threshold),
            "auc": metrics.auc(self.errors, self.threshold),
        }

    def intervals(self, *, seed: int = 0) -> ErrorIntervals:
        """Bootstrap 95 % intervals of NME, failure rate and AUC."""
        return error_intervals(self.errors, self.threshold, seed=seed)

    def component_summary(self) -> dict[str, dict[str, float | int]] | None:
        """The mean error of each facial component's points, over the faces found, and the number of its points.

        Where occlusion is annotated, `nme_visible` and `nme_occluded` too, as far as there are such points. None
        without a face found or a scheme. A component without points (COFW's right cheek) is left out.
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
        """`summary` of the faces with each attribute (WFLW: `pose`, `occlusion`, ...); None where no face has any."""
        return {name: self.with_attribute(name).summary() for name in self.attributes} or None

    def visibility_summary(self) -> dict[str, float | int] | None:
        """How well hidden points are told from seen ones, over all points of the faces whose occlusion is annotated.

        `recall_at_80_precision` and `average_precision` of the flag "occluded" (table 1), and the NME of seen and of
        hidden points apart. None where the truth is not known, or knows seen points or hidden ones only.
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
        """Confidence of every point, and whether it was near enough to the truth; None where the weights do not say."""
        chosen = [r for r in self.results if r.confidence is not None and r.near is not None]
        if not chosen:
            return None
        confidence = np.concatenate([r.confidence for r in chosen if r.confidence is not None])
        return confidence, np.concatenate([r.near for r in chosen if r.near is not None])

    def confidence_summary(self) -> dict[str, Any] | None:
        """Calibration of the confidence: the expected calibration error and the reliability curve."""
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
        """The evaluation as `srn evaluate` writes it. A missed face has the error null."""
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
                {"path": r.path.as_posix(), "subset": r.subset, "nme": r.nme if np.isfinite(r.nme) else None}
                for r in self.results
            ],
        }


def _check_normalizer(name: str) -> None:
    if name not in metrics.NORMALIZERS:
        raise InputError.at("normalizer", f"one of {', '.join(metrics.NORMALIZERS)}", repr(name))


def _by(result: FaceResult, scheme: LandmarkScheme, old: str, new: str) -> FaceResult:
    """One face's errors, divided by another length."""
    target = result.target_landmarks
    if target is None or result.landmarks is None:  # a missed face's error is infinite by any length
        return result
    size = metrics.NORMALIZERS[new](target, scheme)
    return replace(
        result,
        nme=metrics.nme(result.landmarks, target, size),
        mean_shape_nme=result.mean_shape_nme * metrics.NORMALIZERS[old](target, scheme) / size,
        point_errors=np.linalg.norm(result.landmarks - target, axis=-1) / size,
    )


def compare_evaluations(first: Evaluation, second: Evaluation, *, seed: int = 0) -> PairedComparison:
    """Compare two evaluations face by face: other weights or boxes on the same faces, or a set and its masked version.

    Faces belong together where picture name and subset agree; those that only one has are left out.

    Raises:
        InputError: different normalizers, or no face in common.
    """
    if first.normalizer != second.normalizer:
        raise InputError.at("paired comparison", f"errors by {first.normalizer}", f"by {second.normalizer}")
    ours, theirs = _by_face(first), _by_face(second)
    common = [key for key in ours if key in theirs]
    if not common:
        raise InputError.at("paired comparison", "evaluations of the same faces", "no face in common")
    return compare_errors(np.array([ours[key] for key in common]), np.array([theirs[key] for key in common]), seed=seed)


def _by_face(evaluation: Evaluation) -> dict[tuple[str, str, int], float]:
    """Errors by subset, picture name, and the face's number in that picture."""
    errors: dict[tuple[str, str, int], float] = {}
    for result in evaluation.results:
        number = 0
        while (key := (result.subset, result.path.stem, number)) in errors:
            number += 1
        errors[key] = result.nme
    return errors


def _is_base(folder: Path) -> bool:
    """Whether a folder is the root of a dataset: where its detector boxes or its manifest are."""
    return (folder / "bbs").is_dir() or (folder / "manifest.csv").is_file()


def read_test_faces(folders: Sequence[Path], scheme: LandmarkScheme) -> tuple[list[Sample], ReadingReport]:
    """The annotated faces to test on of several folders.

    A folder of pictures with `.pts` files is read as it is; the root of 300W stands for its three test folders, and the
    root of another dataset for its test set. Boxes of a detector are taken from `bbs/` beside or above the folder,
    where the datasets keep them, and occlusion flags from a masked set's manifest. Where two datasets have a subset of
    the same name (`ibug`, of 300W and of its masked version), each gets its dataset's name before it.

    Raises:
        DataError: a folder is missing or holds no annotated face.
    """
    report = ReadingReport()
    groups: list[tuple[Path, list[Sample]]] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError.at(folder, "a folder of pictures with .pts files", "no such folder")
        root = folder.resolve()
        kind = recognize(root)
        whole = all((root / name).is_dir() for name in FULL_SUBSETS)
        if kind in OTHER_DATASETS or (kind in PARTS_OF_300W and not whole):
            groups.append((root, _read_other(root, kind, scheme, report)))
            continue
        samples: list[Sample] = []
        parts = [root / name for name in FULL_SUBSETS] if whole else [root]
        base = next((parent for parent in (root, *list(root.parents)[:3]) if _is_base(parent)), root.parent)
        for part in parts:
            samples += read_annotated_folder(part, report, root=base, scheme=scheme)
        visible = read_visible(base)
        for index in range(len(samples)):
            flags = visible.get(f"{samples[index].subset}/{samples[index].path.stem}")
            if flags is not None:
                samples[index] = replace(samples[index], occluded=~flags)
        if not samples and kind == "plain":  # own annotations in one file: COCO key points, a table
            samples = _read_other(root, kind, scheme, report)
        if not samples:
            raise DataError.at(folder, "pictures with .pts files beside them", "no annotated face")
        groups.append((base, samples))
    return _told_apart(groups), report


OTHER_DATASETS = ("300w-private", "cofw29", "cofw68", "wflw", "wflw68", "300vw")
"""Kinds of dataset whose layout is not pictures with `.pts` files beside them."""

PARTS_OF_300W = ("300w", "masked-300w")
"""Kinds that are read like 300W where some of its test folders are missing."""


def _read_other(root: Path, kind: str, scheme: LandmarkScheme, report: ReadingReport) -> list[Sample]:
    """The test faces of a dataset in its owners' layout."""
    if kind.startswith("wflw"):  # its folder may hold lists of 98 and of 68 points: the weights say which
        kind = "wflw68" if scheme.n_points == IBUG_68.n_points else "wflw"
    dataset = read_dataset(root, kind=kind, split="test")
    for name, count in dataset.report.counts.items():
        report.count(name, count)
    for ours, found in (
        (report.problems, dataset.report.problems),
        (report.shortfalls, dataset.report.shortfalls),
        (report.notes, dataset.report.notes),
    ):
        ours += found
    if not dataset.samples:
        reason = "; ".join(dataset.report.problems[:1]) or "none"
        raise DataError.at(root, "annotated faces to test on, with their pictures", reason)
    return dataset.samples


def _told_apart(groups: Sequence[tuple[Path, list[Sample]]]) -> list[Sample]:
    """All samples, with the dataset's name before a subset that several datasets have."""
    bases: dict[str, set[Path]] = {}
    for base, samples in groups:
        for sample in samples:
            bases.setdefault(sample.subset, set()).add(base)
    return [
        replace(sample, subset=f"{base.name}/{sample.subset}") if len(bases[sample.subset]) > 1 else sample
        for base, samples in groups
        for sample in samples
    ]


def _box_of(sample: Sample, image: ImageArray, init: Initialization, landmarker: FaceLandmarker) -> Box | None:
    """The box that localization starts from; None where the face finder did not find the face."""
    if init == "gt-box":
        return sample.box
    if init == "bbs":
        if sample.detector_box is None:
            raise InputError.at(sample.path, "a box in the dataset's bbs folder", "none")
        return sample.detector_box
    truth = sample.box
    overlapping = [(box.iou(truth), box) for box, _ in landmarker.find(image)]
    best = max(overlapping, key=lambda pair: pair[0], default=(0.0, None))
    return best[1] if best[0] >= MINIMAL_OVERLAP else None


def evaluate(
    landmarker: FaceLandmarker,
    samples: Sequence[Sample],
    *,
    init: Initialization = "gt-box",
    normalizer: str = "interocular",
    progress: Callable[[], None] | None = None,
) -> Evaluation:
    """Localize every annotated face and compare.

    Args:
        landmarker: what is measured.
        samples: the faces.
        init: where the box comes from: the annotation, the face finder, or the dataset's own detector boxes.
        normalizer: one of `metrics.NORMALIZERS`.
        progress: called after every face.

    Raises:
        InputError: unknown normalizer, a box that is asked for and missing, another landmark scheme, or no picture
            that can be read.
    """
    _check_normalizer(normalizer)
    localizer = landmarker.localizer
    for sample in samples:
        if sample.scheme is not localizer.scheme:
            raise InputError.at(sample.path, f"{localizer.scheme.name} landmarks", sample.scheme.name)
    results, problems = [], []
    for first in range(0, len(samples), landmarker.batch_size):
        share, images = [], []
        for sample in samples[first : first + landmarker.batch_size]:
            try:
                images.append(sample.load())
                share.append(sample)
            except DataError as unreadable:
                problems.append(f"{unreadable}; left out")
        boxes = [_box_of(s, image, init, landmarker) for s, image in zip(share, images, strict=True)]
        found = landmarker.detect_batch(images, [[] if box is None else [box] for box in boxes])
        for sample, box, faces in zip(share, boxes, found, strict=True):
            size = metrics.NORMALIZERS[normalizer](sample.landmarks, sample.scheme)
            if box is None:
                infinite = float("inf")
                results.append(
                    FaceResult(
                        sample.path,
                        sample.subset,
                        infinite,
                        infinite,
                        target_landmarks=sample.landmarks,
                        attributes=sample.attributes,
                    )
                )
            else:
                frame = CropGeometry.from_box(box, localizer.crop_spec)
                mean = frame.to_picture(localizer.crop_spec.place(localizer.mean_shape))
                zero = metrics.nme(mean, sample.landmarks, size)
                face = faces[0]
                distances = np.linalg.norm(face.landmarks - sample.landmarks, axis=-1)
                results.append(
                    FaceResult(
                        sample.path,
                        sample.subset,
                        nme=metrics.nme(face.landmarks, sample.landmarks, size),
                        mean_shape_nme=zero,
                        landmarks=face.landmarks,
                        point_errors=distances / size,
                        near=distances < CONFIDENT_WITHIN * sample.box.size,
                        visibility=face.visibility,
                        confidence=face.confidence,
                        occluded=sample.occluded,
                        target_landmarks=sample.landmarks,
                        attributes=sample.attributes,
                    )
                )
            if progress is not None:
                progress()
    if not results:
        raise InputError.at("evaluation", "at least one annotated face in a readable picture", "none")
    return Evaluation(tuple(results), normalizer, init, localizer.name, tuple(problems), localizer.scheme)

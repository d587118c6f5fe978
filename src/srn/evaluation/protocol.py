"""Measuring a landmarker on annotated faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from srn.data.masked import read_visible
from srn.data.sample import Sample
from srn.data.three_hundred_w import FULL_SUBSETS, ReadingReport, read_annotated_folder
from srn.errors import DataError, InputError
from srn.face import metrics
from srn.face.geometry import Box, CanonicalFrame, ImageArray
from srn.face.scheme import LandmarkScheme
from srn.inference.landmarker import FaceLandmarker

Initialization = Literal["gt-box", "finder", "bbs"]

FAILURE_THRESHOLD = 0.08
"""The threshold of the paper's failure rates (table 3)."""

CONFIDENT_WITHIN = 0.03
"""A point's confidence is the probability that it is off by less than this share of the face's size (`Box.side`)."""

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


@dataclass(frozen=True)
class Evaluation:
    """Results of a set of faces. Numbers are fractions."""

    results: tuple[FaceResult, ...]
    normalizer: str
    init: Initialization
    weights: str
    problems: tuple[str, ...] = ()
    """One line for each picture that could not be read; it is in none of the numbers."""

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

    def subset(self, name: str) -> Evaluation:
        """The part that belongs to one subset."""
        chosen = tuple(result for result in self.results if result.subset == name)
        return Evaluation(chosen, self.normalizer, self.init, self.weights)

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
            "failure_rate": metrics.failure_rate(self.errors, FAILURE_THRESHOLD),
            "auc": metrics.auc(self.errors, FAILURE_THRESHOLD),
        }

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
            "threshold": FAILURE_THRESHOLD,
            "normalizer": self.normalizer,
            "init": self.init,
            "weights": self.weights,
            **(settings or {}),
            "visibility": self.visibility_summary(),
            "confidence": self.confidence_summary(),
            "subsets": {name: self.subset(name).summary() for name in self.subsets},
            "per_image": [
                {"path": r.path.as_posix(), "subset": r.subset, "nme": r.nme if np.isfinite(r.nme) else None}
                for r in self.results
            ],
        }


def _is_base(folder: Path) -> bool:
    """Whether a folder is the root of a dataset: where its detector boxes or its manifest are."""
    return (folder / "bbs").is_dir() or (folder / "manifest.csv").is_file()


def read_test_faces(folders: Sequence[Path], scheme: LandmarkScheme) -> tuple[list[Sample], ReadingReport]:
    """The annotated faces of folders of pictures with `.pts` files.

    A folder is read as it is; the root of 300W stands for its three test folders. Boxes of a detector are taken from
    `bbs/` beside or above the folder, where the datasets keep them, and occlusion flags from a masked set's manifest.

    Raises:
        DataError: a folder is missing or holds no annotated face.
    """
    report = ReadingReport()
    samples: list[Sample] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError.at(folder, "a folder of pictures with .pts files", "no such folder")
        root = folder.resolve()
        parts = [root]
        if all((root / name).is_dir() for name in FULL_SUBSETS):
            parts = [root / name for name in FULL_SUBSETS]
        base = next((parent for parent in (root, *list(root.parents)[:3]) if _is_base(parent)), root.parent)
        count = len(samples)
        for part in parts:
            samples += read_annotated_folder(part, report, root=base, scheme=scheme)
        visible = read_visible(base)
        for index in range(count, len(samples)):
            flags = visible.get(f"{samples[index].subset}/{samples[index].path.stem}")
            if flags is not None:
                samples[index] = replace(samples[index], occluded=~flags)
        if len(samples) == count:
            raise DataError.at(folder, "pictures with .pts files beside them", "no annotated face")
    return samples, report


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
    if normalizer not in metrics.NORMALIZERS:
        raise InputError.at("normalizer", f"one of {', '.join(metrics.NORMALIZERS)}", repr(normalizer))
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
                results.append(FaceResult(sample.path, sample.subset, float("inf"), float("inf")))
            else:
                frame = CanonicalFrame.from_box(box, localizer.frame)
                mean = frame.to_picture(localizer.frame.place(localizer.mean_shape))
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
                        near=distances < CONFIDENT_WITHIN * sample.box.side,
                        visibility=face.visibility,
                        confidence=face.confidence,
                        occluded=sample.occluded,
                    )
                )
            if progress is not None:
                progress()
    if not results:
        raise InputError.at("evaluation", "at least one annotated face in a readable picture", "none")
    return Evaluation(tuple(results), normalizer, init, localizer.name, tuple(problems))

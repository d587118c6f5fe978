"""Measuring a landmarker on annotated faces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

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
    """

    path: Path
    subset: str
    nme: float
    mean_shape_nme: float
    landmarks: npt.NDArray[np.float64] | None = None


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

    def to_dict(self, settings: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The evaluation as `srn evaluate` writes it. A missed face has the error null."""
        return {
            **self.summary(),
            "threshold": FAILURE_THRESHOLD,
            "normalizer": self.normalizer,
            "init": self.init,
            "weights": self.weights,
            **(settings or {}),
            "subsets": {name: self.subset(name).summary() for name in self.subsets},
            "per_image": [
                {"path": r.path.as_posix(), "subset": r.subset, "nme": r.nme if np.isfinite(r.nme) else None}
                for r in self.results
            ],
        }


def read_test_faces(folders: Sequence[Path], scheme: LandmarkScheme) -> tuple[list[Sample], ReadingReport]:
    """The annotated faces of folders of pictures with `.pts` files.

    A folder is read as it is; the root of 300W stands for its three test folders. Boxes of a detector are taken from
    `bbs/` beside or above the folder, where the datasets keep them.

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
        base = next((parent for parent in (root, *list(root.parents)[:3]) if (parent / "bbs").is_dir()), root.parent)
        count = len(samples)
        for part in parts:
            samples += read_annotated_folder(part, report, root=base, scheme=scheme)
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
                error = metrics.nme(faces[0].landmarks, sample.landmarks, size)
                results.append(FaceResult(sample.path, sample.subset, error, zero, faces[0].landmarks))
            if progress is not None:
                progress()
    if not results:
        raise InputError.at("evaluation", "at least one annotated face in a readable picture", "none")
    return Evaluation(tuple(results), normalizer, init, localizer.name, tuple(problems))

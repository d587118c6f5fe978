"""The evaluation protocol: localize annotated faces and measure the errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from srn.datasets.catalogue import read_dataset, recognize
from srn.datasets.manifest import read_visible
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import FULL_SUBSETS, ReadingReport, read_annotated_folder
from srn.errors import DataError, InputError
from srn.evaluation.results import CONFIDENT_WITHIN, Evaluation, FaceResult, Initialization, check_normalizer
from srn.face import metrics
from srn.face.geometry import Box, CropGeometry, ImageArray
from srn.face.localizer import Localizer
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.inference.face import Face
from srn.inference.landmarker import FaceLandmarker

MINIMAL_OVERLAP = 0.4
"""Intersection over union from which a found face box counts as the annotated face."""


def evaluate(
    landmarker: FaceLandmarker,
    samples: Sequence[Sample],
    *,
    init: Initialization = "gt-box",
    normalizer: str = "interocular",
    progress: Callable[[], None] | None = None,
) -> Evaluation:
    """Localize every annotated face and measure its error.

    Args:
        landmarker: the landmarker to evaluate.
        samples: the faces.
        init: source of the face boxes.
        normalizer: length that errors are divided by, one of `metrics.NORMALIZERS`.
        progress: called after every face.

    Raises:
        InputError: unknown normalizer, a missing detector box, another landmark scheme, or no readable picture.
    """
    check_normalizer(normalizer)
    localizer = landmarker.localizer
    for sample in samples:
        if sample.scheme is not localizer.scheme:
            raise InputError.at(sample.path, f"{localizer.scheme.name} landmarks", sample.scheme.name)
    results: list[FaceResult] = []
    problems: list[str] = []
    for first in range(0, len(samples), landmarker.batch_size):
        readable: list[Sample] = []
        images: list[ImageArray] = []
        for sample in samples[first : first + landmarker.batch_size]:
            try:
                images.append(sample.load())
                readable.append(sample)
            except DataError as error:
                problems.append(f"{error}; left out")
        boxes = [_box_of(s, image, init, landmarker) for s, image in zip(readable, images, strict=True)]
        found = landmarker.detect_batch(images, [[] if box is None else [box] for box in boxes])
        for sample, faces in zip(readable, found, strict=True):
            results.append(_result(sample, faces[0] if faces else None, localizer, normalizer))
            if progress is not None:
                progress()
    if not results:
        raise InputError.at("evaluation", "at least one annotated face in a readable picture", "none")
    return Evaluation(tuple(results), normalizer, init, localizer.name, tuple(problems), localizer.scheme)


def _box_of(sample: Sample, image: ImageArray, init: Initialization, landmarker: FaceLandmarker) -> Box | None:
    """The box that localization starts from; None if the face finder misses the face."""
    if init == "gt-box":
        return sample.box
    if init == "bbs":
        if sample.detector_box is None:
            raise InputError.at(sample.path, "a box in the dataset's bbs folder", "none")
        return sample.detector_box
    boxes = [box for box, _ in landmarker.find(image)]
    best = best_match(boxes, sample.box)
    return None if best is None else boxes[best]


def best_match(boxes: Sequence[Box], truth: Box) -> int | None:
    """Return the index of the box that overlaps `truth` most; None if no overlap reaches `MINIMAL_OVERLAP`."""
    overlaps = [box.iou(truth) for box in boxes]
    best = int(np.argmax(overlaps)) if overlaps else None
    return best if best is not None and overlaps[best] >= MINIMAL_OVERLAP else None


def _result(sample: Sample, face: Face | None, localizer: Localizer, normalizer: str) -> FaceResult:
    """Measure one face; None is a face that was not found."""
    if face is None:
        missed = float("inf")
        return FaceResult(
            sample.path, sample.subset, missed, missed,
            target_landmarks=sample.landmarks, attributes=sample.attributes,
        )  # fmt: skip
    size = metrics.NORMALIZERS[normalizer](sample.landmarks, sample.scheme)
    crop = CropGeometry.from_box(face.box, localizer.crop_spec)
    mean_shape = crop.to_picture(localizer.crop_spec.place(localizer.mean_shape))
    distances = np.linalg.norm(face.landmarks - sample.landmarks, axis=-1)
    return FaceResult(
        sample.path,
        sample.subset,
        nme=metrics.nme(face.landmarks, sample.landmarks, size),
        mean_shape_nme=metrics.nme(mean_shape, sample.landmarks, size),
        landmarks=face.landmarks,
        point_errors=distances / size,
        near=distances < CONFIDENT_WITHIN * sample.box.size,
        visibility=face.visibility,
        confidence=face.confidence,
        occluded=sample.occluded,
        target_landmarks=sample.landmarks,
        attributes=sample.attributes,
    )


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

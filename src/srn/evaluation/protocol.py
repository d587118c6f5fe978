"""The evaluation protocol: localize annotated faces and measure the errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from srn.datasets.sample import Sample
from srn.errors import DataError, InputError, first_line, is_out_of_memory
from srn.evaluation.results import CONFIDENT_WITHIN, Evaluation, FaceResult, Initialization, check_normalizer
from srn.face import metrics
from srn.face.geometry import Box, CropGeometry, Float64Array, ImageArray
from srn.face.localizer import Localizer
from srn.inference.face import Face, Faces
from srn.inference.face_finder import FoundFace
from srn.inference.landmarker import FaceLandmarker

MINIMAL_OVERLAP = 0.4
"""Intersection over union from which a found face box counts as the annotated face."""


def evaluate(
    landmarker: FaceLandmarker,
    samples: Sequence[Sample],
    *,
    init: Initialization = "gt-box",
    normalizer: str = "interocular",
    progress: Callable[[], None] = lambda: None,
    tell: Callable[[str], object] = lambda line: None,
) -> Evaluation:
    """Localize every annotated face and measure its error.

    `progress` is called after every face. `tell` gets a line where the landmarker has lowered its `batch_size`.

    Raises:
        InputError: unknown normalizer, a missing detector box, another landmark scheme, no readable picture, or no
            memory for one face.
    """
    check_normalizer(normalizer)
    localizer = landmarker.localizer
    for sample in samples:
        if sample.scheme is not localizer.scheme:
            raise InputError.at(sample.path, f"{localizer.scheme.name} landmarks", sample.scheme.name)
    results: list[FaceResult] = []
    problems: list[str] = []
    at_once = landmarker.batch_size
    for first in range(0, len(samples), at_once):
        readable: list[Sample] = []
        images: list[ImageArray] = []
        boxes: list[Box | FoundFace | None] = []
        for sample in samples[first : first + at_once]:
            try:
                image = sample.load()
                boxes.append(_box_of(sample, image, init, landmarker))
            except DataError as error:
                problems.append(f"{error}; left out")
            else:
                images.append(image)
                readable.append(sample)
        found = _localized(landmarker, images, [[] if box is None else [box] for box in boxes], tell)
        for sample, faces in zip(readable, found, strict=True):
            results.append(_measured(sample, faces[0], localizer, normalizer) if faces else missed_face(sample))
            progress()
    if not results:
        raise InputError.at("evaluation", "at least one annotated face in a readable picture", "none")
    return Evaluation(tuple(results), normalizer, init, localizer.name, tuple(problems), localizer.scheme)


def _localized(
    landmarker: FaceLandmarker,
    images: list[ImageArray],
    boxes: list[list[Box | FoundFace]],
    tell: Callable[[str], object],
) -> list[Faces]:
    at_once = landmarker.batch_size
    try:
        found = landmarker.detect_batch(images, boxes)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise InputError.at("evaluation", "memory for one face", first_line(error)) from error
    if landmarker.batch_size < at_once:
        tell(f"no memory for {at_once} faces at once: from now on at most {landmarker.batch_size}")
    return found


def _box_of(
    sample: Sample, image: ImageArray, init: Initialization, landmarker: FaceLandmarker
) -> Box | FoundFace | None:
    """The box that localization starts from; None if the face finder misses the face."""
    if init == "gt-box":
        return sample.box
    if init == "bbs":
        if sample.detector_box is None:
            raise InputError.at(sample.path, "a box in the dataset's bbs folder", "none")
        sample.check_box(sample.detector_box, image)
        return sample.detector_box
    found = landmarker.find(image)
    best = best_match([face.box for face in found], sample.box)
    return None if best is None else found[best]


def best_match(boxes: Sequence[Box], truth: Box) -> int | None:
    """Return the index of the box that overlaps `truth` most; None if no overlap reaches `MINIMAL_OVERLAP`."""
    overlaps = [box.iou(truth) for box in boxes]
    best = int(np.argmax(overlaps)) if overlaps else None
    return best if best is not None and overlaps[best] >= MINIMAL_OVERLAP else None


def _measured(sample: Sample, face: Face, localizer: Localizer, normalizer: str) -> FaceResult:
    crop = CropGeometry.from_box(face.box, localizer.crop_spec)
    mean_shape = crop.to_picture(localizer.crop_spec.place(localizer.mean_shape))
    missed = missed_face(sample, error_of(mean_shape, sample, normalizer))
    return found_face(missed, sample, face.landmarks, face.visibility, face.confidence, normalizer)


def missed_face(sample: Sample, mean_shape_nme: float = np.inf) -> FaceResult:
    """Return the result of a face that was not found."""
    return FaceResult(
        sample.path, sample.subset, np.inf, mean_shape_nme, target_landmarks=sample.landmarks,
        attributes=sample.attributes, video=sample.video,
    )  # fmt: skip


def found_face(
    missed: FaceResult,
    sample: Sample,
    landmarks: Float64Array,
    visibility: npt.NDArray[np.float32] | None,
    confidence: npt.NDArray[np.float32] | None,
    normalizer: str,
) -> FaceResult:
    """Complete the result of a face that would be missed by what was found of it."""
    size = metrics.NORMALIZERS[normalizer](sample.landmarks, sample.scheme)
    distances = np.linalg.norm(landmarks - sample.landmarks, axis=-1)
    return replace(
        missed,
        nme=error_of(landmarks, sample, normalizer),
        landmarks=landmarks,
        point_errors=distances / size,
        near=distances < CONFIDENT_WITHIN * sample.box.size,
        visibility=visibility,
        confidence=confidence,
        occluded=sample.occluded,
    )


def error_of(shape: Float64Array, sample: Sample, normalizer: str) -> float:
    """Return the error of a shape (N, 2) of an annotated face, picture pixels."""
    return metrics.nme(shape, sample.landmarks, metrics.NORMALIZERS[normalizer](sample.landmarks, sample.scheme))

"""Recall and error under stress: smaller, turned, darker and blurred faces, and shifted face boxes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import cv2
import numpy as np

from srn.datasets.sample import Sample
from srn.evaluation.box_curve import direction_of
from srn.evaluation.protocol import best_match
from srn.evaluation.statistics import finite_or_none
from srn.face import metrics
from srn.face.geometry import Box, Float64Array, ImageArray, similarity, transform_points
from srn.inference.face_finder import FoundFace
from srn.inference.landmarker import FaceLandmarker

STRESS_FACES = 40
"""Faces of a stress test, spread evenly: each is found and localized in 35 versions."""


class StressKind(NamedTuple):
    """A stress: its title, the label of its values, and the values."""

    title: str
    label: str
    values: tuple[float, ...]


STRESSES: Mapping[str, StressKind] = MappingProxyType(
    {
        "size": StressKind("Small faces", "height of the face box (pixels)", (12, 16, 24, 32, 48, 64, 96)),
        "turn": StressKind("Turned faces", "turned in the plane (degrees)", tuple(range(0, 360, 30))),
        "darkness": StressKind("Dark faces", "brightness (% of the picture's)", (4, 8, 16, 32, 64, 100)),
        "blur": StressKind("Blurred faces", "sigma of the blur (% of the face's size)", (0, 2, 4, 6, 8)),
        "shift": StressKind("Shifted boxes", "shift of the face box (% of its size)", (0, 10, 20, 30, 40)),
    }
)

CONTEXT = 1.5
"""Margin around the face in a stressed picture, in sizes of the face box: the finder's work depends on it."""


class StressedFace(NamedTuple):
    """A face under stress: its picture, landmarks (N, 2) and the face box given to the landmarker."""

    image: ImageArray
    landmarks: Float64Array
    box: Box


@dataclass(frozen=True)
class StressPoint:
    """Numbers of one value of a stress. Errors are fractions of the normalizer.

    Attributes:
        nme, median: mean and median error from the given box, over all faces.
        confidence: mean confidence from this box; None if the weights predict none.
        recall: share of the faces that the face finder finds; None if the given boxes are the stress.
        nme_found: mean error from the finder's boxes, over the faces found; None without any.
    """

    value: float
    faces: int
    nme: float
    median: float
    confidence: float | None
    recall: float | None
    nme_found: float | None


@dataclass(frozen=True)
class Stress:
    """Points of every stress (`STRESSES`) by its name."""

    points: Mapping[str, Sequence[StressPoint]]
    normalizer: str

    def to_dict(self) -> dict[str, Any]:
        """Return the entry `stress` of the JSON of `srn evaluate --stress`."""
        return {name: [asdict(point) for point in points] for name, points in self.points.items()}


def stressed(sample: Sample, image: ImageArray, stress: str, value: float) -> StressedFace | None:
    """Put a face under stress; None where the stress does not apply: pictures are never enlarged."""
    landmarks, box = sample.landmarks, sample.box
    if stress == "size":
        return _resized(image, landmarks, value / box.height) if value <= box.height else None
    if stress == "turn":
        return _turned(image, landmarks, value)
    if stress == "darkness":
        image = np.round(image * np.float32(value / 100)).astype(np.uint8)
    elif stress == "blur" and value:
        image = cv2.GaussianBlur(image, (0, 0), value / 100 * box.size).astype(np.uint8)
    elif stress == "shift":
        box = box.adjusted(np.array(direction_of(sample)) * value / 100 * box.size)
    return StressedFace(image, landmarks, box)


def stress_test(
    landmarker: FaceLandmarker,
    samples: Sequence[Sample],
    *,
    normalizer: str = "interocular",
    progress: Callable[[], None] = lambda: None,
) -> Stress:
    """Measure recall and error of faces under every stress. `progress` is called after every face."""
    rows: dict[tuple[str, float], list[tuple[float, float, float]]] = {}
    for sample in samples:
        image, truth = surroundings(sample)
        for stress, (_, _, values) in STRESSES.items():
            for value in values:
                face = stressed(truth, image, stress, value)
                if face is not None:
                    size = metrics.NORMALIZERS[normalizer](face.landmarks, truth.scheme)
                    errors = _errors(landmarker, face, size, find=stress != "shift")
                    rows.setdefault((stress, value), []).append(errors)
        progress()
    points = {
        stress: [_point(value, rows[stress, value]) for value in values if (stress, value) in rows]
        for stress, (_, _, values) in STRESSES.items()
    }
    return Stress(points, normalizer)


def surroundings(sample: Sample) -> tuple[ImageArray, Sample]:
    """Cut a face out with its surroundings, so that other faces and the picture's size matter little."""
    image, box = sample.load(), sample.box
    around = box.adjusted(np.zeros(2), (1 + 2 * CONTEXT, 1 + 2 * CONTEXT))
    height, width = image.shape[:2]
    x0, y0 = max(int(around.x0), 0), max(int(around.y0), 0)
    part = np.ascontiguousarray(image[y0 : min(int(around.y1), height), x0 : min(int(around.x1), width)])
    return part, Sample(sample.path, sample.landmarks - (x0, y0), sample.scheme, sample.subset)


def _errors(landmarker: FaceLandmarker, face: StressedFace, size: float, *, find: bool) -> tuple[float, float, float]:
    """Error and mean confidence from the given box; error from the finder's: infinite if missed, NaN if not sought."""

    def localized(box: Box | FoundFace) -> tuple[float, float]:
        (own,) = landmarker.detect(face.image, [box])
        confidence = np.nan if own.mean_confidence is None else own.mean_confidence
        return metrics.nme(own.landmarks, face.landmarks, size), confidence

    if not find:
        return *localized(face.box), np.nan
    found = landmarker.find(face.image)
    best = best_match([one.box for one in found], Box.around(face.landmarks))
    return *localized(face.box), np.inf if best is None else localized(found[best])[0]


def _point(value: float, rows: Sequence[tuple[float, float, float]]) -> StressPoint:
    errors, confidence, found = np.array(rows).T
    sought, hit = not np.isnan(found).any(), np.isfinite(found)
    return StressPoint(
        float(value),
        len(rows),
        nme=float(errors.mean()),
        median=float(np.median(errors)),
        confidence=finite_or_none(float(confidence.mean())),
        recall=float(hit.mean()) if sought else None,
        nme_found=float(found[hit].mean()) if hit.any() else None,
    )


def _resized(image: ImageArray, landmarks: Float64Array, scale: float) -> StressedFace:
    height, width = image.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    moved = (landmarks + 0.5) * (np.array(size) / (width, height)) - 0.5
    return StressedFace(small, moved, Box.around(moved))


def _turned(image: ImageArray, landmarks: Float64Array, degrees: float) -> StressedFace:
    """Rotate a whole picture, clockwise; the new corners are black."""
    height, width = image.shape[:2]
    angle = np.deg2rad(degrees)
    cos, sin = abs(np.cos(angle)), abs(np.sin(angle))
    size = (int(np.ceil(width * cos + height * sin - 1e-6)), int(np.ceil(width * sin + height * cos - 1e-6)))
    middle = np.array([width - 1, height - 1]) / 2
    matrix = similarity(1.0, float(angle), middle, (np.array(size) - 1) / 2)
    turned = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR).astype(np.uint8)
    moved = transform_points(matrix, landmarks)
    return StressedFace(turned, moved, Box.around(moved))

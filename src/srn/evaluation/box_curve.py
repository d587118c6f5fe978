"""How the error grows with the error of the face box: the curve that tells a robust landmarker from a spoilt one."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srn.datasets.sample import Sample
from srn.face import metrics
from srn.face.geometry import Box
from srn.inference.landmarker import FaceLandmarker

SHIFTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
"""Shares of the box's side by which it is moved, in a random direction."""

SCALES = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25)
"""Factors by which it is enlarged about its centre."""


@dataclass(frozen=True)
class BoxCurve:
    """Mean errors (fractions) with ground-truth boxes that were shifted, and scaled."""

    shifts: dict[float, float]
    scales: dict[float, float]
    normalizer: str
    weights: str

    def to_dict(self) -> dict[str, Any]:
        """As `srn evaluate --box-curve` writes it."""
        return {
            "normalizer": self.normalizer,
            "weights": self.weights,
            "shift": [{"share_of_side": share, "nme": error} for share, error in self.shifts.items()],
            "scale": [{"factor": factor, "nme": error} for factor, error in self.scales.items()],
        }


def direction_of(sample: Sample, seed: int) -> tuple[float, float]:
    """The unit vector in which a face's box is moved: by its name and the seed, the same for every share."""
    name = f"{sample.subset}/{sample.path.stem}"
    angle = np.random.default_rng([seed, zlib.crc32(name.encode())]).uniform(0, 2 * np.pi)
    return float(np.cos(angle)), float(np.sin(angle))


def box_curve(
    landmarker: FaceLandmarker,
    samples: Sequence[Sample],
    *,
    normalizer: str = "interocular",
    shifts: Sequence[float] = SHIFTS,
    scales: Sequence[float] = SCALES,
    seed: int = 0,
    progress: Callable[[], None] | None = None,
) -> BoxCurve:
    """Measure a landmarker on shifted and on scaled ground-truth boxes.

    Args:
        landmarker: what is measured.
        samples: annotated faces.
        normalizer: one of `metrics.NORMALIZERS`.
        shifts, scales: what to try.
        seed: of the directions.
        progress: called after every face.
    """
    errors: dict[tuple[str, float], list[float]] = {}
    for sample in samples:
        image, truth = sample.load(), sample.box
        size = metrics.NORMALIZERS[normalizer](sample.landmarks, sample.scheme)
        direction = np.array(direction_of(sample, seed))
        boxes: dict[tuple[str, float], Box] = {}
        for share in shifts:
            boxes["shift", share] = truth.adjusted(direction * share * truth.size)
        for factor in scales:
            boxes["scale", factor] = truth.adjusted(np.zeros(2), (factor, factor))
        for key, face in zip(boxes, landmarker.detect(image, boxes.values()), strict=True):
            errors.setdefault(key, []).append(metrics.nme(face.landmarks, sample.landmarks, size))
        if progress is not None:
            progress()
    return BoxCurve(
        {share: float(np.mean(errors["shift", share])) for share in shifts},
        {factor: float(np.mean(errors["scale", factor])) for factor in scales},
        normalizer,
        landmarker.localizer.name,
    )

"""The error as a function of the error of the face box: a measure of robustness."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srn.datasets.sample import Sample
from srn.face import metrics
from srn.inference.landmarker import FaceLandmarker

SHIFTS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
"""Shifts in a random direction, shares of the box's size."""

SCALES = (0.8, 0.85, 0.9, 0.95, 1.0, 1.05, 1.1, 1.15, 1.2, 1.25)
"""Factors of scaling about the box's centre."""


@dataclass(frozen=True)
class BoxCurve:
    """Mean errors (fractions) with shifted and with scaled ground-truth boxes, by share and by factor."""

    shifts: dict[float, float]
    scales: dict[float, float]
    normalizer: str
    weights: str

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `srn evaluate --box-curve FILE.json`."""
        return {
            "normalizer": self.normalizer,
            "weights": self.weights,
            "shift": [{"share_of_side": share, "nme": error} for share, error in self.shifts.items()],
            "scale": [{"factor": factor, "nme": error} for factor, error in self.scales.items()],
        }


def direction_of(sample: Sample) -> tuple[float, float]:
    """Return the unit vector of a face's shifts, drawn by its name, the same for every share."""
    name = f"{sample.subset}/{sample.path.stem}"
    angle = np.random.default_rng([0, zlib.crc32(os.fsencode(name))]).uniform(0, 2 * np.pi)
    return float(np.cos(angle)), float(np.sin(angle))


def box_curve(
    landmarker: FaceLandmarker,
    samples: Sequence[Sample],
    *,
    normalizer: str = "interocular",
    progress: Callable[[], None] = lambda: None,
) -> BoxCurve:
    """Measure a landmarker with shifted and with scaled ground-truth boxes. `progress` is called after every face."""
    errors: dict[tuple[str, float], list[float]] = {}
    for sample in samples:
        image, truth = sample.load(), sample.box
        size = metrics.NORMALIZERS[normalizer](sample.landmarks, sample.scheme)
        direction = np.array(direction_of(sample))
        boxes = {("shift", share): truth.adjusted(direction * share * truth.size) for share in SHIFTS}
        boxes |= {("scale", factor): truth.adjusted(np.zeros(2), (factor, factor)) for factor in SCALES}
        for key, face in zip(boxes, landmarker.detect(image, boxes.values()), strict=True):
            errors.setdefault(key, []).append(metrics.nme(face.landmarks, sample.landmarks, size))
        progress()
    return BoxCurve(
        {share: float(np.mean(errors["shift", share])) for share in SHIFTS},
        {factor: float(np.mean(errors["scale", factor])) for factor in SCALES},
        normalizer,
        landmarker.localizer.name,
    )

"""The speed of the landmarks on this machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from srn.evaluation.provenance import processor
from srn.face.geometry import Box, ImageArray
from srn.inference.landmarker import FaceLandmarker


@dataclass(frozen=True)
class Speed:
    """Median seconds per face, alone and in a batch, without reading pictures and finding faces."""

    one_face: float
    in_batch: float
    batch_size: int
    processor: str


def measure_speed(landmarker: FaceLandmarker, face: tuple[ImageArray, Box] | None = None, repeats: int = 15) -> Speed:
    """Time the landmarks of a picture and a face box; of noise if None, since the network does the same work on it."""
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    image, box = face or (noise, Box(220, 140, 420, 340))
    size = landmarker.batch_size
    one = _median_seconds(lambda: landmarker.detect(image, [box]), repeats)
    many = _median_seconds(lambda: landmarker.detect(image, [box] * size), max(repeats // 5, 1)) / size
    return Speed(one, many, size, processor())


def timed_steps(
    one_pass: FaceLandmarker, two_passes: FaceLandmarker, image: ImageArray, box: Box
) -> dict[str, Callable[[int], float]]:
    """Prepare the timing of the face finder and of the landmarks on a picture and a box in it.

    Returns:
        By step, a function of the number of runs that returns their median seconds per picture or face.
    """
    steps: dict[str, tuple[int, Callable[[], object]]] = {
        "face finder, one picture": (1, lambda: one_pass.find(image)),
        "landmarks, one face": (1, lambda: one_pass.detect(image, [box])),
        "landmarks, one face, two passes": (1, lambda: two_passes.detect(image, [box])),
        "landmarks, 16 faces at once": (16, lambda: one_pass.detect(image, [box] * 16)),
    }

    def measured(count: int, step: Callable[[], object]) -> Callable[[int], float]:
        return lambda repeats: _median_seconds(step, repeats) / count

    return {name: measured(count, step) for name, (count, step) in steps.items()}


def _median_seconds(step: Callable[[], object], repeats: int) -> float:
    step()  # the first run allocates
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)

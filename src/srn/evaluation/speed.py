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
    one = median_seconds(lambda: landmarker.detect(image, [box]), repeats)
    many = median_seconds(lambda: landmarker.detect(image, [box] * size), max(repeats // 5, 1)) / size
    return Speed(one, many, size, processor())


def median_seconds(step: Callable[[], object], repeats: int) -> float:
    """Return the median time of several runs, after one that does not count."""
    step()  # the first run allocates
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)

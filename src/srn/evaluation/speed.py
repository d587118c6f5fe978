"""The speed of the landmarks on this machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from srn.face.geometry import Box, ImageArray
from srn.inference.landmarker import FaceLandmarker


def processor() -> str:
    """Return the processor's name, if the system tells it, and the number of cores."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {os.cpu_count()} cores"


@dataclass(frozen=True)
class Speed:
    """Median seconds per face, alone and in a batch, without reading pictures and finding faces."""

    one_face: float
    in_batch: float
    batch_size: int
    processor: str

    @property
    def frames_per_second(self) -> float:
        """Faces per second, one at a time: the FPS of table 6."""
        return 1 / self.one_face


def measure_speed(landmarker: FaceLandmarker, face: tuple[ImageArray, Box] | None = None, repeats: int = 15) -> Speed:
    """Time the landmarks, alone and in a batch.

    Args:
        landmarker: with its options.
        face: a picture and a face box; noise if None, since the network does the same work on any picture.
        repeats: number of runs, of which the median counts.
    """
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    image, box = face or (noise, Box(220, 140, 420, 340))
    size = landmarker.batch_size
    one = _median_seconds(lambda: landmarker.detect(image, [box]), repeats)
    many = _median_seconds(lambda: landmarker.detect(image, [box] * size), max(repeats // 5, 1)) / size
    return Speed(one, many, size, processor())


def timed_steps(
    one_pass: FaceLandmarker, two_passes: FaceLandmarker, image: ImageArray, box: Box
) -> dict[str, Callable[[int], float]]:
    """Prepare the timing of the face finder and of the landmarks on a picture.

    Args:
        one_pass: a landmarker with one pass.
        two_passes: the same with two passes.
        image: (H, W, 3) uint8 RGB.
        box: the box of a face in it.

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

"""How fast landmarks are found on this machine."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from srn.face.geometry import Box, ImageArray
from srn.inference.landmarker import FaceLandmarker


def processor() -> str:
    """The processor's name, as far as the system tells, and the number of its cores."""
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
    """Median seconds of one face, by itself and as one of a batch, without reading pictures and finding faces."""

    one_face: float
    in_batch: float
    batch_size: int
    processor: str

    @property
    def frames_per_second(self) -> float:
        """Faces a second, one at a time: what table 6 calls FPS."""
        return 1 / self.one_face

    def to_dict(self) -> dict[str, Any]:
        """Milliseconds and faces a second."""
        return {
            "one_face_ms": self.one_face * 1e3,
            "in_batch_ms": self.in_batch * 1e3,
            "batch_size": self.batch_size,
            "faces_per_second": self.frames_per_second,
            "processor": self.processor,
        }


def measure_speed(landmarker: FaceLandmarker, face: tuple[ImageArray, Box] | None = None, repeats: int = 15) -> Speed:
    """Time the landmarks.

    Args:
        landmarker: with its options.
        face: a picture and the box of a face; a picture of noise where None, since the network does the same work
            whatever it is shown.
        repeats: runs, of which the median counts.
    """
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    image, box = face or (noise, Box(220, 140, 420, 340))

    def median(step: Callable[[], object], count: int) -> float:
        step()  # the first run allocates
        times = []
        for _ in range(count):
            begin = time.perf_counter()
            step()
            times.append(time.perf_counter() - begin)
        return statistics.median(times)

    size = landmarker.batch_size
    one = median(lambda: landmarker.detect(image, [box]), repeats)
    many = median(lambda: landmarker.detect(image, [box] * size), max(repeats // 5, 1)) / size
    return Speed(one, many, size, processor())

"""The speed of the landmarks on this machine: of one network, and what `srn benchmark` measures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from srn.evaluation.arithmetic import PRODUCT_FLOP, multiply_adds
from srn.evaluation.provenance import facts, processor
from srn.evaluation.speed_steps import Bench
from srn.evaluation.timing import Compared, Step, Timing, load_average, ratios, take_turns
from srn.face.geometry import Box, ImageArray
from srn.face.localizer import Localizer
from srn.inference.landmarker import FaceLandmarker
from srn.inference.looker import Looker
from srn.inference.runtime import OnnxLocalizer


@dataclass(frozen=True)
class Speed:
    """Median seconds per face, alone and in a batch, without reading pictures and finding faces.

    `load` is the average load of the last minute when it was measured; None where the system does not tell.
    """

    one_face: float
    in_batch: float
    batch_size: int
    processor: str
    load: float | None = None


def measure_speed(landmarker: FaceLandmarker, face: tuple[ImageArray, Box], repeats: int = 15) -> Speed:
    """Time the landmarks of a picture and a face box, with all views that the face asks for."""
    image, box = face
    size = landmarker.batch_size
    one = median_seconds(lambda: landmarker.detect(image, [box]), repeats)
    many = median_seconds(lambda: landmarker.detect(image, [box] * size), max(repeats // 5, 1)) / size
    return Speed(one, many, size, processor(), load_average())


def seconds_of_view(localizer: Localizer, repeats: int = 15) -> float:
    """Return the median time of one crop and its view, not mirrored: of noise, on which a network does the same work.

    A landmarker would view an unsure face, as noise is, more than once.
    """
    looker = Looker(localizer)
    noise = np.random.default_rng(0).integers(0, 256, (480, 640, 3)).astype(np.uint8)
    geometry = looker.geometry_of_box(Box(220, 140, 420, 340))
    return median_seconds(lambda: looker.view([noise], [geometry]), repeats)


def median_seconds(step: Callable[[], object], repeats: int) -> float:
    """Return the median time of several runs, after one that does not count."""
    step()  # the first run allocates
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        step()
        times.append(time.perf_counter() - begin)
    return statistics.median(times)


@dataclass(frozen=True)
class Floor:
    """The least time of one view: its multiply-adds at the speed of this machine's matrix product.

    Attributes:
        multiply_adds: of one face, by kind of node.
        gflops: speed of the matrix product, 10^9 operations a second.
        seconds: the least time.
        share: of the speed of the matrix product that the view reaches; medians of processor time.
    """

    multiply_adds: dict[str, int]
    gflops: float
    seconds: float
    share: float


@dataclass(frozen=True)
class Benchmark:
    """One interleaved run of `srn benchmark`; loads are averages of a minute at its begin and end."""

    weights: str
    threads: int
    timings: list[Timing]
    floor: Floor | None
    loads: tuple[float | None, float | None]
    left_out: list[str]

    def ratios(self) -> dict[tuple[str, str], Compared]:
        """Return the ratio of each step's times to those of its reference, by group and name."""
        return ratios(self.timings)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers for JSON."""
        compared = self.ratios()
        steps = []
        for timing in self.timings:
            found = compared.get((timing.step.group, timing.step.name))
            step = timing.to_dict()
            if found is not None:
                step["reference"] = timing.step.reference
                for name, interval in found._asdict().items():
                    step |= {f"{name}_ratio": interval.value, f"{name}_ratio_interval": interval.to_list()}
            steps.append(step)
        return {
            **facts(),
            "weights": self.weights,
            "threads": self.threads,
            "load_average": list(self.loads),
            "floor": None if self.floor is None else vars(self.floor),
            "steps": steps,
            "left_out": self.left_out,
        }


def run_benchmark(
    bench: Bench, steps: Sequence[Step], seconds: float, progress: Callable[[int], None] = lambda per_cent: None
) -> Benchmark:
    """Time steps, some of them those of a `Bench`; see `take_turns` for `seconds` and `progress`."""
    before = load_average()
    timings = take_turns(steps, seconds, progress)
    assert bench.threads is not None
    return Benchmark(
        bench.localizer.name,
        bench.threads,
        timings,
        _floor(bench, timings),
        (before, load_average()),
        bench.left_out,
    )


def _floor(bench: Bench, timings: Sequence[Timing]) -> Floor | None:
    """Compare the view with the matrix product of the same run; None for a network that is no ONNX file."""
    medians = {(timing.step.group, timing.step.name): timing.cpu_median for timing in timings}
    product = next((median for (group, _), median in medians.items() if group == "floor"), None)
    view = medians.get(("picture", "view"))
    if product is None or view is None or not isinstance(bench.localizer, OnnxLocalizer):
        return None
    counts = multiply_adds(bench.localizer.path.read_bytes())
    least = 2 * sum(counts.values()) / PRODUCT_FLOP * product
    return Floor(counts, PRODUCT_FLOP / product / 1e9, least, least / view)

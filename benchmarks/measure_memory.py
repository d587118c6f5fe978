"""Measure the resident memory of one landmarker over many calls of `FaceLandmarker.detect`.

Each call gets a picture of 64 x 64 pixels with one box: a portrait (Grace Hopper, sample data of Matplotlib) with other
grain for each call; every tenth call gets noise alone, whose crop is also tried in four turns. Memory is read every
tenth of the calls. The results are `docs/results/memory.md` and `.json`.

    python benchmarks/measure_memory.py --calls 100000
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.cbook import get_sample_data

from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn.inference.landmarker import FaceLandmarker
from srn.media.pictures import read_image

SIDE = 64
BOX = (8.0, 8.0, 56.0, 51.0)
READINGS = 10
NOISE_EVERY = 10

Picture = npt.NDArray[np.uint8]


def resident_mb() -> float:
    """Return the resident memory of this process in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def pictures(calls: int) -> Iterator[Picture]:
    """Yield the picture of each call, (64, 64, 3) uint8 RGB."""
    rng, hopper = np.random.default_rng(0), read_image(get_sample_data("grace_hopper.jpg", asfileobj=False))
    portrait = cv2.resize(hopper[144:384, 145:385], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    for call in range(1, calls + 1):
        if call % NOISE_EVERY == 0:
            yield rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        else:
            yield (portrait + rng.normal(0, 4, portrait.shape)).clip(0, 255).astype(np.uint8)


def readings(landmarker: FaceLandmarker, calls: int, minutes: float) -> Iterator[tuple[int, float]]:
    """Yield the number of calls and the resident memory in MB: after the first call, then after every tenth of them.

    The last reading comes early where the time is over.
    """
    end, every = time.monotonic() + 60 * minutes, max(calls // READINGS, 1)
    for call, picture in enumerate(pictures(calls), 1):
        landmarker.detect(picture, boxes=[BOX])
        over = time.monotonic() > end
        if call == 1 or call % every == 0 or call == calls or over:
            yield call, round(resident_mb(), 1)
        if over:
            return


def measure(landmarker: FaceLandmarker, options: argparse.Namespace) -> dict[str, Any]:
    """Take all readings of one landmarker, and print them as they come."""
    found, begin = [], time.monotonic()
    for call, memory in readings(landmarker, options.calls, options.minutes):
        print(f"{call:,} calls: {memory} MB", flush=True)
        found.append((call, memory))
    return {**provenance(options.threads), "weights": landmarker.localizer.name, "resident_mb": found,
            "minutes": round((time.monotonic() - begin) / 60, 1)}  # fmt: skip


def run(options: argparse.Namespace) -> None:
    """Measure, and write the page."""
    landmarker = FaceLandmarker(options.weights, threads=options.threads, accuracy="fast")
    content = measure(landmarker, options)
    rows = [[f"{call:,}", f"{memory:.1f}"] for call, memory in content["resident_mb"]]
    notes = [
        "accuracy fast; a picture of 64 x 64 pixels with one box: a portrait with other grain for each call, every"
        " tenth time noise, which is also tried in four turns",
        f"{content['minutes']:.0f} minutes",
    ]
    table = markdown_table(["calls", "resident MB"], rows)
    write_results(options.out, "memory", content, markdown_page("Memory over many calls", content, notes, table))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("--calls", type=int, default=100_000, help="calls (default: %(default)s)")
    made.add_argument("--minutes", type=float, default=30, help="stop after this time (default: %(default)s)")
    made.add_argument("--weights", type=Path, help="weights; the shipped ones if left out")
    return made


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

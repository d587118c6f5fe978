"""Measure the resident memory of one landmarker over many calls of `FaceLandmarker.detect`.

Each call gets a picture of noise of 64 x 64 pixels with one box. Memory is read every tenth of the calls. The results
are `docs/results/memory.md` and `.json`.

    python benchmarks/measure_memory.py --calls 100000
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from results import argument_parser, markdown_page, markdown_table, provenance, write_results
from srn.inference.landmarker import FaceLandmarker

BOX = (10.0, 8.0, 52.0, 56.0)
READINGS = 10


def resident_mb() -> float:
    """Return the resident memory of this process in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def readings(landmarker: FaceLandmarker, calls: int, minutes: float) -> Iterator[tuple[int, float]]:
    """Yield the number of calls and the resident memory in MB: after the first call, then after every tenth of them.

    The last reading comes early where the time is over.
    """
    rng, end = np.random.default_rng(0), time.monotonic() + 60 * minutes
    every = max(calls // READINGS, 1)
    for call in range(1, calls + 1):
        faces = landmarker.detect(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8), boxes=[BOX])
        assert len(faces) == 1
        over = time.monotonic() > end
        if call == 1 or call % every == 0 or call == calls or over:
            yield call, round(resident_mb(), 1)
        if over:
            return


def measure(landmarker: FaceLandmarker, options: argparse.Namespace) -> dict[str, Any]:
    """Take all readings of one landmarker, and print them as they come."""
    found = []
    for call, memory in readings(landmarker, options.calls, options.minutes):
        print(f"{call:,} calls: {memory} MB", flush=True)
        found.append((call, memory))
    return {**provenance(options.threads), "weights": landmarker.localizer.name, "resident_mb": found}


def main(arguments: list[str] | None = None) -> int:
    parser = argument_parser(__doc__)
    parser.add_argument("--calls", type=int, default=100_000, help="calls (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=30, help="stop after this time (default: %(default)s)")
    parser.add_argument("--weights", type=Path, help="weights; the shipped ones if left out")
    options = parser.parse_args(arguments)
    landmarker = FaceLandmarker(options.weights, threads=options.threads, accuracy="fast")
    content = measure(landmarker, options)
    rows = [[f"{call:,}", f"{memory:.1f}"] for call, memory in content["resident_mb"]]
    notes = ["accuracy fast; a picture of noise of 64 x 64 pixels with one box, another one for each call"]
    page = markdown_page("Memory over many calls", content, notes, markdown_table(["calls", "resident MB"], rows))
    write_results(options.out, "memory", content, page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

"""`srn benchmark`."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from srn.cli import options
from srn.errors import InputError
from srn.media.pictures import read_image


def benchmark(
    picture: Annotated[Path, typer.Argument(help="A picture with a face.")],
    repeats: Annotated[int, typer.Option(min=3, help="How often each step is timed; the median counts.")] = 30,
    weights: options.Weights = None,
    threads: options.Threads = None,
) -> None:
    """Time the face finder and the landmarks on this machine.

    Example: `srn benchmark portrait.jpg`
    """
    image = read_image(picture)
    landmarker = options.open_landmarker(weights, 1, False, threads, None)
    found = landmarker.find(image)
    boxes = [box for box, _ in found[:1]]
    if not boxes:
        raise InputError.at(picture, "a picture with a face", "no face in it")
    twice = options.open_landmarker(weights, 2, False, threads, None)
    steps: dict[str, tuple[int, Callable[[], object]]] = {
        "face finder, one picture": (1, lambda: landmarker.find(image)),
        "landmarks, one face": (1, lambda: landmarker.detect(image, boxes)),
        "landmarks, one face, two passes": (1, lambda: twice.detect(image, boxes)),
        "landmarks, 16 faces at once": (16, lambda: landmarker.detect(image, boxes * 16)),
    }
    table = Table(title=f"{landmarker.localizer.name} on {os.cpu_count()} cores, {platform.machine()}")
    for column in ("step", "ms", "a second"):
        table.add_column(column, justify="left" if column == "step" else "right")
    with options.progress_bar("runs") as progress:
        task = progress.add_task("timing", total=len(steps) * repeats)
        for name, (count, step) in steps.items():
            times = []
            for _ in range(repeats):
                begin = time.perf_counter()
                step()
                times.append((time.perf_counter() - begin) / count)
                progress.advance(task)
            median = float(np.median(times[1:]))
            table.add_row(name, f"{median * 1e3:.1f}", f"{1 / median:.0f}")
    options.console.print(table)

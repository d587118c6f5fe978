"""`srn benchmark`."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.errors import InputError
from srn.evaluation.speed import median_seconds
from srn.media.pictures import read_image


def benchmark(
    picture: Annotated[Path, typer.Argument(help="A picture with a face.")],
    repeats: Annotated[int, typer.Option(min=3, help="Runs of each step; the median counts.")] = 30,
    weights: options.Weights = None,
    threads: options.Threads = None,
) -> None:
    """Time the face finder and the landmarks on this machine.

    Example: `srn benchmark portrait.jpg`
    """
    image = read_image(picture)
    one_pass, two_passes = (options.open_landmarker(weights, n, False, threads, None) for n in (1, 2))
    found = one_pass.find(image)
    if not found:
        raise InputError.at(picture, "a picture with a face", "no face in it")
    title = f"{one_pass.localizer.name} on {os.cpu_count()} cores, {platform.machine()}"
    table = options.number_table(title, "step", ("ms", "a second"))
    box = found[0].box
    steps: dict[str, tuple[int, Callable[[], object]]] = {
        "face finder, one picture": (1, lambda: one_pass.find(image)),
        "landmarks, one face": (1, lambda: one_pass.detect(image, [box])),
        "landmarks, one face, two passes": (1, lambda: two_passes.detect(image, [box])),
        "landmarks, 16 faces at once": (16, lambda: one_pass.detect(image, [box] * 16)),
    }
    with options.progress_bar("steps") as progress:
        for name, (count, step) in progress.track(steps.items(), description="timing"):
            seconds = median_seconds(step, repeats) / count
            table.add_row(name, f"{seconds * 1e3:.1f}", f"{1 / seconds:.0f}")
    options.console.print(table)

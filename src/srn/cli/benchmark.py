"""`srn benchmark`."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from srn.cli import options
from srn.errors import MissingDependencyError, SrnError
from srn.files import NUMBERS_JSON, write_json

if TYPE_CHECKING:
    from srn.evaluation.speed import Benchmark
    from srn.evaluation.speed_steps import Bench
    from srn.evaluation.timing import Step

SECONDS, QUICK_SECONDS = 40.0, 6.0
NAMES = ("weights", "against")


def benchmark(
    picture: Annotated[
        Path | None, typer.Argument(help="A picture with a face; a portrait that comes along if left out.")
    ] = None,
    against: Annotated[
        Path | None, typer.Option(help="An exported `.onnx` to pair with the weights: the ratio and its interval.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the numbers, with the circumstances."), NUMBERS_JSON
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer steps and rounds: a dozen seconds.")] = False,
    seconds: Annotated[
        float | None,
        typer.Option(min=0, max=86_400, help=f"Time for the rounds; {SECONDS:g}, with --quick {QUICK_SECONDS:g}."),
    ] = None,
    weights: options.Weights = None,
    threads: options.Threads = None,
    device: options.Device = "cpu",
) -> None:
    """Time the face finder, the landmarks and the tracking on this machine.

    All steps take turns in one run, so that other work on the machine falls on all of them. A ratio compares the time
    of a step with that of the first such step of its group, and has a 95 % interval over the rounds.

    Example: `srn benchmark --threads 1 --json speed.json`
    """
    from srn.evaluation.speed import run_benchmark
    from srn.evaluation.speed_steps import Bench
    from srn.inference.cores import limit_opencv

    limit_opencv(threads)
    bench = Bench(picture, weights, threads, device, quick)
    pair = [] if against is None else list(bench.against("against", NAMES, against))  # before minutes of work
    steps = bench.steps() + pair
    with tempfile.TemporaryDirectory() as folder, options.progress("per cent") as begin:
        steps += () if quick else _of_iterations(bench, Path(folder))
        default = QUICK_SECONDS if quick else SECONDS
        found = run_benchmark(bench, steps, default if seconds is None else seconds, begin("timing", 100))
    if json_file is not None:
        write_json(json_file, found.to_dict())
    _show(found)


def _of_iterations(bench: Bench, folder: Path) -> Iterator[Step]:
    """Compare the network with its first iterations alone, which `srn export` cuts off."""
    try:
        with MissingDependencyError.importing("train", "cutting off iterations"):
            from srn.model.checkpoint import adapted
            from srn.model.export import export_onnx, load_weights
        from srn.inference.runtime import open_localizer, shipped_weights

        network, provenance = load_weights(bench.weights or shipped_weights(), older=True)
        whole = network.config.iterations
        yield bench.view("iterations", f"{whole} iterations", bench.localizer, 1)
        for count in range(whole - 1, 0, -1):
            file = folder / f"{count}.onnx"
            export_onnx(
                adapted(network, dataclasses.replace(network.config, iterations=count)), file, provenance=provenance
            )
            localizer = open_localizer(file, threads=bench.threads, device=bench.device)
            name = options.counted(count, "iteration")
            yield bench.view("iterations", name, localizer, 1, f"{whole} iterations")
    except (MissingDependencyError, SrnError) as error:
        bench.left_out.append(f"iterations: {error}")


def _show(found: Benchmark) -> None:
    """Print the table, the floor and what was left out."""
    from srn.evaluation.provenance import processor

    loads = " to ".join("unknown" if load is None else f"{load:.1f}" for load in found.loads)
    title = f"{found.weights}, {processor()}, {options.counted(found.threads, 'thread')}, load {loads}"
    table = options.number_table(title, "step", ("ms", "best ms", "CPU ms", "a second", "ratio"))
    compared, group = found.ratios(), None
    for timing in found.timings:
        step = timing.step
        if step.group != group:
            table.add_section()
            table.add_row(step.group)
            group = step.group
        ratio = compared[step.group, step.name].time if step.reference else None
        table.add_row(
            f"  {step.name}",
            *(f"{seconds * 1e3:.2f}" for seconds in (timing.median, timing.best, timing.cpu_median)),
            options.counted(round(1 / timing.median), step.unit),
            "" if ratio is None else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]",
        )
    options.console.print(table)
    options.say(f"ms: median of {len(found.timings[0].seconds)} rounds; CPU ms: processor time of all threads")
    if found.floor is not None:
        floor = found.floor
        options.say(
            f"floor: {sum(floor.multiply_adds.values()) / 1e6:.0f} million multiply-adds a view, at the"
            f" {floor.gflops:.0f} GFLOP/s of the matrix product {floor.seconds * 1e3:.2f} ms; the view reaches"
            f" {floor.share:.0%} of that speed"
        )
    for line in found.left_out:
        options.say(f"left out: {line}")

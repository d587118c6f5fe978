"""Measure the speed on this machine, also against an older version, an older file and a peer; write `speed.md`.

    python benchmarks/measure_speed.py [--old PYTHON] [--against FILE] [--peer face_landmark.tflite] [--picture FILE]

Everything takes turns, on one thread (`--threads`). PYTHON is the interpreter of an environment in which an older
version of `srn` is installed, FILE an older network. The peer is MediaPipe's face_landmark.tflite (module
`face_landmark` of the wheel mediapipe 0.10.21), which `pip install ai-edge-litert` runs. A portrait that comes along is
measured, and needs no data; `--picture` names another.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn.errors import InputError, MissingDependencyError
from srn.evaluation.speed import Benchmark, run_benchmark
from srn.evaluation.speed_steps import PLACES, Bench
from srn.evaluation.statistics import Interval
from srn.evaluation.timing import Step, load_average, ratio
from srn.inference.cores import limit_opencv, usable_cores

TURN = 0.05  # seconds that a short job fills in a round
JOBS = ("face finder", "view", "portrait, end to end", *(f"tracking {name}" for name in PLACES))
THREAD_CASES = ((1, 1, 1), (1, 1, 8), (2, 1, 1), (2, 1, 2), (2, 1, 8), (2, 2, 1), (2, 2, 2), (2, 2, 8))
"""Cores, processes beside each other, and threads that each asks for."""

Times = dict[str, tuple[np.ndarray, np.ndarray]]  # by job: seconds and processor seconds of each round


def peer_step(path: Path, reference: str, threads: int) -> Step:
    """Make a step that runs MediaPipe's landmarks of one face."""
    try:
        interpreter = importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise MissingDependencyError(f"{path} needs a runtime; install it with: pip install ai-edge-litert") from error
    if not path.is_file():
        raise InputError.at(path, "MediaPipe's face_landmark.tflite", "no such file")
    network = interpreter.Interpreter(str(path), num_threads=threads)
    network.allocate_tensors()
    (image,) = network.get_input_details()
    noise = np.random.default_rng(0).random(image["shape"], np.float32)

    def run() -> None:
        network.set_tensor(image["index"], noise)
        network.invoke()

    return Step("peer", "MediaPipe face_landmark, 468 points", run, reference=reference)


@contextmanager
def worker(python: str, settings: Mapping[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """Start a `speed_worker.py` in an environment, and end it afterwards."""
    script = Path(__file__).with_name("speed_worker.py")
    isolated = [] if python == sys.executable else ["-I"]  # PYTHONPATH is this version's
    run = [python, *isolated, str(script), json.dumps(settings)]
    with subprocess.Popen(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            if _stream(process.stdout).readline() != "ready\n":
                raise InputError.at(python, "a Python in which srn is installed", "one that could not measure it")
            yield process
        finally:
            _stream(process.stdin).close()
            process.kill()


def _stream(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def ask(process: subprocess.Popen[str], job: str, turn: float) -> None:
    """Let a worker begin a job."""
    print(json.dumps([job, turn]), file=_stream(process.stdin), flush=True)


def answer(process: subprocess.Popen[str]) -> list[float]:
    """Wait for a worker's job; returns its seconds and processor seconds."""
    return list(json.loads(_stream(process.stdout).readline()))


def versions(pythons: Sequence[str], settings: Mapping[str, Any], rounds: int) -> list[Times]:
    """Time the jobs of two versions in turns; only the second one has the weights of the settings."""
    own = {name: value for name, value in settings.items() if name != "weights"}
    found: list[dict[str, list[list[float]]]] = [{job: [] for job in JOBS} for _ in pythons]
    with worker(pythons[0], own) as first, worker(pythons[1], settings) as second:
        for _ in range(rounds):
            for job in JOBS:
                for process, times in zip((first, second), found, strict=True):
                    ask(process, job, TURN)
                    times[job].append(answer(process))
    return [{job: (np.array(t)[:, 0], np.array(t)[:, 1]) for job, t in times.items()} for times in found]


def thread_rows(settings: Mapping[str, Any], rounds: int) -> list[dict[str, Any]]:
    """Time views with several numbers of threads, cores and processes."""
    cores = sorted(os.sched_getaffinity(0))[:2] if hasattr(os, "sched_getaffinity") else [0]
    rows = []
    for count, processes, threads in THREAD_CASES:
        if count > min(len(cores), usable_cores()):
            continue
        one = {**settings, "threads": threads, "cores": cores[:count], "frames": {}}
        with worker(sys.executable, one) as a, worker(sys.executable, one) as b:
            times: list[list[float]] = []
            for _ in range(rounds):
                team = (a, b)[:processes]
                for process in team:
                    ask(process, "view", 0.3)
                times += [answer(process) for process in team]
        wall, cpu = np.median(np.array(times), axis=0)
        known = {"cores": count, "processes": processes, "asked": threads, "used": min(threads, count)}
        rows.append({**known, "ms": float(wall * 1e3), "cpu_ms": float(cpu * 1e3)})
    return rows


def steps_table(found: Benchmark) -> str:
    """Format the steps of the benchmark."""
    compared = found.ratios()
    rows = []
    for timing in found.timings:
        step = timing.step
        pair = compared.get((step.group, step.name))
        times = [f"{seconds * 1e3:.2f}" for seconds in (timing.cpu_median, timing.median, timing.best)]
        rates = [f"{1 / timing.cpu_median:.0f}", "" if pair is None else interval(pair.cpu), step.reference or ""]
        rows.append([step.group, step.name, step.unit, *times, *rates])
    columns = ("group", "step", "unit", "CPU ms", "ms", "best ms", "units a CPU second", "ratio of CPU time", "to")
    return markdown_table(columns, rows)


def interval(value: Interval) -> str:
    return f"{value.value:.2f} ({value.low:.2f} to {value.high:.2f})"


def versions_table(old: Times, new: Times) -> tuple[str, dict[str, Any]]:
    """Compare two versions, job by job: a table, and numbers for JSON."""
    rows, numbers = [], {}
    for job in JOBS:
        times = [float(np.median(t[job][1])) * 1e3 for t in (old, new)]
        compared = ratio(new[job][1], old[job][1])
        clock = ratio(new[job][0], old[job][0])
        rows.append([job, *(f"{ms:.2f}" for ms in times), interval(compared), interval(clock), f"{1e3 / times[1]:.0f}"])
        numbers[job] = {"old_cpu_ms": times[0], "new_cpu_ms": times[1], "cpu_ratio": compared.value,
                        "cpu_ratio_interval": compared.to_list(), "time_ratio": clock.value,
                        "time_ratio_interval": clock.to_list()}  # fmt: skip
    columns = ("job", "old, CPU ms", "new, CPU ms", "ratio of CPU time", "ratio of time", "new, a CPU second")
    return markdown_table(columns, rows), numbers


def floor_line(found: Benchmark) -> str:
    """Say what share of the machine's matrix product the view reaches."""
    if found.floor is None:
        return "no floor: the network is no ONNX file"
    floor, parts = found.floor, found.floor.multiply_adds
    shares = ", ".join(f"{kind} {count / sum(parts.values()):.0%}" for kind, count in parts.items())
    return (
        f"floor of a view: {sum(parts.values()) / 1e6:.0f} million multiply-adds ({shares}) at the {floor.gflops:.0f}"
        f" GFLOP/s of a matrix product: {floor.seconds * 1e3:.2f} ms; the view reaches {floor.share:.0%} of that speed"
    )


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("--old", help="Python of an older version's environment")
    made.add_argument("--against", type=Path, help="an older network, paired with the weights")
    made.add_argument("--peer", type=Path, help="MediaPipe's face_landmark.tflite")
    made.add_argument("--picture", type=Path, help="a portrait to measure (default: the shipped one)")
    made.add_argument("--weights", type=Path, help="weights to measure (default: the shipped ones)")
    made.add_argument("--seconds", type=float, default=60.0, help="of the interleaved run (default: %(default)s)")
    made.add_argument("--rounds", type=int, default=15, help="of the versions and threads (default: %(default)s)")
    return made


def run(options: argparse.Namespace) -> None:
    """Measure, write and print the page."""
    before = load_average()
    limit_opencv(options.threads)
    bench = Bench(options.picture, weights=options.weights, threads=options.threads)
    steps = bench.steps()
    if options.against is not None:
        steps += bench.against("files", ("new", "old"), options.against)
    if options.peer is not None:
        steps += [
            bench.view("peer", "view, 68 points", bench.localizer, 1),
            peer_step(options.peer, "view, 68 points", options.threads),
        ]
    found = run_benchmark(bench, steps, options.seconds)
    content: dict[str, Any] = {**found.to_dict(), **provenance(options.threads)}
    parts = ["## All parts in one run", steps_table(found)]
    with tempfile.TemporaryDirectory() as folder:
        settings = _settings(bench, options, Path(folder))
        if options.old is not None:
            old, new = versions((options.old, sys.executable), settings, options.rounds)
            table, content["versions"] = versions_table(old, new)
            parts += ["## The older version beside this one", table]
        content["threads_table"] = thread_rows(settings, options.rounds)
    rows = [
        [str(r["cores"]), str(r["processes"]), str(r["asked"]), str(r["used"]), f"{r['ms']:.1f}", f"{r['cpu_ms']:.1f}"]
        for r in content["threads_table"]
    ]
    columns = ("cores", "processes", "threads asked for", "threads used", "ms a view", "CPU ms a view")
    parts += ["## Threads", markdown_table(columns, rows)]
    loads = [f"{load:.1f}" for load in (before, load_average()) if load is not None]
    notes = (
        f"load average {' to '.join(loads)}; CPU time is processor time of all threads: it does not count waiting for a"
        " core, but what other work takes from caches and clock rate is in it",
        f"portrait: {'the shipped one' if options.picture is None else options.picture.name}, {_size(bench)} pixels",
        "medians of the rounds; in brackets the 95 % interval of a ratio over them",
        floor_line(found),
    )
    write_results(options.out, "speed", content, markdown_page("Speed, measured", content, notes, *parts))


def _size(bench: Bench) -> str:
    height, width = bench.image.shape[:2]
    return f"{width} x {height}"


def _settings(bench: Bench, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Write what the workers read, and name it."""
    arrays = {"picture": bench.image, **{name: np.stack(bench.frames(name)) for name in PLACES}}
    files = {}
    for number, (name, array) in enumerate(arrays.items()):
        files[name] = str(folder / f"{number}.npy")
        np.save(files[name], array)
    weights = {} if options.weights is None else {"weights": str(options.weights.resolve())}
    frames = {name: files[name] for name in PLACES}
    return {"picture": files["picture"], "box": bench.box.as_array().tolist(), "frames": frames,
            "threads": options.threads, **weights}  # fmt: skip


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

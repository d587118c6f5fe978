"""Measure `srn detect` over many pictures beside another installation of it: speed, start, memory; and kill it.

    python benchmarks/measure_many_pictures.py PICTURES --other OTHER/.venv/bin/python

- speed: all pictures of the folder PICTURES, with and without overlays, in turns with the other installation:
  pictures a second by the clock, processor time of a picture, and how far the landmarks of both lie apart.
- start: whole processes, in turns: `import srn`, `srn --help`, `srn detect` of one picture.
- memory: the largest resident memory over 8 pictures of 48 megapixels.
- kill: 1,000 small pictures, killed three times with SIGKILL and resumed, beside an undisturbed run.

The results are `docs/results/many_pictures.md` and `.json`; parts that are not measured keep their numbers.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from measure_recovery import Portrait, background
from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn.errors import InputError
from srn.media.pictures import write_image

NAME = "many_pictures"
KILLED_PICTURES, SIDE = 1000, 128
LARGE, LARGE_PICTURES = (6000, 8000), 8  # height and width in pixels: 48 megapixels


class Ended(NamedTuple):
    """A process that is over: seconds by the clock, processor seconds, resident megabytes at most, what it said."""

    wall: float
    cpu: float
    memory: float
    said: str


def environment() -> dict[str, str]:
    """One thread for NumPy, and compiled modules as an installed package has them."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    cache = {"PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "many_pictures_modules")}
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | threads | cache


def ended(command: Sequence[object], *, codes: Sequence[int] = (0,)) -> Ended:
    """Run a process to its end."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        words = [str(word) for word in command]
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=said, env=environment())
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode not in codes:
        raise InputError.at(" ".join(words), f"exit {codes}", f"{process.returncode}: {text[-300:]}")
    return Ended(time.perf_counter() - begin, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, text)


def in_turns(pythons: dict[str, str], repeats: int, command: Callable[[str], list[object]]) -> dict[str, list[Ended]]:
    """Run a command with each installation, A B A B ..."""
    runs: dict[str, list[Ended]] = {name: [] for name in pythons}
    for _ in range(repeats):
        for name, python in pythons.items():
            runs[name].append(ended([python, *command(name)], codes=(0, 1)))
    return runs


def apart(one: Path, other: Path) -> dict[str, float]:
    """How far the landmarks of two result files lie apart, by faces of the same picture and place."""
    old, new = (json.loads(path.read_text())["images"] for path in (one, other))
    known = {image["path"]: image["faces"] for image in old}
    distances, equal = [0.0], 0
    for image in new:
        faces = known.get(image["path"], [])
        equal += len(faces) == len(image["faces"])
        for a, b in zip(faces, image["faces"], strict=False):
            (x0, y0, x1, y1), points = a["box"], np.array(a["landmarks"])
            far = np.linalg.norm(points - np.array(b["landmarks"]), axis=1).mean()
            distances.append(100 * float(far) / float(np.hypot(x1 - x0, y1 - y0) / np.sqrt(2)))
    return {
        "pictures": len(new),
        "pictures_with_as_many_faces": equal,
        "median_percent_of_face": round(statistics.median(distances), 4),
        "largest_percent_of_face": round(max(distances), 2),
    }


ROWS: dict[str, tuple[bool, list[str]]] = {
    "JSON": (False, []),
    "JSON and overlays": (True, []),
    "JSON, --accuracy best": (False, ["--accuracy", "best"]),  # the views of the installation before `--accuracy`
}


def measure_speed(options: argparse.Namespace, pythons: dict[str, str], folder: Path) -> dict[str, Any]:
    rows: dict[str, Any] = {}
    count = sum(1 for path in options.pictures.rglob("*") if path.is_file())
    for label in options.rows:
        overlay, more = ROWS[label]

        def command(name: str, overlay: bool = overlay, more: Sequence[str] = more) -> list[object]:
            drawn = ["--out", folder / f"drawn_{name}"] if overlay else []
            words: list[object] = ["-m", "srn", "detect", options.pictures, "--json", folder / f"{name}.json", *drawn]
            return [*words, "--threads", options.threads, *(more if name == "new" else [])]

        runs = in_turns(pythons, options.repeats, command)
        best = {name: min(run.cpu for run in some) for name, some in runs.items()}
        clock = {name: statistics.median(run.wall for run in some) for name, some in runs.items()}
        rows[label] = {
            "repeats": options.repeats,
            "cpu_ms_a_picture": {name: round(1000 * cpu / count, 2) for name, cpu in best.items()},
            "pictures_a_second": {name: round(count / wall, 2) for name, wall in clock.items()},
            "memory_mb": {name: round(max(run.memory for run in some)) for name, some in runs.items()},
            "ratio_cpu": round(best["old"] / best["new"], 2),
            "ratio_clock": round(statistics.median(a.wall / b.wall for a, b in zip(*runs.values(), strict=True)), 2),
            "apart": apart(folder / "old.json", folder / "new.json"),
        }
        print(label, rows[label], flush=True)
    return rows


def measure_start(options: argparse.Namespace, pythons: dict[str, str], folder: Path) -> dict[str, Any]:
    picture = sorted(path for path in options.pictures.rglob("*") if path.is_file())[0]
    commands: dict[str, list[object]] = {
        "python -c pass": ["-c", "pass"],
        "import srn": ["-c", "import srn"],
        "srn --help": ["-m", "srn", "--help"],
        "srn detect one picture": ["-m", "srn", "detect", picture, "--threads", options.threads],
    }
    rows = {}
    for label, words in commands.items():
        runs = in_turns(pythons, 1 + options.starts, lambda name, words=words: words)  # type: ignore[misc]
        runs = {name: some[1:] for name, some in runs.items()}  # the first one compiles modules
        cpu = {name: statistics.median(run.cpu for run in some) for name, some in runs.items()}
        wall = {name: statistics.median(run.wall for run in some) for name, some in runs.items()}
        rows[label] = {
            "cpu_ms": {name: round(1000 * value) for name, value in cpu.items()},
            "wall_ms": {name: round(1000 * value) for name, value in wall.items()},
            "ratio_cpu": round(cpu["new"] / cpu["old"], 2),
            "ratio_clock": round(statistics.median(b.wall / a.wall for a, b in zip(*runs.values(), strict=True)), 2),
        }
        print(label, rows[label], flush=True)
    return rows


def make_large(folder: Path) -> None:
    """Make the large pictures."""
    portrait = Portrait()
    canvas = np.tile(background(0), (LARGE[0] // 480 + 1, LARGE[1] // 640 + 1, 1))[: LARGE[0], : LARGE[1]].copy()
    portrait.paste(canvas, LARGE[1] / 2, LARGE[0] / 2, LARGE[0] / 4, 0.0)
    for number in range(LARGE_PICTURES):
        write_image(folder / f"{number}.jpg", canvas)


def measure_memory(options: argparse.Namespace, pythons: dict[str, str], folder: Path) -> dict[str, Any]:
    # In a process of its own: the memory of a process counts for those that it starts.
    maker = multiprocessing.Process(target=make_large, args=(folder / "large",))
    maker.start()
    maker.join()
    rows = {}
    for label, more in (("JSON", []), ("JSON and overlays", ["--out"])):
        runs = in_turns(
            pythons, 1, lambda name, more=more: [  # type: ignore[misc]
                "-m", "srn", "detect", folder / "large", "--json", folder / f"{name}.json", "--threads",
                options.threads, *more, *([folder / f"large_{name}"] if more else []),
            ],
        )  # fmt: skip
        rows[label] = {name: round(some[0].memory) for name, some in runs.items()}
        print(label, rows[label], flush=True)
    return rows


def measure_kill(options: argparse.Namespace, pythons: dict[str, str], folder: Path) -> dict[str, Any]:
    portrait, chance = Portrait(), random.Random(options.seed)
    for number in range(options.killed):
        image = background(number % 7)[: SIDE + number % 32, : SIDE + number % 16].copy()
        portrait.paste(image, SIDE / 2, SIDE / 2, SIDE * (0.4 + 0.1 * chance.random()), chance.uniform(-0.3, 0.3))
        write_image(folder / "small" / f"{number:04}.jpg", image)

    def command(name: str) -> list[object]:
        out = folder / name
        words: list[object] = [sys.executable, "-m", "srn", "detect", folder / "small", "--threads", options.threads]
        return [*words, "--out", out, "--format", "pts", "--json", out / "faces.jsonl"]

    whole = ended(command("whole"))
    files = {path.relative_to(folder / "whole"): path.read_bytes() for path in (folder / "whole").rglob("*.*")}
    done: list[int] = []
    used = 0.0
    for goal in sorted(chance.sample(range(options.killed // 20, options.killed * 9 // 10), 3)):
        process = subprocess.Popen(
            [*map(str, command("killed")), "--resume"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env=environment(),
        )  # fmt: skip
        while process.poll() is None and len(list((folder / "killed").glob("*.jpg"))) < goal:
            time.sleep(0.05)
        time.sleep(0.3 * chance.random())
        journal = folder / "killed" / ".faces.jsonl.partial.jsonl"
        if process.poll() is not None or not journal.exists():
            raise InputError.at("kill", f"a run of {options.killed} pictures that lasts longer", "its end")
        process.send_signal(signal.SIGKILL)
        _, _, usage = os.wait4(process.pid, 0)
        used += usage.ru_utime + usage.ru_stime
        done.append(sum(len(json.loads(line)) for line in journal.read_bytes().splitlines(keepends=True)[1:]
                        if line.endswith(b"\n")))  # fmt: skip
    last = ended([*command("killed"), "--resume"])
    left = re.search(r"^(\d+) of \d+ pictures are done$", last.said, re.MULTILINE)
    found = {path.relative_to(folder / "killed"): path.read_bytes() for path in (folder / "killed").rglob("*.*")}
    found = {name: value for name, value in found.items() if ".partial" not in name.suffixes[-2:-1]}
    row = {
        "pictures": options.killed, "kills": len(done), "done_at_the_kills": done,
        "taken_over_by_the_last_run": int(left[1]) if left else 0,
        "files": len(files), "lost_files": len(set(files) - set(found)), "further_files": len(set(found) - set(files)),
        "unequal_files": sum(found.get(name) != value for name, value in files.items() if name in found),
        "cpu_s": {"undisturbed": round(whole.cpu, 1), "killed and resumed": round(used + last.cpu, 1)},
    }  # fmt: skip
    print("kill", row, flush=True)
    return row


PARTS = {"speed": measure_speed, "start": measure_start, "memory": measure_memory, "kill": measure_kill}


NOTES = (
    "old is the other installation, new this one; both in turns, with the same number of threads",
    "processor time is that of all threads of a process with its start; the clock depends on the load",
    "memory and speed of the other installation are those of its own defaults",
)


def page(content: dict[str, Any]) -> str:
    """Make the page of all parts."""
    parts = []
    if "speed" in content:
        rows = [
            [label, *(f"{row['pictures_a_second'][name]:.1f}" for name in ("old", "new")), f"{row['ratio_clock']:.2f}",
             *(f"{row['cpu_ms_a_picture'][name]:.1f}" for name in ("old", "new")), f"{row['ratio_cpu']:.2f}",
             f"{row['apart']['pictures_with_as_many_faces']} of {row['apart']['pictures']}",
             f"{row['apart']['median_percent_of_face']:.3f}"]
            for label, row in content["speed"].items()
        ]  # fmt: skip
        columns = ["output", "pictures a second, old", "new", "ratio", "processor ms a picture, old", "new", "ratio",
                   "pictures with as many faces", "median distance of the landmarks, % of the face"]  # fmt: skip
        parts += ["## Speed", markdown_table(columns, rows)]
    if "start" in content:
        rows = [
            [label, *(str(row["cpu_ms"][name]) for name in ("old", "new")), f"{row['ratio_cpu']:.2f}",
             *(str(row["wall_ms"][name]) for name in ("old", "new")), f"{row['ratio_clock']:.2f}"]
            for label, row in content["start"].items()
        ]  # fmt: skip
        columns = ["process", "processor ms, old", "new", "new / old", "ms by the clock, old", "new", "new / old"]
        parts += ["## Start", markdown_table(columns, rows)]
    if "memory" in content:
        rows = [[label, str(row["old"]), str(row["new"])] for label, row in content["memory"].items()]
        columns = [f"{LARGE_PICTURES} pictures of 48 megapixels", "largest resident memory, old, MB", "new, MB"]
        parts += ["## Memory", markdown_table(columns, rows)]
    if "kill" in content:
        row = content["kill"]
        done = ", ".join(map(str, row["done_at_the_kills"]))
        seconds = row["cpu_s"]
        rows = [
            ["pictures, kills", f"{row['pictures']}, {row['kills']}"],
            ["pictures in the journal at the kills", done],
            ["taken over by the last run", str(row["taken_over_by_the_last_run"])],
            ["files of the undisturbed run", str(row["files"])],
            ["of these lost, unequal", f"{row['lost_files']}, {row['unequal_files']}"],
            ["further files", str(row["further_files"])],
            ["processor seconds, undisturbed", str(seconds["undisturbed"])],
            ["processor seconds, four processes", str(seconds["killed and resumed"])],
        ]
        parts += ["## Kills", markdown_table(["killed and resumed", ""], rows)]
    notes = [
        f"{part}: `{of['command']}`, commit {of['commit'] or 'not known'}, {of['set']}, load {of['load']}"
        for part, of in content["measured"].items()
    ]
    facts = {name: next(iter(content["measured"].values()))[name] for name in ("date", "hardware")}
    return markdown_page("srn detect over many pictures", facts, [*notes, *NOTES], *parts)


def run(options: argparse.Namespace) -> None:
    if not options.pictures.is_dir():
        raise InputError.at(options.pictures, "a folder of pictures", "none")
    pythons = {"old": str(options.other or sys.executable), "new": sys.executable}
    kept = options.out / f"{NAME}.json"
    content: dict[str, Any] = json.loads(kept.read_text()) if kept.is_file() else {"measured": {}}
    for part in options.parts:
        with tempfile.TemporaryDirectory(prefix="many_pictures_") as folder:
            content[part] = PARTS[part](options, pythons, Path(folder))
        load = round(os.getloadavg()[0], 1)
        words = options.set or f"pictures of {options.pictures.name}"
        content["measured"][part] = {**provenance(options.threads), "set": words, "load": load}
        write_results(options.out, NAME, content, page(content))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("pictures", type=Path, help="folder of pictures")
    made.add_argument("--other", type=Path, help="Python of the other installation; this one if left out")
    made.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    made.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), help="rows of the part speed")
    made.add_argument("--repeats", type=int, default=2, help="runs over all pictures (default: %(default)s)")
    made.add_argument("--starts", type=int, default=7, help="runs of each start (default: %(default)s)")
    made.add_argument("--killed", type=int, default=KILLED_PICTURES, help="pictures of the killed run")
    made.add_argument("--set", help="what the pictures are, in words")
    made.add_argument("--seed", type=int, default=0)
    return made


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

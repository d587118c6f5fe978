"""Shared parts of all benchmarks: arguments, provenance, and results as JSON and Markdown."""

from __future__ import annotations

import argparse
import datetime
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.errors import SrnError
from srn.evaluation.provenance import commit, processor
from srn.files import write_atomically, write_json

RESULTS = Path(__file__).parents[1] / "docs" / "results"
"""Default folder of all results."""

BOOTSTRAPS = 2000

PROVENANCE = ("command", "date", "hardware", "commit")


def argument_parser(description: str | None, *, threads: int = 1) -> argparse.ArgumentParser:
    """Make a parser with the options of every benchmark: `--threads` and `--out`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=threads, help="CPU threads (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (default: docs/results)")
    return parser


def program(
    run: Callable[[argparse.Namespace], object], parser: Callable[[], argparse.ArgumentParser]
) -> Callable[..., int]:
    """Make the function `main` of a benchmark, which takes the words of a command line, `sys.argv`'s if left out.

    It returns 2, with one line on the standard error stream, on the user's mistake.
    """

    def main(arguments: Sequence[str] | None = None) -> int:
        try:
            run(parser().parse_args(arguments))
        except SrnError as error:
            print(error, file=sys.stderr)
            return 2
        return 0

    return main


def command_line(arguments: Sequence[str]) -> str:
    """Give the command of a benchmark from its `sys.argv`, with absolute paths by their names alone."""
    names = [Path(a).name if Path(a).is_absolute() else a for a in arguments]
    return shlex.join(["python", f"benchmarks/{Path(names[0]).name}", *names[1:]])


def provenance(threads: int, arguments: Sequence[str] | None = None) -> dict[str, str]:
    """Describe a measurement by command, date, hardware and commit.

    Args:
        threads: CPU threads of the measurement.
        arguments: `sys.argv` where None.
    """
    return {
        "command": command_line(sys.argv if arguments is None else arguments),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "hardware": f"{processor()}, {threads} thread{'s' if threads != 1 else ''}",
        "commit": commit(),
    }


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Format a table; every row has a cell for each column."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def markdown_page(title: str, content: Mapping[str, Any], notes: Iterable[str], *parts: str) -> str:
    """Format a page: title, provenance (as far as `content` has it) and notes as a list, then the parts."""
    facts = [f"- {name}: {content[name]}" for name in (*PROVENANCE, "weights") if name in content]
    head = "\n".join([*facts, *(f"- {note}" for note in notes)])
    return "\n\n".join([f"# {title}", head, *parts]) + "\n"


def write_results(folder: Path, name: str, content: Mapping[str, Any] | None, page: str) -> None:
    """Write `page` as NAME.md and `content`, where there is any, as NAME.json; print the page."""
    if content is not None:
        write_json(folder / f"{name}.json", content)
    write_atomically(folder / f"{name}.md", page)
    print(page, end="")


def paired_difference(
    arm: npt.NDArray[np.float64], other: npt.NDArray[np.float64], rng: np.random.Generator
) -> tuple[float, float, float]:
    """Return the mean of arm minus other, and its 95 % interval by a bootstrap over both seeds and faces.

    Both are errors (seeds, faces) of the same seeds and faces.
    """
    gap = arm - other
    seeds = rng.integers(len(gap), size=(BOOTSTRAPS, len(gap)))
    faces = rng.integers(gap.shape[1], size=(BOOTSTRAPS, gap.shape[1]))
    means = [gap[s][:, f].mean() for s, f in zip(seeds, faces, strict=True)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(gap.mean()), float(low), float(high)

"""Options that several commands share, the objects that they become, and common output."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from srn.errors import MissingDependencyError, printable
from srn.evaluation.cache import EvaluationCache, default_folder
from srn.inference.face_finder import YuNetFinder
from srn.inference.landmarker import FaceLandmarker

# Names of files are text: `[red]` and `:smile:` in them mean nothing.
console = Console(markup=False, emoji=False, highlight=False)
messages = Console(stderr=True, markup=False, emoji=False, highlight=False)


class Folder(NamedTuple):
    """Marks a parameter as a folder that is written into, as a `FileKind` marks a file; `apart` is `Output`'s."""

    apart: bool = False


Force = Annotated[bool, typer.Option("--force", help="Replace an existing file of another kind.")]
Weights = Annotated[
    Path | None,
    typer.Option(
        help="Weights: an exported `.onnx`, or a training run's `.safetensors`. The shipped ones if left out."
    ),
]
Passes = Annotated[
    int,
    typer.Option(
        min=1,
        help="Passes of the network over each face; each is placed by the points of the one before. From 2 on, faces"
        " with a misplaced crop get up to two extra passes.",
    ),
]
Flip = Annotated[
    bool, typer.Option("--flip-average/--no-flip-average", help="Average with the mirrored picture: twice the cost.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores if left out.")]
Smallest = Annotated[
    float | None, typer.Option(help="Height of the smallest faces to search for, in pixels; 24 up to 12 megapixels.")
]
MaxFaces = Annotated[int | None, typer.Option(min=1, help="Keep this many faces of each picture, the largest ones.")]
Largest = Annotated[bool, typer.Option("--largest", help="Keep only the largest face: like --max-faces 1.")]
YuNet = Annotated[Path | None, typer.Option(help="A YuNet `.onnx` file: find faces with it instead.")]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder that keeps results; the user's cache folder if left out."),
    Folder(),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Measure anew, and keep nothing.")]


def open_landmarker(
    weights: Path | None,
    passes: int,
    flip: bool,
    threads: int | None,
    yunet: Path | None,
    smallest: float | None = None,
    max_faces: int | None = None,
) -> FaceLandmarker:
    finder = None if yunet is None else YuNetFinder(yunet)
    return FaceLandmarker(
        weights,
        face_finder=finder,
        smallest=smallest,
        max_faces=max_faces,
        passes=passes,
        flip_average=flip,
        threads=threads,
    )


def open_cache(folder: Path | None, none: bool) -> EvaluationCache | None:
    """Open the folder that keeps results; None if nothing is to be kept."""
    return None if none else EvaluationCache(folder or default_folder())


def counted(number: int, noun: str) -> str:
    """Return `1 face`, `2 faces`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def number_table(title: str, names: str, columns: Iterable[str]) -> Table:
    """Make a table of a column of names and columns of numbers."""
    table = Table(title=printable(title))
    table.add_column(names)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def say(line: str, to: Console | None = None) -> None:
    """Print a line as it is, on standard output unless another console is given."""
    (to or console).print(printable(line), soft_wrap=True)


def fail(line: str) -> None:
    """Print the one line of an error on standard error."""
    messages.print(Text.assemble(("srn:", "bold red"), f" {printable(line)}"), soft_wrap=True)


def some(names: Sequence[object], most: int | None = 5) -> str:
    """List names, up to a number of them: `a.jpg, b.jpg and 3 more`."""
    listed = ", ".join(map(str, names[:most]))
    return listed if most is None or len(names) <= most else f"{listed} and {len(names) - most} more"


def exit_if_failed(problems: Iterable[str]) -> None:
    """Print a line for each failure and, if there is one, end with exit code 1."""
    lines = list(problems)
    for line in lines:
        say(f"failed: {line}", messages)
    if lines:
        raise typer.Exit(1)


class needs_extra:
    """Turn the ImportError of an optional package into the line that says what to install."""

    def __init__(self, extra: str, what: str) -> None:
        self.extra, self.what = extra, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ImportError) and error.name and not error.name.startswith("srn"):
            raise MissingDependencyError.for_extra(error.name, self.extra, self.what) from error


def progress_bar(unit: str) -> Progress:
    """Make a progress bar on standard error; nothing is shown if that is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(compact=True),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )


def steps_of(progress: Progress) -> Callable[[str, int], Callable[[], None]]:
    """Return what begins a task, given its name and length; calling the result advances it."""

    def begin(name: str, total: int) -> Callable[[], None]:
        task = progress.add_task(name, total=total)
        return lambda: progress.advance(task)

    return begin

"""Options that several commands share, the objects that they become, and common output."""

from __future__ import annotations

import datetime
import functools
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from srn.errors import InputError, printable
from srn.inference import engines, views

# Rich, the networks and the evaluation are imported where they are used: a short command does not wait for them.
if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress
    from rich.table import Table

    from srn.evaluation.cache import EvaluationCache
    from srn.inference.landmarker import FaceLandmarker

    console: Console
    """Standard output."""
    messages: Console
    """Standard error."""


@functools.cache
def _console(stderr: bool) -> Console:
    from rich.console import Console

    # Names of files are text: `[red]` and `:smile:` in them mean nothing.
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False)


def __getattr__(name: str) -> Any:
    if name not in ("console", "messages"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return _console(name == "messages")


def renew_consoles() -> None:
    """Print from now on by new consoles: one that an interruption found at work may keep all that follows to itself."""
    _console.cache_clear()


LINE_EVERY = 5.0
"""Seconds between two lines of progress, where there is no terminal."""


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
Accuracy = Annotated[
    views.Accuracy,
    typer.Option(
        "--accuracy",
        help="Views of each face: `fast`: one; `balanced`: a second one where it pays; `best`: two. Except with `fast`,"
        " misplaced crops get up to two more.",
    ),
]
Flip = Annotated[
    bool, typer.Option("--flip-average/--no-flip-average", help="Average with the mirrored picture: twice the cost.")
]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads: at most, and by default, the cores that the process may use.")
]
Device = Annotated[
    engines.Device, typer.Option("--device", help="`cuda`: an NVIDIA GPU (the package onnxruntime-gpu).")
]
Runtime = Annotated[
    engines.Runtime, typer.Option("--runtime", help="What runs the landmarks; `openvino`: pip install 'srn[openvino]'.")
]
Precision = Annotated[
    engines.Precision,
    typer.Option("--precision", help="Arithmetic of the landmarks; `bf16`: in OpenVINO, where the processor has it."),
]
Smallest = Annotated[
    float | None,
    typer.Option(
        help="Height of the smallest faces to search for, in pixels; 24 if left out, in proportion more in pictures of"
        " more than 12 megapixels."
    ),
]
MaxFaces = Annotated[int | None, typer.Option(min=1, help="Keep this many faces of each picture, the largest ones.")]
Largest = Annotated[bool, typer.Option("--largest", help="Keep only the largest face: like --max-faces 1.")]
YuNet = Annotated[Path | None, typer.Option(help="A YuNet `.onnx` file: find faces with it instead.")]
Ellipses = Annotated[
    bool,
    typer.Option(
        "--ellipses",
        help="Draw around each point where nine of ten true points should lie; for weights that tell it.",
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder that keeps results; the user's cache folder if left out."),
    Folder(),
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Measure anew, and keep nothing.")]
Fresh = Annotated[bool, typer.Option("--fresh", help="Measure anew, and keep that instead of what was kept before.")]
Faces = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="DATA",
        help="Roots of datasets and folders of annotated pictures, whose faces are joined; or a pack made by"
        " `srn data pack`.",
    ),
]
# Data used to be options. Old command lines go on.
OldData = Annotated[Path | None, typer.Option("--data", hidden=True)]
OldExtra = Annotated[list[Path] | None, typer.Option("--extra", hidden=True)]


class Engine(NamedTuple):
    """What runs the landmarks: four options, which `command` gathers into one parameter."""

    threads: Threads = None
    device: Device = "cpu"
    runtime: Runtime = "onnxruntime"
    precision: Precision = "float32"


ENGINE = Engine()


def open_landmarker(
    weights: Path | None,
    accuracy: views.Accuracy,
    flip: bool,
    engine: Engine,
    yunet: Path | None,
    smallest: float | None = None,
    max_faces: int | None = None,
) -> FaceLandmarker:
    from srn.inference.cores import limit_opencv
    from srn.inference.face_finder import YuNetFinder
    from srn.inference.landmarker import FaceLandmarker

    limit_opencv(engine.threads)
    finder = None if yunet is None else YuNetFinder(yunet)
    return FaceLandmarker(
        weights,
        face_finder=finder,
        smallest=smallest,
        max_faces=max_faces,
        accuracy=accuracy,
        flip_average=flip,
        **engine._asdict(),
    )


def telling(landmarker: FaceLandmarker, *, ellipses: bool) -> FaceLandmarker:
    """Return a landmarker that tells what `--ellipses` draws, if that is wanted; else raise `InputError`."""
    if ellipses and not getattr(landmarker.localizer, "tells_direction", False):
        raise InputError.at("--ellipses", "weights with the direction of errors", landmarker.localizer.name)
    return landmarker


def refuse(given: Mapping[str, object], beside: str) -> None:
    """Raise `InputError` where one of these options is given, which have no effect beside another."""
    for name, value in given.items():
        if value:
            raise InputError.at(name, f"no such option with {beside}", "one")


def open_cache(folder: Path | None, none: bool, fresh: bool = False) -> EvaluationCache | None:
    """Open the folder that keeps results, which gives none back where they are wanted fresh; None to keep nothing."""
    from srn.evaluation.cache import EvaluationCache, default_folder

    return None if none else EvaluationCache(folder or default_folder(), fresh=fresh)


def joined_data(
    data: Sequence[Path] | None, old: Path | None = None, extra: Sequence[Path] | None = None, *, needed: bool = True
) -> list[Path]:
    """Return the datasets of a command line, those of the old options `--data` and `--extra` among them.

    Raises:
        InputError: there is none, and one is `needed`.
    """
    every = [*([] if old is None else [old]), *(data or []), *(extra or [])]
    if needed and not every:
        raise InputError.at("DATA", "a dataset's root, or a pack made by 'srn data pack'", "nothing")
    return every


def counted(number: int, noun: str) -> str:
    """Return `1 face`, `2 faces`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def number_table(title: str, names: str, columns: Iterable[str]) -> Table:
    """Make a table of a column of names and columns of numbers."""
    from rich.table import Table

    table = Table(title=printable(title))
    table.add_column(names)
    for column in columns:
        table.add_column(column, justify="right")
    return table


def say(line: str, to: Console | None = None) -> None:
    """Print a line as it is, on standard output unless another console is given."""
    if to is None:
        print(printable(line), flush=True)
    else:
        to.print(printable(line), soft_wrap=True)


def note(line: str) -> None:
    """Print a line as it is on standard error, above a progress bar."""
    if "rich.progress" in sys.modules:
        say(line, _console(True))
    else:
        print(printable(line), file=sys.stderr, flush=True)


def fail(line: str) -> None:
    """Print the one line of an error on standard error."""
    try:
        from rich.text import Text

        _console(True).print(Text.assemble(("srn:", "bold red"), f" {printable(line)}"), soft_wrap=True)
    except MemoryError:  # the very reason, perhaps
        print(f"srn: {printable(line)}", file=sys.stderr, flush=True)


def some(names: Sequence[object], most: int | None = 5) -> str:
    """List names, up to a number of them: `a.jpg, b.jpg and 3 more`."""
    listed = ", ".join(map(str, names[:most]))
    return listed if most is None or len(names) <= most else f"{listed} and {len(names) - most} more"


def exit_if_failed(problems: Iterable[str]) -> None:
    """Print a line for each failure and, if there is one, end with exit code 1."""
    lines = list(problems)
    for line in lines:
        note(f"failed: {line}")
    if lines:
        raise typer.Exit(1)


LONGEST_LEFT = 1e8  # seconds to go that are told: a broken file may state any length

Begin = Callable[..., Callable[..., None]]
"""Begins a task, by its name, its length if that is known, and how many steps are done before. The result counts one
more step, or as many as it is given."""


@contextmanager
def progress(unit: str) -> Iterator[Begin]:
    """Show on standard error how far tasks are, of things named in the plural; give what begins a task.

    On a terminal a task has a bar, otherwise a line every few seconds. A task of one step shows nothing.
    """
    told = time.monotonic()
    with ExitStack() as stack:

        @functools.cache
        def bars() -> Progress:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

            named, paced = TextColumn("{task.description}"), TextColumn("{task.fields[pace]}")
            columns = (named, BarColumn(), MofNCompleteColumn(), TextColumn(unit), paced)
            return stack.enter_context(Progress(*columns, console=_console(True), transient=True))

        def begin(name: str, total: int | None, done: int = 0) -> Callable[..., None]:
            start, count = time.monotonic(), done
            if total is not None and total <= 1:
                return lambda number=1: None
            task = bars().add_task(name, total=total, completed=done, pace="") if sys.stderr.isatty() else None

            def step(number: int = 1) -> None:
                nonlocal count, told
                count, now = count + number, time.monotonic()
                known = None if total is None or count > total else total  # a file may hold more than it says
                pace = _pace(count - done, None if known is None else known - count, now - start)
                if task is not None:
                    bars().update(task, completed=count, total=total and max(total, count), pace=pace)
                elif now >= told + LINE_EVERY:
                    told = now
                    of_all = "" if known is None else f" of {known}"
                    note(f"{name}{': ' if name else ''}{count}{of_all} {unit}, {pace}")

            return step

        yield begin


def _pace(done: float, left: float | None, seconds: float) -> str:
    rate = done / max(seconds, 1e-3)
    seconds_left = inf if not rate or left is None else left / rate
    rest = f", {datetime.timedelta(seconds=round(seconds_left))} left" if seconds_left < LONGEST_LEFT else ""
    return f"{rate:.{1 if rate < 100 else 0}f} a second{rest}"

"""Every command: its outputs are checked before any work, and an interruption ends it in order."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, get_args, get_type_hints

import typer
from typer.models import ArgumentInfo, OptionInfo

from srn.cli import options
from srn.errors import DataError, InputError, SrnError, is_interruption, with_causes
from srn.files import FileKind, Output, check_outputs

FILE_SUFFIXES = frozenset(
    {
        ".avi", ".avif", ".bmp", ".csv", ".gif", ".heic", ".jpeg", ".jpg", ".json", ".jsonl", ".m4v", ".mkv", ".mov",
        ".mp4", ".npz", ".onnx", ".parquet", ".pdf", ".png", ".pts", ".safetensors", ".svg", ".tif", ".tiff", ".webm",
        ".webp",
    }
)  # fmt: skip
"""Of names that mean a file: `--out` is a folder in some commands, and a file in others."""
INTERRUPTED = 130  # exit code after Ctrl-C and SIGTERM


def command(function: Callable[..., None], *, computes: bool = True) -> Callable[..., None]:
    """Wrap a command for typer; one that never `computes` does not wait for NumPy.

    Before it runs, the parameters marked as outputs are checked against all others, its inputs. A command that writes
    files gets the option `--force`. An `Engine` becomes the options of which it consists.
    """
    hints = get_type_hints(function, include_extras=True)
    gathered = [name for name, hint in hints.items() if hint is options.Engine]
    marks = {name: found for name, hint in hints.items() if (found := _marked(name, get_args(hint))) is not None}
    adds_force = "force" not in hints and any(kind is not None for _, kind, _ in marks.values())

    @functools.wraps(function)
    def run(**values: Any) -> None:
        force = values.pop("force") if adds_force else values.get("force", False)
        outputs = [
            Output(option, value, kind, apart)
            for name, (option, kind, apart) in marks.items()
            if (value := values[name]) is not None
        ]
        inputs = {name: value for name, value in values.items() if name not in marks}
        _check_inputs(value for name, value in inputs.items() if name != "paths")  # of which each is named, if odd
        _check_new_folders(output for output in outputs if output.kind is None)
        check_outputs(outputs, _paths(inputs.values()), force=force)
        for name in gathered:
            values[name] = options.Engine(**{field: values.pop(field) for field in options.Engine._fields})
        with quiet_libraries(computes=computes), _interruptible():
            function(**values)

    parameters = [
        part
        for parameter in inspect.signature(function, eval_str=True).parameters.values()
        for part in (_ENGINE if parameter.name in gathered else (parameter,))
    ]
    if adds_force:
        parameters.append(_option("force", options.Force, False))
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default, annotation=annotation)


_ENGINE = tuple(
    _option(name, annotation, getattr(options.ENGINE, name))
    for name, annotation in get_type_hints(options.Engine, include_extras=True).items()
)


@contextlib.contextmanager
def quiet_libraries(*, computes: bool = True) -> Iterator[None]:
    """Keep what C libraries print on standard error (libjpeg, libpng) off the terminal, but not what Python prints.

    Nor does Matplotlib tell there that it may not write into the user's home.

    At every moment `sys.stderr` leads to the terminal, so that an interruption is told whenever it comes.
    """
    stream = sys.stderr
    try:
        is_ours = isinstance(stream, io.TextIOWrapper) and stream.fileno() == 2
    except OSError:  # a stream in memory
        is_ours = False
    if not is_ours or os.environ.get("SRN_TRACEBACK"):
        yield
        return
    stream.flush()
    if computes:
        import logging

        import numpy  # where it is used: the help of `srn` does without

        # Without memory for its buffer, OpenBLAS ends the process with a line of its own: it gets it while that is
        # heard.
        numpy.linalg.solve(numpy.eye(2), numpy.ones(2))
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    kept = os.fdopen(os.dup(2), "w", buffering=1, encoding=stream.encoding, errors=stream.errors)
    sys.stderr = kept
    os.dup2(nowhere, 2)
    os.close(nowhere)
    try:
        yield
    finally:
        kept.flush()
        os.dup2(kept.fileno(), 2)
        sys.stderr = stream
        kept.close()


def _marked(name: str, parts: tuple[Any, ...]) -> tuple[str, FileKind | None, bool] | None:
    """Return an output's option, kind, and whether it is a folder apart; None for a parameter that is no output."""
    mark = next((part for part in parts if isinstance(part, FileKind | options.Folder)), None)
    if mark is None:
        return None
    info = next(part for part in parts if isinstance(part, OptionInfo | ArgumentInfo))
    option = name.upper() if isinstance(info, ArgumentInfo) else f"--{name.replace('_', '-')}"
    option = info.default if isinstance(info.default, str) else option  # where typer keeps a name of an annotation
    return (option, mark, False) if isinstance(mark, FileKind) else (option, None, mark.apart)


def _check_inputs(values: Iterable[Any]) -> None:
    """Raise `DataError` where a pipe or a device is given in the place of a file: it may never end, or never begin.

    Those that the shell opened (`<(command)`) have a writer. What is given as text may be a stream.
    """
    for path in _paths(value for value in values if not isinstance(value, str)):
        is_open = path.parent in (Path("/dev/fd"), Path("/proc/self/fd")) or path == Path("/dev/stdin")
        if os.path.exists(path) and not (is_open or os.path.isfile(path) or os.path.isdir(path)):
            raise DataError.at(path, "a file or a folder", "a pipe or a device")


def _check_new_folders(folders: Iterable[Output]) -> None:
    """Raise `InputError` where a folder that is to be made has the name of a file."""
    for folder in folders:
        if folder.path.suffix.lower() in FILE_SUFFIXES and not os.path.lexists(folder.path):
            raise InputError.at(folder.name, "a folder", f"{folder.path}, the name of a file")


def _paths(values: Iterable[Any]) -> Iterator[Path]:
    """Yield the paths among the values of parameters. Text may be one: `srn track` takes a path or a number."""
    for value in values:
        if isinstance(value, Path | str):
            yield Path(value)
        elif isinstance(value, list):
            yield from _paths(value)


_ending = False


@contextlib.contextmanager
def finishing() -> Iterator[None]:
    """Ignore interruptions after the block, until the command ends: its outputs are being completed."""
    global _ending
    try:
        yield
    finally:
        _ending = True


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM end the block like Ctrl-C: the finished part is kept, one line, exit code 130.

    So does whatever error an interruption becomes on its way out. If it says that the finished part could not be kept,
    it has a line of its own.
    """
    global _ending
    _ending = interrupted = False
    complaints, wants_all = sys.unraisablehook, bool(os.environ.get("SRN_TRACEBACK"))

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal interrupted
        if not _ending:
            interrupted = True
            options.renew_consoles()
            if not wants_all:
                sys.unraisablehook = lambda _: None  # what is left half-made complains when it is deleted
            raise KeyboardInterrupt

    before = {}
    with contextlib.suppress(ValueError):  # not in the main thread
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                before[number] = signal.signal(number, stop)
    try:
        yield
    except typer.Exit:
        raise
    except (Exception, KeyboardInterrupt) as error:
        is_ours = isinstance(error, SrnError | KeyboardInterrupt)
        if not (interrupted or is_interruption(error)) or (wants_all and not is_ours):
            raise
        if isinstance(error, SrnError):
            options.fail(str(error))
        options.fail("interrupted")
        for one in with_causes(error):
            traceback.clear_frames(one.__traceback__)  # now, while nobody hears complaints
        raise typer.Exit(INTERRUPTED) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = complaints

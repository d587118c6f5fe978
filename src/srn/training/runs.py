"""Run folders: one process at a time trains into one, logs, saves its state, and resumes after an interruption."""

from __future__ import annotations

import csv
import functools
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from srn.errors import InputError, WeightsError, first_line, printable
from srn.evaluation.run_folder import (
    AGENT_FILE,
    CONFIG_FILE,
    FACES_FILE,
    KEPT_AGENT,
    LOG_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
)
from srn.files import check_own, csv_text, held_folder, write_atomically, writing_to
from srn.model.checkpoint import load_tensors, save_tensors
from srn.settings import Settings, setting_text, with_settings

LINE_EVERY = 5.0
"""Seconds without a line after which a row of the log becomes one, where there is no terminal."""

_RESULTS = (LOG_FILE, WEIGHTS_FILE, AGENT_FILE)
_WRITTEN = (CONFIG_FILE, FACES_FILE, KEPT_AGENT, *_RESULTS)


def continues(folder: Path, resume: bool, console: Console | None = None) -> bool:
    """Tell whether a run goes on from one in its folder: `resume` asks for it, and a state was saved there.

    On the console a line says so where `resume` finds no state. `InputError` is raised where a new run would overwrite
    another one, or files that no run has written.
    """
    saved = (folder / STATE_FILE).exists()
    if not saved:
        check_own(folder, "a run", _RESULTS)
    if saved and not resume:
        raise InputError.at(folder, "an empty or new folder (or --resume)", "a run that was already started there")
    if resume and not saved and console is not None:
        _say(console, f"{folder}: no run was saved there yet: a new one begins")
    return saved


@dataclass(frozen=True)
class Run:
    """A run's folder, held by this process. Of several processes that train together only the first `writes`."""

    folder: Path
    continues: bool
    writes: bool

    def saved_state(self, same: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """Read the state that the run continues from: tensors and text; None at a run's beginning.

        Raises:
            WeightsError: an entry of the text differs from that of `same`. Entries that the file lacks do not.
        """
        if not self.continues:
            return None
        path = self.folder / STATE_FILE
        tensors, text = load_tensors(path)
        for name, value in same.items():
            if text.get(name, value) != value:
                raise WeightsError.at(path, f"a run with {name} {value}", text[name])
        return tensors, text

    def save_state(self, tensors: Mapping[str, Tensor], text: Mapping[str, str]) -> None:
        """Save the state. It names the step that a resumed run starts from, so it comes after the run's other files."""
        save_tensors(self.folder / STATE_FILE, tensors, text)


@contextmanager
def open_run(out: str | os.PathLike[str], *, resume: bool, writes: bool = True) -> Iterator[Run]:
    """Hold a run's folder while training into it; raise `InputError` if another run or process has it.

    The operating system releases it when the process ends.
    """
    folder = Path(out)
    with hold_run(folder) if writes else nullcontext():
        yield Run(folder, continues(folder, resume), writes)


def hold_run(folder: Path) -> AbstractContextManager[None]:
    """Hold a run's folder while something is written there.

    Raises:
        InputError: another process holds it, or files are there that no run has written: every run leaves its lock.
    """
    return held_folder(folder, "a run", () if (folder / STATE_FILE).exists() else _WRITTEN)


class CsvLog:
    """A CSV table that grows by a row at a time. Rows that a resumed run will write again are dropped at the start.

    Args:
        path: the table.
        fields: the columns; the first counts up (steps, transitions).
        last: rows whose first column is above this number are dropped.
        line_end: what ends a row.
    """

    def __init__(
        self, path: str | os.PathLike[str], fields: Sequence[str], last: int = 0, *, line_end: str = "\n"
    ) -> None:
        self.path, self.fields, self._line_end = Path(path), tuple(fields), line_end
        kept: list[dict[str, str]] = []
        if self.path.exists():
            with self.path.open(newline="") as file:
                whole = [line for line in file if line.endswith("\n")]  # a process killed while writing tears a row
            read = ((row, row.get(self.fields[0]) or "") for row in csv.DictReader(whole))
            kept = [row for row, step in read if step.isdecimal() and int(step) <= last]
        rows = ([row.get(name) for name in self.fields] for row in kept)
        write_atomically(self.path, csv_text([self.fields, *rows], line_end=line_end))

    def append(self, row: Mapping[str, object]) -> None:
        """Add a row: a value for every column."""
        with writing_to(self.path), self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator=self._line_end).writerow([row[name] for name in self.fields])


def check_kept(option: str, given: int | str | None, kept: int | str | None) -> None:
    """Raise `InputError` where another value is given for a run that is resumed than the one that it keeps."""
    if given not in (None, kept):
        found = "none" if kept is None else str(kept)
        raise InputError.at(option, f"{found}, that of the run that is resumed", str(given))


def check_kept_settings(kept: Settings, changes: Sequence[str]) -> None:
    """Raise `InputError` where `--set` changes the recipe of a run that is resumed; to name what it has is allowed."""
    if with_settings(kept, changes) == kept:
        return
    for change in changes:
        if with_settings(kept, [change]) != kept:
            name, _, given = change.partition("=")
            check_kept(f"--set {name}", given, setting_text(functools.reduce(getattr, name.split("."), kept)))


class RunLog:
    """The log of a run: a row of `log.csv` at a time, TensorBoard beside it, and progress on the console.

    The first of the fields counts the steps, whose noun is `unit`: `done` before, `total` in the whole run. Rows after
    the last save are dropped when a run resumes, so that no step stands twice.
    """

    def __init__(
        self,
        run: Run,
        fields: Sequence[str],
        *,
        done: int,
        total: int,
        unit: str,
        console: Console,
        tensorboard: bool = False,
        line_end: str = "\n",
    ) -> None:
        self._csv = CsvLog(run.folder / LOG_FILE, fields, done, line_end=line_end)
        self._count, self._total, self._console = fields[0], total, console
        self._told = time.monotonic()
        self._board = _board(run.folder, done) if tensorboard else None
        columns = (
            BarColumn(), MofNCompleteColumn(), TextColumn(unit), TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
        )  # fmt: skip
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("training", total=total, completed=min(done, total), status="")
        if run.continues:
            self.say(f"{run.folder}: goes on after {done} of {total} {unit}")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        with self._board_failing():
            if self._board is not None:
                self._board.close()

    @contextmanager
    def _board_failing(self) -> Iterator[None]:
        """Go on without TensorBoard where it cannot write: `log.csv` holds the same numbers."""
        hook = threading.excepthook
        threading.excepthook = lambda seen: None if issubclass(seen.exc_type, OSError) else hook(seen)  # its thread
        try:
            yield
        except OSError as error:
            self._board = None
            self.say(f"TensorBoard's file cannot be written: {first_line(error)}")
        finally:
            threading.excepthook = hook

    def write(self, row: Mapping[str, float | str], status: str, *, line: bool = True) -> None:
        """Add a row of all columns, unknown ones as empty text.

        The status is shown in the bar on a terminal, elsewhere as a line where the row is worth a `line`, and where
        none was shown for `LINE_EVERY` seconds.
        """
        self._csv.append(row)
        done = int(row[self._count])
        with self._board_failing():
            for name, value in row.items():
                if self._board is not None and name != self._count and value != "":
                    self._board.add_scalar(name, float(value), done)
        self._bar.update(self._task, completed=min(done, self._total), status=status)
        now = time.monotonic()
        if not self._console.is_terminal and (line or now >= self._told + LINE_EVERY):
            self._told = now
            self.say(f"{done}/{self._total}  {status}")

    def say(self, line: str) -> None:
        """Print a line on the console."""
        _say(self._console, line)


def _say(console: Console, line: str) -> None:
    console.print(printable(line), highlight=False, markup=False, emoji=False, soft_wrap=True)


def _board(folder: Path, done: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:  # an optional comfort: log.csv holds the same numbers
        return None
    return SummaryWriter(str(folder / "tensorboard"), purge_step=done)


def part(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Tensors whose names begin with the prefix, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Tensors of an optimizer, named `optimizer.INDEX.NAME`."""
    entries = optimizer.state_dict()["state"].items()
    return {f"optimizer.{index}.{name}": tensor for index, values in entries for name, tensor in values.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Fill an optimizer with the tensors that `optimizer_state` gave; other tensors are ignored."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for key, tensor in part(tensors, "optimizer.").items():
        index, name = key.split(".", 1)
        like = parameters[int(index)]
        # The fused optimizer walks through memory: moments need the layout of their parameter (channels last), which
        # the file does not keep.
        laid_out = torch.empty_like(like).copy_(tensor) if tensor.shape == like.shape else tensor
        moments.setdefault(int(index), {})[name] = laid_out
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def choose_device(name: str) -> torch.device:
    """`auto`: this process's CUDA device if there is one, else the CPU."""
    if name != "auto":
        try:
            device = torch.device(name)
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError, NotImplementedError) as error:  # unknown, or not on this machine
            raise InputError.at("--device", "auto, cpu, cuda, ...", f"{name!r}: {first_line(error)}") from error
        return device
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


class Processes(NamedTuple):
    """The processes that train one run together: this one's number, and how many there are."""

    rank: int
    size: int


@contextmanager
def process_group(device: torch.device) -> Iterator[Processes]:
    """Join the processes that `torchrun` started, if there are several."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Processes(0, 1)
        return
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(torch.distributed.get_rank(), size)
        # A thread of Gloo may still hold the last tensor that was summed, and aborts the process if it drops it while
        # Python ends. Waiting for each other gives it the time; after an error nobody is waited for.
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()

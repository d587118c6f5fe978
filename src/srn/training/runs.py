"""Run folders: one process at a time trains into one, logs, saves its state, and resumes after an interruption."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self, TextIO

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from srn.errors import InputError, WeightsError, first_line
from srn.files import CsvLog
from srn.model.checkpoint import load_tensors, save_tensors

CONFIG_FILE, STATE_FILE, LOG_FILE, LOCK_FILE = "config.json", "state.safetensors", "log.csv", ".lock"

if sys.platform == "win32":
    import msvcrt

    def _lock(file: TextIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(file: TextIO) -> None:
        # A record lock belongs to this process alone: workers that outlive it for a moment do not hold it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def check_run_folder(folder: Path, resume: bool) -> None:
    """Raise `InputError` if a new run would overwrite another one."""
    if not resume and (folder / STATE_FILE).exists():
        raise InputError.at(folder, "an empty or new folder (or --resume)", "a run that was already started there")


@dataclass(frozen=True)
class Run:
    """A run's folder, held by this process. Of several processes that train together only the first `writes`."""

    folder: Path
    resumes: bool
    writes: bool

    def saved_state(self, same: Mapping[str, str]) -> tuple[dict[str, Tensor], dict[str, str]] | None:
        """Read the state that the run continues from: tensors and text; None at a run's beginning.

        Raises:
            WeightsError: an entry of the text differs from that of `same`. Entries that the file lacks do not.
        """
        path = self.folder / STATE_FILE
        if not (self.resumes and path.exists()):
            return None
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
    check_run_folder(folder, resume)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / LOCK_FILE).open("a")
    except OSError as error:
        raise InputError.at(folder, "a folder that can be written", error.strerror or type(error).__name__) from error
    with lock:
        try:
            if writes:
                _lock(lock)
        except OSError as error:
            raise InputError.at(folder, "a run that no other process trains", "one at work there") from error
        yield Run(folder, resume, writes)


class RunLog:
    """The log of a run: a row of `log.csv` at a time, TensorBoard beside it, and progress on the console.

    The first of the fields counts the steps, whose noun is `unit`: `done` before, `total` in the whole run. Rows after
    the last save are dropped when a run resumes, so that no step stands twice.
    """

    def __init__(
        self,
        folder: Path,
        fields: Sequence[str],
        *,
        done: int,
        total: int,
        unit: str,
        console: Console,
        tensorboard: bool = False,
        line_end: str = "\n",
    ) -> None:
        self._csv = CsvLog(folder / LOG_FILE, fields, done, line_end=line_end)
        self._count, self._total, self._console = fields[0], total, console
        self._board = _board(folder, done) if tensorboard else None
        columns = (
            BarColumn(), MofNCompleteColumn(), TextColumn(unit), TextColumn("{task.fields[status]}"),
            TimeRemainingColumn(compact=True),
        )  # fmt: skip
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bar.add_task("training", total=total, completed=min(done, total), status="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()
        if self._board is not None:
            self._board.close()

    def write(self, row: Mapping[str, float | str], status: str, *, line: bool = True) -> None:
        """Add a row of all columns, unknown ones as empty text.

        The status is shown in the bar on a terminal, elsewhere as a line where the row is worth a `line`.
        """
        self._csv.append(row)
        done = int(row[self._count])
        if self._board is not None:
            for name, value in row.items():
                if name != self._count and value != "":
                    self._board.add_scalar(name, float(value), done)
        self._bar.update(self._task, completed=min(done, self._total), status=status)
        if line and not self._console.is_terminal:
            self._console.print(f"{done}/{self._total}  {status}", highlight=False, markup=False, soft_wrap=True)


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
    finally:
        torch.distributed.destroy_process_group()

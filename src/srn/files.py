"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from srn.errors import InputError


def write_atomically(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` beside `path`, then rename: the file is there whole or not at all.

    Raises:
        InputError: the file cannot be written there.
    """
    target = Path(path)
    beside = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(target)
    except OSError as error:
        raise InputError.at(target, "a file that can be written", error.strerror or type(error).__name__) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


@contextlib.contextmanager
def written_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path beside `path`, of the same suffix, to write a growing file to; renamed on leaving, however one leaves.

    For what takes long and is of use even when it was interrupted: the block closes the file in good order, and what
    was written until then gets its name. Where nothing was written, nothing is there afterwards.

    Raises:
        InputError: no file can be made there.
    """
    target = Path(path)
    beside = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
    except OSError as error:
        raise InputError.at(target, "a file that can be written", error.strerror or type(error).__name__) from error
    try:
        yield beside
    finally:
        if beside.exists() and beside.stat().st_size:
            beside.replace(target)
        else:
            beside.unlink(missing_ok=True)

"""Files are written beside their place and renamed, so that no reader ever sees half of one."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from srn.errors import InputError


def write_atomically(path: str | os.PathLike[str], content: bytes | str, *, durable: bool = False) -> None:
    """Write a whole file: it is there complete or not at all. Missing folders are made.

    Args:
        path: the file.
        content: its bytes, or its text (stored as UTF-8, line ends unchanged).
        durable: flush the content to the disk before the rename, so that the file also survives a power failure.

    Raises:
        InputError: the file cannot be written there; a previous file of that name is unchanged.
    """
    target = Path(path)
    beside = _made_beside(target)
    try:
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink()


@contextlib.contextmanager
def growing_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path of the same suffix beside `path`; rename it to `path` on exit, even after an exception.

    For output that takes long and is useful even when it was interrupted. The block has to close the file. An empty
    file is removed instead of renamed.

    Raises:
        InputError: no file can be made there.
    """
    target = Path(path)
    beside = _made_beside(target)
    try:
        yield beside
    finally:
        if beside.exists() and beside.stat().st_size:
            beside.replace(target)
        else:
            beside.unlink(missing_ok=True)


def _made_beside(target: Path) -> Path:
    """An empty hidden file beside `target`, of the same suffix; its name holds the process, so that two never share."""
    beside = target.with_name(f".{target.stem}.{os.getpid()}.partial{target.suffix}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside.touch()
    except OSError as error:
        raise _unwritable(target, error) from error
    return beside


def _unwritable(path: Path, error: OSError) -> InputError:
    return InputError.at(path, "a file that can be written", error.strerror or type(error).__name__)


def write_json(path: str | os.PathLike[str], value: object) -> None:
    """Write a value as indented JSON with a line end, atomically."""
    write_atomically(path, json.dumps(value, indent=1) + "\n")


def write_csv(path: str | os.PathLike[str], rows: Iterable[Iterable[object]], *, line_end: str = "\n") -> None:
    """Write rows, the header first, as a CSV table, atomically."""
    text = io.StringIO()
    csv.writer(text, lineterminator=line_end).writerows(rows)
    write_atomically(path, text.getvalue())


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
            kept = [row for row in csv.DictReader(whole) if int(row[self.fields[0]]) <= last]
        rows = ([row.get(name) for name in self.fields] for row in kept)
        write_csv(self.path, [self.fields, *rows], line_end=line_end)

    def append(self, row: Mapping[str, object]) -> None:
        """Add a row: a value for every column."""
        with self.path.open("a", newline="") as file:
            csv.writer(file, lineterminator=self._line_end).writerow([row[name] for name in self.fields])

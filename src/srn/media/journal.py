"""The journal of a run over many pictures: what is finished survives the process, whatever ends it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from srn.errors import InputError
from srn.files import lock, writing_to
from srn.media.results import Record, append_line, compact

NAME = ".{}.partial.jsonl"  # hidden, and passed over by listings of pictures
_LONGEST = 200  # characters of a name in it


class Entry(NamedTuple):
    """A picture in the journal: its unique name in the run, its record, and whether all its files were written.

    `stamp` is that of its file (`stamp_of`) before it was read; None in journals of older versions.
    """

    name: str
    record: Record
    whole: bool = True
    stamp: tuple[int, int] | None = None


def stamp_of(path: Path) -> tuple[int, int] | None:
    """Return a file's size in bytes and the time of its last change in ns, by which another content is told."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns


def journal_beside(path: Path) -> Path:
    """Return the place of the journal of a run that writes `path`."""
    return path.with_name(NAME.format(path.name[:_LONGEST]))


class Journal:
    """A file of JSON lines: the options of the run, then a line for each batch of pictures that is finished.

    A batch is there whole or not at all: a process killed while writing tears the last line, which is dropped.

    Args:
        path: the file, which other processes may not use at the same time.
        options: of the run, by their names on the command line, as JSON values.
        resume: whether a run that was left there goes on. If not, a new one begins.

    Attributes:
        left: what the run that goes on has finished; None where a new one begins.

    Raises:
        InputError: the run that was left there has other options, or the file is no journal, cannot be written, or
            belongs to a process at work.
    """

    def __init__(self, path: Path, options: Mapping[str, Any], *, resume: bool = False) -> None:
        self.path = path
        self.left: list[Entry] | None = None
        with writing_to(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            self._file = path.open("r+b", buffering=0)
        try:
            lock(self._file, path, "a run")
            whole = self._file.readall().rpartition(b"\n")[0].splitlines() if resume else []
            if whole:
                self.left = self._entries(whole, json.loads(compact(options)))
            with writing_to(path):
                self._file.seek(sum(len(line) + 1 for line in whole))
                self._file.truncate()
            if not whole:
                append_line(self._file, path, compact(options))
        except BaseException:
            self._file.close()
            raise

    def _entries(self, lines: Sequence[bytes], options: Mapping[str, Any]) -> list[Entry]:
        """Read what is finished, of a run with these options."""
        entries: list[Entry] = []
        for number, line in enumerate(lines, 1):
            with InputError.reading(f"{self.path}, line {number}", "a line of a journal of 'srn detect'"):
                content = json.loads(line)
                if number > 1:
                    if not isinstance(content, list):
                        raise ValueError("no list")
                    entries += map(_entry, content)
                    continue
                if not isinstance(content, dict):
                    raise ValueError("no options")
                for name in [*options, *content]:
                    before, now = content.get(name), options.get(name)
                    if before != now:
                        expected = f"{name} {_shown(before)}, as in the run that was left in {self.path}"
                        raise InputError.at("--resume", expected, _shown(now))
        return entries

    def append(self, batch: Iterable[Entry]) -> None:
        """Add a batch of pictures. If that fails, which is an `InputError`, the journal is as before."""
        append_line(self._file, self.path, compact([*batch]))

    def close(self, *, finished: bool) -> None:
        """Close the journal; that of a finished run is removed."""
        if finished:
            self.path.unlink(missing_ok=True)
        self._file.close()


_PARTS = {"box", "score", "landmarks", "visibility", "confidence"}  # of a face's record


def _entry(values: Any) -> Entry:
    """Read an entry; raise `ValueError` where it is none."""
    match values:
        case [
            str(name),
            {"path": str(), "width": int(), "height": int(), "faces": list(faces)} as record,
            bool(whole),
            *stamp,
        ]:
            known = _stamp(stamp)
            if all(type(record.get(name, 0)) is int for name in ("left_out", "pictures")) and all(
                isinstance(f, dict) and f.keys() >= _PARTS for f in faces
            ):
                return Entry(name, record, whole, known)
    raise ValueError("other values")


def _stamp(values: list[Any]) -> tuple[int, int] | None:
    match values:
        case [] | [None]:
            return None
        case [[int(size), int(changed)]]:
            return size, changed
    raise ValueError("other values")


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)

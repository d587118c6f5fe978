"""Read CSV tables by the names in their first line, so that no value is taken for that of another column."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from srn.errors import DataError
from srn.files import opened_text
from srn.media.limits import check_file


def read_rows(path: str | os.PathLike[str], what: str) -> list[dict[str, Any]]:
    """Return the rows of a table (`what` it is, in messages) by its columns' names; a short row lacks the last values.

    Raises:
        DataError: the file cannot be read, a name stands twice in its first line, or a row has more values than names.
    """
    with DataError.reading(path, what):
        check_file(path)
        reader = csv.DictReader(opened_text(path))
        rows: list[dict[str, Any]] = list(reader)
    names = list(reader.fieldnames or ())
    check_names(names, path)
    for number, row in enumerate(rows, 2):
        check_length(len(names), row.pop(None, ()), f"{path}: line {number}")  # type: ignore[call-overload]
    return rows


def check_names(names: Sequence[str], where: str | os.PathLike[str]) -> None:
    """Raise `DataError` where two columns have one name: the second's values would stand for the first's."""
    name, count = next(iter(Counter(name for name in names if name).most_common(1)), ("", 0))
    if count > 1:
        raise DataError.at(where, "each column once", f"{name!r} {count} times")


def check_length(columns: int, further: Sequence[str], where: str) -> None:
    """Raise `DataError` where a row has `further` values behind its columns: a comma in a number moves all of them."""
    if any(value.strip() for value in further):
        raise DataError.at(where, f"{columns} values, one for each column", f"{columns + len(further)}")

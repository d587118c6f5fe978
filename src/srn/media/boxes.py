"""Read the user's own face boxes from a file."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from srn.errors import DataError, InputError
from srn.face.geometry import Box


def _json_rows(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[str, str, Iterable[object]]]:
    try:
        content = json.loads(text)
    except ValueError as error:
        raise DataError.at(path, "JSON", str(error)) from error
    if not isinstance(content, dict) or not all(isinstance(boxes, list) for boxes in content.values()):
        raise DataError.at(path, 'an object {"picture": [[x0, y0, x1, y1], ...], ...}', type(content).__name__)
    for picture, boxes in content.items():
        for index, box in enumerate(boxes):
            yield f"{path}: {picture}, box {index + 1}", picture, box if isinstance(box, list) else [box]


def _csv_rows(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[str, str, Iterable[object]]]:
    for number, row in enumerate(csv.reader(text.splitlines()), 1):
        if not "".join(row).strip() or (number == 1 and row[1:2] and row[1].strip() == "x0"):  # empty, or the header
            continue
        yield f"{path}: line {number}", row[0], row[1:]


def read_boxes(path: str | os.PathLike[str]) -> dict[str, list[Box]]:
    """Read tight landmark boxes, picture pixels, by picture (a path or a bare file name, as in the file).

    Args:
        path: a `.json` file contains `{"picture.jpg": [[x0, y0, x1, y1], ...]}`. Any other file is CSV with lines
            `picture.jpg,x0,y0,x1,y1`.

    Raises:
        DataError: the file is missing or broken; the message names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise DataError.at(path, "a readable file of boxes (.json or .csv)", str(error)) from error
    rows = _json_rows(text, path) if Path(path).suffix.lower() == ".json" else _csv_rows(text, path)
    boxes: dict[str, list[Box]] = {}
    for where, picture, values in rows:
        try:
            x0, y0, x1, y1 = (float(str(value)) for value in values)
            box = Box(x0, y0, x1, y1)
        except (ValueError, InputError) as error:
            found = " ".join(str(value) for value in values) or "nothing"
            raise DataError.at(where, "four numbers x0 < x1, y0 < y1 as 'x0, y0, x1, y1'", found) from error
        boxes.setdefault(picture, []).append(box)
    return boxes


def boxes_of(picture: Path, boxes: Mapping[str, Sequence[Box]]) -> Sequence[Box]:
    """Return the boxes of a picture, looked up by its path, then by its file name; none if it is not listed."""
    names = (str(picture), picture.as_posix(), picture.name)
    return next((boxes[name] for name in names if name in boxes), [])

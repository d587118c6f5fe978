"""Read the user's own face boxes from a file, and find those of a picture."""

from __future__ import annotations

import csv
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from srn.errors import DataError, InputError
from srn.face.geometry import Box

LARGEST_COORDINATE = 1e6  # of a picture's pixels, in either direction
LARGEST_FILE = 1 << 28  # bytes


def _json_rows(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[str, str, Iterable[object] | None]]:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError.at(path, "JSON", str(error)) from error
    if not isinstance(content, dict) or not all(isinstance(boxes, list) for boxes in content.values()):
        raise DataError.at(path, 'an object {"picture": [[x0, y0, x1, y1], ...], ...}', type(content).__name__)
    for picture, boxes in content.items():
        yield f"{path}: {picture}", picture, None
        for index, box in enumerate(boxes):
            yield f"{path}: {picture}, box {index + 1}", picture, box if isinstance(box, list) else [box]


def _csv_rows(text: str, path: str | os.PathLike[str]) -> Iterator[tuple[str, str, Iterable[object] | None]]:
    try:
        for number, row in enumerate(csv.reader(text.splitlines()), 1):
            if not "".join(row).strip() or (number == 1 and row[1:2] and row[1].strip() == "x0"):  # or the header
                continue
            yield f"{path}: line {number}", row[0], row[1:]
    except csv.Error as error:
        raise DataError.at(path, "a CSV table", str(error)) from error


def read_boxes(path: str | os.PathLike[str]) -> dict[str, list[Box]]:
    """Read tight landmark boxes, picture pixels, by picture (a path or a bare file name, as in the file).

    Args:
        path: a `.json` file contains `{"picture.jpg": [[x0, y0, x1, y1], ...]}`; an empty list says that the picture
            has no face. Any other file is CSV with lines `picture.jpg,x0,y0,x1,y1`.

    Raises:
        DataError: the file is missing or broken; the message names the line.
    """
    expected = "a readable file of boxes (.json or .csv)"
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_FILE)
    except OSError as error:
        raise DataError.at(path, expected, str(error)) from error
    if b"\0" in content or len(content) == LARGEST_FILE:  # /dev/zero never ends
        raise DataError.at(path, expected, "a binary file")
    # Spreadsheets write a byte order mark; names that are not UTF-8 keep their bytes.
    text = content.decode("utf-8-sig", "surrogateescape")
    rows = _json_rows(text, path) if Path(path).suffix.lower() == ".json" else _csv_rows(text, path)
    boxes: dict[str, list[Box]] = {}
    for where, picture, values in rows:
        of_picture = boxes.setdefault(picture, [])
        if values is not None:
            of_picture.append(_box(where, list(values)))
    return boxes


def _box(where: str, values: Sequence[object]) -> Box:
    try:
        x0, y0, x1, y1 = (float(str(value)) for value in values)
        if max(map(abs, (x0, y0, x1, y1))) > LARGEST_COORDINATE:
            raise InputError.at(where, f"pixels up to {LARGEST_COORDINATE:g}", "more")
        return Box(x0, y0, x1, y1)
    except (ValueError, InputError) as error:
        found = " ".join(str(value) for value in values)[:200] or "nothing"
        raise DataError.at(where, "four numbers x0 < x1, y0 < y1 as 'x0, y0, x1, y1'", found) from error


class PictureBoxes:
    """The boxes of a file by picture.

    A key is a path, however it is written (`./a.jpg`, absolute, composed or decomposed accents), or a bare file name.

    Args:
        boxes: as `read_boxes` gives them.
    """

    def __init__(self, boxes: Mapping[str, Sequence[Box]]) -> None:
        self._boxes = boxes
        self._paths = {_normal(key): key for key in boxes}
        self._names = {_composed(Path(key).name): key for key in boxes if Path(key).parent == Path()}

    def key_of(self, picture: Path) -> str | None:
        """Return the key of a picture, by its path, then by its file name; None if it is not listed."""
        return self._paths.get(_normal(picture)) or self._names.get(_composed(picture.name))

    def __getitem__(self, picture: Path) -> Sequence[Box]:
        """Return the boxes of a picture; none if it is not listed."""
        key = self.key_of(picture)
        return [] if key is None else self._boxes[key]

    def unused(self, pictures: Iterable[Path]) -> list[str]:
        """Return the keys that are none of the pictures'."""
        used = {self.key_of(picture) for picture in pictures}
        return [key for key in self._boxes if key not in used]


def _composed(name: str) -> str:
    """Return a name with composed accents: macOS stores decomposed ones."""
    return unicodedata.normalize("NFC", name)


def _normal(path: str | os.PathLike[str]) -> str:
    return _composed(os.path.abspath(path))

"""Read the user's own face boxes from a file, and find those of a picture."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from srn.errors import DataError, InputError
from srn.face.geometry import Box
from srn.media.limits import LARGEST_COORDINATE
from srn.media.number_text import number_in
from srn.settings import parsed_json

LARGEST_FILE = 1 << 28  # bytes

_Row: TypeAlias = tuple[str, str, Sequence[object] | None]
"""Where a box stands, its picture, and its numbers; None only names the picture."""


def _json_rows(text: str, path: str | os.PathLike[str]) -> Iterator[_Row]:
    with DataError.reading(path, "JSON"):
        content = parsed_json(text)
    return _rows_of(content, path)


def _jsonl_rows(text: str, path: str | os.PathLike[str]) -> Iterator[_Row]:
    records = []
    for number, line in enumerate(text.split("\n"), 1):  # other line ends may stand in names
        if line.strip():
            with DataError.reading(f"{path}: line {number}", "a JSON object"):
                records.append(parsed_json(line))
    return _rows_of({"images": records}, path)


def _rows_of(content: Any, path: str | os.PathLike[str]) -> Iterator[_Row]:
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        content = _of_records(content["images"], path)
    if not isinstance(content, dict) or not all(isinstance(boxes, list) for boxes in content.values()):
        expected = 'an object {"picture": [[x0, y0, x1, y1], ...], ...}, or a file of srn detect --json'
        raise DataError.at(path, expected, "a list" if isinstance(content, list) else "something else")
    for picture, boxes in content.items():
        yield f"{path}: {picture}", picture, None
        several = boxes if not boxes or any(isinstance(box, list) for box in boxes) else [boxes]
        for number, box in enumerate(several, 1):
            yield f"{path}: {picture}, box {number}", picture, box if isinstance(box, list) else [box]


def _of_records(records: Iterable[Any], path: str | os.PathLike[str]) -> dict[str, list[Any]]:
    """Return the boxes of the pictures that `srn detect` wrote."""
    boxes: dict[str, list[Any]] = {}
    expected = "a 'path' and 'faces' with a 'box', as srn detect --json writes them"
    for number, record in enumerate(records, 1):
        with DataError.reading(f"{path}: picture {number}", expected):
            boxes.setdefault(str(record["path"]), []).extend([list(face["box"]) for face in record["faces"]])
    return boxes


def _csv_rows(text: str, path: str | os.PathLike[str]) -> Iterator[_Row]:
    with DataError.reading(path, "a CSV table"):
        reader = csv.reader(io.StringIO(text, newline=""))  # line ends in names stay
        for row in reader:
            number = reader.line_num
            if not "".join(row).strip() or (number == 1 and row[1:2] and row[1].strip() == "x0"):  # or the header
                continue
            yield f"{path}: line {number}", row[0], row[1:]


_ROWS = {".json": _json_rows, ".jsonl": _jsonl_rows, ".csv": _csv_rows}


def _format(path: str | os.PathLike[str], text: str) -> str:
    """Return the suffix of a format: the file's own, or what its text is, since a pipe has no suffix."""
    suffix = Path(path).suffix.lower()
    if suffix in _ROWS or not text.lstrip().startswith("{"):
        return suffix if suffix in _ROWS else ".csv"
    first = text.lstrip().partition("\n")[0]
    return ".jsonl" if first.startswith('{"path":') else ".json"


def read_boxes(path: str | os.PathLike[str]) -> dict[str, list[Box]]:
    """Read tight landmark boxes, picture pixels, by picture (a path or a bare file name, as in the file).

    Args:
        path: a `.json` file contains `{"picture.jpg": [[x0, y0, x1, y1], ...]}`, where a single box needs no list
            around it and an empty list says that the picture has no face. Files of `srn detect --json` (`.json`,
            `.jsonl`) are read as well. Any other file, such as a pipe, is one of those where its text begins with a
            brace, and else CSV with lines `picture.jpg,x0,y0,x1,y1`.

    Raises:
        DataError: the file is missing or broken; the message names the line.
    """
    expected = "a readable file of boxes (.json or .csv)"
    with DataError.reading(path, expected), Path(path).open("rb") as file:
        content = file.read(LARGEST_FILE)
    if b"\0" in content or len(content) == LARGEST_FILE:  # /dev/zero never ends
        raise DataError.at(path, expected, "a binary file")
    # Spreadsheets write a byte order mark; names that are not UTF-8 keep their bytes.
    text = content.decode("utf-8-sig", "surrogateescape")
    boxes: dict[str, list[Box]] = {}
    for where, picture, values in _ROWS[_format(path, text)](text, path):
        of_picture = boxes.setdefault(picture, [])
        if values is not None:
            of_picture.append(_box(where, picture, values))
    return boxes


def _box(where: str, picture: str, values: Sequence[object]) -> Box:
    try:
        x0, y0, x1, y1 = (number_in(str(value)) for value in values)
        if max(map(abs, (x0, y0, x1, y1))) > LARGEST_COORDINATE:
            raise InputError.at(where, f"pixels up to {LARGEST_COORDINATE:g}", "more")
        return Box(x0, y0, x1, y1)
    except (ValueError, InputError) as error:
        found = " ".join(" ".join(map(str, values)).split())[:200] or f"only {picture[:200]!r}"  # on one line
        raise DataError.at(where, "four numbers x0 < x1, y0 < y1 as 'x0, y0, x1, y1'", found) from error


class PictureBoxes:
    """The boxes of a file by picture.

    A key is a path, however it is written (`./a.jpg`, absolute, composed or decomposed accents, on Windows), or a bare
    file name. Where two keys differ in nothing else, each has the picture of its very name.

    Args:
        boxes: as `read_boxes` gives them.
    """

    def __init__(self, boxes: Mapping[str, Sequence[Box]]) -> None:
        self._boxes = boxes
        self._exact = {os.path.abspath(key): key for key in boxes}
        slashed = {_normal(key.replace("\\", "/")): key for key in boxes}
        self._paths = slashed | {_normal(key): key for key in boxes}
        self._names = {_composed(Path(key).name): key for key in boxes if Path(key).parent == Path()}

    def key_of(self, picture: Path) -> str | None:
        """Return the key of a picture, by its path, then by its file name; None if it is not listed."""
        exact, path = self._exact.get(os.path.abspath(picture)), self._paths.get(_normal(picture))
        return exact or path or self._names.get(_composed(picture.name))

    def __getitem__(self, picture: Path) -> Sequence[Box]:
        """Return the boxes of a picture; none if it is not listed."""
        key = self.key_of(picture)
        return [] if key is None else self._boxes[key]

    def digest(self) -> str:
        """Hash the pictures and boxes in 12 characters."""
        rows = [[key, *(box.as_array().tolist() for box in several)] for key, several in self._boxes.items()]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:12]

    def unused(self, pictures: Iterable[Path]) -> list[str]:
        """Return the keys that are none of the pictures'."""
        used = {self.key_of(picture) for picture in pictures}
        return [key for key in self._boxes if key not in used]


def boxes_of(path: str | os.PathLike[str], pictures: Sequence[Path]) -> PictureBoxes:
    """Read the boxes of pictures from a file, as `read_boxes` does; one that lists none of them is a `DataError`."""
    boxes = PictureBoxes(read_boxes(path))
    if all(boxes.key_of(picture) is None for picture in pictures):
        listed = boxes.unused([])
        found = f"only those of others, such as {listed[0]}" if listed else "none"
        raise DataError.at(path, f"boxes of the pictures, such as {pictures[0]}", found)
    return boxes


def _composed(name: str) -> str:
    """Return a name with composed accents: macOS stores decomposed ones."""
    return unicodedata.normalize("NFC", name)


def _normal(path: str | os.PathLike[str]) -> str:
    return _composed(os.path.abspath(path))

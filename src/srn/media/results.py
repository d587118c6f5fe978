"""Write landmarks as JSON, JSON Lines, CSV or COCO key points, from records: plain dictionaries, 0-based pixels."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from srn.errors import MissingDependencyError
from srn.files import csv_text, growing_file, is_standard_output, write_atomically, writing_to

Record = Mapping[str, Any]


def picture_record(path: Path, size: tuple[int, int], faces: Sequence[Record], *, pictures: int = 1) -> dict[str, Any]:
    """Make the record of a picture of `size` (height, width); that of a face is what `Face.to_dict` returns.

    `pictures` is how many its file holds, of which this is the first; it is said where there are several.
    """
    height, width = size
    record = {"path": str(path), "width": width, "height": height, "faces": list(faces)}
    return record | {"pictures": pictures} if pictures > 1 else record


def frame_record(
    number: int, time_s: float, faces: Sequence[Record], size: tuple[int, int] | None = None
) -> dict[str, Any]:
    """Make the record of a frame; its `size` (height, width) is said where it is given."""
    record = {"frame": number, "time_s": round(time_s, 6), "faces": list(faces)}
    return record if size is None else record | {"width": size[1], "height": size[0]}


def pictures_json(lines: Iterable[str], *, partial: bool = False) -> str:
    """Return the records of pictures, each as JSON (`compact`), as one object, `{"images": [...]}`.

    `partial` adds `"partial": true`: the run was interrupted, and pictures are missing.
    """
    end = ',"partial":true}' if partial else "}"
    return f'{{"images":[{",".join(lines)}]{end}'


def write_pictures_json(target: Path | TextIO, lines: Iterable[str], *, partial: bool = False) -> None:
    """Write what `pictures_json` returns; on a stream a line end follows."""
    text = pictures_json(lines, partial=partial)
    stream = _stream(target)
    if stream is not None:
        _print(text, stream)
    elif isinstance(target, Path):
        write_atomically(target, text)


def write_pictures_lines(path: Path, lines: Iterable[str]) -> None:
    """Write the records of pictures, each as JSON (`compact`), as lines."""
    write_atomically(path, "".join(f"{line}\n" for line in lines))


def pictures_csv(pictures: Iterable[Record]) -> str:
    """Return the records of pictures as a table (CSV) with a row for each landmark; unknown values are empty."""
    rows = (["" if value is None else value for value in row] for row in _point_rows(pictures))
    return csv_text([COLUMNS, *rows], line_end=os.linesep)


def write_pictures_csv(path: Path, pictures: Iterable[Record]) -> None:
    """Write what `pictures_csv` returns."""
    write_atomically(path, pictures_csv(pictures))


COVARIANCE = ("covariance_xx", "covariance_xy", "covariance_yy")
"""The columns of a point's covariance in every table, pixels squared."""
COLUMNS = ("path", "face", "point", "x", "y", "visibility", "confidence", *COVARIANCE)
"""The columns of a table with a row for each landmark."""


def _point_rows(pictures: Iterable[Record]) -> Iterator[list[Any]]:
    for picture in pictures:
        for number, face in enumerate(picture["faces"]):
            covariances = face.get("covariance") or [(None, None, None)] * len(face["landmarks"])
            for index, (x, y) in enumerate(face["landmarks"]):
                known = [None if face[name] is None else face[name][index] for name in ("visibility", "confidence")]
                yield [picture["path"], number, index, x, y, *known, *covariances[index]]


def check_parquet() -> None:
    """Raise `MissingDependencyError` unless pandas and pyarrow are there, which write and read Parquet."""
    with MissingDependencyError.importing("pandas", "Parquet"):
        import pandas  # noqa: F401
        import pyarrow  # noqa: F401


def write_pictures_parquet(path: Path, pictures: Iterable[Record]) -> None:
    """Write the records of pictures as a Parquet file with the rows and columns of `pictures_csv`.

    Text in it is UTF-8: bytes of a name that are none are written as `\\xe9`.

    Raises:
        MissingDependencyError: pandas or pyarrow is not installed (extra `pandas`).
    """
    check_parquet()
    import pandas

    rows = ([os.fsencode(row[0]).decode(errors="backslashreplace"), *row[1:]] for row in _point_rows(pictures))
    frame = pandas.DataFrame(list(rows), columns=COLUMNS)
    kinds = dict.fromkeys(COLUMNS[3:], "float64") | {"path": "str", "face": "int32", "point": "int32"}
    content = io.BytesIO()
    frame.astype(kinds).to_parquet(content, engine="pyarrow", index=False)
    write_atomically(path, content.getvalue())


def pictures_coco(pictures: Iterable[Record], folder: Path | None = None, *, partial: bool = False) -> str:
    """Return the records of pictures as COCO key points; `partial` is that of `pictures_json`.

    Pictures below the file's `folder` are named relative to it, so that both can move together; others absolutely. All
    have the names of their records where it is None.
    """
    images, annotations = [], list[dict[str, Any]]()
    for number, picture in enumerate(pictures, 1):
        size = {"width": picture["width"], "height": picture["height"]}
        name = picture["path"] if folder is None else _name_beside(Path(picture["path"]), folder)
        images.append({"id": number, "file_name": name, **size})
        annotations += coco_annotations(picture["faces"], image_id=number, first_id=len(annotations) + 1)
    categories = [{"id": 1, "name": "face", "supercategory": "face"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return compact(content | ({"partial": True} if partial else {}))


def _name_beside(picture: Path, folder: Path) -> str:
    picture, folder = Path(os.path.abspath(picture)), Path(os.path.abspath(folder))
    return picture.relative_to(folder).as_posix() if picture.is_relative_to(folder) else str(picture)


def write_pictures_coco(path: Path, pictures: Iterable[Record], *, partial: bool = False) -> None:
    """Write what `pictures_coco` returns for the file's folder."""
    write_atomically(path, pictures_coco(pictures, path.parent, partial=partial))


def coco_annotations(faces: Sequence[Record], *, image_id: int, first_id: int = 1) -> list[dict[str, Any]]:
    """Make the COCO key point annotations of the faces of a picture, numbered from `first_id`.

    A landmark with a visibility below 0.5 has the flag 1 (hidden), any other the flag 2 (visible). Beside COCO's own
    entries stands `covariance`, xx, xy and yy of each landmark, where it is known.
    """
    annotations = []
    for number, face in enumerate(faces, first_id):
        x0, y0, x1, y1 = face["box"]
        width, height = round(x1 - x0, 2), round(y1 - y0, 2)
        points = face["landmarks"]
        flags = [2 if seen >= 0.5 else 1 for seen in face["visibility"] or [1.0] * len(points)]
        annotations.append(
            {
                "id": number,
                "image_id": image_id,
                "category_id": 1,
                "keypoints": [value for (x, y), flag in zip(points, flags, strict=True) for value in (x, y, flag)],
                "num_keypoints": len(points),
                "bbox": [x0, y0, width, height],
                "area": round(width * height, 2),
                "iscrowd": 0,
                "score": face["score"],
                **({"covariance": face["covariance"]} if face.get("covariance") else {}),
            }
        )
    return annotations


@contextlib.contextmanager
def json_lines(target: Path | TextIO | None) -> Iterator[Callable[[Record], None]]:
    """Give a function that writes a record as a line of JSON, at once: to a file, to a stream, or nowhere if None.

    The file gets its name at the end, also after an exception. It holds whole lines only, also on a full disk.
    """
    stream = _stream(target)
    if stream is not None:
        yield lambda record: _print(compact(record), stream)
    elif isinstance(target, Path):
        with growing_file(target) as beside, beside.open("wb", buffering=0) as file:
            yield lambda record: append_line(file, target, compact(record))
    else:
        yield lambda record: None


def _print(line: str, stream: TextIO) -> None:
    with writing_to("standard output"):
        print(line, file=stream, flush=True)


def append_line(file: io.FileIO, path: Path, line: str) -> None:
    """Add a whole line to a file that is open for writing without a buffer, or nothing of it where the disk is full.

    Raises:
        InputError: it cannot be written; the message names `path`.
    """
    whole, rest = file.tell() if file.seekable() else None, line.encode() + b"\n"
    try:
        with writing_to(path):
            while rest:  # a disk that is almost full takes a part
                rest = rest[file.write(rest) :]
    except BaseException:
        if whole is not None:
            with contextlib.suppress(OSError):  # of a device, which the first error says better
                file.seek(whole)
                file.truncate()
        raise


def _stream(target: Path | TextIO | None) -> TextIO | None:
    """Return a target that is a stream, or the standard output by its name."""
    if isinstance(target, Path):
        return sys.stdout if is_standard_output(target) else None
    return target


def compact(value: object) -> str:
    """Return a value as JSON without spaces."""
    return json.dumps(value, separators=(",", ":"))

"""Read the faces that any tool wrote: JSON, JSON Lines, COCO key points, CSV, Parquet, `.pts` files.

What comes out are records, as `srn.media.results` writes them: plain dictionaries, 0-based pixels. Only `landmarks` is
sure to be there; `visibility`, `confidence`, `box` and `score` are None where the file does not have them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from srn.errors import DataError, MissingDependencyError
from srn.files import STANDARD_OUTPUT, opened_text
from srn.media.limits import LARGEST_COORDINATE, check_bytes, check_file
from srn.media.listing import is_shadow, why_missing
from srn.media.number_text import number_in, whole_number_in
from srn.media.pts import read_pts
from srn.media.results import Record
from srn.media.tables import read_rows
from srn.settings import parsed_json

FaceRecords = dict[str, list[Record]]
"""The faces of each picture, by its name in the file. A frame of a video is named `<stem of the file>/<number>`."""

FORMATS = "JSON, JSON Lines, COCO, CSV, Parquet, or a folder of .pts files"
_OF_POINT = re.compile(r"(?:x|y|hidden)(\d{1,9})")  # columns of a table with a row for each face
_PICTURE = ("path", "picture", "file_name", "image")  # names of a picture's name, in files of different tools


def read_results(path: str | os.PathLike[str]) -> FaceRecords:
    """Read the faces of pictures or of the frames of videos.

    Args:
        path: by its suffix `.json` (that of `srn detect`, COCO key points with `images`, or an object that holds the
            points `[[x, y], ...]` of each picture), `.jsonl` (a picture or a frame a line), `.csv` and `.parquet` (a
            row a point as in `srn detect`, or a row a face: picture, x0, y0, x1, y1, ...); or a folder of `.pts` files
            (1-based, as everywhere) and of `.jsonl` files, with the folders inside.

    Raises:
        DataError: the path is missing or broken, or holds no face and no picture; the message names the place.
        MissingDependencyError: a Parquet file without pandas.
    """
    place = Path(path)
    expected = f"predictions: {FORMATS}"
    if place == STANDARD_OUTPUT or not os.path.exists(place):  # unlike Path's, it takes any name
        raise DataError.at(place, expected, why_missing(place))
    if not (place.is_file() or place.is_dir()):
        raise DataError.at(place, expected, "a device or a pipe")
    found: FaceRecords = {}
    for name, faces in _of_folder(place) if place.is_dir() else _of_file(place):
        found.setdefault(name, []).extend(faces)
    if not found:
        raise DataError.at(place, expected, "none")
    return found


Named = Iterator[tuple[str, list[Record]]]


def _of_folder(folder: Path) -> Named:
    for path in sorted(folder.rglob("[!.]*")):
        if is_shadow(path) or not path.is_file():
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if path.suffix.lower() == ".pts":
            yield name, [face_record(read_pts(path).tolist(), path)]
        elif path.suffix.lower() == ".jsonl":
            yield from _of_lines(path, name)


def _of_file(path: Path) -> Named:
    suffix = path.suffix.lower()
    if suffix == ".pts":
        yield path.stem, [face_record(read_pts(path).tolist(), path)]
    elif suffix == ".parquet":
        yield from _of_rows(_parquet_rows(path), path)
    elif suffix in (".json", ".jsonl", ".csv"):
        with DataError.reading(path, f"predictions: {FORMATS}"):
            check_file(path)
            if suffix == ".json":
                content = parsed_json(path.read_bytes())
        if suffix == ".json":
            yield from _of_content(content, path)
        elif suffix == ".jsonl":
            yield from _of_lines(path, path.stem)
        else:
            yield from _of_rows(read_rows(path, "a CSV table"), path)
    else:
        raise DataError.at(path, f"predictions: {FORMATS}", f"the suffix {suffix!r}")


def _of_content(content: Any, path: Path) -> Named:
    """Read a JSON file: ours, COCO's, a list of records, or points by picture."""
    if isinstance(content, dict) and isinstance(content.get("annotations"), list):
        yield from _of_coco(content, path)
        return
    if isinstance(content, dict) and isinstance(content.get("images"), list):
        content = content["images"]
    if isinstance(content, list):
        for number, record in enumerate(content, 1):
            yield _of_record(record, f"{path}: picture {number}", path.stem)
        return
    if not isinstance(content, dict):
        raise DataError.at(path, f"predictions: {FORMATS}", type(content).__name__)
    for name, points in content.items():
        where = f"{path}: {name}"
        with DataError.reading(where, "points [[x, y], ...], or a list of such faces"):
            several = list(points or []) if not points or np.ndim(points[0]) == 2 else [points]
        yield name, [face_record(face, where) for face in several]


def _of_lines(path: Path, name: str) -> Named:
    with DataError.reading(path, "JSON lines"):
        check_file(path)
        lines = opened_text(path).read().split("\n")  # other line ends may stand in names
    for number, line in enumerate(lines, 1):
        if line.strip():
            where = f"{path}: line {number}"
            with DataError.reading(where, "a JSON object"):
                record = parsed_json(line)
            yield _of_record(record, where, name)


def _of_record(record: Any, where: str, video: str) -> tuple[str, list[Record]]:
    """Read the record of a picture, or of a frame of a video of that name."""
    with DataError.reading(where, "an object with 'path' or 'frame', and 'faces'"):
        if "frame" in record:
            name = f"{video}/{whole_number_in(record['frame']):06d}"
        else:
            named = [record[key] for key in _PICTURE if key in record]
            if not named:
                raise ValueError("neither")
            name = str(named[0])
        faces = record["faces"]
        given = [face_record(face["landmarks"], where, face) for face in faces]
    return name, given


def face_record(points: Any, where: str | os.PathLike[str], values: Mapping[str, Any] | None = None) -> Record:
    """Make the record of a face of points (N, 2) and, if they are known, the other `values` of it.

    Raises:
        DataError: the points are no finite (N, 2), or a value by point has another length or lies outside [0, 1].
    """
    values = values or {}
    with DataError.reading(where, "finite points [[x, y], ...] and one visibility and confidence each, within [0, 1]"):
        landmarks = np.array(points, np.float64)
        if landmarks.ndim == 2 and landmarks.shape[1] > 2:  # a third coordinate, or a value by point
            landmarks = landmarks[:, :2]
        if landmarks.ndim != 2 or landmarks.shape[1] != 2 or not np.isfinite(landmarks).all():
            raise ValueError(f"the shape {landmarks.shape}" if landmarks.size else "no point")
        if landmarks.size and np.abs(landmarks).max() > LARGEST_COORDINATE:
            raise ValueError(f"a point at {np.abs(landmarks).max():g}")
        record: dict[str, Any] = {"landmarks": landmarks.tolist()}
        for name in ("visibility", "confidence"):
            known = values.get(name)
            record[name] = known
            if known is not None:
                by_point = np.array(known, np.float64)
                if by_point.shape != (len(landmarks),) or not ((by_point >= 0) & (by_point <= 1)).all():
                    raise ValueError(f"a {name} of shape {by_point.shape}")
                record[name] = by_point.tolist()
        record |= {name: values.get(name) for name in ("box", "score")}
    return record


def _of_coco(content: Mapping[str, Any], path: Path) -> Named:
    names: dict[Any, str] = {}
    images = content.get("images")
    for number, image in enumerate(images if isinstance(images, list) else [], 1):
        with DataError.reading(f"{path}: image {number}", "'id' and 'file_name'"):
            if names.setdefault(image["id"], str(image["file_name"])) != str(image["file_name"]):
                raise ValueError(f"another picture of the id {image['id']}")
    if not names:
        raise DataError.at(path, "COCO 'images' with 'id' and 'file_name' beside the 'annotations'", "none")
    yield from ((name, []) for name in names.values())
    annotations = [a for a in content["annotations"] if isinstance(a, dict) and a.get("keypoints")]
    records = []
    for number, annotation in enumerate(annotations, 1):
        where = f"{path}: annotation {annotation.get('id', number)}"
        with DataError.reading(where, "an 'image_id' of the file's images"):
            name = names[annotation["image_id"]]
        records.append((name, coco_face(annotation, where)))
    told = {flag for _, face in records for flag in face["visibility"] or ()}
    for name, face in records:  # a file whose points are all of one sort says nothing about visibility
        yield name, [face if len(told) > 1 else {**face, "visibility": None}]


def coco_face(annotation: Mapping[str, Any], where: str) -> Record:
    """Make the record of a COCO key point annotation. Points of flag 2 have the visibility 1, those of flag 1 none.

    The entry `covariance`, where it is there, is taken over as it is.

    Raises:
        DataError: its `keypoints` are no triples, or a point has no position (flag 0).
    """
    with DataError.reading(where, "'keypoints' x, y, flag of every point"):
        triples = np.array(annotation["keypoints"], np.float64).reshape(-1, 3)
        flags = triples[:, 2]
        are_flags = set(flags.tolist()) <= {0.0, 1.0, 2.0} and 2.0 in flags
        # Without a visible point 0 may be the score of a point that was found; one that was not lies in the corner.
        missing = flags == 0 if are_flags else (triples == 0).all(axis=1)
        if missing.any():
            raise ValueError(f"{int(missing.sum())} points without a position (flag 0)")
        if are_flags:
            visibility, confidence = (flags == 2).astype(float).tolist(), None
        else:  # results of detectors have a score there, or all points are hidden
            whole = set(flags.tolist()) <= {0.0, 1.0}
            visibility, confidence = ([0.0] * len(flags), None) if whole else (None, flags.clip(0, 1).tolist())
        x, y, width, height = annotation.get("bbox") or (0, 0, 0, 0)
    box = [x, y, x + width, y + height] if annotation.get("bbox") else None
    values = {"visibility": visibility, "confidence": confidence, "box": box, "score": annotation.get("score")}
    covariance = annotation.get("covariance")
    record = face_record(triples[:, :2], where, values)
    return record if covariance is None else {**record, "covariance": covariance}


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    with MissingDependencyError.importing("pandas", "reading Parquet"):
        import pandas
        import pyarrow.parquet
    with DataError.reading(path, "a Parquet table"):
        stated = pyarrow.parquet.read_metadata(path)
        sizes = [stated.row_group(k).total_byte_size for k in range(stated.num_row_groups)]
        check_bytes(path, max(sum(sizes), 8 * stated.num_rows * stated.num_columns))
        frame = pandas.read_parquet(path)
    rows: list[dict[str, Any]] = frame.astype(object).where(frame.notna(), "").to_dict("records")
    return rows


def _of_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> Named:
    """Read a table with a row for each point, or one with a row for each face."""
    if not rows:
        raise DataError.at(path, "a table of points", "an empty one")
    header = set(rows[0])
    name = next((key for key in _PICTURE if key in header), None)
    if name is not None and {"x0", "y0"} <= header:
        yield from _wide_rows(rows, name, path)
    elif name is not None and {"point", "x", "y"} <= header:
        yield from _long_rows(rows, name, path)
    else:
        expected = "the columns path, face, point, x, y; or picture, x0, y0, x1, y1, ..."
        raise DataError.at(path, expected, ", ".join(map(str, rows[0]))[:100])


def _wide_rows(rows: Sequence[Mapping[str, Any]], name: str, path: Path) -> Named:
    count = next(n for n in range(len(rows[0]) + 1) if f"x{n}" not in rows[0])
    further = [key for key in rows[0] if (found := _OF_POINT.fullmatch(key)) and int(found[1]) >= count]
    if further:  # it would be passed over
        raise DataError.at(path, f"a column x{count} before those of later points", ", ".join(further)[:100])
    for number, row in enumerate(rows, 2):
        where = f"{path}: line {number}"
        with DataError.reading(where, "numbers for every point"):
            points = [[number_in(row[f"{axis}{k}"]) for axis in "xy"] for k in range(count)]
            known = all(f"hidden{k}" in row for k in range(count))
            visibility = [1 - number_in(row[f"hidden{k}"]) for k in range(count)] if known else None
        yield str(row[name]), [face_record(points, where, {"visibility": visibility})]


def _long_rows(rows: Sequence[Mapping[str, Any]], name: str, path: Path) -> Named:
    faces: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for number, row in enumerate(rows, 2):
        with DataError.reading(f"{path}: line {number}", "a face's number and a point's"):
            of_face, point = (
                faces.setdefault((str(row[name]), str(row.get("face", 0))), {}),
                whole_number_in(row["point"]),
            )
            if of_face.setdefault(point, row) is not row:
                raise ValueError(f"the point {point} of one face twice")
    for (picture, face), points in faces.items():
        where = f"{path}: {picture}, face {face}"
        with DataError.reading(where, f"the points 0 to {len(points) - 1}, with numbers"):
            ordered = [points[k] for k in range(len(points))]
            shape = [[number_in(row["x"]), number_in(row["y"])] for row in ordered]
            values = {key: _column(ordered, key) for key in ("visibility", "confidence")}
        yield picture, [face_record(shape, where, values)]


def _column(rows: Iterable[Mapping[str, Any]], name: str) -> list[float] | None:
    values = [row.get(name, "") for row in rows]
    return None if any(value in ("", None) for value in values) else [number_in(value) for value in values]

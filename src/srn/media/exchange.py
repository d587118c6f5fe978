"""Faces as other libraries hold them: arrays of `supervision.KeyPoints`, MediaPipe's normalized points, rows of tables.

All functions take or give records (`Face.to_dict`), 0-based pixels with pixel centres at integers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from srn.errors import InputError, check_number
from srn.media.result_reading import face_record
from srn.media.results import COVARIANCE, Record


def with_box(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a face's record with a score, 1, and a box, the tight one of its points, where it has none."""
    points = np.asarray(record["landmarks"], np.float64)
    box = record.get("box")
    if box is None:
        box = [*points.min(axis=0).tolist(), *points.max(axis=0).tolist()]
    score = record.get("score")
    return {**record, "box": box, "score": 1.0 if score is None else score}


def normalized(records: Iterable[Record], height: int, width: int) -> list[list[dict[str, float | None]]]:
    """Return the points of each face as MediaPipe's `NormalizedLandmark`: x and y as shares of the picture's sides.

    There the picture's edges are 0 and 1, so that the centre of pixel 0 is at 0.5 / width. `z` is 0: no depth is known.
    `presence` is the confidence.
    """
    _check_size(height, width)
    faces = []
    for face in records:
        count = len(face["landmarks"])
        known = [face[name] or [None] * count for name in ("visibility", "confidence")]
        faces.append(
            [
                {"x": (x + 0.5) / width, "y": (y + 0.5) / height, "z": 0.0, "visibility": seen, "presence": sure}
                for (x, y), seen, sure in zip(face["landmarks"], *known, strict=True)
            ]
        )
    return faces


def from_normalized(faces: Iterable[Sequence[Any]], height: int, width: int) -> list[dict[str, Any]]:
    """Return the records of faces whose points are normalized: dictionaries or objects with `x` and `y`, or pairs.

    The inverse of `normalized`. A MediaPipe result's `face_landmarks` is such a list.
    """
    _check_size(height, width)
    records = []
    for number, face in enumerate(faces):
        values: dict[str, list[Any]] = {}
        with InputError.reading(f"face {number}", "points with x and y"):
            for point in face:
                for name, value in _named(point).items():
                    values.setdefault(name, []).append(value)
            if not {"x", "y"} <= values.keys():
                raise ValueError("none" if not values else "others")
            pixels = zip(values["x"], values["y"], strict=True)
            shape = [[x * width - 0.5, y * height - 0.5] for x, y in pixels]
        named = {"visibility": values.get("visibility", [None]), "confidence": values.get("presence", [None])}
        known = {name: None if None in given else given for name, given in named.items()}
        records.append(with_box(face_record(shape, f"face {number}", known)))
    return records


def _named(point: Any) -> Mapping[str, Any]:
    if isinstance(point, Mapping):
        return point
    if hasattr(point, "x") and hasattr(point, "y"):
        return {name: getattr(point, name, None) for name in ("x", "y", "visibility", "presence")}
    return dict(zip(("x", "y"), point, strict=False))


def _check_size(height: int, width: int) -> None:
    for value in (height, width):
        check_number("size of the picture", value, "a height and a width of at least 1", least=1)


def key_point_arrays(records: Sequence[Record], count: int) -> dict[str, Any]:
    """Return what `supervision.KeyPoints` takes, by its parameters, for faces of `count` points.

    `xy` (n, m, 2) float32, `class_id` zeros, `keypoint_confidence` (n, m) and `detection_confidence` (n,) float32,
    `visible` (n, m) bool; under `data` the probabilities `visibility` (n, m). None where a face does not have it.
    """

    def column(name: str) -> Any:
        if not records or any(face[name] is None for face in records):
            return None
        return np.array([face[name] for face in records], np.float32)

    visibility = column("visibility")
    return {
        "xy": np.array([face["landmarks"] for face in records], np.float32).reshape(-1, count, 2),
        "class_id": np.zeros(len(records), int),
        "keypoint_confidence": column("confidence"),
        "detection_confidence": column("score"),
        "visible": None if visibility is None else visibility >= 0.5,
        "data": {} if visibility is None else {"visibility": visibility},
    }


def from_key_points(key_points: Any) -> list[dict[str, Any]]:
    """Return the records of the faces in a `supervision.KeyPoints`; the inverse of `key_point_arrays`."""
    with InputError.reading("key points", "a supervision.KeyPoints"):
        data = getattr(key_points, "data", None) or {}
        visibility = data.get("visibility", getattr(key_points, "visible", None))
        scores = getattr(key_points, "detection_confidence", None)
        records = []
        for number, points in enumerate(key_points.xy):
            values = {
                name: None if given is None else np.asarray(given[number], np.float64).tolist()
                for name, given in (("visibility", visibility), ("confidence", key_points.keypoint_confidence))
            }
            score = None if scores is None else float(scores[number])
            records.append(with_box(face_record(points, f"face {number}", values | {"score": score})))
        return records


def from_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the records of the faces of a table with a row for each point, as `Faces.to_pandas` makes it."""
    faces: dict[int, dict[int, Mapping[str, Any]]] = {}
    with InputError.reading("table of faces", "the columns of Faces.to_pandas, a row for each point"):
        for row in rows:
            number, point = int(row["face"]), int(row["point"])
            if faces.setdefault(number, {}).setdefault(point, row) is not row:
                raise ValueError(f"the point {point} of face {number} twice: faces of several pictures, perhaps")
        return [_of_points([points[k] for k in sorted(points)], number) for number, points in sorted(faces.items())]


def _of_points(rows: Sequence[Mapping[str, Any]], number: int) -> dict[str, Any]:
    """Return the record of a face from the rows of its points, in their order."""
    values: dict[str, Any] = {}
    for name in ("visibility", "confidence"):
        given = [float(row[name]) for row in rows]
        values[name] = None if np.isnan(given).any() else given
    shape = [[row["x"], row["y"]] for row in rows]
    record = with_box(face_record(shape, f"face {number}", values | {"score": float(rows[0]["score"])}))
    covariance = [[float(row.get(name, "nan")) for name in COVARIANCE] for row in rows]  # absent from older tables
    record |= {} if np.isnan(covariance).any() else {"covariance": covariance}
    track = rows[0].get("track_id")
    return record if track is None or track != track else {**record, "track_id": int(track)}

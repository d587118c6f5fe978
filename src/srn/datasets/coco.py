"""COCO key-point files: one JSON with `images` and `annotations` (x, y, flag for every landmark).

Coordinates are 0-based, as COCO has them. Files that others made from `.pts` files often kept the 1-based numbers of
those: `first_pixel=1` takes them. Of the flags, 2 is a landmark that is seen, 1 one that is hidden, and 0 one without a
position. A file whose flags are all 1 says nothing about occlusion: that is how converted sets without it look.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from srn.datasets.checks import box_of_corner_and_size, check_landmarks, check_picture
from srn.datasets.report import ReadingReport
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.scheme import LandmarkScheme

SEEN, HIDDEN, ABSENT = 2, 1, 0


def is_coco(path: Path) -> bool:
    """Whether a JSON file holds COCO annotations with key points."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        return False
    annotations = content.get("annotations")
    return isinstance(annotations, list) and any(isinstance(a, dict) and "keypoints" in a for a in annotations)


def _picture_of(file_name: str, places: tuple[Path, ...]) -> Path:
    """The picture in the first of the places that has it."""
    return check_picture(next((p / file_name for p in places if (p / file_name).exists()), places[0] / file_name))


def read_coco(
    path: str | os.PathLike[str],
    scheme: LandmarkScheme,
    report: ReadingReport,
    *,
    subset: str | Callable[[str], str] | None = None,
    pictures: str | os.PathLike[str] | None = None,
    first_pixel: float = 0.0,
    boxes: bool = True,
) -> list[Sample]:
    """The faces of a COCO key-point file, in the order of its annotations.

    Args:
        path: the JSON file.
        scheme: what the points are.
        report: takes the counts and what went wrong.
        subset: the faces' subset, or a function from the picture's name to it; the file's stem where None.
        pictures: folder of the pictures; beside the file, in `images` there or in `images` beside its folder if None.
        first_pixel: coordinate of the first pixel's centre in the file.
        boxes: whether `bbox` (x, y, width, height) is a face finder's.

    Raises:
        DataError: the file is missing or no COCO file.
    """
    file = Path(path)
    try:
        content = json.loads(file.read_bytes())
        images = {image["id"]: str(image["file_name"]) for image in content["images"]}
        annotations: list[dict[str, Any]] = [a for a in content["annotations"] if not a.get("iscrowd")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError.at(file, "COCO annotations ('images', 'annotations')", str(error) or "none") from error
    if pictures is not None:
        places: tuple[Path, ...] = (Path(pictures),)
    else:
        places = (file.parent, file.parent / "images", file.parent.parent / "images")
    samples, flags = [], []
    for number, annotation in enumerate(annotations):
        where = f"{file}: annotation {annotation.get('id', number)}"
        try:
            if annotation.get("image_id") not in images:
                raise DataError.at(where, "an 'image_id' of the file's images", str(annotation.get("image_id")))
            name = images[annotation["image_id"]]
            try:
                values = np.array(annotation.get("keypoints", []), dtype=np.float64)
            except (ValueError, TypeError) as error:
                raise DataError.at(where, "numbers as 'keypoints'", str(error)) from error
            if values.shape != (3 * scheme.n_points,):
                expected = f"{3 * scheme.n_points} 'keypoints' numbers ({scheme.name})"
                raise DataError.at(where, expected, str(values.size))
            points = values.reshape(scheme.n_points, 3)
            if (points[:, 2] == ABSENT).any():
                absent = int((points[:, 2] == ABSENT).sum())
                raise DataError.at(where, "a position for every landmark", f"{absent} without one (flag 0)")
            landmarks = check_landmarks(points[:, :2] - first_pixel, where)
            picture = _picture_of(name, places)
        except DataError as error:
            report.problems.append(f"{error}; left out")
            continue
        box = None
        if boxes and annotation.get("bbox") is not None:
            try:
                box = box_of_corner_and_size(annotation["bbox"], f"{where}: bbox", first_pixel)
            except DataError as error:
                report.problems.append(str(error))
        part = file.stem if subset is None else subset if isinstance(subset, str) else subset(name)
        samples.append((picture, landmarks, part, box))
        flags.append(points[:, 2])
        report.count(part, 1)
    told = any((row != HIDDEN).any() for row in flags)  # flags that are all 1 come from sets without occlusion
    return [
        Sample(picture, landmarks, scheme, part, box, row == HIDDEN if told else None)
        for (picture, landmarks, part, box), row in zip(samples, flags, strict=True)
    ]

"""COCO key-point files: one JSON with `images` and `annotations` (x, y, flag for every landmark).

Flag 2 marks a visible landmark, 1 an occluded one, and 0 one without a position. A file whose flags are all 1 has no
occlusion flags.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.datasets.listed_pictures import ListedPictures
from srn.datasets.report import ReadingReport, check_inside, check_landmarks, check_picture, read_corner_box
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.scheme import LandmarkScheme
from srn.media.limits import read_limited
from srn.settings import parsed_json

OCCLUDED, ABSENT = 1, 0


def is_coco(path: Path) -> bool:
    """Return whether a JSON file holds COCO annotations with key points."""
    try:
        text = read_limited(path)
        content = parsed_json(text) if b'"keypoints"' in text else None
    except (OSError, ValueError, RecursionError, DataError):
        return False
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        return False
    annotations = content.get("annotations")
    return isinstance(annotations, list) and any(isinstance(a, dict) and "keypoints" in a for a in annotations)


def broken_coco(path: Path) -> str | None:
    """Return what is wrong with a JSON file that cannot be read and names key points or annotations; else None."""
    try:
        content = read_limited(path)
        if b'"keypoints"' not in content and b'"annotations"' not in content:
            return None
        with DataError.reading(path, "COCO annotations, JSON"):
            parsed_json(content)
    except (OSError, DataError) as error:
        return str(error)
    return None


def read_coco(
    path: Path,
    scheme: LandmarkScheme,
    report: ReadingReport,
    *,
    subset: str | Callable[[str], str] | None = None,
    first_pixel: float = 0.0,
    boxes: bool = True,
) -> list[Sample]:
    """Read the faces of a COCO key-point file, in the order of its annotations.

    Absolute names of pictures must lie where `ListedPictures` looks for all others.

    Args:
        path: the JSON file.
        scheme: numbering of the landmarks.
        report: receives the counts and the problems.
        subset: the faces' subset, or a function from the picture's name to it, with the folder of its split where that
            was looked for; the file's stem where None.
        first_pixel: coordinate of the first pixel's centre; 1 in many files that were converted from `.pts` files.
        boxes: whether `bbox` (x, y, width, height) is a detected face box.

    Raises:
        DataError: the file is missing or no COCO file, or several folders have a picture of one name.
    """
    names, annotations = _content(path)
    pictures = ListedPictures(path)
    samples = []
    for number, annotation in enumerate(annotations):
        where = f"{path}: annotation {annotation.get('id', number)}"
        with report.catching(where):
            if annotation.get("image_id") not in names:
                raise DataError.at(where, "an 'image_id' of the file's images", str(annotation.get("image_id")))
            name = _inside(names[annotation["image_id"]], pictures.places, where)
            points = _points(annotation, scheme, where)
            landmarks = check_landmarks(points[:, :2] - first_pixel, where, scheme)
            found, name = pictures.find(name)
            picture = check_picture(found)
            part = subset(name) if callable(subset) else subset or path.stem
            corner = annotation.get("bbox") if boxes else None
            box = None if corner is None else read_corner_box(corner, f"{where}: bbox", first_pixel, report)
            samples.append(Sample(picture, landmarks, scheme, part, box, points[:, 2] == OCCLUDED))
            report.count(part, 1)
    if pictures.doubt is not None:
        raise pictures.doubt
    if all(sample.occluded is not None and sample.occluded.all() for sample in samples):
        return [replace(sample, occluded=None) for sample in samples]
    return samples


def _inside(name: str, places: Sequence[Path], where: str) -> str:
    """Return a picture's name relative to one of the folders; raise `DataError` where it lies in none."""
    if not os.path.isabs(name):
        return check_inside(name, where)
    picture = Path(os.path.realpath(Path(name).parent), Path(name).name)
    for place in places:
        if picture.is_relative_to(place.resolve()):
            return str(picture.relative_to(place.resolve()))
    raise DataError.at(where, f"a picture in {places[0]}: the COCO file belongs beside its pictures", repr(name))


def _content(file: Path) -> tuple[dict[Any, str], list[dict[str, Any]]]:
    """Return the pictures' names by `id`, and the annotations of single faces."""
    with DataError.reading(file, "COCO annotations ('images', 'annotations')"):
        content = parsed_json(read_limited(file))
        names: dict[Any, str] = {}
        for image in content["images"]:
            if names.setdefault(image["id"], str(image["file_name"])) != str(image["file_name"]):
                raise ValueError(f"another picture of the id {image['id']}")
        return names, [a for a in content["annotations"] if not a.get("iscrowd")]


def _points(annotation: dict[str, Any], scheme: LandmarkScheme, where: str) -> npt.NDArray[np.float64]:
    """Return x, y and flag of every landmark, (N, 3)."""
    with DataError.reading(where, "numbers as 'keypoints'"):
        values = np.array(annotation.get("keypoints", []), dtype=np.float64)
    if values.shape != (3 * scheme.n_points,):
        raise DataError.at(where, f"{3 * scheme.n_points} 'keypoints' numbers ({scheme.name})", str(values.size))
    points = values.reshape(scheme.n_points, 3)
    absent = int((points[:, 2] == ABSENT).sum())
    if absent:
        raise DataError.at(where, "a position for every landmark", f"{absent} without one (flag 0)")
    return points

"""COCO key-point files: one JSON with `images` and `annotations` (x, y, flag for every landmark).

Flag 2 marks a visible landmark, 1 an occluded one, and 0 one without a position. A file whose flags are all 1 has no
occlusion flags.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.datasets.report import ReadingReport, check_inside, check_landmarks, check_picture, read_corner_box
from srn.datasets.sample import SPLITS, Sample
from srn.errors import DataError
from srn.face.scheme import LandmarkScheme
from srn.files import real_path
from srn.media.limits import read_limited
from srn.media.listing import existing
from srn.settings import parsed_json

OCCLUDED, ABSENT = 1, 0
ANNOTATIONS = "annotations"
"""A folder of annotation files beside those of the pictures."""
_SPLIT = "|".join((*SPLITS, "val"))


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

    Pictures are looked for beside the file, in `images` there, and in `images` beside its folder. Absolute names must
    lie there as well. A bare name that is in none of them is looked for in the folders of the splits (`_Pictures`).

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
    pictures = _Pictures(path)
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


class _Pictures:
    """Finds the pictures of a COCO file.

    A bare name that is not in `places` is looked for in the folders of COCO's own layout: `train2017` beside
    `annotations/person_keypoints_train2017.json`. The name of the file tells which folder it is, or at least which
    split; where it tells no split, every folder counts. `doubt` is the error of a name that several folders have.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.places = (file.parent, file.parent / "images", file.parent.parent / "images")
        self.doubt: DataError | None = None

    @cached_property
    def _of_splits(self) -> list[Path]:
        """The folders that bare names are looked for in."""
        homes = [*self.places, *([self._file.parent.parent] if self._file.parent.name == ANNOTATIONS else [])]
        folders = [Path(entry.path) for home in homes if home.is_dir() for entry in os.scandir(home) if entry.is_dir()]
        folders = sorted(f for f in folders if not f.name.startswith(".") and f.name not in (ANNOTATIONS, "images"))
        stem = _words(self._file.stem)
        told = [folder for folder in folders if f"-{_words(folder.name)}-" in f"-{stem}-"]
        begins = [found[0] for part in stem.split("-") if (found := re.match(f"(?:{_SPLIT})+", part))]  # `trainval`
        splits = tuple(word for begin in begins for word in re.findall(_SPLIT, begin))
        return told or [folder for folder in folders if not splits or _words(folder.name).startswith(splits)]

    def find(self, name: str) -> tuple[Path, str]:
        """Return where a picture lies, or is missing, and its name with the folder of its split, if that tells it.

        Raises:
            DataError: it may be one of several.
        """
        near = [existing(place, name) for place in self.places]
        beside = next((file for file in near if file.exists()), None)
        if beside is not None or "/" in name.replace("\\", "/"):
            return beside or near[0], name
        far = [file for folder in self._of_splits if (file := existing(folder, name)).exists()]
        if len({real_path(file) for file in far}) > 1:
            found = f"{name} in {' and in '.join(str(file.parent) for file in far)}"
            self.doubt = DataError.at(self._file, "a name that tells the folder of its pictures", found)
            raise self.doubt
        return (far[0], f"{far[0].parent.name}/{name}") if far else (near[0], name)


def _words(name: str) -> str:
    """Return the words of a name in small letters with `-` between them."""
    return "-".join(re.findall(r"[^\W_]+", name.lower()))


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

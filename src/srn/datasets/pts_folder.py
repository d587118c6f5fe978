"""Reader of one folder of pictures with `.pts` files beside them."""

from __future__ import annotations

import os
from pathlib import Path

from srn.datasets.checks import check_picture
from srn.datasets.report import ReadingReport
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.media.pictures import IMAGE_SUFFIXES
from srn.media.pts import box_around, read_box_pts, read_pts

BOXES_FOLDER = "bbs"
"""Folder of face boxes in a dataset's root; it mirrors the folders of the pictures."""


def read_pts_folder(
    folder: str | os.PathLike[str],
    report: ReadingReport,
    *,
    root: str | os.PathLike[str] | None = None,
    scheme: LandmarkScheme = IBUG_68,
) -> list[Sample]:
    """Read the faces of one folder of pictures with `.pts` files beside them, in the order of their names.

    Args:
        folder: the folder; folders inside it are not entered.
        report: receives the counts and the problems.
        root: the dataset's root, for the subset's name and the face boxes; the folder's parent where None.
        scheme: numbering of the landmarks.

    Raises:
        DataError: the folder does not exist.
    """
    directory = Path(folder)
    base = Path(root) if root is not None else directory.parent
    if not directory.is_dir():
        raise DataError.at(directory, "a folder of pictures with .pts files", "no such folder")
    pictures, annotations = _files(directory, report)
    place = directory.relative_to(base)
    subset = place.as_posix() if place.parts else directory.resolve().name
    samples = []
    for stem in sorted(pictures.keys() | annotations.keys()):
        if stem not in annotations:
            report.problems.append(f"{pictures[stem]}: no {stem}.pts beside it; left out")
        elif stem not in pictures:
            report.problems.append(f"{annotations[stem]}: no picture beside it; left out")
        else:
            with report.catching():
                landmarks = read_pts(annotations[stem], scheme.n_points)
                box_around(landmarks, annotations[stem])  # a face without an extent is an annotation error
                picture = check_picture(pictures[stem])
                box = _face_box(base / BOXES_FOLDER / place / f"{stem}.pts", report)
                samples.append(Sample(picture, landmarks, scheme, subset, box))
    report.count(subset, len(samples))
    return samples


def _files(directory: Path, report: ReadingReport) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the pictures and the `.pts` files of a folder by their stems."""
    pictures: dict[str, Path] = {}
    annotations: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix.lower() == ".pts":
            annotations[path.stem] = path
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            if path.stem in pictures:
                first = pictures[path.stem].name
                report.problems.append(f"{path}: a second picture with the name of {first}; left out")
            else:
                pictures[path.stem] = path
    return pictures, annotations


def _face_box(path: Path, report: ReadingReport) -> Box | None:
    if path.exists():
        with report.catching(""):
            return read_box_pts(path)
    return None

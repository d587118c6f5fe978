"""Reader of one folder of pictures with `.pts` files beside them."""

from __future__ import annotations

from pathlib import Path

from srn.datasets.report import ReadingReport, check_landmarks, check_picture
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.media.listing import is_shadow, unreadable
from srn.media.pictures import IMAGE_SUFFIXES
from srn.media.pts import read_box_pts, read_pts

BOXES_FOLDER = "bbs"
"""Folder of face boxes in a dataset's root; it mirrors the folders of the pictures."""


def read_pts_folder(
    folder: Path, report: ReadingReport, *, root: Path | None = None, scheme: LandmarkScheme = IBUG_68
) -> list[Sample]:
    """Read the faces of one folder, without the folders inside it, in the order of their names.

    Args:
        folder: the folder.
        report: receives the counts and the problems.
        root: the dataset's root, for the subset's name and the face boxes; the folder's parent where None.
        scheme: numbering of the landmarks.

    Raises:
        DataError: the folder does not exist.
    """
    root = root or folder.parent
    if not folder.is_dir():
        raise DataError.at(folder, "a folder of pictures with .pts files", "no such folder")
    pictures: dict[str, Path] = {}
    annotations: dict[str, Path] = {}
    with report.catching(folder):
        pictures, annotations = _files(folder, report)
    place = folder.relative_to(root)
    subset = place.as_posix() if place.parts else folder.resolve().name
    samples = []
    for stem in sorted(pictures.keys() | annotations.keys()):
        if stem not in annotations:
            report.problems.append(f"{pictures[stem]}: no {stem}.pts beside it; left out")
        elif stem not in pictures:
            report.problems.append(f"{annotations[stem]}: no picture beside it; left out")
        else:
            with report.catching(annotations[stem]):
                landmarks = check_landmarks(read_pts(annotations[stem], scheme.n_points), annotations[stem], scheme)
                picture, box = check_picture(pictures[stem]), None
                box_file = root / BOXES_FOLDER / place / f"{stem}.pts"
                if box_file.exists():
                    with report.catching(box_file, ""):
                        box = read_box_pts(box_file)
                samples.append(Sample(picture, landmarks, scheme, subset, box))
    report.count(subset, len(samples))
    return samples


def _files(folder: Path, report: ReadingReport) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the pictures and the `.pts` files of a folder by their stems."""
    pictures: dict[str, Path] = {}
    annotations: dict[str, Path] = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise unreadable(error) from error
    for path in paths:
        if is_shadow(path):
            continue
        if path.suffix.lower() == ".pts":
            annotations[path.stem] = path
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            first = pictures.setdefault(path.stem, path)
            if first != path:
                report.problems.append(f"{path}: a second picture with the name of {first.name}; left out")
    return pictures, annotations

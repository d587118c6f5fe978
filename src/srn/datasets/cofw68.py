"""COFW68 (Ghiasi & Fowlkes, arXiv:1506.08347), in the layout of `docs/datasets.md`: 68 points for COFW's test pictures.

`<i>_points.mat`, i from 1 to 507: `Points` (68, 2) and `Occ` (1, 68), 1 for an occluded point.
`cofw68_test_bboxes.mat`: `bboxes` (507, 4), x, y, width and height of boxes like those of 300W. Pixels count from 1.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.datasets.cofw import FIRST_PIXEL, TRAINING_PICTURES, mat_file, read_mat_picture
from srn.datasets.matlab import read_mat5
from srn.datasets.report import ReadingReport, check_landmarks, check_picture, read_corner_box
from srn.datasets.sample import TEST, Sample
from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.media.pictures import IMAGE_SUFFIXES

BOXES_FILE = "cofw68_test_bboxes.mat"


def annotation_folder(root: Path) -> Path | None:
    """Return the folder that holds `test_annotations`: `root` or `COFW68_Data` in it; None where neither does."""
    return next((place for place in (root, root / "COFW68_Data") if (place / "test_annotations").is_dir()), None)


def read_cofw68(root: Path, pictures: Path | None = None) -> tuple[list[Sample], ReadingReport]:
    """Read the 68 points of COFW's test faces that have a picture, in the order of their numbers.

    Args:
        root: folder with `test_annotations`.
        pictures: COFW's test pictures: its `.mat` file, or a folder with that or with extracted pictures; `root` itself
            where None. Without any picture the report has one problem.

    Raises:
        DataError: there are no annotations.
    """
    report = ReadingReport()
    base, numbered = _annotations(root)
    place = pictures or base
    mat = place if place.suffix.lower() == ".mat" else mat_file(place, TEST) or mat_file(root, TEST)
    extracted = {} if mat is not None else _extracted(place)
    report.count(TEST, 0)
    if mat is None and not extracted:
        expected = "COFW's test pictures (COFW_test_color.mat, COFW_test.mat, or extracted ones)"
        report.problems.append(f"{DataError.at(place, expected, 'none')}; its {len(numbered)} annotations are left out")
        return [], report
    boxes = _boxes(base / BOXES_FILE, report)
    samples = []
    for number, file in sorted(numbered.items()):
        if mat is None and number not in extracted:
            continue
        with report.catching(file):
            landmarks, occluded = _read_points(file)
            picture = check_picture(extracted[number]) if mat is None else mat / f"{number:04d}"
            source = None if mat is None else partial(read_mat_picture, mat, "IsT", number - 1)
            samples.append(Sample(picture, landmarks, IBUG_68, TEST, boxes.get(number), occluded, source=source))
    report.count(TEST, len(samples))
    without = 0 if mat is not None else len(numbered.keys() - extracted.keys())
    if without:
        report.shortfalls.append(f"{place}: {without} of {len(numbered)} annotated faces have no picture there")
    return samples, report


def read_annotations(root: Path) -> list[Sample]:
    """Read points and flags of all annotated faces without pictures, in the order of their numbers.

    The path of a sample is its annotation. For statistics of occlusion; nothing can be trained or tested on them.

    Raises:
        DataError: there are no annotations, or one is broken.
    """
    samples = []
    for _, file in sorted(_annotations(root)[1].items()):
        landmarks, occluded = _read_points(file)
        samples.append(Sample(file, landmarks, IBUG_68, TEST, occluded=occluded))
    return samples


def _annotations(root: Path) -> tuple[Path, dict[int, Path]]:
    """Return the folder of the annotations, and their files by the face's number; raise `DataError` where none."""
    base = annotation_folder(root)
    files = list((base / "test_annotations").glob("*_points.mat")) if base is not None else []
    numbered = {int(match[1]): file for file in files if (match := re.fullmatch(r"(\d+)_points", file.stem))}
    if base is None or not numbered:
        raise DataError.at(root, "'test_annotations' with <number>_points.mat files", "none")
    return base, numbered


def _extracted(folder: Path) -> dict[int, Path]:
    """Return extracted test pictures by their number from 1."""
    pictures: dict[int, Path] = {}
    for place in (folder, folder / "images"):
        if place.is_dir():
            for path in sorted(place.iterdir()):
                if path.suffix.lower() in IMAGE_SUFFIXES and path.stem.isdecimal():
                    offset = TRAINING_PICTURES if len(path.stem) == 6 else 0
                    pictures[int(path.stem) - offset] = path
    return pictures


def _boxes(path: Path, report: ReadingReport) -> dict[int, Box | None]:
    """Return the face boxes by the number of the face."""
    if path.is_file():
        with report.catching(path, ""):
            rows = read_mat5(path).get("bboxes", np.zeros(0)).astype(np.float64)
            if rows.ndim != 2 or rows.shape[1] != 4:
                raise DataError.at(path, "'bboxes' (F, 4)", str(rows.shape))
            numbered = enumerate(rows, 1)
            return {i: read_corner_box(row, f"{path}: row {i}", FIRST_PIXEL, report) for i, row in numbered}
    return {}


def _read_points(file: Path) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Return the landmarks (68, 2) and the occlusion flags (68,) of one face."""
    n = IBUG_68.n_points
    arrays = read_mat5(file)
    points, occluded = arrays.get("Points"), arrays.get("Occ")
    if points is None or points.shape != (n, 2):
        raise DataError.at(file, f"'Points' ({n}, 2)", "none" if points is None else str(points.shape))
    landmarks = check_landmarks(points.astype(np.float64) - FIRST_PIXEL, file, IBUG_68)
    if occluded is None or occluded.size != n:
        raise DataError.at(file, f"'Occ' (1, {n})", "none" if occluded is None else str(occluded.shape))
    return landmarks, occluded.astype(np.float64).ravel() > 0.5

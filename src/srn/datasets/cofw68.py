"""COFW68 (Ghiasi & Fowlkes, arXiv:1506.08347): 68 points with occlusion flags for the test pictures of COFW.

ROOT/test_annotations/<i>_points.mat: `Points` (68, 2) and `Occ` (1, 68), 1 where a point is hidden; i from 1 to 507
ROOT/cofw68_test_bboxes.mat: `bboxes` (507, 4), x, y, width and height of boxes like those of 300W
The pictures are COFW's: COFW_test_color.mat or COFW_test.mat (in ROOT, as the authors' page says, or anywhere), or
extracted ones: <i>.png, or MMPose's images/001346.jpg (= 1) to 001852.jpg (= 507).

MATLAB counts pixels from 1. All 507 annotations were read, and two joined with their real pictures.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from srn.datasets.checks import box_of_corner_and_size, check_landmarks, check_picture
from srn.datasets.cofw import TRAINING_PICTURES, MatPicture, mat_file
from srn.datasets.matlab import read_mat5
from srn.datasets.report import ReadingReport
from srn.datasets.sample import PictureSource, Sample
from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.media.pictures import IMAGE_SUFFIXES

SUBSET = "test"
BOXES = "cofw68_test_bboxes.mat"
_FIRST_PIXEL = 1.0


def annotation_folder(root: str | os.PathLike[str]) -> Path | None:
    """The folder that holds `test_annotations`: `root` or `COFW68_Data` in it; None where it is in neither."""
    places = (Path(root), Path(root) / "COFW68_Data")
    return next((place for place in places if (place / "test_annotations").is_dir()), None)


def _extracted(folder: Path) -> dict[int, Path]:
    """Extracted test pictures by their number from 1; MMPose numbers them on from the training pictures."""
    pictures: dict[int, Path] = {}
    for place in (folder, folder / "images"):
        if place.is_dir():
            for path in sorted(place.iterdir()):
                if path.suffix.lower() in IMAGE_SUFFIXES and path.stem.isdecimal():
                    offset = TRAINING_PICTURES if len(path.stem) == 6 else 0
                    pictures[int(path.stem) - offset] = path
    return pictures


def _boxes(path: Path, report: ReadingReport) -> dict[int, Box]:
    if not path.is_file():
        return {}
    boxes: dict[int, Box] = {}
    try:
        rows = read_mat5(path).get("bboxes", np.zeros(0)).astype(np.float64)
        if rows.ndim != 2 or rows.shape[1] != 4:
            raise DataError.at(path, "'bboxes' (F, 4)", str(rows.shape))
    except DataError as error:
        report.problems.append(str(error))
        return {}
    for number, row in enumerate(rows, 1):
        try:
            boxes[number] = box_of_corner_and_size(row, f"{path}: row {number}", _FIRST_PIXEL)
        except DataError as error:
            report.problems.append(str(error))
    return boxes


def read_cofw68(
    root: str | os.PathLike[str], pictures: str | os.PathLike[str] | None = None
) -> tuple[list[Sample], ReadingReport]:
    """Read the 68 points of COFW's test faces, joined with their pictures.

    Args:
        root: folder with `test_annotations`.
        pictures: COFW's test pictures: its `.mat` file, or a folder with that or with extracted pictures; `root` itself
            where None.

    Returns:
        The faces that have a picture, in the order of their numbers, and the report. Without any picture there is no
        face, and one problem that says so.

    Raises:
        DataError: there are no annotations.
    """
    report = ReadingReport()
    base = annotation_folder(root)
    files = sorted((base / "test_annotations").glob("*_points.mat")) if base is not None else []
    if base is None or not files:
        raise DataError.at(root, "'test_annotations' with <number>_points.mat files", "none")
    place = Path(pictures) if pictures is not None else base
    mat = place if place.suffix.lower() == ".mat" else mat_file(place, "test") or mat_file(root, "test")
    extracted = {} if mat is not None else _extracted(place)
    report.count(SUBSET, 0)
    if mat is None and not extracted:
        expected = "COFW's test pictures (COFW_test_color.mat, COFW_test.mat, or extracted ones)"
        report.problems.append(f"{DataError.at(place, expected, 'none')}; its {len(files)} annotations are left out")
        return [], report
    boxes = _boxes(base / BOXES, report)
    samples, without = [], []
    numbered = {int(match[1]): file for file in files if (match := re.fullmatch(r"(\d+)_points", file.stem))}
    for number, file in sorted(numbered.items()):
        if mat is None and number not in extracted:
            without.append(number)
            continue
        try:
            arrays = read_mat5(file)
            points, hidden = arrays.get("Points"), arrays.get("Occ")
            if points is None or points.shape != (IBUG_68.n_points, 2):
                found = "none" if points is None else str(points.shape)
                raise DataError.at(file, f"'Points' ({IBUG_68.n_points}, 2)", found)
            landmarks = check_landmarks(points.astype(np.float64) - _FIRST_PIXEL, file)
            if hidden is None or hidden.size != IBUG_68.n_points:
                found = "none" if hidden is None else str(hidden.shape)
                raise DataError.at(file, f"'Occ' (1, {IBUG_68.n_points})", found)
            if mat is None:
                picture, source = check_picture(extracted[number]), None
            else:
                picture = mat / f"{number:04d}"
                source = MatPicture(mat, "IsT", number - 1)
        except DataError as error:
            report.problems.append(f"{error}; left out")
            continue
        occluded = hidden.astype(np.float64).ravel() > 0.5
        origin: PictureSource | None = source
        samples.append(Sample(picture, landmarks, IBUG_68, SUBSET, boxes.get(number), occluded, source=origin))
    report.count(SUBSET, len(samples))
    if without:
        report.shortfalls.append(f"{place}: {len(without)} of {len(files)} annotated faces have no picture there")
    return samples, report

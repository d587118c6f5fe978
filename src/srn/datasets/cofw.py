"""COFW (Burgos-Artizzu et al. 2013), in the layouts of `docs/datasets.md`: 29 points with occlusion flags.

The `.mat` files (MATLAB version 7.3) hold `IsTr`, `IsT`: cells of pictures; `phisTr`, `phisT`: (F, 87), x of the 29
points, then y, then 1 for an occluded point (else 0); `bboxesTr`, `bboxesT`: (F, 4), x, y, width and height of a
detected face box. MATLAB counts pixels from 1, and HDF5 stores its arrays transposed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from srn.datasets.coco import read_coco
from srn.datasets.matlab import is_hdf5
from srn.datasets.report import ReadingReport, check_landmarks, read_corner_box
from srn.datasets.sample import SPLITS, Sample
from srn.errors import DataError, MissingDependencyError
from srn.face.geometry import ImageArray
from srn.face.scheme import COFW_29
from srn.media.limits import check_bytes

TRAINING_PICTURES = 1345
"""In MMPose's extracted layout the numbers of the test pictures follow those of the training pictures."""

FIRST_PIXEL = 1.0
_SUFFIX = {"train": "Tr", "test": "T"}


@contextmanager
def _opened(path: Path) -> Any:
    """Open an HDF5 file for reading; any fault inside becomes a `DataError` that names the file."""
    with MissingDependencyError.importing("eval", "reading COFW's .mat files"):
        import h5py
    expected = "a MATLAB version 7.3 file of COFW"
    if path.is_file() and not is_hdf5(path):
        raise DataError.at(path, expected, "another version of .mat file")
    with DataError.reading(path, expected), h5py.File(path, "r") as file:
        yield file


def _values(file: Any, where: str | Path, name: Any) -> Any:
    """Return a dataset's values; refuse those in another file and those above the limit of memory."""
    h5py = sys.modules["h5py"]
    link = file.get(name, getlink=True) if isinstance(name, str) else None
    data = file[name] if link is None or isinstance(link, h5py.HardLink) else None
    if not isinstance(data, h5py.Dataset) or data.external or data.is_virtual:
        raise DataError.at(where, f"an array {name} in the file itself", "another thing")
    check_bytes(where, data.nbytes)
    return data


def read_mat_picture(file: Path, variable: str, index: int) -> ImageArray:
    """Return picture `index` (from 0) of a cell array such as `IsT`, (H, W, 3) uint8 RGB; grey becomes RGB."""
    where = f"{file}: {variable}, picture {index + 1}"
    with _opened(file) as content:
        cell = _values(content, where, _values(content, where, variable)[()].ravel()[index])
        pixels = cell[()].T  # HDF5 stores MATLAB's (H, W) or (H, W, 3) as (W, H) or (3, W, H)
        if "MATLAB_empty" in cell.attrs or pixels.ndim not in (2, 3) or pixels.dtype != np.uint8:
            raise DataError.at(where, "uint8 pixels (H, W) or (H, W, 3)", f"{pixels.dtype} {pixels.shape}")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] not in (1, 3):
        raise DataError.at(where, "one or three channels", str(pixels.shape[2]))
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def mat_file(root: Path, split: str, report: ReadingReport | None = None) -> Path | None:
    """Return the `.mat` file of a split, the colour one if it exists; None where there is none."""
    names = (f"cofw_{split}_color.mat", f"cofw_{split}.mat")
    there = {path.name.lower(): path for path in sorted(root.iterdir())} if root.is_dir() else {}
    found = [there[name] for name in names if name in there]
    if len(found) > 1 and report is not None:
        report.notes.append(f"{found[1]}: not read: {found[0].name} has the same pictures in colour")
    return found[0] if found else None


def _coco_file(root: Path, split: str) -> Path | None:
    names = (f"annotations/cofw_{split}.json", f"cofw_{split}.json", f"{split}_cofw.json")
    return next((root / name for name in names if (root / name).is_file()), None)


def is_cofw(root: Path) -> bool:
    """Return whether a folder holds COFW in either layout."""
    return any(mat_file(root, split) or _coco_file(root, split) for split in SPLITS)


def _read_mat(file: Path, split: str, report: ReadingReport) -> list[Sample]:
    """Read the faces of one official `.mat` file; their pictures are read from it on demand."""
    pictures, phis, boxes = (f"{name}{_SUFFIX[split]}" for name in ("Is", "phis", "bboxes"))
    n = COFW_29.n_points
    with _opened(file) as content:
        missing = [name for name in (pictures, phis) if name not in content]
        if missing:
            raise DataError.at(file, f"the variables {pictures}, {phis} and {boxes}", f"no {' and no '.join(missing)}")
        shapes = np.asarray(_values(content, file, phis)[()], dtype=np.float64).T  # (F, 87)
        faces = _values(content, file, pictures).size
        corners = None
        if boxes in content:
            corners = np.asarray(_values(content, file, boxes)[()], dtype=np.float64).T
    if shapes.shape != (faces, 3 * n):
        raise DataError.at(f"{file}: {phis}", f"({faces}, {3 * n}), as there are {faces} pictures", str(shapes.shape))
    if corners is not None and corners.shape != (faces, 4):
        report.problems.append(str(DataError.at(f"{file}: {boxes}", f"({faces}, 4)", str(corners.shape))))
        corners = None
    samples = []
    for index, shape in enumerate(shapes):
        with report.catching(f"{file}: {phis}, face {index + 1}"):
            landmarks = np.stack([shape[:n], shape[n : 2 * n]], axis=1) - FIRST_PIXEL
            check_landmarks(landmarks, f"{file}: {phis}, face {index + 1}", COFW_29)
            box = None
            if corners is not None:
                box = read_corner_box(corners[index], f"{file}: {boxes}, face {index + 1}", FIRST_PIXEL, report)
            name, source = file / f"{index + 1:04d}", partial(read_mat_picture, file, pictures, index)
            samples.append(Sample(name, landmarks, COFW_29, split, box, shape[2 * n :] > 0.5, source=source))
    report.count(split, len(samples))
    return samples


def read_cofw(root: Path, splits: Iterable[str] = SPLITS) -> tuple[list[Sample], ReadingReport]:
    """Read COFW with its 29 points, occlusion flags and detected face boxes, split by split.

    `root` holds the `.mat` files, or the extracted pictures with their COCO files; `DataError` is raised where it holds
    neither.
    """
    report = ReadingReport()
    samples: list[Sample] = []
    files = {split: (mat_file(root, split, report), _coco_file(root, split)) for split in splits}
    for split, (mat, coco) in files.items():
        report.count(split, 0)
        if mat is not None:
            samples += _read_mat(mat, split, report)
        elif coco is not None:
            samples += read_coco(coco, COFW_29, report, subset=split)
    if not any(mat or coco for mat, coco in files.values()):
        expected = "COFW_train_color.mat, COFW_test_color.mat (or without _color), or cofw_train.json, cofw_test.json"
        raise DataError.at(root, expected, "none of them")
    return samples, report

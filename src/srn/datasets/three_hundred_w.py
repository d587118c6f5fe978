"""300W (Sagonas et al. 2013), its private test set, and Masked 300W, in the layouts of `docs/datasets.md`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from srn.datasets.coco import read_coco
from srn.datasets.manifest import mark_occluded, read_visible
from srn.datasets.pts_folder import read_pts_folder
from srn.datasets.report import ReadingReport
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.scheme import IBUG_68

TRAINING_SUBSETS = ("afw", "helen/trainset", "lfpw/trainset")
COMMON_SUBSETS = ("helen/testset", "lfpw/testset")
CHALLENGING_SUBSETS = ("ibug",)
FULL_SUBSETS = (*COMMON_SUBSETS, *CHALLENGING_SUBSETS)
PRIVATE_SUBSETS = ("01_Indoor", "02_Outdoor")
PRIVATE_EXTRACT = "test_300w.json"

_RENDERING = re.compile(r"(AFW|HELEN|LFPW|IBUG)_(.+)_\d+")  # 300W-LP: AFW_1051618982_1_11 of AFW's 1051618982_1
_FACE_NUMBER = re.compile(r"(?<=\d)_\d+$")  # 1051618982_1 and 1051618982_2 are two faces of one photograph


def is_300w(root: Path) -> bool:
    """Return whether a folder has any of 300W's folders."""
    return any((root / name).is_dir() for name in (*TRAINING_SUBSETS, *FULL_SUBSETS))


def is_masked(root: Path) -> bool:
    """Return whether 300W's folders are those of a masked set, by its manifest or its name."""
    try:
        made = bool(read_visible(root))
    except DataError:  # a broken manifest: reading the set reports it
        made = True
    return made or "mask" in root.resolve().name.lower()


def is_private(root: Path) -> bool:
    """Return whether a folder holds the private test set."""
    return _private_folder(root) is not None or (root / PRIVATE_EXTRACT).is_file()


def photograph_of(name: str) -> str:
    """Name the photograph that a face shows, from the face's name in a pack: `subset/stem`, or `root/subset/stem`.

    Faces of one photograph, its masked copies, and the renderings of 300W-LP made from it, share a name. A face of
    another dataset than 300W is a photograph of its own.
    """
    folder, _, stem = name.rpartition("/")
    rendering = _RENDERING.fullmatch(stem)
    if rendering is not None:
        folder, stem = rendering[1].lower(), rendering[2].replace("image_train", "image").replace("image_test", "image")
    family = next((part for part in folder.split("/") if part in ("afw", "helen", "lfpw", "ibug")), None)
    return name if family is None else f"{family}/{_FACE_NUMBER.sub('', stem)}"


def read_300w(root: Path, subsets: Iterable[str] = TRAINING_SUBSETS) -> tuple[list[Sample], ReadingReport]:
    """Read subsets of 300W, such as `helen/trainset`; raise `DataError` where none exists."""
    report = ReadingReport()
    samples: list[Sample] = []
    for subset in subsets:
        if (root / subset).is_dir():
            samples += read_pts_folder(root / subset, report, root=root)
        else:
            report.count(subset, 0)
    if not samples:
        names = ", ".join(subsets)
        raise DataError.at(root, f"the folders of 300W ({names}) with pictures and .pts files", "none of them")
    return samples, report


def read_masked_300w(root: Path, subsets: Iterable[str] = FULL_SUBSETS) -> tuple[list[Sample], ReadingReport]:
    """Read Masked 300W: folders of 300W, of the authors' set (test faces) or of one made by `srn mask`.

    The authors' face boxes are the tight boxes of the true landmarks, not detected ones as in 300W. The manifest of a
    made set tells which landmarks are covered. Without any of the folders `DataError` is raised.
    """
    samples, report = read_300w(root, subsets)
    return mark_occluded(samples, root), report


def read_300w_private(root: Path) -> tuple[list[Sample], ReadingReport]:
    """Read the private test set of the 300W challenge, 300 indoor and 300 outdoor pictures.

    MMPose's extract is read as well: `test_300w.json` with pictures `indoor_*.png`, `outdoor_*.png`. It kept the
    1-based coordinates of the `.pts` files, and its boxes come from the true landmarks. `DataError` is raised where
    neither layout exists.
    """
    folder = _private_folder(root)
    if folder is not None:
        return read_300w(folder, PRIVATE_SUBSETS)
    extract = root / PRIVATE_EXTRACT
    if not extract.is_file():
        expected = f"the folders {' and '.join(PRIVATE_SUBSETS)}, or {PRIVATE_EXTRACT}"
        raise DataError.at(root, expected, "none of them")
    report = ReadingReport(counts=dict.fromkeys(PRIVATE_SUBSETS, 0))
    return read_coco(extract, IBUG_68, report, subset=_private_subset, first_pixel=1.0, boxes=False), report


def _private_subset(picture: str) -> str:
    return PRIVATE_SUBSETS[Path(picture).name.startswith("outdoor")]


def _private_folder(root: Path) -> Path | None:
    places = (root, root / "300W")
    return next((place for place in places if any((place / name).is_dir() for name in PRIVATE_SUBSETS)), None)

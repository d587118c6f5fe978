"""300W (Sagonas et al. 2013) in its official layout, and any folder of pictures with `.pts` files beside them.

ROOT/afw, ROOT/helen/{trainset,testset}, ROOT/lfpw/{trainset,testset}, ROOT/ibug: <stem>.jpg or .png + <stem>.pts
ROOT/bbs/<the same folders>/<stem>.pts: face boxes of a detector (four corners), where they exist

The private test set of the challenge: ROOT/300W/01_Indoor, ROOT/300W/02_Outdoor (or both in ROOT): <stem>.png + .pts
Masked 300W (Zhu et al. 2021): the test folders of 300W with masks drawn on; points unchanged
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from srn.datasets.coco import read_coco
from srn.datasets.manifest import mark_occluded, read_visible
from srn.datasets.report import ReadingReport as ReadingReport  # its first home: others import it from here
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.media.pictures import IMAGE_SUFFIXES
from srn.media.pts import box_around, read_box_pts, read_pts

TRAINING_SUBSETS = ("afw", "helen/trainset", "lfpw/trainset")
COMMON_SUBSETS = ("helen/testset", "lfpw/testset")
CHALLENGING_SUBSETS = ("ibug",)
FULL_SUBSETS = (*COMMON_SUBSETS, *CHALLENGING_SUBSETS)
PRIVATE_SUBSETS = ("01_Indoor", "02_Outdoor")
PRIVATE_EXTRACT = "test_300w.json"


def _detector_box(folder: Path, root: Path, stem: str, report: ReadingReport) -> Box | None:
    path = root / "bbs" / folder.relative_to(root) / f"{stem}.pts"
    if not path.exists():
        return None
    try:
        return read_box_pts(path)
    except DataError as error:
        report.problems.append(str(error))
        return None


def read_annotated_folder(
    folder: str | os.PathLike[str],
    report: ReadingReport,
    *,
    root: str | os.PathLike[str] | None = None,
    scheme: LandmarkScheme = IBUG_68,
) -> list[Sample]:
    """The faces of one folder of pictures with `.pts` files beside them, in the order of their names.

    Args:
        folder: where the files are; folders inside it are not entered.
        report: takes the counts and what went wrong.
        root: the dataset's root, for the subset's name and the `bbs` boxes; the folder's parent where None.
        scheme: what the points are.

    Raises:
        DataError: the folder does not exist.
    """
    directory = Path(folder)
    base = Path(root) if root is not None else directory.parent
    if not directory.is_dir():
        raise DataError.at(directory, "a folder of pictures with .pts files", "no such folder")
    pictures: dict[str, Path] = {}
    annotations: dict[str, Path] = {}
    for path in sorted(directory.iterdir()):
        if path.suffix.lower() == ".pts":
            annotations[path.stem] = path
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            if path.stem in pictures:
                report.problems.append(
                    f"{path}: a second picture with the name of {pictures[path.stem].name}; left out"
                )
            else:
                pictures[path.stem] = path
    subset = directory.relative_to(base).as_posix()
    if subset == ".":  # the dataset's root itself
        subset = directory.resolve().name
    samples = []
    for stem in sorted(pictures.keys() | annotations.keys()):
        if stem not in annotations:
            report.problems.append(f"{pictures[stem]}: no {stem}.pts beside it; left out")
        elif stem not in pictures:
            report.problems.append(f"{annotations[stem]}: no picture beside it; left out")
        else:
            try:
                landmarks = read_pts(annotations[stem], scheme.n_points)
                box_around(landmarks, annotations[stem])  # a face without an extent is an annotation error
                if pictures[stem].stat().st_size == 0:
                    raise DataError.at(pictures[stem], "a picture", "an empty file")
            except DataError as error:
                report.problems.append(f"{error}; left out")
                continue
            box = _detector_box(directory, base, stem, report)
            samples.append(Sample(pictures[stem], landmarks, scheme, subset, box))
    report.count(subset, len(samples))
    return samples


def read_300w(
    root: str | os.PathLike[str], subsets: Iterable[str] = TRAINING_SUBSETS
) -> tuple[list[Sample], ReadingReport]:
    """Read subsets of 300W.

    Args:
        root: folder that holds `afw`, `helen`, `lfpw` and `ibug`.
        subsets: names such as `helen/trainset`; see `TRAINING_SUBSETS`, `FULL_SUBSETS`.

    Returns:
        The faces, subset by subset in the order of their names, and the report.

    Raises:
        DataError: none of the subsets is there.
    """
    report = ReadingReport()
    samples: list[Sample] = []
    for subset in subsets:
        folder = Path(root) / subset
        if folder.is_dir():
            samples += read_annotated_folder(folder, report, root=root)
        else:
            report.counts[subset] = 0
    if not samples:
        names = ", ".join(subsets)
        raise DataError.at(root, f"the folders of 300W ({names}) with pictures and .pts files", "none of them")
    return samples, report


def read_masked_300w(root: str | os.PathLike[str]) -> tuple[list[Sample], ReadingReport]:
    """Read Masked 300W: the test folders of 300W (`ibug`, and where they are there `helen/testset`, `lfpw/testset`).

    The authors' boxes for it are the tight boxes of the true landmarks, not a face finder's as those of 300W are. A set
    that `srn mask` made is read as well; its manifest says which points are covered.

    Raises:
        DataError: none of the folders is there.
    """
    samples, report = read_300w(root, FULL_SUBSETS)
    return mark_occluded(samples, root), report


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
    return private_folder(root) is not None or (root / PRIVATE_EXTRACT).is_file()


def private_folder(root: str | os.PathLike[str]) -> Path | None:
    """Where the private test set's `01_Indoor` or `02_Outdoor` is: `root` or `300W` in it; None where in neither."""
    places = (Path(root), Path(root) / "300W")
    return next((place for place in places if any((place / name).is_dir() for name in PRIVATE_SUBSETS)), None)


def read_300w_private(root: str | os.PathLike[str]) -> tuple[list[Sample], ReadingReport]:
    """Read the private test set of the 300W challenge, 300 indoor and 300 outdoor pictures.

    Args:
        root: folder that holds `01_Indoor` and `02_Outdoor`, or `300W` with both; or MMPose's extract of it, a
            `test_300w.json` with pictures `indoor_*.png`, `outdoor_*.png`. (That file keeps the 1-based numbers of the
            `.pts` files it was made from, and its boxes come from the true landmarks.)

    Raises:
        DataError: neither is there.
    """
    base = private_folder(root)
    extract = Path(root) / PRIVATE_EXTRACT
    if base is not None:
        samples, report = read_300w(base, PRIVATE_SUBSETS)
    elif extract.is_file():
        report = ReadingReport()

        def subset_of(name: str) -> str:
            return PRIVATE_SUBSETS[Path(name).name.startswith("outdoor")]

        samples = read_coco(extract, IBUG_68, report, subset=subset_of, first_pixel=1.0, boxes=False)
        for subset in PRIVATE_SUBSETS:
            report.count(subset, 0)
    else:
        raise DataError.at(root, f"the folders {' and '.join(PRIVATE_SUBSETS)}, or {PRIVATE_EXTRACT}", "none of them")
    return samples, report

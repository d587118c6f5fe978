"""People's own data: pictures with `.pts` files, COCO key points, or a CSV table; one TOML file describes the points.

ROOT/scheme.toml: what the points are (see `scheme_file`); not needed for 68 (iBUG), 98 (WFLW) or 29 (COFW) points
ROOT/**/<stem>.jpg + <stem>.pts (1-based, as iBUG's), each folder a subset; ROOT/bbs/... boxes as in 300W
ROOT/*.json, ROOT/annotations/*.json: COCO key points (0-based)
ROOT/*.csv: a header and a line a face: `picture` (relative to the table), `x0`, `y0`, `x1`, `y1`, ... (0-based), and
where wanted `subset` and `hidden0`, `hidden1`, ... (1 where a point is hidden)

A part of a subset's name that begins with "train" or "test" says which split it is.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from srn.datasets.checks import check_landmarks, check_picture
from srn.datasets.coco import is_coco, read_coco
from srn.datasets.manifest import mark_occluded
from srn.datasets.report import ReadingReport
from srn.datasets.sample import Sample
from srn.datasets.scheme_file import SCHEME_FILE, read_scheme
from srn.datasets.three_hundred_w import read_annotated_folder
from srn.errors import DataError
from srn.face.scheme import COFW_29, IBUG_68, WFLW_98, LandmarkScheme
from srn.media.pictures import IMAGE_SUFFIXES
from srn.media.pts import read_pts

_BY_COUNT = {scheme.n_points: scheme for scheme in (IBUG_68, WFLW_98, COFW_29)}
_BOXES = "bbs"


def split_of(subset: str) -> str | None:
    """`train` or `test` where a part of the subset's name begins so; else None."""
    parts = subset.lower().replace("\\", "/").replace("_", "/").replace("-", "/").split("/")
    return next((split for part in parts for split in ("train", "test") if part.startswith(split)), None)


def _folders(root: Path) -> list[Path]:
    """`root` and the folders in it that hold `.pts` files, but for those of boxes."""
    found = {path.parent for path in root.rglob("*") if path.suffix.lower() == ".pts" and path.is_file()}
    return sorted(folder for folder in found if _BOXES not in folder.relative_to(root).parts)


def home_of(folder: Path) -> Path:
    """Return the dataset that a folder belongs to: the folder itself unless it holds `.pts` files.

    The dataset of a folder of `.pts` files is the next folder, of itself and three above, that holds boxes (`bbs`) or a
    manifest; its parent where none does.
    """
    if not any(path.suffix.lower() == ".pts" for path in folder.iterdir()):
        return folder
    resolved = folder.resolve()
    places = [resolved, *list(resolved.parents)[:3]]
    return next((p for p in places if (p / _BOXES).is_dir() or (p / "manifest.csv").is_file()), resolved.parent)


def is_single_folder(folder: Path) -> bool:
    """Return whether a folder holds `.pts` files itself and no other annotations."""
    return annotation_files(folder) == ([folder], [], [])


def _is_table(path: Path) -> bool:
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = {name.strip() for name in file.readline().split(",")}
    except (OSError, UnicodeDecodeError):
        return False
    return {"picture", "x0", "y0"} <= header


def annotation_files(root: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """What a folder holds of the plain layout: folders of `.pts` files, COCO files, CSV tables."""
    if not root.is_dir():
        return [], [], []
    places = [place for place in (root, root / "annotations") if place.is_dir()]
    coco = [p for place in places for p in sorted(place.glob("*.json")) if is_coco(p)]
    tables = [p for place in places for p in sorted(place.glob("*.csv")) if _is_table(p)]
    return _folders(root), coco, tables


def _points_in(folders: Sequence[Path], coco: Sequence[Path], tables: Sequence[Path]) -> int | None:
    """How many points the first readable annotation has."""
    for path in (p for folder in folders for p in sorted(folder.iterdir()) if p.suffix.lower() == ".pts"):
        try:
            return len(read_pts(path))
        except DataError:
            continue
    for path in coco:
        for annotation in json.loads(path.read_bytes())["annotations"]:
            if annotation.get("keypoints"):
                return len(annotation["keypoints"]) // 3
    for path in tables:
        header = path.read_text(encoding="utf-8-sig").splitlines()[0].split(",")
        return sum(name.strip()[:1] == "x" and name.strip()[1:].isdecimal() for name in header)
    return None


def read_table(path: str | os.PathLike[str], scheme: LandmarkScheme, report: ReadingReport) -> list[Sample]:
    """The faces of a CSV table, in the order of its lines.

    Args:
        path: the table; its columns stand in the module's description.
        scheme: what the points are.
        report: takes the counts and what went wrong.

    Raises:
        DataError: the table is missing or lacks a column.
    """
    file, n = Path(path), scheme.n_points
    try:
        rows = list(csv.reader(io.StringIO(file.read_text(encoding="utf-8-sig"))))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError.at(file, "a table of landmarks (.csv)", str(error)) from error
    header = [name.strip() for name in rows[0]] if rows else []
    needed = ["picture", *(f"{axis}{i}" for i in range(n) for axis in "xy")]
    missing = [name for name in needed if name not in header]
    if missing:
        raise DataError.at(file, f"the columns picture, x0, y0 ... x{n - 1}, y{n - 1}", f"no {missing[0]}")
    flags = [f"hidden{i}" for i in range(n)]
    flagged = all(name in header for name in flags)
    samples = []
    for number, values in enumerate(rows[1:], 2):
        if not "".join(values).strip():
            continue
        where = f"{file}: line {number}"
        row = dict(zip(header, (value.strip() for value in values), strict=False))
        try:
            try:
                landmarks = np.array([[float(row[f"{axis}{i}"]) for axis in "xy"] for i in range(n)])
                hidden = np.array([float(row[name]) > 0.5 for name in flags]) if flagged else None
            except (KeyError, ValueError) as error:
                raise DataError.at(where, f"{len(header)} columns, numbers for every point", str(error)) from error
            check_landmarks(landmarks, where)
            picture = check_picture(file.parent / row["picture"])
        except DataError as error:
            report.problems.append(f"{error}; left out")
            continue
        subset = row.get("subset") or file.stem
        samples.append(Sample(picture, landmarks, scheme, subset, occluded=hidden))
        report.count(subset, 1)
    return samples


def read_plain(
    root: str | os.PathLike[str], scheme: LandmarkScheme | None = None
) -> tuple[list[Sample], ReadingReport]:
    """Read a folder of one's own annotations, in any of the plain layouts; what is in several of them is read from all.

    Args:
        root: the folder.
        scheme: what the points are; where None, as `scheme.toml` in the folder says, or 68, 98 or 29 by their number.

    Returns:
        The faces and the report.

    Raises:
        DataError: there is no annotation, or nothing says what the points are.
    """
    base, report = Path(root), ReadingReport()
    if not base.is_dir():
        raise DataError.at(base, "a folder of annotated pictures", "no such folder")
    folders, coco, tables = annotation_files(base)
    if not (folders or coco or tables):
        raise DataError.at(base, "pictures with .pts files, COCO key points (.json) or a table (.csv)", "none of them")
    if scheme is None and (base / SCHEME_FILE).is_file():
        scheme = read_scheme(base / SCHEME_FILE)
    if scheme is None:
        points = _points_in(folders, coco, tables)
        scheme = _BY_COUNT.get(points or 0)
        if scheme is None:
            found = "no readable annotation" if points is None else f"{points} points"
            raise DataError.at(base, f"{SCHEME_FILE}, which says what the points are, or 68, 98 or 29 points", found)
    samples: list[Sample] = []
    home = home_of(base)
    for folder in folders:
        alone = folder == base  # then its subset's name and its boxes come from the dataset around it
        directory, root_of = (base.resolve(), home) if alone else (folder, base)
        samples += read_annotated_folder(directory, report, root=root_of, scheme=scheme)
    samples = mark_occluded(samples, home)
    for path in coco:
        samples += read_coco(path, scheme, report)
    for path in tables:
        samples += read_table(path, scheme, report)
    told = {line.split(":")[0] for line in report.problems}
    stray = [
        path
        for path in sorted(base.rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES and path.parent not in folders and str(path) not in told
    ]
    used = {sample.path.resolve() for sample in samples}
    unused = [path for path in stray if path.resolve() not in used]
    if unused:
        report.notes.append(f"{base}: {len(unused)} pictures without an annotation, the first {unused[0]}")
    return samples, report

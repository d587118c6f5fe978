"""Own annotations: pictures with `.pts` files, COCO key points or CSV tables, as `docs/datasets.md` describes them."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Collection, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from srn.datasets.coco import broken_coco, is_coco, read_coco
from srn.datasets.listed_pictures import ANNOTATIONS, ListedPictures
from srn.datasets.manifest import MANIFEST, mark_occluded
from srn.datasets.pts_folder import BOXES_FOLDER, read_pts_folder
from srn.datasets.report import ReadingReport, check_inside, check_landmarks, check_picture
from srn.datasets.sample import SPLITS, Sample
from srn.datasets.scheme_file import SCHEME_FILE, read_scheme
from srn.errors import DataError
from srn.face.scheme import COFW_29, IBUG_68, WFLW_98, LandmarkScheme
from srn.files import opened_text, real_path
from srn.media.limits import check_file, read_limited
from srn.media.listing import is_shadow
from srn.media.number_text import number_in
from srn.media.pictures import IMAGE_SUFFIXES
from srn.media.pts import read_pts
from srn.media.tables import check_length, check_names
from srn.settings import parsed_json

_BY_COUNT = {scheme.n_points: scheme for scheme in (IBUG_68, WFLW_98, COFW_29)}


def split_of(subset: str) -> str | None:
    """Return `train` or `test` where a part of the subset's name begins so; else None."""
    parts = subset.lower().replace("\\", "/").replace("_", "/").replace("-", "/").split("/")
    return next((split for part in parts for split in SPLITS if part.startswith(split)), None)


def annotation_files(root: Path) -> tuple[list[Path], list[Path], list[Path]]:
    """Return the annotations in a folder: folders of `.pts` files, COCO files, CSV tables.

    Files and tables are those of the folder and its `annotations`. Where there is nothing at all, each folder inside is
    searched in the same way (`train`, `test`, as several tools export them).
    """
    if not root.is_dir():
        return [], [], []
    folders, coco, tables = _pts_folders(root), list[Path](), list[Path]()
    for places in _places(root):
        coco = [p for place in places for p in sorted(place.glob("*.json")) if is_coco(p)]
        tables = [p for place in places for p in sorted(place.glob("*.csv")) if _is_table(p)]
        if folders or coco or tables:
            break
    return folders, coco, tables


def _places(root: Path) -> tuple[list[Path], list[Path]]:
    """Return where files of annotations may lie: in a folder, and in the folders inside."""
    inner = sorted(path for path in root.glob("[!.]*") if path.is_dir() and path.name != ANNOTATIONS)
    return _with_annotations([root]), _with_annotations(inner)


def _with_annotations(folders: Sequence[Path]) -> list[Path]:
    return [place for folder in folders for place in (folder, folder / ANNOTATIONS) if place.is_dir()]


def _is_table(path: Path) -> bool:
    return {"picture", "x0", "y0"} <= {*_columns(path)}


def _subset_of(file: Path, root: Path) -> Callable[[str], str]:
    """Return what gives a picture's subset by its name in a file: that of the file, or of the picture's folder.

    The folder counts where it tells a split that the file does not.
    """
    parts = file.relative_to(root).with_suffix("").parts
    stem = "/".join(part for part in parts if part != ANNOTATIONS) or ANNOTATIONS

    def subset(picture: str) -> str:
        folder = PurePosixPath(picture.replace("\\", "/")).parent.as_posix()
        return folder if split_of(stem) is None and split_of(folder) is not None else stem

    return subset


def home_of(folder: Path) -> Path:
    """Return the dataset that a folder belongs to: the folder itself unless it holds `.pts` files.

    A folder of `.pts` files belongs to the next folder that holds face boxes (`bbs`) or a manifest, of itself and three
    above; to its parent where none does.
    """
    if not any(path.suffix.lower() == ".pts" for path in folder.iterdir()):
        return folder
    resolved = folder.resolve()
    places = [resolved, *list(resolved.parents)[:3]]
    return next((p for p in places if (p / BOXES_FOLDER).is_dir() or (p / MANIFEST).is_file()), resolved.parent)


def is_single_folder(folder: Path) -> bool:
    """Return whether a folder holds `.pts` files itself and no other annotations."""
    return annotation_files(folder) == ([folder], [], [])


def read_plain(base: Path, scheme: LandmarkScheme | None = None) -> tuple[list[Sample], ReadingReport]:
    """Read a folder of own annotations, in all of the plain layouts that it has.

    A scheme of None stands for that of `scheme.toml` in the folder, else for that of 68, 98 or 29 points. Without an
    annotation or a known scheme `DataError` is raised.
    """
    report = ReadingReport()
    if not base.is_dir():
        raise DataError.at(base, "a folder of annotated pictures", "no such folder")
    folders, coco, tables = annotation_files(base)
    if not (folders or coco or tables):
        raise DataError.at(base, "pictures with .pts files, COCO key points (.json) or a table (.csv)", "none of them")
    scheme = scheme or _scheme_of(base, folders, coco, tables)
    samples: list[Sample] = []
    home = home_of(base)
    for folder in folders:
        # The dataset around a single folder gives its subset's name and its boxes.
        directory, root = (base.resolve(), home) if folder == base else (folder, base)
        samples += read_pts_folder(directory, report, root=root, scheme=scheme)
    samples = mark_occluded(samples, home)
    for path in coco:
        samples += read_coco(path, scheme, report, subset=_subset_of(path, base))
    for path in tables:
        samples += read_table(path, scheme, report, subset=_subset_of(path, base))
    report.problems += (f"{reason}; left out" for reason in unknown_annotations(base, {*coco, *tables})[0])
    _note_unused(base, folders, samples, report)
    return samples, report


def read_table(
    file: Path, scheme: LandmarkScheme, report: ReadingReport, *, subset: Callable[[str], str] | None = None
) -> list[Sample]:
    """Read the faces of a CSV table, line by line. Pictures are looked for as `ListedPictures` does.

    `subset` gives the subset by the picture's name, with the folder of its split where that was looked for, where the
    table does not; the file's stem where None.

    Raises:
        DataError: the table is missing or lacks a column, or several folders have a picture of one name.
    """
    n = scheme.n_points
    with DataError.reading(file, "a table of landmarks (.csv)"):
        check_file(file)
        rows = list(csv.reader(opened_text(file)))
    header = [name.strip() for name in rows[0]] if rows else []
    needed = ["picture", *(f"{axis}{i}" for i in range(n) for axis in "xy")]
    missing = [name for name in needed if name not in header]
    check_names([name for name in header if name in {*needed, "subset"}], file)
    if missing:
        raise DataError.at(file, f"the columns picture, x0, y0 ... x{n - 1}, y{n - 1}", f"no {missing[0]}")
    samples, pictures = [], ListedPictures(file)
    for number, values in enumerate(rows[1:], 2):
        if "".join(values).strip():
            row = dict(zip(header, (value.strip() for value in values), strict=False))
            where = f"{file}: line {number}"
            with report.catching(where):
                check_length(len(header), values[len(header) :], where)
                samples.append(_read_row(row, header, where, pictures, scheme, subset or (lambda picture: file.stem)))
                report.count(samples[-1].subset, 1)
    if pictures.doubt is not None:
        raise pictures.doubt
    return samples


def _read_row(
    row: dict[str, str], header: list[str], where: str, pictures: ListedPictures, scheme: LandmarkScheme,
    subset_of: Callable[[str], str],
) -> Sample:  # fmt: skip
    flags = [f"hidden{i}" for i in range(scheme.n_points)]
    with DataError.reading(where, f"{len(header)} columns, numbers for every point"):
        landmarks = np.array([[number_in(row[f"{axis}{i}"]) for axis in "xy"] for i in range(scheme.n_points)])
        hidden = np.array([number_in(row[name]) > 0.5 for name in flags]) if set(flags) <= set(header) else None
    check_landmarks(landmarks, where, scheme)
    picture, name = pictures.find(check_inside(row["picture"], where))
    subset = check_inside(row.get("subset") or subset_of(name), where)
    return Sample(check_picture(picture), landmarks, scheme, subset, occluded=hidden)


def _pts_folders(root: Path) -> list[Path]:
    """Return `root` and the folders in it that hold `.pts` files, except those of face boxes."""
    found = {path.parent for path in root.rglob("[!.]*") if path.suffix.lower() == ".pts" and path.is_file()}
    return sorted(folder for folder in found if BOXES_FOLDER not in folder.relative_to(root).parts)


def _columns(path: Path) -> list[str]:
    """Return the names in the first line of a table; none where it cannot be read."""
    with contextlib.suppress(OSError, csv.Error), path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
        return [name.strip() for name in next(csv.reader([file.readline(1 << 20)]), [])]
    return []


def _scheme_of(root: Path, folders: Sequence[Path], coco: Sequence[Path], tables: Sequence[Path]) -> LandmarkScheme:
    """Return the scheme that `scheme.toml` describes, else the one that the number of points tells."""
    if (root / SCHEME_FILE).is_file():
        return read_scheme(root / SCHEME_FILE)
    points = _count_points(folders, coco, tables)
    if points not in _BY_COUNT:
        if points is None:
            raise DataError.at(root, "an annotation that can be read", _first_reason(folders, coco) or "none")
        found = f"{points} points"
        raise DataError.at(root, f"{SCHEME_FILE}, which says what the points are, or 68, 98 or 29 points", found)
    return _BY_COUNT[points]


def _count_points(folders: Sequence[Path], coco: Sequence[Path], tables: Sequence[Path]) -> int | None:
    """Return the number of points of the first readable annotation."""
    for path in (p for folder in folders for p in sorted(folder.glob("[!.]*.[pP][tT][sS]"))):
        try:
            return len(read_pts(path))
        except DataError:
            continue
    for path in coco:
        with contextlib.suppress(DataError), DataError.reading(path, "COCO annotations"):
            for annotation in parsed_json(read_limited(path))["annotations"]:
                if annotation.get("keypoints"):
                    return len(annotation["keypoints"]) // 3
    for path in tables:
        return sum(name[:1] == "x" and name[1:].isdecimal() for name in _columns(path))
    return None


def _first_reason(folders: Sequence[Path], coco: Sequence[Path]) -> str | None:
    """Return why the first annotation cannot be read."""
    for path in (p for folder in folders for p in sorted(folder.glob("[!.]*.[pP][tT][sS]"))):
        try:
            read_pts(path)
        except DataError as error:
            return str(error)
    return f"no key points in {coco[0]}" if coco else None


def unknown_annotations(root: Path, known: Collection[Path] = ()) -> tuple[list[str], list[str]]:
    """Describe what looks like annotations in a folder and is not `known`: JSON that is broken, and other tables."""
    broken, tables = [], []
    shallow, deep = _places(root)
    for place in [*shallow, *([] if any(path.parent in shallow for path in known) else deep)]:
        for path in sorted(place.glob("*")):
            if path.suffix == ".json" and path not in known and (reason := broken_coco(path)) is not None:
                broken.append(reason)
            if path.suffix == ".csv" and path not in known and path.is_file():
                tables.append(f"{path}, which has no columns picture, x0, y0 with commas between them")
    return broken, tables


def _note_unused(root: Path, folders: Sequence[Path], samples: Sequence[Sample], report: ReadingReport) -> None:
    """Note the pictures outside the folders of `.pts` files that no annotation belongs to."""
    told = {line.split(":")[0] for line in report.problems}
    used = {real_path(sample.path) for sample in samples}
    pictures = (
        path for path in sorted(root.rglob("*")) if path.suffix.lower() in IMAGE_SUFFIXES and not is_shadow(path)
    )
    others = (path for path in pictures if path.parent not in folders and str(path) not in told)
    unused = [path for path in others if real_path(path) not in used]
    if unused:
        report.notes.append(f"{root}: {len(unused)} pictures without an annotation, the first {unused[0]}")

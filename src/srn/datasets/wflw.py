"""WFLW (Wu et al., CVPR 2018), in the layout of `docs/datasets.md`: 98 points, a face box and six attributes a face."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from srn.datasets.report import ReadingReport, check_inside, check_landmarks, check_picture
from srn.datasets.sample import SPLITS, TEST, Sample
from srn.errors import DataError, InputError
from srn.face.geometry import Box
from srn.face.scheme import WFLW_98, LandmarkScheme
from srn.files import opened_text
from srn.media.limits import check_file
from srn.media.listing import existing
from srn.media.number_text import number_in

ATTRIBUTES = ("pose", "expression", "illumination", "make-up", "occlusion", "blur")
"""The six flags, in the order of the lists."""

_LIST_NAMES = {"pose": "largepose", "make-up": "makeup"}


def list_file(root: Path, split: str, scheme: LandmarkScheme = WFLW_98) -> Path:
    """Return the path of the list of a split."""
    name = f"list_{scheme.n_points}pt_rect_attr"
    places = (root / "WFLW_annotations", root)
    files = [place / f"{name}_train_test" / f"{name}_{split}.txt" for place in places]
    return next((file for file in files if file.is_file()), files[0])


def has_lists(root: Path, scheme: LandmarkScheme) -> bool:
    """Return whether a folder has a list of a split with this many points."""
    return any(list_file(root, split, scheme).is_file() for split in SPLITS)


def _lines(path: Path) -> list[tuple[int, str]]:
    """Return the lines that are not empty, with their numbers."""
    with DataError.reading(path, "a list of WFLW"):
        check_file(path)
        text = opened_text(path).read()
    return [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _read_face(
    line: str, where: str, scheme: LandmarkScheme, images: Path, split: str, report: ReadingReport
) -> Sample:
    coordinates = 2 * scheme.n_points
    numbers = coordinates + 4 + len(ATTRIBUTES)
    words = line.split(maxsplit=numbers)
    with DataError.reading(where, f"{coordinates} coordinates, 4 of a box, {len(ATTRIBUTES)} flags 0 or 1, and a name"):
        values = np.array([number_in(word) for word in words[:numbers]])
        flags = values[coordinates + 4 :]
        if len(words) != numbers + 1 or not np.isin(flags, (0, 1)).all():
            raise ValueError(f"{len(words)} words, flags {' '.join(words[coordinates + 4 : numbers])}")
    landmarks = check_landmarks(values[:coordinates].reshape(scheme.n_points, 2), where, scheme)
    picture = check_picture(existing(images, check_inside(words[-1].strip(), where)))
    box = None
    try:
        box = Box(*values[coordinates : coordinates + 4].tolist())
    except InputError as error:
        report.problems.append(f"{where}: {error}")
    attributes = frozenset(name for name, flag in zip(ATTRIBUTES, flags, strict=True) if flag)
    return Sample(picture, landmarks, scheme, split, box, attributes=attributes)


def _compare_with_list(root: Path, attribute: str, samples: list[Sample], report: ReadingReport) -> None:
    """Note differences between an official subset list and the flags. Picture and first point identify a face."""
    name = _LIST_NAMES.get(attribute, attribute)
    path = root / "WFLW_annotations" / "list_98pt_test" / f"list_98pt_test_{name}.txt"
    if not path.is_file():
        return
    listed = set()
    for number, line in _lines(path):
        words = line.split(maxsplit=2 * WFLW_98.n_points)
        try:
            listed.add(
                (words[2 * WFLW_98.n_points].strip(), round(number_in(words[0]), 2), round(number_in(words[1]), 2))
            )
        except (IndexError, ValueError):
            expected = f"{2 * WFLW_98.n_points} coordinates and a name"
            report.problems.append(str(DataError.at(f"{path}: line {number}", expected, f"{len(words)} words")))
    images = root / "WFLW_images"
    known = {
        (s.path.relative_to(images).as_posix(), *np.round(s.landmarks[0], 2).tolist()): attribute in s.attributes
        for s in samples
    }
    unmarked = sum(not known[face] for face in listed & known.keys())
    unlisted = sum(marked for face, marked in known.items() if face not in listed)
    if unmarked or unlisted:
        report.notes.append(f"{path}: {unmarked} faces without the flag {attribute}, {unlisted} with it are not listed")


def read_wflw(
    root: Path, splits: Iterable[str] = SPLITS, *, scheme: LandmarkScheme = WFLW_98
) -> tuple[list[Sample], ReadingReport]:
    """Read WFLW with its face boxes and attributes, in the order of the lists.

    Args:
        root: folder with `WFLW_images` and `WFLW_annotations`.
        splits: `train`, `test` or both.
        scheme: `WFLW_98`, or `IBUG_68` for the lists that others derived.

    Raises:
        DataError: none of the lists exists.
    """
    report = ReadingReport()
    wanted = {split: list_file(root, split, scheme) for split in splits}
    if not any(file.is_file() for file in wanted.values()):
        raise DataError.at(root, f"WFLW's lists ({next(iter(wanted.values())).relative_to(root)})", "none of them")
    samples: list[Sample] = []
    for split, file in wanted.items():
        found: list[Sample] = []
        for number, line in _lines(file) if file.is_file() else []:
            where = f"{file}: line {number}"
            with report.catching(where):
                found.append(_read_face(line, where, scheme, root / "WFLW_images", split, report))
        report.count(split, len(found))
        if split == TEST and scheme is WFLW_98:
            for attribute in ATTRIBUTES:
                _compare_with_list(root, attribute, found, report)
        samples += found
    return samples, report

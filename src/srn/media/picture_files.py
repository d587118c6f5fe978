"""Find the pictures of a run and name the files of its results."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from srn.errors import DataError
from srn.media.pictures import IMAGE_SUFFIXES

OVERLAY_SUFFIX = "_landmarks"
"""End of the stem of a picture on which landmarks are drawn."""


class PictureFile(NamedTuple):
    """A picture of a run. `stem` is the relative path of its results, without suffix; no other picture has it."""

    path: Path
    stem: Path


def pictures_in(paths: Iterable[Path]) -> list[PictureFile]:
    """List the pictures of files and folders (with the folders inside), without overlays of earlier runs.

    Raises:
        DataError: a path does not exist, or a folder contains no picture.
    """
    pictures: list[PictureFile] = []
    taken: set[Path] = set()
    for path, relative in _files_of(paths):
        stem, number = relative.with_suffix(""), 1
        while stem in taken:  # `a.jpg` and `a.png` must not overwrite each other's results
            number += 1
            stem = relative.with_name(f"{relative.stem}_{number}")
        taken.add(stem)
        pictures.append(PictureFile(path, stem))
    return pictures


def _files_of(paths: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield every picture with its path relative to the folder it was found in."""
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            siblings = {p.with_suffix(p.suffix.lower()) for p in inside}
            inside = [p for p in inside if not _is_overlay(p, siblings)]
            if not inside:
                raise DataError.at(path, "a folder with pictures", "none")
            yield from ((picture, picture.relative_to(path)) for picture in inside)
        elif path.exists():
            yield path, Path(path.name)
        else:
            raise DataError.at(path, "a picture or a folder", "no such file")


def _is_overlay(path: Path, siblings: set[Path]) -> bool:
    """Whether an earlier run drew this picture from one beside it."""
    if not path.stem.endswith(OVERLAY_SUFFIX):
        return False
    source = path.with_name(path.stem.removesuffix(OVERLAY_SUFFIX))
    return any(source.with_name(source.name + suffix) in siblings for suffix in IMAGE_SUFFIXES)


def point_files(picture: PictureFile, pictures: Sequence[PictureFile]) -> Iterator[Path]:
    """Yield relative names for the faces of a picture: `<stem>.pts`, `<stem>_2.pts`, ..., skipping other pictures'."""
    stem, stems = picture.stem, {other.stem for other in pictures}
    yield stem.with_name(f"{stem.name}.pts")
    for number in itertools.count(2):
        further = stem.with_name(f"{stem.name}_{number}")
        if further not in stems:
            yield further.with_name(f"{further.name}.pts")

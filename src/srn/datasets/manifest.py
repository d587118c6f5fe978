"""The tables of masked sets and videos, which tell the visible landmarks of each face."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.datasets.writing import frame_name
from srn.errors import DataError
from srn.face.scheme import LandmarkScheme
from srn.media.tables import read_rows

MANIFEST, CLIP_MANIFEST = "manifest.csv", "masks.csv"
"""The table of a set, and that of one masked video."""

Flags = npt.NDArray[np.bool_]


def read_visible(root: Path) -> dict[str, Flags]:
    """Return the visibility flags (N,) of a masked set by `<subset>/<stem>`; nothing without such a manifest.

    `DataError` is raised where the flags cannot be read.
    """
    # Sets made from a folder with its own boxes used to have the subset ".".
    listed = _read_flags(root / MANIFEST, "subset", "stem").items()
    return {f"{root.resolve().name if subset == '.' else subset}/{stem}": flags for (subset, stem), flags in listed}


def _read_flags(path: Path, *columns: str) -> dict[tuple[str, ...], Flags]:
    """Return the column `visible` of a table by the values of other columns; nothing without it."""
    if not path.exists():
        return {}
    flags = {}
    for number, row in enumerate(read_rows(path, "a table of visible landmarks"), 2):
        if "visible" not in row:  # another dataset's manifest
            return {}
        names = tuple(row.get(column) or "" for column in columns)
        if not all(names) or not row["visible"] or set(row["visible"]) - {"0", "1"}:
            expected = f"{', '.join(columns)}, and a row of 0 and 1 as 'visible'"
            raise DataError.at(f"{path}: line {number}", expected, repr(row["visible"]))
        flags[names] = np.array([flag == "1" for flag in row["visible"]])
    return flags


def mark_occluded(samples: Iterable[Sample], root: Path) -> list[Sample]:
    """Return the samples with the occlusion flags of a masked set's manifest, where it lists them.

    `DataError` is raised where it cannot be read, or does not fit the landmarks.
    """
    visible = read_visible(root)
    keys = [(sample, f"{sample.subset}/{sample.path.stem}") for sample in samples]
    return [
        replace(sample, occluded=_hidden(visible[key], sample.scheme, f"{root / MANIFEST}: {key}"))
        if key in visible
        else sample
        for sample, key in keys
    ]


def mark_occluded_frames(clip: Clip, folder: Path, visible: Mapping[str, Flags]) -> Clip:
    """Return a video with its occlusion flags: those of the table in its folder, or of its set (`read_visible`).

    `DataError` is raised where the table cannot be read, or does not fit the landmarks.
    """
    names = [f"{clip.name}/{frame_name(number)}" for number in clip.numbers.tolist()]
    own = {f"{clip.name}/{frame}": flags for (frame,), flags in _read_flags(folder / CLIP_MANIFEST, "frame").items()}
    known = [own.get(name, visible.get(name)) for name in names]
    if all(flags is None for flags in known):
        return clip
    seen = np.ones(clip.scheme.n_points, bool)
    flags_of = zip(names, (seen if flags is None else flags for flags in known), strict=True)
    hidden = [_hidden(flags, clip.scheme, f"{folder}: flags of {name}") for name, flags in flags_of]
    return replace(clip, occluded=np.stack(hidden))


def _hidden(visible: Flags, scheme: LandmarkScheme, where: str) -> Flags:
    if len(visible) != scheme.n_points:
        raise DataError.at(where, f"{scheme.n_points} flags ({scheme.name})", str(len(visible)))
    return ~visible

"""`manifest.csv` of a masked set, which tells the visible landmarks of each face; and the digest of a set."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.scheme import LandmarkScheme
from srn.media.tables import read_rows

MANIFEST = "manifest.csv"


def read_visible(root: Path) -> dict[str, npt.NDArray[np.bool_]]:
    """Return the visibility flags (N,) of a masked set by `<subset>/<stem>`; nothing without such a manifest.

    `DataError` is raised where the flags cannot be read.
    """
    path = root / MANIFEST
    if not path.exists():
        return {}
    flags = {}
    rows = read_rows(path, "a manifest of a masked set")
    for number, row in enumerate(rows, 2):
        if "visible" not in row:  # another dataset's manifest
            return {}
        if not row["visible"] or set(row["visible"]) - {"0", "1"} or not row.get("subset") or not row.get("stem"):
            expected = "subset, stem, and a row of 0 and 1 as 'visible'"
            raise DataError.at(f"{path}: line {number}", expected, repr(row["visible"]))
        # Sets made from a folder with its own boxes used to have the subset ".".
        subset = path.parent.resolve().name if row["subset"] == "." else row["subset"]
        flags[f"{subset}/{row['stem']}"] = np.array([flag == "1" for flag in row["visible"]])
    return flags


def mark_occluded(samples: Iterable[Sample], root: Path) -> list[Sample]:
    """Return the samples with the occlusion flags of a masked set's manifest, where it lists them."""
    visible = read_visible(root)
    keys = [(sample, f"{sample.subset}/{sample.path.stem}") for sample in samples]
    return [replace(sample, occluded=~visible[key]) if key in visible else sample for sample, key in keys]


def manifest_digest(samples: Iterable[Sample]) -> str:
    """Hash faces: annotations by content, pictures by absolute path, size and time of change."""
    digest = hashlib.sha256()
    scheme: LandmarkScheme | None = None
    for sample in samples:
        if sample.scheme is not scheme:  # a scheme of the user's own may change under the same name
            scheme = sample.scheme
            digest.update(repr(scheme.definition()).encode())
        path, size, changed = _picture_file(sample.path)
        facts = [
            str(path), size, changed, sample.path.name, sample.subset, sorted(sample.attributes),
            None if sample.detector_box is None else sample.detector_box.as_array().tolist(),
            None if sample.occluded is None else sample.occluded.astype(int).tolist(),
        ]  # fmt: skip
        digest.update(json.dumps(facts).encode() + np.ascontiguousarray(sample.landmarks, np.float64).tobytes())
    return digest.hexdigest()


def _picture_file(path: Path) -> tuple[Path, int, int]:
    """Return the file of a picture, or of a picture in a file (`x.mat/12`), its size and its time of change."""
    for candidate in (path, path.parent):
        if candidate.is_file():
            facts = candidate.stat()
            return candidate.resolve(), facts.st_size, facts.st_mtime_ns
    return path, -1, -1

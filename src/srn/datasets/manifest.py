"""`manifest.csv` of a masked set: which landmarks of each face stayed visible."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import numpy as np

from srn.errors import DataError


def read_visible(root: str | os.PathLike[str]) -> dict[str, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """The visible flags (N,) in a masked set's `manifest.csv`, by `<subset>/<stem>`; empty where there is no such file.

    Raises:
        DataError: the manifest's flags cannot be read.
    """
    path = Path(root) / "manifest.csv"
    if not path.exists():
        return {}
    flags = {}
    for number, row in enumerate(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))), 2):
        if "visible" not in row:  # another dataset's manifest
            return {}
        if not row["visible"] or set(row["visible"]) - {"0", "1"}:
            raise DataError.at(f"{path}: line {number}", "a row of 0 and 1 as 'visible'", repr(row["visible"]))
        flags[f"{row['subset']}/{row['stem']}"] = np.array([flag == "1" for flag in row["visible"]])
    return flags

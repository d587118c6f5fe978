"""Hand-made flags of hidden landmarks on 300W training faces, for `train_visibility.py` and `measure_visibility.py`.

A file of flags is JSON: `{"faces": {"helen/trainset/123_1": {"hidden": [3, 4], "doubtful": [5], "part": "training"}}}`.
A point is hidden where something else than the face's own skin and beard lies over its place: hair, a hand, cloth, an
object, an opaque lens. Points at the border of such a thing, and all that the eye cannot decide, are doubtful.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.errors import DataError
from srn.face.scheme import IBUG_68

Flags = npt.NDArray[np.bool_]
TRAINING, YARDSTICK, ASIDE = PARTS = "training", "yardstick", "aside"
"""Faces to learn from, faces to measure on, and faces without flags that show a photograph of the yardstick's."""


@dataclass(frozen=True)
class FaceFlags:
    """Flags of one face, (68,) each: the `hidden` points, and the `doubtful` ones, which count neither way."""

    hidden: Flags
    doubtful: Flags
    part: str


def _points(values: Any) -> Flags:
    flags = np.zeros(IBUG_68.n_points, bool)
    indices = [int(v) for v in values]
    if any(not 0 <= index < len(flags) for index in indices):
        raise ValueError(f"a point outside 0 to {len(flags) - 1}")
    flags[indices] = True
    return flags


def read_flags(path: Path) -> Mapping[str, FaceFlags]:
    """Read the flags of each face by its name `subset/stem`, else raise `DataError`."""
    with DataError.reading(path, "flags of faces as JSON"):
        faces = json.loads(path.read_text(encoding="utf-8"))["faces"]
        found = {
            str(name): FaceFlags(_points(face["hidden"]), _points(face["doubtful"]), str(face["part"]))
            for name, face in faces.items()
        }
        if any(face.part not in PARTS or (face.hidden & face.doubtful).any() for face in found.values()):
            raise ValueError(f"a part other than {', '.join(PARTS)}, or a point hidden and doubtful at once")
        return found


def stacked(flags: Mapping[str, FaceFlags], names: Sequence[str]) -> tuple[Flags, Flags]:
    """Return the hidden and the doubtful points, (F, 68) each, of faces by name; faces without flags have neither."""
    none = np.zeros(IBUG_68.n_points, bool)
    found = [flags.get(name, FaceFlags(none, none, TRAINING)) for name in names]
    return np.stack([face.hidden for face in found]), np.stack([face.doubtful for face in found])

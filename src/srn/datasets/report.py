"""`ReadingReport`, the findings of a reader, and the checks that all readers share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srn.errors import DataError, InputError
from srn.face import metrics
from srn.face.geometry import Box
from srn.face.scheme import LandmarkScheme
from srn.media.pts import box_around


@dataclass
class ReadingReport:
    """The findings of a reader. Nothing is dropped without a line in it.

    Attributes:
        counts: faces read, by subset.
        problems: pictures and annotations that could not be used.
        shortfalls: subsets with another number of faces than the official release.
        notes: facts that need no action, e.g. the frames that a protocol excludes.
    """

    counts: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    shortfalls: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def count(self, subset: str, faces: int) -> None:
        """Add to the faces of a subset; 0 records that it was looked for."""
        self.counts[subset] = self.counts.get(subset, 0) + faces

    @contextmanager
    def catching(self, where: str | os.PathLike[str], consequence: str = "; left out") -> Iterator[None]:
        """Turn an error of the block, which reads one face, into a problem that ends with `consequence`."""
        try:
            with DataError.reading(where, "an annotation that can be read"):
                yield
        except DataError as error:
            self.problems.append(f"{error}{consequence}")

    def compare(self, where: Path, faces: int, official: int, unit: str = "faces") -> None:
        """Record a shortfall where the official release has another number."""
        if faces != official:
            self.shortfalls.append(f"{where}: {faces} {unit}, the official release has {official}")

    def add(self, other: ReadingReport) -> None:
        """Append another report."""
        for subset, faces in other.counts.items():
            self.count(subset, faces)
        self.problems += other.problems
        self.shortfalls += other.shortfalls
        self.notes += other.notes

    def lines(self) -> list[str]:
        """Return the report as printable lines, the counts first."""
        total = f"{sum(self.counts.values())} faces: " + ", ".join(f"{name} {n}" for name, n in self.counts.items())
        return [total, *self.notes, *self.shortfalls, *self.problems]


def check_landmarks(
    landmarks: npt.NDArray[np.float64], where: str | os.PathLike[str], scheme: LandmarkScheme
) -> npt.NDArray[np.float64]:
    """Return landmarks (N, 2) unchanged; raise `DataError` unless they are finite, with an extent, and the eyes apart.

    Errors are divided by the distance of the eyes.
    """
    if not np.isfinite(landmarks).all():
        raise DataError.at(where, "finite coordinates", f"{landmarks[~np.isfinite(landmarks)][0]}")
    box_around(landmarks, where)
    for length in (metrics.interocular, metrics.interpupil):
        if length(landmarks, scheme) == 0:
            raise DataError.at(where, "two eyes", "both at one point")
    return landmarks


def check_picture(path: Path) -> Path:
    """Return the path unchanged; raise `DataError` where the file is missing or empty. It is not decoded."""
    with DataError.reading(path, "a picture"):
        size = path.stat().st_size
    if size == 0:
        raise DataError.at(path, "a picture", "an empty file")
    return path


def check_inside(name: str, where: str | os.PathLike[str]) -> str:
    """Return the name of a picture or subset unchanged; raise `DataError` where it leads out of its dataset's folder.

    Names come from files of strangers, and outputs are named by them. Links inside the folder may lead anywhere.
    """
    parts = name.replace("\\", "/").split("/")
    if "\0" in name or ".." in parts or not parts[0] or Path(name).is_absolute():
        raise DataError.at(where, "a name inside the dataset's folder", repr(name))
    return name


def read_corner_box(values: Any, where: str, first_pixel: float, report: ReadingReport) -> Box | None:
    """Convert x, y, width and height (MATLAB, COCO) to a 0-based box; `first_pixel` is their first pixel's centre.

    Values without an extent give None and a problem in the report.
    """
    try:
        x, y, width, height = (float(v) for v in np.asarray(values, dtype=np.float64).ravel())
        return Box(x - first_pixel, y - first_pixel, x - first_pixel + width, y - first_pixel + height)
    except (ValueError, TypeError, OverflowError, InputError):
        found = " ".join(map(str, values)) if isinstance(values, list | np.ndarray) else str(values)
        report.problems.append(str(DataError.at(where, "a box: x, y, width > 0, height > 0", found)))
        return None

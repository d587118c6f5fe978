"""What every reader asks of a face before it takes it."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.errors import DataError, InputError
from srn.face.geometry import Box
from srn.media.pts import box_around


def check_landmarks(landmarks: npt.NDArray[np.float64], where: str | os.PathLike[str]) -> npt.NDArray[np.float64]:
    """The landmarks (N, 2) themselves, when they are numbers and have an extent.

    Raises:
        DataError: they are not; the message begins with `where`.
    """
    if not np.isfinite(landmarks).all():
        raise DataError.at(where, "finite coordinates", f"{landmarks[~np.isfinite(landmarks)][0]}")
    box_around(landmarks, where)
    return landmarks


def check_picture(path: Path) -> Path:
    """The path itself, when a file of at least a byte is there; whether it decodes is seen when it is read.

    Raises:
        DataError: the picture is missing or empty.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError.at(path, "a picture", error.strerror or "an error") from error
    if size == 0:
        raise DataError.at(path, "a picture", "an empty file")
    return path


def box_of_corner_and_size(values: npt.NDArray[np.float64], where: str | os.PathLike[str], first_pixel: float) -> Box:
    """A box (x, y, width, height), as MATLAB and COCO write them, in 0-based pixels; `first_pixel` is their origin.

    Raises:
        DataError: it has no extent.
    """
    try:
        x, y, width, height = (float(v) for v in np.asarray(values, dtype=np.float64).ravel())
        return Box(x - first_pixel, y - first_pixel, x - first_pixel + width, y - first_pixel + height)
    except (ValueError, InputError) as error:
        found = " ".join(str(v) for v in np.asarray(values).ravel())
        raise DataError.at(where, "a box: x, y, width > 0, height > 0", found) from error

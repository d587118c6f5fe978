"""Checks of annotations and pictures that all readers share."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.errors import DataError, InputError
from srn.face.geometry import Box
from srn.media.pts import box_around


def check_landmarks(landmarks: npt.NDArray[np.float64], where: str | os.PathLike[str]) -> npt.NDArray[np.float64]:
    """Return landmarks (N, 2) unchanged after checking that they are finite and have an extent.

    Raises:
        DataError: they are not or have none; the message begins with `where`.
    """
    if not np.isfinite(landmarks).all():
        raise DataError.at(where, "finite coordinates", f"{landmarks[~np.isfinite(landmarks)][0]}")
    box_around(landmarks, where)
    return landmarks


def check_picture(path: Path) -> Path:
    """Return the path unchanged after checking that the file exists and is not empty; it is not decoded.

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
    """Return a box given as x, y, width and height (MATLAB, COCO) in 0-based pixels.

    Args:
        values: the four numbers.
        where: start of the error message.
        first_pixel: coordinate of the first pixel's centre.

    Raises:
        DataError: they are no box with an extent.
    """
    try:
        x, y, width, height = (float(v) for v in np.asarray(values, dtype=np.float64).ravel())
        return Box(x - first_pixel, y - first_pixel, x - first_pixel + width, y - first_pixel + height)
    except (ValueError, InputError) as error:
        found = " ".join(str(v) for v in np.asarray(values).ravel())
        raise DataError.at(where, "a box: x, y, width > 0, height > 0", found) from error

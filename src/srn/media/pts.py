"""Read and write `.pts` files (iBUG): the one place where 1-based coordinates become 0-based and back."""

from __future__ import annotations

import os
import re

import numpy as np
import numpy.typing as npt

from srn.errors import DataError, InputError
from srn.face.geometry import Box, FloatArray
from srn.files import POINTS_END, write_atomically
from srn.media.limits import read_limited
from srn.media.number_text import number_in


def read_pts(path: str | os.PathLike[str], n_points: int | None = None) -> npt.NDArray[np.float64]:
    """Read the points (N, 2) of a `.pts` file, 0-based picture pixels; there must be `n_points` of them if it is given.

    Raises:
        DataError: the file is missing or broken, or has another number of points.
    """
    with DataError.reading(path, "a readable .pts file"):
        text = read_limited(path).decode("utf-8", "replace")
    declared = re.search(r"n_points\s*:\s*([0-9]+)", text)
    block = re.search(r"\{(.*?)\}", text, re.DOTALL)
    if declared is None or block is None:
        found = "other text" if text.strip() else "neither"
        raise DataError.at(path, "'n_points: N' and a block of '{ x y ... }'", found)
    with DataError.reading(path, "numbers between the braces"):
        numbers = np.array([number_in(word) for word in block[1].split()])
        expected = int(declared[1])
    if len(numbers) != 2 * expected:
        raise DataError.at(path, f"{expected} points, as n_points says", f"{len(numbers)} numbers")
    if not np.isfinite(numbers).all():
        raise DataError.at(path, "finite coordinates", f"{numbers[~np.isfinite(numbers)][0]}")
    if n_points is not None and expected != n_points:
        raise DataError.at(path, f"{n_points} points", str(expected))
    return numbers.reshape(expected, 2) - 1.0


def format_pts(shape: FloatArray, *, signed: bool = False) -> str:
    """Format points (N, 2), 0-based picture pixels, as the text of a `.pts` file.

    With `signed` it shows that the points were found (`srn.files.POINTS`): found ones may be written over.
    """
    lines = [f"{x:.3f} {y:.3f}" for x, y in np.asarray(shape) + 1.0]
    return "\n".join(["version: 1", f"n_points: {len(lines)}", "{", *lines, POINTS_END if signed else "}\n"])


def write_pts(path: str | os.PathLike[str], shape: FloatArray, *, signed: bool = False) -> None:
    """Write points (N, 2), 0-based picture pixels, as a `.pts` file (`format_pts`)."""
    write_atomically(path, format_pts(shape, signed=signed))


def read_box_pts(path: str | os.PathLike[str]) -> Box:
    """Read a face box from the `.pts` file of its four corners (the `bbs` folders of 300W), 0-based picture pixels."""
    return box_around(read_pts(path, n_points=4), path)


def box_around(shape: FloatArray, path: str | os.PathLike[str]) -> Box:
    """Return the tight box of the points (N, 2) of a file.

    Raises:
        DataError: the points have no extent; the message names the file.
    """
    try:
        return Box.around(shape)
    except InputError as error:
        raise DataError.at(path, "points with a width and a height", "all in one line") from error

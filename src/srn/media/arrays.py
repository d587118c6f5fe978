"""Read the arrays of `.npz` files within limits, without pickled objects."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from srn.errors import DataError
from srn.media.limits import check_bytes

_MOST_ARRAYS = 64


def read_npz(path: str | os.PathLike[str], expected: str) -> dict[str, npt.NDArray[Any]]:
    """Read the arrays of a `.npz` file by their names.

    Number, sizes and compression of the arrays are checked before any is unpacked, their checksums afterwards.

    Args:
        path: the file.
        expected: its description in error messages.

    Raises:
        DataError: the file is missing, is broken, or holds something else than arrays of numbers and text.
    """
    with DataError.reading(path, expected), zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MOST_ARRAYS:
            raise ValueError(f"{len(members)} arrays")
        # Stored arrays may be as large as their file; what is compressed has to stay below the limit.
        check_bytes(path, sum(member.file_size for member in members), least=Path(path).stat().st_size)
        arrays = {}
        for member in members:
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"compression method {member.compress_type}")
            with archive.open(member) as stream:
                arrays[member.filename.removesuffix(".npy")] = _array(stream, member.file_size)
    return arrays


def _array(stream: IO[bytes], size: int) -> npt.NDArray[Any]:
    """Read one array of `size` bytes with its header."""
    shape, in_columns, kind = read_npy_header(stream)
    if kind.hasobject:
        raise ValueError("Python objects")
    if math.prod(shape) * kind.itemsize != size - stream.tell():
        raise ValueError(f"{size} bytes for {shape} of {kind}")
    return np.ndarray(shape, kind, bytearray(stream.read()), order="F" if in_columns else "C")


def read_npy_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read the header of a `.npy` file: the shape, whether columns come first, and the type."""
    npy = np.lib.format
    read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
    return read(stream)

"""Reader of MATLAB's level-5 `.mat` files with real numeric arrays, plain or compressed.

The format is described in MathWorks' "MAT-File Format". Cells, structs, text, sparse and complex arrays are refused by
name. Version 7.3 files are HDF5: see `cofw`. Damaged files can crash the process in SciPy's reader.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.errors import DataError
from srn.media.limits import check_bytes, limit, read_limited

_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""Data types by their number in the file (miINT8 ... miUINT64)."""
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC_CLASSES = range(6, 16)  # mxDOUBLE_CLASS ... mxUINT64_CLASS
_COMPLEX = 0x0800
_HEADER = 128


def is_hdf5(path: Path) -> bool:
    """Return whether a `.mat` file is of version 7.3, i.e. HDF5, possibly after a header block."""
    try:
        with path.open("rb") as file:
            start = file.read(520)
    except OSError:
        return False
    return b"\x89HDF\r\n\x1a\n" in (start[:8], start[512:])


def _elements(content: bytes, order: str, padded: bool) -> Iterator[tuple[int, bytes]]:
    """Yield (type, data) of consecutive elements; inside a matrix they are padded to 8 bytes."""
    at = 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(f"{order}II", content, at)
        if kind >> 16:  # the short form: size and type share four bytes, the data are the next four
            kind, size = kind & 0xFFFF, kind >> 16
            start, at = at + 4, at + 8
        else:
            start = at + 8
            at = start + size + (-size % 8 if padded or kind != _COMPRESSED else 0)
        if start + size > len(content):
            raise ValueError("it ends in the middle of an array")
        yield kind, content[start : start + size]


def _array(content: bytes, order: str) -> tuple[str, npt.NDArray[np.generic]]:
    """Return name and values of one matrix element."""
    flags, shape, name, values, *_ = [*_elements(content, order, padded=True), (0, b""), (0, b""), (0, b""), (0, b"")]
    word = struct.unpack_from(f"{order}I", flags[1])[0]
    label = name[1].decode("ascii", "replace")
    if word & 0xFF not in _NUMERIC_CLASSES or word & _COMPLEX or values[0] not in _NUMBERS:
        raise ValueError(f"{label!r} is no array of real numbers")
    sizes = np.frombuffer(shape[1], f"{order}i4")
    return label, np.frombuffer(values[1], order + _NUMBERS[values[0]]).reshape(sizes, order="F")


def read_mat5(path: Path) -> dict[str, npt.NDArray[np.generic]]:
    """Read the numeric arrays of a level-5 `.mat` file by their names, in the shape that MATLAB shows.

    `DataError` is raised where the file is missing, broken, of another version, or holds other data.
    """
    expected = "a MATLAB level-5 file of numeric arrays"
    with DataError.reading(path, expected):
        content = read_limited(path)
    mark = content[126:_HEADER]
    if mark not in (b"IM", b"MI"):
        raise DataError.at(path, expected, "a version 7.3 (HDF5) file" if is_hdf5(path) else "another kind of file")
    order = "<" if mark == b"IM" else ">"
    arrays = {}
    with DataError.reading(path, expected):
        for kind, data in _elements(content[_HEADER:], order, padded=False):
            if kind == _COMPRESSED:
                unpacked = zlib.decompressobj().decompress(data, limit("SRN_MAX_BYTES") + 1)
                check_bytes(path, len(unpacked))
                kind, data = next(_elements(unpacked, order, padded=True), (0, b""))
            if kind == _MATRIX:
                name, values = _array(data, order)
                arrays[name] = values
    return arrays

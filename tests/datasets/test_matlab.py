"""Level-5 `.mat` files: files written byte by byte as the format's description says, and COFW68's real ones."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.matlab import is_hdf5, read_mat5
from srn.errors import DataError

CLASSES = {"f8": 6, "f4": 7, "i1": 8, "u1": 9, "i2": 10, "u2": 11, "i4": 12, "u4": 13}
TYPES = {"i1": 1, "u1": 2, "i2": 3, "u2": 4, "i4": 5, "u4": 6, "f4": 7, "f8": 9}


def element(order: str, kind: int, data: bytes) -> bytes:
    """A data element, in the short form where four bytes do."""
    if 0 < len(data) <= 4:
        return struct.pack(f"{order}I", kind | len(data) << 16) + data.ljust(4, b"\0")
    return struct.pack(f"{order}II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(
    name: str, values: npt.NDArray[np.generic], order: str = "<", kind: int | None = None, flags: int = 0
) -> bytes:
    code = values.dtype.str[1:]
    body = element(order, 6, struct.pack(f"{order}II", (kind or CLASSES[code]) | flags, 0))
    body += element(order, 5, np.array(values.shape, f"{order}i4").tobytes())
    body += element(order, 1, name.encode())
    body += element(order, TYPES[code], values.astype(order + code).tobytes(order="F"))
    return struct.pack(f"{order}II", 14, len(body)) + body


def file_of(*elements: bytes, order: str = "<") -> bytes:
    head = b"MATLAB 5.0 MAT-file, Platform: TEST".ljust(124)
    return head + struct.pack(f"{order}H", 0x0100) + (b"IM" if order == "<" else b"MI") + b"".join(elements)


def compressed(content: bytes) -> bytes:
    packed = zlib.compress(content)
    return struct.pack("<II", 15, len(packed)) + packed


@pytest.mark.parametrize("order", "<>")
def test_arrays_of_every_kind_keep_their_shape(tmp_path: Path, rng: np.random.Generator, order: str) -> None:
    arrays = {f"a_{code}": rng.integers(0, 100, (3, 2 + k)).astype(code) for k, code in enumerate(CLASSES)}
    arrays["one"] = np.array([[7]], "u1")
    content = file_of(*(matrix(name, values, order) for name, values in arrays.items()), order=order)
    (tmp_path / "a.mat").write_bytes(content)
    read = read_mat5(tmp_path / "a.mat")
    assert read.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(read[name], values)


def test_compressed_arrays_stand_one_after_the_other(tmp_path: Path, rng: np.random.Generator) -> None:
    points, flags = rng.normal(size=(68, 2)), rng.integers(0, 2, (1, 68)).astype("u1")
    # MATLAB stores whole numbers in the smallest type that holds them: a double array of bytes.
    small = matrix("Small", np.array([[1, 2, 3]], "u1"), kind=6)
    content = file_of(*map(compressed, (matrix("Points", points), matrix("Occ", flags), small)))
    (tmp_path / "a.mat").write_bytes(content)
    read = read_mat5(tmp_path / "a.mat")
    np.testing.assert_array_equal(read["Points"], points)
    np.testing.assert_array_equal(read["Occ"], flags)
    np.testing.assert_array_equal(read["Small"], [[1, 2, 3]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "found another kind of file"),
        (b"a text, not a matrix" * 20, "found another kind of file"),
        (file_of(matrix("x", np.ones((4, 4))))[:-16], "found it ends in the middle of an array"),
        (file_of(compressed(matrix("x", np.ones((4, 4))))[:-9]), "found it ends in the middle of an array"),
        (file_of(struct.pack("<II", 15, 8) + b"notzlib!"), "found Error -3"),
        (file_of(matrix("x", np.ones((2, 2)), kind=1)), "found 'x' is no array of real numbers"),
        (file_of(matrix("x", np.ones((2, 2)), flags=0x0800)), "found 'x' is no array of real numbers"),
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", "found a version 7.3 (HDF5) file"),
    ],
    ids=["empty", "text", "cut off", "cut off, compressed", "no zlib", "a cell", "complex", "version 7.3"],
)
def test_what_is_no_such_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.mat").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_mat5(tmp_path / "a.mat")
    assert str(caught.value).startswith(f"{tmp_path / 'a.mat'}: expected a MATLAB level-5 file of numeric arrays, ")
    assert message in str(caught.value)


def test_a_file_that_unfolds_too_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRN_MAX_BYTES", "1000")
    (tmp_path / "a.mat").write_bytes(file_of(compressed(matrix("x", np.zeros((100, 100))))))
    with pytest.raises(DataError, match=r"a\.mat: expected arrays of at most 1000 bytes .SRN_MAX_BYTES"):
        read_mat5(tmp_path / "a.mat")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.mat: expected .*, found No such file"):
        read_mat5(tmp_path / "gone.mat")
    assert not is_hdf5(tmp_path / "gone.mat")


def test_the_real_files(shared_data: Path) -> None:
    root = shared_data / "COFW68_annotations"
    boxes = read_mat5(root / "cofw68_test_bboxes.mat")["bboxes"]
    assert boxes.shape == (507, 4)
    read = read_mat5(root / "test_annotations" / "1_points.mat")
    assert {name: (values.shape, values.dtype.str[1:]) for name, values in read.items()} == {
        "Points": ((68, 2), "f8"),
        "Occ": ((1, 68), "u1"),
    }
    # Its first numbers, found by hand: the compressed block unpacked, the doubles behind the name 'Points'.
    raw = (root / "test_annotations" / "1_points.mat").read_bytes()
    unpacked = zlib.decompressobj().decompress(raw[136:])
    at = unpacked.index(b"Points") + 8 + 8
    assert read["Points"][:2, 0].tolist() == list(struct.unpack_from("<2d", unpacked, at))

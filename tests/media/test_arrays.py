"""Archives of arrays: what NumPy writes is read, and what unfolds too far or holds objects is refused."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.errors import DataError
from srn.media.arrays import read_npz


def npy(values: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, values, allow_pickle=True)
    return stream.getvalue()


def archive(*members: bytes, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for index, content in enumerate(members):
            file.writestr(f"a{index}.npy", content)
    return stream.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(tmp_path: Path, save: Callable[..., None]) -> None:
    arrays: dict[str, Any] = {
        "numbers": np.arange(12.0).reshape(3, 4),
        "columns": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "text": np.array(["a", "äöü"]),
        "one": np.array("x"),
        "none": np.zeros((0, 68, 2), np.float32),
        "flags": np.array([True, False]),
    }
    save(tmp_path / "a.npz", **arrays)
    read = read_npz(tmp_path / "a.npz", "arrays")
    assert read.keys() == arrays.keys()
    for name, values in arrays.items():
        np.testing.assert_array_equal(read[name], values)
        assert read[name].dtype == values.dtype


def encrypted() -> bytes:
    content = bytearray(archive(npy(np.zeros(3))))
    content[content.index(b"PK\1\2") + 8] |= 1
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (archive(*[npy(1)] * 65), "65 arrays"),
        (archive(npy(np.zeros(1 << 20))), r"8388736 bytes"),
        (archive(npy(np.zeros(3)), method=zipfile.ZIP_LZMA), "compression method 14"),
        (archive(npy(np.zeros(3)), method=zipfile.ZIP_BZIP2), "compression method 12"),
        (archive(npy({"an": "object"})), "Python objects"),
        (archive(npy(np.zeros(3)).replace(b"(3,)", b"(9,)")), r"152 bytes for \(9,\)"),
        (archive(npy(np.zeros(3)) + b"more"), r"156 bytes for \(3,\)"),
        (archive(b"text"), "EOF|magic"),
        (encrypted(), "password|encrypted"),
        (b"no archive", "not a zip file"),
    ],
    ids=["many", "large", "LZMA", "BZIP2", "objects", "short", "long", "text", "encrypted", "no archive"],
)
def test_archives_within_limits(tmp_path: Path, content: bytes, found: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRN_MAX_BYTES", "1000000")
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.npz: expected .*, found .*({found})") as caught:
        read_npz(tmp_path / "a.npz", "arrays")
    assert "\n" not in str(caught.value)


def test_stored_arrays_may_be_as_large_as_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SRN_MAX_BYTES", "1000")
    np.savez(tmp_path / "a.npz", a=np.zeros(1000))
    assert read_npz(tmp_path / "a.npz", "arrays")["a"].shape == (1000,)

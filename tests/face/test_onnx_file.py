"""ONNX files: hashed once, and never read where they are larger than any network."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from srn.errors import WeightsError
from srn.face import onnx_file
from srn.face.onnx_file import MOST_BYTES, SEAL_LENGTH, digests_of, read_model, sealed


@pytest.mark.parametrize("content", [b"", b"short", b"a network" * 100])
def test_one_pass_gives_both_digests(content: bytes) -> None:
    file = sealed(content)
    assert digests_of(file) == tuple(hashlib.sha256(part).hexdigest() for part in (file, content))
    assert digests_of(content).whole == hashlib.sha256(content).hexdigest()
    assert len(file) == len(content) + SEAL_LENGTH


def test_a_file_with_holes_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    path.touch()
    os.truncate(path, 4 << 30)
    with pytest.raises(WeightsError, match=rf"a.onnx: expected a net of at most {MOST_BYTES} bytes, found {4 << 30}$"):
        read_model(path, "a net")


def test_a_file_may_be_as_large_as_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_file, "MOST_BYTES", 10)
    (tmp_path / "a.onnx").write_bytes(b"ten bytes.")
    assert read_model(tmp_path / "a.onnx", "a net") == b"ten bytes."
    with pytest.raises(WeightsError, match=r"none.onnx: expected a net, found No such file"):
        read_model(tmp_path / "none.onnx", "a net")

"""Manifests of masked sets."""

from __future__ import annotations

from pathlib import Path

import pytest

from srn.datasets.manifest import read_visible
from srn.errors import DataError


def test_flags_by_face(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("subset,stem,mask,seed,visible\nibug,a,drawn,0,011\n")
    assert {name: flags.tolist() for name, flags in read_visible(tmp_path).items()} == {"ibug/a": [False, True, True]}
    assert read_visible(tmp_path / "nowhere") == {}


def test_a_broken_manifest_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("subset,stem,mask,seed,visible\nibug,a,drawn,0,01x\n")
    with pytest.raises(DataError, match="line 2"):
        read_visible(tmp_path)


def test_the_manifest_of_another_dataset_tells_nothing(tmp_path: Path) -> None:
    (tmp_path / "manifest.csv").write_text("subset,stem,width\nibug,a,200\n")
    assert read_visible(tmp_path) == {}

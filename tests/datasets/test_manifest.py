"""Manifests of masked sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srn.datasets.manifest import mark_occluded, read_visible
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.scheme import IBUG_68


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


def test_flags_of_another_number_of_landmarks_are_named(tmp_path: Path, face: np.ndarray) -> None:
    (tmp_path / "manifest.csv").write_text("subset,stem,mask,seed,visible\nibug,a,drawn,0,011\n")
    sample = Sample(tmp_path / "ibug" / "a.jpg", face, IBUG_68, "ibug")
    with pytest.raises(DataError, match="ibug/a: expected 68 flags \\(ibug68\\), found 3"):
        mark_occluded([sample], tmp_path)

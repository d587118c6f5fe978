"""`srn data check` and `srn data pack`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.kinds import KINDS
from srn.datasets.pack import FacePack
from srn.media.pts import write_pts

from .conftest import coordinate_file

Shape = npt.NDArray[np.float64]
Run = Callable[..., Any]


@pytest.fixture
def root(tmp_path: Path, face: Shape) -> Path:
    for index, name in enumerate(("afw/a", "afw/b", "helen/trainset/c", "ibug/d")):
        coordinate_file(tmp_path / "300W" / f"{name}.jpg", 50 * index)
        write_pts(tmp_path / "300W" / f"{name}.pts", face * 100 + 128 - index)
    return tmp_path / "300W"


def test_check_counts_everything(srn: Run, root: Path) -> None:
    ran = srn("data", "check", root)
    assert ran.code == 0
    total, parts, *lines = ran.out.splitlines()
    assert total == ("300W: 4 faces: afw 2, helen/trainset 1, lfpw/trainset 0, helen/testset 0, lfpw/testset 0, ibug 1")
    assert parts == "parts: train 3, test 1, Challenging 1"
    shortfalls = [line for line in lines if "official release" in line]
    assert len(shortfalls) == 6
    for line, (name, official) in zip(sorted(shortfalls), sorted(KINDS["300w"].official.items()), strict=True):
        assert line.startswith(f"{root / name}: ")
        assert line.endswith(f"the official release has {official}")


def test_check_names_what_is_broken(srn: Run, root: Path) -> None:
    (root / "afw" / "b.pts").unlink()
    (root / "ibug" / "d.pts").write_text("broken")
    ran = srn("data", "check", root)
    assert ran.code == 1
    assert f"{root / 'afw' / 'b.jpg'}: no b.pts beside it; left out" in ran.out.splitlines()
    assert any(line.startswith(f"{root / 'ibug' / 'd.pts'}: expected") for line in ran.out.splitlines())


def test_check_of_another_folder(srn: Run, tmp_path: Path) -> None:
    assert srn("data", "check", tmp_path).mistake.startswith(f"{tmp_path}: expected the folders of 300W")


def test_pack(srn: Run, root: Path, tmp_path: Path) -> None:
    ran = srn("data", "pack", root, "--out", tmp_path / "new" / "faces.npz")
    assert ran.code == 0
    pack = FacePack.load(tmp_path / "new" / "faces.npz")
    assert pack.names.tolist() == ["afw/a", "afw/b", "helen/trainset/c"]  # test faces are none to train on
    size, digest = re.findall(r"([\d.]+) MB, digest (\w+)", ran.out)[0]
    assert digest == pack.digest()
    assert float(size) == pytest.approx((tmp_path / "new" / "faces.npz").stat().st_size / 1e6, abs=0.06)
    assert "afw: 2 faces, the official release has 337" in ran.err


def test_pack_in_the_quality_asked_for(srn: Run, root: Path, tmp_path: Path) -> None:
    for name, quality in (("default", []), ("same", ["--quality", "80"]), ("fine", ["--quality", "97"])):
        srn("data", "pack", root, "--out", tmp_path / f"{name}.npz", *quality)
    default, same, fine = (FacePack.load(tmp_path / f"{name}.npz") for name in ("default", "same", "fine"))
    assert default.digest() == same.digest() != fine.digest()
    assert (tmp_path / "default.npz").stat().st_size < (tmp_path / "fine.npz").stat().st_size
    refused = srn("data", "pack", root, "--out", tmp_path / "none.npz", "--quality", "20")
    assert refused.code == 2
    assert "than or equal to 50" in refused.err


def test_pack_of_test_faces_only_where_asked_for(srn: Run, root: Path, tmp_path: Path) -> None:
    srn("data", "pack", root, "--out", tmp_path / "faces.npz", "--split", "test")

    names = FacePack.load(tmp_path / "faces.npz").names.tolist()
    assert names
    assert all(name.startswith(("helen/testset/", "lfpw/testset/", "ibug/")) for name in names)


def test_pack_takes_further_folders(srn: Run, root: Path, tmp_path: Path) -> None:
    ran = srn("data", "pack", root, "--out", tmp_path / "faces.npz", "--extra", root / "ibug")
    assert ran.code == 0
    assert FacePack.load(tmp_path / "faces.npz").names.tolist()[-1] == "ibug/d"


def test_pack_names_what_it_left_out(srn: Run, root: Path, tmp_path: Path) -> None:
    (root / "afw" / "a.jpg").write_bytes(b"broken")
    ran = srn("data", "pack", root, "--out", tmp_path / "faces.npz")
    assert ran.code == 1
    assert FacePack.load(tmp_path / "faces.npz").names.tolist() == ["afw/b", "helen/trainset/c"]
    assert f"{root / 'afw' / 'a.jpg'}: expected a picture" in ran.err


def test_pack_of_a_missing_folder(srn: Run, tmp_path: Path) -> None:
    ran = srn("data", "pack", tmp_path / "nowhere", "--out", tmp_path / "faces.npz")
    assert ran.mistake.startswith(f"{tmp_path / 'nowhere'}: expected the folders of 300W")
    assert not (tmp_path / "faces.npz").exists()

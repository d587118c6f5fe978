"""`srn data check` on every kind of dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.media.pictures import write_image
from srn.media.pts import write_pts

Shape = npt.NDArray[np.float64]
Run = Callable[..., Any]


def put(path: Path, shape: Shape, pixels: npt.NDArray[np.uint8]) -> None:
    write_image(path, pixels)
    write_pts(path.with_suffix(".pts"), shape)


@pytest.fixture
def noise(rng: np.random.Generator) -> Callable[[], npt.NDArray[np.uint8]]:
    return lambda: rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_doubles_are_told_and_nothing_is_broken(srn: Run, tmp_path: Path, face: Shape, noise: Any) -> None:
    shape, picture = face * 40 + 32, noise()
    put(tmp_path / "300W" / "ibug" / "a.png", shape, picture)
    put(tmp_path / "300W" / "afw" / "b.png", shape, picture)
    put(tmp_path / "300W" / "afw" / "c.jpg", shape, picture)
    put(tmp_path / "300W" / "afw" / "d.png", shape, noise())
    ran = srn("data", "check", tmp_path / "300W")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert "in training and test both: 1 the same picture, 1 nearly the same" in lines
    root = tmp_path / "300W"
    assert f"{root / 'ibug/a.png'} and {root / 'afw/b.png'}: the same picture" in lines
    assert any(
        line.startswith(f"{root / 'ibug/a.png'} and {root / 'afw/c.jpg'}: nearly the same (0.9") for line in lines
    )
    assert "training and test" not in srn("data", "check", tmp_path / "300W", "--quick").out


def test_broken_pictures_are_found_by_reading_them(srn: Run, tmp_path: Path, face: Shape, noise: Any) -> None:
    put(tmp_path / "mine" / "a.png", face * 40 + 32, noise())
    put(tmp_path / "mine" / "b.png", face * 100 + 32, noise())
    put(tmp_path / "mine" / "c.png", face * 40 + 32, noise())
    (tmp_path / "mine" / "c.png").write_bytes(b"broken")
    assert srn("data", "check", tmp_path / "mine", "--quick").code == 0
    ran = srn("data", "check", tmp_path / "mine")
    assert ran.code == 1
    first, points, *others = ran.out.splitlines()
    assert (first, points) == ("annotated pictures: 3 faces: mine 3", "points: 68 (ibug68)")
    assert others[0].endswith("points of 1 faces lie outside their picture")
    assert others[1].startswith(f"{(tmp_path / 'mine').resolve() / 'c.png'}: expected a picture")


def test_long_lists_are_cut_unless_asked_for(srn: Run, tmp_path: Path, face: Shape, noise: Any) -> None:
    put(tmp_path / "mine" / "a.png", face * 40 + 32, noise())
    for number in range(30):
        write_pts(tmp_path / "mine" / f"{number:02d}.pts", face)
    ran = srn("data", "check", tmp_path / "mine")
    assert ran.code == 1
    assert ran.out.count("no picture beside it") == 20
    assert "... and 10 more lines like these (--all)" in ran.out
    assert srn("data", "check", tmp_path / "mine", "--all").out.count("no picture beside it") == 30


def test_a_wrong_kind(srn: Run, tmp_path: Path) -> None:
    assert srn("data", "check", tmp_path, "--kind", "wflw").mistake.startswith(f"{tmp_path}: expected WFLW's lists")


def test_real_sets(srn: Run, shared_data: Path) -> None:
    ran = srn("data", "check", shared_data / "samples" / "300VW")
    assert ran.code == 0
    assert ran.out.splitlines()[:2] == [
        "300VW: 2 videos, 3 faces: train 2, category 1 1, category 2 0, category 3 0",
        "parts: test 1",
    ]
    ran = srn("data", "check", shared_data / "COFW68_annotations", "--pictures", shared_data / "samples" / "COFW29")
    assert ran.code == 0
    assert "hidden points are marked in 2 faces: 33.8% of their points" in ran.out
    ran = srn("data", "check", shared_data / "COFW68_annotations")
    assert ran.code == 1
    assert "expected COFW's test pictures" in ran.out


def test_pack_of_another_dataset(srn: Run, tmp_path: Path, face: Shape, noise: Any) -> None:
    from srn.datasets.pack import FacePack

    put(tmp_path / "mine" / "train" / "a.png", face * 40 + 32, noise())
    put(tmp_path / "mine" / "test" / "b.png", face * 40 + 32, noise())
    ran = srn("data", "pack", tmp_path / "mine", "--out", tmp_path / "faces.npz")
    assert ran.code == 0
    assert FacePack.load(tmp_path / "faces.npz").names.tolist() == ["train/a"]

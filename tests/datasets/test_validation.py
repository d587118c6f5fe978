"""Validation of a dataset as lines (what `srn data check` prints)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.datasets.catalogue import open_faces
from srn.datasets.validation import validate
from srn.media.pictures import write_image
from srn.media.pts import write_pts

Shape = npt.NDArray[np.float64]


def test_a_set_with_a_duplicate_a_point_outside_and_a_broken_picture(
    tmp_path: Path, face: Shape, rng: np.random.Generator
) -> None:
    picture = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for name, size in (("train/a", 40), ("test/b", 40), ("test/c", 100)):
        write_image(tmp_path / f"{name}.png", picture)
        write_pts(tmp_path / f"{name}.pts", face * size + 32)
    (tmp_path / "test" / "c.png").write_bytes(b"broken")
    steps: list[int] = []
    dataset = open_faces(tmp_path)
    found = validate(dataset, progress=lambda: steps.append(1))
    assert found.summary == ["annotated pictures: 3 faces: test 2, train 1", "points: 68 (ibug68)"]
    assert found.pictures == [
        "in training and test both: 1 the same picture, 0 nearly the same",
        f"{tmp_path / 'test' / 'b.png'} and {tmp_path / 'train' / 'a.png'}: the same picture",
    ]
    (problem,) = found.problems
    assert problem.startswith(f"{tmp_path / 'test' / 'c.png'}: expected a picture")
    assert len(steps) == 3
    quick = validate(dataset, read_pictures=False)
    assert (quick.pictures, quick.problems) == ([], [])

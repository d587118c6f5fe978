"""`Sample`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68
from srn.media.pictures import write_image


def test_box_is_tight_and_the_picture_is_read(tmp_path: Path, face: npt.NDArray[np.float64]) -> None:
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    write_image(tmp_path / "a.png", picture)
    sample = Sample(tmp_path / "a.png", face * 4 + 2, IBUG_68, "afw")
    xs, ys = sample.landmarks[:, 0].tolist(), sample.landmarks[:, 1].tolist()
    assert sample.box == Box(min(xs), min(ys), max(xs), max(ys))
    np.testing.assert_array_equal(sample.load(), picture)


def test_landmarks_of_another_scheme_name_the_picture(face: npt.NDArray[np.float64]) -> None:
    with pytest.raises(DataError, match=r"a\.png: expected landmarks \(29, 2\), found \(68, 2\)"):
        Sample(Path("a.png"), face, COFW_29, "cofw")


def test_a_missing_picture_is_named(tmp_path: Path, face: npt.NDArray[np.float64]) -> None:
    with pytest.raises(DataError, match=r"gone\.jpg: expected a readable picture file"):
        Sample(tmp_path / "gone.jpg", face, IBUG_68, "afw").load()


@pytest.mark.parametrize("place", [(40, 5), (-9, 0), (1e9, 0), (0, 0)], ids=["right", "left", "far", "tiny"])
def test_a_face_outside_its_picture_is_named(
    tmp_path: Path, face: npt.NDArray[np.float64], place: tuple[float, float]
) -> None:
    write_image(tmp_path / "a.png", np.zeros((30, 20, 3), np.uint8))
    outside = face * (10 if any(place) else 0.5) + place
    with pytest.raises(DataError, match=r"a\.png: expected a face in the picture of 20 x 30 pixels, found one at \("):
        Sample(tmp_path / "a.png", outside, IBUG_68, "afw").load()

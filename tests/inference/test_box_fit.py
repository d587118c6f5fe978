"""Box fits: the map by hand, the measured constants, and finders that bring none."""

from __future__ import annotations

import numpy as np
import pytest

from srn.errors import InputError
from srn.face.geometry import Box, ImageArray
from srn.inference.box_fit import BoxFit, LandmarkBoxFinder, default_fit, measured_fits
from srn.inference.face_finder import FaceFinder, FoundFace

PICTURE = np.zeros((100, 100, 3), np.uint8)


class OwnFinder:
    """A bare finder: nothing but `find`."""

    def find(self, image: ImageArray) -> list[FoundFace]:
        return [FoundFace(Box(10, 20, 30, 60), 0.9, doubtful=True)]


def test_by_hand() -> None:
    # Box 20 x 40 centred at (20, 40): centre moves by (2, 4), sides become 10 and 20.
    box = BoxFit(dx=0.1, dy=0.1, sx=0.5, sy=0.5).apply(Box(10, 20, 30, 60))
    np.testing.assert_allclose(box.as_array(), [17, 34, 27, 54])


def test_default_leaves_the_box() -> None:
    assert BoxFit().apply(Box(1, 2, 3, 5)) == Box(1, 2, 3, 5)


def test_shipped_constants() -> None:
    fit = measured_fits()["centerface"]
    assert abs(fit.dx) < 0.02  # A face's box is as far to the left as to the right of it.
    assert 0.05 < fit.dy < 0.2  # CenterFace's box holds the forehead, the landmark box starts at the brows.
    assert 0.6 < fit.sy < fit.sx < 1.1


@pytest.mark.parametrize("numbers", [(0.0, 0.0, 0.0, 1.0), (float("nan"), 0.0, 1.0, 1.0)])
def test_impossible_constants(numbers: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="box fit"):
        BoxFit(*numbers)


def test_a_given_fit_is_used() -> None:
    assert LandmarkBoxFinder(OwnFinder(), BoxFit()).find(PICTURE) == OwnFinder().find(PICTURE)


def test_a_bare_finder_gets_the_fit_of_centerface() -> None:
    finder: FaceFinder = OwnFinder()
    assert default_fit(finder) == measured_fits()["centerface"]
    (found,) = LandmarkBoxFinder(finder).find(PICTURE)
    assert found == FoundFace(measured_fits()["centerface"].apply(Box(10, 20, 30, 60)), 0.9, doubtful=True)

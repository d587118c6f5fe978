"""From a finder's box to the landmark box: the same fit for all faces by hand, and the one by five points."""

from __future__ import annotations

import numpy as np
import pytest

from srn.errors import InputError
from srn.face.geometry import Box, Float64Array
from srn.inference.box_fit import MOST, BoxFit, PointFit, features, measured_fits, measured_point_fits
from srn.inference.found_boxes import Points

FACE = Box(100, 100, 160, 180)
POINTS: Points = ((115, 130), (145, 130), (130, 147), (118, 163), (142, 163))


def test_by_hand() -> None:
    # Box 20 x 40 centred at (20, 40): centre moves by (2, 4), sides become 10 and 20.
    box = BoxFit(dx=0.1, dy=0.1, sx=0.5, sy=0.5).apply(Box(10, 20, 30, 60))
    np.testing.assert_allclose(box.as_array(), [17, 34, 27, 54])


def test_the_box_of_a_tilted_face_by_hand() -> None:
    # The face lies rotated clockwise by 30 degrees: 4 pixels below its middle are 2 to the left of it.
    fit = BoxFit(dx=0.0, dy=0.1, sx=0.5, sy=0.5)
    box = fit.apply(Box(10, 20, 30, 60), tilt=-np.pi / 6)
    np.testing.assert_allclose(box.as_array() - [15, 30, 25, 50], np.tile([-2, 2 * np.sqrt(3)], 2))
    # Half a right angle is as much of one quarter turn as it is of the other.
    square = Box(10, 20, 50, 60)
    one, other = fit.apply(square, 1, np.pi / 4), fit.apply(square, 0, -np.pi / 4)
    np.testing.assert_allclose(one.as_array(), other.as_array())


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_turns_are_counted_around(turn: int) -> None:
    """A finder of the user's may count them otherwise: -1 for 3."""
    fit, box = BoxFit(dx=0.1, dy=0.2, sx=0.5, sy=0.7), Box(10, 20, 30, 60)
    assert fit.apply(box, turn - 4) == fit.apply(box, turn) == fit.apply(box, turn + 4)


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


def fit_of(fit: PointFit, box: Box, points: Points, turn: int = 0) -> BoxFit:
    found = fit.of_face(box, points, turn)
    assert found is not None
    return found


def rotated(points: Points, degrees: float, about: Float64Array) -> Points:
    angle = np.deg2rad(degrees)  # x to y
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return tuple((x, y) for x, y in ((np.array(points) - about) @ turn + about).tolist())


def test_features_by_hand() -> None:
    size = np.hypot(60, 80) / np.sqrt(2)
    x, y = (np.array(POINTS) - [130, 140]).T / size
    np.testing.assert_allclose(features(FACE, POINTS, 0, 0.0), [np.log(60 / 80), *x, *y])


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_a_turned_face_has_the_features_and_the_box_of_an_upright_one(turn: int) -> None:
    """Counter-clockwise turns of the picture show it upright, so it lies turned clockwise."""
    width, height = (FACE.width, FACE.height) if turn == 2 else (FACE.height, FACE.width)
    x, y = FACE.center
    lying = Box(x - width / 2, y - height / 2, x + width / 2, y + height / 2)
    points = rotated(POINTS, 90 * turn, FACE.center)
    np.testing.assert_allclose(features(lying, points, turn, 0.0), features(FACE, POINTS, 0, 0.0), atol=1e-12)
    fit = measured_point_fits()["centerface"]
    upright, turned = fit_of(fit, FACE, POINTS).apply(FACE), fit_of(fit, lying, points, turn).apply(lying, turn)
    assert turned.size == pytest.approx(upright.size)
    np.testing.assert_allclose([turned.center], rotated((tuple(upright.center),), 90 * turn, FACE.center))


def test_the_tilt_is_turned_back() -> None:
    """The box of a tilted face is upright: only its points are turned back."""
    tilted = rotated(POINTS, 20, FACE.center)
    np.testing.assert_allclose(features(FACE, tilted, 0, np.deg2rad(-20)), features(FACE, POINTS, 0, 0.0), atol=1e-12)


def test_one_weight_by_hand_and_its_bounds() -> None:
    """The nose's x, in deviations of 0.1 from 0, shifts the box by a tenth of its width each, up to `MOST`."""
    weights = np.zeros((12, 4))
    weights[3, 0], weights[11] = 0.1, [0.0, 0.2, np.log(0.5), np.log(0.75)]
    fit = PointFit(np.zeros(11), np.full(11, 0.1), weights)
    for right, shift in ((0.0, 0.0), (5.0, 0.1 * 5 / FACE.size / 0.1), (-40.0, -0.1 * MOST)):
        points = (*POINTS[:2], (130 + right, 147.0), *POINTS[3:])
        found = fit_of(fit, FACE, points)
        np.testing.assert_allclose([found.dx, found.dy, found.sx, found.sy], [shift, 0.2, 0.5, 0.75])


class TestShipped:
    fit = measured_point_fits()["centerface"]

    def test_a_mean_face_has_about_the_fit_of_all(self) -> None:
        """Placed so that it has the mean features."""
        ratio, side = np.exp(self.fit.mean[0]), 100.0
        width, height = side * ratio, side
        box = Box(0, 0, width, height)
        points = tuple((x, y) for x, y in (self.fit.mean[1:].reshape(2, 5).T * box.size + box.center).tolist())
        found, everyone = fit_of(self.fit, box, points), measured_fits()["centerface"]
        np.testing.assert_allclose(
            [found.dx, found.dy, found.sx, found.sy],
            [everyone.dx, everyone.dy, everyone.sx, everyone.sy],
            atol=0.04,
        )

    def test_a_mirrored_face_has_the_mirrored_box(self) -> None:
        turned = tuple((x + 6, y) for x, y in POINTS)  # a head turned to the side
        mirrored = tuple((260 - turned[k][0], turned[k][1]) for k in (1, 0, 2, 4, 3))
        one, other = fit_of(self.fit, FACE, turned), fit_of(self.fit, FACE, mirrored)
        np.testing.assert_allclose([other.dx, other.dy, other.sx, other.sy], [-one.dx, one.dy, one.sx, one.sy])
        assert abs(one.dx) > 0.01

    def test_an_open_mouth_enlarges_the_box(self) -> None:
        """Its corners lie lower, its chin too."""
        wide = (*POINTS[:3], *((x, y + 4) for x, y in POINTS[3:]))
        closed, opened = (fit_of(self.fit, FACE, points).apply(FACE) for points in (POINTS, wide))
        assert opened.y1 > closed.y1 + 1

    def test_points_of_no_face_tell_nothing(self) -> None:
        for points in (((0.0, 0.0),) * 5, POINTS[:2] * 2 + POINTS[:1], ((np.nan, 1.0),) * 5):
            assert self.fit.of_face(FACE, points) is None
        upside_down = (POINTS[3], POINTS[4], POINTS[2], POINTS[0], POINTS[1])
        assert self.fit.of_face(FACE, upside_down) is None

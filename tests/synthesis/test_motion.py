"""The paths of a moving still: pixels and points agree, nothing folds, standing still is standing still."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from srn.face.geometry import similarity
from srn.face.scheme import COFW_29, COMPONENTS, IBUG_68, WFLW_98, LandmarkScheme
from srn.synthesis.config import NO_MOTION
from srn.synthesis.motion import NOSE_DEPTH, STEEPEST, Movement, face_angle, random_movement, smooth_curve

Shape = npt.NDArray[np.float64]

STRONG = dataclasses.replace(
    NO_MOTION, shift=0.2, zoom=0.1, roll_deg=12, turn_deg=15, perspective=0.1, expression=0.04, shake=0.02
)


@pytest.fixture
def landmarks(face: Shape) -> Shape:
    return face * 180 + [150.0, 140.0]


def bilinear(field: npt.NDArray[np.float32], points: Shape) -> Shape:
    """Values of a field (H, W, 2) at points (N, 2), by the textbook formula."""
    low = np.floor(points).astype(int)
    part = points - low
    value = np.zeros((len(points), 2))
    for dx in (0, 1):
        for dy in (0, 1):
            weight = np.where(dx, part[:, 0], 1 - part[:, 0]) * np.where(dy, part[:, 1], 1 - part[:, 1])
            value += weight[:, None] * field[low[:, 1] + dy, low[:, 0] + dx]
    return value


@pytest.mark.parametrize("seed", range(6))
def test_points_lie_where_their_pixels_went(landmarks: Shape, seed: int) -> None:
    """The map that the picture is sampled by, read at a moved point, gives the point of the still."""
    movement = random_movement(landmarks, IBUG_68, STRONG, 5, np.random.default_rng(seed), period=15)
    view = similarity(0.8, 0.3, np.array([150.0, 140.0]), np.array([130.0, 125.0]))
    moved = movement.points(landmarks)
    assert moved.shape == (5, 68, 2)
    for t in range(5):
        seen = moved[t] @ view[:, :2].T + view[:, 2]
        inside = ((seen >= 0) & (seen <= [298, 278])).all(axis=1)
        assert inside.sum() > 40
        places = movement.source_map(t, view, (300, 280))
        assert places.shape == (280, 300, 2)
        # The field bends a little between two pixels: a hundredth of a pixel at its strongest.
        np.testing.assert_allclose(bilinear(places, seen[inside]), landmarks[inside], atol=0.02)


def test_nothing_folds(landmarks: Shape) -> None:
    """Where the map's Jacobian is positive everywhere, every place of the still is seen at most once."""
    for seed in range(20):
        movement = random_movement(landmarks, IBUG_68, STRONG, 3, np.random.default_rng(seed), period=15)
        slopes = np.linalg.norm(movement.pushes, axis=-1) * np.exp(-0.5) / movement.widths
        assert slopes.sum(axis=1).max() <= STEEPEST + 1e-9
        for t in range(3):
            places = movement.source_map(t, np.eye(2, 3), (300, 280)).astype(np.float64)
            across, down = np.diff(places, axis=1)[:-1], np.diff(places, axis=0)[:, :-1]
            assert (across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]).min() > 0


def test_no_strength_is_the_still_itself(landmarks: Shape) -> None:
    movement = random_movement(landmarks, IBUG_68, NO_MOTION, 4, np.random.default_rng(0), period=15)
    np.testing.assert_allclose(movement.points(landmarks), np.broadcast_to(landmarks, (4, 68, 2)), atol=1e-9)
    y, x = np.mgrid[:50, :60]
    np.testing.assert_allclose(movement.source_map(2, np.eye(2, 3), (60, 50)), np.stack([x, y], -1), atol=1e-4)


def test_still_holds_one_pose_that_is_not_the_stills(landmarks: Shape) -> None:
    shapes = random_movement(landmarks, IBUG_68, STRONG, 6, np.random.default_rng(1), period=15, still=True).points(
        landmarks
    )
    np.testing.assert_array_equal(shapes, np.broadcast_to(shapes[0], shapes.shape))
    assert np.abs(shapes[0] - landmarks).max() > 5
    moving = random_movement(landmarks, IBUG_68, STRONG, 6, np.random.default_rng(1), period=15).points(landmarks)
    assert np.abs(np.diff(moving, axis=0)).max() > 1


def test_a_turned_head_moves_its_middle_against_its_outline(face: Shape) -> None:
    """The nose runs ahead of the ends of the jaw, by about the sine of the angle times the difference in depth."""
    side = 200.0
    strength = dataclasses.replace(NO_MOTION, turn_deg=12)
    landmarks = face * side
    for seed in range(5):
        movement = random_movement(landmarks, IBUG_68, strength, 1, np.random.default_rng(seed), period=15, still=True)
        shape = movement.points(landmarks)[0]
        push = movement.pushes[0, 1] / (NOSE_DEPTH * side)  # the sines of yaw and pitch, as the nose has them
        nose, jaw = shape[30] - landmarks[30], (shape[[0, 16]] - landmarks[[0, 16]]).mean(axis=0)
        lead = (nose - jaw) / side
        assert np.sign(lead[0]) == np.sign(push[0])
        assert 0.2 * abs(push[0]) < abs(lead[0]) < 0.6 * abs(push[0])


def test_curves_have_unit_variance_and_no_jumps() -> None:
    values = np.concatenate([smooth_curve(40, 50, 20.0, np.random.default_rng(s), still=False) for s in range(20)], 1)
    assert values.shape == (40, 1000)
    assert abs(values.mean()) < 0.05
    assert abs(values.std() - 1) < 0.05
    # Three waves of sqrt(2/3) each, the shortest period 20 exp(-0.7): the steepest that their sum can be.
    assert np.abs(np.diff(values, axis=0)).max() <= 3 * np.sqrt(2 / 3) * 2 * np.pi / (20 * np.exp(-0.7))


EYES = LandmarkScheme(
    "eyes", 4, {**dict.fromkeys(COMPONENTS, ()), "eyes": (0, 1, 2, 3)}, ((0, 3), (1, 2)), (0, 3), ((0, 1), (2, 3))
)


@pytest.mark.parametrize("scheme", [IBUG_68, COFW_29, WFLW_98, EYES], ids=lambda s: s.name)
def test_any_scheme_moves(scheme: LandmarkScheme) -> None:
    points = np.random.default_rng(3).uniform(50, 150, (scheme.n_points, 2))
    movement = random_movement(points, scheme, STRONG, 2, np.random.default_rng(0), period=15)
    assert len(movement) == 2
    assert np.isfinite(movement.points(points)).all()


def test_the_tilt_is_read_off_the_eyes(face: Shape) -> None:
    turn = np.array([[np.cos(0.4), np.sin(0.4)], [-np.sin(0.4), np.cos(0.4)]])
    assert face_angle(face, IBUG_68) == pytest.approx(0, abs=1e-9)
    assert face_angle(face @ turn, IBUG_68) == pytest.approx(0.4, abs=1e-9)
    profile = face * [0.1, 1.0]  # eyes that nearly coincide
    assert face_angle(profile @ turn, IBUG_68) == 0.0


def test_a_movement_by_hand() -> None:
    """One bulge: a point at its centre moves by its push, one far away does not."""
    movement = Movement(
        np.eye(2, 3)[None], np.eye(3)[None], np.array([[50.0, 50.0]]), np.array([10.0]), np.array([[[3.0, 0.0]]])
    )
    # The centre of the bulge (50, 50) shows what lay 3 pixels to its left.
    np.testing.assert_allclose(movement.points(np.array([[47.0, 50.0], [200.0, 50.0]])), [[[50, 50], [200, 50]]])
    np.testing.assert_allclose(movement.source_map(0, np.eye(2, 3), (101, 101))[50, 50], [47, 50], atol=1e-5)

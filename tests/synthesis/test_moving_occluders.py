"""Occluders on their way: cut out as they were painted, the same in every frame, covering what they show."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from srn.face.scheme import IBUG_68
from srn.synthesis.moving_occluders import (
    FAR,
    MovingOccluder,
    Sprite,
    cut_out,
    presence,
    random_passage,
    random_sprite,
    wandering_patch,
)
from srn.synthesis.occluders import blob, noise_patch

Shape = npt.NDArray[np.float64]


@pytest.fixture
def shapes(face: Shape) -> Shape:
    """(40, 68, 2): a face of 100 pixels that drifts to the right."""
    return face * 100 + np.stack([200 + np.arange(40.0), np.full(40, 150.0)], 1)[:, None]


def square(side: int) -> Sprite:
    return Sprite(np.full((side, side, 3), 200, np.float32), np.ones((side, side), np.float32))


def test_a_cut_out_laid_on_a_picture_is_the_painted_picture() -> None:
    middle = np.array([39.5, 39.5])
    sprite = cut_out(lambda image, chance: blob(image, middle, 40, chance), 80, np.random.default_rng(5))
    under = np.random.default_rng(0).integers(0, 256, (80, 80, 3), dtype=np.uint8)
    painted = under.copy()
    seed = int(np.random.default_rng(5).integers(2**62))
    covered = blob(painted, middle, 40, np.random.default_rng(seed))
    laid = MovingOccluder(sprite, np.eye(2, 3)[None]).paint(under, 0, np.eye(2, 3))
    assert np.abs(laid.astype(int) - painted).max() <= 2  # rounded twice
    assert ((sprite.alpha > 0.5) != covered).mean() < 0.01
    assert covered.any()


def test_presence_by_hand() -> None:
    time = np.arange(12.0)
    # Enters at 1, is there from 3 to 7, is gone at 9: half way the smooth ramp is at a half.
    there = presence(time, 1, 2, 4)
    np.testing.assert_allclose(there, [0, 0, 0.5, 1, 1, 1, 1, 1, 0.5, 0, 0, 0])


def test_it_comes_from_out_of_sight_stays_and_leaves(shapes: Shape) -> None:
    for seed in range(30):
        occluder = random_passage(square(9), shapes, 0, 40, np.random.default_rng(seed))
        centers = occluder.places @ np.array([4.0, 4.0, 1.0])  # (40, 2)
        distance = np.linalg.norm(centers[:, None] - shapes, axis=-1).min(axis=1)
        away = np.linalg.norm(centers - shapes.mean(axis=1), axis=-1) > (FAR - 0.8) * 100
        assert (distance < 20).any() or not away.all()
    # Among many passages some are away at the beginning and there later, others the other way round.
    starts, ends = [], []
    for seed in range(60):
        centers = random_passage(square(9), shapes, 0, 40, np.random.default_rng(seed)).places @ [4.0, 4.0, 1.0]
        near = np.linalg.norm(centers - shapes.mean(axis=1), axis=-1) < 100
        starts.append(bool(near[0]))
        ends.append(bool(near[-1]))
    assert 5 < sum(starts) < 55
    assert 5 < sum(ends) < 55


def test_hidden_points_are_those_that_it_is_painted_over(shapes: Shape) -> None:
    occluder = wandering_patch(30, shapes, np.random.default_rng(2))
    for t in (0, 7, 39):
        painted = occluder.paint(np.zeros((300, 400, 3), np.uint8), t, np.eye(2, 3)) > 0
        x, y = np.floor(shapes[t] + 0.5).astype(int).T
        shown = painted[y, x].any(-1)
        differ = occluder.hides(t, shapes[t]) != shown
        edge = np.abs(np.abs(shapes[t] - occluder.places[t] @ [14.5, 14.5, 1.0]) - 15).min(axis=1) < 1
        assert not (differ & ~edge).any()
        assert occluder.hides(t, shapes[t]).any()


def test_a_view_shifts_and_scales_what_is_painted(shapes: Shape) -> None:
    occluder = MovingOccluder(square(21), np.array([[[1.0, 0, 50], [0, 1, 60]]]))
    view = np.array([[2.0, 0, -100], [0, 2, -110]])
    painted = occluder.paint(np.zeros((80, 80, 3), np.uint8), 0, view)[..., 0] == 200
    rows, columns = np.flatnonzero(painted.any(1)), np.flatnonzero(painted.any(0))
    # Sprite pixel 0 lies at scene (50, 60), so at view (0, 10); pixel 20 at view (40, 50).
    assert (columns[0], columns[-1], rows[0], rows[-1]) == (0, 40, 10, 50)
    gone = occluder.paint(np.zeros((80, 80, 3), np.uint8), 0, np.array([[2.0, 0, 500], [0, 2, 0]]))
    assert not gone.any()


def test_a_shadow_hides_nothing(shapes: Shape) -> None:
    sprite = Sprite(np.zeros((300, 400, 3), np.float32), np.full((300, 400), 0.9, np.float32), hides=False)
    occluder = MovingOccluder(sprite, np.eye(2, 3)[None])
    assert not occluder.hides(0, shapes[0]).any()


def test_the_patch_wanders_as_the_actions_go(shapes: Shape) -> None:
    occluder = wandering_patch(30, shapes, np.random.default_rng(4))
    centers = occluder.places @ [14.5, 14.5, 1.0]
    indices = np.linalg.norm(shapes - centers[:, None], axis=-1)
    assert indices.min(axis=1).max() < 1e-9  # centred on a landmark in every frame
    steps = np.diff(indices.argmin(axis=1))
    assert set((steps + 34) % 68 - 34) <= {-1, 0, 1}
    noise = occluder.sprite.color
    assert noise.std() == pytest.approx(np.sqrt((256**2 - 1) / 12), rel=0.03)  # a uniform distribution's


def test_every_kind_of_sprite_shows_something() -> None:
    asked = []

    def other() -> npt.NDArray[np.uint8]:
        asked.append(1)
        return np.random.default_rng(0).integers(0, 256, (50, 60, 3), dtype=np.uint8)

    shadows = 0
    for seed in range(40):
        sprite = random_sprite(60, other, IBUG_68, np.random.default_rng(seed))
        assert sprite.alpha.min() >= 0
        assert sprite.alpha.max() <= 1
        assert (sprite.alpha > 0.25).any()
        assert sprite.color.max() <= 255
        shadows += not sprite.hides
    assert 3 < len(asked) < 20
    assert 1 <= shadows <= 15


def test_the_noise_of_a_cut_out_patch_is_whole() -> None:
    sprite = cut_out(
        lambda image, chance: noise_patch(image, np.array([10.0, 10.0]), 9, chance), 21, np.random.default_rng(0)
    )
    assert sprite.alpha.sum() == 81

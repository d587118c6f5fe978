"""Occluders in the picture's own colours: what they cover, from which colours, and how often they are drawn."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from srn.face.geometry import CropSpec
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.synthesis.augment import augment
from srn.synthesis.config import NO_AUGMENTATION, AugmentConfig
from srn.synthesis.surroundings import OWN_OCCLUDERS, locks, own_hand, own_occluder, spread

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
Paint = Callable[[Picture, Shape, LandmarkScheme, np.random.Generator], npt.NDArray[np.bool_]]

SKIN, HAIR = (200, 150, 120), (40, 90, 30)
SEEDS = range(12)


@pytest.fixture
def shape() -> Shape:
    """An upright face of 68 points in 160 pixels: an outline of 110 pixels, the parts inside it."""
    angle = np.linspace(np.pi, 0, 17)
    points = np.zeros((68, 2))
    points[:17] = np.stack([80 + 52 * np.cos(angle), 65 + 70 * np.sin(angle)], 1)
    points[17:27] = np.stack([np.r_[40:72:5j, 88:120:5j], np.full(10, 45)], 1)
    points[27:36] = np.stack([np.r_[np.full(4, 80), 70:90:5j], np.r_[60:85:4j, np.full(5, 92)]], 1)
    points[36:48] = np.stack([np.r_[48:66:6j, 94:112:6j], np.full(12, 60)], 1)
    points[48:] = np.stack([np.r_[60:100:10j, 64:96:10j], np.full(20, 112)], 1)
    return points


@pytest.fixture
def picture(shape: Shape) -> Picture:
    """Skin inside the outline and above it to the brows, hair of another colour everywhere else."""
    y, x = np.mgrid[0:160, 0:160]
    inside = ((x - 80) / 52) ** 2 + ((y - 65) / 70) ** 2 < 1
    image = np.where((inside & (y > 25))[..., None], SKIN, HAIR)
    return np.clip(image + np.random.default_rng(3).integers(-6, 7, image.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("paint", OWN_OCCLUDERS)
def test_covered_pixels_changed_and_the_same_generator_paints_the_same(
    paint: Paint, picture: Picture, shape: Shape
) -> None:
    covered_in_all = 0
    for seed in SEEDS:
        image, again = picture.copy(), picture.copy()
        covered = paint(image, shape, IBUG_68, np.random.default_rng(seed))
        paint(again, shape, IBUG_68, np.random.default_rng(seed))
        assert np.array_equal(image, again)
        assert covered.shape == (160, 160)
        assert covered.dtype == bool
        covered_in_all += int(covered.sum())
        far = ~covered & (np.abs(image.astype(int) - picture).max(axis=2) > 60)
        assert far.mean() < 0.06  # soft borders and lone strands alone
    assert 0.01 < covered_in_all / (len(SEEDS) * 160**2) < 0.5


@pytest.mark.parametrize("paint", [spread, locks])
def test_hair_has_the_colour_of_the_hair_around_the_face(paint: Paint, picture: Picture, shape: Shape) -> None:
    colors = []
    for seed in SEEDS:
        image = picture.copy()
        covered = paint(image, shape, IBUG_68, np.random.default_rng(seed))
        on_skin = covered & (np.abs(picture.astype(int) - SKIN).max(axis=2) < 20)
        colors.append(image[on_skin])
    painted = np.concatenate(colors).astype(int)
    nearer = np.abs(painted - HAIR).sum(axis=1) < np.abs(painted - SKIN).sum(axis=1)
    assert len(painted) > 2000
    assert nearer.mean() > 0.6


def test_a_hand_has_the_colour_of_the_skin(picture: Picture, shape: Shape) -> None:
    image = picture.copy()
    covered = own_hand(image, shape, IBUG_68, np.random.default_rng(2))
    painted = image[covered].astype(float)
    hue = painted / painted.sum(axis=1, keepdims=True)
    assert np.abs(hue.mean(axis=0) - np.array(SKIN) / sum(SKIN)).max() < 0.03


def test_each_is_drawn_as_often_as_said(picture: Picture, shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def named(name: str) -> Paint:
        def paint(image: Picture, *_: object) -> npt.NDArray[np.bool_]:
            asked.append(name)
            return np.zeros(image.shape[:2], bool)

        return paint

    kinds = {named(paint.__name__): share for paint, share in OWN_OCCLUDERS.items()}
    monkeypatch.setattr("srn.synthesis.surroundings.OWN_OCCLUDERS", kinds)
    rng = np.random.default_rng(0)
    for _ in range(400):
        own_occluder(picture, shape, IBUG_68, rng)
    for paint, share in OWN_OCCLUDERS.items():
        assert asked.count(paint.__name__) / 400 == pytest.approx(share, abs=0.07)


def test_the_share_of_own_occluders_is_a_setting_and_none_by_default(picture: Picture, shape: Shape) -> None:
    assert AugmentConfig().own == 0
    spec, only = CropSpec(160, 120.0), {**NO_AUGMENTATION.to_dict(), "occluders": 1.0}
    config = AugmentConfig.from_dict({**only, "own": 1.0})
    hidden = 0
    for seed in SEEDS:
        face = augment(picture, shape, spec, IBUG_68, config, np.random.default_rng(seed))
        plain = augment(picture, shape, spec, IBUG_68, NO_AUGMENTATION, np.random.default_rng(seed))
        hidden += int((~face.visible).sum())
        assert (face.image == plain.image).mean() > 0.3
    assert 1 < hidden / len(SEEDS) < 40

"""Another person's head before a face: what it covers, how much, and how often it is drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from srn.face.geometry import CropSpec
from srn.face.scheme import IBUG_68
from srn.synthesis.augment import augment
from srn.synthesis.bystanders import other_head
from srn.synthesis.config import NO_AUGMENTATION
from srn.synthesis.occluders import visible_landmarks

Shape = npt.NDArray[np.float64]

HERE, THERE = 40, 200


@pytest.fixture
def shape(face: Shape) -> Shape:
    """A face of 100 pixels in the middle of 160."""
    return face * 100 + 80


def test_what_is_covered_shows_the_other_person(shape: Shape) -> None:
    hidden = []
    for seed in range(40):
        image, again = (np.full((160, 160, 3), HERE, np.uint8) for _ in range(2))
        other = np.full((240, 240, 3), THERE, np.uint8)
        covered = other_head(image, other, shape, np.random.default_rng(seed))
        np.testing.assert_array_equal(other_head(again, other, shape, np.random.default_rng(seed)), covered)
        np.testing.assert_array_equal(image, again)
        # The border is soft: half of both faces lies where "covered" ends.
        assert image[covered].min() >= (HERE + THERE) // 2 >= image[~covered].max() - 1
        hidden.append(1 - visible_landmarks(covered, shape).mean())
    assert 0.2 < np.mean(hidden) < 0.6
    assert max(hidden) < 1  # something is left to see
    assert np.ptp(hidden) > 0.4


@pytest.mark.parametrize(("behind", "other"), [(1.0, True), (0.0, True), (1.0, False)])
def test_it_is_drawn_as_often_as_asked_for(shape: Shape, behind: float, other: bool) -> None:
    config = dataclasses.replace(NO_AUGMENTATION, behind=behind)
    image = np.full((160, 160, 3), HERE, np.uint8)
    donor = np.full((240, 240, 3), THERE, np.uint8)
    rng = np.random.default_rng(0)
    faces = [
        augment(image, shape, CropSpec(160, 100.0), IBUG_68, config, rng, (lambda: donor) if other else None)
        for _ in range(20)
    ]
    hidden = np.array([not made.visible.all() for made in faces])
    assert hidden.mean() > 0.6 if behind and other else not hidden.any()
    assert all((made.image == THERE).any() for made, some in zip(faces, hidden, strict=True) if some)

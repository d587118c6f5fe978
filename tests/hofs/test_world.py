"""The reward: equation 10 by hand, in batches, computed once."""

from __future__ import annotations

import numpy as np
import pytest

from srn.errors import InputError
from srn.face.geometry import CropSpec
from srn.face.metrics import nme
from srn.face.scheme import COFW_29, IBUG_68
from srn.hofs.clips import GivenClips
from srn.hofs.scenes import NOWHERE, Place, Scenes
from srn.hofs.world import OcclusionWorld
from srn.training.loss import MINIMAL_INTEROCULAR

from .conftest import PATCH_SIZE, SPEC, WeakLocalizer, grid_shape, plain_clip, toy_world

WEAK = {20: 8.0, 3: 2.0}
FLOOR = MINIMAL_INTEROCULAR * SPEC.face_size


def test_the_reward_is_the_nme() -> None:
    rewards = toy_world(WEAK).rewards([Place(0, 0, 20, 0), Place(0, 1, 3, 0), Place(0, 0, 4, 0)])
    off = grid_shape() + [8, 0]
    assert rewards[0] == pytest.approx(nme(off, grid_shape(), FLOOR))
    np.testing.assert_allclose(rewards, [8 / FLOOR, 2 / FLOOR, 0], atol=1e-7)


def test_the_corners_of_the_eyes_normalize() -> None:
    """Where they are far enough apart, they and not the floor."""
    clip = plain_clip(1)
    left, right = COFW_29.eye_corners
    clip.landmarks[0, left], clip.landmarks[0, right] = (5, 5), (29, 37)  # 40 pixels apart

    class Right(WeakLocalizer):
        def __call__(self, crops, *rest):  # type: ignore[no-untyped-def]
            answer = super().__call__(crops, *rest)
            return answer._replace(shapes=clip.landmarks[:, None] + np.array([3.0, 4.0], np.float32))

    world = OcclusionWorld(Scenes(GivenClips([clip], SPEC, COFW_29), PATCH_SIZE), Right({}))
    assert world.rewards([Place(0, 0, 0, 0)])[0] == pytest.approx(5 / 40)


def test_the_squared_form() -> None:
    """Lengths in face units: (8 / 40)^2 over 0.4."""
    rewards = toy_world(WEAK, reward="squared").rewards([Place(0, 0, 20, 0), Place(0, 0, 3, 0)])
    np.testing.assert_allclose(rewards, [0.2**2 / 0.4, 0.05**2 / 0.4], rtol=1e-5)


def test_degradation_is_against_the_clean_frame() -> None:
    class Biased(WeakLocalizer):
        def __call__(self, crops, *rest):  # type: ignore[no-untyped-def]
            answer = super().__call__(crops, *rest)
            return answer._replace(shapes=answer.shapes + np.array([1.0, 0.0], np.float32))

    plain = toy_world(WEAK)
    world = OcclusionWorld(plain.scenes, Biased(WEAK), reward="degradation")
    rewards = world.rewards([Place(0, 0, 20, 0), Place(0, 0, 5, 0)])
    np.testing.assert_allclose(rewards, [8 / FLOOR, 0], atol=1e-6)
    assert world.errors([Place(0, 0, NOWHERE, 0)])[0] == pytest.approx(1 / FLOOR, rel=1e-5)


def test_the_table_holds_every_place() -> None:
    world = toy_world(WEAK, frames=2)
    expected = np.zeros((2, 29))
    expected[:, 20], expected[:, 3] = 8 / FLOOR, 2 / FLOOR
    np.testing.assert_allclose(world.table(0, 4), expected, atol=1e-7)


def test_batches_do_not_change_the_numbers() -> None:
    places = [Place(clip, 0, landmark, 1) for clip in range(2) for landmark in range(29)]
    whole, parts = toy_world(WEAK, clips=2), toy_world(WEAK, clips=2, batch_size=5)
    np.testing.assert_array_equal(whole.rewards(places), parts.rewards(places))
    assert isinstance(whole.localizer, WeakLocalizer)
    assert isinstance(parts.localizer, WeakLocalizer)
    assert whole.localizer.batches == [58]
    assert parts.localizer.batches == [5] * 11 + [3]


def test_each_place_is_computed_once() -> None:
    world = toy_world(WEAK)
    first = world.rewards([Place(0, 0, 20, 0), Place(0, 0, 20, 0), Place(0, 1, 20, 0)])
    again = world.rewards([Place(0, 1, 20, 0), Place(0, 2, 20, 0)])
    np.testing.assert_array_equal(first, first[0])
    np.testing.assert_array_equal(again, first[:2])
    assert isinstance(world.localizer, WeakLocalizer)
    assert sum(world.localizer.batches) == 3
    assert world.network_seconds > 0


def test_clips_and_network_must_fit() -> None:
    scenes = toy_world({}).scenes
    with pytest.raises(InputError, match="reward: expected one of nme, squared, degradation, found 'pain'"):
        OcclusionWorld(scenes, WeakLocalizer({}), reward="pain")  # type: ignore[arg-type]
    other = WeakLocalizer({})
    other.crop_spec = CropSpec(96, 60.0)
    with pytest.raises(InputError, match="clips: crops: expected the frozen network's CropSpec"):
        OcclusionWorld(scenes, other)
    wrong = WeakLocalizer({})
    wrong.scheme = IBUG_68
    with pytest.raises(InputError, match="clips: landmarks: expected the frozen network's ibug68, found cofw29"):
        OcclusionWorld(scenes, wrong)

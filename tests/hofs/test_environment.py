"""The Gymnasium environment: the API, the rules of movement, and that it pays what the world pays."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from srn.errors import InputError

gymnasium = pytest.importorskip("gymnasium", reason="the environment needs srn[hofs]")

from gymnasium.utils.env_checker import check_env  # noqa: E402

from srn.face.patches import extract_patches  # noqa: E402
from srn.hofs.environment import ENVIRONMENT, OcclusionEnv  # noqa: E402
from srn.hofs.scenes import Place  # noqa: E402

from .conftest import GREY, grid_shape, toy_world  # noqa: E402


def test_gymnasium_finds_nothing_to_say() -> None:
    env = gymnasium.make(ENVIRONMENT, world=toy_world({20: 8.0}, frames=3), render_mode="rgb_array")

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)


def test_an_episode_is_a_clip() -> None:
    env = OcclusionEnv(toy_world({20: 8.0}, frames=4))
    _, info = env.reset(seed=0, options={"landmark": 18})
    assert (info["frame"], info["landmark"]) == (0, 18)

    steps = [env.step(action) for action in (2, 2, 1, 0)]

    # 8 pixels off, over a floor of 0.4 of the face's 40 pixels (the corners of the eyes are nearer than that).
    assert [step[1] for step in steps] == pytest.approx([0, 0.5, 0.5, 0])
    assert [step[2] for step in steps] == [False, False, False, True]
    assert not any(step[3] for step in steps)
    assert [step[4]["landmark"] for step in steps] == [19, 20, 20, 19]
    with pytest.raises(InputError, match="step: expected a clip that goes on"):
        env.step(1)


@pytest.mark.parametrize(("start", "action", "reached"), [(0, 0, 28), (28, 2, 0), (5, 1, 5)])
def test_the_landmarks_are_a_ring(start: int, action: int, reached: int) -> None:
    env = OcclusionEnv(toy_world({}))
    env.reset(seed=0, options={"landmark": start})
    assert env.step(action)[4]["landmark"] == reached


def test_each_action_is_shown_with_its_own_occlusion() -> None:
    world = toy_world({})
    observation, info = OcclusionEnv(world).reset(seed=3, options={"landmark": 10})

    assert observation.shape == (3, 29, 36, 36, 3)
    assert observation.dtype == np.float32
    for action, landmark in enumerate((9, 10, 11)):
        image, _ = world.scenes.occluded(Place(info["clip"], 0, landmark, info["noise_seed"]))
        np.testing.assert_allclose(observation[action], extract_patches(image, grid_shape(), 36) / 255, atol=1e-6)
    # A patch 30 pixels away has nothing to do with it.
    np.testing.assert_allclose(observation[:, 28], GREY / 255, atol=1e-6)


def test_the_seed_decides() -> None:
    env = OcclusionEnv(toy_world({}, clips=3))
    first, again, other = (env.reset(seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert first[1] == again[1] != other[1]


def test_what_is_shown() -> None:
    world = toy_world({})
    env = OcclusionEnv(world, render_mode="rgb_array")
    assert env.render() is None
    _, info = env.reset(seed=0, options={"landmark": 4})
    env.step(2)
    expected, _ = world.scenes.occluded(Place(info["clip"], 0, 5, info["noise_seed"]))
    shown = env.render()
    assert shown is not None
    np.testing.assert_array_equal(shown, expected)


def test_mistakes() -> None:
    world = toy_world({})
    env = OcclusionEnv(world)
    with pytest.raises(InputError, match="expected a clip that goes on"):
        env.step(1)
    with pytest.raises(InputError, match="reset options: expected some of clip, landmark, noise_seed, found place"):
        env.reset(options={"place": 1})
    env.reset(seed=0)
    with pytest.raises(InputError, match="action: expected 0 to 2, found 3"):
        env.step(3)
    with pytest.raises(InputError, match="render_mode: expected rgb_array or None"):
        OcclusionEnv(world, render_mode="human")

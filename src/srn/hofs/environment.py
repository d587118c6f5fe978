"""The Markov decision process as a Gymnasium environment, for other learners. Needs `srn[hofs]`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import ImageArray
from srn.face.patches import extract_patches
from srn.hofs.scenes import ACTIONS, Place
from srn.hofs.world import OcclusionWorld

ENVIRONMENT = "srn/Occlusion-v0"
PATCH_SIZE = 36

Observation = npt.NDArray[np.float32]


class OcclusionEnv(gymnasium.Env[Observation, np.int64]):
    """Move an occlusion over a clip's face, an episode. Rewards are those of the agent's own training.

    Observation: (3, N, 36, 36, 3) float32 in [0, 1]. For each action, the shape-indexed patches at the ground truth of
    the next frame, occluded as the action would do it (eq. 9). After the last frame, the last frame is observed again.

    Action: 0, 1, 2 move the occlusion to the previous landmark, leave it, move it to the next landmark.

    `info`: `clip`, `frame`, `landmark` and `noise_seed` of the place that the next action starts from.

    `render_mode` `rgb_array` renders the frame that the last action chose, (S, S, 3) uint8.

    `reset(options={"clip": 3, "landmark": 30, "noise_seed": 1})` sets values that are otherwise drawn at random.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 25}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self, world: OcclusionWorld, render_mode: str | None = None) -> None:
        if render_mode not in (None, "rgb_array"):
            raise InputError.at("render_mode", "rgb_array or None", repr(render_mode))
        self.world, self.render_mode = world, render_mode
        shape = (ACTIONS, world.scenes.n_points, PATCH_SIZE, PATCH_SIZE, 3)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, shape, np.float32)
        self.action_space = gymnasium.spaces.Discrete(ACTIONS)
        self._place: Place | None = None  # where the next action starts; None before a reset and after the end
        self._shown: Place | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        super().reset(seed=seed)
        scenes = self.world.scenes
        drawn = {
            "clip": int(self.np_random.integers(len(scenes.source))),
            "landmark": int(self.np_random.integers(scenes.n_points)),
            "noise_seed": int(self.np_random.integers(2**31)),
        }
        unknown = set(options or {}) - set(drawn)
        if unknown:
            raise InputError.at("reset options", f"some of {', '.join(drawn)}", ", ".join(sorted(unknown)))
        self._place = self._shown = Place(frame=0, **{**drawn, **(options or {})})
        return self._observed(self._place), self._place._asdict()

    def step(self, action: np.int64 | int) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        if self._place is None:
            raise InputError.at("step", "a clip that goes on (call reset)", "none")
        if not self.action_space.contains(action):
            raise InputError.at("action", f"0 to {ACTIONS - 1}", repr(action))
        chosen = self.world.scenes.candidates(self._place)[int(action)]
        reward = float(self.world.rewards([chosen])[0])
        self._shown = chosen
        ended = chosen.frame + 1 == self.world.scenes.length(chosen.clip)
        following = chosen if ended else chosen._replace(frame=chosen.frame + 1)
        self._place = None if ended else following
        return self._observed(following), reward, ended, False, following._asdict()

    def render(self) -> ImageArray | None:
        if self.render_mode is None or self._shown is None:
            return None
        return self.world.scenes.occluded(self._shown)[0]

    def _observed(self, place: Place) -> Observation:
        images, shapes = self.world.scenes.render(self.world.scenes.candidates(place))
        patches = [extract_patches(image, shape, PATCH_SIZE) for image, shape in zip(images, shapes, strict=True)]
        return np.stack(patches) / np.float32(255)


gymnasium.register(ENVIRONMENT, entry_point="srn.hofs.environment:OcclusionEnv")

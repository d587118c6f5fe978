"""A toy world for the agent: one plain clip whose landmarks lie on a grid, and a network with planted weaknesses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from srn.face.geometry import CropSpec
from srn.face.localizer import Float32Array, Prediction
from srn.face.scheme import COFW_29, LandmarkScheme
from srn.hofs.agent import Agent
from srn.hofs.clips import GivenClips
from srn.hofs.config import AgentConfig
from srn.hofs.qnet import pretrained_qnet
from srn.hofs.scenes import Scenes
from srn.hofs.world import OcclusionWorld
from srn.model.config import preset
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.animate import MovingFace

SPEC = CropSpec(64, 40.0)
GREY = 128
PATCH_SIZE = 0.125
"""Five pixels: a patch covers one landmark of the grid and no other."""


def grid_shape() -> npt.NDArray[np.float32]:
    """(29, 2): landmarks ten pixels apart, row by row."""
    return np.array([[7 + 10 * (i % 6), 7 + 10 * (i // 6)] for i in range(29)], np.float32)


def plain_clip(frames: int = 16) -> MovingFace:
    """A grey square on which nothing moves."""
    images = np.full((frames, SPEC.size, SPEC.size, 3), GREY, np.uint8)
    return MovingFace(images, np.tile(grid_shape(), (frames, 1, 1)), np.ones((frames, 29), bool))


class WeakLocalizer:
    """Right everywhere, except that covering a landmark k moves all points by `weakness[k]` pixels."""

    scheme: LandmarkScheme = COFW_29
    crop_spec = SPEC
    name = "weak"
    mean_shape: Float32Array = np.zeros((29, 2), np.float32)

    def __init__(self, weakness: Mapping[int, float]) -> None:
        self.weakness = weakness
        self.batches: list[int] = []

    def __call__(
        self,
        crops: npt.NDArray[np.uint8],
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        self.batches.append(len(crops))
        x, y = grid_shape().astype(int).T
        covered = (crops[:, y, x] != GREY).any(axis=2)  # (B, N)
        off = covered @ np.array([self.weakness.get(k, 0.0) for k in range(29)])
        shapes = grid_shape() + off[:, None, None] * [1.0, 0.0]
        return Prediction(shapes[:, None].astype(np.float32), np.zeros((len(crops), 4), np.float32), None, None)


def tiny_network(seed: int = 0) -> StructuralRelationNetwork:
    """A network with random weights that takes a fraction of a millisecond; its encoder makes the toy's Q-net."""
    torch.manual_seed(seed)
    config = preset(
        "robust", scheme_name="cofw29", crop_size=SPEC.size, face_size=SPEC.face_size, iterations=1, hidden_size=8,
        landmark_features=8, region_size=8, component_size=8, stem_channels=8, map_channels=(8, 8, 8), blocks=(1, 1, 1),
    )  # fmt: skip
    return StructuralRelationNetwork(config, ((grid_shape() - SPEC.center) / SPEC.face_size).astype(np.float32)).eval()


WEAK, DECOY = 20, 13
WEAKNESS = {WEAK: 8.0, DECOY: 2.0}


def toy_config(**changes: Any) -> AgentConfig:
    values: dict[str, Any] = {
        "transitions": 48, "lanes": 4, "warm_up": 8, "batch_size": 4, "noise_seeds": 2, "patch_size": PATCH_SIZE,
        "hidden_size": 16, "learning_rate": 1e-3,
        # as published, where a test does not say otherwise
        "updates": 1, "loss": "squared", "dropout": 0.0, "clip_end": "terminal", "target_every": 0, "double_q": False,
        "reward": "nme",
    }  # fmt: skip
    return AgentConfig(**{**values, **changes})


def toy_source(frames: int = 6, clips: int = 2) -> GivenClips:
    return GivenClips([plain_clip(frames)] * clips, SPEC, COFW_29, f"{clips} plain clips of {frames}")


def toy_world(weakness: Mapping[int, float], frames: int = 16, clips: int = 1, **options: Any) -> OcclusionWorld:
    """`toy_world({20: 8.0})`: a world whose frozen network has the given weaknesses, pixels by landmark."""
    return OcclusionWorld(Scenes(toy_source(frames, clips), PATCH_SIZE), WeakLocalizer(weakness), **options)


@pytest.fixture(scope="module", autouse=True)
def repeatable(one_thread: None) -> None:
    """Every test here runs on one thread."""


@pytest.fixture
def network() -> StructuralRelationNetwork:
    """`tiny_network`."""
    return tiny_network()


@pytest.fixture
def agent(network: StructuralRelationNetwork) -> Agent:
    """An agent with random weights that looks through `network`."""
    torch.manual_seed(1)
    return Agent(pretrained_qnet(network, hidden_size=16).eval(), PATCH_SIZE)

"""The agent: greedy by its values, one clip or many, in a file and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srn.errors import WeightsError
from srn.face.scheme import COFW_29
from srn.hofs.agent import Agent
from srn.hofs.clips import GivenClips
from srn.hofs.scenes import Place, Scenes
from srn.model.checkpoint import save_network
from srn.model.network import StructuralRelationNetwork

from .conftest import PATCH_SIZE, SPEC, plain_clip


@pytest.fixture
def scenes() -> Scenes:
    clips = [plain_clip(frames) for frames in (3, 5, 1)]
    return Scenes(GivenClips(clips, SPEC, COFW_29), PATCH_SIZE)


def test_it_takes_the_candidate_of_the_highest_value(agent: Agent, scenes: Scenes) -> None:
    (path,) = agent.follow(scenes, [1], [28], [4])
    place = Place(1, 0, 28, 4)
    for frame, landmark in enumerate(path.tolist()):
        candidates = scenes.candidates(place._replace(frame=frame))
        place = candidates[int(agent.values(scenes, candidates).argmax())]
        assert place.landmark == landmark
    assert len(path) == 5


def test_together_as_alone(agent: Agent, scenes: Scenes) -> None:
    """Clips of different lengths, side by side."""
    together = agent.follow(scenes, [0, 1, 2, 1], [3, 9, 20, 27], [0, 1, 2, 3])
    assert [len(path) for path in together] == [3, 5, 1, 5]
    for path, clip, start, noise in zip(together, [0, 1, 2, 1], [3, 9, 20, 27], range(4), strict=True):
        np.testing.assert_array_equal(path, agent.follow(scenes, [clip], [start], [noise])[0])
    assert agent.follow(scenes, [], [], []) == []


def test_batches_do_not_change_the_values(agent: Agent, scenes: Scenes) -> None:
    places = [Place(0, 0, landmark, 0) for landmark in range(29)]
    np.testing.assert_allclose(
        Agent(agent.qnet, batch_size=4).values(scenes, places), agent.values(scenes, places), rtol=1e-4, atol=1e-5
    )


def test_a_file_and_back(agent: Agent, scenes: Scenes, tmp_path: Path) -> None:
    agent.save(tmp_path / "agent.safetensors", {"data": "toy"})
    loaded = Agent.load(tmp_path / "agent.safetensors")
    places = [Place(0, 0, landmark, 0) for landmark in range(5)]
    assert loaded.patch_size == agent.patch_size
    np.testing.assert_allclose(loaded.values(scenes, places), agent.values(scenes, places), rtol=1e-5)
    rough = Agent.load(tmp_path / "agent.safetensors", precision="bfloat16").values(scenes, places)
    assert 0 < np.abs(rough - agent.values(scenes, places)).max() < 0.02


def test_half_precision_takes_half_the_space(agent: Agent, scenes: Scenes, tmp_path: Path) -> None:
    agent.save(tmp_path / "whole.safetensors")
    agent.save(tmp_path / "half.safetensors", half=True)
    whole, half = ((tmp_path / f"{name}.safetensors").stat().st_size for name in ("whole", "half"))
    assert half < 0.6 * whole
    values = Agent.load(tmp_path / "half.safetensors").values(scenes, [Place(0, 0, 3, 0)])
    np.testing.assert_allclose(values, agent.values(scenes, [Place(0, 0, 3, 0)]), rtol=0.01, atol=1e-3)


def test_an_agent_of_the_repository_by_its_name() -> None:
    agent = Agent.load("agent-0")
    assert agent.qnet.config.model.scheme_name == "ibug68"
    assert not agent.qnet.training


def test_files_that_are_no_agents(network: StructuralRelationNetwork, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"missing\.safetensors: expected a safetensors file"):
        Agent.load(tmp_path / "missing.safetensors")
    save_network(tmp_path / "weights.safetensors", network)
    with pytest.raises(WeightsError, match="expected srn hofs agent 1, found srn weights 1"):
        Agent.load(tmp_path / "weights.safetensors")

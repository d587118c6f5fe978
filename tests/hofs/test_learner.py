"""Learning: equations 11 and 12 by hand, the planted weakness, and runs that are interrupted."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from srn.errors import InputError
from srn.hofs.agent import Agent
from srn.hofs.baselines import best_trajectory, greedy_trajectory, random_walk, trajectory_reward
from srn.hofs.config import ClipEnd, LossKind
from srn.hofs.learner import Learner, new_qnet
from srn.hofs.qnet import QNet
from srn.hofs.run import train_agent
from srn.hofs.scenes import Place, Scenes
from srn.hofs.world import OcclusionWorld
from srn.model.network import StructuralRelationNetwork

from .conftest import DECOY, PATCH_SIZE, WEAK, WEAKNESS, WeakLocalizer, tiny_network, toy_config, toy_source, toy_world

# --- the planted weakness


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> tuple[Agent, OcclusionWorld]:
    """An agent of the toy world with a weak landmark and, far from it, a decoy that pays a quarter."""
    config = toy_config(
        transitions=4000, lanes=8, warm_up=1000, batch_size=64, updates=2, replay_clips=40, exploration_rate=0.3,
        learning_rate=1e-3, noise_seeds=1, hidden_size=64, pretrained=False, train_encoder=False, target_every=50,
        double_q=True, loss="huber", clip_end="time-limit",
    )  # fmt: skip
    source = toy_source(16, 1)
    folder = tmp_path_factory.mktemp("agent")
    path = train_agent(config, source, tiny_network(), folder, localizer=WeakLocalizer(WEAKNESS), device="cpu")
    return Agent.load(path), OcclusionWorld(Scenes(source, PATCH_SIZE), WeakLocalizer(WEAKNESS))


def test_the_agent_finds_the_planted_weakness(taught: tuple[Agent, OcclusionWorld]) -> None:
    agent, world = taught
    paths = agent.follow(world.scenes, [0] * 29, range(29), [0] * 29)
    ends = [int(path[-1]) for path in paths]
    near = [start for start in range(29) if min((start - WEAK) % 29, (WEAK - start) % 29) <= 10]
    assert [ends[start] for start in near] == [WEAK] * len(near)


def test_it_is_as_good_as_the_optimum_and_beats_random_and_greedy(taught: tuple[Agent, OcclusionWorld]) -> None:
    agent, world = taught
    table, rng = world.table(0, 0), np.random.default_rng(0)
    found = agent.follow(world.scenes, [0] * 29, range(29), [0] * 29)

    def mean(path: Callable[[int], Any]) -> float:
        return float(np.mean([trajectory_reward(table, path(start)) for start in range(29)]))

    reward = mean(lambda start: found[start])
    assert reward >= 0.95 * mean(lambda start: best_trajectory(table, start))
    assert reward >= 4 * mean(lambda start: greedy_trajectory(table, start))
    assert reward >= 8 * mean(lambda start: random_walk(16, 29, start, rng))


def test_it_leaves_the_decoy_where_looking_ahead_pays(taught: tuple[Agent, OcclusionWorld]) -> None:
    """From the landmark beside the decoy greedy steps on it and stays; the agent walks on."""
    agent, world = taught
    table, start = world.table(0, 0), DECOY + 1
    np.testing.assert_array_equal(greedy_trajectory(table, start), [DECOY] * 16)
    (path,) = agent.follow(world.scenes, [0], [start], [0])
    np.testing.assert_array_equal(path, best_trajectory(table, start, 0.9))
    assert path[-1] == WEAK


# --- the update


@pytest.mark.parametrize("loss", ["squared", "huber"])
@pytest.mark.parametrize("clip_end", ["terminal", "time-limit"])
def test_the_loss_is_equation_12(network: StructuralRelationNetwork, loss: LossKind, clip_end: ClipEnd) -> None:
    """One update's loss, from values computed here face by face, in units of the rewards' spread."""
    world = toy_world(WEAKNESS, frames=4)
    config = toy_config(warm_up=10_000, batch_size=8, loss=loss, clip_end=clip_end)
    learner = Learner(config, world, new_qnet(config, network))
    for _ in range(9):
        learner.play()
    rewards = [e.transition.reward for e in learner.replay.entries()]
    spread = float(np.std(rewards))
    agent = Agent(started_copy(learner, float(np.mean(rewards)) / (1 - 0.9), spread))
    batch = learner.replay.sample(8, np.random.default_rng([config.seed, 2, 0]))
    assert {t.done for t in batch} == {True, False}  # both cases
    losses = []
    for transition in batch:
        target = transition.reward
        if not transition.done or clip_end == "time-limit":  # then the last frame's own candidates come next
            place = transition.following(29) if not transition.done else transition.chosen(29)
            target += 0.9 * float(agent.values(world.scenes, world.scenes.candidates(place)).max())
        difference = abs(float(agent.values(world.scenes, [transition.chosen(29)])[0]) - target) / spread
        huber = difference**2 / 2 if difference < 1 else difference - 0.5
        losses.append(difference**2 if loss == "squared" else huber)

    assert learner.learn()[0] == pytest.approx(np.mean(losses), rel=1e-3)


def started_copy(learner: Learner, value: float, spread: float) -> QNet:
    """The learner's Q-net as its first update finds it: its values start at the return of the mean reward."""
    qnet = QNet(learner.qnet.config)
    qnet.load_state_dict(learner.qnet.state_dict())
    qnet.start_from(value, spread)
    return qnet


def test_the_unit_of_the_reward_does_not_matter(network: StructuralRelationNetwork) -> None:
    """Errors a hundred times as large: the same steps, and values a hundred times as large."""

    class InPercent(OcclusionWorld):
        def rewards(self, places: Sequence[Place]) -> npt.NDArray[np.float64]:
            return 100 * super().rewards(places)

    world = toy_world(WEAKNESS)
    config = toy_config(warm_up=16)
    learners = [
        Learner(config, one, new_qnet(config, network)) for one in (world, InPercent(world.scenes, world.localizer))
    ]
    for learner in learners:
        for _ in range(8):
            learner.play()
            if learner.transitions >= config.warm_up:
                learner.learn()
    small, large = learners
    assert small.updates > 0
    assert float(large.qnet.scale) == pytest.approx(100 * float(small.qnet.scale), rel=1e-5)
    with torch.no_grad():
        features = small.features([Place(0, 3, k, 1) for k in range(29)])
        torch.testing.assert_close(large.qnet.value(features), 100 * small.qnet.value(features), rtol=1e-3, atol=1e-4)


def test_equal_rewards_have_a_unit_too(network: StructuralRelationNetwork) -> None:
    config = toy_config(warm_up=0)
    learner = Learner(config, toy_world({}), new_qnet(config, network))
    learner.play()
    learner.learn()
    assert float(learner.qnet.scale) == 1


def test_double_q_chooses_with_one_and_values_with_the_other(network: StructuralRelationNetwork) -> None:
    world = toy_world(WEAKNESS, frames=4)
    config = toy_config(warm_up=10_000, target_every=1000, double_q=True)
    learner = Learner(config, world, new_qnet(config, network))
    for _ in range(3):
        learner.play()
    with torch.no_grad():
        for parameter in learner.target.head.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)) * 0.1)
    going_on = [e.transition for e in learner.replay.entries() if not e.transition.done]
    own, other = Agent(learner.qnet), Agent(learner.target)
    expected, highest = [], []
    for transition in going_on:
        following = world.scenes.candidates(transition.following(29))
        values = other.values(world.scenes, following)
        expected.append(values[own.values(world.scenes, following).argmax()])
        highest.append(values.max())
    np.testing.assert_allclose(learner.future_values(going_on).numpy(), expected, rtol=1e-4, atol=1e-5)
    assert not np.allclose(expected, highest)


def test_double_q_needs_a_target_network_to_differ(network: StructuralRelationNetwork) -> None:
    world, values = toy_world(WEAKNESS, frames=4), []
    for double_q in (False, True):
        config = toy_config(warm_up=10_000, target_every=0, double_q=double_q)
        learner = Learner(config, world, new_qnet(config, network))
        learner.play()
        values.append(learner.future_values([e.transition for e in learner.replay.entries()]))
    assert torch.equal(*values)


def test_the_target_network_follows_now_and_then(network: StructuralRelationNetwork) -> None:
    config = toy_config(target_every=3, warm_up=0)
    learner = Learner(config, toy_world(WEAKNESS), new_qnet(config, network))
    learner.play()
    same = []
    for _ in range(6):
        learner.learn()
        pairs = zip(learner.qnet.head.parameters(), learner.target.head.parameters(), strict=True)
        same.append(all(torch.equal(a, b) for a, b in pairs))
    assert same == [False, False, True, False, False, True]


@pytest.mark.parametrize("trained", [True, False])
def test_what_learns(network: StructuralRelationNetwork, trained: bool) -> None:
    config = toy_config(warm_up=0, train_encoder=trained)
    learner = Learner(config, toy_world(WEAKNESS), new_qnet(config, network))
    before = {name: p.detach().clone() for name, p in learner.qnet.named_parameters()}
    learner.play()
    for _ in range(3):
        learner.learn()
    changed = {name.split(".")[0] for name, p in learner.qnet.named_parameters() if not torch.equal(p, before[name])}
    assert changed == ({"encoder", "head"} if trained else {"head"})
    for name, tensor in network.encoder.named_buffers():
        torch.testing.assert_close(learner.qnet.encoder.get_buffer(name), tensor)


def test_learners_share_kept_features(network: StructuralRelationNetwork) -> None:
    """One that learns from another's experience and features takes the steps it takes with features of its own."""
    world = toy_world(WEAKNESS)
    config = toy_config(warm_up=10_000, train_encoder=False)
    player = Learner(config, world, new_qnet(config, network))
    for _ in range(5):
        player.play()
    losses = []
    for memory in (None, player.memory):
        learner = Learner(config, world, new_qnet(config, network), memory)
        learner.replay = player.replay
        losses.append([learner.learn()[0] for _ in range(3)])
    assert learner.memory is player.memory
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-3)
    assert losses[0][0] != losses[0][2]


def test_lanes_play_clips_to_their_end(network: StructuralRelationNetwork) -> None:
    world = toy_world(WEAKNESS, frames=3, clips=4)
    config = toy_config(lanes=2, replay="single-queue")
    learner = Learner(config, world, new_qnet(config, network))
    for _ in range(6):
        learner.play()
    entries = list(learner.replay.entries())
    for lane in range(2):
        mine = [e for e in entries if e.lane == lane]
        assert [e.episode for e in mine] == [0, 0, 0, 1, 1, 1]
        assert [e.transition.place.frame for e in mine] == [0, 1, 2, 0, 1, 2]
        assert [e.transition.done for e in mine] == [False, False, True] * 2
        for before, after in itertools.pairwise(mine):
            if not before.transition.done:
                assert after.transition.place == before.transition.following(29)
    for entry in entries:
        assert entry.transition.reward == world.rewards([entry.transition.chosen(29)])[0]


def test_rewards_of_all_lanes_are_one_batch(network: StructuralRelationNetwork) -> None:
    world = toy_world(WEAKNESS, clips=8, frames=5)
    config = toy_config(lanes=6, noise_seeds=1000)
    learner = Learner(config, world, new_qnet(config, network))
    learner.play()
    assert isinstance(world.localizer, WeakLocalizer)
    assert world.localizer.batches == [6]


def test_a_diverging_run_says_so(network: StructuralRelationNetwork) -> None:
    config = toy_config(warm_up=0)
    learner = Learner(config, toy_world(WEAKNESS), new_qnet(config, network))
    learner.play()
    learner.learn()
    learner.qnet.start_from(float("nan"), 1)
    with pytest.raises(InputError, match=r"update 2: expected a finite loss, found nan \(lower the learning rate\)"):
        learner.learn()


def test_a_pretrained_start_is_of_the_networks_kind(network: StructuralRelationNetwork) -> None:
    with pytest.raises(InputError, match="encoder: expected the frozen network's shared-map, or a random start"):
        new_qnet(toy_config(encoder="patches"), network)
    qnet = new_qnet(toy_config(encoder="patches", pretrained=False), network)
    assert qnet.config.encoder == "patches"

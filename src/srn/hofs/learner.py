"""Deep Q-learning of the agent (equations 11 and 12): interruptible, resumable, the same numbers either way."""

from __future__ import annotations

import copy
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from srn.errors import InputError, WeightsError
from srn.face.localizer import Localizer
from srn.files import CsvLog
from srn.hofs.agent import Agent, place_features
from srn.hofs.clips import ClipSource
from srn.hofs.config import AgentConfig
from srn.hofs.qnet import QNet, QNetConfig, pretrained_qnet
from srn.hofs.replay import MultiQueueReplay, Replay, SingleQueueReplay, Transition, from_table, to_table
from srn.hofs.scenes import ACTIONS, NOWHERE, Place, Scenes
from srn.hofs.world import OcclusionWorld
from srn.model.checkpoint import load_tensors, save_tensors
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork

AGENT_FILE, STATE_FILE, CONFIG_FILE, LOG_FILE = "agent.safetensors", "state.safetensors", "config.json", "log.csv"
LOG_FIELDS = ("transitions", "reward", "loss", "value", "transitions_per_s", "network_share")

_EPISODES, _EXPLORING, _SAMPLING, _DROPPING = range(4)
"""Streams of chance. Each draw is seeded by what it is for and its position, so a resumed run draws the same."""

_LOSSES = {"squared": functional.mse_loss, "huber": functional.smooth_l1_loss}

_FEATURE_BYTES = 512 * 2**20
"""Memory for the features of an encoder that does not learn."""


def new_qnet(config: AgentConfig, network: StructuralRelationNetwork) -> QNet:
    """The Q-net that a run starts with; its weights depend on the config's seed (and the network) alone."""
    encoder = config.encoder or network.config.encoder
    if config.pretrained and encoder != network.config.encoder:
        raise InputError.at("encoder", f"the frozen network's {network.config.encoder}, or a random start", encoder)
    torch.manual_seed(config.seed)
    if config.pretrained:
        qnet = pretrained_qnet(network, config.hidden_size)
    else:
        qnet = QNet(QNetConfig(network.config, encoder, config.hidden_size))
    qnet.encoder.requires_grad_(config.train_encoder)
    qnet.precision = config.precision
    return qnet.to(network.mean_shape.device)


@dataclass
class _Lane:
    """A seat at which one clip after another is played."""

    episode: int
    place: Place


class Learner:
    """Plays clips, remembers, learns: the state of a run and its step.

    Args:
        config: the run.
        world: scenes and rewards.
        qnet: the network that learns.
        memory: features that another learner with the same encoder has kept; its own where None.
    """

    def __init__(
        self, config: AgentConfig, world: OcclusionWorld, qnet: QNet, memory: FeatureMemory | None = None
    ) -> None:
        self.config, self.world, self.qnet = config, world, qnet
        self.target = copy.deepcopy(qnet).requires_grad_(False) if config.target_every else qnet
        self.optimizer = torch.optim.Adam([p for p in qnet.parameters() if p.requires_grad], lr=config.learning_rate)
        self.replay: Replay = (
            MultiQueueReplay(config.replay_clips)
            if config.replay == "multi-queue"
            else SingleQueueReplay(config.capacity)
        )
        self.rounds = self.updates = 0
        self.qnet_seconds = 0.0
        self.memory = None if config.train_encoder else memory or FeatureMemory(qnet, world.scenes)
        self.lanes = [_Lane(0, self._start(lane, 0)) for lane in range(config.lanes)]

    @property
    def transitions(self) -> int:
        """Steps of the process played so far."""
        return self.rounds * self.config.lanes

    def _rng(self, *what: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *what])

    def _start(self, lane: int, episode: int) -> Place:
        """Clip, first index and noise of a lane's n-th episode."""
        rng = self._rng(_EPISODES, lane, episode)
        clip, index = rng.integers(len(self.world.scenes.source)), rng.integers(self.world.scenes.n_points)
        return Place(int(clip), 0, int(index), int(rng.integers(self.config.noise_seeds)))

    def _features(self, places: Sequence[Place]) -> Tensor:
        return place_features(self.qnet, self.world.scenes, places) if self.memory is None else self.memory(places)

    def _target_values(self, places: Sequence[Place], features: Tensor) -> Tensor:
        """Values (B,) by the target network, which shares the features where the encoder does not learn."""
        if self.target is self.qnet or self.memory is not None:
            return self.target.value(features)
        return self.target.value(place_features(self.target, self.world.scenes, places))

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Counts the time inside as the Q-net's, without that of painting the pictures it looks at."""
        begin, painting = time.perf_counter(), self.world.scenes.seconds
        yield
        self.qnet_seconds += time.perf_counter() - begin - (self.world.scenes.seconds - painting)

    def play(self) -> npt.NDArray[np.float64]:
        """One step of every lane, epsilon-greedy (at random before the warm-up is over); returns the rewards (B,)."""
        scenes, count = self.world.scenes, len(self.lanes)
        rng = self._rng(_EXPLORING, self.rounds)
        random, explored = rng.integers(ACTIONS, size=count), rng.random(count)
        candidates = [c for lane in self.lanes for c in scenes.candidates(lane.place)]
        if self.transitions < self.config.warm_up:
            actions = random
        else:
            with self._timed(), torch.no_grad():
                values = self.qnet.value(self._features(candidates)).view(count, ACTIONS)
                best = values.argmax(dim=1).cpu().numpy()
            actions = np.where(explored < self.config.exploration_rate, random, best)
        chosen = [candidates[k * ACTIONS + int(action)] for k, action in enumerate(actions)]
        rewards = self.world.rewards(chosen)
        for number, lane in enumerate(self.lanes):
            done = lane.place.frame + 1 == scenes.length(lane.place.clip)
            transition = Transition(lane.place, int(actions[number]), float(rewards[number]), done)
            self.replay.add(number, lane.episode, transition)
            if done:
                self.lanes[number] = _Lane(lane.episode + 1, self._start(number, lane.episode + 1))
            else:
                lane.place = transition.following(scenes.n_points)
        self.rounds += 1
        return rewards

    def learn(self) -> tuple[float, float]:
        """One update (eq. 12) on experiences drawn from the memory; returns the loss and the mean value.

        Differences, and so the loss, are in units of the rewards' spread (`QNet.scale`).
        """
        config, scenes = self.config, self.world.scenes
        if not self.updates:
            self._start_from_the_rewards()
        batch = self.replay.sample(config.batch_size, self._rng(_SAMPLING, self.updates))
        with self._timed():
            targets = torch.tensor([t.reward for t in batch], device=self.qnet.device)
            going_on = [k for k, t in enumerate(batch) if not (t.done and config.clip_end == "terminal")]
            if going_on:
                targets[going_on] += config.discount * self._future([batch[k] for k in going_on])
            features = self._features([t.chosen(scenes.n_points) for t in batch])
            chance = torch.Generator(features.device)
            chance.manual_seed(int(self._rng(_DROPPING, self.updates).integers(2**63)))
            predicted = self.qnet.value(features, config.dropout, chance)
            differences = (predicted - targets) / self.qnet.scale
            loss = _LOSSES[config.loss](differences, torch.zeros_like(differences))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            numbers = float(loss.detach()), float(predicted.detach().mean())
        self.updates += 1
        if config.target_every and self.updates % config.target_every == 0:
            self.target.load_state_dict(self.qnet.state_dict())
        if not np.isfinite(numbers[0]):
            raise InputError.at(f"update {self.updates}", "a finite loss", f"{numbers[0]} (lower the learning rate)")
        return numbers

    @torch.no_grad()
    def _future(self, transitions: Sequence[Transition]) -> Tensor:
        """max Q of the next frame's candidates (eq. 11), (B,); after a clip's last frame those of that frame itself."""
        scenes = self.world.scenes
        nexts = [(t.chosen if t.done else t.following)(scenes.n_points) for t in transitions]
        following = [candidate for place in nexts for candidate in scenes.candidates(place)]
        features = self._features(following)
        values = self._target_values(following, features).view(-1, ACTIONS)
        if not self.config.double_q:
            return values.max(dim=1).values
        choice = self.qnet.value(features).view(-1, ACTIONS).argmax(dim=1, keepdim=True)
        return values.gather(1, choice)[:, 0]

    def _start_from_the_rewards(self) -> None:
        """Let the values start at the return of the mean reward so far, and give the head the rewards' spread as its
        unit: the first updates need not climb there, and what is learned does not depend on the unit of the reward."""
        rewards = np.array([e.transition.reward for e in self.replay.entries()])
        mean, spread = float(rewards.mean()), float(rewards.std())
        for network in {self.qnet, self.target}:
            network.start_from(mean / max(1 - self.config.discount, 1e-3), spread or 1.0)

    # --- saving

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Everything that a resumed run needs, as tensors and text."""
        tensors = {f"qnet.{name}": t for name, t in self.qnet.state_dict().items()}
        if self.target is not self.qnet:
            tensors |= {f"target.{name}": t for name, t in self.target.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{name}": t for name, t in values.items()}
        tensors["lanes"] = torch.tensor([[lane.episode, *lane.place] for lane in self.lanes], dtype=torch.int64)
        tensors["replay"] = torch.from_numpy(to_table(self.replay.entries()))
        return tensors, {"rounds": str(self.rounds), "updates": str(self.updates)}

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, str]) -> None:
        """Go on from what `state` gave."""

        def part(prefix: str) -> dict[str, Tensor]:
            return {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}

        self.qnet.load_state_dict(part("qnet."))
        if self.target is not self.qnet:
            self.target.load_state_dict(part("target."))
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in part("optimizer.").items():
            index, name = key.split(".", 1)
            moments.setdefault(int(index), {})[name] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": moments})
        self.lanes = [_Lane(episode, Place(*place)) for episode, *place in tensors["lanes"].tolist()]
        for entry in from_table(tensors["replay"].numpy()):
            self.replay.add(*entry)
        self.rounds, self.updates = int(numbers["rounds"]), int(numbers["updates"])

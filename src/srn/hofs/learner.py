"""Deep Q-learning of the agent (equations 11 and 12). The run around it is `srn.hofs.run`."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from srn.errors import InputError
from srn.hofs.config import AgentConfig
from srn.hofs.features import FeatureMemory, place_features
from srn.hofs.qnet import QNet, QNetConfig, pretrained_qnet
from srn.hofs.replay import MultiQueueReplay, Replay, SingleQueueReplay, Transition, from_table, to_table
from srn.hofs.scenes import ACTIONS, Place
from srn.hofs.world import OcclusionWorld
from srn.model.network import StructuralRelationNetwork
from srn.training.runs import optimizer_state, part, restore_optimizer

_EPISODES, _EXPLORING, _SAMPLING, _DROPPING = range(4)
"""Random streams. Each draw is seeded by its stream and its position, so a resumed run draws the same numbers."""

_LOSSES = {"squared": functional.mse_loss, "huber": functional.smooth_l1_loss}


def new_qnet(config: AgentConfig, network: StructuralRelationNetwork) -> QNet:
    """Make the Q-net that a run starts with, on the device of the frozen network.

    Raises:
        InputError: `config` asks for a pre-trained encoder of another kind than the network's.
    """
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
    """One of the clips that are played side by side; episodes count from 0."""

    episode: int
    place: Place


class Update(NamedTuple):
    """The loss of an update, in units of the rewards' spread (`QNet.scale`), and the batch's mean action value."""

    loss: float
    value: float


class Learner:
    """Plays clips, keeps the experience and learns from it.

    Learners with the same frozen encoder may share a `memory` of features; if None, a new one is made.
    """

    def __init__(
        self, config: AgentConfig, world: OcclusionWorld, qnet: QNet, memory: FeatureMemory | None = None
    ) -> None:
        self.config, self.world, self.qnet = config, world, qnet
        self.target = copy.deepcopy(qnet).requires_grad_(False) if config.target_every else qnet
        self.optimizer = torch.optim.Adam([p for p in qnet.parameters() if p.requires_grad], lr=config.learning_rate)
        multi_queue, clips = config.replay == "multi-queue", config.replay_clips
        self.replay: Replay = MultiQueueReplay(clips) if multi_queue else SingleQueueReplay(config.capacity)
        self.rounds = self.updates = 0
        self.qnet_seconds = 0.0
        if memory is None and not config.train_encoder:
            memory = FeatureMemory(qnet, world.scenes)
        self.memory = None if config.train_encoder else memory
        self.lanes = [_Lane(0, self._start(lane, 0)) for lane in range(config.lanes)]

    @property
    def transitions(self) -> int:
        return self.rounds * self.config.lanes

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, *stream])

    def _start(self, lane: int, episode: int) -> Place:
        rng = self._rng(_EPISODES, lane, episode)
        clip, landmark = rng.integers(len(self.world.scenes.source)), rng.integers(self.world.scenes.n_points)
        return Place(int(clip), 0, int(landmark), int(rng.integers(self.config.noise_seeds)))

    def features(self, places: Sequence[Place]) -> Tensor:
        """Encode places (B) with the Q-net's encoder, (B, N * F); a frozen encoder's features are kept."""
        return place_features(self.qnet, self.world.scenes, places) if self.memory is None else self.memory(places)

    def _target_values(self, places: Sequence[Place], features: Tensor) -> Tensor:
        """Values (B,) by the target network, which shares the features where the encoder is frozen."""
        if self.target is self.qnet or self.memory is not None:
            return self.target.value(features)
        return self.target.value(place_features(self.target, self.world.scenes, places))

    @contextmanager
    def _timed(self) -> Iterator[None]:
        """Count the time inside as the Q-net's, except for the rendering."""
        begin, rendering = time.perf_counter(), self.world.scenes.seconds
        yield
        self.qnet_seconds += time.perf_counter() - begin - (self.world.scenes.seconds - rendering)

    def play(self) -> npt.NDArray[np.float64]:
        """Play one step of every lane, epsilon-greedy, or at random during the warm-up; return the rewards (B,)."""
        scenes, count = self.world.scenes, len(self.lanes)
        rng = self._rng(_EXPLORING, self.rounds)
        random, explored = rng.integers(ACTIONS, size=count), rng.random(count)
        candidates = [c for lane in self.lanes for c in scenes.candidates(lane.place)]
        if self.transitions < self.config.warm_up:
            actions = random
        else:
            with self._timed(), torch.no_grad():
                values = self.qnet.value(self.features(candidates)).view(count, ACTIONS)
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

    def learn(self) -> Update:
        """Make one update (eq. 12); raise `InputError` if the loss is not finite."""
        config, scenes = self.config, self.world.scenes
        if not self.updates:
            self._start_from_the_rewards()
        batch = self.replay.sample(config.batch_size, self._rng(_SAMPLING, self.updates))
        with self._timed():
            targets = torch.tensor([t.reward for t in batch], device=self.qnet.device)
            going_on = [k for k, t in enumerate(batch) if not (t.done and config.clip_end == "terminal")]
            if going_on:
                targets[going_on] += config.discount * self.future_values([batch[k] for k in going_on])
            features = self.features([t.chosen(scenes.n_points) for t in batch])
            generator = torch.Generator(features.device)
            generator.manual_seed(int(self._rng(_DROPPING, self.updates).integers(2**63)))
            predicted = self.qnet.value(features, config.dropout, generator)
            differences = (predicted - targets) / self.qnet.scale
            loss = _LOSSES[config.loss](differences, torch.zeros_like(differences))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            update = Update(float(loss.detach()), float(predicted.detach().mean()))
        self.updates += 1
        if config.target_every and self.updates % config.target_every == 0:
            self.target.load_state_dict(self.qnet.state_dict())
        if not np.isfinite(update.loss):
            raise InputError.at(f"update {self.updates}", "a finite loss", f"{update.loss} (lower the learning rate)")
        return update

    @torch.no_grad()
    def future_values(self, transitions: Sequence[Transition]) -> Tensor:
        """Compute max Q of the next frame's candidates (eq. 11), (B,).

        After a clip's last frame, the candidates are those of that frame itself.
        """
        scenes = self.world.scenes
        nexts = [(t.chosen if t.done else t.following)(scenes.n_points) for t in transitions]
        following = [candidate for place in nexts for candidate in scenes.candidates(place)]
        features = self.features(following)
        values = self._target_values(following, features).view(-1, ACTIONS)
        if not self.config.double_q:
            return values.max(dim=1).values
        choice = self.qnet.value(features).view(-1, ACTIONS).argmax(dim=1, keepdim=True)
        return values.gather(1, choice)[:, 0]

    def _start_from_the_rewards(self) -> None:
        """Initialize the values at the return of the mean reward, in units of the rewards' spread.

        So the first updates need not climb there, and learning does not depend on the unit of the reward.
        """
        rewards = np.array([e.transition.reward for e in self.replay.entries()])
        mean, spread = float(rewards.mean()), float(rewards.std())
        for network in {self.qnet, self.target}:
            network.start_from(mean / max(1 - self.config.discount, 1e-3), spread or 1.0)

    def state(self) -> tuple[dict[str, Tensor], dict[str, str]]:
        """Give everything that a resumed run needs."""
        tensors = {f"qnet.{name}": t for name, t in self.qnet.state_dict().items()}
        if self.target is not self.qnet:
            tensors |= {f"target.{name}": t for name, t in self.target.state_dict().items()}
        tensors |= optimizer_state(self.optimizer)
        tensors["lanes"] = torch.tensor([[lane.episode, *lane.place] for lane in self.lanes], dtype=torch.int64)
        tensors["replay"] = torch.from_numpy(to_table(self.replay.entries()))
        tensors["errors"] = torch.from_numpy(self.world.known_errors())
        return tensors, {"rounds": str(self.rounds), "updates": str(self.updates)}

    def restore(self, tensors: dict[str, Tensor], numbers: dict[str, str]) -> None:
        """Continue from what `state` gave."""
        self.qnet.load_state_dict(part(tensors, "qnet."))
        if self.target is not self.qnet:
            self.target.load_state_dict(part(tensors, "target."))
        restore_optimizer(self.optimizer, tensors)
        self.lanes = [_Lane(episode, Place(*place)) for episode, *place in tensors["lanes"].tolist()]
        for entry in from_table(tensors["replay"].numpy()):
            self.replay.add(*entry)
        if "errors" in tensors:  # absent from older files
            self.world.keep_errors(tensors["errors"].numpy())
        self.rounds, self.updates = int(numbers["rounds"]), int(numbers["updates"])

"""The run of an agent's training, on the run machine of `srn.training.runs`."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn

from srn.errors import InputError, WeightsError
from srn.evaluation.run_folder import AGENT_FILE, CONFIG_FILE
from srn.face.localizer import Localizer
from srn.files import interruptions_held
from srn.hofs.agent import Agent
from srn.hofs.clips import ClipSource
from srn.hofs.config import AgentConfig
from srn.hofs.learner import Learner, Update, new_qnet
from srn.hofs.qnet import QNetConfig
from srn.hofs.scenes import NOWHERE, Place, Scenes
from srn.hofs.world import OcclusionWorld
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork
from srn.settings import with_settings
from srn.training.runs import Run, RunLog, check_kept, check_kept_settings, choose_device, continues, open_run, part

LOG_FIELDS = ("transitions", "reward", "loss", "value", "transitions_per_s", "network_share")


def agent_config(
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    transitions: int | None = None,
    seed: int | None = None,
    frames: int | None = None,
    clips: int | None = None,
    changes: Sequence[str] = (),
) -> AgentConfig:
    """Choose the recipe of a run: that of the folder's run to resume, or a new one with `changes` (`with_settings`).

    Raises:
        InputError: a change does not fit, has no effect, or is given for a run that is resumed, as are another seed
            and other clips, or the folder holds another run.
    """
    if continues(Path(out), resume):
        config = AgentConfig.load(Path(out) / CONFIG_FILE)
        check_kept_settings(config, changes)
        check_kept("--seed", seed, config.seed)
        if config.frames is not None:
            check_kept("--frames", frames, config.frames)
            check_kept("--clips", clips, config.clips)
    else:
        config = with_settings(AgentConfig(seed=seed or 0), changes)
        unused = "capacity" if config.replay == "multi-queue" else "replay_clips"
        for change in changes:
            if change.partition("=")[0] == unused:
                raise InputError.at(f"--set {change}", "another replay, which uses it", config.replay)
    return dataclasses.replace(
        config,
        transitions=transitions or config.transitions,
        frames=frames or config.frames,
        clips=clips or config.clips,
    )


def network_digest(network: nn.Module) -> str:
    """Hash a network's weights in 16 characters."""
    content = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        content.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


class _Rounds:
    """Runs a learner, and sums up rewards, updates and time since the last row of the log."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        self._reset()

    def _reset(self) -> None:
        self.rewards: list[float] = []
        self.updates: list[Update] = []
        self._restored = 0  # rewards of an earlier process
        self._start, self._network_start = time.perf_counter(), self._network_seconds()

    def _network_seconds(self) -> float:
        return self.learner.world.network_seconds + self.learner.qnet_seconds

    def state(self) -> dict[str, Tensor]:
        return {"log.rewards": torch.tensor(self.rewards), "log.updates": torch.tensor(self.updates)}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue a row of the log in which a run was interrupted."""
        rows = part(tensors, "log.")
        if rows:  # absent from older files
            self.rewards = rows["rewards"].tolist()
            self.updates = [Update(*update) for update in rows["updates"].tolist()]
            self._restored = len(self.rewards)

    def round(self) -> None:
        """Play one step of every lane, and learn from the experience once the warm-up is over."""
        learner = self.learner
        self.rewards += learner.play().tolist()
        if learner.transitions >= learner.config.warm_up:
            self.updates += [learner.learn() for _ in range(learner.config.updates)]

    def row(self) -> tuple[dict[str, str], str]:
        """Give a row of the log and its status line, and start the next row."""
        elapsed, share = time.perf_counter() - self._start, self._network_seconds() - self._network_start
        loss, value = np.mean(self.updates, axis=0) if self.updates else (np.nan, np.nan)
        numbers = (np.mean(self.rewards), loss, value, (len(self.rewards) - self._restored) / elapsed, share / elapsed)
        texts = ("" if np.isnan(number) else f"{number:.6g}" for number in numbers)
        status = f"reward {numbers[0]:.4f}  {numbers[3]:.0f} transitions/s"
        self._reset()
        return dict(zip(LOG_FIELDS, (str(self.learner.transitions), *texts), strict=True)), status


def train_agent(
    config: AgentConfig,
    source: ClipSource,
    network: StructuralRelationNetwork,
    out: str | os.PathLike[str],
    *,
    localizer: Localizer | None = None,
    resume: bool = False,
    device: str = "auto",
    log_every: int = 20,
    save_every: int = 200,
    console: Console | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Path:
    """Train an agent against a frozen network.

    The folder `out` gets `agent.safetensors` and the files of `srn.training.loop.train`; an interruption is as there.

    Args:
        config: the recipe.
        source: the clips.
        network: the frozen network; the Q-net has its crops and, if `config.pretrained`, its encoder.
        out, resume, console: see `srn.training.loop.train`.
        localizer: computes the rewards; `network` if None.
        device: `auto`, `cpu`, `cuda`, ...
        log_every, save_every: rounds (steps of all lanes) between rows of the log, and between saves.
        provenance: text to keep in the agent's file, whose path is returned.

    Raises:
        InputError: the folder holds another run or is in use, or the clips do not fit the network.
        WeightsError: the run to resume was another one.
    """
    with open_run(out, resume=resume) as run:
        learner = _new_learner(config, source, network, localizer, choose_device(device))
        own = {"clips": source.name, "network": network_digest(network), "seed": str(config.seed)}
        rounds = _Rounds(learner)
        _restore(learner, rounds, run, own)
        facts = {**(provenance or {}), **own, "qnet": learner.qnet.config.to_json()}
        config.save(run.folder / CONFIG_FILE)
        with RunLog(
            run, LOG_FIELDS, done=learner.transitions, total=config.played, unit="transitions",
            console=console or Console(stderr=True),
        ) as log:  # fmt: skip
            _play(rounds, log, lambda: _save(learner, rounds, run, facts), log_every, save_every)
            if not learner.updates:
                log.say(f"nothing was learned: {config.warm_up} transitions are played before that (warm_up)")
        if not (run.folder / AGENT_FILE).exists():  # resumed at its end
            _save(learner, rounds, run, facts)
        return run.folder / AGENT_FILE


def _play(rounds: _Rounds, log: RunLog, save: Callable[[], None], log_every: int, save_every: int) -> None:
    """Play the rounds of a run."""
    learner = rounds.learner
    whole = learner.config.played
    try:
        while learner.transitions < whole:
            with interruptions_held():
                rounds.round()
                last = learner.transitions >= whole
                if learner.rounds % log_every == 0 or last:
                    log.write(*rounds.row())
                if learner.rounds % save_every == 0 or last:
                    save()
    except KeyboardInterrupt:
        with interruptions_held():
            save()
            log.say(f"saved after {learner.transitions} of {whole} transitions")
        raise


def _new_learner(
    config: AgentConfig,
    source: ClipSource,
    network: StructuralRelationNetwork,
    localizer: Localizer | None,
    device: torch.device,
) -> Learner:
    network = network.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
    scenes = Scenes(source, config.patch_size, clips_kept=max(64, 4 * config.lanes))
    localizer = localizer or TorchLocalizer(network, precision=config.precision)
    world = OcclusionWorld(scenes, localizer, reward=config.reward)
    qnet = new_qnet(config, network)
    if not config.pretrained:
        numbers = np.linspace(0, len(source) - 1, min(len(source), 16)).astype(int).tolist()
        qnet.calibrate(*scenes.render([Place(number, 0, NOWHERE, 0) for number in numbers]))
    return Learner(config, world, qnet)


def _save(learner: Learner, rounds: _Rounds, run: Run, facts: Mapping[str, str]) -> None:
    counts = {"transitions": str(learner.transitions), "updates": str(learner.updates)}
    Agent(learner.qnet, learner.config.patch_size).save(run.folder / AGENT_FILE, {**facts, **counts})
    tensors, numbers = learner.state()
    run.save_state(tensors | rounds.state(), {**facts, **numbers})


def _restore(learner: Learner, rounds: _Rounds, run: Run, own: Mapping[str, str]) -> None:
    saved = run.saved_state(own)
    if saved is None:
        return
    tensors, text = saved
    # Compared as read: an older file may name or order the parts of the same description in another way.
    expected, found = learner.qnet.config, QNetConfig.from_json(text["qnet"])
    if found != expected:
        raise WeightsError.at(run.folder, f"a run with qnet {expected.to_json()}", text["qnet"])
    learner.restore(tensors, text)
    if learner.transitions > learner.config.played:
        least = f"at least the {learner.transitions} that the run has played"
        raise InputError.at("transitions", least, str(learner.config.transitions))
    rounds.restore(tensors)

"""The run of an agent's training: its folder, log, saves and resuming."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from srn.errors import InputError, WeightsError
from srn.face.localizer import Localizer
from srn.files import CsvLog
from srn.hofs.agent import Agent
from srn.hofs.clips import ClipSource
from srn.hofs.config import AgentConfig
from srn.hofs.learner import Learner, Update, new_qnet
from srn.hofs.qnet import QNetConfig
from srn.hofs.scenes import NOWHERE, Place, Scenes
from srn.hofs.world import OcclusionWorld
from srn.model.checkpoint import load_tensors, save_tensors
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork

AGENT_FILE, STATE_FILE, CONFIG_FILE, LOG_FILE = "agent.safetensors", "state.safetensors", "config.json", "log.csv"
LOG_FIELDS = ("transitions", "reward", "loss", "value", "transitions_per_s", "network_share")


def network_digest(network: StructuralRelationNetwork) -> str:
    """Hash a network's weights in 16 characters: a run's record of the network that it was trained against."""
    content = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        content.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return content.hexdigest()[:16]


def check_agent_folder(folder: Path, resume: bool) -> None:
    """Raise `InputError` where a new run would write over another one."""
    if not resume and (folder / STATE_FILE).exists():
        raise InputError.at(folder, "an empty or new folder (or --resume)", "a run that was already started there")


def choose_device(name: str) -> torch.device:
    """`auto`: a CUDA device where there is one, else the CPU."""
    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


class _Meter:
    """Rewards, updates and time since the last row of the log."""

    def __init__(self, learner: Learner) -> None:
        self._learner = learner
        self._reset()

    def _reset(self) -> None:
        self.rewards: list[float] = []
        self.updates: list[Update] = []
        self._start, self._network_start = time.perf_counter(), self._network_seconds()

    def _network_seconds(self) -> float:
        return self._learner.world.network_seconds + self._learner.qnet_seconds

    def row(self) -> dict[str, str]:
        """Give a row of the log and start the next one; what is unknown stays empty."""
        elapsed, share = time.perf_counter() - self._start, self._network_seconds() - self._network_start
        loss, value = np.mean(self.updates, axis=0) if self.updates else (np.nan, np.nan)
        numbers = (np.mean(self.rewards), loss, value, len(self.rewards) / elapsed, share / elapsed)
        texts = ("" if np.isnan(number) else f"{number:.6g}" for number in numbers)
        self._reset()
        return dict(zip(LOG_FIELDS, (str(self._learner.transitions), *texts), strict=True))


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
    progress: Callable[[int, dict[str, str]], None] | None = None,
    provenance: dict[str, str] | None = None,
) -> Path:
    """Train an agent against a frozen network.

    The folder `out` gets `config.json`, `state.safetensors` (everything a resumed run needs), `agent.safetensors` and
    `log.csv`. A process killed at any moment loses only the steps since the last save.

    Args:
        config: the run.
        source: the clips.
        network: the frozen network; the Q-net has its crops and, if `config.pretrained`, its encoder.
        out: folder of the run.
        localizer: computes the rewards; `network` if None.
        resume: continue from the last save in `out`; without one the run starts from the beginning.
        device: `auto`, `cpu`, `cuda`, ...
        log_every, save_every: rounds (steps of all lanes) between rows of the log, and between saves.
        progress: called with the transitions played and each new row of the log.
        provenance: text to keep in the agent's file.

    Returns:
        Path of `agent.safetensors`.

    Raises:
        InputError: the folder holds another run, or the clips do not fit the network.
        WeightsError: the run to resume was another one.
    """
    folder = Path(out)
    check_agent_folder(folder, resume)
    learner = _new_learner(config, source, network, localizer, choose_device(device))
    folder.mkdir(parents=True, exist_ok=True)
    own = {
        "clips": source.name, "network": network_digest(network), "qnet": learner.qnet.config.to_json(),
        "seed": str(config.seed),
    }  # fmt: skip
    if resume and (folder / STATE_FILE).exists():
        _restore(learner, folder / STATE_FILE, own)
    config.save(folder / CONFIG_FILE)
    log = CsvLog(folder / LOG_FILE, LOG_FIELDS, learner.transitions)
    meter = _Meter(learner)
    while learner.transitions < config.transitions:
        meter.rewards += learner.play().tolist()
        if learner.transitions >= config.warm_up:
            meter.updates += [learner.learn() for _ in range(config.updates)]
        last = learner.transitions >= config.transitions
        if learner.rounds % log_every == 0 or last:
            row = meter.row()
            log.append(row)
            if progress is not None:
                progress(learner.transitions, row)
        if learner.rounds % save_every == 0 or last:
            _save(learner, folder, {**(provenance or {}), **own})
    if not (folder / AGENT_FILE).exists():  # resumed at its end
        _save(learner, folder, {**(provenance or {}), **own})
    return folder / AGENT_FILE


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


def _save(learner: Learner, folder: Path, facts: dict[str, str]) -> None:
    # The agent first: the state names the step that a resumed run starts from, so it comes last.
    counts = {"transitions": str(learner.transitions), "updates": str(learner.updates)}
    Agent(learner.qnet, learner.config.patch_size).save(folder / AGENT_FILE, {**facts, **counts})
    tensors, numbers = learner.state()
    save_tensors(folder / STATE_FILE, tensors, {**facts, **numbers})


def _restore(learner: Learner, path: Path, own: dict[str, str]) -> None:
    tensors, metadata = load_tensors(path)
    for name, expected in own.items():
        found = metadata.get(name, expected)
        if name == "qnet":  # an older file may order or name the parts of the same description in another way
            found = QNetConfig.from_json(found).to_json()
        if found != expected:
            raise WeightsError.at(path, f"a run with {name} {expected}", found)
    learner.restore(tensors, metadata)

"""The training loop: interruptible at any step, resumable with identical numbers, on one or several devices."""

from __future__ import annotations

import copy
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.utils.data import DataLoader

from srn.datasets.pack import FacePack, mean_shape
from srn.errors import InputError, WeightsError
from srn.evaluation.run_folder import CONFIG_FILE, STATE_FILE, WEIGHTS_FILE
from srn.files import interruptions_held
from srn.model.checkpoint import adapted, save_network
from srn.model.config import ModelConfig
from srn.model.network import StructuralRelationNetwork
from srn.model.precision import Precision, runs_low
from srn.synthesis.animate import MovingFace
from srn.synthesis.augment import TrainingFace
from srn.training.averaging import WeightAverage
from srn.training.balance import balance_weights
from srn.training.clips import ClipTask
from srn.training.config import TrainConfig
from srn.training.loss import LossTerms
from srn.training.memory import DividedBatches
from srn.training.runs import (
    Processes,
    Run,
    RunLog,
    choose_device,
    open_run,
    optimizer_state,
    part,
    process_group,
    restore_optimizer,
)
from srn.training.stream import batches, split_validation
from srn.training.tasks import FaceTask, Score, Task

LOG_FIELDS = ("step", "faces", "rate", "loss", "nme", "coarse_nme", "visibility_loss", "scale_loss", "validation_nme",
              "validation_jitter", "faces_per_s", "waiting_share")  # fmt: skip


@dataclass(frozen=True)
class Schedule:
    """Steps between log rows, saves and validations, and the hardware. None of it changes the numbers learned."""

    log_every: int = 50
    save_every: int = 500
    validate_every: int = 1000
    workers: int | None = None  # None: as many as suit the machine
    device: str = "auto"
    precision: Precision = "auto"
    tensorboard: bool = True


class Occluder(Protocol):
    """A `ClipOccluder` whose method `face` is a `FaceOccluder`."""

    def face(self, face: TrainingFace, rng: np.random.Generator) -> TrainingFace: ...

    def __call__(self, clip: MovingFace, rng: np.random.Generator) -> MovingFace: ...


def train(
    config: TrainConfig,
    pack: FacePack,
    out: str | os.PathLike[str],
    *,
    occluder: Occluder | None = None,
    initial: StructuralRelationNetwork | None = None,
    resume: bool = False,
    schedule: Schedule | None = None,
    console: Console | None = None,
    provenance: Mapping[str, str] | None = None,
) -> Path:
    """Train a network on faces, or on clips where the config has them.

    The folder `out` gets `config.json`, `state.safetensors` (everything that a resumed run needs),
    `weights.safetensors` (the averaged network), `log.csv`, TensorBoard's files and sheets of predictions. A process
    killed at any moment loses the steps since the last save and nothing else. Ctrl-C and SIGTERM wait for the end of a
    step, which is saved. A batch that does not fit the memory is learned in parts (`DividedBatches`).

    Args:
        config: the run.
        pack: the faces; `config.validation` of them are kept from training.
        out: folder of the run.
        occluder: occludes a share of the faces or clips (HOFS).
        initial: network to start from, `adapted` to the run's; random weights if None.
        resume: continue from the last save in `out`, if there is one.
        schedule: its defaults if None.
        console: shows progress; the standard error stream if None.
        provenance: text to keep in the weights file, whose path is returned. A resumed run keeps what it began with;
            an entry `initial`, where both have one, has to be the same.

    Raises:
        InputError: folder, faces or batch size do not fit.
        WeightsError: the state to resume is of another network or other faces.
    """
    schedule = schedule or Schedule()
    device = choose_device(schedule.device)
    torch.backends.cudnn.benchmark = device.type == "cuda"  # crops have one size: the fastest convolutions are kept
    if pack.scheme.name != config.model.scheme_name:
        raise InputError.at("training faces", f"{config.model.scheme_name} landmarks", pack.scheme.name)
    with process_group(device) as group, open_run(out, resume=resume, writes=group.rank == 0) as run:
        learner = _Learner(config, _task(config, occluder), pack, initial, device, group, provenance or {})
        first_step = learner.resume(run)
        log: AbstractContextManager[RunLog | None] = nullcontext()
        if run.writes:
            if first_step == config.steps != TrainConfig.load(run.folder / CONFIG_FILE).steps:
                # It is made shorter, to what it has done: its weights were saved on the way, not calibrated.
                learner.save(run, first_step)
            config.save(run.folder / CONFIG_FILE)
            log = RunLog(
                run, LOG_FIELDS, done=first_step, total=config.steps, unit="steps",
                console=console or Console(stderr=True), tensorboard=schedule.tensorboard, line_end="\r\n",
            )  # fmt: skip
        with log as opened:
            _learn(learner, run, opened, schedule, first_step)
    return run.folder / WEIGHTS_FILE


def _learn(learner: _Learner, run: Run, log: RunLog | None, schedule: Schedule, first_step: int) -> None:
    """Take the steps of a run: load, learn, log, validate, save."""
    config, task, device = learner.config, learner.task, learner.device
    low = runs_low(schedule.precision, device)
    module = learner.module()
    meter, done = learner.meter, first_step
    saved = first_step if run.continues else None

    def cost(examples: Sequence[Tensor]) -> LossTerms:
        terms = task.loss(module, examples, device, low)
        if device.type == "cpu":
            # The CPU's backward pass crashes on sampling positions that are no numbers. A GPU's does not, and reading a
            # value there would stall its queue.
            _require_finite(float(terms.total.detach()), done + 1)
        return terms

    divided = DividedBatches(cost, learner.clear, log.say if log else print, can_divide=learner.group.size == 1)
    if run.writes and saved is None:  # so that, whatever happens, --resume starts from these weights
        learner.save(run, 0)
    meter.wait()
    try:
        with interruptions_held():  # workers that are half started cannot be ended in order
            loaded = iter(learner.batches(first_step, schedule.workers))
        for batch in loaded:
            with interruptions_held():
                meter.loaded()
                meter.add(divided.gradient(batch))
                learner.step(done)
                done += 1
                last = done == config.steps
                if done % schedule.log_every == 0 or last:
                    row = meter.row(done)
                    if log is not None:
                        _require_finite(row["loss"], done)
                        score = learner.validate(run, done) if done % schedule.validate_every == 0 or last else None
                        log.write(*_entry(row, score), line=done % (10 * schedule.log_every) == 0 or last)
                    meter.restart()
                if run.writes and (done % schedule.save_every == 0 or last):
                    learner.save(run, done)
                    saved = done
                meter.wait()
    except KeyboardInterrupt:
        if log is not None and saved != done:
            with interruptions_held():
                learner.save(run, done)
                log.say(f"saved after {done} of {config.steps} steps")
        raise


def _task(config: TrainConfig, occluder: Occluder | None) -> Task:
    if config.clips is None:
        return FaceTask(config, None if occluder is None else occluder.face)
    return ClipTask(config, config.clips, occluder)


def _entry(row: Mapping[str, float], score: Score | None) -> tuple[dict[str, float | str], str]:
    """Complete a row of the log by a validation's result, and sum it up in a few words."""
    status = f"NME {row['nme']:.2%}  {row['faces_per_s']:.0f} faces/s  waiting {row['waiting_share']:.0%}"
    if score is None:
        return {**row, "validation_nme": "", "validation_jitter": ""}, status
    jitter = "" if score.jitter is None else score.jitter
    status += f"  validation NME {score.nme:.2%}"
    return {**row, "validation_nme": score.nme, "validation_jitter": jitter}, status


def _require_finite(loss: float, step: int) -> None:
    if not np.isfinite(loss):
        raise InputError.at(f"step {step}", "a finite loss", f"{loss} (lower the learning rate)")


class _Learner:
    """The network, its weight average and its optimizer: all that changes from step to step, and is saved."""

    def __init__(
        self,
        config: TrainConfig,
        task: Task,
        pack: FacePack,
        initial: StructuralRelationNetwork | None,
        device: torch.device,
        group: Processes,
        provenance: Mapping[str, str],
    ) -> None:
        if config.batch_size % (group.size * task.faces_each):
            each = f" with {task.faces_each} faces an example" if task.faces_each > 1 else ""
            raise InputError.at("batch_size", f"a multiple of the {group.size} processes{each}", str(config.batch_size))
        self._training, self._validation = split_validation(pack, config.validation, videos=config.videos)
        self.config, self.task, self.device, self.group = config, task, device, group
        self._facts = {**provenance, "pack": pack.digest(), "training_faces": str(len(self._training))}
        torch.manual_seed(config.seed)
        if initial is not None and initial.config != config.model:
            initial = adapted(initial, config.model, mean_shape(self._training))
        network = initial or StructuralRelationNetwork(config.model, mean_shape(self._training))
        self._evaluated = copy.deepcopy(network).to(device).eval()
        self._network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        for part_name in config.frozen:
            _part_of(self._network, part_name).requires_grad_(False)
        self._average = WeightAverage(network, config.averaging)
        decayed = {"params": [p for p in network.parameters() if p.ndim >= 2], "weight_decay": config.weight_decay}
        others = {"params": [p for p in network.parameters() if p.ndim < 2], "weight_decay": 0.0}
        self._optimizer = torch.optim.AdamW([decayed, others], lr=config.learning_rate, fused=True)
        self.meter = _Meter(config, device, group)

    def module(self) -> nn.Module:
        """Return the module that a step runs, in training mode, shared by the processes that train together."""
        devices = [self.device] if self.device.type == "cuda" else None
        if self.group.size > 1 and devices:
            self._network = nn.SyncBatchNorm.convert_sync_batchnorm(self._network)
        module = self.task.module(self._network).train()
        for name in self.config.frozen:
            _part_of(self._network, name).eval()
        if self.group.size == 1:
            return module
        idle = self._network.hsrm.has_idle_layer  # to look for one takes time, and PyTorch warns where there is none
        return nn.parallel.DistributedDataParallel(module, device_ids=devices, find_unused_parameters=idle)

    def batches(self, first_step: int, workers: int | None) -> DataLoader[tuple[Tensor, ...]]:
        """Load this process's share of the batches, from a step to the run's last."""
        config = self.config
        weights = balance_weights(self._training, config.balance) if config.balance else None
        return batches(
            self.task.stream(self._training, weights), first_step, config.steps,
            config.batch_size // self.task.faces_each, workers=workers,
            rank=self.group.rank, world_size=self.group.size, pin_memory=self.device.type == "cuda",
        )  # fmt: skip

    def clear(self) -> None:
        self._optimizer.zero_grad(set_to_none=True)

    def step(self, step: int) -> None:
        """Learn from the gradient of a step, counted from 0."""
        for group in self._optimizer.param_groups:
            group["lr"] = self.config.rate(step)
        nn.utils.clip_grad_norm_(self._network.parameters(), self.config.clip_norm)
        self._optimizer.step()
        self._average.update(self._network, step)

    def _averaged(self) -> StructuralRelationNetwork:
        self._evaluated.load_state_dict(self._average.tensors)
        return self._evaluated

    def validate(self, run: Run, step: int) -> Score | None:
        """Measure the averaged network on the faces kept from training, if there are any."""
        if self._validation is None:
            return None
        sheet = run.folder / "sheets" / f"{step:07d}.jpg"
        return self.task.validate(self._averaged(), self._validation, self.device, sheet)

    def save(self, run: Run, step: int) -> None:
        """Save the averaged network, its expected errors calibrated at the end of the run, and the state.

        Before the first step, there is no network to save yet.
        """
        config, averaged = self.config, self._averaged()
        seen = {"faces_seen": str(step * config.batch_size), "seed": str(config.seed)}
        if step == config.steps and self._validation is not None:
            seen |= self.task.calibrate(averaged, self._validation, self.device)
        if step:
            save_network(run.folder / WEIGHTS_FILE, averaged, provenance={**self._facts, **seen})
        tensors = {f"network.{name}": t for name, t in self._network.state_dict().items()}
        tensors |= {f"average.{name}": t for name, t in self._average.tensors.items()}
        text = {"step": str(step), "model": config.model.to_json(), **self._facts}
        run.save_state(tensors | optimizer_state(self._optimizer) | self.meter.state(), text)

    def resume(self, run: Run) -> int:
        """Continue from the run's saved state, if there is one; returns the first step to take."""
        saved = run.saved_state({k: v for k, v in self._facts.items() if k in ("pack", "training_faces", "initial")})
        if saved is None:
            return 0
        tensors, text = saved
        self._facts |= {name: value for name, value in text.items() if name not in ("step", "model")}
        model = self.config.model
        # Read, not compared as text: a run from before a setting of the network existed is the same run.
        if "model" in text and ModelConfig.from_json(text["model"]) != model:
            raise WeightsError.at(run.folder / STATE_FILE, f"the network {model.to_json()}", text["model"])
        self._network.load_state_dict(part(tensors, "network."))
        for name, tensor in part(tensors, "average.").items():
            self._average.tensors[name].copy_(tensor)
        restore_optimizer(self._optimizer, tensors)
        self.meter.restore(tensors)
        step = int(text["step"])
        if step > self.config.steps:
            expected = f"at least the {step * self.config.batch_size} that the run has seen"
            raise InputError.at("faces", expected, str(self.config.faces))
        return step


def _part_of(network: nn.Module, name: str) -> nn.Module:
    """Return a part of a network by its name; raise `InputError` if there is none."""
    parts = dict(network.named_children())
    if name not in parts:
        raise InputError.at("frozen", f"parts of the network among {', '.join(parts)}", name)
    return parts[name]


class _Meter:
    """Means of the loss terms and the speed since the last row of the log."""

    def __init__(self, config: TrainConfig, device: torch.device, group: Processes) -> None:
        self._config, self._device, self._group = config, device, group
        self.restart()

    def restart(self) -> None:
        self._terms: list[Tensor] = []
        self._steps = 0  # in this process
        self._waited, self._begin = 0.0, time.monotonic()

    def state(self) -> dict[str, Tensor]:
        return {"log.terms": torch.stack(self._terms)} if self._terms else {}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Continue a row of the log in which a run was interrupted."""
        self._terms += part(tensors, "log.").get("terms", torch.empty(0)).to(self._device)

    def wait(self) -> None:
        self._wait_begin = time.monotonic()

    def loaded(self) -> None:
        self._waited += time.monotonic() - self._wait_begin

    def add(self, terms: LossTerms) -> None:
        self._terms.append(torch.stack([t.float() for t in terms]))
        self._steps += 1

    def row(self, done: int) -> dict[str, float]:
        """Give the log's columns after `done` steps, but for the validation; all processes have to call it."""
        mean = torch.stack(self._terms).mean(0)
        if self._group.size > 1:  # each process has seen its own share of the faces only
            torch.distributed.all_reduce(mean)
            mean /= self._group.size
        elapsed, faces = time.monotonic() - self._begin, self._config.batch_size
        speed = self._steps * faces / elapsed
        values = (done, done * faces, self._config.rate(done - 1), *mean.tolist(), speed, self._waited / elapsed)
        return dict(zip((*LOG_FIELDS[:8], *LOG_FIELDS[-2:]), values, strict=True))

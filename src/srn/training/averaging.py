"""Averages of weights: over the steps of one run, and over several runs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from srn.datasets.pack import FacePack
from srn.errors import WeightsError
from srn.evaluation.cache import name_and_digest
from srn.face.weights import find_weights
from srn.model.checkpoint import save_network
from srn.model.export import load_weights
from srn.training.config import TrainConfig
from srn.training.stream import split_validation
from srn.training.tasks import FaceTask


class WeightAverage:
    """Exponential moving average of weights and batch-norm statistics; young averages forget faster."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        self.tensors = {name: t.detach().clone() for name, t in network.state_dict().items()}

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        current = network.state_dict()
        floats = [name for name, tensor in current.items() if tensor.is_floating_point()]
        # All in one call: on a GPU, a call for each of hundreds of tensors takes as long as a small network's step.
        average = get_ema_multi_avg_fn(decay)
        average([self.tensors[name] for name in floats], [current[name] for name in floats], step)
        for name in current.keys() - set(floats):
            self.tensors[name].copy_(current[name])


def average_runs(
    weights: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    config: TrainConfig,
    pack: FacePack,
    provenance: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Average the weights of runs that began from the same ones, and calibrate the expected errors of the mean.

    Such runs lie in one valley of the loss, so their mean is a network too, often a better one than each (Wortsman et
    al., *Model soups*, ICML 2022). The mean of trackers is not calibrated, as they are not.

    Args:
        weights: of the runs, by path or name; those named twice count twice.
        out: the `.safetensors` file.
        config, pack: recipe and faces of the runs; they tell which faces were kept from training.
        provenance: text to keep in the file, whose whole record is returned. It names as `other_packs` the faces that
            some of the runs learned from instead: the calibration may be on faces that these know.

    Raises:
        WeightsError: a file is missing or holds a network of another architecture.
    """
    files = [find_weights(path) for path in weights]
    loaded = [load_weights(file) for file in files]
    mean = loaded[0][0]
    for path, (network, _) in zip(weights, loaded, strict=True):
        if network.config != mean.config:
            raise WeightsError.at(path, f"a network as in {os.fspath(weights[0])}", "another one")
    states = [network.state_dict() for network, _ in loaded]
    stacked = {name: torch.stack([state[name].float() for state in states]) for name in states[0]}
    mean.load_state_dict({name: tensors.mean(dim=0).to(states[0][name].dtype) for name, tensors in stacked.items()})
    training, validation = split_validation(pack, config.validation, videos=config.videos)
    facts = {
        **(provenance or {}),
        "averaged": ", ".join(name_and_digest(file) for file in files),
        "seeds": ", ".join(provenance.get("seed", "?") for _, provenance in loaded),
        "pack": pack.digest(),
        "training_faces": str(len(training)),
    }
    packs = {provenance.get("pack", facts["pack"]) for _, provenance in loaded} - {facts["pack"]}
    if packs:
        facts["other_packs"] = ", ".join(sorted(packs))
    if validation is not None and config.clips is None:
        facts |= FaceTask(config).calibrate(mean.eval(), validation, torch.device("cpu"))
    for name in ("initial", "license"):
        if told := dict.fromkeys(known[name] for _, known in loaded if name in known):
            facts[name] = "; ".join(told)
    save_network(out, mean, provenance=facts)
    return facts

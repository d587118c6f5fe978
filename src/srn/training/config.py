"""What a training run is made of; written into its folder, so that a resumed run is the same run."""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from srn.data.augment import PAPER_AUGMENTATION, AugmentConfig
from srn.data.files import write_atomically
from srn.errors import InputError
from srn.model.config import ModelConfig, preset
from srn.training.loss import LossKind


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        model: the network.
        augmentation: how faces are varied.
        faces: faces to see in all (batch size x steps).
        batch_size: over all devices.
        learning_rate: peak rate of AdamW.
        warm_up: faces over which the rate rises.
        decay_share: share of the run, at its end, over which the rate falls to zero. Before it the rate is constant, so
            that a run can be made longer or shorter while it goes.
        weight_decay: of matrices and convolutions; biases and norms have none.
        averaging: decay of the weight average that is evaluated and saved (the paper: 0.9999).
        loss: see `cascade_loss`.
        balance: how strongly faces of rare shape are drawn more often (`balance_weights`); 0: every face once a pass.
        clip_norm: gradients longer than this are shortened to it.
        validation: faces kept from training, spread evenly over the pack, to follow the run with.
        seed: of weights, order and augmentation.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    faces: int = 400_000
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    warm_up: int = 10_000
    decay_share: float = 0.4
    weight_decay: float = 0.02
    averaging: float = 0.999
    loss: LossKind = "distance"
    balance: float = 0.0
    clip_norm: float = 1.0
    validation: int = 96
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("faces", "batch_size"):
            if getattr(self, name) < 1:
                raise InputError.at(name, "at least 1", str(getattr(self, name)))
        if self.validation < 0:
            raise InputError.at("validation", "no faces or more", str(self.validation))
        if self.loss not in get_args(LossKind):
            raise InputError.at("loss", f"one of {', '.join(get_args(LossKind))}", repr(self.loss))
        if not 0 <= self.decay_share <= 1:
            raise InputError.at("decay_share", "a share between 0 and 1", str(self.decay_share))

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return max(self.faces // self.batch_size, 1)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: a ramp up, a plateau, a straight line down to zero."""
        warm_up = max(self.warm_up // self.batch_size, 1)
        decay = max(round(self.steps * self.decay_share), 1)
        return self.learning_rate * min((step + 1) / warm_up, (self.steps - step) / decay, 1.0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run's description as JSON."""
        write_atomically(path, (json.dumps(dataclasses.asdict(self), indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainConfig:
        """Read a run's description.

        Raises:
            InputError: the file is missing or does not describe a run.
        """
        try:
            values: dict[str, Any] = json.loads(Path(path).read_text())
            model = ModelConfig.from_json(json.dumps(values.pop("model")))
            return cls(model=model, augmentation=AugmentConfig(**values.pop("augmentation")), **values)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, InputError) as error:
            raise InputError.at(path, "a training run's config.json", f"{type(error).__name__}: {error}") from error


def train_config(preset_name: str, **changes: Any) -> TrainConfig:
    """The recipe of a preset, with some values changed; `model_changes` go to the network.

    `paper` is trained as the authors say: their augmentation, Adam at 5e-4 without weight decay, batches of 64, 6.4
    million faces, weights averaged with 0.9999.
    """
    model = preset(preset_name, **changes.pop("model_changes", {}))
    if preset_name.startswith("paper"):
        recipe = TrainConfig(
            model=model,
            augmentation=PAPER_AUGMENTATION,
            faces=6_400_000,
            batch_size=64,
            learning_rate=5e-4,
            weight_decay=0.0,
            averaging=0.9999,
        )
    else:
        recipe = TrainConfig(model=model)
    return dataclasses.replace(recipe, **changes)

"""What a training run is made of; written into its folder, so that a resumed run is the same run."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from srn.errors import InputError
from srn.files import write_atomically
from srn.model.config import ModelConfig, preset
from srn.synthesis.animate import MotionConfig
from srn.synthesis.augment import PAPER_AUGMENTATION, AugmentConfig
from srn.training.loss import LossKind


@dataclass(frozen=True)
class ClipConfig:
    """Learning from clips: the tracker's fine-tuning (section 3.2, equation 13).

    Attributes:
        motion: how annotated faces are brought to life.
        frames: frames T of a clip, through all of which the error is propagated back.
        previous_start: share of the clips in which each frame starts from the previous frame's shape, as a tracker
            does; in the others every frame starts as a picture does (the paper's protocol).
        steadiness: weight of the change of the error from frame to frame (`clip_loss`); 0 is the paper's loss.
        hard_share: share of the clips that a given occluder hides (HOFS); the others are occluded as `motion` says.
        videos: the faces are frames of videos (300VW), packed one after the other: clips are their frames.
    """

    motion: MotionConfig = field(default_factory=MotionConfig)
    frames: int = 8
    previous_start: float = 0.5
    steadiness: float = 0.3
    hard_share: float = 0.5
    videos: bool = False

    def __post_init__(self) -> None:
        if self.frames < 2:
            raise InputError.at("frames of a clip", "at least 2", str(self.frames))
        for name in ("previous_start", "hard_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError.at(name, "a share between 0 and 1", str(getattr(self, name)))
        if self.steadiness < 0:
            raise InputError.at("steadiness", "0 or more", str(self.steadiness))

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ClipConfig:
        """Read what `dataclasses.asdict` wrote, after a round through JSON."""
        motion = dict(values["motion"])
        motion["period"] = tuple(motion["period"])
        return cls(**{**values, "motion": MotionConfig(**motion)})


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Attributes:
        model: the network.
        augmentation: how faces are varied.
        clips: how to learn from clips; None for a run on single faces.
        faces: faces to see in all (batch size x steps); every frame of a clip counts.
        batch_size: over all devices.
        learning_rate: peak rate of AdamW.
        warm_up: faces over which the rate rises; at most a tenth of the run.
        decay_share: share of the run, at its end, over which the rate falls to zero. Before it the rate is constant, so
            that a run can be made longer or shorter while it goes.
        weight_decay: of matrices and convolutions; biases and norms have none.
        averaging: decay of the weight average that is evaluated and saved (the paper: 0.9999).
        loss: see `cascade_loss`.
        balance: how strongly faces of rare shape are drawn more often (`balance_weights`); 0: every face once a pass.
        hard_share: share of the single faces that a given occluder hides (HOFS), instead of what `augmentation` says.
        clip_norm: gradients longer than this are shortened to it.
        validation: faces kept from training, spread evenly over the pack, to follow the run with.
        seed: of weights, order and augmentation.
    """

    model: ModelConfig = field(default_factory=ModelConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    clips: ClipConfig | None = None
    faces: int = 400_000
    batch_size: int = 32
    learning_rate: float = 1.5e-3
    warm_up: int = 10_000
    decay_share: float = 0.4
    weight_decay: float = 0.02
    averaging: float = 0.999
    loss: LossKind = "distance"
    balance: float = 0.0
    hard_share: float = 0.0
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
        for name in ("decay_share", "hard_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError.at(name, "a share between 0 and 1", str(getattr(self, name)))

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return max(self.faces // self.batch_size, 1)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: a ramp up, a plateau, a straight line down to zero."""
        warm_up = max(min(self.warm_up, self.faces // 10) // self.batch_size, 1)
        decay = max(round(self.steps * self.decay_share), 1)
        return self.learning_rate * min((step + 1) / warm_up, (self.steps - step) / decay, 1.0)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the run's description as JSON."""
        values = {**dataclasses.asdict(self), "model": json.loads(self.model.to_json())}
        write_atomically(path, (json.dumps(values, indent=1) + "\n").encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> TrainConfig:
        """Read a run's description.

        Raises:
            InputError: the file is missing or does not describe a run.
        """
        try:
            values: dict[str, Any] = json.loads(Path(path).read_text())
            model = ModelConfig.from_json(json.dumps(values.pop("model")))
            clips = values.pop("clips", None)  # files from before there were any lack it
            return cls(
                model=model,
                augmentation=AugmentConfig(**values.pop("augmentation")),
                clips=None if clips is None else ClipConfig.from_dict(clips),
                **values,
            )
        except (OSError, ValueError, TypeError, KeyError, AttributeError, InputError) as error:
            raise InputError.at(path, "a training run's config.json", f"{type(error).__name__}: {error}") from error


def train_config(preset_name: str, **changes: Any) -> TrainConfig:
    """The recipe of a preset, with some values changed; `model_changes` go to the network.

    `paper` is trained as the authors say: their augmentation, Adam at 5e-4 without weight decay, batches of 64, 6.4
    million faces, weights averaged with 0.9999. `robust`: half of the crops are those that the runtime's second look
    sees, and faces of rare shape are drawn more often.
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
        recipe = TrainConfig(model=model, augmentation=AugmentConfig(second_look=0.5), balance=2.0)
    return dataclasses.replace(recipe, **changes)


def with_settings(config: TrainConfig, settings: Sequence[str]) -> TrainConfig:
    """A recipe with some of its numbers and names set by hand.

    Args:
        config: the recipe.
        settings: such as `weight_decay=0.05`, `loss=wing` or `augmentation.turned=0.2`. A dot leads into a part.

    Raises:
        InputError: no such setting, or a value that it cannot have.
    """
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise InputError.at("--set", "NAME=VALUE", repr(setting))
        config = _with(config, name.split("."), text, setting)
    return config


def _with(part: Any, names: list[str], text: str, setting: str) -> Any:
    """A copy of a dataclass with the value at the end of the names."""
    values = {field.name: getattr(part, field.name) for field in dataclasses.fields(part)}
    # The network is no part: its shape is chosen by presets, and follows from the weights that a run starts from.
    parts = {n: v for n, v in values.items() if isinstance(v, AugmentConfig | ClipConfig | MotionConfig)}
    single = {n: v for n, v in values.items() if isinstance(v, bool | int | float | str)}
    first, *rest = names
    if rest and first in parts:
        return dataclasses.replace(part, **{first: _with(parts[first], rest, text, setting)})
    if rest or first not in single:
        known = ", ".join([*single, *(f"{name}.*" for name in parts)])
        raise InputError.at(f"--set {setting}", f"a name among {known}", repr(".".join(names)))
    kind = type(single[first])
    try:
        value: Any = {"true": True, "false": False}[text.lower()] if kind is bool else kind(text)
        if kind is float and not math.isfinite(value):
            raise ValueError("not finite")
    except (ValueError, KeyError) as error:
        wanted = {bool: "true or false", int: "a whole number", float: "a number"}[kind]
        raise InputError.at(f"--set {setting}", wanted, repr(text)) from error
    return dataclasses.replace(part, **{first: value})


def tracker_config(picture_model: ModelConfig, **changes: Any) -> TrainConfig:
    """The recipe of the tracker's fine-tuning, with some values changed; `clips` of another `ClipConfig` too.

    Args:
        picture_model: the network whose weights the run starts from; only its recurrence is changed (equation 13).
        changes: fields of `TrainConfig`.
    """
    clips: ClipConfig = changes.pop("clips", ClipConfig())
    recipe = TrainConfig(
        model=dataclasses.replace(picture_model, recurrence="frame"),
        clips=clips,
        faces=400_000,
        batch_size=max(64 // clips.frames, 1) * clips.frames,
        learning_rate=4e-4,
        warm_up=8_000,
        decay_share=0.5,
        validation=48,
    )
    return dataclasses.replace(recipe, **changes)

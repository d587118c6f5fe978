"""Configuration of a training run, kept in its folder, and the recipes of presets and tracker."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from srn.model.config import ModelConfig, preset
from srn.settings import Count, Index, NonNegative, Positive, Seed, Settings, Share, at_least
from srn.synthesis.config import PAPER_AUGMENTATION, AugmentConfig, MotionConfig
from srn.training.loss import LossKind


@dataclass(frozen=True)
class ClipConfig(Settings):
    """Learning from clips: the tracker's fine-tuning (section 3.2, equation 13).

    Attributes:
        motion: animation of the faces.
        frames: number T of a clip's frames; the error is propagated back through all of them.
        previous_start: share of the clips in which each frame starts from the previous frame's shape. In the others
            every frame starts as a picture does (the paper's protocol).
        steadiness: weight of the change of the error from frame to frame (`clip_loss`); the paper's loss has 0.
        hard_share: share of the clips that a given occluder occludes (HOFS); the others are occluded by `motion`.
        videos: the faces are frames of videos (300VW), packed one after the other, and the clips consist of them.
    """

    motion: MotionConfig = field(default_factory=MotionConfig)
    frames: Annotated[int, at_least(2)] = 8
    previous_start: Share = 0.5
    steadiness: NonNegative = 0.3
    hard_share: Share = 0.5
    videos: bool = False


@dataclass(frozen=True)
class TrainConfig(Settings):
    """A training run.

    Attributes:
        clips: learning from clips; None for a run on single faces.
        faces: faces to see in all (batch size x steps); every frame of a clip counts.
        batch_size: over all devices.
        learning_rate: peak rate of AdamW.
        warm_up: faces over which the rate rises; at most a tenth of the run.
        decay_share: share of the run, at its end, over which the rate falls to zero. The rate before it is constant, so
            that a run can be made longer or shorter while it goes.
        weight_decay: of matrices and convolutions; biases and norms have none.
        averaging: decay of the weight average that is evaluated and saved (the paper: 0.9999).
        balance: power by which faces of rare shape are drawn more often (`balance_weights`); 0 draws every face once an
            epoch.
        hard_share: share of the single faces that a given occluder occludes (HOFS) instead of `augmentation`.
        clip_norm: longer gradients are shortened to this norm.
        validation: faces kept from training, spread evenly over the pack, to validate on.
        frozen: parts of the network that keep their weights and batch statistics, by attribute: `encoder`, `hsrm`, ...
        seed: of weights, order and augmentation.
        augment_on: `processor`, where workers augment face by face, or `device`: batches, on the GPU that trains. That
            is for an augmentation as the paper's (`DeviceAugmentation`), with the same distributions, not the same
            faces.
    """

    file_kind: ClassVar[str] = "a training run's config.json"
    absent_means: ClassVar[Mapping[str, Any]] = {
        "clips": None,
        "balance": 0.0,
        "hard_share": 0.0,
        "frozen": (),
        "augment_on": "processor",
    }

    model: ModelConfig = field(default_factory=ModelConfig)
    augmentation: AugmentConfig = field(default_factory=AugmentConfig)
    clips: ClipConfig | None = None
    faces: Count = 400_000
    batch_size: Count = 32
    learning_rate: NonNegative = 1.5e-3
    warm_up: Index = 10_000
    decay_share: Share = 0.4
    weight_decay: NonNegative = 0.02
    averaging: Share = 0.999
    loss: LossKind = "distance"
    balance: NonNegative = 0.0
    hard_share: Share = 0.0
    clip_norm: Positive = 1.0
    validation: Index = 96
    frozen: tuple[str, ...] = ()
    seed: Seed = 0
    augment_on: Literal["processor", "device"] = "processor"

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole run."""
        return max(self.faces // self.batch_size, 1)

    @property
    def videos(self) -> bool:
        """Whether the faces are frames of real videos, which belong together."""
        return self.clips is not None and self.clips.videos

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted from 0: a linear rise, a plateau, a linear fall to zero."""
        warm_up = max(min(self.warm_up, self.faces // 10) // self.batch_size, 1)
        decay = max(round(self.steps * self.decay_share), 1)
        return self.learning_rate * min((step + 1) / warm_up, (self.steps - step) / decay, 1.0)


def train_config(preset_name: str, **changes: Any) -> TrainConfig:
    """Make the recipe of a preset.

    `paper` is trained much as the authors describe: flips, rotations and noise patches as theirs, Adam at 5e-4 without
    weight decay, batches of 64, 6.4 million faces, weights averaged with 0.9999 (docs/choices.md). `robust` takes half
    of its crops as the runtime's second pass sees them, and draws faces of rare shape more often. The changes are
    fields of `TrainConfig`, `model_changes` those of the network.
    """
    model = preset(preset_name, **changes.pop("model_changes", {}))
    if preset_name == "paper":
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
        recipe = TrainConfig(model=model, augmentation=AugmentConfig(second_pass=0.5), balance=2.0)
    return dataclasses.replace(recipe, **changes)


def tracker_config(picture_model: ModelConfig, **changes: Any) -> TrainConfig:
    """Make the recipe of a tracker from a picture model: only its recurrence is changed (equation 13)."""
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

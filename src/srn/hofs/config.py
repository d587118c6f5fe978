"""What an agent's training is made of; written into the run's folder, so that a resumed run is the same run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from srn.errors import InputError
from srn.hofs.qnet import EncoderName
from srn.hofs.scenes import PAPER_PATCH_SIZE
from srn.hofs.world import RewardKind
from srn.model.precision import Precision
from srn.settings import Count, Index, NonNegative, Positive, Settings, Share, at_least, below

ReplayKind = Literal["multi-queue", "single-queue"]
LossKind = Literal["squared", "huber"]
ClipEnd = Literal["terminal", "time-limit"]


@dataclass(frozen=True)
class AgentConfig(Settings):
    """The training of an agent; the defaults are what was found best (docs/hofs.md).

    Equations 11 and 12 to the letter are one lane, one update, the loss `squared`, no dropout, `terminal`, neither a
    target network nor double Q, and the reward `nme` or `squared`.

    Attributes:
        transitions: steps of the process to play in all.
        lanes: clips played side by side: their candidates and rewards are computed in one batch.
        discount, exploration_rate: gamma and epsilon.
        replay: the paper's `multi-queue` or DQN's `single-queue`.
        replay_clips: clips K a lane's multi-queue remembers.
        capacity: transitions that the single queue remembers.
        batch_size: transitions of an update.
        updates: updates after each step of all lanes.
        warm_up: transitions played at random before the first update.
        learning_rate: of Adam.
        loss: `squared`, as in eq. 12, or `huber`, which is linear beyond one spread of the rewards, as DQN clips its
            errors: the few faces on which the network fails whole pull less.
        dropout: share of the features, and of the head's inner units, that an update leaves out: an agent sees few
            faces next to its weights.
        clip_end: what follows a clip's last frame. `terminal`: nothing. `time-limit`: the value goes on as if it
            stood still (Pardo et al. 2018): a frame does not tell how many come after it, so that with short clips an
            end that counts makes the same sight worth now ten times its reward and now once.
        target_every: updates after which a target network is renewed; 0: none, the Q-net judges its own future.
        double_q: the Q-net chooses the future action, the target network values it (van Hasselt et al. 2016).
        pretrained: whether the encoder starts as the frozen network's; at random otherwise.
        train_encoder: whether it learns. Where it does not, its features are kept by address and computed once.
        encoder: the Q-net's; the frozen network's own where None.
        hidden_size: width of the Q-net's head.
        reward, patch_size: see `OcclusionWorld` and `Scenes`.
        noise_seeds: how many different noise patches there are.
        precision: of the frozen network's and the encoder's passes. bf16 takes half the time where it is native, and
            its rounding stands against small differences between candidates.
        seed: of weights, clips, starts, exploration and sampling.
    """

    file_kind: ClassVar[str] = "an agent's config.json"
    absent_means: ClassVar[Mapping[str, Any]] = {
        "loss": "squared", "dropout": 0.0, "clip_end": "terminal", "precision": "float32"
    }  # fmt: skip

    transitions: Count = 20_000
    lanes: Count = 16
    discount: Share = 0.9
    exploration_rate: Share = 0.1
    replay: ReplayKind = "multi-queue"
    replay_clips: Count = 3
    capacity: Count = 10_000
    batch_size: Count = 64
    updates: Count = 2
    warm_up: Index = 128
    learning_rate: NonNegative = 1e-4
    loss: LossKind = "huber"
    dropout: Annotated[float, at_least(0), below(1)] = 0.5
    clip_end: ClipEnd = "time-limit"
    target_every: Index = 100
    double_q: bool = True
    pretrained: bool = True
    train_encoder: bool = True
    encoder: EncoderName | None = None
    hidden_size: Count = 256
    reward: RewardKind = "degradation"
    patch_size: Positive = PAPER_PATCH_SIZE
    noise_seeds: Count = 1024
    precision: Precision = "float32"
    seed: Index = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.double_q and not self.target_every:
            raise InputError.at("double_q", "a target network (target_every)", "none")

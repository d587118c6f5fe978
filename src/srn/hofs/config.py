"""The recipe of an agent's training, kept in the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from srn.hofs.scenes import PAPER_PATCH_SIZE
from srn.hofs.world import RewardKind
from srn.model.config import EncoderName, Size
from srn.model.precision import Precision
from srn.settings import Count, Index, NonNegative, Positive, Seed, Settings, Share, at_least, below

LossKind = Literal["squared", "huber"]
ClipEnd = Literal["terminal", "time-limit"]

_FRAMES = 8


@dataclass(frozen=True)
class AgentConfig(Settings):
    """The recipe of an agent's training; the defaults are the best ones measured (docs/hofs.md).

    Equations 11 and 12 to the letter are one lane, one update, the loss `squared`, no dropout, `terminal`, no target
    network, and the reward `nme` or `squared`.

    Attributes:
        transitions: steps to play, at least: all lanes play their last one (`played`).
        lanes: clips played side by side; their candidates and rewards are computed in one batch.
        discount, exploration_rate: gamma and epsilon.
        replay: the paper's `multi-queue` or DQN's `single-queue`.
        replay_clips: clips K in the multi-queue of a lane.
        capacity: transitions in the single queue.
        batch_size: transitions of an update.
        updates: updates after each step of all lanes.
        warm_up: transitions played at random before the first update.
        loss: `huber` is linear beyond one spread of the rewards, so the few faces on which the network fails entirely
            weigh less.
        dropout: see `QNet.value`; the faces are few compared to the weights.
        clip_end: value after a clip's last frame. `terminal`: none. `time-limit`: as if the last frame went on (Pardo
            et al. 2018). A frame does not show how many come after it. So in short clips, an end that counts gives the
            same observation sometimes one reward and sometimes ten.
        target_every: updates after which the target network is renewed; 0: there is none.
        double_q: choose the future action by the Q-net and value it by the target network (van Hasselt et al. 2016);
            without a target network it makes no difference.
        pretrained: start the encoder from the frozen network's; at random otherwise.
        train_encoder: train the encoder too. The features of a frozen encoder are computed once for each place.
        encoder, hidden_size: see `QNetConfig`; the frozen network's encoder if None.
        reward, patch_size: see `OcclusionWorld` and `Scenes`.
        noise_seeds: number of different noise patches.
        precision: arithmetic of the frozen network and the encoder. bf16 takes half the time on a GPU and on
            processors that are faster in it, at the cost of small differences between candidates.
        seed: of weights, starts, exploration and sampling.
        frames: of a clip; short clips show more faces. None in older files, which do not say it.
        clips: number of clips; one for each face if None.
    """

    file_kind: ClassVar[str] = "an agent's config.json"
    absent_means: ClassVar[Mapping[str, Any]] = {
        "loss": "squared", "dropout": 0.0, "clip_end": "terminal", "precision": "float32", "frames": None, "clips": None
    }  # fmt: skip

    transitions: Count = 20_000
    lanes: Size = 16
    discount: Share = 0.9
    exploration_rate: Share = 0.1
    replay: Literal["multi-queue", "single-queue"] = "multi-queue"
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
    seed: Seed = 0
    frames: Count | None = _FRAMES
    clips: Count | None = None

    @property
    def played(self) -> int:
        """Transitions of a whole run: a multiple of the lanes."""
        return -(-self.transitions // self.lanes) * self.lanes

    @property
    def clip_frames(self) -> int:
        """Frames of a clip."""
        return self.frames or _FRAMES

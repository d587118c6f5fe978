"""The Q-net: what an occluded face is worth to the agent, now and later (section 3.2)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor, nn

from srn.errors import InputError, WeightsError
from srn.face.geometry import ImageArray
from srn.model.config import PATCH_FEATURES, ModelConfig
from srn.model.encoder import PatchEncoder, SharedMapEncoder
from srn.model.network import StructuralRelationNetwork
from srn.model.precision import Precision, runs_low
from srn.settings import Count, Settings

EncoderName = Literal["patches", "shared-map"]


@dataclass(frozen=True)
class QNetConfig(Settings):
    """What a Q-net is made of.

    Attributes:
        model: the frozen network whose faces it looks at: scheme, frame, and the sizes of its encoder.
        encoder: `patches`: the paper's patch encoder; `shared-map`: that of the preset `robust`.
        hidden_size: width of the head's inner layer.
    """

    model: ModelConfig
    encoder: EncoderName = "patches"
    hidden_size: Count = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder == "shared-map" and self.model.encoder != "shared-map":
            raise InputError.at("encoder", "patches with a network of patches", self.encoder)

    @property
    def landmark_features(self) -> int:
        """Features of one landmark."""
        return PATCH_FEATURES if self.encoder == "patches" else self.model.landmark_features

    def to_json(self) -> str:
        """Give the JSON form as one line, names sorted."""
        return json.dumps(self.to_dict(), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read the line that `to_json` gives.

        Raises:
            WeightsError: the text does not describe a Q-net.
        """
        try:
            return cls.from_dict(json.loads(text))
        except (AttributeError, TypeError, ValueError, InputError) as error:
            raise WeightsError.at("Q-net config", "a Q-net's description as JSON", f"{error}") from error


class QNet(nn.Module):
    """Patch encoder and head: one occluded face -> one value.

    The encoder reads the occluded frame around every ground-truth landmark (eq. 9), which shows it where the patch
    lies. Batch norm (`shared-map`) always uses its running statistics: a value must not depend on what else is in the
    batch.

    Attributes:
        config: what it is made of.
        precision: of the encoder's passes, not part of the weights. The head always stays in float32: candidates differ
            by less than bf16 can tell at the size of a value.
        scale: () a value of 1 from the head is worth so much reward. Rewards are errors of a few hundredths, and of
            that size the optimizer's steps would be noise: the head works in units of their spread (`start_from`).
    """

    def __init__(self, config: QNetConfig) -> None:
        super().__init__()
        self.config = config
        self.precision: Precision = "float32"
        self.encoder: PatchEncoder | SharedMapEncoder
        if config.encoder == "patches":
            self.encoder = PatchEncoder(batch_norm=config.model.encoder == "patches" and config.model.batch_norm)
        else:
            self.encoder = SharedMapEncoder(config.model)
        features = config.model.scheme.n_points * config.landmark_features
        # The norm puts pre-trained and random features on one scale.
        self.head = nn.Sequential(
            nn.LayerNorm(features), nn.Linear(features, config.hidden_size), nn.ReLU(), nn.Linear(config.hidden_size, 1)
        )
        self.scale: Tensor
        self.register_buffer("scale", torch.ones(()))
        self.train()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for module in self.encoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    @property
    def device(self) -> torch.device:
        """Where its weights are."""
        return next(self.head.parameters()).device

    def images(self, crops: ImageArray) -> Tensor:
        """Crops (B, S, S, 3) uint8 -> (B, 3, S, S) float in [0, 1], on the network's device."""
        return torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).to(self.device).float() / 255

    def features(self, image: Tensor, shape: Tensor) -> Tensor:
        """x at the ground truth: image (B, 3, S, S), landmarks (B, N, 2) -> (B, N * F)."""
        with torch.autocast(image.device.type, torch.bfloat16, enabled=runs_low(self.precision, image.device)):
            maps = self.encoder.prepare(image)
            x: Tensor = self.encoder(maps, shape)
        return x.float().flatten(1)

    def value(self, features: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Features (B, N * F) -> values (B,).

        Args:
            features: what `features` gives.
            dropout: while learning, the share of the features and of the inner units that is left out.
            generator: chance of its own for that, on the features' device.
        """
        norm, inner, activation, last = self.head
        x = _without(norm(features), dropout, generator)
        result: Tensor = last(_without(activation(inner(x)), dropout, generator))
        return result[:, 0] * self.scale

    @torch.no_grad()
    def start_from(self, value: float, spread: float) -> None:
        """Let all values start around `value`, and the head work in units of `spread`; both in units of the reward."""
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        self.scale.fill_(spread)
        last.bias.fill_(value / spread)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        state_dict.setdefault(f"{prefix}scale", torch.ones(()))  # Q-nets of earlier files had no unit of their own
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def forward(self, image: Tensor, shape: Tensor) -> Tensor:
        """Q of occluded faces (B, 3, S, S) with ground-truth landmarks (B, N, 2): (B,)."""
        return self.value(self.features(image, shape))

    @torch.no_grad()
    def calibrate(self, crops: ImageArray, shapes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        """Give a random encoder's batch norms the statistics of some crops; without batch norm nothing happens."""
        norms = [module for module in self.encoder.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over what it sees
            norm.train()
        image = self.images(crops)
        self.features(image, torch.from_numpy(shapes).to(image.device))
        for norm in norms:
            norm.momentum = 0.1
            norm.eval()


def _without(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Dropout by a generator: the draw must depend on the update alone, for a resumed run to repeat it."""
    if share == 0:
        return x
    kept = torch.rand(x.shape, generator=generator, device=x.device) >= share
    return x * kept / (1 - share)


def pretrained_qnet(network: StructuralRelationNetwork, hidden_size: int = 256) -> QNet:
    """A Q-net whose encoder is a copy of the network's own: the paper's way, for either preset. The head is random."""
    qnet = QNet(QNetConfig(network.config, network.config.encoder, hidden_size))
    qnet.encoder.load_state_dict(network.encoder.state_dict())
    return qnet

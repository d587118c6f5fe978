"""The Q-net: the action value of an occluded face (section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from srn.errors import InputError
from srn.face.geometry import ImageArray
from srn.model.config import PATCH_FEATURES, Architecture, EncoderName, ModelConfig
from srn.model.encoder import PatchEncoder, SharedMapEncoder
from srn.model.network import StructuralRelationNetwork
from srn.model.precision import Precision, runs_low
from srn.settings import Count


@dataclass(frozen=True)
class QNetConfig(Architecture):
    """Architecture of a Q-net: kind of its encoder, and width of the head's inner layer.

    `model` is that of the frozen network: its scheme, crops and encoder sizes are used.
    """

    title: ClassVar[str] = "Q-net config"
    file_kind: ClassVar[str] = "a Q-net's description as JSON"

    model: ModelConfig
    encoder: EncoderName = "patches"
    hidden_size: Count = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.encoder == "shared-map" and self.model.encoder != "shared-map":
            raise InputError.at("encoder", "patches with a network of patches", self.encoder)

    @property
    def landmark_features(self) -> int:
        """Number of features F of a landmark."""
        return PATCH_FEATURES if self.encoder == "patches" else self.model.landmark_features


class QNet(nn.Module):
    """Encoder and head: one occluded face -> one value.

    The encoder reads the occluded frame around every ground-truth landmark (eq. 9), which shows the place of the patch.
    Batch norm (`shared-map`) always uses its running statistics, because a value must not depend on the rest of the
    batch.

    Attributes:
        precision: arithmetic of the encoder, not part of the weights. The head stays in float32, because bf16 cannot
            resolve the differences between candidates.
        scale: () reward that a value of 1 from the head stands for. Rewards are errors of a few hundredths, and the
            optimizer's steps would be noise at that size, so the head works in units of their spread (`start_from`).
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
        # The norm brings pre-trained and random features to one scale.
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
        return next(self.head.parameters()).device

    def images(self, crops: ImageArray) -> Tensor:
        """Convert crops (B, S, S, 3) uint8 to (B, 3, S, S) float in [0, 1], on the network's device."""
        return torch.from_numpy(np.ascontiguousarray(crops)).permute(0, 3, 1, 2).to(self.device).float() / 255

    def features(self, image: Tensor, shape: Tensor) -> Tensor:
        """Encode x at the ground truth: image (B, 3, S, S), landmarks (B, N, 2) -> (B, N * F)."""
        with torch.autocast(image.device.type, torch.bfloat16, enabled=runs_low(self.precision, image.device)):
            maps = self.encoder.prepare(image)
            x: Tensor = self.encoder(maps, shape)
        return x.float().flatten(1)

    def value(self, features: Tensor, dropout: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Compute values (B,) from features (B, N * F), of which `dropout` drops a share, and of the inner units."""
        norm, inner, activation, last = self.head
        x = _dropout(norm(features), dropout, generator)
        result: Tensor = last(_dropout(activation(inner(x)), dropout, generator))
        return result[:, 0] * self.scale

    @torch.no_grad()
    def start_from(self, value: float, spread: float) -> None:
        """Initialize all values around `value`, and let the head work in units of `spread`; both are rewards."""
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        self.scale.fill_(spread)
        last.bias.fill_(value / spread)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *arguments: Any) -> None:
        state_dict.setdefault(f"{prefix}scale", torch.ones(()))  # absent from older files
        super()._load_from_state_dict(state_dict, prefix, *arguments)

    def forward(self, image: Tensor, shape: Tensor) -> Tensor:
        return self.value(self.features(image, shape))

    @torch.no_grad()
    def calibrate(self, crops: ImageArray, shapes: np.ndarray[tuple[int, ...], np.dtype[np.float32]]) -> None:
        """Set the batch norms of a random encoder to the statistics of some crops."""
        norms = [module for module in self.encoder.modules() if isinstance(module, nn.BatchNorm2d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # plain mean over all crops
            norm.train()
        image = self.images(crops)
        self.features(image, torch.from_numpy(shapes).to(image.device))
        for norm in norms:
            norm.momentum = 0.1
            norm.eval()


def _dropout(x: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """Dropout with a generator: the draw depends on the update alone, so a resumed run repeats it."""
    if share == 0:
        return x
    kept = torch.rand(x.shape, generator=generator, device=x.device) >= share
    return x * kept / (1 - share)


def pretrained_qnet(network: StructuralRelationNetwork, hidden_size: int = 256) -> QNet:
    """Make a Q-net with a copy of the network's encoder, as in the paper, and a random head."""
    qnet = QNet(QNetConfig(network.config, network.config.encoder, hidden_size))
    qnet.encoder.load_state_dict(network.encoder.state_dict())
    return qnet

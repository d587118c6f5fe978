"""Encoders: features of each landmark from pixels, by patches (the paper) or from a shared feature pyramid."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from srn.model.config import ModelConfig
from srn.model.sampling import Grid, offsets_tensor, sample_patches

PATCH_SIZE = 36
PATCH, FINE, MIDDLE = Grid(PATCH_SIZE, 1.0, 1), Grid(4, 4.0, 4), Grid(3, 10.0, 8)


class PatchEncoder(nn.Module):
    """The paper's encoder: three convolutions on a 36 x 36 patch around every landmark, anew in each iteration.

    36 -> conv 7 x 7 -> 30 -> pool -> 15 -> conv 3 x 3 -> 13 -> pool -> 6 -> conv 3 x 3 -> 4 -> pool -> 2.
    """

    _offsets: Tensor

    def __init__(self, batch_norm: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, 7, bias=not batch_norm)
        self.conv2 = nn.Conv2d(32, 64, 3, bias=not batch_norm)
        self.conv3 = nn.Conv2d(64, 64, 3, bias=not batch_norm)
        self.norm1, self.norm2, self.norm3 = (_norm(channels, batch_norm) for channels in (32, 64, 64))
        self.register_buffer("_offsets", offsets_tensor(PATCH.size, PATCH.spacing), persistent=False)

    def prepare(self, image: Tensor) -> tuple[Tensor, ...]:
        """Return the image: this encoder computes nothing once per face."""
        return (image,)

    def forward(self, maps: tuple[Tensor, ...], shape: Tensor) -> Tensor:
        """Encode the patches at the current shape (B, N, 2) as x (B, N, positions, C)."""
        return self.describe(self.sample(maps, shape))

    def sample(self, maps: tuple[Tensor, ...], shape: Tensor) -> Tensor:
        """Cut the patch around every landmark of a shape (B, N, 2): (B, N, 3, 36, 36)."""
        patches = sample_patches(maps[0], shape, self._offsets)  # (B, 3, N, 36 * 36)
        return patches.transpose(1, 2).unflatten(-1, (PATCH_SIZE, PATCH_SIZE))

    def describe(self, sampled: Tensor) -> Tensor:
        """Encode patches (B, N, 3, 36, 36) as x (B, N, positions, C)."""
        batch, landmarks = sampled.shape[:2]
        # Pixels with their channels side by side: max pooling over rows of a channel took a third of a training step.
        x = sampled.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        # Pooling before the activation gives the same numbers (both are monotonic) at a quarter of the ReLUs.
        for conv, norm in ((self.conv1, self.norm1), (self.conv2, self.norm2), (self.conv3, self.norm3)):
            x = torch.relu(functional.max_pool2d(norm(conv(x)), 2))
        return x.flatten(2).transpose(1, 2).reshape(batch, landmarks, -1, x.shape[1])  # (B, N, 4, 64)


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut (He et al. 2016); the first convolution may halve the resolution.

    A block that changes neither resolution nor width begins as the identity, because its last scale is zero. Deep
    stacks train faster that way, and a block added to a trained network does not change its output.
    """

    def __init__(self, channels_in: int, channels: int, stride: int, batch_norm: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=not batch_norm)
        self.norm1 = _norm(channels, batch_norm)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=not batch_norm)
        self.norm2 = _norm(channels, batch_norm)
        if channels == channels_in and stride == 1:
            self.shortcut: nn.Module = nn.Identity()
            last = self.norm2 if batch_norm else self.conv2
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        else:
            self.shortcut = _conv(channels_in, channels, 1, stride, batch_norm=batch_norm)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


def _norm(channels: int, batch_norm: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if batch_norm else nn.Identity()


def _conv(channels_in: int, channels: int, kernel: int, stride: int = 1, *, batch_norm: bool) -> nn.Sequential:
    conv = nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, bias=not batch_norm)
    return nn.Sequential(conv, _norm(channels, batch_norm))


def _stage(channels_in: int, channels: int, blocks: int, stride: int = 1, *, batch_norm: bool) -> nn.Sequential:
    first = ResidualBlock(channels_in, channels, stride, batch_norm)
    return nn.Sequential(first, *(ResidualBlock(channels, channels, 1, batch_norm) for _ in range(blocks - 1)))


def sample_count(config: ModelConfig) -> int:
    """Return how many numbers a landmark reads from the shared maps."""
    fine, middle, _ = config.map_channels
    return FINE.size**2 * fine + MIDDLE.size**2 * middle


class FeatureMaps(NamedTuple):
    """Feature pyramid: `fine` (B, C4, S/4, S/4), `middle` (B, C8, S/8, S/8), `coarse` (B, C16, S/16, S/16)."""

    fine: Tensor
    middle: Tensor
    coarse: Tensor


class SharedMapEncoder(nn.Module):
    """One feature pyramid per face, sampled around every landmark in every iteration.

    A small residual network goes down to stride 16; a top-down path brings the context back to stride 4. A landmark
    reads 4 x 4 points of the fine map, 4 pixels apart, for precision, and 3 x 3 points of the middle map, 10 pixels
    apart, for context. A linear layer reduces them to the landmark's features, which keeps the following layers small.
    """

    _fine_offsets: Tensor
    _middle_offsets: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        fine, middle, coarse = config.map_channels
        conv, stage = (partial(make, batch_norm=config.batch_norm) for make in (_conv, _stage))
        self.stem = nn.Sequential(
            conv(3, config.stem_channels, 3, 2), nn.ReLU(), conv(config.stem_channels, fine, 3, 2), nn.ReLU()
        )
        self.stage4 = stage(fine, fine, config.blocks[0])
        self.stage8 = stage(fine, middle, config.blocks[1], stride=2)
        self.stage16 = stage(middle, coarse, config.blocks[2], stride=2)
        self.lateral8 = conv(coarse, middle, 1)
        self.merge8 = conv(middle, middle, 3)
        self.lateral4 = conv(middle, fine, 1)
        self.merge4 = conv(fine, fine, 3)
        self.squeeze = nn.Linear(sample_count(config), config.landmark_features)
        self.norm = nn.LayerNorm(config.landmark_features)
        self.register_buffer("_fine_offsets", offsets_tensor(FINE.size, FINE.spacing), persistent=False)
        self.register_buffer("_middle_offsets", offsets_tensor(MIDDLE.size, MIDDLE.spacing), persistent=False)

    def prepare(self, image: Tensor) -> FeatureMaps:
        """Compute the pyramid of crops (B, 3, S, S)."""
        # Normalized here rather than outside, so that every caller does the same.
        level4 = self.stage4(self.stem((image - 0.5) * 4))
        level8 = self.stage8(level4)
        level16 = self.stage16(level8)
        up8 = functional.interpolate(self.lateral8(level16), scale_factor=2.0, mode="nearest")
        level8 = torch.relu(self.merge8(torch.relu(level8 + up8)))
        up4 = functional.interpolate(self.lateral4(level8), scale_factor=2.0, mode="nearest")
        level4 = torch.relu(self.merge4(torch.relu(level4 + up4)))
        return FeatureMaps(level4, level8, level16)

    def forward(self, maps: FeatureMaps, shape: Tensor) -> Tensor:
        """Encode samples at the current shape (B, N, 2) as x (B, N, 1, F)."""
        return self.describe(self.sample(maps, shape))

    def sample(self, maps: tuple[Tensor, ...], shape: Tensor) -> Tensor:
        """Read `fine` and `middle` around every landmark of a shape (B, N, 2): (B, N, S), channel by channel."""
        fine = sample_patches(maps[0], shape, self._fine_offsets, FINE.stride)  # (B, C, N, 16)
        middle = sample_patches(maps[1], shape, self._middle_offsets, MIDDLE.stride)  # (B, C, N, 9)
        return torch.cat([s.permute(0, 2, 1, 3).flatten(2) for s in (fine, middle)], dim=2)

    def describe(self, sampled: Tensor) -> Tensor:
        """Reduce samples (B, N, S) to the landmarks' features x (B, N, 1, F)."""
        return torch.relu(self.norm(self.squeeze(sampled)))[:, :, None]

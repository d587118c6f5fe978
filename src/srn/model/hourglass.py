"""A one-stage hourglass (Newell et al. 2016) that predicts the initial shape of the cascade: SRN+HG (table 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class Bottleneck(nn.Module):
    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.layers = nn.Sequential(
            nn.BatchNorm2d(channels_in), nn.ReLU(), nn.Conv2d(channels_in, half, 1, bias=False),
            nn.BatchNorm2d(half), nn.ReLU(), nn.Conv2d(half, half, 3, padding=1, bias=False),
            nn.BatchNorm2d(half), nn.ReLU(), nn.Conv2d(half, channels, 1),
        )  # fmt: skip
        self.shortcut = nn.Identity() if channels == channels_in else nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x) + self.shortcut(x)


class Hourglass(nn.Module):
    """Down to 1 / 2^depth of the resolution and back, with a branch at every level."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.branch = Bottleneck(channels, channels)
        self.down = Bottleneck(channels, channels)
        self.inner = Hourglass(channels, depth - 1) if depth > 1 else Bottleneck(channels, channels)
        self.up = Bottleneck(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        lower = self.up(self.inner(self.down(functional.max_pool2d(x, 2, ceil_mode=True))))
        raised = functional.interpolate(lower, scale_factor=2.0, mode="nearest")
        return self.branch(x) + raised[..., : x.shape[-2], : x.shape[-1]]


def soft_argmax(heatmaps: Tensor, stride: int) -> Tensor:
    """Mean position (B, N, 2) under the softmax of each heat map (B, N, H, W) with cells of `stride` crop pixels."""
    height, width = heatmaps.shape[-2:]
    weights = torch.softmax(heatmaps.float().flatten(2), dim=2).view_as(heatmaps)
    center = (stride - 1) / 2  # centre of cell 0, in pixels
    x = torch.arange(width, device=heatmaps.device) * stride + center
    y = torch.arange(height, device=heatmaps.device) * stride + center
    return torch.stack([(weights.sum(2) * x).sum(-1), (weights.sum(3) * y).sum(-1)], dim=-1)


def heatmap_loss(heatmaps: Tensor, target_shape: Tensor, stride: int) -> Tensor:
    """Mean divergence of the heat maps' softmax from a Gaussian of one cell about each true point, a scalar.

    The soft arg max alone trains the mean of a heat map and leaves its form open: a map with two peaks can have the
    right mean. Points outside the map are left out. Heat maps (B, N, H, W), true shapes (B, N, 2) in crop pixels.
    """
    height, width = heatmaps.shape[-2:]
    cells = (target_shape.float() - (stride - 1) / 2) / stride
    log_x, log_y = (
        torch.log_softmax(-(torch.arange(size, device=heatmaps.device) - cells[..., axis, None]).square() / 2, -1)
        for axis, size in ((0, width), (1, height))
    )
    # The target is a product over x and y, so no map of it is made: sum t log t splits, and sum t = 1.
    entropy = sum((log.exp() * log).sum(-1) for log in (log_x, log_y))  # (B, N), negative
    agreement = torch.einsum("bnyx,bny,bnx->bn", heatmaps.float(), log_y.exp(), log_x.exp())
    divergence = entropy - agreement + torch.logsumexp(heatmaps.float().flatten(2), dim=2)
    limit = torch.tensor([width - 0.5, height - 0.5], device=heatmaps.device)
    inside = ((cells > -0.5) & (cells < limit)).all(-1)
    return (divergence * inside).sum() / inside.sum().clamp_min(1)


class HourglassInitializer(nn.Module):
    """Predict a shape from a crop: stem to stride 4, one hourglass, a heat map per landmark, its soft argmax."""

    STRIDE = 4

    def __init__(self, n_points: int, channels: int = 64, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, channels // 2, 7, 2, 3, bias=False), nn.BatchNorm2d(channels // 2), nn.ReLU(),
            nn.MaxPool2d(2), Bottleneck(channels // 2, channels),
        )  # fmt: skip
        self.hourglass = Hourglass(channels, depth)
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, channels, 1),
            nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, n_points, 1),
        )  # fmt: skip

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map crops (B, 3, S, S) in [0, 1] to shapes (B, N, 2), crop pixels, and the heat maps (B, N, S/4, S/4)."""
        heatmaps = self.head(self.hourglass(self.stem((image - 0.5) * 4)))
        return soft_argmax(heatmaps, self.STRIDE), heatmaps

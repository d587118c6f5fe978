"""Shape-indexed sampling in PyTorch (operator rho of equation 2); equals `srn.face.patches` number by number."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from srn.face.patches import patch_offsets


class Grid(NamedTuple):
    """Square grid of sampling points around each landmark on a map.

    Attributes:
        size: points a side.
        spacing: crop pixels between them.
        stride: crop pixels a side of the map's cells.
    """

    size: int
    spacing: float
    stride: int


def offsets_tensor(size: int, spacing: float) -> Tensor:
    """Return the sampling points of a patch relative to its landmark: (size * size, 2) float32, row by row."""
    return torch.from_numpy(patch_offsets(size, spacing)).float().reshape(-1, 2)


def sample_patches(feature_map: Tensor, shape: Tensor, offsets: Tensor, stride: int = 1) -> Tensor:
    """Sample a map (B, C, H, W) bilinearly at offsets (K, 2) around each landmark (B, N, 2): (B, C, N, K).

    Coordinates are crop pixels and get no gradient. Cell 0 of the map covers the pixels 0 .. stride - 1; its edge is
    repeated outside.
    """
    points = shape.detach()[:, :, None, :] + offsets  # (B, N, K, 2)
    height, width = feature_map.shape[-2:]
    # Pixel centres are whole numbers and cell centres lie at (stride - 1) / 2 + k * stride; grid_sample (without
    # align_corners) counts from -1 to 1 over the outer edges of the map, which are the same edges for both.
    size = torch.tensor([width * stride, height * stride], dtype=points.dtype, device=points.device)
    grid = (2 * points + 1) / size - 1
    # Under autocast the map may be in half precision. The positions must not be: near the edge of the crop the step of
    # bf16 is a third of a pixel.
    return functional.grid_sample(feature_map.float(), grid, "bilinear", "border", align_corners=False)

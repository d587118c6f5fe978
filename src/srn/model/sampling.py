"""Shape-indexed sampling in PyTorch (the operator rho of equation 2); equal to `srn.face.patches` number by number."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from srn.face.patches import patch_offsets


def offsets_tensor(size: int, spacing: float) -> Tensor:
    """(size * size, 2) float32: a patch's sampling points relative to its landmark, x before y, row by row."""
    return torch.from_numpy(patch_offsets(size, spacing)).float().reshape(-1, 2)


def sample_patches(feature_map: Tensor, shape: Tensor, offsets: Tensor, stride: int = 1) -> Tensor:
    """Bilinear samples of a map around each landmark. No gradient reaches the coordinates.

    Args:
        feature_map: (B, C, H, W).
        shape: (B, N, 2) crop pixels.
        offsets: (K, 2) crop pixels.
        stride: crop pixels per cell of the map; cell 0 covers the pixels 0 .. stride - 1.

    Returns:
        (B, C, N, K). Outside the map its edge is repeated.
    """
    height, width = feature_map.shape[-2:]
    points = shape.detach()[:, :, None, :] + offsets  # (B, N, K, 2)
    # Pixel centres are whole numbers and cell centres lie at (stride - 1) / 2 + k * stride; grid_sample (without
    # align_corners) counts from -1 to 1 over the outer edges of the map, which are the same edges for both.
    size = torch.tensor([width * stride, height * stride], dtype=points.dtype, device=points.device)
    grid = (2 * points + 1) / size - 1
    # Under autocast the map may be in half precision; the grid follows it only in type, its arithmetic was exact.
    return functional.grid_sample(feature_map, grid.to(feature_map.dtype), "bilinear", "border", align_corners=False)

"""Shape-indexed sampling in PyTorch (operator rho of equation 2); equals `srn.face.patches` number by number."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from srn.face.patches import patch_offsets


def offsets_tensor(size: int, spacing: float) -> Tensor:
    """Return the sampling points of a patch relative to its landmark: (size * size, 2) float32, row by row."""
    return torch.from_numpy(patch_offsets(size, spacing)).float().reshape(-1, 2)


def sample_patches(feature_map: Tensor, shape: Tensor, offsets: Tensor, stride: int = 1) -> Tensor:
    """Sample a map (B, C, H, W) bilinearly at offsets (K, 2) around each landmark (B, N, 2): (B, C, N, K).

    Coordinates are crop pixels and get no gradient. Cell 0 of the map covers the pixels 0 .. stride - 1; its edge is
    repeated outside.
    """
    points = shape.detach()[:, :, None, :] + offsets  # (B, N, K, 2)
    if torch.onnx.is_in_onnx_export():
        return _sample_rows(feature_map, points, stride)
    height, width = feature_map.shape[-2:]
    # Pixel centres are whole numbers and cell centres lie at (stride - 1) / 2 + k * stride; grid_sample (without
    # align_corners) counts from -1 to 1 over the outer edges of the map, which are the same edges for both.
    size = torch.tensor([width * stride, height * stride], dtype=points.dtype, device=points.device)
    grid = (2 * points + 1) / size - 1
    # Under autocast the map may be in half precision. The positions must not be: near the edge of the crop the step of
    # bf16 is a third of a pixel.
    return functional.grid_sample(feature_map.float(), grid, "bilinear", "border", align_corners=False)


def _sample_rows(feature_map: Tensor, points: Tensor, stride: int) -> Tensor:
    """Compute the same numbers by gathering whole cells, which ONNX Runtime runs many times faster than GridSample.

    Training does not sample this way, because the gradient is slower than that of grid_sample.
    """
    batch, channels, height, width = feature_map.shape
    last = torch.tensor([width - 1, height - 1], dtype=points.dtype, device=points.device)
    position = torch.minimum(((points + 0.5) / stride - 0.5).clamp_min(0), last)
    low = position.floor()
    weight = position - low
    high = torch.minimum(low + 1, last)
    cells = feature_map.permute(0, 2, 3, 1).reshape(-1, channels)  # (B * H * W, C)
    first = (torch.arange(batch, device=points.device) * (height * width))[:, None, None]

    def at(x: Tensor, y: Tensor) -> Tensor:
        index = first + y.long() * width + x.long()  # (B, N, K)
        return cells.index_select(0, index.flatten()).view(*index.shape, channels)

    wx, wy = weight[..., :1], weight[..., 1:]
    top = at(low[..., 0], low[..., 1]) * (1 - wx) + at(high[..., 0], low[..., 1]) * wx
    bottom = at(low[..., 0], high[..., 1]) * (1 - wx) + at(high[..., 0], high[..., 1]) * wx
    return (top * (1 - wy) + bottom * wy).permute(0, 3, 1, 2)

"""Shape-indexed patches (operator rho of equations 2 and 9), in NumPy: the reference for the networks' own sampling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srn.face.geometry import FloatArray


def patch_offsets(size: int, spacing: float = 1.0) -> npt.NDArray[np.float64]:
    """(size, size, 2): offsets x, y of a patch's sampling points from its landmark, symmetric about it."""
    steps = (np.arange(size) - (size - 1) / 2) * spacing
    return np.stack(np.meshgrid(steps, steps, indexing="xy"), axis=-1)


def sample_bilinear(image: npt.NDArray[np.generic], points: FloatArray) -> npt.NDArray[np.float32]:
    """Bilinear samples (..., C) of `image` (H, W, C) at `points` (..., 2). Outside the image its edge is repeated."""
    height, width = image.shape[:2]
    x = np.clip(points[..., 0], 0, width - 1)
    y = np.clip(points[..., 1], 0, height - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    wx, wy = (x - x0)[..., None], (y - y0)[..., None]
    source = image.astype(np.float32)
    top = source[y0, x0] * (1 - wx) + source[y0, x1] * wx
    bottom = source[y1, x0] * (1 - wx) + source[y1, x1] * wx
    result: npt.NDArray[np.float32] = (top * (1 - wy) + bottom * wy).astype(np.float32)
    return result


def extract_patches(
    image: npt.NDArray[np.generic], shape: FloatArray, size: int, spacing: float = 1.0
) -> npt.NDArray[np.float32]:
    """Square patches around each landmark, nothing resized.

    Args:
        image: (H, W, C).
        shape: (N, 2), pixels of `image`; may lie between pixels and outside the image.
        size: P, samples a side.
        spacing: pixels between samples.

    Returns:
        (N, P, P, C) float32: sub-pixel samples, centred on the landmark; outside the image its edge is repeated.
    """
    return sample_bilinear(image, shape[:, None, None, :] + patch_offsets(size, spacing))

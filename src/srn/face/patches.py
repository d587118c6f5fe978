"""Shape-indexed patches (operator rho of equations 2 and 9) in NumPy: the reference for the networks' sampling."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srn.face.geometry import FloatArray


def patch_offsets(size: int, spacing: float = 1.0) -> npt.NDArray[np.float64]:
    """Return the offsets (size, size, 2), x and y, of a patch's sampling points from its landmark in the middle."""
    steps = (np.arange(size) - (size - 1) / 2) * spacing
    return np.stack(np.meshgrid(steps, steps, indexing="xy"), axis=-1)


def sample_bilinear(image: npt.NDArray[np.generic], points: FloatArray) -> npt.NDArray[np.float32]:
    """Sample `image` (H, W, C) bilinearly at `points` (..., 2); outside, its edge is repeated. Returns (..., C)."""
    height, width = image.shape[:2]
    x = np.clip(points[..., 0], 0, width - 1)
    y = np.clip(points[..., 1], 0, height - 1)
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    wx, wy = (x - x0)[..., None], (y - y0)[..., None]
    source = image.astype(np.float32)
    top = source[y0, x0] * (1 - wx) + source[y0, x1] * wx
    bottom = source[y1, x0] * (1 - wx) + source[y1, x1] * wx
    return (top * (1 - wy) + bottom * wy).astype(np.float32)


def extract_patches(
    image: npt.NDArray[np.generic], shape: FloatArray, size: int, spacing: float = 1.0
) -> npt.NDArray[np.float32]:
    """Sample a square patch around each landmark.

    Args:
        image: (H, W, C).
        shape: (N, 2) pixels of `image`; may lie between pixels and outside the image.
        size: samples a side, P.
        spacing: pixels between samples.

    Returns:
        (N, P, P, C) float32, centred on the landmarks.
    """
    return sample_bilinear(image, shape[:, None, None, :] + patch_offsets(size, spacing))

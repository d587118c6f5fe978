"""Balanced sampling: faces of rare shape (large poses, wide-open mouths) are drawn more often than common ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srn.datasets.pack import FacePack

NEIGHBOURS = 20
"""Rank of the nearest neighbour whose distance is a face's rarity: a compromise of local and stable."""

LEAST, MOST = 0.5, 4.0
"""Bounds of a weight before scaling to a mean of 1, so that a single odd annotation cannot fill the batches."""


def aligned_shapes(shapes: npt.NDArray[np.floating]) -> npt.NDArray[np.complex128]:
    """Remove position, size and rotation from shapes (F, N, 2) by generalized Procrustes analysis: (F, N), x + iy.

    In each of five rounds all are fitted to their mean, of unit length, by least squares.
    """
    points = shapes[..., 0].astype(np.float64) + 1j * shapes[..., 1]
    points = points - points.mean(axis=1, keepdims=True)
    mean = points[0] / np.linalg.norm(points[0])
    for _ in range(5):
        # The complex factor a that minimizes |a z - m|^2 rotates and scales at once.
        factors = (points.conj() @ mean) / np.maximum((np.abs(points) ** 2).sum(axis=1), 1e-12)
        aligned = points * factors[:, None]
        mean = aligned.mean(axis=0)
        mean /= np.linalg.norm(mean)
    return aligned


def shape_rarity(pack: FacePack) -> npt.NDArray[np.float64]:
    """Distance (F,) of each face's shape to the `NEIGHBOURS`-th nearest, mirrored or not, over the median."""
    shapes = aligned_shapes(pack.landmarks)
    # Training mirrors faces, so a left profile is as common as a right one.
    mirrored = -shapes[:, pack.scheme.mirror].conj()
    nearest = min(NEIGHBOURS, len(shapes) - 1)
    result = np.empty(len(shapes))
    for first in range(0, len(shapes), 256):  # in slices: the whole distance matrix would take gigabytes
        some = shapes[first : first + 256]
        squares = np.minimum(_squared_distances(some, shapes), _squared_distances(some, mirrored))
        result[first : first + 256] = np.sqrt(np.partition(squares, nearest, axis=1)[:, nearest])
    return result / max(float(np.median(result)), 1e-12)


def _squared_distances(a: npt.NDArray[np.complex128], b: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    squares = (np.abs(a) ** 2).sum(1)[:, None] + (np.abs(b) ** 2).sum(1) - 2 * (a.conj() @ b.T).real
    return np.asarray(np.maximum(squares, 0.0))


def balance_weights(pack: FacePack, power: float) -> npt.NDArray[np.float64]:
    """Expected draws (F,) of each face in an epoch, 1 on average: its rarity to a power, bounded."""
    weights = np.clip(shape_rarity(pack) ** power, LEAST, MOST) if power else np.ones(len(pack))
    return np.asarray(weights / weights.mean())

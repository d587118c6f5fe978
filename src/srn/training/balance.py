"""Balanced sampling: faces of rare shape (large poses, wide-open mouths) are drawn more often than common ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srn.datasets.pack import FacePack

NEIGHBOURS = 20
"""A face's rarity is its distance to this nearest neighbour: near enough to be local, far enough to be stable."""

LEAST, MOST = 0.5, 4.0
"""Bounds of a weight before they are scaled to a mean of 1: a single odd annotation must not fill the batches."""


def aligned_shapes(shapes: npt.NDArray[np.floating], rounds: int = 5) -> npt.NDArray[np.complex128]:
    """Shapes (F, N, 2) without position, size and turn (generalized Procrustes analysis), as x + iy (F, N).

    All are fitted to their common mean by least squares; the mean has unit length.
    """
    points = shapes[..., 0].astype(np.float64) + 1j * shapes[..., 1]
    points = points - points.mean(axis=1, keepdims=True)
    mean = points[0] / np.linalg.norm(points[0])
    for _ in range(rounds):
        # The complex factor a that minimizes |a z - m|^2 turns and scales at once.
        factors = (points.conj() @ mean) / np.maximum((np.abs(points) ** 2).sum(axis=1), 1e-12)
        aligned = points * factors[:, None]
        mean = aligned.mean(axis=0)
        mean /= np.linalg.norm(mean)
    return aligned


def shape_rarity(pack: FacePack) -> npt.NDArray[np.float64]:
    """(F,): how far each face's shape, or its mirror image, lies from the `NEIGHBOURS`-th nearest, over the median."""
    shapes = aligned_shapes(pack.landmarks)
    # A left profile is no rarer for facing left: training mirrors faces anyway.
    mirrored = -shapes[:, pack.scheme.mirror].conj()
    count = len(shapes)
    nearest = min(NEIGHBOURS, count - 1)
    result = np.empty(count)
    for first in range(0, count, 256):  # in slices: the whole table of distances would take gigabytes
        some = shapes[first : first + 256]
        squares = np.stack([_squared_distances(some, others) for others in (shapes, mirrored)]).min(axis=0)
        result[first : first + 256] = np.sqrt(np.partition(squares, nearest, axis=1)[:, nearest])
    return result / max(float(np.median(result)), 1e-12)


def _squared_distances(a: npt.NDArray[np.complex128], b: npt.NDArray[np.complex128]) -> npt.NDArray[np.float64]:
    squares = (np.abs(a) ** 2).sum(1)[:, None] + (np.abs(b) ** 2).sum(1) - 2 * (a.conj() @ b.T).real
    return np.asarray(np.maximum(squares, 0.0))


def balance_weights(pack: FacePack, power: float) -> npt.NDArray[np.float64]:
    """(F,) how often each face is drawn in a pass over the pack, 1 on average: its rarity to a power, bounded.

    A power of 0 draws every face once.
    """
    weights = np.clip(shape_rarity(pack) ** power, LEAST, MOST) if power else np.ones(len(pack))
    return np.asarray(weights / weights.mean())

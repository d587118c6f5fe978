"""The endless, repeatable stream of training faces: what is drawn at position p depends on the seed and p alone."""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from srn.data.augment import AugmentConfig, augment
from srn.data.pack import FacePack
from srn.face.geometry import FrameSpec, ImageArray


class FaceStream(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Augmented faces by position in the stream. Every pass over the pack is a new permutation of it.

    With weights of mean 1 a pass draws each face about as often as its weight says: systematic sampling along a
    permutation, so that a face of weight w comes floor(w) or ceil(w) times.

    A run can stop anywhere and go on from its position with the very faces it would have seen, on any number of workers
    and devices.
    """

    def __init__(
        self,
        pack: FacePack,
        spec: FrameSpec,
        config: AugmentConfig,
        seed: int,
        weights: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self.pack, self.spec, self.config, self.seed, self.weights = pack, spec, config, seed, weights

    @functools.lru_cache(maxsize=2)  # noqa: B019 - a stream lives as long as its run
    def _permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, 0, epoch])
        order = rng.permutation(len(self.pack))
        if self.weights is None:
            return order
        ends = np.cumsum(self.weights[order])
        marks = (np.arange(len(order)) + rng.random()) * (ends[-1] / len(order))
        return rng.permutation(order[np.searchsorted(ends, marks, side="right")])

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """Image (3, S, S) uint8, landmarks (N, 2) float32 crop pixels, visible (N,) bool."""
        epoch, place = divmod(position, len(self.pack))
        index = int(self._permutation(epoch)[place])
        rng = np.random.default_rng([self.seed, 1, position])

        def another() -> ImageArray:
            return self.pack.image(int(rng.integers(len(self.pack))))

        image, landmarks, visible = augment(
            self.pack.image(index), self.pack.landmarks[index], self.spec, self.pack.scheme, self.config, rng, another
        )
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(landmarks), torch.from_numpy(visible)


class _Positions(Sampler[list[int]]):
    """Positions of this process's share of each global batch, from a step on."""

    def __init__(self, first_step: int, last_step: int, batch_size: int, rank: int, world_size: int) -> None:
        self.steps = range(first_step, last_step)
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size

    def __iter__(self) -> Iterator[list[int]]:
        share = self.batch_size // self.world_size
        for step in self.steps:
            first = step * self.batch_size + self.rank * share
            yield list(range(first, first + share))

    def __len__(self) -> int:
        return len(self.steps)


def _single_threaded(_worker: int) -> None:
    # Workers share the cores with the network: OpenCV's own threads would only get in the way.
    import cv2

    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def batches(
    stream: FaceStream,
    first_step: int,
    last_step: int,
    batch_size: int,
    *,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> DataLoader[tuple[Tensor, Tensor, Tensor]]:
    """Batches of steps `first_step` .. `last_step` - 1: this process's `batch_size / world_size` faces of each."""
    return DataLoader(
        stream,
        batch_sampler=_Positions(first_step, last_step, batch_size, rank, world_size),
        num_workers=workers,
        worker_init_fn=_single_threaded,
        prefetch_factor=6 if workers else None,
        pin_memory=pin_memory,
    )

"""The endless, repeatable stream of training faces: what is drawn at position p depends on the seed and p alone."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from srn.datasets.pack import FacePack, mean_shape
from srn.face.geometry import CropSpec, ImageArray
from srn.synthesis.augment import AugmentConfig, TrainingFace, augment


class FaceOrder:
    """Which of `count` faces comes at a position. Every pass over them is a new permutation.

    With weights of mean 1 a pass draws each face about as often as its weight says: systematic sampling along a
    permutation, so that a face of weight w comes floor(w) or ceil(w) times.
    """

    def __init__(self, count: int, seed: int, weights: npt.NDArray[np.float64] | None = None) -> None:
        self.count, self.seed, self.weights = count, seed, weights

    def __getitem__(self, position: int) -> int:
        epoch, place = divmod(position, self.count)
        return int(self._permutation(epoch)[place])

    @functools.lru_cache(maxsize=2)  # noqa: B019 - an order lives as long as its run
    def _permutation(self, epoch: int) -> npt.NDArray[np.int64]:
        rng = np.random.default_rng([self.seed, 0, epoch])
        order = rng.permutation(self.count)
        if self.weights is None:
            return order
        ends = np.cumsum(self.weights[order])
        marks = (np.arange(len(order)) + rng.random()) * (ends[-1] / len(order))
        return rng.permutation(order[np.searchsorted(ends, marks, side="right")])


def video_numbers(pack: FacePack) -> npt.NDArray[np.int64]:
    """(F,) rising: faces that are consecutive frames of a video, by their names `VIDEO/000123`, share a number."""
    parts = [str(name).rpartition("/") for name in pack.names]
    follows = [
        here[0] == before[0] and here[2].isdecimal() and before[2].isdecimal() and int(here[2]) == int(before[2]) + 1
        for before, here in itertools.pairwise(parts)
    ]
    return np.cumsum([0, *(not f for f in follows)])


FaceOccluder = Callable[[TrainingFace, np.random.Generator], TrainingFace]
"""Hides part of a training face: what a HOFS agent gives. Chance comes from the generator alone. It has to be picklable
where worker processes prepare faces."""


class FaceStream(Dataset[tuple[Tensor, ...]]):
    """Augmented faces by position in the stream (see `FaceOrder`).

    A run can stop anywhere and go on from its position with the very faces it would have seen, on any number of workers
    and devices.

    `hard_share` of the faces are hidden by `occluder` instead of by what `config` says; the others are those that the
    stream has without it.
    """

    def __init__(
        self,
        pack: FacePack,
        spec: CropSpec,
        config: AugmentConfig,
        seed: int,
        weights: npt.NDArray[np.float64] | None = None,
        occluder: FaceOccluder | None = None,
        hard_share: float = 0.0,
    ) -> None:
        self.pack, self.spec, self.config, self.seed = pack, spec, config, seed
        self.order = FaceOrder(len(pack), seed, weights)
        self.occluder, self.hard_share = occluder, hard_share
        self._upright = mean_shape(pack) if config.second_look else None
        self._unoccluded = dataclasses.replace(config, noise_patch=0.0, occluders=0.0, masks=0.0)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """Image (3, S, S) uint8, landmarks (N, 2) float32 crop pixels, visible (N,) bool."""
        index = self.order[position]
        rng = np.random.default_rng([self.seed, 1, position])

        def another() -> ImageArray:
            return self.pack.image(int(rng.integers(len(self.pack))))

        chance = np.random.default_rng([self.seed, 4, position])
        hard = self.occluder is not None and bool(chance.random() < self.hard_share)
        config = self._unoccluded if hard else self.config
        face = augment(
            self.pack.image(index), self.pack.landmarks[index], self.spec, self.pack.scheme, config, rng,
            other=another, upright_shape=self._upright,
            occluded=None if self.pack.occluded is None else self.pack.occluded[index],
        )  # fmt: skip
        image, landmarks, visible = self.occluder(face, chance) if hard and self.occluder is not None else face
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
    stream: Dataset[tuple[Tensor, ...]],
    first_step: int,
    last_step: int,
    batch_size: int,
    *,
    workers: int,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> DataLoader[tuple[Tensor, ...]]:
    """Batches of steps `first_step` .. `last_step` - 1: this process's `batch_size / world_size` examples of each."""
    return DataLoader(
        stream,
        batch_sampler=_Positions(first_step, last_step, batch_size, rank, world_size),
        num_workers=workers,
        worker_init_fn=_single_threaded,
        prefetch_factor=6 if workers else None,
        pin_memory=pin_memory,
    )

"""The endless, repeatable stream of training faces: the face at position p depends on the seed and p alone."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from srn.datasets.pack import FacePack, mean_shape
from srn.datasets.three_hundred_w import photograph_of
from srn.errors import InputError
from srn.face.geometry import CropSpec, ImageArray
from srn.synthesis.animate import MovingFace
from srn.synthesis.augment import TrainingFace, augment
from srn.synthesis.config import AugmentConfig
from srn.synthesis.patterns import patterns_of


class FaceOrder:
    """Index of the face at each position of the stream. Every epoch is a new permutation of the `count` faces.

    With weights of mean 1 an epoch samples systematically along a permutation: a face of weight w comes floor(w) or
    ceil(w) times.
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


def stretch_numbers(pack: FacePack) -> npt.NDArray[np.int64]:
    """Number the stretches of consecutive frames, by their names `VIDEO/000123`: (F,) rising from 0."""
    parts = [str(name).rpartition("/") for name in pack.names]
    follows = [
        here[0] == before[0] and here[2].isdecimal() and before[2].isdecimal() and int(here[2]) == int(before[2]) + 1
        for before, here in itertools.pairwise(parts)
    ]
    return np.cumsum([0, *(not f for f in follows)])


def split_validation(pack: FacePack, count: int, *, videos: bool = False) -> tuple[FacePack, FacePack | None]:
    """Split a pack into training faces and `count` validation faces (None for 0), spread evenly over it.

    No photograph has faces on both sides: other faces of a validation face's photograph, and renderings of it, are in
    neither (`photograph_of`). Nor has a video: neighbouring frames are nearly the same picture. So whole videos are set
    aside, and the validation faces are `count` of their frames, or all if there are fewer. The pack tells which faces
    are frames; `videos` says that all are, each of the video that its name tells before the last `/`.

    Raises:
        InputError: no face would be left for training.
    """
    if count == 0:
        return pack, None
    if count >= len(pack):
        found = f"{count} (--set validation=0 keeps none from training)"
        raise InputError.at("validation", f"fewer faces than the {len(pack)} there are", found)
    sources = [photograph_of(str(name)) for name in pack.names]
    if pack.videos is not None:
        sources = [str(video) or source for video, source in zip(pack.videos, sources, strict=True)]
    elif videos:
        sources = [str(name).rpartition("/")[0] for name in pack.names]
    source_of = np.unique(sources, return_inverse=True)[1]
    kept = _spread(len(pack), count)
    aside = np.isin(source_of, source_of[kept])
    if videos or pack.videos is not None:
        # As few videos as hold that many frames, or as many videos as leave one for training.
        choices = [np.isin(source_of, source_of[_spread(len(pack), few)]) for few in range(1, count + 1)]
        choices = [choice for choice in choices if not choice.all()]
        aside = next((choice for choice in choices if choice.sum() >= count), choices[-1] if choices else aside)
        kept = np.flatnonzero(aside)[_spread(int(aside.sum()), count)]
    if aside.all():
        raise InputError.at("validation", "faces of at least two photographs or videos", "one")
    return pack.subset(np.flatnonzero(~aside)), pack.subset(kept)


def _spread(length: int, count: int) -> npt.NDArray[np.int64]:
    """Choose `count` indices evenly from 0 to `length` - 1, or all."""
    return np.linspace(0, length - 1, min(count, length)).round().astype(np.int64)


FaceOccluder = Callable[[TrainingFace, np.random.Generator], TrainingFace]
ClipOccluder = Callable[[MovingFace, np.random.Generator], MovingFace]
"""Occludes a face or a clip, and leaves the given one unchanged: a HOFS agent. Randomness comes from the generator
alone. It has to be picklable where worker processes prepare faces."""


def random_picture(pack: FacePack, rng: np.random.Generator) -> Callable[[], ImageArray]:
    """Draw pictures of the pack, for patches of other faces."""
    return lambda: pack.image(int(rng.integers(len(pack))))


class FaceStream(Dataset[tuple[Tensor, ...]]):
    """Augmented faces by position in the stream (see `FaceOrder`).

    A run can stop anywhere and continue from its position with the faces that it would have seen, on any number of
    workers and devices. `weights` (F,), 1 on average, say how often each face is drawn. The `occluder` occludes
    `hard_share` of the faces instead of the occluders of `config`; the others are those of the stream without it.
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
        patterns_of(config, pack.scheme)  # read here, so that a missing file is told at once
        self._upright = mean_shape(pack) if config.second_pass else None

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return image (3, S, S) uint8, landmarks (N, 2) float32 in crop pixels, and visibility (N,) bool."""
        index = self.order[position]
        rng = np.random.default_rng([self.seed, 1, position])
        chance = np.random.default_rng([self.seed, 4, position])
        hard = self.occluder is not None and bool(chance.random() < self.hard_share)
        config = self.config.unoccluded() if hard else self.config
        face = augment(
            self.pack.image(index), self.pack.landmarks[index], self.spec, self.pack.scheme, config, rng,
            other=random_picture(self.pack, rng), upright_shape=self._upright,
            occluded=None if self.pack.occluded is None else self.pack.occluded[index],
        )  # fmt: skip
        image, landmarks, visible = self.occluder(face, chance) if hard and self.occluder is not None else face
        return torch.from_numpy(image).permute(2, 0, 1), torch.from_numpy(landmarks), torch.from_numpy(visible)


class PictureStream(Dataset[tuple[Tensor, ...]]):
    """Packed faces by position in the stream (see `FaceOrder`), not augmented: that is done on the device."""

    def __init__(self, pack: FacePack, seed: int, weights: npt.NDArray[np.float64] | None = None) -> None:
        self.pack, self.order = pack, FaceOrder(len(pack), seed, weights)

    def __getitem__(self, position: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return picture (3, P, P) uint8, landmarks (N, 2) float32 in its pixels, visibility (N,) bool, position ()."""
        index = self.order[position]
        landmarks = self.pack.landmarks[index]
        hidden = np.zeros(len(landmarks), bool) if self.pack.occluded is None else self.pack.occluded[index]
        picture = torch.from_numpy(self.pack.image(index)).permute(2, 0, 1)
        return picture, torch.from_numpy(landmarks), torch.from_numpy(~hidden), torch.tensor(position)


def _tell_unless_alone(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an exception of a worker's thread, but not that nobody takes its faces: the training was killed."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _prepare_worker(_worker: int) -> None:
    # Workers share the cores with the network: OpenCV's own threads would only get in the way.
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    # A SIGTERM for all processes is the first one's to answer: it takes a worker that was killed for a fault.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    sys.excepthook = _tell_unless_alone


@dataclasses.dataclass(frozen=True)
class _Batches:
    """The positions of each batch, made when it is their turn: a run may be of any length."""

    steps: range
    batch_size: int
    offset: int
    share: int

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Any]:
        firsts = (step * self.batch_size + self.offset for step in self.steps)
        return (range(first, first + self.share) for first in firsts)


def batches(
    stream: Dataset[tuple[Tensor, ...]],
    first_step: int,
    last_step: int,
    batch_size: int,
    *,
    workers: int | None,
    rank: int = 0,
    world_size: int = 1,
    pin_memory: bool = False,
) -> DataLoader[tuple[Tensor, ...]]:
    """Load the batches of steps `first_step` to `last_step` - 1: this process's `batch_size / world_size` examples."""
    if workers is None:  # one for every four cores, three beside a GPU
        workers = max((os.cpu_count() or 1) // 4 * (3 if torch.cuda.is_available() else 1), 1)
    workers = min(workers, os.cpu_count() or 1)  # any number gives the same faces
    share = batch_size // world_size
    positions: Any = _Batches(range(first_step, last_step), batch_size, rank * share, share)  # PyTorch asks for lists
    return DataLoader(
        stream,
        batch_sampler=positions,
        num_workers=workers,
        worker_init_fn=_prepare_worker,
        prefetch_factor=6 if workers else None,
        pin_memory=pin_memory,
    )

"""The endless, repeatable stream of training clips: the clip at position p depends on the seed and p alone."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.face.geometry import CropSpec
from srn.synthesis.animate import PlacedFace, animate_placed, move_frames
from srn.synthesis.config import MotionConfig
from srn.training.config import ClipConfig
from srn.training.stream import ClipOccluder, FaceOrder, random_picture, stretch_numbers


class ClipBatch(NamedTuple):
    """Clips of one batch.

    Attributes:
        images: (B, T, 3, S, S) uint8.
        landmarks: (B, T, N, 2) float32, each in the pixels of its own crop.
        visible: (B, T, N) bool.
        steps: (B, T, 2, 3) float32: affine map from the crop of frame t - 1 to the crop of frame t; the identity at 0.
        previous_start: (B,) bool: whether frames start from the previous frame's shape.
    """

    images: Tensor
    landmarks: Tensor
    visible: Tensor
    steps: Tensor
    previous_start: Tensor


def crop_steps(crops: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Convert maps scene -> crop (T, 2, 3), of `PlacedFace`, to the `steps` of a `ClipBatch`."""
    square = np.concatenate([crops, np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(crops), 1, 3))], axis=1)
    between = square[1:] @ np.linalg.inv(square[:-1])
    return np.concatenate([np.eye(3)[None], between])[:, :2].astype(np.float32)


class ClipStream(Dataset[tuple[Tensor, ...]]):
    """Clips by position in the stream, as `FaceStream` has single faces.

    A packed face is animated. With `config.videos`, a face followed by T - 1 more frames of its video begins a clip of
    these frames instead, with motion and occlusion added.

    Raises:
        InputError: with `config.videos`, no video of the pack is as long as a clip.
    """

    def __init__(
        self,
        pack: FacePack,
        spec: CropSpec,
        config: ClipConfig,
        seed: int,
        weights: npt.NDArray[np.float64] | None = None,
        occluder: ClipOccluder | None = None,
    ) -> None:
        self.pack, self.spec, self.config, self.seed, self.occluder = pack, spec, config, seed, occluder
        self.order = FaceOrder(len(pack), seed, weights)
        self._videos = stretch_numbers(pack) if config.videos else np.arange(len(pack))
        if config.videos and (longest := int(np.bincount(self._videos).max())) < config.frames:
            found = f"{pack.where}, whose longest video has {longest}"
            raise InputError.at("clips.videos", f"videos of at least {config.frames} frames (clips.frames)", found)

    def __getitem__(self, position: int) -> tuple[Tensor, ...]:
        """Return one clip of a `ClipBatch`, without the batch's dimension."""
        rng = np.random.default_rng([self.seed, 2, position])
        previous = bool(rng.random() < self.config.previous_start)
        hard = self.occluder is not None and bool(rng.random() < self.config.hard_share)
        motion = self.config.motion.unoccluded() if hard else self.config.motion
        placed = self._clip(self.order[position], motion, rng)
        face = self.occluder(placed.face, rng) if hard and self.occluder is not None else placed.face
        return (
            torch.from_numpy(face.images).permute(0, 3, 1, 2),
            torch.from_numpy(face.landmarks),
            torch.from_numpy(face.visible),
            torch.from_numpy(crop_steps(placed.crops)),
            torch.tensor(previous),
        )

    def _clip(self, first: int, motion: MotionConfig, rng: np.random.Generator) -> PlacedFace:
        """Make the clip that begins with a face of the pack."""
        frames = self.config.frames
        last = first + frames - 1
        if last >= len(self.pack) or self._videos[last] != self._videos[first]:
            return animated_face(self.pack, first, self.spec, motion, rng, frames)
        images = [self.pack.image(index) for index in range(first, last + 1)]
        landmarks, others = self.pack.landmarks[first : last + 1], random_picture(self.pack, rng)
        occluded = None if self.pack.occluded is None else self.pack.occluded[first : last + 1]
        return move_frames(images, landmarks, self.spec, self.pack.scheme, motion, rng, others, occluded)


def animated_face(
    pack: FacePack, index: int, spec: CropSpec, motion: MotionConfig, rng: np.random.Generator, frames: int
) -> PlacedFace:
    """Animate a packed face; patches of others may pass in front of it."""
    occluded = None if pack.occluded is None else pack.occluded[index]
    image, landmarks, others = pack.image(index), pack.landmarks[index], random_picture(pack, rng)
    return animate_placed(image, landmarks, spec, pack.scheme, motion, rng, frames, others, occluded)

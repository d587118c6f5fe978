"""Clips whose frames are occluded when they are read: by a worn mask or by passing objects."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.datasets.clip import Clip, FrameSource, Picture
from srn.face.geometry import Box, ImageArray
from srn.synthesis.animated_face import PASSAGE_FRAMES
from srn.synthesis.masked import masked_picture
from srn.synthesis.moving_occluders import MovingOccluder, random_passage, random_sprite
from srn.synthesis.wardrobe import MaskWardrobe

Covered = Callable[[int], tuple[Picture, npt.NDArray[np.bool_]]]
"""Maps an index to that annotated frame with an occluder, and the visibility of its landmarks (N,)."""


class CoveredFrames:
    """Occluded frames of another source (a `FrameSource`); frames without landmarks are unchanged."""

    def __init__(self, frames: FrameSource, numbers: npt.NDArray[np.int64], covered: Covered) -> None:
        self._frames, self._covered = frames, covered
        self._index = {int(number): index for index, number in enumerate(numbers)}

    @property
    def path(self) -> Path:
        return self._frames.path

    def read(self, number: int) -> Picture:
        """Return a frame, (H, W, 3) uint8 RGB."""
        return self._covered(self._index[number])[0] if number in self._index else self._frames.read(number)


def _occluded(clip: Clip, covered: Covered, visible: npt.NDArray[np.bool_]) -> Clip:
    before = np.zeros(visible.shape, bool) if clip.occluded is None else clip.occluded
    frames = CoveredFrames(clip.frames, clip.numbers, covered)
    return dataclasses.replace(clip, frames=frames, occluded=before | ~visible)


def masked_clip(clip: Clip, kind: str, wardrobe: MaskWardrobe | None, rng: np.random.Generator) -> Clip:
    """Return the clip with one mask on the face, like those that `srn.synthesis.masked.mask_clips` writes.

    Args:
        clip: the clip; every frame is read once here, since the covered landmarks depend on the picture.
        kind, wardrobe: as in `srn.synthesis.masked.masked_picture`.
        rng: the only source of chance.

    Returns:
        A clip whose frames are masked when they are read, with `occluded` set.

    Raises:
        DataError: a frame cannot be read.
        InputError: templates are needed, or the kind is unknown.
    """
    seed = int(rng.integers(2**62))
    samples = clip.samples()

    def covered(index: int) -> tuple[Picture, npt.NDArray[np.bool_]]:
        # The same seed for every frame gives the same mask.
        image, visible, _ = masked_picture(samples[index], kind, wardrobe, np.random.default_rng(seed))
        return image, visible

    return _occluded(clip, covered, np.stack([covered(index)[1] for index in range(len(clip))]))


def passed_clip(
    clip: Clip, rng: np.random.Generator, other: Callable[[], ImageArray] | None = None, share: float = 1.0
) -> Clip:
    """Return the clip with objects that pass in front of the face (`srn.synthesis.moving_occluders`).

    Args:
        clip: the clip.
        rng: the only source of chance.
        other: returns another face's picture, pieces of which may pass; called only when needed.
        share: probability of an object in each 30 frames.

    Returns:
        A clip whose frames are occluded when they are read, with `occluded` set.
    """
    occluders: list[MovingOccluder] = []
    for first in range(0, len(clip), PASSAGE_FRAMES):
        if rng.random() < share:
            last = min(first + PASSAGE_FRAMES, len(clip))
            sprite = random_sprite(Box.around(clip.landmarks[first]).size, other, clip.scheme, rng)
            occluders.append(random_passage(sprite, clip.landmarks, first, last, rng))

    def visible(index: int) -> npt.NDArray[np.bool_]:
        seen = np.ones(clip.scheme.n_points, bool)
        for occluder in occluders:
            seen &= ~occluder.hides(index, clip.landmarks[index])
        return seen

    def covered(index: int) -> tuple[Picture, npt.NDArray[np.bool_]]:
        image = np.array(clip.frame(index))
        for occluder in occluders:
            image = occluder.paint(image, index, np.eye(2, 3))
        return image, visible(index)

    return _occluded(clip, covered, np.stack([visible(index) for index in range(len(clip))]))

"""Evaluation clips from stills: whole pictures, animated, with exact landmarks and visibility in every frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.face.geometry import ImageArray
from srn.synthesis.animated_face import AnimatedFace, random_animation
from srn.synthesis.config import MotionConfig


class AnimatedFrames:
    """Frames of an animated still, rendered on request (a `srn.datasets.clip.FrameSource`).

    Frames count from 1. The order of reading makes no difference.
    """

    def __init__(self, path: Path, animated: AnimatedFace, size: tuple[int, int]) -> None:
        self.path, self._animated, self._size = path, animated, size

    def read(self, number: int) -> ImageArray:
        """Render frame `number` as (H, W, 3) uint8 RGB.

        Raises:
            DataError: no frame has this number.
        """
        if not 1 <= number <= len(self._animated.shapes):
            raise DataError.at(self.path, f"a frame from 1 to {len(self._animated.shapes)}", str(number))
        return self._animated.render(number - 1, np.eye(2, 3), self._size)


def animate_picture(
    sample: Sample,
    config: MotionConfig,
    rng: np.random.Generator,
    frames: int,
    other: Callable[[], ImageArray] | None = None,
) -> Clip:
    """Animate a whole picture into a `Clip` of frames of its size, for evaluation.

    There is no crop, so `config.crop` and the jitter of its box have no effect. A flip mirrors the picture.

    Args:
        sample: the face; other faces of the picture move along without annotation.
        config: strength of the animation.
        rng: the only source of randomness.
        frames: number of frames T.
        other: as for `srn.synthesis.animate.animate`.

    Returns:
        A clip named after the picture, its points in frame pixels and with `occluded` filled in.

    Raises:
        DataError: the picture cannot be read.
        InputError: no frame.
    """
    image = sample.load()
    size = (image.shape[1], image.shape[0])
    if frames < 1:
        raise InputError.at("frames", "at least 1", str(frames))
    repeated = np.broadcast_to(sample.landmarks, (frames, *sample.landmarks.shape))
    animated = random_animation([image], repeated, sample.scheme, config, rng, other)
    view = np.eye(2, 3)
    occluded = np.stack([~animated.visible(t, view, size) for t in range(frames)])
    return Clip(
        name=sample.path.stem,
        frames=AnimatedFrames(sample.path, animated, size),
        numbers=np.arange(1, frames + 1, dtype=np.int64),
        landmarks=animated.shapes,
        scheme=sample.scheme,
        subset=sample.subset,
        occluded=occluded,
    )

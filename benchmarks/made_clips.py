"""Clips for measuring the tracker: animated pictures, and clips whose frames are occluded when they are read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from srn.datasets.clip import Clip, FrameSource
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.face.geometry import Box, CropGeometry, CropSpec, ImageArray, similarity
from srn.synthesis.animated_face import PASSAGE_FRAMES, AnimatedFace, random_animation
from srn.synthesis.config import MotionConfig
from srn.synthesis.masked import masked_picture
from srn.synthesis.moving_occluders import FAR, MovingOccluder, Sprite, presence, random_passage, random_sprite
from srn.synthesis.wardrobe import MaskWardrobe

Covered = Callable[[int], tuple[ImageArray, npt.NDArray[np.bool_]]]
"""Maps an index to that annotated frame with an occluder, and the visibility of its landmarks (N,)."""


@dataclass(frozen=True)
class AnimatedFrames:
    """Frames of an animated still, `size` (width, height), rendered on request in any order."""

    path: Path
    animated: AnimatedFace
    size: tuple[int, int]

    def read(self, number: int) -> ImageArray:
        if not 1 <= number <= len(self.animated.shapes):
            raise DataError.at(self.path, f"a frame from 1 to {len(self.animated.shapes)}", str(number))
        return self.animated.render(number - 1, np.eye(2, 3), self.size)


def framed(sample: Sample, spec: CropSpec) -> Sample:
    """Return a sample whose picture is cut out of its own as a frame of `spec`, without occlusion flags."""
    geometry = CropGeometry.from_box(sample.box, spec)
    source = functools.partial(_crop_of, sample, geometry)
    return dataclasses.replace(sample, landmarks=geometry.to_crop(sample.landmarks), source=source, occluded=None)


def _crop_of(sample: Sample, geometry: CropGeometry) -> ImageArray:
    return geometry.crop(sample.load())


def animate_picture(
    sample: Sample,
    config: MotionConfig,
    rng: np.random.Generator,
    frames: int,
    other: Callable[[], ImageArray] | None = None,
) -> Clip:
    """Animate a whole picture into a clip of frames of its size, named after it, with `occluded` set.

    There is no crop, so `config.crop` and the jitter of its box have no effect. Other faces of the picture move along
    without annotation.

    Args:
        sample: the face.
        config: strength of the animation.
        rng: the only source of randomness.
        frames: number of frames.
        other: as for `srn.synthesis.animate.animate_placed`.
    """
    if frames < 1:
        raise InputError.at("frames", "at least 1", str(frames))
    image = sample.load()
    size = (image.shape[1], image.shape[0])
    repeated = np.broadcast_to(sample.landmarks, (frames, *sample.landmarks.shape))
    animated = random_animation([image], repeated, sample.scheme, config, rng, other)
    occluded = np.stack([~animated.visible(t, np.eye(2, 3), size) for t in range(frames)])
    return Clip(
        name=sample.path.stem,
        frames=AnimatedFrames(sample.path, animated, size),
        numbers=np.arange(1, frames + 1, dtype=np.int64),
        landmarks=animated.shapes,
        scheme=sample.scheme,
        subset=sample.subset,
        occluded=occluded,
    )


class CoveredFrames:
    """Occluded frames of another source; frames without landmarks are unchanged."""

    def __init__(self, frames: FrameSource, numbers: npt.NDArray[np.int64], covered: Covered) -> None:
        self.path, self._frames, self._covered = frames.path, frames, covered
        self._index = {int(number): index for index, number in enumerate(numbers)}

    def read(self, number: int) -> ImageArray:
        return self._covered(self._index[number])[0] if number in self._index else self._frames.read(number)


def _occluded(clip: Clip, covered: Covered, visible: npt.NDArray[np.bool_]) -> Clip:
    before = np.zeros(visible.shape, bool) if clip.occluded is None else clip.occluded
    frames = CoveredFrames(clip.frames, clip.numbers, covered)
    return dataclasses.replace(clip, frames=frames, occluded=before | ~visible)


def masked_clip(clip: Clip, kind: str, wardrobe: MaskWardrobe | None, rng: np.random.Generator) -> Clip:
    """Return the clip with one mask on the face, like those that `srn.synthesis.masked.mask_clips` writes.

    Every frame is read once here, since the covered landmarks depend on the picture. `kind` and `wardrobe` are as in
    `srn.synthesis.masked.masked_picture`.
    """
    seed = int(rng.integers(2**62))
    samples = clip.samples()

    def covered(index: int) -> tuple[ImageArray, npt.NDArray[np.bool_]]:
        # The same seed for every frame gives the same mask.
        image, visible, _ = masked_picture(samples[index], kind, wardrobe, np.random.default_rng(seed))
        return image, visible

    return _occluded(clip, covered, np.stack([covered(index)[1] for index in range(len(clip))]))


def passed_clip(
    clip: Clip, rng: np.random.Generator, other: Callable[[], ImageArray] | None = None, share: float = 1.0
) -> Clip:
    """Return the clip with an object that passes in front of the face in each 30 frames, with probability `share`."""
    occluders: list[MovingOccluder] = []
    for first in range(0, len(clip), PASSAGE_FRAMES):
        if rng.random() < share:
            last = min(first + PASSAGE_FRAMES, len(clip))
            sprite = random_sprite(Box.around(clip.landmarks[first]).size, other, clip.scheme, rng)
            occluders.append(random_passage(sprite, clip.landmarks, first, last, rng))
    return _behind(clip, occluders)


def vanishing_clip(clip: Clip, cover: ImageArray, first: int, travel: float, stay: float) -> Clip:
    """Return the clip with its face, but not the rest of it, behind a picture `cover` (K, K, 3) for a while.

    The cover is a soft-edged disc, 2.6 face sizes wide. It comes from the right in `travel` frames from `first` on,
    follows the face for `stay` frames, so that nothing of it shows, and leaves as it came.
    """
    side = round(2.6 * Box.around(clip.landmarks[0]).size)
    picture = cv2.resize(cover, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    middle = np.full(2, (side - 1) / 2)
    y, x = np.mgrid[:side, :side]
    alpha = np.clip((side / 2 - np.hypot(x - middle[0], y - middle[1])) / (0.04 * side), 0, 1).astype(np.float32)
    there = presence(np.arange(len(clip), dtype=np.float64), first, travel, stay)
    away = np.stack([(1 - there) * (FAR + 0.5) * side / 2.6, np.zeros(len(clip))], axis=1)
    centers = np.stack([Box.around(shape).center for shape in clip.landmarks]) + away
    places = np.stack([similarity(1.0, 0.0, middle, center) for center in centers])
    return _behind(clip, [MovingOccluder(Sprite(picture * alpha[..., None], alpha), places)])


def _behind(clip: Clip, occluders: list[MovingOccluder]) -> Clip:
    """Return the clip with occluders in front of it."""

    def visible(index: int) -> npt.NDArray[np.bool_]:
        seen = np.ones(clip.scheme.n_points, bool)
        for occluder in occluders:
            seen &= ~occluder.hides(index, clip.landmarks[index])
        return seen

    def covered(index: int) -> tuple[ImageArray, npt.NDArray[np.bool_]]:
        image = np.array(clip.frame(index))
        for occluder in occluders:
            image = occluder.paint(image, index, np.eye(2, 3))
        return image, visible(index)

    return _occluded(clip, covered, np.stack([visible(index) for index in range(len(clip))]))

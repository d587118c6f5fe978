"""Clips by number: a source gives the same clip for the same number, whenever and in whatever order it is asked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from srn.datasets.clip import Clip
from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.face.geometry import Box, CropGeometry, CropSpec, FloatArray, ImageArray
from srn.face.scheme import LandmarkScheme
from srn.synthesis.animate import MovingFace, animate
from srn.synthesis.config import UNOCCLUDED_MOTION, MotionConfig


class ClipSource(Protocol):
    """Clips of one face each, in the frame that the network sees."""

    @property
    def scheme(self) -> LandmarkScheme:
        """Numbering of the landmarks."""

    @property
    def spec(self) -> CropSpec:
        """Size of the crops."""

    @property
    def name(self) -> str:
        """What the clips are, to the seed: two sources of one name give the same clips."""

    def __len__(self) -> int:
        """How many clips there are."""

    def clip(self, number: int) -> MovingFace:
        """One of the clips."""


class GivenClips:
    """Clips that are in memory already."""

    def __init__(
        self, clips: Sequence[MovingFace], spec: CropSpec, scheme: LandmarkScheme, name: str = "given"
    ) -> None:
        self._clips, self.spec, self.scheme, self.name = list(clips), spec, scheme, name

    def __len__(self) -> int:
        return len(self._clips)

    def clip(self, number: int) -> MovingFace:
        return self._clips[number]


class AnimatedClips:
    """Packed pictures brought to life: clip k is face k of a permutation of the pack, moved by chance of its own.

    Args:
        pack: the faces.
        spec: frame of the crops.
        frames: frames T of each clip.
        seed: of the order and of all motion.
        motion: how the faces move; everything but occlusion where None, which is the agent's to add.
        count: how many clips there are; as many as faces where None. Above that the faces come again in other motion.
    """

    def __init__(
        self,
        pack: FacePack,
        spec: CropSpec,
        frames: int = 24,
        *,
        seed: int = 0,
        motion: MotionConfig | None = None,
        count: int | None = None,
    ) -> None:
        if frames < 1:
            raise InputError.at("frames of a clip", "at least 1", str(frames))
        self.pack, self.spec, self.frames, self.seed, self.motion = (
            pack,
            spec,
            frames,
            seed,
            motion or UNOCCLUDED_MOTION,
        )
        self._count = len(pack) if count is None else count
        self._order = np.random.default_rng([seed, 0]).permutation(len(pack))

    def __len__(self) -> int:
        return self._count

    @property
    def scheme(self) -> LandmarkScheme:
        return self.pack.scheme

    @property
    def name(self) -> str:
        return f"{self._count} clips of {self.frames} frames animated from {self.pack.digest()}, seed {self.seed}"

    def clip(self, number: int) -> MovingFace:
        if not 0 <= number < self._count:
            raise InputError.at("clip number", f"0 to {self._count - 1}", str(number))
        rng = np.random.default_rng([self.seed, 1, number])
        face = int(self._order[number % len(self._order)])

        def another() -> ImageArray:
            return self.pack.image(int(rng.integers(len(self.pack))))

        return animate(
            self.pack.image(face), self.pack.landmarks[face], self.spec, self.scheme, self.motion, rng, self.frames,
            another,
        )  # fmt: skip


def cropped(images: Sequence[ImageArray], landmarks: FloatArray, spec: CropSpec) -> MovingFace:
    """Frames (T) of any size with landmarks (T, N, 2), each cut out by its own landmark box; all points inside count as
    seen."""
    frames = [CropGeometry.from_box(Box.around(shape), spec) for shape in landmarks]
    crops = np.stack([frame.crop(image) for frame, image in zip(frames, images, strict=True)])
    shapes = np.stack([frame.to_crop(shape) for frame, shape in zip(frames, landmarks, strict=True)])
    inside = np.asarray(((shapes > -0.5) & (shapes < spec.size - 0.5)).all(axis=-1))
    return MovingFace(crops, shapes.astype(np.float32), inside)


class RecordedClips:
    """Real videos with landmarks, each frame cropped by its own landmark box.

    Args:
        clips: the videos.
        spec: frame of the crops.
        frames: longer videos are cut into stretches of this many frames; the shorter rest at the end counts as one.
    """

    def __init__(self, clips: Sequence[Clip], spec: CropSpec, frames: int = 24) -> None:
        schemes = {clip.scheme.name for clip in clips}
        if len(schemes) != 1:
            raise InputError.at("videos", "clips of one landmark scheme", ", ".join(sorted(schemes)) or "no clip")
        self.spec, self.scheme = spec, clips[0].scheme
        self._parts = [
            (clip, range(first, min(first + frames, len(clip))))
            for clip in clips
            for first in range(0, len(clip), frames)
        ]
        self.name = f"{len(self._parts)} stretches of {len(clips)} videos"

    def __len__(self) -> int:
        return len(self._parts)

    def clip(self, number: int) -> MovingFace:
        clip, numbers = self._parts[number]
        face = cropped(
            [clip.frame(index) for index in numbers], clip.landmarks[numbers.start : numbers.stop], self.spec
        )
        if clip.occluded is None:
            return face
        return face._replace(visible=face.visible & ~clip.occluded[numbers.start : numbers.stop])

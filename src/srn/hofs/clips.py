"""Sources of clips by number: the same number always gives the same clip."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from srn.datasets.clip import Clip
from srn.datasets.pack import FacePack
from srn.datasets.sample import TRAIN
from srn.datasets.three_hundred_vw import read_300vw
from srn.datasets.writing import frame_name
from srn.errors import DataError, InputError
from srn.face.geometry import Box, CropGeometry, CropSpec, FloatArray, ImageArray
from srn.face.scheme import LandmarkScheme
from srn.synthesis.animate import MovingFace
from srn.synthesis.config import UNOCCLUDED_MOTION, MotionConfig
from srn.training.clip_stream import animated_face


class ClipSource(Protocol):
    """Clips of one face each, as crops that the network sees."""

    @property
    def scheme(self) -> LandmarkScheme: ...

    @property
    def spec(self) -> CropSpec: ...

    @property
    def name(self) -> str:
        """Identity of the clips: sources of one name give the same clips."""

    def __len__(self) -> int: ...

    def clip(self, number: int) -> MovingFace: ...

    def origin(self, number: int) -> str:
        """Name the photograph, or the first frame of the video, that a clip was made of."""


MOST_FRAMES, MOST_CLIPS = 10_000, 10**9


class GivenClips:
    """Clips in memory."""

    def __init__(
        self, clips: Sequence[MovingFace], spec: CropSpec, scheme: LandmarkScheme, name: str = "given"
    ) -> None:
        self._clips, self.spec, self.scheme, self.name = list(clips), spec, scheme, name

    def __len__(self) -> int:
        return len(self._clips)

    def clip(self, number: int) -> MovingFace:
        return self._clips[number]

    def origin(self, number: int) -> str:
        return f"{self.name}/{number}"


class AnimatedClips:
    """Packed faces brought to life: clip k is face k of a permutation of the pack, moved at random.

    There is one clip for each face if `count` is None; beyond that the faces repeat in other motion. The default motion
    has no occlusion, which is the agent's to add.
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
        if not 1 <= frames <= MOST_FRAMES:
            raise InputError.at("frames of a clip", f"at least 1, at most {MOST_FRAMES}", str(frames))
        if count is not None and not 1 <= count <= MOST_CLIPS:
            raise InputError.at("number of clips", f"at least 1, at most {MOST_CLIPS}", str(count))
        self.pack, self.scheme, self.spec, self.frames, self.seed = pack, pack.scheme, spec, frames, seed
        self.motion = motion or UNOCCLUDED_MOTION
        self._count = len(pack) if count is None else count
        self._order = np.random.default_rng([seed, 0]).permutation(len(pack))

    def __len__(self) -> int:
        return self._count

    @property
    def name(self) -> str:
        motion = "" if self.motion == UNOCCLUDED_MOTION else f", motion {_digest(self.motion.to_dict())}"
        animated = f"animated from {self.pack.digest()}, seed {self.seed}{motion}"
        return f"{self._count} clips of {self.frames} frames {animated}"

    def clip(self, number: int) -> MovingFace:
        if not 0 <= number < self._count:
            raise InputError.at("clip number", f"0 to {self._count - 1}", str(number))
        rng = np.random.default_rng([self.seed, 1, number])
        return animated_face(self.pack, self._face(number), self.spec, self.motion, rng, self.frames).face

    def origin(self, number: int) -> str:
        return str(self.pack.names[self._face(number)])

    def _face(self, number: int) -> int:
        return int(self._order[number % len(self._order)])


def cropped(frames: Sequence[ImageArray], landmarks: FloatArray, spec: CropSpec) -> MovingFace:
    """Crop frames of any size by the boxes of their landmarks (T, N, 2); landmarks inside the crop are visible."""
    crops = [CropGeometry.from_box(Box.around(shape), spec) for shape in landmarks]
    images = np.stack([crop.crop(frame) for crop, frame in zip(crops, frames, strict=True)])
    shapes = np.stack([crop.to_crop(shape) for crop, shape in zip(crops, landmarks, strict=True)])
    inside = np.asarray(((shapes > -0.5) & (shapes < spec.size - 0.5)).all(axis=-1))
    return MovingFace(images, shapes.astype(np.float32), inside)


class RecordedClips:
    """Real videos of one landmark scheme, each frame `cropped`.

    Videos are cut into stretches of `frames` frames; the shorter rest at the end counts as one. At most `count`
    stretches are used.
    """

    def __init__(self, clips: Sequence[Clip], spec: CropSpec, frames: int = 24, *, count: int | None = None) -> None:
        schemes = {clip.scheme.name for clip in clips}
        if len(schemes) != 1:
            raise InputError.at("videos", "clips of one landmark scheme", ", ".join(sorted(schemes)) or "no clip")
        self.spec, self.scheme = spec, clips[0].scheme
        stretches = [(clip, slice(first, first + frames)) for clip in clips for first in range(0, len(clip), frames)]
        self._stretches = stretches[:count]
        self.name = (
            f"{len(self._stretches)} stretches of {len(clips)} videos, {_digest(list(map(_facts, self._stretches)))}"
        )

    def __len__(self) -> int:
        return len(self._stretches)

    def clip(self, number: int) -> MovingFace:
        clip, stretch = self._stretches[number]
        images = [clip.frame(index) for index in range(len(clip))[stretch]]
        face = cropped(images, clip.landmarks[stretch], self.spec)
        if clip.occluded is None:
            return face
        return face._replace(visible=face.visible & ~clip.occluded[stretch])

    def origin(self, number: int) -> str:
        clip, stretch = self._stretches[number]
        return f"{clip.subset}/{frame_name(int(clip.numbers[stretch][0]))}"


def _digest(facts: object) -> str:
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _facts(stretch: tuple[Clip, slice]) -> list[object]:
    """What tells a stretch of a video from others: names and annotations."""
    clip, part = stretch
    hidden = None if clip.occluded is None else clip.occluded[part].tolist()
    return [clip.subset, clip.name, clip.numbers[part].tolist(), clip.landmarks[part].tolist(), hidden]


def recorded_clips(
    root: str | os.PathLike[str], spec: CropSpec, frames: int = 24, *, count: int | None = None
) -> tuple[RecordedClips, list[str]]:
    """Open `RecordedClips` in 300VW's layout; the second result has a line for each video that cannot be used.

    Of 300VW itself only the training videos are taken: hard clips are there to train with, and do not tell any more
    which video they were.

    Raises:
        DataError: there is no such video.
    """
    videos, report = read_300vw(root, [TRAIN])
    if not videos:
        reason = next(iter(report.problems), "300VW's test videos alone")
        raise DataError.at(root, "videos to train with", reason)
    return RecordedClips(videos, spec, frames, count=count), list(report.problems)

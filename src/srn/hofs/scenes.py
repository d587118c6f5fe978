"""The moving occlusion: a noise patch on one landmark of every frame, and the addresses that name such frames.

Nothing is kept as pixels. A `Place` names an occluded frame by clip, frame, landmark and noise seed, and `Scenes`
paints it whenever it is needed: the replay memory, the rewards and the synthesized clips speak of the same pictures.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import ImageArray
from srn.hofs.clips import ClipSource
from srn.synthesis.animate import MovingFace
from srn.synthesis.occluders import noise_patch, visible_landmarks

ACTIONS = 3
"""Move to landmark index - 1, stay on index, move to index + 1 (section 3.2)."""

NOWHERE = -1
"""The landmark of a frame without occlusion."""

PAPER_PATCH_SIZE = 48 / 140
"""Side of the noise patch in units of the face's: the paper's 48 pixels, where the paper's face box has 140."""


class Place(NamedTuple):
    """Address of an occluded frame.

    Attributes:
        clip: number of the clip in its source.
        frame: number of the frame in the clip, from 0.
        landmark: index of the landmark under the middle of the patch; `NOWHERE` without one.
        noise_seed: which noise the patch shows. It is the same all through an episode: one object that moves.
    """

    clip: int
    frame: int
    landmark: int
    noise_seed: int


def moved(index: int, action: int, n_points: int) -> int:
    """The landmark that an action leads to. The landmarks form a ring: below the first comes the last."""
    return (index + action - 1) % n_points


class Scenes:
    """Paints occluded frames of a source's clips.

    Args:
        source: the clips.
        patch_size: side of the noise patch, in units of the face's side.
        clips_kept: clips held in memory; the one that was not used for the longest goes first.
    """

    def __init__(self, source: ClipSource, patch_size: float = PAPER_PATCH_SIZE, clips_kept: int = 64) -> None:
        if patch_size <= 0:
            raise InputError.at("patch size", "more than nothing", str(patch_size))
        self.source, self.patch_size, self.clips_kept = source, patch_size, clips_kept
        self.seconds = 0.0
        """Time spent so far on making pictures: clips and patches."""
        self._kept: OrderedDict[int, MovingFace] = OrderedDict()

    @property
    def n_points(self) -> int:
        """Landmarks N, which is how many places of the patch there are in a frame."""
        return self.source.scheme.n_points

    def clip(self, number: int) -> MovingFace:
        """A clip of the source, from memory where it is still there."""
        if number in self._kept:
            self._kept.move_to_end(number)
        else:
            self._kept[number] = self.source.clip(number)
            while len(self._kept) > self.clips_kept:
                self._kept.popitem(last=False)
        return self._kept[number]

    def frames(self, number: int) -> int:
        """How many frames a clip has."""
        return len(self.clip(number).images)

    def candidates(self, place: Place) -> list[Place]:
        """What the three actions at a place lead to, in the same frame: the occluded faces of eq. 9."""
        return [place._replace(landmark=moved(place.landmark, action, self.n_points)) for action in range(ACTIONS)]

    def painted(self, place: Place) -> tuple[ImageArray, npt.NDArray[np.bool_]]:
        """An occluded frame (S, S, 3), a copy of its own, and which landmarks (N,) can be seen in it."""
        face = self.clip(place.clip)
        image, visible = face.images[place.frame].copy(), face.visible[place.frame].copy()
        if place.landmark != NOWHERE:
            landmarks = face.landmarks[place.frame]
            # A fresh generator for every patch: its noise depends on the seed alone, not on what was painted before.
            side = self.patch_size * self.source.spec.face_size
            covered = noise_patch(image, landmarks[place.landmark], side, np.random.default_rng(place.noise_seed))
            visible &= visible_landmarks(covered, landmarks)
        return image, visible

    def pictures(self, places: Sequence[Place]) -> tuple[ImageArray, npt.NDArray[np.float32]]:
        """Occluded frames (B, S, S, 3) and the landmarks (B, N, 2) in them, crop pixels."""
        begin = time.perf_counter()
        images = np.stack([self.painted(place)[0] for place in places])
        shapes = np.stack([self.clip(place.clip).landmarks[place.frame] for place in places]).astype(np.float32)
        self.seconds += time.perf_counter() - begin
        return images, shapes

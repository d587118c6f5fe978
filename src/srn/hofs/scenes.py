"""The moving occlusion: a noise patch on one landmark of every frame, and the addresses of such frames."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import ImageArray
from srn.hofs.clips import ClipSource
from srn.synthesis.animate import MovingFace
from srn.synthesis.occluders import noise_patch, visible_landmarks

Trajectory = npt.NDArray[np.int64]
"""(T,): the landmark under the patch in every frame of a clip."""

ACTIONS = 3
"""Move to landmark index - 1, stay on index, move to index + 1 (section 3.2)."""

NOWHERE = -1
"""The landmark of a frame without occlusion."""

PAPER_PATCH_SIZE = 48 / 140
"""Side of the noise patch relative to the face size: 48 pixels where the paper's face box has 140."""


class Place(NamedTuple):
    """Address of an occluded frame, which `Scenes` renders on demand; memories keep no pixels.

    Attributes:
        clip: number of the clip in its source.
        frame: number of the frame in the clip, from 0.
        landmark: index of the landmark under the middle of the patch; `NOWHERE` without one.
        noise_seed: constant through an episode: one object that moves.
    """

    clip: int
    frame: int
    landmark: int
    noise_seed: int


def next_landmark(landmark: int, action: int, n_points: int) -> int:
    """Apply an action. The landmarks form a ring: the last one precedes the first."""
    return (landmark + action - 1) % n_points


class Scenes:
    """Renders occluded frames of a source's clips, of which the `clips_kept` last used ones are held in memory.

    `patch_size` is the side of the noise patch relative to the face size.
    """

    def __init__(self, source: ClipSource, patch_size: float = PAPER_PATCH_SIZE, clips_kept: int = 64) -> None:
        if patch_size <= 0:
            raise InputError.at("patch size", "a number above 0", str(patch_size))
        self.source, self.patch_size = source, patch_size
        self.clip: Callable[[int], MovingFace] = lru_cache(clips_kept)(source.clip)
        self.seconds = 0.0
        """Time spent on rendering so far: clips and patches."""

    @property
    def n_points(self) -> int:
        return self.source.scheme.n_points

    def length(self, number: int) -> int:
        """Count the frames T of a clip."""
        return len(self.clip(number).images)

    def candidates(self, place: Place) -> list[Place]:
        """List the places that the three actions lead to, in the same frame: the occluded faces of eq. 9."""
        around = (next_landmark(place.landmark, action, self.n_points) for action in range(ACTIONS))
        return [place._replace(landmark=landmark) for landmark in around]

    def occluded(self, place: Place) -> tuple[ImageArray, npt.NDArray[np.bool_]]:
        """Render a place: its frame (S, S, 3), as a copy, and the visibility (N,) of its landmarks."""
        face = self.clip(place.clip)
        image, visible = face.images[place.frame].copy(), face.visible[place.frame].copy()
        if place.landmark != NOWHERE:
            landmarks = face.landmarks[place.frame]
            # A new generator for every patch: its noise depends on the seed alone, not on earlier patches.
            size = self.patch_size * self.source.spec.face_size
            covered = noise_patch(image, landmarks[place.landmark], size, np.random.default_rng(place.noise_seed))
            visible &= visible_landmarks(covered, landmarks)
        return image, visible

    def render(self, places: Sequence[Place]) -> tuple[ImageArray, npt.NDArray[np.float32]]:
        """Render places: frames (B, S, S, 3) and their landmarks (B, N, 2) in crop pixels."""
        begin = time.perf_counter()
        images = np.stack([self.occluded(place)[0] for place in places])
        shapes = np.stack([self.clip(place.clip).landmarks[place.frame] for place in places]).astype(np.float32)
        self.seconds += time.perf_counter() - begin
        return images, shapes

    def occluded_clip(self, number: int, trajectory: Trajectory, noise_seed: int) -> MovingFace:
        """Render a whole clip with the patch along a trajectory (T,)."""
        places = [Place(number, frame, landmark, noise_seed) for frame, landmark in enumerate(trajectory.tolist())]
        images, visible = zip(*map(self.occluded, places), strict=True)
        return MovingFace(np.stack(images), self.clip(number).landmarks.copy(), np.stack(visible))

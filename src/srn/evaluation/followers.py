"""Followers localize the face of a clip in every frame."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from srn.datasets.clip import Clip
from srn.errors import DataError
from srn.evaluation.protocol import MINIMAL_OVERLAP, best_match
from srn.face.geometry import Box, FloatArray, ImageArray
from srn.inference.face import Face
from srn.inference.landmarker import FaceLandmarker
from srn.inference.tracker import FaceTracker

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """A follower's answer: (T, N, 2) in frame pixels, NaN without the face, and (T,) seconds, without reading."""

    shapes: Float64Array
    seconds: Float64Array


class Follower(Protocol):
    """Localizes the face of a clip in every frame."""

    @property
    def name(self) -> str:
        """Name in the results."""

    def __call__(self, clip: Clip) -> Track:
        """Follow the clip's face. The true landmarks may only be used for boxes, as the follower's name says."""


@dataclass(frozen=True)
class FrameByFrame:
    """The picture model on every frame alone.

    Attributes:
        init: `gt-box`: the tight box of the true landmarks (the paper's protocol); `finder`: the face finder's box
            that overlaps the annotated face most.
    """

    landmarker: FaceLandmarker
    name: str = "picture model, frame by frame"
    init: Literal["gt-box", "finder"] = "gt-box"

    def __call__(self, clip: Clip) -> Track:
        def localize(image: ImageArray, truth: Float64Array) -> Float64Array | None:
            if self.init == "gt-box":
                return self.landmarker.detect(image, [Box.around(truth)])[0].landmarks
            return _nearest(self.landmarker.detect(image), truth)

        return each_frame(clip, localize)


@dataclass(frozen=True)
class TrackerFollower:
    """`FaceTracker`, which finds, follows and smooths; `make` is called for every clip."""

    make: Callable[[], FaceTracker]
    name: str = "srn's default tracker"

    def __call__(self, clip: Clip) -> Track:
        tracker = self.make()
        return each_frame(clip, lambda image, truth: _nearest(tracker.update(image), truth))


def standard_followers(landmarker: FaceLandmarker) -> list[Follower]:
    """Return the followers of `srn evaluate --video`: the picture model and the tracker, each in two ways."""
    return [
        FrameByFrame(landmarker, "frame by frame, true boxes"),
        FrameByFrame(landmarker, "frame by frame, face finder", "finder"),
        TrackerFollower(landmarker.tracker, "tracker"),
        TrackerFollower(lambda: landmarker.tracker(smooth=False), "tracker, not smoothed"),
    ]


def is_on_face(shape: FloatArray, truth: FloatArray) -> bool:
    """Tell whether the box of a shape overlaps the true one by `MINIMAL_OVERLAP`."""
    if not np.isfinite(shape).all() or (np.ptp(shape, axis=0) <= 0).any():
        return False
    return Box.around(shape).iou(Box.around(truth)) >= MINIMAL_OVERLAP


def _nearest(faces: Sequence[Face], truth: Float64Array) -> Float64Array | None:
    best = best_match([face.box for face in faces], Box.around(truth))
    return None if best is None else faces[best].landmarks


def each_frame(clip: Clip, localize: Callable[[ImageArray, Float64Array], Float64Array | None]) -> Track:
    """Localize the face of every frame, given the frame and its true landmarks, and time it."""
    shapes, seconds = np.full(clip.landmarks.shape, np.nan), np.zeros(len(clip))
    for index, (image, truth) in enumerate(clip):
        height, width = image.shape[:2]
        if not Box.around(truth).is_in(width, height):
            where = f"{clip.frames.path}, frame {clip.numbers[index]}"
            raise DataError.at(where, f"a face in the frame of {width} x {height} pixels", "one elsewhere")
        begin = time.perf_counter()
        shape = localize(image, truth)
        seconds[index] = time.perf_counter() - begin
        if shape is not None:
            shapes[index] = shape
    return Track(shapes, seconds)

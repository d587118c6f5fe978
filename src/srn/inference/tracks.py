"""`Track`: one face through a video, with its prediction, its filters and its report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from srn.face.geometry import Box, CropGeometry, Float64Array, ImageArray
from srn.face.localizer import Float32Array
from srn.face.scheme import LandmarkScheme
from srn.inference.face import Face
from srn.inference.flow import Anchor, Carried, FaceFlow, anchored
from srn.inference.smoothing import OneEuroShape, ShapeMemory
from srn.inference.tracker_config import TrackerConfig


@dataclass(frozen=True, eq=False)
class Candidate:
    """A crop of a frame that may hold a face."""

    geometry: CropGeometry
    track: Track | None  # which predicts the face; None for a new one
    score: float
    start: Float64Array | None = None  # (N, 2) initial shape, picture pixels; the network's own if None
    found: bool = False  # whether the face finder placed the crop


@dataclass(frozen=True, eq=False)
class Observation:
    """A candidate with its view, in picture pixels."""

    candidate: Candidate
    shape: Float64Array  # (N, 2)
    hidden: Float32Array  # (H,) recurrent state of the network
    visibility: Float32Array | None
    confidence: Float32Array | None
    # (N, 2) half the difference between the mirrored and the plain view, crop pixels, averaged over time
    mirror_offset: Float64Array | None = None
    since_mirrored: int = 0  # frames

    @property
    def mean_confidence(self) -> float | None:
        return None if self.confidence is None else float(self.confidence.mean())

    def is_weak(self, config: TrackerConfig) -> bool:
        """Whether the mean confidence is too low for a new face."""
        return self.mean_confidence is not None and self.mean_confidence < config.accept_confidence


class Track:
    """One face through a video, from its first observation on.

    `shape` (N, 2) is observed, or predicted for `time_s`, in picture pixels. `smoothed` is the same after the filters;
    the next position is predicted from it.
    """

    def __init__(self, number: int, scene: int, observation: Observation, time_s: float, config: TrackerConfig) -> None:
        self.number, self.scene, self.config = number, scene, config
        self.last, self.shape, self.score = observation, observation.shape, observation.candidate.score
        self.time_s = self.seen_s = self.born_s = time_s
        self.velocity: Float64Array = np.zeros(2)  # picture pixels a second
        self.missed = 0  # consecutive runs of the face finder without this face
        self.lost = False
        self.anchor: Anchor | None = None  # the face's pixels in the last frame
        self.carried: Carried | None = None  # `smoothed` by the optical flow; None where it is not trusted
        self._memory, self._filter = ShapeMemory(config.smoothing), OneEuroShape(config.smoothing)
        self.smoothed = self._filtered()

    @property
    def box(self) -> Box:
        return Box.around(self.shape)

    def predict(self, time_s: float) -> None:
        """Move the landmarks to their position at `time_s` by a constant velocity, which decays while lost."""
        dt = time_s - self.time_s
        offset = self.velocity * min(dt, 1.0)
        self.shape, self.smoothed, self.time_s, self.carried = self.shape + offset, self.smoothed + offset, time_s, None
        if self.lost:
            self.velocity = self.velocity * np.exp(-dt / self.config.slow_s)

    def carry(self, image: ImageArray, flow: FaceFlow, before: Float64Array, dt: float) -> None:
        """Correct the predicted position by optical flow.

        Args:
            image: this frame, (H, W, 3) uint8 RGB.
            before: (N, 2) `smoothed` of the frame before, picture pixels.
            dt: seconds since then.
        """
        if self.lost or self.anchor is None:
            return
        offset = (self.smoothed - before).mean(axis=0)
        now = anchored(image, self.anchor.geometry.shifted(offset))
        carried = flow(self.anchor, now, before, self.last.visibility)
        trust = float(carried.trust.mean())
        if trust < self.config.least_flow:
            return
        self.carried = carried
        self.shape = self.smoothed = carried.points
        if dt > 0:
            self.velocity = self.velocity + trust * ((carried.points - before).mean(axis=0) / dt - self.velocity)

    def follow(self, observation: Observation, time_s: float) -> None:
        """Accept the observation of this frame."""
        dt = time_s - self.seen_s
        if self.lost:
            # The displacement during the loss gives no velocity, and the filters' states are out of date.
            self.velocity, self.lost = np.zeros(2), False
            self._filter.reset()
            if observation.candidate.found:
                self._memory.reset()
        elif dt > 0:
            # Alpha-beta filter: `shape` is the prediction, and its error corrects the velocity.
            error = observation.shape.mean(axis=0) - self.shape.mean(axis=0)
            # An object that slides over a face drags the landmarks along and lowers their confidence.
            trust = 1.0 if observation.mean_confidence is None else observation.mean_confidence
            gain = min(0.5, dt / (dt + 0.05)) * trust
            if self.carried is not None:
                gain *= 1 - float(self.carried.trust.mean())  # the optical flow has already given the velocity
            self.velocity = self.velocity + gain * error / dt
        self.last, self.shape, self.time_s, self.seen_s = observation, observation.shape, time_s, time_s
        self.smoothed = self._filtered()

    def lose(self) -> None:
        """Note that this frame does not show the face."""
        self.lost, self.anchor, self.carried = True, None, None

    @property
    def is_proven(self) -> bool:
        """Whether it has been seen for long enough to be remembered once lost."""
        return self.seen_s - self.born_s >= self.config.min_age_s

    def face(self, scheme: LandmarkScheme) -> Face | None:
        """Report the face at `time_s`; None if it has been lost for longer than `coast_s`."""
        away = self.time_s - self.seen_s
        if self.lost and away > self.config.coast_s:
            return None
        fade = np.float32(np.exp(-away / self.config.fade_s)) if self.lost else np.float32(1)
        landmarks = self.smoothed if self.config.smooth else self.shape
        visibility, confidence = self.last.visibility, self.last.confidence
        return Face(
            landmarks=landmarks,
            visibility=None if visibility is None else visibility * np.float32(not self.lost),
            confidence=None if confidence is None else confidence * fade,
            box=Box.around(landmarks),
            score=self.score * float(fade),
            scheme=scheme,
            track_id=self.number,
        )

    def _filtered(self) -> Float64Array:
        held = self._memory(self.shape, self.time_s, self.last.visibility, self.last.confidence)
        return self._filter(held, self.time_s, self.last.confidence, self.carried)

"""`Track`: one face through a video, with its prediction, its filters and its report; and the settings."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from srn.errors import InputError
from srn.face.geometry import Box, CropGeometry, Float64Array, ImageArray
from srn.face.localizer import Float32Array
from srn.face.scheme import LandmarkScheme
from srn.inference.appearance import Appearance
from srn.inference.face import Face
from srn.inference.flow import Anchor, Carried, FaceFlow, anchored
from srn.inference.smoothing import OneEuroShape, ShapeMemory, SmoothingConfig
from srn.inference.views import MISPLACED
from srn.settings import Count, Index, NonNegative, Positive, Settings, Share

Start = Literal["mean", "previous"]

_LEAST_FADE = 1e-6  # share of its confidence to which a lost face's covariance grows on; then its points are anywhere
_SETTLING_S = 0.05  # time constant with which a track's speed follows the observed one


@dataclass(frozen=True)
class TrackerConfig(Settings):
    """Settings of `FaceTracker`. Lengths are in face sizes (`Box.size`), times in seconds, intervals in frames.

    The limits at which a face is lost were first chosen on clips of CK+; on animated training faces alone no other
    value beats them (`docs/video.md`).

    Attributes:
        smooth: report smoothed landmarks, with hidden ones held in place.
        flow: propagate landmarks from frame to frame by optical flow, to place crops and to smooth.
        least_flow: lowest mean trust in the optical flow at which it is used.
        smoothing: settings of the filters.
        mirror_every: interval between views of a track's mirrored crop; 0 for none. Half the difference between the
            two views changes slowly, so it also corrects the frames between them.
        mirror_gain: weight of a new such difference against the earlier ones.
        start: initial shape of the network in each frame. `mean`: as in a picture; `previous`: the shape of the frame
            before.
        iterations: number of iterations of the network that are used; all if None.
        find_every, find_when_empty, find_after_change: intervals of `FinderSchedule`.
        max_displacement: displacement of its crop above which a tracked face is viewed again.
        keep_confidence: mean confidence below which a face is lost.
        accept_confidence: lowest mean confidence of a new face, or of a lost one that is found again.
        found_confidence: lowest mean confidence of a followed face that the face finder has found in this frame.
        retry_s: time after the loss of a face in which `keep_confidence` suffices at its predicted position.
        max_shift, max_stretch: largest distance of a face from its predicted position, and ratio of its sizes.
        max_misfit: largest root mean square distance between the mean shape and a face aligned to it, in face units.
        max_misses: number of consecutive runs of the finder that may miss a face without, or with low, confidence.
        min_age_s: age below which a track that is lost is discarded.
        coast_s: time for which a lost face is still reported, with falling confidence.
        memory_s: time for which the number of a lost face is kept.
        fade_s, slow_s: times in which the confidence and the speed of a lost face fall to 1/e.
        reach, reach_per_s, max_reach: largest distance of a found box from a face's predicted position, its growth
            with each second since the face was lost, and the upper limit of the sum.
    """

    smooth: bool = True
    flow: bool = True
    least_flow: Share = 0.3
    smoothing: SmoothingConfig = field(default_factory=SmoothingConfig)
    mirror_every: Index = 4
    mirror_gain: Share = 0.3
    start: Start = "mean"
    iterations: Count | None = None
    find_every: Count = 30
    find_when_empty: Count = 5
    find_after_change: Count = 8
    max_displacement: NonNegative = MISPLACED
    keep_confidence: Share = 0.2
    accept_confidence: Share = 0.28
    found_confidence: Share = 0.1
    retry_s: NonNegative = 0.5
    max_shift: NonNegative = 0.6
    max_stretch: Positive = 1.6
    max_misfit: NonNegative = 0.25
    max_misses: Count = 2
    min_age_s: NonNegative = 0.2
    coast_s: NonNegative = 1.0
    memory_s: NonNegative = 4.0
    fade_s: Positive = 0.4
    slow_s: Positive = 1.0
    reach: Positive = 0.6
    reach_per_s: NonNegative = 1.5
    max_reach: Positive = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep_confidence > self.accept_confidence:
            found = f"{self.keep_confidence:g} and {self.accept_confidence:g}"
            raise InputError.at("TrackerConfig.keep_confidence", "at most accept_confidence", found)
        if self.max_stretch <= 1:
            raise InputError.at("TrackerConfig.max_stretch", "a ratio above 1", f"{self.max_stretch:g}")


@dataclass(frozen=True, eq=False)
class Candidate:
    """A crop of a frame that may hold a face."""

    geometry: CropGeometry
    track: Track | None  # which predicts the face; None for a new one
    score: float
    start: Float64Array | None = None  # (N, 2) initial shape, picture pixels; the network's own if None
    found: bool = False  # whether the face finder placed the crop
    upside_down: CropGeometry | None = None  # crop of a found face that lies upside down, unlike the finder took it to


@dataclass(frozen=True, eq=False)
class Observation:
    """A candidate with its view, in picture pixels."""

    candidate: Candidate
    shape: Float64Array  # (N, 2)
    hidden: Float32Array  # (H,) recurrent state of the network
    visibility: Float32Array | None
    confidence: Float32Array | None
    covariance: Float32Array | None = None  # (N, 2, 2)
    # (N, 2) half the difference between the mirrored and the plain view, crop pixels, averaged over time
    mirror_offset: Float64Array | None = None
    since_mirrored: int = 0  # frames

    @functools.cached_property
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
        self.appearance: Appearance | None = None  # in the last sure view of the whole face, if there is one
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
        """Correct the prediction by optical flow from `before` (N, 2): `smoothed` of the frame `dt` seconds ago."""
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
            gain = min(0.5, dt / (dt + _SETTLING_S)) * trust
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

    def has_left(self, size: tuple[int, ...]) -> bool:
        """Whether it is lost, and predicted outside a picture of `size` (H, W, ...)."""
        if not self.lost:
            return False
        x, y = self.box.center
        return not (0 <= x < size[1] and 0 <= y < size[0])

    def face(self, scheme: LandmarkScheme) -> Face | None:
        """Report the face at `time_s`; None if it has been lost for longer than `coast_s`."""
        away = self.time_s - self.seen_s
        if self.lost and away > self.config.coast_s:
            return None
        fade = np.float32(np.exp(-away / self.config.fade_s)) if self.lost else np.float32(1)
        landmarks = self.smoothed if self.config.smooth else self.shape
        visibility, confidence, covariance = self.last.visibility, self.last.confidence, self.last.covariance
        return Face(
            landmarks=landmarks,
            visibility=None if visibility is None else visibility * np.float32(not self.lost),
            confidence=None if confidence is None else confidence * fade,
            box=Box.around(landmarks),
            score=self.score * float(fade),
            scheme=scheme,
            track_id=self.number,
            state="predicted" if self.lost else "seen",
            covariance=None if covariance is None else covariance / np.maximum(fade, np.float32(_LEAST_FADE)) ** 2,
        )

    def _filtered(self) -> Float64Array:
        held = self._memory(self.shape, self.time_s, self.last.visibility, self.last.confidence)
        return self._filter(held, self.time_s, self.last.confidence, self.carried)

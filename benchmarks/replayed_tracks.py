"""Tracking again at little cost: filters on recorded points, and what they are worth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from srn import Face, FaceLandmarker, FaceTracker, TrackerConfig
from srn.datasets.clip import Clip
from srn.evaluation.followers import is_on_face
from srn.face import metrics
from srn.face.geometry import Box, Float64Array
from srn.inference.flow import FLOW_CROP, FaceFlow, anchored
from srn.inference.tracks import Candidate, Observation, Track

FAST = 0.5
"""Face sizes a second from which a face moves fast."""

FAST_FRAMES = 8
"""Frames in which it does so, at least, for its lag to be told."""


@dataclass(frozen=True, eq=False)
class Take:
    """A clip of one face with its frame rate, frames a second."""

    kind: str
    clip: Clip
    rate: float

    @property
    def hidden(self) -> Float64Array:
        """(T,) share of the points that are hidden."""
        assert self.clip.occluded is not None
        return np.asarray(self.clip.occluded.mean(axis=1), np.float64)


@dataclass(frozen=True)
class Score:
    """A tracker on one take. NME and jitter are in % of the inter-ocular distance, NaN without a followed frame.

    Attributes:
        lag: time by which a fast face's points follow it late, milliseconds; NaN if it is never fast.
        missed: frames in which at least half of the face shows and is not reported, in % of those that count.
        false: frames with a face reported where all of it is hidden, likewise.
    """

    nme: float
    jitter: float
    lag: float
    missed: float
    false: float


def seen_faces(tracker: FaceTracker, take: Take) -> list[Face | None]:
    """Track a take; give the face seen in each frame within one size of the true one, the nearest, or None."""
    told: list[Face | None] = []
    for index, (image, truth) in enumerate(take.clip):
        place = Box.around(truth)
        away = {
            float(np.linalg.norm(face.box.center - place.center)): face
            for face in tracker.update(image, index / take.rate)
            if face.state == "seen"
        }
        told.append(away[min(away)] if away and min(away) < place.size else None)
    return told


def points_of(faces: Sequence[Face | None], take: Take) -> Float64Array:
    """Stack the landmarks of faces, (T, N, 2), NaN for None."""
    blank = np.full(take.clip.landmarks.shape[1:], np.nan)
    return np.stack([blank if face is None else face.landmarks for face in faces])


def replayed(
    landmarker: FaceLandmarker, take: Take, faces: Sequence[Face | None], config: TrackerConfig
) -> Float64Array:
    """Filter anew the points that a tracker without `smooth` has reported: (T, N, 2), NaN where it saw nothing.

    The crops in which the network saw the face stay those of the recording. After a loss the filters begin anew.
    """
    track, flow, shapes = None, FaceFlow(), np.full(take.clip.landmarks.shape, np.nan)
    for index, face in enumerate(faces):
        time_s = index / take.rate
        if face is None:
            track = None
            continue
        image = take.clip.frame(index) if config.flow else None
        observation = _observation(landmarker, face)
        if track is None or track.number != face.track_id:
            assert face.track_id is not None
            track = Track(face.track_id, 0, observation, time_s, config)
        else:
            before, dt = track.smoothed, time_s - track.time_s
            track.predict(time_s)
            if image is not None:
                track.carry(image, flow, before, dt)
            track.follow(observation, time_s)
        if image is not None:
            track.anchor = anchored(image, landmarker.looker.geometry_of_shape(track.smoothed, FLOW_CROP))
        shapes[index] = track.smoothed
    return shapes


def _observation(landmarker: FaceLandmarker, face: Face) -> Observation:
    candidate = Candidate(landmarker.looker.geometry_of_shape(face.landmarks), None, face.score)
    blank = np.zeros(0, np.float32)
    return Observation(candidate, face.landmarks, blank, face.visibility, face.confidence)


def score(shapes: Float64Array, take: Take) -> Score:
    """Measure points (T, N, 2), NaN where no face was reported."""
    clip, hidden = take.clip, take.hidden
    sizes = np.array([metrics.NORMALIZERS["interocular"](shape, clip.scheme) for shape in clip.landmarks])
    found = np.array([bool(np.isfinite(shape).all()) for shape in shapes])
    # Points that are NaN are not on the face.
    right = np.array([is_on_face(shape, truth) for shape, truth in zip(shapes, clip.landmarks, strict=True)])
    shown, absent = hidden <= 0.5, hidden == 1.0
    counted = max(int((shown | absent).sum()), 1)
    followed = np.where((right & ~absent)[:, None, None], shapes, np.nan)
    return Score(
        nme=100 * metrics.clip_nme(followed, clip.landmarks, sizes),
        jitter=100 * metrics.jitter(followed, clip.landmarks, sizes),
        lag=1000 * lag_s(followed, clip.landmarks, take.rate),
        missed=100 * int((shown & ~right).sum()) / counted,
        false=100 * int((absent & found).sum()) / counted,
    )


def lag_s(shapes: Float64Array, truth: Float64Array, rate: float) -> float:
    """Fit the time by which points (T, N, 2) follow a fast face late: error = constant - lag x speed."""
    speed = np.gradient(truth.mean(axis=1), axis=0) * rate
    error = (shapes - truth).mean(axis=1)
    sizes = np.array([Box.around(shape).size for shape in truth])
    fast: npt.NDArray[np.bool_] = (np.linalg.norm(speed, axis=1) > FAST * sizes) & np.isfinite(error).all(axis=1)
    if fast.sum() < FAST_FRAMES:
        return float("nan")
    error, speed = (part[fast] - part[fast].mean(axis=0) for part in (error, speed))
    return float(-(error * speed).sum() / max((speed**2).sum(), 1e-9))

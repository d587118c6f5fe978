"""`Track`: prediction, loss and return of one face, and its report."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box, CropGeometry, CropSpec
from srn.face.scheme import IBUG_68
from srn.inference.smoothing import SmoothingConfig
from srn.inference.tracks import Candidate, Observation, Track, TrackerConfig
from srn.settings import with_settings

Shape = npt.NDArray[np.float64]

CONFIG = TrackerConfig(smooth=False)


def observation(shape: Shape, confidence: float | None = 0.9, **options: Any) -> Observation:
    geometry = CropGeometry.from_box(Box.around(shape), CropSpec(96, 60.0))
    values = None if confidence is None else np.full(68, confidence, np.float32)
    return Observation(Candidate(geometry, None, 0.8, **options), shape, np.zeros(4, np.float32), values, values)


def walking(face: Shape, frames: int, step: float = 3.0) -> Track:
    """A face of 50 pixels that walks to the right, observed in every frame."""
    track = Track(1, 0, observation(face * 50 + 100), 0.0, CONFIG)
    for k in range(1, frames):
        track.predict(k / 30)
        track.follow(observation(face * 50 + [100 + step * k, 100]), k / 30)
    return track


def test_the_prediction_learns_the_velocity(face: Shape) -> None:
    track = walking(face, 40)
    np.testing.assert_allclose(track.velocity, [90, 0], atol=2)
    track.predict(40 / 30)
    np.testing.assert_allclose(track.shape, face * 50 + [100 + 3 * 40, 100], atol=0.5)


def test_a_lost_face_coasts_and_fades(face: Shape) -> None:
    track = walking(face, 40)
    track.lose()
    reports = []
    for k in range(40, 80):
        track.predict(k / 30)
        reports.append(track.face(IBUG_68))
    told = [report for report in reports if report is not None]
    assert len(told) == 30  # frames of `coast_s`
    assert all(not report.visibility.any() for report in told if report.visibility is not None)
    assert [report.score for report in told] == sorted((report.score for report in told), reverse=True)
    # The constant velocity decays: it gets on, but by less and less.
    steps = np.diff([report.box.center[0] for report in told])
    assert steps[0] == pytest.approx(3, abs=0.2)
    assert (np.diff(steps) < 0).all()


def test_the_covariance_is_that_of_the_last_view_and_grows_while_the_face_is_lost(face: Shape) -> None:
    seen = observation(face * 50 + 100)
    covariance = np.tile(np.array([[4, 1], [1, 2]], np.float32), (68, 1, 1))
    track = Track(1, 0, dataclasses.replace(seen, covariance=covariance), 0.0, CONFIG)
    told = track.face(IBUG_68)
    assert told is not None
    np.testing.assert_array_equal(told.covariance, covariance)
    track.lose()
    track.predict(0.2)
    lost = track.face(IBUG_68)
    assert lost is not None
    assert lost.covariance is not None
    np.testing.assert_allclose(lost.covariance, covariance * np.exp(2 * 0.2 / CONFIG.fade_s), rtol=1e-5)


def test_the_covariance_of_a_face_that_is_reported_for_long_stays_finite(face: Shape) -> None:
    """Its confidence falls below what a float32 holds, and the inverse beyond."""
    config = TrackerConfig(coast_s=100, memory_s=100)
    covariance = np.tile(np.array([[4, 1], [1, 2]], np.float32), (68, 1, 1))
    seen = dataclasses.replace(observation(face * 50 + 100), covariance=covariance)
    track = Track(1, 0, seen, 0.0, config)
    track.lose()
    traces = []
    for second in range(1, 60):
        track.predict(second)
        told = track.face(IBUG_68)
        assert told is not None
        assert told.covariance is not None
        traces.append(float(np.trace(told.covariance[0])))
    assert traces[0] < traces[3] < traces[-1] == traces[-20] < np.inf


def test_a_face_that_comes_back_has_no_velocity_yet(face: Shape) -> None:
    track = walking(face, 40)
    track.lose()
    track.predict(2.0)
    track.follow(observation(face * 50 + [300, 100], found=True), 2.0)
    assert not track.lost
    np.testing.assert_array_equal(track.velocity, [0, 0])
    np.testing.assert_allclose(track.smoothed, face * 50 + [300, 100], atol=1e-9)  # the filters start anew


@pytest.mark.parametrize(("frames", "proven"), [(1, False), (6, False), (7, True)])
def test_a_face_is_proven_after_a_fifth_of_a_second(face: Shape, frames: int, proven: bool) -> None:
    assert walking(face, frames).is_proven is proven


def test_an_unsure_observation_hardly_changes_the_velocity(face: Shape) -> None:
    tracks = [Track(1, 0, observation(face * 50 + 100), 0.0, CONFIG) for _ in range(2)]
    for track, confidence in zip(tracks, (0.9, 0.09), strict=True):
        track.follow(observation(face * 50 + [110, 100], confidence), 0.1)
    np.testing.assert_allclose(tracks[1].velocity, tracks[0].velocity / 10, rtol=1e-5)


def test_weights_without_confidence(face: Shape) -> None:
    unsure = observation(face, None)
    assert unsure.mean_confidence is None
    assert not unsure.is_weak(CONFIG)
    assert observation(face, 0.2).is_weak(CONFIG)
    found = Track(3, 0, unsure, 0.0, CONFIG).face(IBUG_68)
    assert found is not None
    assert (found.track_id, found.confidence, found.visibility) == (3, None, None)


# --- `TrackerConfig`: values are checked, and there is one JSON form


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"start": "middle"}, "start"),
        ({"iterations": 0}, "iterations"),
        ({"find_every": 0}, "find_every"),
        ({"max_misses": 0}, "max_misses"),
        ({"keep_confidence": 0.5}, "keep_confidence"),
        ({"least_flow": 1.5}, "least_flow"),
        ({"find_after_change": 0}, "find_after_change"),
        ({"mirror_every": -1}, "mirror_every"),
        ({"smooth": 1}, "smooth"),
        ({"slow_s": 0.0}, "slow_s"),
        ({"max_stretch": 1.0}, "max_stretch: expected a ratio above 1, found 1"),
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        TrackerConfig(**wrong)


def test_there_and_back() -> None:
    config = TrackerConfig(start="previous", smoothing=SmoothingConfig(beta=3.0))
    assert TrackerConfig.from_dict(config.to_dict()) == config
    assert with_settings(config, ["iterations=2", "smoothing.hold=0.5"]).smoothing.hold == 0.5

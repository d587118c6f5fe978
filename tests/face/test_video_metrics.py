"""Metrics of clips, by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.metrics import clip_nme, flicker, jitter

Clip = npt.NDArray[np.float64]
SIZE = np.full(5, 50.0)


@pytest.fixture
def truth() -> Clip:
    """(5, 3, 2): three points that stand still for three frames and then run."""
    base = np.array([[10.0, 10.0], [60.0, 10.0], [30.0, 50.0]])
    return base + np.array([0, 0, 0, 10, 20])[:, None, None] * np.array([1.0, 0.0])


def test_clip_nme_by_hand(truth: Clip) -> None:
    shapes = truth.copy()
    shapes[1] += [3, 4]  # one frame of five is 5 pixels off
    assert clip_nme(shapes, truth, SIZE) == pytest.approx(5 / 50 / 5)
    shapes[1] = np.nan
    assert clip_nme(shapes, truth, SIZE) == 0  # over the frames that have a prediction
    assert math.isnan(clip_nme(np.full_like(truth, np.nan), truth, SIZE))


def test_jitter_by_hand(truth: Clip) -> None:
    shapes = truth.copy()
    shapes[2] += [0, 2]
    # e is 0 0 2 0 0 in y: second differences are 2, -4, 2 at the three inner frames.
    assert jitter(shapes, truth, SIZE) == pytest.approx((2 + 4 + 2) / 3 / 50)


def test_errors_that_stay_or_drift_evenly_are_no_jitter(truth: Clip) -> None:
    drift = np.arange(5)[:, None, None] * np.array([0.7, -0.2])
    assert jitter(truth + [5, 3], truth, SIZE) == 0
    assert jitter(truth + drift, truth, SIZE) == pytest.approx(0, abs=1e-12)
    assert jitter(truth, truth, SIZE) == 0  # a face that speeds up


def test_a_missing_frame_interrupts(truth: Clip) -> None:
    shapes = truth.copy()
    shapes[2] = np.nan
    assert math.isnan(jitter(shapes, truth, SIZE))  # no three frames in a row are left
    assert math.isnan(jitter(shapes[:2], truth[:2], SIZE[:2]))


def test_flicker_by_hand(truth: Clip) -> None:
    shapes = truth.copy()
    shapes[1] += [0, 1]
    shapes[4] += [0, 30]  # while the face runs: does not count
    assert flicker(shapes, truth, SIZE) == pytest.approx((1 + 1) / 2 / 50)
    assert flicker(truth, truth, SIZE) == 0
    assert math.isnan(flicker(shapes[2:], truth[2:], SIZE[2:]))  # the face never holds still
    assert flicker(shapes[:3] + np.arange(3)[:, None, None] * [0, 0.05], truth[:3], SIZE[:3], still=0) > 0


def test_metrics_do_not_depend_on_the_size_of_the_picture(truth: Clip, rng: np.random.Generator) -> None:
    shapes = truth + rng.normal(size=truth.shape)
    for metric in (clip_nme, jitter, flicker):
        assert metric(3 * shapes, 3 * truth, 3 * SIZE) == pytest.approx(metric(shapes, truth, SIZE))


@pytest.mark.parametrize("metric", [clip_nme, jitter, flicker])
def test_clips_that_do_not_match_are_refused(metric: object, truth: Clip) -> None:
    with pytest.raises(InputError, match=r"expected two clips \(T, N, 2\)"):
        metric(truth, truth[1:], SIZE)  # type: ignore[operator]
    with pytest.raises(InputError, match="normalizers"):
        metric(truth, truth, SIZE[1:])  # type: ignore[operator]

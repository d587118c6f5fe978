"""Intervals and paired comparisons: by hand, against the normal approximation, and against one another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from srn.errors import InputError
from srn.evaluation import statistics
from srn.evaluation.statistics import compare_errors, error_intervals, ratio_intervals, sign_flip_p_value
from srn.face import metrics


def test_values_are_the_metrics(rng: np.random.Generator) -> None:
    errors = np.append(rng.gamma(3, 0.02, size=80), [np.inf, np.inf])
    found = error_intervals(errors, 0.08)
    assert found.nme.value == pytest.approx(errors[:80].mean())
    assert found.failure_rate.value == pytest.approx(metrics.failure_rate(errors, 0.08))
    assert found.auc.value == pytest.approx(metrics.auc(errors, 0.08))
    for interval in (found.nme, found.failure_rate, found.auc):
        assert interval.low < interval.value < interval.high


def test_the_mean_of_many_faces_has_the_normal_interval(rng: np.random.Generator) -> None:
    errors = rng.gamma(4, 0.01, size=400)
    half = 1.96 * errors.std() / math.sqrt(len(errors))
    found = error_intervals(errors, 0.08, resamples=4000).nme
    assert found.low == pytest.approx(errors.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(errors.mean() + half, abs=0.15 * half)


def test_two_faces_by_hand() -> None:
    """Means of two draws of {0, 1} are 0, 1/2 and 1 with probabilities 1/4, 1/2 and 1/4."""
    (wide,) = ratio_intervals(np.array([0.0, 1.0]), np.ones(2))
    assert (wide.value, wide.low, wide.high) == (0.5, 0.0, 1.0)
    (narrow,) = ratio_intervals(np.array([0.0, 1.0]), np.ones(2), level=0.4)  # from the 30th to the 70th percentile
    assert (narrow.low, narrow.high) == (0.5, 0.5)


def test_faces_that_agree_have_no_spread_and_exact_failure_bounds() -> None:
    good = error_intervals(np.full(10, 0.03), 0.08)
    assert (good.nme.low, good.nme.high) == pytest.approx((0.03, 0.03))
    # Rates above r show no failure in 10 faces with a probability below 2.5 %: (1 - r)^10 = 0.025.
    assert (good.failure_rate.value, good.failure_rate.low) == (0.0, 0.0)
    assert (1 - good.failure_rate.high) ** 10 == pytest.approx(0.025)
    bad = error_intervals(np.full(10, 0.2), 0.08)
    assert (bad.failure_rate.value, bad.failure_rate.high) == (1.0, 1.0)
    assert bad.failure_rate.low == pytest.approx(1 - good.failure_rate.high)


def test_missed_faces_fail_and_are_not_in_the_mean() -> None:
    errors = np.array([0.02, 0.04, np.inf, np.inf])
    found = error_intervals(errors, 0.08)
    assert found.nme.value == pytest.approx(0.03)
    assert found.failure_rate.value == 0.5
    assert found.nme.high <= 0.04
    nothing = error_intervals(np.array([np.inf, np.inf]), 0.08)
    assert math.isnan(nothing.nme.value)
    assert nothing.to_dict()["nme"] == [None, None]


def test_the_same_seed_draws_the_same_faces_in_blocks_of_any_size(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = rng.gamma(3, 0.02, size=50)
    first = error_intervals(errors, 0.08, resamples=300, seed=4)
    assert error_intervals(errors, 0.08, resamples=300, seed=4) == first
    assert error_intervals(errors, 0.08, resamples=300, seed=5) != first
    monkeypatch.setattr(statistics, "_CHUNK", 50 * 7)
    blocks = error_intervals(errors, 0.08, resamples=300, seed=4)
    assert blocks.nme == first.nme


def test_clusters_are_drawn_whole(rng: np.random.Generator) -> None:
    """Frames of a clip that all have the same error say no more than one frame does."""
    clips = rng.gamma(3, 0.02, size=30)
    errors, clusters = np.repeat(clips, 20), np.repeat(np.arange(30), 20)
    whole = error_intervals(errors, 0.08, clusters=clusters).nme
    alone = error_intervals(clips, 0.08).nme
    naive = error_intervals(errors, 0.08).nme
    assert (whole.low, whole.high) == pytest.approx((alone.low, alone.high))
    assert naive.high - naive.low < 0.4 * (whole.high - whole.low)


def test_one_face_or_one_video_has_no_interval() -> None:
    """Drawn again and again, it would seem to be known exactly."""
    for errors, clusters in (([0.04], None), ([0.04, 0.05, 0.06], np.zeros(3, int))):
        found = error_intervals(np.array(errors), 0.08, clusters=clusters)
        assert found.nme.value == pytest.approx(np.mean(errors))
        assert found.nme.to_list() == found.auc.to_list() == [None, None]
        assert found.failure_rate.to_list() == pytest.approx([0.0, 0.975])
        paired = compare_errors(np.array(errors), np.array(errors) + 0.01, clusters=clusters)
        assert paired.difference.value == pytest.approx(0.01)
        assert (paired.difference.to_list(), paired.p_value) == ([None, None], 1.0)


def test_frames_of_a_video_are_one_witness(rng: np.random.Generator) -> None:
    """A comparison of 6 videos knows what one of 6 faces knows, however many frames they have."""
    first, gap = rng.gamma(3, 0.02, size=6), np.array([0.01, 0.02, -0.01, 0.02, 0.01, 0.03])
    alone = compare_errors(first, first + gap)
    frames, videos = np.repeat(first, 50), np.repeat(np.arange(6), 50)
    whole = compare_errors(frames, frames + np.repeat(gap, 50), clusters=videos)
    naive = compare_errors(frames, frames + np.repeat(gap, 50))
    assert whole.p_value == alone.p_value
    assert (whole.difference.low, whole.difference.high) == pytest.approx((alone.difference.low, alone.difference.high))
    assert naive.p_value < 0.001 < 0.05 < alone.p_value


def test_sign_flips_by_hand() -> None:
    assert sign_flip_p_value(np.array([1.0, 2.0, 3.0])) == 2 / 8  # only all plus and all minus reach a sum of 6
    assert sign_flip_p_value(np.array([1.0, 2.0, -3.0])) == 1.0
    assert sign_flip_p_value(np.array([4.0, 1.0, -1.0])) == 6 / 8  # sums of 6 (2 patterns), 4 (4 patterns) and 2
    assert sign_flip_p_value(np.zeros(5)) == 1.0
    assert sign_flip_p_value(np.array([0.0, 1.0, 2.0, 3.0])) == 2 / 8  # equal errors take no side


def test_drawn_sign_flips_agree_with_the_t_test_of_many_faces(rng: np.random.Generator) -> None:
    differences = rng.normal(0.2, 1, size=200)
    t = differences.mean() / (differences.std(ddof=1) / math.sqrt(200))
    expected = math.erfc(abs(t) / math.sqrt(2))
    assert sign_flip_p_value(differences) == pytest.approx(expected, abs=0.01)
    assert sign_flip_p_value(differences + 10) == pytest.approx(1 / 20_001)  # never 0


def test_comparison_by_hand() -> None:
    first = np.array([0.05, 0.06, 0.07, np.inf, 0.04])
    second = np.array([0.04, 0.05, 0.08, 0.05, np.inf])
    found = compare_errors(first, second)
    assert (found.faces, found.both_found) == (5, 3)
    assert found.difference.value == pytest.approx((-0.01 - 0.01 + 0.01) / 3)
    assert (found.share_better, found.share_worse) == (3 / 5, 2 / 5)
    assert found.p_value == 1.0
    assert found.to_dict()["interval"] == [found.difference.low, found.difference.high]


def test_comparison_turned_around(rng: np.random.Generator) -> None:
    first = rng.gamma(3, 0.02, size=60)
    second = first + rng.normal(0.003, 0.01, size=60)
    there, back = compare_errors(first, second), compare_errors(second, first)
    assert back.difference.value == pytest.approx(-there.difference.value)
    assert back.difference.low == pytest.approx(-there.difference.high)
    assert (back.share_better, back.share_worse) == (there.share_worse, there.share_better)
    assert back.p_value == there.p_value


def test_pairing_shows_what_two_intervals_hide(rng: np.random.Generator) -> None:
    """Faces differ much more than methods do: the paired interval is far narrower."""
    first = rng.gamma(3, 0.02, size=100)
    second = first - 0.002
    apart = error_intervals(first, 0.08).nme
    assert apart.low < second.mean() < apart.high
    paired = compare_errors(first, second)
    assert paired.difference.high == pytest.approx(-0.002)
    assert paired.p_value < 0.001


@pytest.mark.parametrize(("a", "b"), [(3, 4), (0, 0)])
def test_arrays_that_do_not_match_are_refused(a: int, b: int) -> None:
    with pytest.raises(InputError, match="paired comparison: expected two error arrays"):
        compare_errors(np.zeros(a), np.zeros(b))
    with pytest.raises(InputError, match="bootstrap"):
        ratio_intervals(np.zeros((1, a)), np.zeros((1, b)))

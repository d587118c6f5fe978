"""The field's metrics, by hand and against one another."""

from __future__ import annotations

import math

import numpy as np
import pytest

from srn.errors import InputError
from srn.face import metrics
from srn.face.metrics import (
    NORMALIZERS,
    along_and_across,
    auc,
    bbox,
    bbox_diagonal,
    ced,
    contour_directions,
    failure_rate,
    interocular,
    interpupil,
    nme,
)
from srn.face.scheme import COFW_29, IBUG_68, SCHEMES, WFLW_98, LandmarkScheme

ERRORS = np.array([0.02, 0.04, 0.04, 0.09, 0.10, 0.25, math.inf, 0.0])


def integrated(errors: np.ndarray, threshold: float, steps: int = 200_000) -> float:
    """The area under the cumulative error distribution by the midpoint rule, over the threshold."""
    middles = (np.arange(steps) + 0.5) * threshold / steps
    return float(ced(errors, middles).mean())


@pytest.mark.parametrize(
    ("scheme", "corners"), [(IBUG_68, (36, 45)), (COFW_29, (8, 9)), (WFLW_98, (60, 72))], ids=["68", "29", "98"]
)
def test_interocular_is_between_the_outer_eye_corners(
    scheme: LandmarkScheme, corners: tuple[int, int], rng: np.random.Generator
) -> None:
    shape = rng.uniform(0, 1000, size=(scheme.n_points, 2))
    shape[list(corners)] = [[10, 20], [40, 60]]

    assert interocular(shape, scheme) == pytest.approx(50)


@pytest.mark.parametrize(
    ("scheme", "left", "right"),
    [
        (IBUG_68, range(36, 42), range(42, 48)),
        (COFW_29, range(16, 17), range(17, 18)),
        (WFLW_98, range(60, 68), range(68, 76)),
    ],
    ids=["68", "29", "98"],
)
def test_interpupil_is_between_the_eye_centres(
    scheme: LandmarkScheme, left: range, right: range, rng: np.random.Generator
) -> None:
    shape = rng.uniform(0, 1000, size=(scheme.n_points, 2))
    for points, centre in ((left, (100, 50)), (right, (220, 100))):
        spread = rng.normal(size=(len(points), 2))
        shape[list(points)] = centre + spread - spread.mean(axis=0)

    assert interpupil(shape, scheme) == pytest.approx(130)


def test_box_normalizers_by_hand() -> None:
    shape = np.array([[1.0, 2.0], [4.0, 6.0], [3.0, 14.0]])  # 3 wide, 12 high

    assert bbox(shape, IBUG_68) == pytest.approx(6)
    assert bbox_diagonal(shape, IBUG_68) == pytest.approx(math.sqrt(153))


@pytest.mark.parametrize("name", NORMALIZERS)
@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.name)
def test_normalizers_are_lengths(name: str, scheme: LandmarkScheme, rng: np.random.Generator) -> None:
    """They grow with the picture and do not care where in it the face is."""
    shape = rng.uniform(0, 200, size=(scheme.n_points, 2))

    length = NORMALIZERS[name](shape, scheme)

    assert length > 0
    assert NORMALIZERS[name](3 * shape + [17, -40], scheme) == pytest.approx(3 * length)


def test_names_of_the_normalizers() -> None:
    assert set(NORMALIZERS) == {"interocular", "interpupil", "bbox", "bbox-diagonal"}


def test_nme_by_hand() -> None:
    target = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    shape = target + [[3, 4], [0, 0], [0, -1]]  # distances 5, 0, 1

    assert nme(shape, target, 20.0) == pytest.approx(0.1)
    assert nme(target, target, 20.0) == 0


def test_nme_does_not_depend_on_the_size_of_the_picture(rng: np.random.Generator) -> None:
    target, noise = rng.uniform(0, 100, size=(2, 68, 2))
    small = nme(target + noise, target, interocular(target, IBUG_68))

    assert nme(4 * (target + noise), 4 * target, interocular(4 * target, IBUG_68)) == pytest.approx(small)


def test_nme_of_shapes_that_do_not_match_is_refused() -> None:
    with pytest.raises(InputError, match=r"nme: expected a shape of \(68, 2\), found \(29, 2\)"):
        nme(np.zeros((29, 2)), np.zeros((68, 2)), 1.0)


@pytest.mark.parametrize(("threshold", "rate"), [(0.08, 4 / 8), (0.09, 3 / 8), (0.10, 2 / 8), (1.0, 1 / 8)])
def test_failure_rate_by_hand(threshold: float, rate: float) -> None:
    assert failure_rate(ERRORS, threshold) == rate


def test_ced_by_hand() -> None:
    np.testing.assert_array_equal(
        ced(ERRORS, np.array([0.0, 0.02, 0.03, 0.04, 0.1, 0.3])), np.array([1, 2, 2, 4, 6, 7]) / 8
    )


def test_ced_is_what_does_not_fail(rng: np.random.Generator) -> None:
    errors = np.append(rng.exponential(0.05, size=500), [math.inf] * 3)
    thresholds = np.append(np.linspace(0, 0.3, 31), errors[:20])

    curve = ced(errors, thresholds)

    np.testing.assert_allclose(curve, [1 - failure_rate(errors, t) for t in thresholds])
    assert (np.diff(curve[:31]) >= 0).all()


def test_auc_by_hand() -> None:
    assert auc(np.array([0.0]), 0.08) == 1
    assert auc(np.array([0.08, 0.5, math.inf]), 0.08) == 0
    assert auc(np.array([0.02]), 0.08) == pytest.approx(0.75)
    assert auc(np.array([np.nan, 0.02]), 0.08) == auc(np.array([math.inf, 0.02]), 0.08) > 0
    # Up to 0.1: (0.08 + 0.06 + 0.06 + 0.01 + 0 + 0 + 0 + 0.1) / 8 / 0.1
    assert auc(ERRORS, 0.1) == pytest.approx(0.31 / 0.8)


@pytest.mark.parametrize("threshold", [0.07, 0.08, 0.1])
def test_auc_is_the_integral_of_the_ced(threshold: float, rng: np.random.Generator) -> None:
    errors = np.append(rng.gamma(3, 0.015, size=300), [math.inf, 0.0])

    assert auc(errors, threshold) == pytest.approx(integrated(errors, threshold), abs=1e-6)
    assert auc(ERRORS, threshold) == pytest.approx(integrated(ERRORS, threshold), abs=1e-5)


def test_a_face_that_was_not_found_counts_as_failure_only(rng: np.random.Generator) -> None:
    errors = rng.uniform(0, 0.2, size=50)
    with_missing = np.append(errors, math.inf)

    assert failure_rate(with_missing, 0.1) == pytest.approx((failure_rate(errors, 0.1) * 50 + 1) / 51)
    assert auc(with_missing, 0.1) == pytest.approx(auc(errors, 0.1) * 50 / 51)
    assert ced(with_missing, np.array([1e9]))[0] == pytest.approx(50 / 51)


# --- flags and confidence ------------------------------------------------------------------------------------------


def test_average_precision_and_recall_by_hand() -> None:
    # Ranked by score: + - + + -, so the precisions at the positives are 1, 2/3 and 3/4.
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
    positive = np.array([True, False, True, True, False])
    assert metrics.average_precision(scores, positive) == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)
    assert metrics.recall_at_precision(scores, positive, 0.75) == pytest.approx(1.0)
    assert metrics.recall_at_precision(scores, positive, 0.8) == pytest.approx(1 / 3)
    assert metrics.recall_at_precision(-scores, positive, 0.9) == 0.0


def test_equal_scores_count_as_one_threshold() -> None:
    scores, positive = np.zeros(4), np.array([True, False, False, False])
    assert metrics.average_precision(scores, positive) == pytest.approx(0.25)
    precision, recall = metrics.precision_recall(scores, positive)
    np.testing.assert_allclose((precision, recall), ([0.25], [1.0]))


def test_the_area_under_the_roc_curve_counts_pairs(rng: np.random.Generator) -> None:
    scores, positive = rng.integers(0, 10, 80) / 10, rng.random(80) < 0.3
    ahead = scores[positive][:, None] - scores[~positive]
    assert metrics.roc_auc(scores, positive) == pytest.approx(((ahead > 0) + 0.5 * (ahead == 0)).mean())
    assert metrics.roc_auc(np.zeros(4), np.array([True, False, False, True])) == 0.5
    assert np.isnan(metrics.roc_auc(scores, np.ones(80, bool)))


def test_without_a_positive_there_is_no_precision() -> None:
    assert np.isnan(metrics.average_precision(np.arange(3.0), np.zeros(3, bool)))
    assert np.isnan(metrics.recall_at_precision(np.arange(3.0), np.zeros(3, bool)))


def test_reliability_by_hand() -> None:
    confidence = np.array([0.05, 0.15, 0.15, 0.95, 1.0])
    correct = np.array([False, True, False, True, False])
    mean, share, count = metrics.reliability(confidence, correct, bins=10)
    assert count.tolist() == [1, 2, 0, 0, 0, 0, 0, 0, 0, 2]
    np.testing.assert_allclose(mean[[0, 1, 9]], [0.05, 0.15, 0.975])
    np.testing.assert_allclose(share[[0, 1, 9]], [0.0, 0.5, 0.5])
    assert np.isnan(mean[5])
    expected = (1 * 0.05 + 2 * 0.35 + 2 * 0.475) / 5
    assert metrics.expected_calibration_error(confidence, correct) == pytest.approx(expected)


# --- along and across the contours


def test_the_direction_of_a_contour_by_hand() -> None:
    shape = np.random.default_rng(0).uniform(0, 100, (68, 2))
    shape[7:10] = [[10, 10], [13, 14], [20, 10]]  # the chin ends one cheek and begins the other
    shape[[17, 18]] = [[0, 0], [0, 5]]  # a brow begins
    shape[[36, 37, 41]] = [[0, 0], [3, 3], [3, -1]]  # an eye is closed
    got = contour_directions(shape, IBUG_68)
    np.testing.assert_allclose(np.linalg.norm(got, axis=1), 1)
    np.testing.assert_allclose(got[8], [1, 0])
    np.testing.assert_allclose(got[17], [0, 1])
    np.testing.assert_allclose(got[36], [0, 1])


def test_errors_along_and_across_by_hand(rng: np.random.Generator) -> None:
    target = rng.uniform(0, 100, (68, 2))
    target[4:9] = [[10, 10], [20, 10], [30, 10], [40, 10], [50, 10]]
    shape = target.copy()
    shape[5:7] += [[3, -4], [-2, 0]]
    got = along_and_across(shape, target, IBUG_68)
    np.testing.assert_allclose(got[4:8], [[0, 0], [3, 4], [2, 0], [0, 0]], atol=1e-12)
    moved = along_and_across(target + rng.normal(0, 2, target.shape), target, IBUG_68)
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    again = np.random.default_rng(0)
    again.uniform(0, 100, (68, 2))
    turned = along_and_across((target + again.normal(0, 2, target.shape)) @ turn, target @ turn, IBUG_68)
    np.testing.assert_allclose(turned, moved, atol=1e-9)


def test_a_point_on_no_contour_has_no_direction(rng: np.random.Generator) -> None:
    got = contour_directions(rng.uniform(0, 9, (29, 2)), COFW_29)
    on_none = sorted(set(range(29)) - {i for _, points, _ in COFW_29.contours for i in points})
    assert np.flatnonzero(np.isnan(got[:, 0])).tolist() == on_none != []

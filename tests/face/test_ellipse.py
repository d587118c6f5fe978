"""Ellipses of uncertainty against drawn errors, matrices and eigenvectors."""

from __future__ import annotations

import numpy as np
import pytest

from srn.errors import InputError
from srn.face import ellipse
from srn.face.localizer import confidence_from_error

DIRECTIONS = np.array([[0.0, 0.0], [0.7, 0.0], [-0.3, 0.5], [0.1, -0.9]])


def errors_of(expected_error: float, direction: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw from the density: radii of the density r exp(-r), angles at random, stretched by the root of A."""
    radius, angle = rng.gamma(2, size=100_000) * expected_error / 2, rng.uniform(0, 2 * np.pi, 100_000)
    values, vectors = np.linalg.eigh([[1 + direction[0], direction[1]], [direction[1], 1 - direction[0]]])
    root = vectors * np.sqrt(values) @ vectors.T
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1) @ root


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_the_covariance_and_the_shares_are_those_of_the_density(
    direction: np.ndarray, rng: np.random.Generator
) -> None:
    drawn = errors_of(0.04, direction, rng)
    cov = ellipse.covariance(np.array(0.04), direction)
    np.testing.assert_allclose(cov, np.cov(drawn.T), atol=2e-5)  # of variances about 1.2e-3
    assert np.trace(cov) == pytest.approx(6 * 0.02**2)
    standard = np.sqrt(np.einsum("ki,ij,kj->k", drawn, np.linalg.inv(cov), drawn))
    for share, radius in ellipse.RADII.items():
        assert (standard < radius).mean() == pytest.approx(share, abs=0.01)


def test_without_a_direction_the_share_is_the_confidence() -> None:
    """The radius of a circle is that tolerance at which the confidence is the share."""
    for share, radius in ellipse.RADII.items():
        tolerance = radius * float(np.sqrt(ellipse.covariance(np.array(0.05), np.zeros(2))[0, 0]))
        assert confidence_from_error(np.array(0.05, np.float32), tolerance) == pytest.approx(share, abs=1e-4)


def test_a_turned_picture_turns_the_covariance() -> None:
    angle, error = 0.4, np.array([0.1, 0.2, 0.3, 0.4])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = ellipse.covariance(error, ellipse.rotated(DIRECTIONS, angle))
    np.testing.assert_allclose(turned, turn @ ellipse.covariance(error, DIRECTIONS) @ turn.T, atol=1e-12)


def test_a_mirrored_picture_mirrors_the_covariance() -> None:
    error, flip = np.array([0.1, 0.2, 0.3, 0.4]), np.diag([-1.0, 1.0])
    mirrored = ellipse.covariance(error, ellipse.mirrored(DIRECTIONS))
    np.testing.assert_allclose(mirrored, flip @ ellipse.covariance(error, DIRECTIONS) @ flip, atol=1e-15)


def test_axes_are_eigenvectors() -> None:
    cov = ellipse.covariance(np.full(4, 0.2), DIRECTIONS)
    deviations, angles = ellipse.semi_axes(cov)
    values = np.linalg.eigvalsh(cov)
    np.testing.assert_allclose(deviations**2, values[:, ::-1], atol=1e-12)
    long = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    np.testing.assert_allclose(np.einsum("nij,nj->ni", cov, long), values[:, 1:] * long, atol=1e-12)


def test_entries_there_and_back() -> None:
    cov = ellipse.covariance(np.full(4, 9.0), DIRECTIONS)
    rounded = np.round(ellipse.entries(cov), 4).tolist()
    back = ellipse.matrices(rounded)
    np.testing.assert_allclose(back, cov, atol=1e-4)
    assert ellipse.are_covariances(back)
    assert not ellipse.are_covariances(np.array([[[1.0, 2.0], [2.0, 1.0]]]))
    assert not ellipse.are_covariances(np.array([[[1.0, 0.5], [0.4, 1.0]]]))
    assert not ellipse.are_covariances(np.array([[[np.inf, 0.0], [0.0, 1.0]]]))


@pytest.mark.parametrize("wrong", [[[1, 2]], [1, 2, 3], "abc", [["a", "b", "c"]], 7])
def test_entries_that_are_none(wrong: object) -> None:
    with pytest.raises(InputError, match="covariance: expected three numbers xx, xy, yy for each point"):
        ellipse.matrices(wrong)

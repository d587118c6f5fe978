"""Confidence from the expected error."""

from __future__ import annotations

import numpy as np
import pytest

from srn.face.localizer import confidence_from_error


@pytest.mark.parametrize("expected_error", [0.002, 0.01, 0.03, 0.1, 1.0])
@pytest.mark.parametrize("tolerance", [0.01, 0.03])
def test_equals_the_integral_of_the_density(expected_error: float, tolerance: float) -> None:
    """Density exp(-r / b) / (2 pi b^2) over the plane, whose mean length is 2 b: both by summation over rings."""
    b = expected_error / 2
    edges = np.linspace(0, 60 * b, 600_001)
    r = (edges[1:] + edges[:-1]) / 2
    mass = np.exp(-r / b) / (2 * np.pi * b**2) * 2 * np.pi * r * np.diff(edges)
    assert mass.sum() == pytest.approx(1, abs=1e-6)
    assert (mass * r).sum() == pytest.approx(expected_error, rel=1e-5)
    confidence = confidence_from_error(np.array([expected_error], np.float32), tolerance)
    assert confidence[0] == pytest.approx(mass[r < tolerance].sum(), abs=1e-4)


def test_ends_and_order() -> None:
    errors = np.array([[0, 1e-9, 0.01], [0.05, 1, 1e6]], np.float32)
    confidence = confidence_from_error(errors)
    assert confidence.shape == (2, 3)
    assert confidence.dtype == np.float32
    assert (np.diff(confidence.ravel()) <= 0).all()
    assert confidence[0, 0] == 1
    assert 0 <= confidence[1, 2] < 1e-6

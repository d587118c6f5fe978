"""When a face is viewed again."""

from __future__ import annotations

import math

import pytest

from srn.inference.views import MOST_VIEWS, Accuracy, is_viewed_again, may_lie_upside_down


@pytest.mark.parametrize(
    ("accuracy", "displacement", "confidence", "again"),
    [
        ("fast", 1.0, 0.0, False),
        ("best", 0.0, 1.0, True),
        ("balanced", 0.5, 1.0, False),  # sure, wherever its crop lay
        ("balanced", 0.0, 0.1, False),  # in place, however unsure
        ("balanced", 0.1, 0.78, False),  # 0.1 x 0.22
        ("balanced", 0.1, 0.76, True),  # 0.1 x 0.24
        ("balanced", 0.0, math.nan, True),  # nothing says that the first view is sure
    ],
)
def test_the_second_view(accuracy: Accuracy, displacement: float, confidence: float, again: bool) -> None:
    assert is_viewed_again(accuracy, 1, displacement, confidence) is again


@pytest.mark.parametrize("accuracy", ["balanced", "best"])
def test_further_views_follow_misplaced_crops(accuracy: Accuracy) -> None:
    for views in range(2, MOST_VIEWS):
        assert is_viewed_again(accuracy, views, 0.081, 0.99)
        assert not is_viewed_again(accuracy, views, 0.079, 0.0)
    assert not is_viewed_again(accuracy, MOST_VIEWS, 1.0, 0.0)


@pytest.mark.parametrize(
    ("confidence", "score", "tried"),
    [(0.59, 0.84, True), (0.6, 0.84, False), (0.49, 0.99, True), (0.5, 0.85, False), (math.nan, 0.5, False)],
)
def test_faces_that_may_lie_upside_down(confidence: float, score: float, tried: bool) -> None:
    assert may_lie_upside_down(confidence, score) is tried

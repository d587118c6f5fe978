"""When a face is viewed again: the rules behind `FaceLandmarker(accuracy=...)`."""

from __future__ import annotations

from typing import Literal, TypeAlias

Accuracy: TypeAlias = Literal["fast", "balanced", "best"]

MOST_VIEWS = 4  # of one face
MISPLACED = 0.08  # displacement (`CropGeometry.displacement`) of a crop above which it is placed anew
SECOND_PAYS = 0.023  # displacement of the first crop, times the doubt in its view, above which there is a second


def is_viewed_again(accuracy: Accuracy, views: int, displacement: float, confidence: float) -> bool:
    """Tell whether a face is viewed again.

    A second view gains little where the first crop was in place or the first view is sure (`docs/results/views.md`).

    Args:
        views: number of views that the face has had.
        displacement: how far the last crop lay off, according to the landmarks found in it.
        confidence: mean confidence of the landmarks; NaN if the weights predict none, and then there is a second view.
    """
    if accuracy == "fast" or views >= MOST_VIEWS:
        return False
    if views > 1:
        return displacement > MISPLACED
    return accuracy == "best" or not displacement * (1 - confidence) <= SECOND_PAYS

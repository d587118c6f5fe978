"""When a face is viewed again: the rules behind `FaceLandmarker(accuracy=...)`."""

from __future__ import annotations

from typing import Literal, TypeAlias

Accuracy: TypeAlias = Literal["fast", "balanced", "best"]

MOST_VIEWS = 4  # of one face
MISPLACED = 0.08  # displacement (`CropGeometry.displacement`) of a crop above which it is placed anew
SECOND_PAYS = 0.023  # displacement of the first crop, times the doubt in its view, above which there is a second
UNSURE = 0.5  # mean confidence of a face below which it may lie turned, or its box be too small (`docs/robustness.md`)
# A face that the finder took for upright may lie upside down: forehead and eyes pass for chin and mouth, even more so
# below a mask.
UPSIDE_DOWN = 0.6  # mean confidence of all views from which it does not (`docs/face_finder.md`)
UPRIGHT_SCORE = 0.85  # the finder's score from which `UNSURE` is enough
SURER_TURNED = 0.02  # gain in mean confidence from which it does


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


def may_lie_upside_down(confidence: float, score: float) -> bool:
    """Tell whether a found face is viewed upside down as well, by its mean confidence and the finder's score."""
    return confidence < (UPSIDE_DOWN if score < UPRIGHT_SCORE else UNSURE)

"""The measure of covered eyes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

import measure_anonymize
from srn.face.scheme import IBUG_68
from srn.uses.cover import FILL

Shape = npt.NDArray[np.float64]


@pytest.fixture
def shape(face: Shape) -> Shape:
    """A face of 100 pixels in the middle of a picture of 200."""
    return face * 100 + 100


def painted(shape: Shape, points: list[int], radius: float) -> npt.NDArray[np.uint8]:
    image = np.full((200, 200, 3), 128, np.uint8)
    for x, y in shape[points]:
        cv2.circle(image, (round(x), round(y)), int(np.ceil(radius)) + 1, FILL, -1)
    return image


def test_points_count_with_their_surroundings(shape: Shape) -> None:
    left, right = shape[list(IBUG_68.eye_corners)]
    needed = measure_anonymize.EYE_MARGIN * np.hypot(*(right - left))
    eyes = list(IBUG_68.part("eyes"))
    covered = measure_anonymize.eyes_covered

    assert covered(painted(shape, eyes, needed), shape) == 1
    assert covered(painted(shape, eyes[:6], needed), shape) == 0.5
    assert covered(painted(shape, [], needed), shape) == 0
    assert covered(painted(shape, eyes[:1], needed - 3), shape) == 0  # the point itself is covered, not all around it


def test_what_lies_outside_of_the_picture_need_not_be_covered(shape: Shape) -> None:
    image = np.full((200, 200, 3), 128, np.uint8)
    assert measure_anonymize.eyes_covered(image, shape + 1000) == 1
    assert measure_anonymize.eyes_covered(image, shape - 1000) == 1


def test_a_line_of_the_table() -> None:
    faces = [(1.0, measure_anonymize.Covered(0.5, 0.2)), (0.25, measure_anonymize.Covered(0.0, 0.1))]
    assert measure_anonymize.eye_row("set", "way", faces) == [
        "set", "2", "way", "62.5%", "50.0% (1)", "1", "25%", "15%"
    ]  # fmt: skip

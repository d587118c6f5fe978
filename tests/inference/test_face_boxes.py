"""Face boxes that a caller gives: in any spelling, in the picture, or found before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.inference.face_boxes import Task, as_box, box_in
from srn.inference.face_finder import FoundFace

PICTURE = np.zeros((80, 100, 3), np.uint8)


@pytest.mark.parametrize(
    "box", [Box(1, 2, 3, 4), [1, 2, 3, 4], (1.0, 2, 3, 4), np.array([1, 2, 3, 4]), FoundFace(Box(1, 2, 3, 4), 0.5)]
)
def test_boxes_in_any_spelling(box: Any) -> None:
    assert as_box(box) == Box(1, 2, 3, 4)


@pytest.mark.parametrize("box", [FoundFace((1, 2, 3), 0.5), "1, 2, 3, 4", {"x0": 1}, 3])  # type: ignore[arg-type]
def test_other_things_are_no_boxes(box: Any) -> None:
    with pytest.raises(InputError, match="face box: expected four numbers x0, y0, x1, y1, found"):
        as_box(box)


def test_a_box_reaches_into_the_picture() -> None:
    assert box_in(PICTURE, (-50, -50, 0, 0)) == Box(-50, -50, 0, 0)
    for outside in (
        Box(-50, -50, -1, -1),
        Box(100, 0, 150, 50),
        Box(10, 10, 10.5, 10.5),
        Box(-2000, -2000, 2000, 2000),
    ):
        with pytest.raises(InputError, match="at least 1 pixel in the picture of 100 x 80, at most 20 times it"):
            box_in(PICTURE, FoundFace(outside, 0.9))


def test_a_found_face_keeps_what_the_finder_says() -> None:
    face = FoundFace(Box(10, 10, 40, 50), 0.7, turn=1, tilt=0.2)
    task, plain = Task.of_given(3, PICTURE, face), Task.of_given(3, PICTURE, face.box)
    assert (task.number, task.box, task.score, task.found) == (3, face.box, 0.7, True)
    assert task.angle == pytest.approx(0.2 - np.pi / 2)
    assert (plain.box, plain.score, plain.found, plain.angle) == (face.box, 1.0, False, 0.0)

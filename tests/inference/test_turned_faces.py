"""Faces turned in the plane, with a search that sees one marked face best in one turn of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from srn.face.geometry import Box, ImageArray
from srn.inference.face_finder import FoundFace
from srn.inference.turned_faces import TRIED, found_turned, righted

FACE = Box(40, 30, 59, 59)
"""20 x 30 pixels are bright."""


def picture() -> ImageArray:
    image = np.zeros((120, 160, 3), np.uint8)
    image[30:60, 40:60] = 200
    image[30:40, 40:60] = 255  # the brow
    return image


@dataclass
class MarkedSearch:
    """Sees the bright part as a face, the better the less its brow is turned away from `brow` (0: above)."""

    brow: int = 0
    scores: tuple[float, float, float, float] = (0.9, 0.6, 0.45, 0.6)  # by the quarter turns that it still needs
    calls: list[tuple[int, ...]] = field(default_factory=list)

    def __call__(self, image: ImageArray, scale: float = 1.0) -> list[FoundFace]:
        self.calls.append(image.shape)
        rows, columns = np.nonzero(image[..., 0])
        if not len(rows):
            return []
        y, x = np.argwhere(image[..., 0] == 255).mean(axis=0) - [rows.mean(), columns.mean()]
        lies = [-y, x, y, -x].index(max(-y, x, y, -x))  # the brow: above, right, below, left
        needed = (lies - self.brow) % 4
        box = Box(*(float(v) for v in (columns.min(), rows.min(), columns.max(), rows.max())))
        points = ((float(columns.mean()), float(rows.mean())),) * 5
        return [FoundFace(box, self.scores[needed], turn=needed, points=points)] if self.scores[needed] else []


@pytest.mark.parametrize("brow", [0, 1, 2, 3])
def test_a_weak_face_is_tried_in_all_turns_and_the_surest_counts(brow: int) -> None:
    search = MarkedSearch(brow)
    (face,) = righted(picture(), [FoundFace(FACE, 0.5)], search, 0.3)
    assert face.turn == (-brow) % 4
    np.testing.assert_allclose(face.box.as_array(), FACE.as_array())
    assert face.score == (0.5 if brow == 0 else 0.9)  # an upright face stays as it was found
    if brow:
        np.testing.assert_allclose(np.array(face.points), np.tile(FACE.center, (5, 1)))


def test_the_tilt_of_a_turned_face_is_that_of_the_search_that_shows_it_upright() -> None:
    class Tilted(MarkedSearch):
        def __call__(self, image: ImageArray, scale: float = 1.0) -> list[FoundFace]:
            return [replace(face, tilt=0.1 + face.turn) for face in super().__call__(image, scale)]

    (face,) = righted(picture(), [FoundFace(FACE, 0.8, turn=1, tilt=0.7)], Tilted(3), 0.3)
    assert (face.turn, face.tilt) == (1, 0.1)
    assert face.angle == pytest.approx(0.1 - np.pi / 2)
    unseen = Tilted(scores=(0.0, 0.4, 0.4, 0.4))
    assert righted(picture(), [FoundFace(FACE, 0.6, turn=2, tilt=0.7)], unseen, 0.3) == [FoundFace(FACE, 0.6)]


def test_a_turn_that_its_landmarks_show_costs_one_search() -> None:
    search = MarkedSearch(3)
    (face,) = righted(picture(), [FoundFace(FACE, 0.8, turn=1)], search, 0.3)
    assert (face.turn, face.score, len(search.calls)) == (1, 0.9, 1)


def test_sure_upright_faces_cost_nothing_and_keep_the_rest_of_the_picture_upright() -> None:
    search = MarkedSearch(2)
    faces = [FoundFace(Box(100, 10, 120, 40), 0.9), FoundFace(FACE, 0.5)]
    assert righted(picture(), faces, search, 0.3) == faces
    assert not search.calls


def test_a_face_that_no_turn_shows_is_upright() -> None:
    search = MarkedSearch(scores=(0.0, 0.4, 0.4, 0.4))
    assert righted(picture(), [FoundFace(FACE, 0.6, turn=2)], search, 0.3) == [FoundFace(FACE, 0.6)]
    assert len(search.calls) == 4


def test_a_crowd_of_turned_faces_is_tried_in_few_turns() -> None:
    search = MarkedSearch(scores=(0.0, 0.0, 0.0, 0.0))
    crowd = [FoundFace(Box(x, 90, x + 8, 100), 0.6, turn=2) for x in range(0, 150, 10)]
    assert len(righted(picture(), crowd, search, 0.3)) == len(crowd)
    assert len(search.calls) == 4 * TRIED + len(crowd) - TRIED


@pytest.mark.parametrize("brow", [1, 2, 3])
def test_a_picture_is_turned_as_a_whole(brow: int) -> None:
    search = MarkedSearch(brow)
    (face,) = found_turned(picture(), search, search)
    assert (face.turn, face.score, len(search.calls)) == ((-brow) % 4, 0.9, 3)
    np.testing.assert_allclose(face.box.as_array(), FACE.as_array())
    np.testing.assert_allclose(np.array(face.points), np.tile(FACE.center, (5, 1)))


def test_a_face_that_lies_askew_is_placed_by_a_closer_search() -> None:
    whole, close = MarkedSearch(2, scores=(0.3, 0.2, 0.1, 0.2)), MarkedSearch(2)
    (face,) = found_turned(picture(), whole, close)
    assert (face.turn, face.score) == (2, 0.9)
    assert found_turned(picture(), MarkedSearch(2, scores=(0.2, 0.2, 0.1, 0.2)), close) == []

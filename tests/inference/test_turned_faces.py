"""Faces turned in the plane, with a search that sees one marked face best in one turn of the picture."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from srn.face.geometry import Box, ImageArray
from srn.inference.face_finder import FoundFace
from srn.inference.turned_faces import TRIED, TURNED_THRESHOLD, found_beside, found_turned, righted

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


class TestBesideATurnedFace:
    """A picture of 120 x 160; the search of it turned clockwise, so by three quarter turns, is made up."""

    lying = FoundFace(FACE, 0.7, turn=3)
    misread, sure = FoundFace(Box(100, 70, 120, 100), 0.6), FoundFace(Box(100, 10, 120, 40), 0.95)

    def search(self, *found: FoundFace) -> list[FoundFace]:
        shapes = []

        def whole(image: ImageArray) -> list[FoundFace]:
            shapes.append(image.shape)
            return list(found)

        faces = found_beside(picture(), [self.sure, self.lying, self.misread], whole, 0.3)
        assert shapes == [(160, 120, 3)]  # in the turn of the face that lies so, and in no other
        return faces

    @staticmethod
    def in_turned(box: Box) -> Box:
        """Clockwise, the left edge becomes the upper one, and the lower one the left one."""
        return Box(119 - box.y1, box.x0, 119 - box.y0, box.x1)

    def test_a_face_that_lies_likewise_is_found(self) -> None:
        other = Box(10, 80, 40, 100)
        known, *rest = self.search(FoundFace(self.in_turned(other), 0.8, tilt=0.1))
        assert (known, rest[1:]) == (self.sure, [self.lying, self.misread])
        assert (rest[0].box, rest[0].turn, rest[0].tilt, rest[0].score) == (other, 3, 0.1, 0.8)

    def test_one_that_was_taken_for_upright_is_set_right(self) -> None:
        faces = self.search(FoundFace(self.in_turned(self.misread.box), 0.8))
        assert [(face.box, face.turn) for face in faces] == [
            (self.sure.box, 0), (self.misread.box, 3), (self.lying.box, 3),
        ]  # fmt: skip

    @pytest.mark.parametrize(
        "other",
        [
            FoundFace(Box(10, 10, 40, 40), TURNED_THRESHOLD),  # too weak
            FoundFace(Box(10, 10, 40, 40), 0.9, turn=1),  # not upright in the turned picture either
            FoundFace(Box(79, 100, 109, 120), 0.9),  # the sure upright face, less surely
        ],
    )
    def test_others_stay_as_they_were(self, other: FoundFace) -> None:
        assert self.search(other) == [self.sure, self.lying, self.misread]

    def test_upright_faces_cost_nothing(self) -> None:
        search = MarkedSearch()
        assert found_beside(picture(), [self.sure, self.misread], search, 0.3) == [self.sure, self.misread]
        assert not search.calls

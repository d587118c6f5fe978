"""Drawing followed faces: numbers, traces, guesses; nothing else is touched."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.face import Face
from srn.inference.track_overlay import TrackPainter, track_color

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
GREY = 128


def blank() -> Picture:
    return np.full((240, 320, 3), GREY, np.uint8)


def followed(shape: Shape, number: int | None = 1, seen: float = 1.0, sure: float = 0.8) -> Face:
    values = np.ones(68, np.float32)
    return Face(shape, values * np.float32(seen), values * np.float32(sure), Box.around(shape), 0.9, IBUG_68, number)


def changed(picture: Picture) -> npt.NDArray[np.bool_]:
    return (picture != GREY).any(axis=2)


def test_neighbouring_numbers_have_colours_apart() -> None:
    colors = [np.array(track_color(number)) for number in range(1, 9)]
    assert all(np.abs(one - other).sum() > 100 for one, other in itertools.pairwise(colors))
    assert track_color(3) == track_color(3)


def test_the_frame_handed_in_stays_as_it_is(face: Shape) -> None:
    image = blank()
    drawn = TrackPainter().draw(image, [followed(face * 90 + [160, 120])], 0.0)
    assert (image == GREY).all()
    assert changed(drawn).any()
    assert (TrackPainter().draw(image, [], 0.0) == image).all()


def test_the_number_stands_above_the_face_in_its_colour(face: Shape) -> None:
    shape = face * 90 + [160, 140]
    drawn = TrackPainter().draw(blank(), [followed(shape, number=5)], 0.0)
    top = int(shape[:, 1].min()) - 4
    tag = (drawn[:top] == track_color(5)).all(axis=2)
    assert tag.sum() > 40
    assert abs(np.argwhere(tag)[:, 1].min() - shape[:, 0].min()) < 5
    without = TrackPainter().draw(blank(), [followed(shape, number=None)], 0.0)
    assert not changed(without)[: top - 3].any()


def test_the_number_stays_in_the_picture(face: Shape) -> None:
    for x, y in ((-200, -300), (160, 20), (600, 500)):
        drawn = TrackPainter().draw(blank(), [followed(face * 90 + [x, y], number=12)], 0.0)
        assert (drawn == track_color(12)).all(axis=2).sum() > 40


def test_the_trace_follows_the_nose_and_ends(face: Shape) -> None:
    painter, without = TrackPainter(trace_s=0.5), TrackPainter(trace_s=0)
    places = [(60 + 8 * k, 120) for k in range(20)]
    for k, place in enumerate(places):
        faces = [followed(face * 60 + place)]
        difference = (painter.draw(blank(), faces, k / 30) != without.draw(blank(), faces, k / 30)).any(axis=2)
    columns = np.argwhere(difference)[:, 1]
    nose = (face * 60)[list(IBUG_68.components["nose"])].mean(axis=0)
    assert abs(columns.max() - (places[-1][0] + nose[0])) < 10
    assert abs(columns.min() - (places[-1][0] + nose[0] - 8 * 15)) < 14  # half a second back: 15 frames
    rows = np.argwhere(difference)[:, 0]
    assert np.ptp(rows) < 8
    # Another face's trace is another one, and a face that is gone has none.
    assert (painter.draw(blank(), [], 0.7) == GREY).all()


def test_a_guess_is_fainter_than_a_sight_and_the_fainter_the_less_sure(face: Shape) -> None:
    shape = face * 90 + [160, 130]

    def strength(seen: float, sure: float) -> float:
        drawn = TrackPainter().draw(blank(), [followed(shape, seen=seen, sure=sure)], 0.0)
        return float(np.abs(drawn.astype(float) - GREY).sum())

    assert strength(1, 0.8) > strength(0, 0.8) > strength(0, 0.3) > 0


def test_boxes_and_wild_points(face: Shape) -> None:
    shape = face * 90 + [160, 130]
    drawn = TrackPainter(boxes=True).draw(blank(), [followed(shape)], 0.0)
    x0, y0 = shape.min(axis=0).round().astype(int)
    assert changed(drawn)[y0 + 20 : y0 + 60, x0].all()
    wild = shape.copy()
    wild[30] = [1e7, -1e7]
    painter = TrackPainter()
    for k in range(3):
        assert painter.draw(blank(), [followed(wild + k)], k / 30).shape == (240, 320, 3)

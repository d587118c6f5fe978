"""Drawing faces: colours by component, hollow where hidden, nothing else touched."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import COMPONENTS, IBUG_68, SCHEMES, LandmarkScheme
from srn.inference.drawing import COMPONENT_COLORS, TrackPainter, draw_face, draw_faces, track_color
from srn.inference.face import Face, FaceState
from srn.media.pictures import write_image

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
GREY = (128, 127, 126)


@pytest.fixture
def spread() -> Mapping[str, Shape]:
    """Points of every scheme on a loose grid of whole pixels, far enough apart not to overlap."""
    shapes = {}
    for name, scheme in SCHEMES.items():
        index = np.arange(scheme.n_points)
        shapes[name] = np.stack([30 + 40 * (index % 10), 30 + 40 * (index // 10)], 1).astype(float)
    return shapes


def blank(size: int = 460) -> Picture:
    return np.full((size, size, 3), GREY, np.uint8)


def pixel(picture: Picture, point: Shape) -> tuple[int, ...]:
    x, y = point.astype(int)
    return tuple(picture[y, x].tolist())


def ring(picture: Picture, point: Shape, radius: float) -> Shape:
    """Colours at 32 pixels around a point."""
    angles = np.arange(32) * np.pi / 16
    x, y = np.round(point[:, None] + radius * np.stack([np.cos(angles), np.sin(angles)])).astype(int)
    return picture[y, x].astype(float)


def test_every_component_has_a_colour_that_shows() -> None:
    assert set(COMPONENT_COLORS) == set(COMPONENTS)
    colors = [np.array(COMPONENT_COLORS[name]) for name in ("brows", "eyes", "nose", "mouth", "left_cheek")]
    for index, color in enumerate(colors):
        for other in colors[index + 1 :]:
            assert np.abs(color - other).max() > 60


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_seen_points_are_filled_with_their_component_s_colour(
    scheme: LandmarkScheme, spread: Mapping[str, Shape]
) -> None:
    picture = blank()
    draw_face(picture, spread[scheme.name], scheme, contours=False, size=5)
    for index, point in enumerate(spread[scheme.name]):
        color = COMPONENT_COLORS[scheme.component_of(index)]
        assert pixel(picture, point) == color
        np.testing.assert_array_equal(ring(picture, point, 3), np.tile(color, (32, 1)))
        np.testing.assert_array_equal(ring(picture, point, 12), np.tile(GREY, (32, 1)))


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))
def test_hidden_points_are_hollow(scheme: LandmarkScheme, spread: Mapping[str, Shape]) -> None:
    visibility = np.where(np.arange(scheme.n_points) % 2, 0.49, 0.5)
    picture = blank()
    draw_face(picture, spread[scheme.name], scheme, visibility=visibility, contours=False, size=6)
    for index, point in enumerate(spread[scheme.name]):
        color = COMPONENT_COLORS[scheme.component_of(index)]
        if index % 2:
            assert pixel(picture, point) == GREY  # one looks through
            assert np.abs(ring(picture, point, 6) - color).max(axis=1).min() < 60  # the ring around it
        else:
            assert pixel(picture, point) == color


def test_small_hidden_points_are_hollow_too(face: Shape) -> None:
    picture = blank(200)
    shape = face * 130 + 100
    draw_face(picture, shape, IBUG_68, visibility=np.zeros(68), contours=False)
    for index in (0, 8, 16, 30):
        middle = picture[tuple(np.round(shape[index]).astype(int)[::-1])].astype(float)
        assert np.abs(middle - GREY).max() < 90


def test_contours_join_points_and_can_be_left_out(face: Shape) -> None:
    shape = face * 300 + 230
    with_lines, without = blank(), blank()
    draw_face(with_lines, shape, IBUG_68)
    draw_face(without, shape, IBUG_68, contours=False)
    for first, second in ((0, 1), (17, 18), (27, 28), (48, 49), (41, 36)):  # the eye's contour is closed
        x, y = np.round((shape[first] + shape[second]) / 2).astype(int)
        assert tuple(without[y, x]) == GREY
        assert tuple(with_lines[y, x]) != GREY
    x, y = np.round((shape[21] + shape[22]) / 2).astype(int)  # the brows are two lines
    assert tuple(with_lines[y, x]) == GREY


def test_box_is_drawn_where_it_is_given(face: Shape) -> None:
    shape = face * 100 + 200
    plain, boxed = blank(), blank()
    draw_face(plain, shape, IBUG_68)
    draw_face(boxed, shape, IBUG_68, box=Box(50, 60, 350, 360))
    rows, columns = np.nonzero((plain != boxed).any(-1))
    assert (columns.min(), rows.min(), columns.max(), rows.max()) == pytest.approx((50, 60, 350, 360), abs=3)
    assert (boxed[60, 51:349] > 200).all()
    inside = boxed[64:356, 54:346]
    np.testing.assert_array_equal(inside, plain[64:356, 54:346])


@pytest.mark.parametrize("height", [14, 24, 60])
def test_a_small_face_still_shows_under_its_drawing(face: Shape, height: float) -> None:
    shape = face * height + 100
    picture = blank(200)
    draw_face(picture, shape, IBUG_68, box=Box.around(shape))
    box = Box.around(shape)
    x0, y0, x1, y1 = (round(v) for v in box.as_array())
    change = np.abs(picture[y0 : y1 + 1, x0 : x1 + 1].astype(float) - GREY).max(axis=-1)
    assert (change > 60).mean() < 0.5
    assert (change > 5).any()


def test_options_of_drawing(face: Shape) -> None:
    one = Face(face * 200 + 230, None, None, Box(60, 60, 400, 400), 0.9, IBUG_68)
    colors = dict.fromkeys(COMPONENT_COLORS, (0, 0, 255))
    drawn = draw_faces(blank(), [one], size=6, colors=colors, box_color=(255, 0, 0), contours=False)
    assert pixel(drawn, np.round(one.landmarks[30])) == (0, 0, 255)
    assert pixel(drawn, np.round(one.landmarks[30]) + [4, 0]) == (0, 0, 255)
    assert tuple(drawn[60, 200]) == (255, 0, 0)


def test_colours_of_some_components_and_what_is_none(face: Shape) -> None:
    faces, blue = [followed(face * 300 + 220, number=None)], (0, 0, 255)
    drawn = draw_faces(blank(), faces, boxes=False, contours=False, colors={"nose": blue})
    shape = faces[0].landmarks.round()
    assert pixel(drawn, shape[30]) == blue
    assert pixel(drawn, shape[8]) == COMPONENT_COLORS["left_cheek"]
    wrong: Any
    for wrong in ({"nose": "blue"}, {"nose": (0, 0)}, {"nose": (0, 0, 256)}, {"nose": (0.5, 0, 0)}):
        with pytest.raises(InputError, match=r"colors\['nose'\]: expected RGB: three whole numbers from 0 to 255"):
            draw_faces(blank(), faces, colors=wrong)
    with pytest.raises(InputError, match=r"colors: expected components: brows, eyes, .*, found 'ears'"):
        draw_faces(blank(), faces, colors={"ears": blue})
    with pytest.raises(InputError, match="box_color: expected RGB: three whole numbers from 0 to 255, found 'red'"):
        draw_faces(blank(), faces, box_color="red")  # type: ignore[arg-type]


def test_ellipses_lie_where_nine_of_ten_true_points_should(face: Shape) -> None:
    """At the ends of the axes the picture changes as the ellipse's colour has it, and further out it does not."""
    shape = np.array([[30.0 + 60 * (k % 9), 30.0 + 60 * (k // 9)] for k in range(68)])
    covariance = np.tile(np.diag([36.0, 9.0]), (68, 1, 1))
    covariance[1] = [[22.5, 13.5], [13.5, 22.5]]  # the same, turned by 45 degrees
    one = Face(shape, None, None, Box.around(shape), 0.9, IBUG_68, covariance=covariance)
    plain, drawn = (
        draw_faces(blank(560), [one], boxes=False, contours=False, size=2, ellipses=e) for e in (False, True)
    )
    touched = (plain != drawn).any(axis=-1)
    ends = [(0, [6 * 2.2457, 0]), (0, [0, -3 * 2.2457]), (1, [9.53, 9.53]), (1, [4.76, -4.76])]
    for point, offset in ends:
        x, y = np.round(shape[point] + offset).astype(int)
        assert touched[y, x]
        x, y = np.round(shape[point] + np.array(offset) * (1 + 4 / np.linalg.norm(offset))).astype(int)
        assert not touched[y, x]
    with pytest.raises(InputError, match="ellipses: expected faces with a covariance"):
        draw_faces(blank(), [Face(face * 200 + 230, None, None, Box(60, 60, 400, 400), 0.9, IBUG_68)], ellipses=True)


def test_doubtful_faces_are_grey_and_faint(face: Shape) -> None:
    sure, doubtful = (
        Face(face * 200 + 230, None, np.full(68, c, np.float32), Box(60, 60, 400, 400), 0.9, IBUG_68)
        for c in (0.9, 0.1)
    )
    color = np.ptp(draw_faces(blank(), [sure])[70:390, 70:390].astype(int), axis=-1).max()
    assert color > 150
    assert np.ptp(draw_faces(blank(), [doubtful]).astype(int), axis=-1).max() < 10


@pytest.mark.parametrize("value", [-1e4, 3e4, 1e9, -1e15])
@pytest.mark.parametrize("count", [1, 68])
def test_wild_coordinates_do_no_harm(face: Shape, value: float, count: int) -> None:
    shape = face * 100 + 100
    shape[:count] = value + np.arange(count)[:, None]
    picture = blank(200)
    draw_face(picture, shape, IBUG_68, visibility=np.full(68, 0.1), box=Box(-1e9, -1e9, 1e9, 1e9))
    draw_face(picture, shape, IBUG_68)
    if count == 1:
        assert (picture != GREY).any(-1)[50:150, 50:150].any()  # the others are still drawn


def test_points_are_no_larger_than_the_picture(face: Shape) -> None:
    one = Face(face * 200 + 230, None, None, Box(60, 60, 400, 400), 0.9, IBUG_68)
    as_large = draw_faces(blank(), [one], size=float(np.hypot(460, 460)))
    np.testing.assert_array_equal(draw_faces(blank(), [one], size=1e9), as_large)
    for size in (0, -1.0, np.nan):
        with pytest.raises(InputError, match="size: expected a positive number of pixels"):
            draw_faces(blank(), [one], size=size)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1)])
def test_tiny_pictures(face: Shape, size: tuple[int, int]) -> None:
    picture = np.zeros((*size, 3), np.uint8)
    draw_face(picture, face * 100, IBUG_68, box=Box(0, 0, 5, 5))
    assert picture.shape == (*size, 3)


def test_a_turned_view_of_a_picture_is_drawn_on(face: Shape) -> None:
    """Its rows lie otherwise in memory, which OpenCV refuses."""
    faces, picture = [followed(face * 100 + 120, number=None)], blank()
    np.testing.assert_array_equal(draw_faces(np.asfortranarray(picture), faces), draw_faces(picture, faces))


def test_faces_are_drawn_on_a_copy(face: Shape) -> None:
    faces = [followed(face * 100 + x, number=None) for x in (120, 300)]
    picture, expected = blank(), blank()
    drawn = draw_faces(picture, faces)
    for each in faces:
        draw_face(expected, each.landmarks, IBUG_68, visibility=each.visibility, box=each.box)
    np.testing.assert_array_equal(drawn, expected)
    np.testing.assert_array_equal(picture, blank())
    assert (draw_faces(picture, faces, boxes=False) != drawn).any()


# --- tracks


def frame() -> Picture:
    return np.full((240, 320, 3), 128, np.uint8)


def followed(shape: Shape, number: int | None = 1, seen: float = 1.0, sure: float = 0.8) -> Face:
    values = np.ones(68, np.float32)
    visibility, confidence = values * np.float32(seen), values * np.float32(sure)
    state: FaceState = "seen" if seen else "predicted"
    return Face(shape, visibility, confidence, Box.around(shape), 0.9, IBUG_68, number, state=state)


def changed(picture: Picture) -> npt.NDArray[np.bool_]:
    return (picture != 128).any(axis=2)


def test_neighbouring_numbers_have_colours_apart() -> None:
    colors = [np.array(track_color(number)) for number in range(1, 9)]
    assert all(np.abs(one - other).sum() > 100 for one, other in itertools.pairwise(colors))
    assert track_color(3) == track_color(3)


def test_the_frame_handed_in_stays_as_it_is(face: Shape) -> None:
    image = frame()
    drawn = TrackPainter().draw(image, [followed(face * 90 + [160, 120])], 0.0)
    assert (image == 128).all()
    assert changed(drawn).any()
    assert (TrackPainter().draw(image, [], 0.0) == image).all()


def test_the_number_stands_above_the_face_in_its_colour(face: Shape) -> None:
    shape = face * 90 + [160, 140]
    drawn = TrackPainter().draw(frame(), [followed(shape, number=5)], 0.0)
    top = int(shape[:, 1].min()) - 4
    tag = (drawn[:top] == track_color(5)).all(axis=2)
    assert tag.sum() > 40
    assert abs(np.argwhere(tag)[:, 1].min() - shape[:, 0].min()) < 5
    without = TrackPainter().draw(frame(), [followed(shape, number=None)], 0.0)
    assert not changed(without)[: top - 3].any()


def test_the_number_stays_in_the_picture(face: Shape) -> None:
    for x, y in ((-200, -300), (160, 20), (600, 500)):
        drawn = TrackPainter().draw(frame(), [followed(face * 90 + [x, y], number=12)], 0.0)
        assert (drawn == track_color(12)).all(axis=2).sum() > 40


def test_the_trace_follows_the_nose_and_ends(face: Shape) -> None:
    painter, without = TrackPainter(trace_s=0.5), TrackPainter(trace_s=0)
    places = [(60 + 8 * k, 120) for k in range(20)]
    for k, place in enumerate(places):
        faces = [followed(face * 60 + place)]
        difference = (painter.draw(frame(), faces, k / 30) != without.draw(frame(), faces, k / 30)).any(axis=2)
    columns = np.argwhere(difference)[:, 1]
    nose = (face * 60)[list(IBUG_68.components["nose"])].mean(axis=0)
    assert abs(columns.max() - (places[-1][0] + nose[0])) < 10
    assert abs(columns.min() - (places[-1][0] + nose[0] - 8 * 15)) < 14  # half a second back: 15 frames
    rows = np.argwhere(difference)[:, 0]
    assert np.ptp(rows) < 8
    # Another face's trace is another one, and a face that is gone has none.
    assert (painter.draw(frame(), [], 0.7) == 128).all()


def test_a_guess_is_fainter_than_a_sight_and_the_fainter_the_less_sure(face: Shape) -> None:
    shape = face * 90 + [160, 130]

    def strength(seen: float, sure: float) -> float:
        drawn = TrackPainter().draw(frame(), [followed(shape, seen=seen, sure=sure)], 0.0)
        return float(np.abs(drawn.astype(float) - 128).sum())

    assert strength(1, 0.8) > strength(0, 0.8) > strength(0, 0.3) > 0


def test_a_guess_is_fainter_also_by_weights_that_tell_nothing_of_points(face: Shape) -> None:
    shape, strengths = face * 90 + [160, 130], []
    for state in get_args(FaceState):
        one = Face(shape, None, None, Box.around(shape), 0.9, IBUG_68, 1, state=state)
        strengths.append(np.abs(TrackPainter().draw(frame(), [one], 0.0).astype(float) - 128).sum())
    assert strengths[1] < 0.5 * strengths[0]


def test_boxes_and_wild_points(face: Shape) -> None:
    shape = face * 90 + [160, 130]
    drawn = TrackPainter(boxes=True).draw(frame(), [followed(shape)], 0.0)
    x0, y0 = shape.min(axis=0).round().astype(int)
    assert changed(drawn)[y0 + 20 : y0 + 60, x0].all()
    wild = shape.copy()
    wild[30] = [1e7, -1e7]
    painter = TrackPainter()
    for k in range(3):
        assert painter.draw(frame(), [followed(wild + k)], k / 30).shape == (240, 320, 3)


def test_a_picture_in_any_form_and_nothing_but_faces(tmp_path: Path) -> None:
    picture = np.full((20, 30, 3), 90, np.uint8)
    write_image(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(draw_faces(tmp_path / "a.png", []), picture)
    for faces in (None, [1], ["a"], 3):
        with pytest.raises(InputError, match=r"faces: expected a list of `Face`, as .* returns, found"):
            draw_faces(picture, faces)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="nowhere: expected a readable picture file"):
        draw_faces("nowhere", [])


def test_few_points_are_drawn_as_large_as_they_have_room(face: Shape) -> None:
    """Five points of a face span the half of it, and cover as much of the picture as a dozen of its 68."""
    five = LandmarkScheme(
        "five", 5, {**dict.fromkeys(COMPONENTS, ()), "eyes": (0, 1), "nose": (2,), "mouth": (3, 4)},
        ((0, 1), (3, 4)), (0, 1), ((0,), (1,)), (),
    )  # fmt: skip
    whole = face * 200 + 150
    some = np.stack([whole[36:42].mean(axis=0), whole[42:48].mean(axis=0), *whole[[30, 48, 54]]])
    drawn = [np.full((300, 300, 3), 128, np.uint8) for _ in range(2)]
    draw_face(drawn[0], whole, IBUG_68, contours=False)
    draw_face(drawn[1], some, five, contours=False)
    covered = [int((picture != 128).any(axis=2).sum()) for picture in drawn]
    assert covered[0] / 68 < covered[1] / 5 < 6 * covered[0] / 68

"""What is covered: the whole face, never less under doubt, and nothing that could be read again."""

from __future__ import annotations

import itertools
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box, similarity, transform_points
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.inference.face import Face
from srn.uses.cover import DETAIL, FILL, SURE, Cover, Style, cover_faces, region_of, region_of_box

Shape = npt.NDArray[np.float64]
SIZE = 300


@pytest.fixture
def person(face: Shape) -> Face:
    shape = face * 80 + [150, 160]
    return Face(shape, None, np.full(68, 0.9, np.float32), Box.around(shape), 0.9, IBUG_68)


def doubted(face: Face, confidence: float | None) -> Face:
    return replace(face, confidence=None if confidence is None else np.full(68, confidence, np.float32))


def noise() -> npt.NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("turn", [0.0, 0.7, 1.6, np.pi])
def test_the_face_and_its_forehead_are_covered(person: Face, turn: float) -> None:
    matrix = similarity(1.0, turn, np.array([150.0, 160.0]), np.array([150.0, 150.0]))
    shape = transform_points(matrix, person.landmarks)
    face = replace(person, landmarks=shape, box=Box.around(shape))
    forehead = shape[17:27] + 0.5 * (shape[17:27].mean(axis=0) - shape[8])  # half of what lies between brows and chin

    mask = region_of(face).mask(SIZE, SIZE)
    for x, y in np.round(np.concatenate([shape, forehead])).astype(int):
        assert mask[y, x]
    hull = np.zeros((SIZE, SIZE), np.uint8)
    cv2.fillConvexPoly(hull, cv2.convexHull(np.round(shape).astype(np.int32)), 1)
    assert mask[hull > 0].all()
    assert mask.mean() < 0.3


@pytest.mark.parametrize("target", ["face", "eyes"])
def test_doubt_covers_more_never_less(person: Face, target: str) -> None:
    cover = Cover(target)  # type: ignore[arg-type]
    masks = [region_of(doubted(person, sure), cover).mask(SIZE, SIZE) for sure in np.linspace(1, 0, 21)]

    for surer, less in itertools.pairwise(masks):
        assert (less | ~surer).all()
    assert masks[-1].sum() > 1.5 * masks[0].sum()
    unknown = region_of(doubted(person, None), cover).mask(SIZE, SIZE)
    np.testing.assert_array_equal(unknown, masks[-1])


def test_a_doubted_face_is_covered_where_it_was_found(person: Face) -> None:
    """Wrong points in another place than the box: both are covered."""
    strayed = replace(doubted(person, SURE - 0.2), landmarks=person.landmarks * 0.3 + 5)
    mask = region_of(strayed).mask(SIZE, SIZE)
    assert mask[160, 150]
    assert mask[int(strayed.landmarks[30, 1]), int(strayed.landmarks[30, 0])]
    assert not region_of(doubted(strayed, 1.0)).mask(SIZE, SIZE)[20, 280]


def test_eyes_are_a_band(person: Face) -> None:
    mask = region_of(person, Cover("eyes")).mask(SIZE, SIZE)
    points = np.round(person.landmarks).astype(int)

    assert mask[points[36:48, 1], points[36:48, 0]].all()
    assert not mask[points[[8, 57, 51], 1], points[[8, 57, 51], 0]].any()
    whole = region_of(person).mask(SIZE, SIZE)
    np.testing.assert_array_equal(
        region_of(doubted(person, SURE - 0.01), Cover("eyes")).mask(SIZE, SIZE),
        region_of(doubted(person, SURE - 0.01)).mask(SIZE, SIZE),
    )
    assert mask.sum() < whole.sum() / 2


def test_margins_add_up(person: Face) -> None:
    """A margin of m face sizes grows the cover's width by 2 m of them."""

    def width(mask: npt.NDArray[np.bool_]) -> int:
        columns = np.flatnonzero(mask.any(axis=0))
        return int(columns[-1] - columns[0])

    plain, wide = (region_of(person, Cover(margin=m)).mask(SIZE, SIZE) for m in (0.0, 0.25))
    extra = region_of(person, extra=0.25).mask(SIZE, SIZE)
    assert width(wide) - width(plain) == pytest.approx(0.5 * person.landmark_box.size, abs=3)
    np.testing.assert_array_equal(wide, extra)
    alone = region_of_box(person.box).mask(SIZE, SIZE)
    assert alone[region_of(person).mask(SIZE, SIZE)].mean() > 0.99


@pytest.mark.parametrize("style", ["pixelate", "blur", "fill"])
def test_no_detail_is_left(person: Face, style: Style) -> None:
    image = noise()
    drawn = cover_faces(image, [person], Cover(style=style))
    mask = region_of(person).mask(SIZE, SIZE)

    np.testing.assert_array_equal(drawn[~mask], image[~mask])
    assert (image == noise()).all()  # the given picture is as it was
    window = drawn[130:190, 120:180].astype(int)
    if style == "fill":
        assert (drawn[mask] == FILL).all()
    elif style == "pixelate":
        colors = len(np.unique(drawn[mask].reshape(-1, 3), axis=0))
        assert colors <= (3 * DETAIL) ** 2  # blocks of a sixth of a face
        assert (np.diff(window, axis=1) == 0).mean() > 0.85
    else:
        assert np.abs(np.diff(window, axis=1)).max() <= 12
    assert np.abs(window - image[130:190, 120:180]).mean() > 30


def test_faces_at_the_border_and_beyond(person: Face) -> None:
    image = noise()
    half = replace(person, landmarks=person.landmarks - [150, 0], box=Box.around(person.landmarks - [150, 0]))
    away = replace(person, landmarks=person.landmarks + 9e7, box=Box.around(person.landmarks + 9e7))

    drawn = cover_faces(image, [half, away], Cover(style="fill"))
    assert (drawn[160, :20] == FILL).all()
    np.testing.assert_array_equal(drawn[:, 200:], image[:, 200:])
    np.testing.assert_array_equal(cover_faces(image, []), image)


def test_few_points_are_covered_by_the_box(person: Face) -> None:
    """A scheme of five points, without brows: the box by which the face was found is covered."""
    parts = {"brows": (), "eyes": (0, 1), "nose": (2,), "mouth": (3, 4), "left_cheek": (), "right_cheek": ()}
    five = LandmarkScheme("five", 5, parts, ((0, 1), (3, 4)), (0, 1), ((0,), (1,)))
    few = Face(person.landmarks[[36, 45, 30, 48, 54]], None, np.ones(5, np.float32), person.box, 0.9, five)

    whole = region_of(few).mask(SIZE, SIZE)
    assert whole[region_of(person).mask(SIZE, SIZE)].mean() > 0.94
    band = region_of(few, Cover("eyes")).mask(SIZE, SIZE)
    places = np.round(few.landmarks[:2]).astype(int)
    assert band.sum() < whole.sum() / 2
    assert band[places[:, 1], places[:, 0]].all()


def test_mistakes() -> None:
    with pytest.raises(InputError, match="target: expected one of face, eyes, found 'nose'"):
        Cover("nose")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="style: expected one of pixelate, blur, fill"):
        Cover(style="sepia")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="margin: expected 0 face sizes or more, found -1"):
        Cover(margin=-1)
    with pytest.raises(InputError, match="margin: expected 0 face sizes or more, found 'a'"):
        Cover(margin="a")  # type: ignore[arg-type]

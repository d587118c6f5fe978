"""Schemes: complete, symmetric, and in agreement with one another and with real annotations."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import fit_similarity, transform_points
from srn.face.scheme import (
    COFW_29,
    COMPONENTS,
    IBUG_68,
    REGIONS,
    SCHEMES,
    WFLW_98,
    LandmarkScheme,
    scheme_by_name,
)
from srn.media.pts import read_pts

every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.name)

WFLW_OF_IBUG = (
    *range(0, 33, 2),  # outline: every second point
    *range(33, 38),  # upper edges of the brows
    *range(42, 47),
    *range(51, 60),  # nose
    *(60, 61, 63, 64, 65, 67),  # eyes without their middle points
    *(68, 69, 71, 72, 73, 75),
    *range(76, 96),  # mouth
)
"""For each of the 68 points the one of WFLW's 98 at the same place of the face, from the drawing in the WFLW paper."""

IBUG_OF_COFW = {
    **dict(zip((0, 1, 2, 3), (17, 26, 21, 22), strict=True)),  # ends of the brows
    **dict(zip((8, 9, 10, 11), (36, 45, 39, 42), strict=True)),  # eye corners
    **dict(zip((18, 19), (31, 35), strict=True)),  # sides of the nose
    **dict(zip((22, 23, 24, 25, 26, 27), (48, 54, 51, 62, 66, 57), strict=True)),  # corners and middles of the lips
    28: 8,  # chin
}
"""For the COFW points that have one, the point of the 68 at the same place of the face."""


@every_scheme
def test_components_hold_every_point_once(scheme: LandmarkScheme) -> None:
    held = [i for name in COMPONENTS for i in scheme.components[name]]

    assert sorted(held) == list(range(scheme.n_points))
    assert [scheme.component_of(i) for i in held] == [n for n in COMPONENTS for _ in scheme.components[n]]


@every_scheme
def test_regions_hold_every_point_once(scheme: LandmarkScheme) -> None:
    assert sorted(i for name in REGIONS for i in scheme.region(name)) == list(range(scheme.n_points))


@pytest.mark.parametrize(
    ("scheme", "sizes"),
    [(IBUG_68, (10, 12, 9, 20, 9, 8)), (COFW_29, (8, 10, 4, 6, 1, 0)), (WFLW_98, (18, 18, 9, 20, 17, 16))],
    ids=lambda value: value.name if isinstance(value, LandmarkScheme) else "",
)
def test_sizes_of_components(scheme: LandmarkScheme, sizes: tuple[int, ...]) -> None:
    assert tuple(len(scheme.components[name]) for name in COMPONENTS) == sizes


def test_regions_of_the_68_points() -> None:
    assert [len(IBUG_68.region(name)) for name in ("ocular", "snout", "cheek")] == [22, 29, 17]


@every_scheme
def test_mirror_is_an_involution(scheme: LandmarkScheme) -> None:
    assert scheme.mirror.shape == (scheme.n_points,)
    np.testing.assert_array_equal(scheme.mirror[scheme.mirror], np.arange(scheme.n_points))


@every_scheme
def test_no_point_is_in_two_mirror_pairs(scheme: LandmarkScheme) -> None:
    listed = [i for pair in scheme.mirror_pairs for i in pair]

    assert len(listed) == len(set(listed))


@every_scheme
def test_mirror_takes_components_to_components(scheme: LandmarkScheme) -> None:
    def mirrored(name: str) -> set[int]:
        return {int(scheme.mirror[i]) for i in scheme.components[name]}

    for name in ("brows", "eyes", "nose", "mouth"):
        assert mirrored(name) == set(scheme.components[name])
    # The cheeks change places, except for the chin: it is its own mirror image and belongs to the left cheek.
    chin = {i for i in scheme.components["left_cheek"] if scheme.mirror[i] == i}
    assert len(chin) == 1
    assert mirrored("left_cheek") - chin == set(scheme.components["right_cheek"])


@every_scheme
def test_mirror_takes_the_left_eye_to_the_right_eye(scheme: LandmarkScheme) -> None:
    left, right = scheme.eyes

    assert {int(scheme.mirror[i]) for i in left} == set(right)
    assert scheme.mirror[scheme.eye_corners[0]] == scheme.eye_corners[1]
    assert {*left, *right, *scheme.eye_corners} <= set(scheme.components["eyes"])


@every_scheme
def test_contours_are_symmetric_and_stay_in_their_component(scheme: LandmarkScheme) -> None:
    def segments(points: tuple[int, ...], closed: bool) -> set[frozenset[int]]:
        following = points[1:] + points[:1] if closed else points[1:]
        return {frozenset(pair) for pair in zip(points, following, strict=False)}

    drawn = set().union(*(segments(points, closed) for _, points, closed in scheme.contours))

    assert {frozenset(int(scheme.mirror[i]) for i in segment) for segment in drawn} == drawn
    chin = next(i for i in scheme.components["left_cheek"] if scheme.mirror[i] == i)
    for component, points, _ in scheme.contours:
        assert {scheme.component_of(i) for i in points if i != chin} == {component}


@pytest.mark.parametrize(
    ("scheme", "point", "mirrored", "component"),
    [
        (IBUG_68, 0, 16, "left_cheek"),
        (IBUG_68, 8, 8, "left_cheek"),
        (IBUG_68, 21, 22, "brows"),
        (IBUG_68, 30, 30, "nose"),
        (IBUG_68, 31, 35, "nose"),
        (IBUG_68, 36, 45, "eyes"),
        (IBUG_68, 41, 46, "eyes"),
        (IBUG_68, 51, 51, "mouth"),
        (IBUG_68, 60, 64, "mouth"),
        (COFW_29, 0, 1, "brows"),
        (COFW_29, 2, 3, "brows"),
        (COFW_29, 4, 6, "brows"),  # upper edges
        (COFW_29, 5, 7, "brows"),  # lower edges
        (COFW_29, 12, 14, "eyes"),  # upper lids
        (COFW_29, 13, 15, "eyes"),  # lower lids
        (COFW_29, 16, 17, "eyes"),
        (COFW_29, 20, 20, "nose"),
        (COFW_29, 22, 23, "mouth"),
        (COFW_29, 28, 28, "left_cheek"),
        (WFLW_98, 16, 16, "left_cheek"),
        (WFLW_98, 17, 15, "right_cheek"),
        (WFLW_98, 37, 42, "brows"),
        (WFLW_98, 38, 50, "brows"),
        (WFLW_98, 54, 54, "nose"),
        (WFLW_98, 60, 72, "eyes"),
        (WFLW_98, 66, 74, "eyes"),
        (WFLW_98, 96, 97, "eyes"),
    ],
    ids=lambda value: value.name if isinstance(value, LandmarkScheme) else str(value),
)
def test_spots_checked_by_hand(scheme: LandmarkScheme, point: int, mirrored: int, component: str) -> None:
    assert scheme.mirror[point] == mirrored
    assert scheme.component_of(point) == component


def test_the_68_points_lie_among_the_98() -> None:
    same_place = np.array(WFLW_OF_IBUG)

    np.testing.assert_array_equal(WFLW_98.mirror[same_place], same_place[IBUG_68.mirror])
    for i, j in enumerate(same_place):
        assert IBUG_68.component_of(i) == WFLW_98.component_of(int(j))
    assert tuple(same_place[list(IBUG_68.eye_corners)]) == WFLW_98.eye_corners


def test_cofw_points_agree_with_the_68_where_they_mean_the_same() -> None:
    for point, same_place in IBUG_OF_COFW.items():
        assert COFW_29.component_of(point) == IBUG_68.component_of(same_place)
        assert IBUG_OF_COFW[int(COFW_29.mirror[point])] == IBUG_68.mirror[same_place]


def mean_in_face_units(shapes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Mean (N, 2) of shapes (M, N, 2), each first moved to its box centre and divided by its box diagonal."""
    low, high = shapes.min(axis=1, keepdims=True), shapes.max(axis=1, keepdims=True)
    size = np.linalg.norm(high - low, axis=-1, keepdims=True)
    mean: npt.NDArray[np.float64] = ((shapes - (low + high) / 2) / size).mean(axis=0)
    return mean


def real_shapes(scheme: LandmarkScheme, shared_data: Path) -> npt.NDArray[np.float64]:
    if scheme is IBUG_68:
        folders = [shared_data / "300W" / name for name in ("ibug", "lfpw/testset", "helen/testset")]
        return np.stack([read_pts(file) for folder in folders for file in sorted(folder.glob("*.pts"))])
    annotations = shared_data / "WFLW_subset" / "WFLW_annotations" / "list_98pt_rect_attr_train_test"
    lines = (annotations / "list_98pt_rect_attr_test.txt").read_text().splitlines()
    return np.array([line.split()[:196] for line in lines], dtype=np.float64).reshape(-1, 98, 2)


@pytest.mark.parametrize(("scheme", "n_faces"), [(IBUG_68, 689), (WFLW_98, 155)], ids=["ibug68", "wflw98"])
def test_mirror_is_the_symmetry_of_real_faces(scheme: LandmarkScheme, n_faces: int, shared_data: Path) -> None:
    shapes = real_shapes(scheme, shared_data)
    assert len(shapes) == n_faces
    mean = mean_in_face_units(shapes)
    reflected = mean * [-1, 1]  # without renumbering: point i lies where its partner should be

    to_mean = fit_similarity(reflected[scheme.mirror], mean)
    distances = np.linalg.norm(transform_points(to_mean, reflected) - mean[:, None], axis=-1)  # (N mean, N reflected)
    interocular = np.linalg.norm(mean[scheme.eye_corners[0]] - mean[scheme.eye_corners[1]])

    # Of all points, the partner comes closest. That alone would determine the map.
    np.testing.assert_array_equal(distances.argmin(axis=1), scheme.mirror)
    # What is left is the asymmetry of some hundred faces, mostly turned heads.
    partners = distances[np.arange(scheme.n_points), scheme.mirror] / interocular
    assert partners.max() < 0.04
    assert partners.mean() < 0.02


@pytest.mark.parametrize("scheme", [IBUG_68, WFLW_98], ids=lambda s: s.name)
def test_components_lie_where_their_names_say(scheme: LandmarkScheme, shared_data: Path) -> None:
    mean = mean_in_face_units(real_shapes(scheme, shared_data))
    x, y = {}, {}
    for name, points in scheme.components.items():
        x[name], y[name] = mean[list(points)].mean(axis=0)

    assert y["brows"] < y["eyes"] < y["nose"] < y["mouth"]
    assert x["left_cheek"] < x["nose"] < x["right_cheek"]
    assert mean[scheme.eye_corners[0], 0] < mean[scheme.eye_corners[1], 0]
    left, right = (mean[list(points), 0] for points in scheme.eyes)
    assert left.max() < right.min()


@every_scheme
def test_looked_up_by_name_and_through_pickle_it_is_the_same_object(scheme: LandmarkScheme) -> None:
    assert scheme_by_name(scheme.name) is scheme
    assert pickle.loads(pickle.dumps(scheme)) is scheme
    assert copy.deepcopy(scheme) is scheme


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"expected one of ibug68, cofw29, wflw98, found 'ibug70'"):
        scheme_by_name("ibug70")


@pytest.mark.parametrize(
    "mouth", [(4,), (3, 4, 5), (4, 5, 5), (4, 6)], ids=["one missing", "one in two parts", "one twice", "outside"]
)
def test_components_that_are_no_partition_are_refused(mouth: tuple[int, ...]) -> None:
    components = dict(zip(COMPONENTS, [(0, 1), (2,), (3,), mouth, (), ()], strict=True))

    with pytest.raises(InputError, match=r"each of 0\.\.5 in one component"):
        LandmarkScheme("bad", 6, components, (), (0, 1), ((0,), (1,)))


@pytest.mark.parametrize(
    ("pairs", "found"),
    [(((0, 1), (1, 2)), "1 in more"), (((0, 0),), "0 in more"), (((0, 6),), "6, which is none of the 6"),
     (((0, -1),), "-1, which is none of the 6")],
)  # fmt: skip
def test_a_point_has_one_mirror_image(pairs: tuple[tuple[int, int], ...], found: str) -> None:
    """Else mirrored pictures would have points that lie elsewhere."""
    components = dict(zip(COMPONENTS, [(0, 1), (2,), (3,), (4, 5), (), ()], strict=True))
    with pytest.raises(InputError, match=f"bad, mirror_pairs: expected each point in one pair at most, found {found}"):
        LandmarkScheme("bad", 6, components, pairs, (0, 1), ((0,), (1,)))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"eye_corners": (0, 6)}, r"eye_corners: expected different points from 0 to 5, found \(0, 6\)"),
        ({"eye_corners": (0, -1)}, r"eye_corners: expected different points from 0 to 5, found \(0, -1\)"),
        ({"eye_corners": (1, 1)}, r"eye_corners: expected different points from 0 to 5, found \(1, 1\)"),
        ({"eyes": ((0,), (0,))}, r"eyes: expected different points from 0 to 5, found \(0, 0\)"),
        ({"eyes": ((0, 9), (1,))}, r"eyes: expected different points from 0 to 5, found \(0, 9, 1\)"),
        ({"eyes": ((0,), ())}, "points of each eye and each contour, found none of one"),
        ({"contours": (("eyes", (0, -2), True),)}, r"contours: expected different points .*, found \(0, -2\)"),
        ({"contours": (("eyes", (0, 1, 0), True),)}, r"contours: expected different points .*, found \(0, 1, 0\)"),
        ({"contours": (("eyes", (), True),)}, "points of each eye and each contour, found none of one"),
        ({"contours": (("ear", (0, 1), True),)}, "contours: expected one of brows, .*, found 'ear'"),
    ],
)
def test_eyes_and_contours_have_points_of_the_scheme(changed: dict[str, Any], message: str) -> None:
    """A negative index would be the eye of another point, without a word."""
    components = dict(zip(COMPONENTS, [(2,), (0, 1), (3,), (4, 5), (), ()], strict=True))
    values: dict[str, Any] = {"mirror_pairs": ((0, 1),), "eye_corners": (0, 1), "eyes": ((0,), (1,))} | changed
    with pytest.raises(InputError, match=f"^scheme bad.*{message}"):
        LandmarkScheme("bad", 6, components, **values)


def test_components_must_be_the_six_of_the_paper() -> None:
    with pytest.raises(InputError, match="components"):
        LandmarkScheme("bad", 2, {"brows": (0, 1)}, (), (0, 1), ((0,), (1,)))


# --- parts


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.name)
def test_the_parts_of_every_scheme_mirror_each_other(scheme: LandmarkScheme) -> None:
    assert set(scheme.parts) == {*COMPONENTS, "left_brow", "right_brow", "left_eye", "right_eye", "jaw"}
    mirror = scheme.mirror.tolist()
    for whole in ("brows", "eyes"):
        left, right = scheme.part(f"left_{whole[:-1]}"), scheme.part(f"right_{whole[:-1]}")
        assert {mirror[i] for i in left} == set(right)
        assert {*left, *right} == set(scheme.part(whole))
    assert set(scheme.part("left_eye")) >= set(scheme.eyes[0])
    assert set(scheme.part("right_eye")) >= set(scheme.eyes[1])
    assert scheme.part("jaw") == (*scheme.part("left_cheek"), *scheme.part("right_cheek"))


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(InputError, match=r"part of a face: expected one of brows, .*, jaw, found 'chin'"):
        IBUG_68.part("chin")

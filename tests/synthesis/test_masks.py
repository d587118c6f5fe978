"""Masks fitted from templates."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from srn.errors import InputError
from srn.face.geometry import transform_points
from srn.face.scheme import COFW_29, IBUG_68, WFLW_98
from srn.synthesis.masks import MaskTemplate, fit_mask, mask_anchors, outline, patterned, skin_light, turned_side

RED = (200, 30, 40)


def upright_face(size: float = 200.0) -> np.ndarray:
    """68 points of a symmetric face, laid out by hand on a grid of `size` pixels a side, origin at (50, 50)."""
    points = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    points[0:17] = np.stack([0.5 + 0.5 * np.cos(angle), 0.25 + 0.75 * np.sin(angle)], 1)
    points[17:22] = np.stack([np.linspace(0.12, 0.42, 5), np.full(5, 0.1)], 1)
    points[22:27] = np.stack([np.linspace(0.58, 0.88, 5), np.full(5, 0.1)], 1)
    points[27:31] = np.stack([np.full(4, 0.5), np.linspace(0.22, 0.5, 4)], 1)
    points[31:36] = np.stack([np.linspace(0.4, 0.6, 5), np.full(5, 0.56)], 1)
    for first, x in ((36, 0.27), (42, 0.73)):
        turn = np.linspace(np.pi, -np.pi, 7)[:6]
        points[first : first + 6] = np.stack([x + 0.08 * np.cos(turn), 0.22 - 0.03 * np.sin(turn)], 1)
    for first, count, radius in ((48, 12, 0.15), (60, 8, 0.1)):
        turn = np.linspace(np.pi, -np.pi, count + 1)[:count]
        points[first : first + count] = np.stack([0.5 + radius * np.cos(turn), 0.72 - 0.4 * radius * np.sin(turn)], 1)
    return points * size + 50


@pytest.fixture
def template() -> MaskTemplate:
    """A plain red rectangle whose key points are its own corners and the middles of its long sides."""
    image = np.full((101, 201, 4), 255, np.uint8)
    image[:, :, :3] = RED
    return MaskTemplate("red", image, np.array([[0.0, 0], [100, 0], [200, 0], [0, 100], [100, 100], [200, 100]]))


def test_the_anchors_of_a_symmetric_face_are_symmetric_and_run_from_nose_to_chin() -> None:
    shape = upright_face()
    anchors = mask_anchors(shape, IBUG_68)
    mirrored = anchors[[2, 1, 0, 5, 4, 3]] * [-1, 1] + [2 * 150, 0]
    np.testing.assert_allclose(anchors, mirrored, atol=1e-9)
    np.testing.assert_allclose(anchors[4], shape[8])  # the chin
    assert shape[27, 1] < anchors[1, 1] < shape[30, 1]  # on the bridge of the nose


def test_a_mask_hides_the_mouth_and_not_the_eyes(template: MaskTemplate) -> None:
    shape = upright_face()
    image = np.full((320, 320, 3), 90, np.uint8)
    covered = fit_mask(image, shape, IBUG_68, template)
    x, y = np.round(shape).astype(int).T
    hidden = covered[y, x]
    assert hidden[list(IBUG_68.components["mouth"])].all()
    assert not hidden[[*IBUG_68.components["eyes"], *IBUG_68.components["brows"]]].any()
    assert (image[covered] == RED).mean() > 0.97
    untouched = ~covered
    # Only the soft edge, a pixel wide, differs outside of what counts as covered.
    assert (image[untouched] != 90).any(axis=1).sum() < 0.06 * covered.sum()


def test_a_mask_turns_with_the_face(template: MaskTemplate) -> None:
    shape = upright_face()
    turn = np.array([[0.0, -1.0, 320.0], [1.0, 0.0, 0.0]])  # a quarter turn
    straight, turned = (np.full((321, 321, 3), 90, np.uint8) for _ in range(2))
    covered = fit_mask(straight, shape, IBUG_68, template)
    covered_turned = fit_mask(turned, transform_points(turn, shape), IBUG_68, template)
    expected = np.rot90(covered, -1)
    assert (covered_turned & expected).sum() / (covered_turned | expected).sum() > 0.98


def test_a_profile_does_not_blow_the_mask_up(template: MaskTemplate) -> None:
    shape = upright_face()
    shape[:, 0] = 150 + (shape[:, 0] - 150) * 0.15
    image = np.full((320, 320, 3), 90, np.uint8)
    covered = fit_mask(image, shape, IBUG_68, template)
    box = np.ptp(shape, axis=0)
    assert 0 < covered.sum() < 1.5 * box[0] * box[1]


def test_the_side_a_face_is_turned_to() -> None:
    shape = upright_face()
    nose = list(IBUG_68.components["nose"])
    for shift, side in ((0, "front"), (-60, "left"), (60, "right")):
        turned = shape.copy()
        turned[nose, 0] += shift
        assert turned_side(turned, IBUG_68) == side


def test_the_outline_belongs_to_the_scheme() -> None:
    assert outline(IBUG_68) == tuple(range(17))
    assert outline(WFLW_98) == tuple(range(33))
    with pytest.raises(InputError, match="cofw29"):
        outline(COFW_29)


def test_a_pattern_keeps_the_shape_and_the_shading(template: MaskTemplate) -> None:
    shaded = template.image.copy()
    shaded[:50, :, :3] //= 2
    base = MaskTemplate("shaded", shaded, template.key_points)
    cloth = np.full((10, 10, 3), (40, 120, 200), np.uint8)
    result = patterned(base, cloth, "cloth")
    np.testing.assert_array_equal(result.image[:, :, 3], base.image[:, :, 3])
    bright, dark = result.image[80, 100, :3].astype(float), result.image[20, 100, :3].astype(float)
    np.testing.assert_allclose(bright, (40, 120, 200), atol=2)
    np.testing.assert_allclose(dark / bright, 0.5, atol=0.02)


@pytest.mark.parametrize(
    ("image", "points"),
    [(np.zeros((5, 5, 3), np.uint8), np.zeros((6, 2))), (np.zeros((5, 5, 4), np.uint8), np.zeros((5, 2)))],
)
def test_a_template_is_checked(image: np.ndarray, points: np.ndarray) -> None:
    with pytest.raises(InputError, match="odd"):
        MaskTemplate("odd", image, points)


def test_a_mask_cut_from_a_photograph_takes_the_light_of_the_face(template: MaskTemplate) -> None:
    shape = upright_face()
    painted = {}
    for light in (40, 80, 160):
        image = np.full((320, 320, 3), light, np.uint8)
        image[200:] = 255  # only the skin between the eyes counts
        assert skin_light(image, shape, IBUG_68) == light
        fit_mask(image, shape, IBUG_68, dataclasses.replace(template, skin=80.0))
        painted[light] = image[220, 150]
    np.testing.assert_allclose(painted[80], RED, atol=1)
    np.testing.assert_allclose(painted[40], np.array(RED) / 2, atol=1)
    np.testing.assert_allclose(painted[160], np.minimum(np.array(RED) * 2, 255), atol=1)
    assert skin_light(image, shape - 1000, IBUG_68) == 160  # far outside: the nearest pixels


@pytest.mark.parametrize("skin", [0.0, -1.0, 256.0, float("nan")])
def test_the_light_of_a_skin_is_checked(template: MaskTemplate, skin: float) -> None:
    with pytest.raises(InputError, match="expected a light of the skin"):
        dataclasses.replace(template, skin=skin)

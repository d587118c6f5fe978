"""Aligned crops: published points and formulas, there and back."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from srn.errors import InputError
from srn.face.geometry import Box, similarity, transform_points
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.face import Face
from srn.uses.crops import ARCFACE_POINTS, arcface_geometry, ffhq_geometry
from srn.uses.points import five_points

Shape = npt.NDArray[np.float64]


def face_of(shape: Shape) -> Face:
    return Face(shape, None, None, Box.around(shape), 1.0, IBUG_68)


def ffhq_quad(lm: Shape) -> Shape:
    """The square's corners as `download_ffhq.py` of NVIDIA's ffhq-dataset computes them, in its own words."""
    eye_left, eye_right = np.mean(lm[36:42], axis=0), np.mean(lm[42:48], axis=0)
    eye_avg, eye_to_eye = (eye_left + eye_right) * 0.5, eye_right - eye_left
    eye_to_mouth = (lm[48] + lm[54]) * 0.5 - eye_avg
    x = eye_to_eye - np.flipud(eye_to_mouth) * [-1, 1]
    x /= np.hypot(*x)
    x *= max(np.hypot(*eye_to_eye) * 2.0, np.hypot(*eye_to_mouth) * 1.8)
    y = np.flipud(x) * [-1, 1]
    c = eye_avg + eye_to_mouth * 0.1
    return np.stack([c - x - y, c - x + y, c + x + y, c + x - y])


def test_arcface_brings_the_five_points_to_their_places(face: Shape) -> None:
    """A face whose five points are the published ones, turned and moved, comes back to them exactly."""
    shape = face * 60 + 70
    for points, place in zip((range(36, 42), range(42, 48), [30], [48], [54]), ARCFACE_POINTS, strict=True):
        shape[list(points)] += place - shape[list(points)].mean(axis=0)
    moved = transform_points(similarity(2.5, 0.4, np.zeros(2), np.array([80.0, 30.0])), shape)

    geometry = arcface_geometry(face_of(moved))
    np.testing.assert_allclose(geometry.to_crop(five_points(moved)), ARCFACE_POINTS, atol=1e-9)
    np.testing.assert_allclose(geometry.to_picture(geometry.to_crop(moved)), moved, atol=1e-9)
    assert geometry.crop(np.zeros((200, 300, 3), np.uint8)).shape == (112, 112, 3)
    np.testing.assert_allclose(
        arcface_geometry(face_of(moved), 224).to_crop(five_points(moved)), ARCFACE_POINTS * 2, atol=1e-9
    )


def test_arcface_is_the_least_squares_similarity(face: Shape) -> None:
    """Normal equations of a, b, x, y in (a x - b y + tx, b x + a y + ty), solved in another way than the code's."""
    shape = face * 90 + [120, 100] + np.random.default_rng(0).normal(0, 3, (68, 2))
    five = five_points(shape)
    rows = [[[x, -y, 1, 0], [y, x, 0, 1]] for x, y in five]
    a, b, tx, ty = np.linalg.lstsq(np.concatenate(rows), ARCFACE_POINTS.ravel(), rcond=None)[0]

    np.testing.assert_allclose(arcface_geometry(face_of(shape)).matrix, [[a, -b, tx], [b, a, ty]], atol=1e-9)


@pytest.mark.parametrize("turn", [0.0, 0.5, -2.0])
def test_ffhq_is_the_published_square(face: Shape, turn: float) -> None:
    shape = transform_points(similarity(100, turn, np.zeros(2), np.array([160.0, 140.0])), face)
    geometry, size = ffhq_geometry(face_of(shape), 256), 256
    corners = np.array([[0, 0], [0, size], [size, size], [size, 0]]) - 0.5  # of the outermost pixels

    # The formula's coordinates have pixel centres at whole numbers, as PIL's + 0.5 beside them shows.
    np.testing.assert_allclose(geometry.to_picture(corners), ffhq_quad(shape), atol=1e-6)


def test_ffhq_cuts_what_pil_cuts(face: Shape) -> None:
    """The same crop as by the transform of `download_ffhq.py`, inside the picture."""
    y, x = np.mgrid[:400, :420]
    image = np.stack([x * 0.6, y * 0.6, 120 + 60 * np.sin(x / 17) * np.cos(y / 19)], -1).astype(np.uint8)
    shape = transform_points(similarity(110, 0.3, np.zeros(2), np.array([210.0, 205.0])), face)
    quad = (ffhq_quad(shape) + 0.5).flatten().tolist()

    ours = ffhq_geometry(face_of(shape), 300).crop(image)
    theirs = np.asarray(
        Image.fromarray(image).transform((300, 300), Image.Transform.QUAD, quad, Image.Resampling.BILINEAR)
    )
    inside = (theirs != 0).any(axis=2)
    off = np.abs(ours.astype(int) - theirs)[inside]
    assert inside.mean() > 0.7
    assert np.mean(off) < 0.6
    assert np.quantile(off, 0.999) <= 3


def test_mistakes(face: Shape) -> None:
    with pytest.raises(InputError, match="size: expected a whole number of at least 1, found 0"):
        arcface_geometry(face_of(face), 0)
    with pytest.raises(InputError, match="expected the points of ibug68, found cofw29"):
        ffhq_geometry(Face(np.random.default_rng(0).uniform(0, 9, (29, 2)), None, None, Box(0, 0, 9, 9), 1.0, COFW_29))
    one_place = np.repeat([[5.0, 5.0]], 68, axis=0)
    with pytest.raises(InputError, match="points without extent"):
        ffhq_geometry(Face(one_place, None, None, Box(0, 0, 9, 9), 1.0, IBUG_68))

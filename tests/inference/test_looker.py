"""`Looker`: crops there and back, starts, mirrored views; how views of one face are combined."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face import ellipse
from srn.face.geometry import Box, CropGeometry, CropSpec
from srn.face.localizer import confidence_from_error
from srn.face.scheme import IBUG_68
from srn.inference.looker import Looker, View, combined, strayed

from ..conftest import coordinate_picture

Shape = npt.NDArray[np.float64]

SIZE, FACE_SIZE = 96, 60.0
"""Crop of the fake localizer."""


def view_of(shape: Shape, error: float | None = None, scale: float = FACE_SIZE) -> View:
    """A view of one face, by default with one picture pixel to a face unit."""
    errors = None if error is None else np.full((1, len(shape)), error, np.float32)
    geometry = CropGeometry(np.array([[scale, 0, 0], [0, scale, 0]]), CropSpec(SIZE, FACE_SIZE))
    return View((geometry,), shape[None], None, errors, np.zeros((1, 4), np.float32))


# --- crops


@pytest.mark.parametrize("degrees", [0, 30, -75, 180])
@pytest.mark.parametrize("size", [12.5, 400])
def test_the_crop_of_a_shape_is_upright_and_tight(
    fake_localizer: Any, face: Shape, degrees: float, size: float
) -> None:
    angle = np.deg2rad(degrees)
    turned = face * size @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + [77, -30]
    geometry = Looker(fake_localizer(lambda crop: (face, None, None))).geometry_of_shape(turned)
    # The mean face, wherever and however it lies in the picture, is seen at the mean face's own place.
    np.testing.assert_allclose(geometry.to_crop(turned), face * FACE_SIZE + (SIZE - 1) / 2, atol=1e-4)
    linear = geometry.matrix[:, :2]
    np.testing.assert_allclose(linear @ linear.T, np.eye(2) * (FACE_SIZE / size) ** 2, rtol=1e-4, atol=1e-9)
    assert np.linalg.det(linear) > 0


def test_a_crop_of_another_size(fake_localizer: Any, face: Shape) -> None:
    spec = CropSpec(50, 40.0)
    geometry = Looker(fake_localizer(None)).geometry_of_shape(face * 80 + 100, spec)
    assert geometry.spec == spec
    np.testing.assert_allclose(geometry.to_crop(face * 80 + 100), face * 40 + 24.5, atol=1e-4)


# --- views


def test_every_face_is_viewed_in_its_own_picture(true_localizer: Any, face: Shape) -> None:
    truths = {0: face * 90 + [120, 110], 200: face * 70 + [140, 150]}
    looker = Looker(true_localizer(truths))
    images = [coordinate_picture(blue=blue) for blue in truths]
    view = looker.view(images, [looker.geometry_of_box(Box.around(shape)) for shape in truths.values()])
    np.testing.assert_allclose(view.shapes, np.stack(list(truths.values())), atol=0.15)
    second = view.select([1])
    np.testing.assert_array_equal(second.shapes, view.shapes[1:])
    assert second.geometries == view.geometries[1:]


def test_confidence_comes_from_the_error_in_face_units(fake_localizer: Any, face: Shape) -> None:
    error = np.linspace(0.001, 0.2, 68)
    looker = Looker(fake_localizer(lambda crop: (face * 60 + 47.5, None, error)))
    view = looker.view([coordinate_picture()], [looker.geometry_of_box(Box(68, 68, 188, 188))])
    np.testing.assert_array_equal(view.face_unit, [[120]])
    assert view.confidence is not None
    np.testing.assert_allclose(view.confidence[0], confidence_from_error(error.astype(np.float32)), atol=1e-6)
    assert view_of(face).confidence is None


class Echo:
    """A localizer that answers with its initial shape, after one iteration that is ten pixels off."""

    scheme, crop_spec, name = IBUG_68, CropSpec(SIZE, FACE_SIZE), "echo"

    def __init__(self, mean: Shape) -> None:
        self.mean_shape = mean.astype(np.float32)
        self.calls: list[dict[str, Any]] = []

    def __call__(self, crops: Any, initial_shape: Any = None, hidden: Any = None, initial_weight: Any = None) -> Any:
        from srn.face.localizer import Prediction

        self.calls.append({"crops": crops, "hidden": hidden, "weight": initial_weight, "start": initial_shape})
        shape = np.zeros((len(crops), 68, 2), np.float32) if initial_shape is None else initial_shape
        return Prediction(np.stack([shape + 10, shape], 1), np.ones((len(crops), 4), np.float32), None, None)


@pytest.mark.parametrize("flip_average", [False, True])
def test_views_start_from_the_given_shapes(face: Shape, flip_average: bool) -> None:
    """In picture pixels; the mirrored view starts from the mirrored shape and gives it back."""
    echo = Echo(face)
    looker = Looker(echo, flip_average=flip_average)
    geometries = [looker.geometry_of_box(Box(60, 50, 170, 190)), looker.geometry_of_box(Box(20, 20, 80, 80))]
    state = np.full((2, 4), 7, np.float32)
    images = [coordinate_picture()] * 2
    view = looker.view(images, geometries, starts=[face * 100 + [110, 115], None], hidden=state)
    np.testing.assert_allclose(view.shapes[0], face * 100 + [110, 115], atol=1e-3)
    np.testing.assert_array_equal(view.hidden, np.ones((2, 4)))
    assert [call["weight"].tolist() for call in echo.calls] == [[1, 0]] * (2 if flip_average else 1)
    np.testing.assert_array_equal(echo.calls[0]["hidden"], state)
    first, crops = len(echo.calls), echo.calls[0]["crops"]
    mirrored = looker.view(images, geometries, starts=[face * 100 + [110, 115], None], mirrored=[True, False])
    np.testing.assert_allclose(mirrored.shapes[0], face * 100 + [110, 115], atol=1e-3)
    np.testing.assert_array_equal(echo.calls[first]["crops"], [crops[0][:, ::-1], crops[1]])
    if flip_average:
        np.testing.assert_array_equal(echo.calls[first + 1]["crops"], [crops[0], crops[1][:, ::-1]])
    looker.view(images, geometries, starts=[None, None])
    assert echo.calls[-1]["start"] is None


def test_iterations(face: Shape) -> None:
    looker = Looker(Echo(face))
    geometry = looker.geometry_of_box(Box(60, 60, 120, 120))  # one crop pixel is one picture pixel
    first, last = (
        looker.view([coordinate_picture()], [geometry], starts=[face * 50 + 90], iterations=n) for n in (1, 2)
    )
    np.testing.assert_allclose(first.shapes - last.shapes, np.full((1, 68, 2), 10), atol=1e-4)
    for iterations in (0, 3):
        with pytest.raises(InputError, match=f"iterations: expected at least 1 and at most 2.*found {iterations}"):
            looker.view([coordinate_picture()], [geometry], iterations=iterations)


# --- where errors go


class Directed:
    """A localizer whose points lie where the mean face does, with an error of 0.1 and one direction each."""

    scheme, crop_spec, name = IBUG_68, CropSpec(SIZE, FACE_SIZE), "directed"

    def __init__(self, mean: Shape, direction: Shape) -> None:
        self.mean_shape, self.direction = mean.astype(np.float32), direction.astype(np.float32)

    def __call__(self, crops: Any, initial_shape: Any = None, hidden: Any = None, initial_weight: Any = None) -> Any:
        from srn.face.localizer import Prediction

        shape = (self.mean_shape * FACE_SIZE + (SIZE - 1) / 2)[None]
        error = np.full((68,), 0.1, np.float32)
        answers = (shape, np.zeros(4, np.float32), error, self.direction)
        shapes, state, errors, directions = (np.stack([a] * len(crops)) for a in answers)
        return Prediction(shapes, state, None, errors, directions)


@pytest.mark.parametrize("degrees", [0.0, 35.0, -120.0])
def test_covariances_turn_with_the_crop(face: Shape, rng: np.random.Generator, degrees: float) -> None:
    """Those of the crop, carried to the picture by the crop's own map."""
    direction = rng.uniform(-0.6, 0.6, (68, 2))
    looker = Looker(Directed(face, direction))
    geometry = looker.geometry_of_box(Box(60, 70, 180, 150), np.deg2rad(degrees))
    view = looker.view([coordinate_picture()], [geometry])
    in_crop = ellipse.covariance(np.full(68, 0.1) * FACE_SIZE, direction)
    back = np.linalg.inv(geometry.matrix[:, :2])
    assert view.covariance is not None
    np.testing.assert_allclose(view.covariance[0], back @ in_crop @ back.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(view.select([0]).covariance, view.covariance)


def test_a_mirrored_view_mirrors_directions_and_swaps_partners(face: Shape, rng: np.random.Generator) -> None:
    direction = rng.uniform(-0.6, 0.6, (68, 2))
    geometry = CropGeometry.from_box(Box(60, 60, 120, 120), CropSpec(SIZE, FACE_SIZE))
    plain, mirrored = (
        Looker(Directed(face, direction)).view([coordinate_picture()], [geometry], mirrored=[m]).error_direction
        for m in (False, True)
    )
    assert plain is not None
    assert mirrored is not None
    np.testing.assert_allclose(plain, direction[None], atol=1e-6)
    np.testing.assert_allclose(mirrored, direction[None, IBUG_68.mirror] * [1, -1], atol=1e-6)
    both = Looker(Directed(face, direction), flip_average=True).view([coordinate_picture()], [geometry])
    assert both.error_direction is not None
    np.testing.assert_allclose(both.error_direction, (plain + mirrored) / 2, atol=1e-6)


def test_covariances_of_views_are_averaged_as_their_points_are(face: Shape) -> None:
    """But for the mean of the expected errors, which sets the trace."""
    directions, errors = np.array([[0.8, 0.0], [-0.2, 0.5]], np.float32), (0.1, 0.2)
    views = [
        dataclasses.replace(view_of(face, error), error_direction=np.tile(d, (1, 68, 1)))
        for d, error in zip(directions, errors, strict=True)
    ]
    result = combined(views)
    weights = np.array([0.4 / 0.1**2, 1 / 0.2**2])
    mean = sum(w * ellipse.covariance(np.array(e), d) for w, e, d in zip(weights, errors, directions, strict=True))
    assert result.covariance is not None
    assert result.expected_error is not None
    got = result.covariance[0, 0]
    np.testing.assert_allclose(got / np.trace(got), mean / np.trace(mean), rtol=1e-5)
    assert np.trace(got) == pytest.approx(6 * (float(result.expected_error[0, 0]) / 2) ** 2, rel=1e-5)
    assert combined([view_of(face, 0.1), views[1]]).covariance is None


# --- several views of one face


def test_of_equally_certain_views_each_counts_less_than_the_next() -> None:
    views = [view_of(np.array([[x, 0.0]]), error=7) for x in (1.0, 10.0, 100.0)]
    expected = (0.16 * 1 + 0.4 * 10 + 100) / 1.56
    np.testing.assert_allclose(combined(views).shapes, [[[expected, 0]]], rtol=1e-9)


def test_one_view_is_its_own_combination(face: Shape) -> None:
    view = view_of(face, error=3)
    np.testing.assert_array_equal(combined([view]).shapes, view.shapes)
    np.testing.assert_array_equal(combined([view]).expected_error, view.expected_error)


def test_views_without_expected_errors_are_not_weighed(face: Shape) -> None:
    last = view_of(face + 1)
    assert combined([view_of(face, error=1), last]) is last


def test_a_view_that_expects_a_large_error_changes_nothing() -> None:
    poor, good = view_of(np.full((68, 2), 900.0), error=400), view_of(np.full((68, 2), 50.0), error=1)
    np.testing.assert_allclose(combined([poor, good]).shapes, 50, atol=0.01)


def test_errors_are_compared_in_picture_pixels() -> None:
    """A face unit of the first crop is half as long as one of the second."""
    first, second = (view_of(np.array([[x, 0.0]]), 0.1, scale) for x, scale in ((0, 2 * FACE_SIZE), (0.01, FACE_SIZE)))
    weights = np.array([0.4 / 0.05**2, 1 / 0.1**2])
    result = combined([first, second])
    np.testing.assert_allclose(result.shapes[0, 0, 0], 0.01 * weights[1] / weights.sum(), rtol=1e-6)
    expected = (weights @ [0.05, 0.1]) / weights.sum()  # in face units of the last crop, which are pixels here
    assert result.expected_error is not None
    np.testing.assert_allclose(result.expected_error, [[expected]], rtol=1e-6)


@pytest.mark.parametrize(
    ("apart", "error", "expected"),
    [
        (0.015, 0.05, 0.05),  # within 2 % of the face's size
        (0.05, 0.05, np.hypot(0.05, 0.7 * 0.05)),
        (0.05, 0.01, 0.01),  # a face with a high confidence
    ],
)
def test_where_views_disagree_the_expected_error_of_an_unsure_face_grows(
    apart: float, error: float, expected: float
) -> None:
    first, last = (view_of(np.array([[x, 0.0]]), error, FACE_SIZE) for x in (0.0, apart))  # a face unit is a pixel
    result = combined([first, last])
    assert result.expected_error is not None
    np.testing.assert_allclose(result.expected_error, [[expected]], rtol=1e-5)


@pytest.mark.parametrize(
    ("apart", "before", "after", "expected"),
    [
        (0.03, 0.02, 0.10, False),  # they agree within 4 % of the face's size
        (0.05, 0.02, 0.10, True),
        (0.05, 0.10, 0.02, False),  # the later view is surer
        (0.05, 0.02, 0.02, False),
        (0.05, None, None, False),  # neither says how sure it is
    ],
)
def test_a_view_strays_if_it_contradicts_a_surer_one(
    apart: float, before: float | None, after: float | None, expected: bool
) -> None:
    first, last = (
        view_of(np.array([[x, 0.0]]), error, FACE_SIZE)  # a face unit is a pixel
        for x, error in ((0.0, before), (apart, after))
    )
    assert strayed(first, last).tolist() == [expected]

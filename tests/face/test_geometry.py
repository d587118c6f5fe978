"""Boxes, similarities and the canonical crop, against hand calculations, plain loops and pictures known as formulas."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import (
    Box,
    CropGeometry,
    CropSpec,
    fit_similarity,
    flip_points,
    invert_affine,
    similarity,
    transform_points,
)
from srn.face.scheme import SCHEMES, LandmarkScheme

SPEC = CropSpec(size=96, face_size=60)
FloatArray = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]


def smooth_picture(height: int, width: int) -> Picture:
    """Soft colours without any sharp edge: what interpolation must reproduce almost exactly."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = [np.sin(x / 9) + np.cos(y / 11), np.sin((x + y) / 13), np.cos((x - 2 * y) / 17)]
    return np.stack([127 + 60 * wave for wave in waves], axis=-1).round().clip(0, 255).astype(np.uint8)


def naive_crop(image: Picture, matrix: FloatArray, size: int) -> FloatArray:
    """Bilinear by the book, one pixel at a time; positions outside the picture are moved to its edge."""
    height, width = image.shape[:2]
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    crop = np.empty((size, size, image.shape[2]))
    for row in range(size):
        for column in range(size):
            x, y, _ = inverse @ [column, row, 1]
            x, y = min(max(x, 0.0), width - 1.0), min(max(y, 0.0), height - 1.0)
            x0, y0 = min(int(x), width - 2), min(int(y), height - 2)
            a, b = x - x0, y - y0
            p = image[y0 : y0 + 2, x0 : x0 + 2].astype(np.float64)
            crop[row, column] = (1 - b) * ((1 - a) * p[0, 0] + a * p[0, 1]) + b * ((1 - a) * p[1, 0] + a * p[1, 1])
    return crop


# --- boxes


def test_box_around_points_touches_the_outermost() -> None:
    box = Box.around(np.array([[3.0, 10.0], [7.5, 4.0], [5.0, 6.0]]))

    assert box == Box(3.0, 4.0, 7.5, 10.0)
    assert (box.width, box.height) == (4.5, 6.0)
    np.testing.assert_array_equal(box.center, [5.25, 7.0])
    np.testing.assert_array_equal(box.as_array(), [3.0, 4.0, 7.5, 10.0])


@pytest.mark.parametrize(
    ("box", "side"),
    [(Box(10, 20, 50, 60), 40), (Box(0, 0, 3, 4), 5 / math.sqrt(2)), (Box(0, 0, 7, 1), 5)],
    ids=["square", "3 by 4", "7 by 1"],
)
def test_box_side_is_that_of_the_square_with_the_same_diagonal(box: Box, side: float) -> None:
    assert box.size == pytest.approx(side)


def test_an_adjusted_box_keeps_its_centre_when_scaled() -> None:
    assert Box(0, 0, 4, 2).adjusted(np.array([10.0, -1.0])) == Box(10, -1, 14, 1)
    assert Box(0, 0, 4, 2).adjusted(np.zeros(2), scale=(2, 0.5)) == Box(-2, 0.5, 6, 1.5)
    assert Box(0, 0, 4, 2).adjusted(np.array([1.0, 1.0]), scale=(0.5, 1)) == Box(2, 1, 4, 3)


@pytest.mark.parametrize(
    ("other", "iou"),
    [
        (Box(0, 0, 4, 2), 1.0),
        (Box(2, 1, 6, 3), 2 / 14),
        (Box(1, 0.5, 2, 1.5), 1 / 8),
        (Box(4, 0, 5, 2), 0.0),
        (Box(10, 10, 12, 12), 0.0),
        (Box(1, 5, 3, 6), 0.0),
    ],
    ids=["itself", "overlap", "inside", "touching", "away", "below"],
)
def test_iou_by_hand(other: Box, iou: float) -> None:
    box = Box(0, 0, 4, 2)

    assert box.iou(other) == pytest.approx(iou)
    assert other.iou(box) == pytest.approx(iou)


@pytest.mark.parametrize(
    "corners",
    [(0, 0, 0, 1), (0, 0, 1, 0), (2, 0, 1, 1), (0, 2, 1, 1), (0, 0, math.inf, 1), (math.nan, 0, 1, 1)],
    ids=str,
)
def test_boxes_without_an_area_are_refused(corners: tuple[float, float, float, float]) -> None:
    with pytest.raises(InputError, match="face box: expected finite x0 < x1 and y0 < y1"):
        Box(*corners)


# --- similarities


def test_similarity_by_hand() -> None:
    # A quarter turn takes x to y; lengths double; (1, 1) goes to (10, 20).
    matrix = similarity(2, math.pi / 2, np.array([1.0, 1.0]), np.array([10.0, 20.0]))

    moved = transform_points(matrix, np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]]))
    np.testing.assert_allclose(moved, [[10, 20], [10, 22], [8, 20]], atol=1e-12)


def test_inverse_of_an_affine_map(rng: np.random.Generator) -> None:
    matrix, points = rng.normal(size=(2, 3)), rng.normal(size=(4, 5, 2))

    np.testing.assert_allclose(transform_points(invert_affine(matrix), transform_points(matrix, points)), points)
    expected = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))[:2]
    np.testing.assert_allclose(invert_affine(matrix), expected)


@pytest.mark.parametrize("angle", [-3.0, -0.4, 0.0, 0.7, 2.5])
@pytest.mark.parametrize("scale", [0.1, 1.0, 13.0])
def test_fit_similarity_finds_a_known_map(scale: float, angle: float, rng: np.random.Generator) -> None:
    points = rng.normal(size=(68, 2)) * 50 + [300, 200]
    matrix = similarity(scale, angle, np.array([5.0, -7.0]), np.array([100.0, 40.0]))

    np.testing.assert_allclose(fit_similarity(points, transform_points(matrix, points)), matrix, rtol=1e-9, atol=1e-9)


def test_fit_similarity_is_the_least_squares_solution(rng: np.random.Generator) -> None:
    source, target = rng.normal(size=(20, 2)), rng.normal(size=(20, 2)) + [3, 1]
    # x' = a x - b y + t, y' = b x + a y + u is linear in (a, b, t, u).
    x, y, one, zero = source[:, 0], source[:, 1], np.ones(20), np.zeros(20)
    system = np.vstack([np.stack([x, -y, one, zero], axis=1), np.stack([y, x, zero, one], axis=1)])
    a, b, t, u = np.linalg.lstsq(system, target.T.ravel(), rcond=None)[0]

    np.testing.assert_allclose(fit_similarity(source, target), [[a, -b, t], [b, a, u]], atol=1e-12)


def test_fit_similarity_never_reflects(rng: np.random.Generator) -> None:
    points = rng.normal(size=(30, 2)) * [3, 1]

    matrix = fit_similarity(points, points * [-1, 1])

    assert np.linalg.det(matrix[:, :2]) > 0


def test_fit_similarity_of_a_single_place_is_refused() -> None:
    with pytest.raises(InputError, match="two distinct points"):
        fit_similarity(np.ones((5, 2)), np.zeros((5, 2)))


# --- flips


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.name)
def test_flipped_twice_is_the_original(scheme: LandmarkScheme, rng: np.random.Generator) -> None:
    points = rng.uniform(0, 640, size=(scheme.n_points, 2))

    twice = flip_points(flip_points(points, 640, scheme.mirror), 640, scheme.mirror)

    np.testing.assert_allclose(twice, points, rtol=0, atol=1e-9)


@pytest.mark.parametrize("width", [7, 8])
def test_points_stay_on_their_pixels_when_the_picture_is_flipped(width: int) -> None:
    picture = np.arange(5 * width).reshape(5, width)
    points = np.array([[0.0, 0.0], [2.0, 3.0], [width - 1.0, 4.0]])
    keep = np.arange(3)

    x, y = flip_points(points, width, keep).astype(int).T

    np.testing.assert_array_equal(picture[:, ::-1][y, x], picture[points[:, 1].astype(int), points[:, 0].astype(int)])


def test_flip_renumbers_and_leaves_its_input_alone() -> None:
    points = np.array([[1.0, 5.0], [8.0, 6.0]])

    flipped = flip_points(points, 10, np.array([1, 0]))

    np.testing.assert_array_equal(flipped, [[1, 6], [8, 5]])
    np.testing.assert_array_equal(points, [[1, 5], [8, 6]])


# --- the canonical frame


def test_frame_places_the_box_in_the_middle() -> None:
    frame = CropGeometry.from_box(Box(100, 50, 220, 170), SPEC)

    corners = frame.to_crop(np.array([[100.0, 50.0], [220.0, 170.0]]))
    np.testing.assert_allclose(corners, [[47.5 - 30] * 2, [47.5 + 30] * 2])
    assert frame.scale == pytest.approx(0.5)


def test_a_mean_shape_in_face_units_lands_where_the_box_does() -> None:
    box = Box(100, 50, 220, 170)
    in_face_units = np.array([[-0.5, -0.5], [0.0, 0.0], [0.5, 0.25]])

    placed = SPEC.place(in_face_units)

    expected = CropGeometry.from_box(box, SPEC).to_crop(box.center + in_face_units * box.size)
    np.testing.assert_allclose(placed, expected)


@pytest.mark.parametrize("angle", [-0.5, 0.0, 1.2])
def test_there_and_back(angle: float, rng: np.random.Generator) -> None:
    frame = CropGeometry.from_box(Box(30, 40, 95, 130), SPEC, angle)
    points = rng.uniform(-50, 300, size=(68, 2))

    np.testing.assert_allclose(frame.to_picture(frame.to_crop(points)), points, atol=1e-9)
    assert frame.scale == pytest.approx(SPEC.face_size / Box(30, 40, 95, 130).size)
    # The angle is the one by which a horizontal line of the picture is turned in the crop.
    (x0, y0), (x1, y1) = frame.to_crop(np.array([[0.0, 0.0], [1.0, 0.0]]))
    assert math.atan2(y1 - y0, x1 - x0) == pytest.approx(angle)


def test_a_shifted_crop_shows_the_same_further_on() -> None:
    frame = CropGeometry.from_box(Box(20, 30, 60, 80), CropSpec(32, 24.0), 0.3)
    offset = np.array([5.0, -3.0])
    points = np.array([[20.0, 30.0], [55.0, 41.0], [-4.0, 9.0]])
    np.testing.assert_allclose(frame.shifted(offset).to_crop(points + offset), frame.to_crop(points), atol=1e-9)
    np.testing.assert_allclose(frame.shifted(offset).scale, frame.scale)


@pytest.mark.parametrize("degrees", [-50.0, 0.0, 8.0])
def test_the_frame_of_a_shape_shows_it_upright_and_tight(degrees: float) -> None:
    upright = np.array([[-2.0, -2.0], [2.0, -2.0], [0.0, 0.0], [-1.0, 3.0], [1.0, 3.0]])
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    shape = 7.0 * upright @ np.array([[c, s], [-s, c]]) + [31.0, -5.0]

    seen = CropGeometry.from_shape(shape, SPEC, upright).to_crop(shape)

    # A box of 4 x 5 units: its side is sqrt(4 * 4 + 5 * 5) / sqrt 2 units, which `face_size` pixels show.
    unit = SPEC.face_size / math.sqrt((4**2 + 5**2) / 2)
    np.testing.assert_allclose(seen, (upright - [0.0, 0.5]) * unit + SPEC.center, atol=1e-9)


def test_the_crop_of_any_shape_is_turned_by_the_least_squares_similarity(rng: np.random.Generator) -> None:
    shape, upright = rng.normal(size=(68, 2)) * 90 + [700, 400], rng.normal(size=(68, 2)) + [0.2, -0.1]
    turn, crop = fit_similarity(shape, upright), CropGeometry.from_shape(shape, SPEC, upright).matrix
    np.testing.assert_allclose(crop[:, 0] / np.hypot(*crop[:, 0]), turn[:, 0] / np.hypot(*turn[:, 0]), atol=1e-12)


def test_displacement_of_a_crop_by_hand() -> None:
    right = CropGeometry.from_box(Box(100, 100, 200, 200), SPEC)
    assert right.displacement(right) == pytest.approx(0, abs=1e-12)
    # Moved by 3 and 4 of 100 pixels; a tenth larger: each corner 5 pixels further out on both axes.
    assert right.displacement(CropGeometry.from_box(Box(103, 104, 203, 204), SPEC)) == pytest.approx(0.05)
    assert right.displacement(CropGeometry.from_box(Box(95, 95, 205, 205), SPEC)) == pytest.approx(0.05 * np.sqrt(2))
    # Turned about the centre: corners at 50 * sqrt 2 pixels of it go 2 sin(angle / 2) times as far.
    turned = CropGeometry.from_box(Box(100, 100, 200, 200), SPEC, 0.2)
    assert right.displacement(turned) == pytest.approx(np.sqrt(2) * np.sin(0.1))


@pytest.mark.parametrize("scale", [0.5, 0.8, 1.0, 2.3])
@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_crop_equals_a_naive_loop(scale: float, angle: float) -> None:
    image = smooth_picture(150, 170)
    matrix = similarity(scale, angle, np.array([80.3, 74.6]), np.full(2, SPEC.center))
    frame = CropGeometry(matrix, SPEC)

    crop = frame.crop(image)

    assert crop.shape == (96, 96, 3)
    assert crop.dtype == np.uint8
    difference = crop - naive_crop(image, matrix, SPEC.size)
    assert np.abs(difference).max() < 1.5  # rounding, and OpenCV's weights of 1/32 pixel
    assert abs(difference.mean()) < 0.1


def test_crop_of_whole_pixels_copies_them(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, size=(120, 130, 3), dtype=np.uint8)
    frame = CropGeometry(np.array([[1.0, 0.0, -11.0], [0.0, 1.0, -7.0]]), SPEC)

    np.testing.assert_array_equal(frame.crop(image), image[7 : 7 + 96, 11 : 11 + 96])


def test_crop_repeats_the_edge_outside_the_picture(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, size=(40, 50, 3), dtype=np.uint8)
    frame = CropGeometry(np.array([[1.0, 0.0, 20.0], [0.0, 1.0, 30.0]]), SPEC)

    expected = np.pad(image, ((30, 96 - 30 - 40), (20, 96 - 20 - 50), (0, 0)), mode="edge")
    np.testing.assert_array_equal(frame.crop(image), expected)


SHRINKING = [0.49, 0.31, 0.2, 0.097]


@pytest.mark.parametrize("scale", SHRINKING)
@pytest.mark.parametrize("angle", [0.0, 0.6])
def test_a_shrunken_gradient_keeps_its_place(scale: float, angle: float, rng: np.random.Generator) -> None:
    """A plane is its own average: each pixel of the crop must show the plane at that pixel's own position."""
    height, width, slope = 1403, 1501, 0.1371  # no simple fraction, or rounding to grey levels would not average out

    def planes(x: FloatArray, y: FloatArray) -> FloatArray:
        return np.stack([10 + slope * x, 10 + slope * y, 120 + slope * (x - y) / 2], axis=-1)

    y, x = np.mgrid[:height, :width].astype(np.float64)
    picture = planes(x, y).round().astype(np.uint8)
    rows, columns = np.mgrid[: SPEC.size, : SPEC.size].astype(np.float64)

    mean_differences = []
    for centre in rng.uniform([740, 695], [760, 715], size=(48, 2)):  # an upright crop has one sub-pixel phase only
        frame = CropGeometry(similarity(scale, angle, centre, np.full(2, SPEC.center)), SPEC)
        seen = frame.to_picture(np.stack([columns, rows], axis=-1))
        inside = ((seen > 2 / scale) & (seen < np.array([width, height]) - 1 - 2 / scale)).all(axis=-1)
        assert inside.mean() > 0.9
        difference = (frame.crop(picture) - planes(seen[..., 0], seen[..., 1]))[inside]
        assert np.abs(difference).max() < 1.6
        mean_differences.append(difference.mean(axis=0))

    # Shifted by one crop pixel, the first two planes would differ by slope / scale everywhere. Not even 4 % of that.
    assert np.abs(np.mean(mean_differences, axis=0)).max() < 0.04 * slope / scale


@pytest.mark.parametrize("scale", SHRINKING)
def test_a_shrunken_crop_is_right_up_to_its_edge(scale: float) -> None:
    """Nothing is missing at the rim of the part of the picture that is reduced."""
    spec = CropSpec(size=10, face_size=6)
    slope = 20 * scale  # 20 grey levels a crop pixel
    x = np.arange(600)
    ramp = np.clip(127 + slope * (x - 300), 0, 255).round().astype(np.uint8)
    frame = CropGeometry(similarity(scale, 0.0, np.array([300.0, 200.0]), np.full(2, spec.center)), spec)

    crop = frame.crop(np.broadcast_to(ramp[:, None], (400, 600, 3)).copy())

    expected = 127 + 20 * (np.arange(10) - spec.center)
    np.testing.assert_allclose(crop.mean(axis=(0, 2)), expected, atol=2)


@pytest.mark.parametrize("scale", SHRINKING)
@pytest.mark.parametrize("angle", [0.0, -0.8])
@pytest.mark.parametrize("spot", [(412.0, 397.0), (400.37, 405.81), (371.5, 426.25)], ids=str)
def test_a_shrunken_spot_keeps_its_place_and_its_light(scale: float, angle: float, spot: tuple[float, float]) -> None:
    sigma = 2.5 / scale  # 2.5 pixels in the crop
    y, x = np.mgrid[:811, :797]
    light = 250 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * sigma**2))
    image = np.repeat(light.round().astype(np.uint8)[..., None], 3, axis=-1)
    frame = CropGeometry(similarity(scale, angle, np.array([400.0, 405.0]), np.full(2, SPEC.center)), SPEC)

    crop = frame.crop(image)[..., 0].astype(np.float64)

    rows, columns = np.mgrid[: SPEC.size, : SPEC.size]
    centroid = [(crop * columns).sum() / crop.sum(), (crop * rows).sum() / crop.sum()]
    np.testing.assert_allclose(centroid, frame.to_crop(np.array(spot)), atol=0.05)
    assert crop.sum() == pytest.approx(light.sum() * scale**2, rel=0.02)


@pytest.mark.parametrize("scale", SHRINKING)
def test_a_face_at_the_corner_of_a_large_picture_keeps_its_place(scale: float) -> None:
    """The part that is reduced is then cut off by the picture's border, and does not start where the crop does."""
    sigma = 2.5 / scale
    spot = np.array([9.3 / scale, 11.7 / scale])
    y, x = np.mgrid[:1203, :1101]
    light = 250 * np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * sigma**2))
    frame = CropGeometry(similarity(scale, 0.2, spot, np.full(2, SPEC.center)), SPEC)

    crop = frame.crop(np.repeat(light.round().astype(np.uint8)[..., None], 3, axis=-1))[..., 0].astype(np.float64)

    rows, columns = np.mgrid[: SPEC.size, : SPEC.size]
    near = np.hypot(columns - SPEC.center, rows - SPEC.center) < 9
    weight = crop * near
    centroid = [(weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()]
    np.testing.assert_allclose(centroid, [SPEC.center] * 2, atol=0.06)


def test_shrinking_averages_what_it_leaves_out() -> None:
    # A fine chequered pattern is grey from afar; picking single pixels would show stripes.
    image = np.repeat((np.indices((800, 800)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None], 3, axis=-1)
    frame = CropGeometry(similarity(0.125, 0.3, np.array([400.0, 400.0]), np.full(2, SPEC.center)), SPEC)

    crop = frame.crop(image).astype(np.float64)

    assert np.abs(crop - 127.5).max() < 8


@pytest.mark.parametrize("centre", [(-700.0, 300.0), (5000.0, -900.0)], ids=str)
@pytest.mark.parametrize("scale", [0.2, 1.0])
def test_a_crop_far_outside_shows_the_nearest_edge(centre: tuple[float, float], scale: float) -> None:
    image = np.zeros((600, 640, 3), np.uint8)
    image[:, 0] = (10, 20, 30)
    image[0, -1] = (40, 50, 60)
    frame = CropGeometry(similarity(scale, 0.0, np.array(centre), np.full(2, SPEC.center)), SPEC)

    crop = frame.crop(image)

    nearest = (10, 20, 30) if centre[0] < 0 else (40, 50, 60)
    np.testing.assert_array_equal(crop[48, 48], nearest)


def test_a_shrunken_crop_does_not_depend_on_the_rest_of_the_picture(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, size=(700, 700, 3), dtype=np.uint8)
    frame = CropGeometry(similarity(0.4, 0.3, np.array([350.0, 350.0]), np.full(2, SPEC.center)), SPEC)
    other = image.copy()
    y, x = np.mgrid[:700, :700]
    in_crop = frame.to_crop(np.stack([x, y], axis=-1).astype(np.float64))
    other[(np.abs(in_crop - SPEC.center) > SPEC.center + 4).any(axis=-1)] = 0

    np.testing.assert_array_equal(frame.crop(image), frame.crop(other))


@pytest.mark.parametrize("channels", [(), (3,)], ids=["grey", "colours"])
@pytest.mark.parametrize("scale", [0.3, 0.6, 1.7])
@pytest.mark.parametrize("centre", [(60.0, 70.0), (2.0, 118.0), (-90.0, 300.0)], ids=["inside", "edge", "outside"])
def test_a_crop_comes_from_a_part_of_the_picture(
    rng: np.random.Generator, centre: tuple[float, float], scale: float, channels: tuple[int, ...]
) -> None:
    image = rng.integers(0, 256, size=(120, 140, *channels), dtype=np.uint8)
    frame = CropGeometry(similarity(scale, 0.3, np.array(centre), np.full(2, 7.5)), CropSpec(16, 12.0))

    part, within = frame.cut(image)

    assert part.size <= image.size
    assert np.shares_memory(part, image)
    np.testing.assert_array_equal(within.crop(part), frame.crop(image))

"""Shape-indexed patches against plain loops."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest

from srn.face.patches import extract_patches, patch_offsets, sample_bilinear

FloatArray = npt.NDArray[np.float64]


def naive_sample(image: npt.NDArray[np.generic], x: float, y: float) -> FloatArray:
    """One bilinear sample by the book; a position outside the picture is first moved to its edge."""
    height, width, channels = image.shape
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    total = np.zeros(channels)
    for row in range(height):
        for column in range(width):
            weight = max(0.0, 1 - abs(x - column)) * max(0.0, 1 - abs(y - row))
            if weight > 0:
                total += weight * image[row, column]
    return total


def naive_patches(image: npt.NDArray[np.generic], shape: FloatArray, size: int, spacing: float = 1.0) -> FloatArray:
    patches = np.empty((len(shape), size, size, image.shape[2]))
    for n, (x, y) in enumerate(shape):
        for row in range(size):
            for column in range(size):
                right, down = (column - (size - 1) / 2) * spacing, (row - (size - 1) / 2) * spacing
                patches[n, row, column] = naive_sample(image, x + right, y + down)
    return patches


def test_offsets_by_hand() -> None:
    np.testing.assert_array_equal(patch_offsets(3)[..., 0], [[-1, 0, 1]] * 3)
    np.testing.assert_array_equal(patch_offsets(3)[..., 1], [[-1] * 3, [0] * 3, [1] * 3])
    np.testing.assert_array_equal(patch_offsets(2)[0, :, 0], [-0.5, 0.5])
    np.testing.assert_array_equal(patch_offsets(4, 2.0)[:, 0, 1], [-3, -1, 1, 3])


@pytest.mark.parametrize("size", [1, 2, 5, 36])
def test_offsets_are_symmetric_about_the_landmark(size: int) -> None:
    offsets = patch_offsets(size, 1.5)

    assert offsets.shape == (size, size, 2)
    np.testing.assert_array_equal(offsets[::-1, ::-1], -offsets)
    np.testing.assert_array_equal(offsets.transpose(1, 0, 2), offsets[..., ::-1])


def test_odd_patches_at_whole_positions_are_slices(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, size=(60, 70, 3), dtype=np.uint8)
    shape = rng.integers(7, 50, size=(68, 2)).astype(np.float64)

    patches = extract_patches(image, shape, 15)

    assert patches.dtype == np.float32
    for patch, (x, y) in zip(patches, shape.astype(int), strict=True):
        np.testing.assert_array_equal(patch, image[y - 7 : y + 8, x - 7 : x + 8])


def test_even_patches_between_pixels_are_slices(rng: np.random.Generator) -> None:
    """The paper's patch has 36 pixels a side: its centre lies between two pixels."""
    image = rng.integers(0, 256, size=(80, 90, 3), dtype=np.uint8)
    corners = rng.integers(0, 80 - 36, size=(29, 2))

    patches = extract_patches(image, corners + 17.5, 36)

    for patch, (x, y) in zip(patches, corners, strict=True):
        np.testing.assert_array_equal(patch, image[y : y + 36, x : x + 36])


def test_even_patches_at_whole_positions_average_four_pixels(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, size=(20, 20, 1), dtype=np.uint8)

    patch = extract_patches(image, np.array([[10.0, 9.0]]), 4)[0, ..., 0]

    p = image[..., 0].astype(np.float64)
    means = (p[:-1, :-1] + p[:-1, 1:] + p[1:, :-1] + p[1:, 1:]) / 4
    np.testing.assert_allclose(patch, means[7:11, 8:12], rtol=1e-6)


@pytest.mark.parametrize(("size", "spacing"), [(3, 1.0), (4, 1.0), (4, 2.5), (5, 0.5)])
def test_patches_equal_a_naive_loop_inside_and_outside(size: int, spacing: float, rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, size=(14, 19, 2), dtype=np.uint8)
    shape = np.concatenate(
        [
            rng.uniform([-6, -6], [25, 20], size=(12, 2)),  # sub-pixel, some of them outside
            [[0.0, 0.0], [18.0, 13.0], [18.0, 0.0], [-40.0, 90.0]],
        ]
    )

    patches = extract_patches(image, shape, size, spacing)

    assert patches.shape == (16, size, size, 2)
    np.testing.assert_allclose(patches, naive_patches(image, shape, size, spacing), rtol=1e-5, atol=1e-3)


def test_outside_the_picture_its_edge_is_repeated(rng: np.random.Generator) -> None:
    image = rng.integers(0, 256, size=(10, 12, 3), dtype=np.uint8)
    padded = np.pad(image, ((20, 20), (20, 20), (0, 0)), mode="edge")
    shape = np.array([[0.0, 0.0], [11.0, 9.0], [-5.0, 4.0], [6.0, 15.0], [14.0, -8.0]])

    patches = extract_patches(image, shape, 11)

    for patch, (x, y) in zip(patches, shape.astype(int) + 20, strict=True):
        np.testing.assert_array_equal(patch, padded[y - 5 : y + 6, x - 5 : x + 6])


def test_a_plane_is_sampled_exactly(rng: np.random.Generator) -> None:
    y, x = np.mgrid[:40, :50].astype(np.float64)
    image = np.stack([x, y, 2 * x - 3 * y], axis=-1)
    points = rng.uniform([0, 0], [49, 39], size=(6, 7, 2))

    samples = sample_bilinear(image, points)

    assert samples.shape == (6, 7, 3)
    expected = np.stack([points[..., 0], points[..., 1], 2 * points[..., 0] - 3 * points[..., 1]], axis=-1)
    np.testing.assert_allclose(samples, expected, atol=1e-4)


def test_a_moved_picture_with_moved_landmarks_gives_the_same_patches(rng: np.random.Generator) -> None:
    image = rng.random((40, 40, 3))
    shape = rng.uniform(10, 22, size=(10, 2))

    moved = extract_patches(np.roll(image, (5, 7), axis=(0, 1)), shape + [7, 5], 9)

    np.testing.assert_allclose(moved, extract_patches(image, shape, 9), atol=1e-6)


def test_patches_have_the_landmark_in_the_middle() -> None:
    # The light of a small round spot lies, on average, where the landmark is: at the patch's centre.
    spot = np.array([30.37, 27.81])
    y, x = np.mgrid[:60, :60]
    image = np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * 2.0**2))[..., None]

    patch = extract_patches(image, spot[None], 36)[0, ..., 0].astype(np.float64)

    steps = np.arange(36)
    assert (patch.sum(axis=0) * steps).sum() / patch.sum() == pytest.approx(17.5, abs=1e-3)
    assert (patch.sum(axis=1) * steps).sum() / patch.sum() == pytest.approx(17.5, abs=1e-3)
    assert patch.sum() == pytest.approx(2 * math.pi * 2.0**2, rel=1e-3)

"""Sampling in PyTorch against the NumPy reference and a plain loop."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch

from srn.face.patches import extract_patches
from srn.model.sampling import offsets_tensor, sample_patches


def as_map(image: npt.NDArray[np.float32]) -> torch.Tensor:
    """(H, W, C) -> (1, C, H, W)."""
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def sampled(image: npt.NDArray[np.float32], shape: npt.NDArray[np.float64], size: int, spacing: float) -> np.ndarray:
    """(N, size, size, C), as `extract_patches` orders it."""
    points = torch.from_numpy(shape).float()[None]
    values = sample_patches(as_map(image), points, offsets_tensor(size, spacing))[0]  # (C, N, K)
    return values.permute(1, 2, 0).reshape(len(shape), size, size, -1).numpy()


def naive_cell(feature_map: npt.NDArray[np.float32], x: float, y: float, stride: int) -> npt.NDArray[np.float64]:
    """One sample at a crop pixel: the four cells around it, weighted by their distance to the cells' centres.

    Cell k covers the pixels k * stride .. k * stride + stride - 1; its centre is the mean of these.
    """
    height, width, channels = feature_map.shape
    centers_x = [float(np.mean([k * stride + i for i in range(stride)])) for k in range(width)]
    centers_y = [float(np.mean([k * stride + i for i in range(stride)])) for k in range(height)]
    x, y = min(max(x, centers_x[0]), centers_x[-1]), min(max(y, centers_y[0]), centers_y[-1])
    total = np.zeros(channels)
    for row in range(height):
        for column in range(width):
            weight = max(0.0, 1 - abs(x - centers_x[column]) / stride) * max(0.0, 1 - abs(y - centers_y[row]) / stride)
            total += weight * feature_map[row, column]
    return total


@pytest.mark.parametrize(("size", "spacing"), [(36, 1.0), (4, 4.0), (3, 10.0), (5, 0.5)])
def test_equal_to_the_numpy_reference_between_pixels_and_at_the_border(
    size: int, spacing: float, rng: np.random.Generator
) -> None:
    image = rng.random((50, 61, 3), dtype=np.float32)
    shape = np.concatenate(
        [
            rng.uniform([-20, -20], [80, 70], size=(20, 2)),
            rng.integers(0, 50, size=(5, 2)).astype(float),
            [[0.0, 0.0], [60.0, 49.0], [60.0, 0.0], [-300.0, 25.0], [30.5, 900.0]],
        ]
    )

    ours = sampled(image, shape, size, spacing)

    assert ours.shape == (30, size, size, 3)
    np.testing.assert_allclose(ours, extract_patches(image, shape, size, spacing), atol=2e-5)


@pytest.mark.parametrize("stride", [1, 2, 4, 8])
def test_strided_maps_equal_a_naive_loop(stride: int, rng: np.random.Generator) -> None:
    feature_map = rng.random((6, 7, 2), dtype=np.float32)
    shape = rng.uniform(-stride, 7.5 * stride, size=(9, 2))
    offsets = offsets_tensor(3, 1.7 * stride)

    ours = sample_patches(as_map(feature_map), torch.from_numpy(shape).float()[None], offsets, stride)

    assert ours.shape == (1, 2, 9, 9)
    for n, (x, y) in enumerate(shape):
        for k, (right, down) in enumerate(offsets.tolist()):
            expected = naive_cell(feature_map, x + right, y + down, stride)
            np.testing.assert_allclose(ours[0, :, n, k], expected, atol=2e-5)


@pytest.mark.parametrize("stride", [4, 8])
def test_a_strided_map_knows_where_its_pixels_were(stride: int) -> None:
    """A picture of its own coordinates, averaged over cells, still says at every pixel where it is."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    cells = torch.nn.functional.avg_pool2d(torch.stack([x, y])[None], stride)
    points = torch.tensor([[[20.0, 31.0], [10.25, 40.5], [33.0, 8.0]]])

    values = sample_patches(cells, points, torch.zeros(1, 2), stride)

    torch.testing.assert_close(values[0, :, :, 0].T, points[0], atol=1e-4, rtol=0)


def test_offsets_are_x_before_y_row_by_row() -> None:
    assert offsets_tensor(2, 3.0).tolist() == [[-1.5, -1.5], [1.5, -1.5], [-1.5, 1.5], [1.5, 1.5]]


def test_faces_of_a_batch_do_not_mix(rng: np.random.Generator) -> None:
    maps = torch.from_numpy(rng.random((3, 2, 20, 20), dtype=np.float32))
    shape = torch.from_numpy(rng.uniform(0, 20, (3, 5, 2))).float()
    offsets = offsets_tensor(4, 1.0)

    together = sample_patches(maps, shape, offsets)

    for i in range(3):
        torch.testing.assert_close(together[i], sample_patches(maps[i : i + 1], shape[i : i + 1], offsets)[0])


def test_gradient_reaches_the_map_and_not_the_coordinates(rng: np.random.Generator) -> None:
    feature_map = torch.from_numpy(rng.random((1, 2, 12, 12), dtype=np.float32)).requires_grad_()
    shape = torch.tensor([[[4.3, 5.6], [7.1, 3.2]]]).requires_grad_()

    samples = sample_patches(feature_map, shape, offsets_tensor(3, 1.0))
    (samples.sum() + 2 * shape.sum()).backward()

    assert feature_map.grad is not None
    assert shape.grad is not None
    # Every sample hands its weight of one on to the map: 2 channels x 2 landmarks x 9 points, all inside.
    assert float(feature_map.grad.sum()) == pytest.approx(36, abs=1e-4)
    # What arrives at the coordinates is the other term's 2 and nothing of the samples.
    assert shape.grad.tolist() == [[[2, 2], [2, 2]]]


def test_a_float_map_is_sampled_to_a_hundredth_of_a_grey_level_at_the_far_corner() -> None:
    """Coordinates are normalized to -1 .. 1 and back: at 224 pixels that must not cost precision."""
    y, x = np.mgrid[:224, :224].astype(np.float32)
    shape = np.array([[200.3, 204.9], [205.125, 17.5]])

    values = sampled(np.stack([x, y], axis=-1), shape, 36, 1.0)

    for patch, (px, py) in zip(values, shape, strict=True):
        assert patch[..., 0].mean() == pytest.approx(px, abs=1e-3)
        assert patch[..., 1].mean() == pytest.approx(py, abs=1e-3)
        assert math.isclose(patch[0, 0, 0], px - 17.5, abs_tol=1e-3)


def test_places_stay_exact_under_autocast(rng: np.random.Generator) -> None:
    """A ramp sampled in a bf16 forward pass: the places are not rounded to bf16's steps of a third of a pixel."""
    ramp = torch.arange(40.0).expand(1, 1, 40, 40)  # the value of a cell is its column; whole numbers are exact in bf16
    shape = torch.from_numpy(rng.uniform(110, 150, (1, 68, 2))).float()
    with torch.autocast("cpu", torch.bfloat16):
        sampled = sample_patches(ramp.bfloat16(), shape, torch.zeros(1, 2), stride=4)
    expected = (shape[0, :, 0] + 0.5) / 4 - 0.5
    torch.testing.assert_close(sampled[0, 0, :, 0].float(), expected, atol=1e-3, rtol=0)

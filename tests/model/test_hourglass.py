"""The hourglass initializer (SRN+HG)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from srn.errors import InputError
from srn.model.config import preset
from srn.model.hourglass import HourglassInitializer, heatmap_loss, soft_argmax
from srn.model.network import StructuralRelationNetwork


def test_soft_argmax_of_a_sharp_peak_is_the_middle_of_its_cell() -> None:
    heat = torch.full((1, 2, 10, 12), -50.0)
    heat[0, 0, 3, 7] = heat[0, 1, 9, 0] = 50.0
    # Cell k of a map of stride 4 covers the pixels 4 k .. 4 k + 3, whose middle is 4 k + 1.5.
    expected = [[[7 * 4 + 1.5, 3 * 4 + 1.5], [1.5, 9 * 4 + 1.5]]]
    torch.testing.assert_close(soft_argmax(heat, 4), torch.tensor(expected), atol=1e-4, rtol=0)


def test_soft_argmax_is_the_mean_over_the_softmax() -> None:
    heat = torch.randn(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    weights = np.exp(heat.numpy().astype(np.float64))
    for b in range(2):
        for n in range(3):
            x = y = 0.0
            for i in range(5):
                for j in range(6):
                    share = weights[b, n, i, j] / weights[b, n].sum()
                    x, y = x + share * (2 * j + 0.5), y + share * (2 * i + 0.5)
            np.testing.assert_allclose(soft_argmax(heat, 2)[b, n].numpy(), [x, y], rtol=1e-5)


def test_the_heat_map_loss_is_the_divergence_from_a_gaussian() -> None:
    """Written out in NumPy for maps of 5 x 6 cells of 4 pixels; the third point lies outside and does not count."""
    heat = torch.randn(1, 3, 5, 6, generator=torch.Generator().manual_seed(0))
    points = [(9.5, 5.5), (3.0, 17.2), (26.0, 5.0)]
    expected = []
    for n, (x, y) in enumerate(points[:2]):
        column, row = (x - 1.5) / 4, (y - 1.5) / 4
        target = np.array([[np.exp(-((j - column) ** 2 + (i - row) ** 2) / 2) for j in range(6)] for i in range(5)])
        target /= target.sum()
        softmax = np.exp(heat[0, n].numpy().astype(np.float64))
        softmax /= softmax.sum()
        expected.append((target * np.log(target / softmax)).sum())
    assert float(heatmap_loss(heat, torch.tensor([points]), 4)) == pytest.approx(np.mean(expected), rel=1e-5)
    assert float(heatmap_loss(heat, torch.full((1, 3, 2), -50.0), 4)) == 0


def test_the_heat_map_loss_is_least_at_the_gaussian() -> None:
    rows, columns = torch.meshgrid(torch.arange(10.0), torch.arange(10.0), indexing="ij")
    gaussian = -((columns - 4) ** 2 + (rows - 6) ** 2)[None, None] / 2
    point = torch.tensor([[[4 * 4 + 1.5, 6 * 4 + 1.5]]])
    assert float(heatmap_loss(gaussian + 7, point, 4)) == pytest.approx(0, abs=1e-6)
    # Two peaks with the right mean: the soft arg max is content, the loss is not.
    peaks = torch.full((1, 1, 10, 10), -50.0)
    peaks[0, 0, 6, 2] = peaks[0, 0, 6, 6] = 5.0
    torch.testing.assert_close(soft_argmax(peaks, 4), point)
    assert float(heatmap_loss(peaks, point, 4)) > 1


@pytest.mark.parametrize("size", [160, 224])
def test_the_first_shape_is_a_shape_inside_the_crop(size: int) -> None:
    torch.manual_seed(0)
    shape, heatmaps = HourglassInitializer(68, channels=16)(torch.rand(2, 3, size, size))
    assert shape.shape == (2, 68, 2)
    assert heatmaps.shape == (2, 68, size // 4, size // 4)
    assert ((shape >= 0) & (shape < size)).all()


def test_the_cascade_starts_from_the_hourglass_and_teaches_it() -> None:
    torch.manual_seed(0)
    mean = np.zeros((68, 2), np.float32)
    network = StructuralRelationNetwork(preset("robust-hg"), mean)
    image = torch.rand(2, 3, 160, 160)
    output = network(image)
    assert network.hourglass is not None
    output.coarse.sum().backward()
    assert all(p.grad is not None for p in network.hourglass.parameters())
    network.eval()
    with torch.no_grad():
        output = network(image)
        shape, heatmaps = network.hourglass(image)
        torch.testing.assert_close(output.coarse, shape)
        torch.testing.assert_close(output.heatmaps, heatmaps)


def test_what_it_costs() -> None:
    """SRN+HG stays within what the default may cost: 6 M parameters, 0.4 GMAC."""
    network = StructuralRelationNetwork(preset("robust-hg"), np.zeros((68, 2), np.float32)).eval()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(torch.rand(1, 3, 160, 160))
    assert sum(p.numel() for p in network.parameters()) < 6e6
    assert counter.get_total_flops() / 2 < 0.4e9


def test_one_start_at_a_time() -> None:
    with pytest.raises(InputError, match="both"):
        preset("robust", hourglass=True)

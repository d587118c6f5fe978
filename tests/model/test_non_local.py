"""The non-local block against equations 3 and 4, written as plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from srn.model.non_local import NonLocalBlock

POSITIONS, CHANNELS = 7, 5


def by_the_book(block: NonLocalBlock, x: np.ndarray, *, softmax: bool) -> np.ndarray:
    """One face, (positions, C) -> R, each sum spelled out."""

    def conv(name: str, vector: list[float]) -> list[float]:
        layer = getattr(block, name)
        weight, bias = layer.weight.detach().double().tolist(), layer.bias.detach().double().tolist()
        return [sum(w * v for w, v in zip(row, vector, strict=True)) + b for row, b in zip(weight, bias, strict=True)]

    vectors = [[float(v) for v in row] for row in x]
    result = []
    for u in vectors:
        theta = conv("theta", u)
        relations = [sum(a * b for a, b in zip(theta, conv("phi", v), strict=True)) for v in vectors]
        if softmax:
            powers = [math.exp(r / math.sqrt(len(u))) for r in relations]
            weights = [p / sum(powers) for p in powers]
        else:
            weights = [r / len(vectors) for r in relations]  # C(x): the number of positions
        y = [0.0] * len(u)
        for weight, v in zip(weights, vectors, strict=True):
            for channel, value in enumerate(conv("pi", v)):
                y[channel] += weight * value
        result.append([a + b for a, b in zip(conv("out", y), u, strict=True)])
    return np.array(result)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(3, POSITIONS, CHANNELS, generator=torch.Generator().manual_seed(0)) * 2


def block_of(softmax: bool) -> NonLocalBlock:
    torch.manual_seed(1)
    return NonLocalBlock(CHANNELS, softmax=softmax)


@pytest.mark.parametrize("softmax", [False, True], ids=["dot product", "softmax"])
def test_equations_3_and_4(softmax: bool, x: torch.Tensor) -> None:
    block = block_of(softmax)

    relational = block(x).detach().numpy()

    for face, ours in zip(x.numpy(), relational, strict=True):
        np.testing.assert_allclose(ours, by_the_book(block, face, softmax=softmax), atol=1e-5)


@pytest.mark.parametrize("softmax", [False, True], ids=["dot product", "softmax"])
def test_without_the_last_convolution_it_is_the_identity(softmax: bool, x: torch.Tensor) -> None:
    block = block_of(softmax)
    torch.nn.init.zeros_(block.out.weight)
    torch.nn.init.zeros_(block.out.bias)

    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


@pytest.mark.parametrize("softmax", [False, True], ids=["dot product", "softmax"])
def test_positions_have_no_order(softmax: bool, x: torch.Tensor) -> None:
    """Were the key reshaped instead of transposed, positions and channels would mix, and this would not hold."""
    block = block_of(softmax)
    order = torch.tensor([3, 0, 6, 2, 5, 1, 4])

    torch.testing.assert_close(block(x[:, order]), block(x)[:, order])


def test_dot_product_weights_by_hand() -> None:
    """One channel, all convolutions the identity: y_u = x_u * mean of the squares."""
    block = NonLocalBlock(1, softmax=False)
    for layer in (block.theta, block.phi, block.pi, block.out):
        torch.nn.init.ones_(layer.weight)
        torch.nn.init.zeros_(layer.bias)

    relational = block(torch.tensor([[[1.0], [2.0], [3.0], [4.0]]]))

    mean_square = (1 + 4 + 9 + 16) / 4
    torch.testing.assert_close(relational[0, :, 0], torch.tensor([1.0, 2, 3, 4]) * (1 + mean_square))


def test_every_position_reads_every_other(x: torch.Tensor) -> None:
    block = block_of(softmax=False)
    x = x[:1].requires_grad_()

    for u in range(POSITIONS):
        (gradient,) = torch.autograd.grad(block(x)[0, u].sum(), x)
        assert bool((gradient[0].abs().sum(dim=1) > 0).all())

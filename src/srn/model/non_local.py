"""The non-local block (equations 3 and 4; Wang et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class NonLocalBlock(nn.Module):
    """Every position of every landmark's map attends to all positions: R = F(y) + x.

    y_u = 1 / C(x) * sum over v of sigma(x_u, x_v) pi(x_v), where sigma is the dot product of the embeddings theta(x_u)
    and phi(x_v) and C(x) the number of positions: normalized once, with the key transposed. With `softmax` the weights
    are exp(sigma / sqrt(channels)) normalized to one: the embedded Gaussian form of the block.
    """

    def __init__(self, channels: int, *, softmax: bool) -> None:
        super().__init__()
        self.softmax = softmax
        # 1 x 1 convolutions over positions are linear layers over channels.
        self.theta = nn.Linear(channels, channels)
        self.phi = nn.Linear(channels, channels)
        self.pi = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map x (B, positions, C) to R, of the same shape."""
        theta, phi, pi = self.theta(x), self.phi(x), self.pi(x)
        if self.softmax:
            weights = torch.softmax(theta @ phi.transpose(1, 2) / x.shape[-1] ** 0.5, dim=-1)  # (B, P, P)
        else:
            weights = theta @ phi.transpose(1, 2) / x.shape[1]
        return self.out(weights @ pi) + x

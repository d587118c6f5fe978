"""Calibration of a network's expected errors on held-out faces."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.utils.data import Dataset

from srn.model.network import StructuralRelationNetwork
from srn.training.loss import point_distances

DRAWS = 10
"""Crops of each face."""

_BATCH = 32


@torch.no_grad()
def calibrate(
    network: StructuralRelationNetwork, faces: Dataset[tuple[Tensor, ...]], count: int, device: torch.device
) -> float:
    """Scale a network's expected errors to the true ones; returns the factor (`error_ratio`)."""
    assert network.point_heads is not None
    ratio = error_ratio(network, faces, count, device)
    network.point_heads.bias[:, -1] += math.log(ratio)
    return ratio


@torch.no_grad()
def error_ratio(
    network: StructuralRelationNetwork, faces: Dataset[tuple[Tensor, ...]], count: int, device: torch.device
) -> float:
    """Ratio of the true errors to the expected ones: its maximum likelihood estimate under the network's error model.

    The training loss models an error as a radial exponential of scale b, p(e) = exp(-|e| / b) / (2 pi b^2). If the true
    scale is c b, the likelihood of errors e_i at b_i is highest at c = mean(|e_i| / (2 b_i)).

    The network is in evaluation mode and on the device. The first `count` faces are used.
    """
    total, points = 0.0, 0
    for first in range(0, count, _BATCH):
        examples = [faces[position] for position in range(first, min(first + _BATCH, count))]
        images, landmarks = (torch.stack([example[part] for example in examples]).to(device) for part in (0, 1))
        output = network(images.float() / 255)
        assert output.log_scale is not None
        error = point_distances(output.shapes[:, -1], landmarks) / network.config.face_size
        total += float((error / (2 * torch.exp(output.log_scale))).double().sum())
        points += error.numel()
    return total / points

"""The training objective: the cascade loss over all iterations (equation 8), visibility and expected error."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from srn.face.scheme import LandmarkScheme
from srn.model.config import ModelConfig
from srn.model.network import CascadeOutput

LossKind = Literal["distance", "squared", "smooth-l1", "wing", "soft-wing"]

MINIMAL_INTEROCULAR = 0.4
"""In face units. The eyes of a profile nearly meet in the picture; without a floor such a face outweighs all others."""


class LossTerms(NamedTuple):
    """Scalars of one batch: `total` is what is minimized, the others are reported.

    `nme` is the mean error of the last iteration over the (floored) inter-ocular distance.
    """

    total: Tensor
    nme: Tensor
    coarse: Tensor
    visibility: Tensor
    scale: Tensor


def interocular_normalizer(target_shape: Tensor, scheme: LandmarkScheme, face_size: float) -> Tensor:
    """(B,): distance between the outer eye corners of (B, N, 2), at least `MINIMAL_INTEROCULAR` of the face."""
    left, right = scheme.eye_corners
    distance = (target_shape[:, left] - target_shape[:, right]).norm(dim=-1)
    return distance.clamp_min(MINIMAL_INTEROCULAR * face_size)


def point_distances(shape: Tensor, target_shape: Tensor) -> Tensor:
    """Euclidean distances (..., N) between shapes (..., N, 2); differentiable where points coincide."""
    return ((shape - target_shape).square().sum(dim=-1) + 1e-8).sqrt()


def penalty(distance: Tensor, kind: LossKind) -> Tensor:
    """What an error costs, element by element.

    Args:
        distance: point-to-point distances over the inter-ocular distance.
        kind: `distance`: the distance itself. `squared`: its square (equation 8). The others act on the distance in
            per cent, x, and are divided by 100 again. `smooth-l1`: x^2 / 2 below 1, x - 1/2 above. `wing` (Feng et al.
            2018): 10 ln(1 + x / 2) below 10, a line of slope 1 above. `soft-wing` (Lin et al. 2021): x below 2,
            20 ln(1 + 2 x) plus the constant that joins the two above.
    """
    if kind == "distance":
        return distance
    if kind == "squared":
        return distance.square()
    x = distance * 100
    if kind == "smooth-l1":
        cost = torch.where(x < 1, x.square() / 2, x - 0.5)
    elif kind == "wing":
        width, curvature = 10.0, 2.0
        offset = width - width * math.log1p(width / curvature)
        cost = torch.where(x < width, width * torch.log1p(x / curvature), x - offset)
    else:
        inner, outer, curvature = 2.0, 20.0, 0.5
        offset = inner - outer * math.log1p(inner / curvature)
        cost = torch.where(x < inner, x, outer * torch.log1p(x / curvature) + offset)
    return cost / 100


def cascade_loss(
    output: CascadeOutput,
    target_shape: Tensor,
    visible: Tensor,
    config: ModelConfig,
    kind: LossKind = "distance",
    heads_weight: float = 0.02,
) -> LossTerms:
    """Compare a batch with its targets.

    Args:
        output: what the network said, crop pixels.
        target_shape: (B, N, 2) crop pixels.
        visible: (B, N) bool.
        config: the network's.
        kind: see `penalty`; its mean over points and faces is summed over the iterations. The authors use `distance`.
        heads_weight: weight of the visibility and expected-error terms.
    """
    normalizer = interocular_normalizer(target_shape, config.scheme, config.face_size)
    distances = point_distances(output.shapes, target_shape[:, None]) / normalizer[:, None, None]  # (B, I, N)
    coarse = point_distances(output.coarse, target_shape) / normalizer[:, None]  # (B, N)
    total = penalty(distances, kind).mean(dim=(0, 2)).sum()
    if config.learns_start:
        total = total + 0.5 * penalty(coarse, kind).mean()
    visibility = scale = total.new_zeros(())
    if output.visibility is not None and output.log_scale is not None:
        visibility = functional.binary_cross_entropy_with_logits(output.visibility.float(), visible.float())
        # The error vector as a radial exponential: p(e) = exp(-|e| / b) / (2 pi b^2). The heads learn b; the shape is
        # not moved by this term, so that points are not dragged to where they are easy to be sure of.
        error = point_distances(output.shapes[:, -1].detach(), target_shape) / config.face_size
        log_scale = output.log_scale.float().clamp(-8, 2)
        scale = (error * torch.exp(-log_scale) + 2 * log_scale).mean()
        total = total + heads_weight * (visibility + scale)
    return LossTerms(
        total, distances[:, -1].detach().mean(), coarse.detach().mean(), visibility.detach(), scale.detach()
    )

"""The training objective: the cascade loss over all iterations (equation 8), visibility and expected error."""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from srn.face.scheme import LandmarkScheme
from srn.model.config import ModelConfig
from srn.model.hourglass import HourglassInitializer, heatmap_loss
from srn.model.network import TINY, CascadeOutput

LossKind = Literal["distance", "squared"]
"""`distance`: point-to-point distance over the inter-ocular distance. `squared`: its square (equation 8)."""

MINIMAL_INTEROCULAR = 0.4
"""In face units. In a profile the eyes nearly coincide; without a floor such a face would outweigh all others."""


class LossTerms(NamedTuple):
    """Scalars of a batch; `total` is minimized. `nme` is that of the last iteration, `coarse` of the initial shape."""

    total: Tensor
    nme: Tensor
    coarse: Tensor
    visibility: Tensor
    scale: Tensor


def interocular_normalizer(target_shape: Tensor, scheme: LandmarkScheme, face_size: float) -> Tensor:
    """Distance (B,) between the outer eye corners of (B, N, 2), at least `MINIMAL_INTEROCULAR` of the face."""
    left, right = scheme.eye_corners
    distance = (target_shape[:, left] - target_shape[:, right]).norm(dim=-1)
    return distance.clamp_min(MINIMAL_INTEROCULAR * face_size)


def point_distances(shape: Tensor, target_shape: Tensor) -> Tensor:
    """Euclidean distances (..., N) between shapes (..., N, 2), differentiable where points coincide."""
    return ((shape - target_shape).square().sum(dim=-1) + 1e-8).sqrt()


def directed_lengths(tendency: Tensor, error: Tensor) -> Tensor:
    """Return |M^(-1/2) e| (...) of errors e (..., 2), where M = exp(V) has the determinant 1 (`DirectionHead`).

    M^(-1) = cosh|v| - V sinh|v| / |v|. Over the scale b, the mean of these lengths is what the ellipse's shape changes
    in the negative log-likelihood while its area stays. So the best shape is the same where b is too large, as on the
    faces of the training, and where it is right; with the trace kept, a thin ellipse would make up for a large b.
    """
    length = (tendency.square().sum(-1) + TINY).sqrt()
    x, y = error.unbind(-1)
    product = tendency[..., 0] * (x * x - y * y) + 2 * tendency[..., 1] * x * y  # e' V e
    squared = torch.cosh(length) * (x * x + y * y) - torch.sinh(length) / length * product
    return (squared.clamp_min(0) + 1e-10).sqrt()


def cascade_loss(
    output: CascadeOutput,
    target_shape: Tensor,
    visible: Tensor,
    config: ModelConfig,
    kind: LossKind = "distance",
    heads_weight: float = 0.02,
) -> LossTerms:
    """Compute the loss of a batch with true shapes (B, N, 2), in crop pixels, and visibility (B, N).

    The mean cost over points and faces is summed over the iterations; the authors' `kind` is `distance`. The terms of
    visibility, expected error, its direction and heat maps (`heatmap_loss`) have `heads_weight`.
    """
    normalizer = interocular_normalizer(target_shape, config.scheme, config.face_size)
    distances = point_distances(output.shapes, target_shape[:, None]) / normalizer[:, None, None]  # (B, I, N)
    coarse = point_distances(output.coarse, target_shape) / normalizer[:, None]  # (B, N)
    power = 2 if kind == "squared" else 1
    total = distances.pow(power).mean(dim=(0, 2)).sum()
    if config.learns_start:
        total = total + 0.5 * coarse.pow(power).mean()
    if output.heatmaps is not None:
        total = total + heads_weight * heatmap_loss(output.heatmaps, target_shape, HourglassInitializer.STRIDE)
    visibility = scale = total.new_zeros(())
    if output.visibility is not None and output.log_scale is not None:
        visibility = functional.binary_cross_entropy_with_logits(output.visibility.float(), visible.float())
        # The error vector as a radial exponential: p(e) = exp(-|e| / b) / (2 pi b^2). The heads learn b. The shape gets
        # no gradient from this term, which would favour positions with a predictable error.
        error = point_distances(output.shapes[:, -1].detach(), target_shape) / config.face_size
        log_scale = output.log_scale.float().clamp(-8, 2)
        scale = (error * torch.exp(-log_scale) + 2 * log_scale).mean()
        total = total + heads_weight * (visibility + scale)
        if output.tendency is not None:
            errors = (target_shape - output.shapes[:, -1].detach()) / config.face_size
            cost = directed_lengths(output.tendency.float(), errors) * torch.exp(-log_scale.detach())
            total = total + heads_weight * cost.mean()
    return LossTerms(
        total, distances[:, -1].detach().mean(), coarse.detach().mean(), visibility.detach(), scale.detach()
    )

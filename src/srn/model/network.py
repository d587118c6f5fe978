"""The structural relation network (SRN): cascaded regression over shape-indexed features (equations 1 to 7, 13)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from srn.model.config import ModelConfig
from srn.model.encoder import PatchEncoder, SharedMapEncoder, sample_count
from srn.model.hourglass import HourglassInitializer
from srn.model.hsrm import HierarchicalStructuralRelation
from srn.model.non_local import NonLocalBlock

VISIBLE = 1.5
"""Initial logit of a point being visible: most are."""

TINY = 1e-12
"""Added to |v|^2: a length of 0 has no derivative."""


class CascadeOutput(NamedTuple):
    """Output of the network for a batch of faces: `shapes` and `hidden` as of a `Prediction`.

    Attributes:
        coarse: (B, N, 2) crop pixels: the shape that the cascade started from.
        visibility: (B, N) logits of each point being visible; None without point heads.
        log_scale: (B, N) logarithm of the scale of the error, in face units; None without point heads.
        heatmaps: (B, N, S/4, S/4) logits of the hourglass; None without one, and in clips.
        tendency: (B, N, 2) v of `DirectionHead`; None without one.
    """

    shapes: Tensor
    hidden: Tensor
    coarse: Tensor
    visibility: Tensor | None
    log_scale: Tensor | None
    heatmaps: Tensor | None = None
    tendency: Tensor | None = None


class _PointHeads(nn.Module):
    """Expected error of each point, and visibility unless it has a head of its own, from the last features."""

    def __init__(self, config: ModelConfig, width: int = 32) -> None:
        super().__init__()
        self.local = nn.Linear(config.landmark_features, width)
        self.whole = nn.Linear(config.hidden_size, width)
        # Initial values: most points are visible, and the error is about 2 % of the face.
        initial = [-4.0] if config.visibility_width else [VISIBLE, -4.0]
        n = config.scheme.n_points
        self.weight = nn.Parameter(torch.randn(n, width, len(initial)) * width**-0.5)
        self.bias = nn.Parameter(torch.tensor(initial).repeat(n, 1))

    def forward(self, relational: Tensor, hidden: Tensor) -> Tensor:
        """Return (B, N, 1 or 2): the logarithm of the scale of the error, behind the logit of visibility."""
        code = torch.relu(self.local(relational) + self.whole(hidden)[:, None])
        return torch.einsum("bnw,nwo->bno", code, self.weight) + self.bias


class VisibilityHead(nn.Module):
    """Visibility of each point from the samples of the maps, which still hold texture, and from the last features."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        n, width = config.scheme.n_points, config.visibility_width
        self.look = nn.Linear(sample_count(config), width, bias=False)
        self.local = nn.Linear(config.landmark_features, width)
        self.whole = nn.Linear(config.hidden_size, width, bias=False)
        self.place = nn.Parameter(torch.zeros(n, width))
        self.weight = nn.Parameter(torch.randn(n, width) * width**-0.5)
        self.bias = nn.Parameter(torch.full((n,), VISIBLE))

    def forward(self, sampled: Tensor, relational: Tensor, hidden: Tensor) -> Tensor:
        """Return logits (B, N) from samples (B, N, S), R (B, N, F) and the state (B, H)."""
        code = self.look(sampled) + self.local(relational) + self.whole(hidden)[:, None] + self.place
        return (torch.relu(code) * self.weight).sum(-1) + self.bias


class DirectionHead(nn.Module):
    """Direction of each point's error, from the last features and the shape: v (B, N, 2), in the crop's coordinates.

    The error model is that of `srn.face.ellipse`, with A = exp(V) / cosh|v| and V = [[v1, v2], [v2, -v1]]. By the
    closed form exp(V) = cosh|v| + V sinh|v| / |v|, its direction is d = v tanh|v| / |v|. The eigenvalues of V are |v|
    and -|v|, so that exp(|v|) is the ratio of the ellipse's axes. A new head says v = 0: round.
    """

    def __init__(self, config: ModelConfig, width: int = 32) -> None:
        super().__init__()
        n = config.scheme.n_points
        self.local = nn.Linear(config.landmark_features, width)
        self.whole = nn.Linear(config.hidden_size, width, bias=False)
        self.place = nn.Linear(2 * n, width, bias=False)
        self.weight = nn.Parameter(torch.zeros(n, width, 2))
        self.bias = nn.Parameter(torch.zeros(n, 2))

    def forward(self, relational: Tensor, hidden: Tensor, placed: Tensor) -> Tensor:
        """Return v (B, N, 2) from R (B, N, F), the state (B, H) and the last shape (B, N, 2) in face units.

        No gradient reaches what it reads: it moves neither points nor what else is said of them.
        """
        whole = self.whole(hidden.detach()) + self.place(placed.detach().flatten(1))
        code = torch.relu(self.local(relational.detach()) + whole[:, None])
        return torch.einsum("bnw,nwo->bno", code, self.weight) + self.bias


def direction_of(tendency: Tensor) -> Tensor:
    """Return d = v tanh|v| / |v| of a `DirectionHead`'s v, (..., 2); its length is below 1."""
    length = (tendency.square().sum(-1, keepdim=True) + TINY).sqrt()
    return tendency * (torch.tanh(length) / length)


class StructuralRelationNetwork(nn.Module):
    """SRN as published (`PRESETS['paper']`) and in a lighter form (`PRESETS['robust']`).

    Pictures and video differ only in `config.recurrence` and in the arguments `initial_shape` and `hidden`.
    `mean_shape` (N, 2) is in face units (origin at the box centre, 1 = size of the box).
    """

    mean_shape: Tensor

    def __init__(self, config: ModelConfig, mean_shape: npt.NDArray[np.floating]) -> None:
        super().__init__()
        self.config = config
        scheme = config.scheme
        self.register_buffer("mean_shape", torch.as_tensor(np.asarray(mean_shape), dtype=torch.float32))
        self.encoder = PatchEncoder(config.batch_norm) if config.encoder == "patches" else SharedMapEncoder(config)
        channels = 64 if config.encoder == "patches" else config.landmark_features
        self.non_local = NonLocalBlock(channels, softmax=config.non_local_softmax) if config.non_local else None
        n_features = scheme.n_points * config.landmark_features
        self.recurrent = nn.Linear(n_features + config.hidden_size, config.hidden_size)
        self.hsrm = HierarchicalStructuralRelation(config)
        self.local_weight: nn.Parameter | None = None
        if config.local_offsets:
            self.local_weight = nn.Parameter(torch.randn(scheme.n_points, config.landmark_features, 2) * 1e-3)
        self.coarse = self._coarse_head() if config.coarse_shape else None
        self.hourglass = HourglassInitializer(scheme.n_points) if config.hourglass else None
        self.point_heads = _PointHeads(config) if config.point_heads else None
        self.visibility_head = VisibilityHead(config) if config.visibility_width else None
        self.direction_head = DirectionHead(config) if config.error_direction else None

    def _coarse_head(self) -> nn.Sequential:
        cells = (self.config.crop_size // 16) ** 2
        return nn.Sequential(
            nn.Conv2d(self.config.map_channels[2], 32, 1), nn.ReLU(), nn.Flatten(),
            nn.Linear(32 * cells, 256), nn.ReLU(), nn.Linear(256, self.config.scheme.n_points * 2),
        )  # fmt: skip

    def mean_initial_shape(self, batch: int) -> Tensor:
        """Return the mean shape placed in the face box, (B, N, 2) crop pixels."""
        spec = self.config.crop_spec
        return (self.mean_shape * spec.face_size + spec.center).expand(batch, -1, -1)

    def initial_hidden(self, batch: int) -> Tensor:
        """Return the state before the first iteration or frame, (B, H) zeros."""
        return self.mean_shape.new_zeros(batch, self.config.hidden_size)

    def forward(
        self,
        image: Tensor,
        initial_shape: Tensor | None = None,
        hidden: Tensor | None = None,
        initial_weight: Tensor | None = None,
    ) -> CascadeOutput:
        """Localize the landmarks in crops (B, 3, S, S), float in [0, 1]; the rest is that of a `Localizer`."""
        maps, start, heatmaps = self.encode(image)
        return self.refine(maps, start, initial_shape, hidden, initial_weight)._replace(heatmaps=heatmaps)

    def encode(self, image: Tensor) -> tuple[tuple[Tensor, ...], Tensor, Tensor | None]:
        """Compute the part that needs no other frame.

        Returns the encoder's maps, the own initial shape (B, N, 2), and the hourglass's heat maps, if it has one.
        """
        batch = image.shape[0]
        maps = self.encoder.prepare(image)
        start = self.mean_initial_shape(batch)
        if self.coarse is not None:
            start = start + self.coarse(maps[-1]).float().view(batch, -1, 2) * self.config.face_size
        heatmaps = None
        if self.hourglass is not None:
            start, heatmaps = self.hourglass(image)
        return maps, start, heatmaps

    def refine(
        self,
        maps: tuple[Tensor, ...],
        start: Tensor,
        initial_shape: Tensor | None = None,
        hidden: Tensor | None = None,
        initial_weight: Tensor | None = None,
    ) -> CascadeOutput:
        """Run the cascade on the results of `encode`; the other arguments are those of `forward`."""
        batch, face_size = start.shape[0], self.config.face_size
        shape = start
        if initial_shape is not None:
            weight = 1.0 if initial_weight is None else initial_weight[:, None, None]
            shape = start + (initial_shape - start) * weight
        state = self.initial_hidden(batch) if hidden is None else hidden
        previous = state
        shapes = []
        for _ in range(self.config.iterations):
            sampled = self.encoder.sample(maps, shape)
            x = self.encoder.describe(sampled)  # (B, N, positions, C)
            # Equation 5; or 13, where every iteration of a frame reads the state of the previous frame.
            memory = state if self.config.recurrence == "iteration" else previous
            state = torch.tanh(self.recurrent(torch.cat([x.flatten(1), memory], dim=1)))
            relational = x
            if self.non_local is not None:
                relational = self.non_local(x.flatten(1, 2)).view_as(x)
            relational = relational.flatten(2)  # R: (B, N, F)
            residual = self.hsrm(relational, state)
            if self.local_weight is not None:
                residual = residual + torch.einsum("bnf,nfo->bno", relational, self.local_weight)
            # The sum over residuals stays in full precision: half a pixel is lost in bf16 otherwise.
            shape = shape + residual.float() * face_size
            shapes.append(shape)
        visibility = log_scale = None
        if self.point_heads is not None:
            *visible, log_scale = self.point_heads(relational, state).unbind(-1)
            if self.visibility_head is None:
                (visibility,) = visible
            else:
                visibility = self.visibility_head(sampled, relational, state)
        tendency = None
        if self.direction_head is not None:
            placed = (shape - self.config.crop_spec.center) / face_size
            tendency = self.direction_head(relational, state, placed)
        return CascadeOutput(torch.stack(shapes, dim=1), state, start, visibility, log_scale, None, tendency)

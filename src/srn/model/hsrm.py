"""The hierarchical structural relation module (section 3.1, equations 6 and 7)."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from srn.face.scheme import COMPONENTS, REGIONS
from srn.model.config import ModelConfig

COMPONENT_REGIONS = {
    "brows": ("ocular", "snout"),
    "eyes": ("ocular", "snout"),
    "nose": ("ocular", "snout", "cheek"),
    "mouth": ("ocular", "snout", "cheek"),
    "left_cheek": ("snout", "cheek"),
    "right_cheek": ("snout", "cheek"),
}
"""Regions that f reads for each component."""

COMPONENT_PARTNERS = {
    "brows": ("brows", "eyes"),
    "eyes": ("brows", "eyes"),
    "nose": ("nose", "mouth"),
    "mouth": ("nose", "mouth"),
    "left_cheek": ("left_cheek", "right_cheek"),
    "right_cheek": ("left_cheek", "right_cheek"),
}
"""Components that d reads for each component: the two of its region."""


class HierarchicalStructuralRelation(nn.Module):
    """Reasons from regions (g) over components (f) to landmarks (d) and the whole shape (mu).

    Built from the scheme: 68, 29 and 98 points give the same hierarchy with other widths. A component without points
    (COFW has a single outline point) has no layers. A part named in `config.without` is left out, and the next part
    takes its input: without g, f reads the regions' features; without f, d reads the regions' codes; without d, mu
    reads the components' codes. Without mu, d gives both coordinates of each landmark.
    """

    _back: Tensor

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        scheme = config.scheme
        self.present = tuple(name for name in COMPONENTS if scheme.components[name])
        self._region_indices = {name: list(scheme.region(name)) for name in REGIONS}
        has = {part: part not in config.without for part in ("g", "f", "d", "mu")}
        width = {name: len(indices) * config.landmark_features for name, indices in self._region_indices.items()}
        self.g = nn.ModuleDict()
        if has["g"]:
            with warnings.catch_warnings():  # a region without points, as the cheeks of five, is its bias alone
                warnings.filterwarnings("ignore", "Initializing zero-element tensors")
                self.g.update({name: nn.Linear(features, config.region_size) for name, features in width.items()})
            width = dict.fromkeys(REGIONS, config.region_size)
        read = {region for name in self.present for region in COMPONENT_REGIONS[name]}
        self.has_idle_layer = not read.issuperset(self.g)  # of the cheeks, where a scheme is of the eyes alone
        code = {name: sum(width[r] for r in COMPONENT_REGIONS[name]) + config.hidden_size for name in self.present}
        self.f = nn.ModuleDict()
        if has["f"]:
            self.f.update({name: nn.Linear(code[name], config.component_size) for name in self.present})
            code = dict.fromkeys(self.present, config.component_size)
        self._partners = {
            # Without f all components of a region read the same codes, so one copy is enough.
            name: tuple(p for p in COMPONENT_PARTNERS[name] if p in self.present) if has["f"] else (name,)
            for name in self.present
        }
        per_point = config.offsets_per_landmark if has["mu"] else 2
        self.d = nn.ModuleDict(
            {
                name: nn.Linear(sum(code[p] for p in self._partners[name]), len(scheme.components[name]) * per_point)
                for name in self.present
                if has["d"]
            }
        )
        merged = scheme.n_points * per_point if has["d"] else sum(code.values())
        # Without d and mu, one linear layer turns the codes into coordinates.
        self.mu = nn.Linear(merged, scheme.n_points * 2) if has["mu"] or not has["d"] else None
        order = [i for name in self.present for i in scheme.components[name]]
        self.register_buffer("_back", torch.argsort(torch.tensor(order)), persistent=False)
        self._per_point = per_point
        self._n_points = scheme.n_points
        if self.mu is not None and merged == scheme.n_points * 2:
            # mu refines a complete shape. It starts as the identity, so that d learns from the first step on.
            nn.init.eye_(self.mu.weight)
            nn.init.zeros_(self.mu.bias)

    def forward(self, relational: Tensor, hidden: Tensor) -> Tensor:
        """Map relational features R (B, N, F) and state h (B, H) to the shape residual (B, N, 2), in face units."""
        regions = {name: relational[:, indices].flatten(1) for name, indices in self._region_indices.items()}
        if self.g:
            regions = {name: torch.tanh(self.g[name](features)) for name, features in regions.items()}
        codes = {
            name: torch.cat([*(regions[region] for region in COMPONENT_REGIONS[name]), hidden], dim=1)
            for name in self.present
        }
        if self.f:
            codes = {name: torch.relu(self.f[name](code)) for name, code in codes.items()}
        if self.d:
            offsets = [
                self.d[name](torch.cat([codes[p] for p in self._partners[name]], dim=1)) for name in self.present
            ]  # (B, points of the component * per_point) each
            merged = torch.cat([o.unflatten(1, (-1, self._per_point)) for o in offsets], dim=1)
            merged = merged[:, self._back].flatten(1)  # in the order of the landmarks
        else:
            merged = torch.cat([codes[name] for name in self.present], dim=1)
        residual = merged if self.mu is None else self.mu(merged)
        return residual.view(-1, self._n_points, 2)

"""Small networks for the tests of the model: every path of the real ones at a hundredth of their size."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from srn.model.config import ModelConfig, preset
from srn.model.network import StructuralRelationNetwork

SMALL: dict[str, dict[str, Any]] = {
    "robust": {
        "crop_size": 64, "face_size": 44.0, "stem_channels": 4, "map_channels": (4, 6, 8), "landmark_features": 8,
        "hidden_size": 16, "region_size": 12, "component_size": 10,
    },
    "paper": {"crop_size": 64, "face_size": 40.0, "hidden_size": 16, "region_size": 12, "component_size": 10},
}  # fmt: skip


def small_config(name: str = "robust", **changes: Any) -> ModelConfig:
    """`small_config("robust", iterations=2)`: a preset at a fraction of its size, with changes."""
    return preset(name, **{**SMALL[name], **changes})


def make_network(config: ModelConfig) -> StructuralRelationNetwork:
    """A network in evaluation mode with random but repeatable weights, statistics and mean shape."""
    mean = np.random.default_rng(1).uniform(-0.4, 0.4, (config.scheme.n_points, 2))
    torch.manual_seed(2)
    network = StructuralRelationNetwork(config, mean)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith(("running_mean", "bias")):
                tensor += torch.randn_like(tensor) * 0.05
            elif name.endswith("running_var"):
                tensor.uniform_(0.5, 2.0)
            elif name.endswith("norm2.weight"):  # some start at zero, as identities
                tensor.uniform_(0.5, 1.5)
            elif name == "direction_head.weight":  # starts at zero
                tensor += torch.randn_like(tensor) * 0.3
            elif name == "local_weight":  # starts near zero: nothing would depend on it
                tensor *= 20
    return network.eval()

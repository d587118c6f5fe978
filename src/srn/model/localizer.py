"""A torch network as a `Localizer`, so that training evaluates with the pre- and post-processing of the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srn.errors import InputError
from srn.face.geometry import ImageArray
from srn.face.localizer import Float32Array, Prediction
from srn.model.checkpoint import load_network
from srn.model.network import StructuralRelationNetwork, direction_of
from srn.model.precision import Precision, runs_low


class TorchLocalizer:
    """Run a network in evaluation mode, on the device it is on.

    bf16 takes half the time where hardware is faster in it, but moves points by hundredths of a pixel; evaluation uses
    float32.
    """

    def __init__(
        self, network: StructuralRelationNetwork, name: str = "torch", precision: Precision = "float32"
    ) -> None:
        self._network, self.name = network.eval(), name
        self.scheme, self.crop_spec = network.config.scheme, network.config.crop_spec
        self.recurrence = network.config.recurrence
        self.tells_direction = network.config.error_direction
        self._low = runs_low(precision, network.mean_shape.device)

    @property
    def mean_shape(self) -> Float32Array:
        return self._network.mean_shape.cpu().numpy()

    @torch.no_grad()
    def __call__(
        self,
        crops: ImageArray,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        device = self._network.mean_shape.device

        def tensor(values: Float32Array | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(np.ascontiguousarray(values)).to(device)

        image = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))).to(device).float() / 255
        with torch.autocast(device.type, torch.bfloat16, enabled=self._low):
            output = self._network(image, tensor(initial_shape), tensor(hidden), tensor(initial_weight))
        visibility = expected_error = direction = None
        if output.visibility is not None and output.log_scale is not None:
            visibility = torch.sigmoid(output.visibility.float()).cpu().numpy()
            expected_error = 2 * torch.exp(output.log_scale.float()).cpu().numpy()
        if output.tendency is not None:
            direction = direction_of(output.tendency.float()).cpu().numpy()
        shapes, state = output.shapes.cpu().numpy(), output.hidden.float().cpu().numpy()
        return Prediction(shapes, state, visibility, expected_error, direction)


def load_localizer(weights: str | Path, *, threads: int | None = None, device: str = "cpu") -> TorchLocalizer:
    """Open the weights (`.safetensors`) of a training run; `threads` limits the whole process."""
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError.at("device", "a CUDA device that PyTorch can use", "none")
    if threads is not None:
        torch.set_num_threads(threads)
    network, metadata = load_network(weights)
    file = Path(weights).absolute()
    seen = f"@{metadata['faces_seen']} faces" if "faces_seen" in metadata else ""
    # Every run's weights have the same name: the folder tells which run's they are.
    return TorchLocalizer(network.to(device), f"{file.parent.name}/{file.name}{seen}")

"""A torch network as a `Localizer`, so that training evaluates with the pre- and post-processing of the runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from srn.errors import InputError
from srn.face.geometry import CropSpec, ImageArray
from srn.face.localizer import Float32Array, Prediction
from srn.face.scheme import LandmarkScheme
from srn.model.checkpoint import load_network
from srn.model.network import StructuralRelationNetwork
from srn.model.precision import Precision, runs_low


class TorchLocalizer:
    """Run a network in evaluation mode, on the device it is on.

    Args:
        network: the network.
        name: its name in results.
        precision: of its forward pass. bf16 takes half the time where it is native, but moves points by some hundredths
            of a pixel; evaluation uses float32.
    """

    def __init__(
        self, network: StructuralRelationNetwork, name: str = "torch", precision: Precision = "float32"
    ) -> None:
        self._network = network.eval()
        self._name = name
        self._low = runs_low(precision, network.mean_shape.device)

    @property
    def scheme(self) -> LandmarkScheme:
        return self._network.config.scheme

    @property
    def crop_spec(self) -> CropSpec:
        return self._network.config.crop_spec

    @property
    def mean_shape(self) -> Float32Array:
        return self._network.mean_shape.cpu().numpy()

    @property
    def recurrence(self) -> str:
        """`iteration` (eq. 5), or `frame` (eq. 13): callers carry the state from frame to frame."""
        return self._network.config.recurrence

    @property
    def name(self) -> str:
        return self._name

    @torch.no_grad()
    def __call__(
        self,
        crops: ImageArray,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        """Localize in crops (B, S, S, 3) uint8 RGB; see `Localizer`."""
        device = self._network.mean_shape.device

        def tensor(values: Float32Array | None) -> Tensor | None:
            return None if values is None else torch.from_numpy(np.ascontiguousarray(values)).to(device)

        image = torch.from_numpy(np.ascontiguousarray(crops.transpose(0, 3, 1, 2))).to(device).float() / 255
        with torch.autocast(device.type, torch.bfloat16, enabled=self._low):
            output = self._network(image, tensor(initial_shape), tensor(hidden), tensor(initial_weight))
        visibility = expected_error = None
        if output.visibility is not None and output.log_scale is not None:
            visibility = torch.sigmoid(output.visibility.float()).cpu().numpy()
            expected_error = 2 * torch.exp(output.log_scale.float()).cpu().numpy()
        return Prediction(output.shapes.cpu().numpy(), output.hidden.float().cpu().numpy(), visibility, expected_error)


def load_localizer(weights: str | Path, *, threads: int | None = None, device: str = "cpu") -> TorchLocalizer:
    """Open the weights of a training run.

    Args:
        weights: the `.safetensors` file.
        threads: CPU threads of PyTorch, for the whole process; PyTorch's choice if None.
        device: `cpu` or `cuda`.

    Raises:
        InputError: the device is not available.
        WeightsError: the file is missing or holds no network.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError.at("device", "a CUDA device that PyTorch can use", "none")
    if threads is not None:
        torch.set_num_threads(threads)
    network, metadata = load_network(weights)
    return TorchLocalizer(network.to(device), f"{Path(weights).name}@{metadata.get('faces_seen', '?')} faces")

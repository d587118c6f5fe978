"""Tasks of the training loop: where examples come from, their cost, and how the result is measured."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.face.metrics import interocular, nme
from srn.face.scheme import LandmarkScheme
from srn.inference.drawing import draw_face
from srn.media.pictures import write_image
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.augment import augment
from srn.synthesis.config import NO_AUGMENTATION
from srn.training.calibration import DRAWS, calibrate
from srn.training.config import TrainConfig
from srn.training.device_augmentation import DeviceAugmentation, check_on_device
from srn.training.loss import LossTerms, cascade_loss
from srn.training.stream import FaceOccluder, FaceStream, PictureStream

_BATCH = 32


class Score(NamedTuple):
    """Result of a validation; the jitter is that of clips (`srn.face.metrics`)."""

    nme: float
    jitter: float | None = None


class Task(Protocol):
    """The part of training that differs between pictures and clips."""

    @property
    def faces_each(self) -> int:
        """Faces in one example: 1 for pictures, T for clips."""

    def stream(self, pack: FacePack, weights: npt.NDArray[np.float64] | None) -> Dataset[tuple[Tensor, ...]]:
        """Return the endless stream of examples by position; `weights` (F,) say how often each face is drawn."""

    def module(self, network: StructuralRelationNetwork) -> nn.Module:
        """Return the module of a step, forwards and backwards; it holds the network's own parameters."""

    def loss(self, module: nn.Module, batch: Sequence[Tensor], device: torch.device, low: bool) -> LossTerms:
        """Compute the cost of a batch of examples; with `low`, the forward pass runs in bf16."""

    def validate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device, sheet: Path) -> Score:
        """Measure an averaged network on held-out faces, and draw some predictions on the picture `sheet`."""

    def calibrate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device) -> dict[str, str]:
        """Correct the network's expected errors on held-out faces; returns a record for the weights file."""


@dataclasses.dataclass(frozen=True)
class FaceTask:
    """Learning from single faces: the picture model."""

    config: TrainConfig
    occluder: FaceOccluder | None = None

    @property
    def faces_each(self) -> int:
        return 1

    def stream(self, pack: FacePack, weights: npt.NDArray[np.float64] | None) -> Dataset[tuple[Tensor, ...]]:
        config = self.config
        if config.augment_on == "device":
            if self.occluder is not None or config.hard_share:
                raise InputError.at("augment_on='device'", "no occluder of faces", "one")
            check_on_device(config.augmentation)
            return PictureStream(pack, config.seed, weights)
        return self._augmented(pack, weights)

    def _augmented(self, pack: FacePack, weights: npt.NDArray[np.float64] | None) -> FaceStream:
        config = self.config
        return FaceStream(
            pack, config.model.crop_spec, config.augmentation, config.seed, weights, self.occluder, config.hard_share
        )

    def module(self, network: StructuralRelationNetwork) -> nn.Module:
        return network

    def loss(self, module: nn.Module, batch: Sequence[Tensor], device: torch.device, low: bool) -> LossTerms:
        images, landmarks, visible = (tensor.to(device, non_blocking=True) for tensor in batch[:3])
        if self.config.augment_on == "device":
            augment_all = _device_augmentation(self.config, device)
            images, landmarks, visible = augment_all(images, landmarks, visible, int(batch[3][0]))
        image = images.float().div_(255).contiguous(memory_format=torch.channels_last)
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            output = module(image)
        return cascade_loss(output, landmarks, visible, self.config.model, self.config.loss)

    def validate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device, sheet: Path) -> Score:
        images, predicted, target = predict_pack(network, pack, device)
        prediction_sheet(images, predicted, network.config.scheme, sheet)
        errors = [nme(p, t, interocular(t, pack.scheme)) for p, t in zip(predicted, target, strict=True)]
        return Score(float(np.mean(errors)))

    def calibrate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device) -> dict[str, str]:
        if network.point_heads is None:
            return {}
        ratio = calibrate(network, self._augmented(pack, None), DRAWS * len(pack), device)
        return {"expected_error_times": f"{ratio:.4f}"}


@functools.lru_cache(maxsize=1)
def _device_augmentation(config: TrainConfig, device: torch.device) -> DeviceAugmentation:
    model = config.model
    return DeviceAugmentation(model.crop_spec, model.scheme, config.augmentation, config.seed, device)


@torch.no_grad()
def predict_pack(
    network: StructuralRelationNetwork, pack: FacePack, device: torch.device
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Run a network on packed faces: crops (F, S, S, 3), predicted and true shapes (F, N, 2) in crop pixels."""
    rng = np.random.default_rng(0)
    spec, none = network.config.crop_spec, NO_AUGMENTATION
    faces = [augment(pack.image(i), pack.landmarks[i], spec, pack.scheme, none, rng) for i in range(len(pack))]
    images = np.stack([face.image for face in faces])
    shapes = [
        network(torch.from_numpy(images[i : i + _BATCH]).permute(0, 3, 1, 2).to(device).float() / 255).shapes[:, -1]
        for i in range(0, len(images), _BATCH)
    ]
    return images, torch.cat(shapes).float().cpu().numpy(), np.stack([face.landmarks for face in faces])


def prediction_sheet(
    images: npt.NDArray[np.uint8], predicted: npt.NDArray[np.float32], scheme: LandmarkScheme, path: Path
) -> None:
    """Draw up to 32 predictions on one picture."""
    tiles = [image.copy() for image in images[:32]]
    for tile, shape in zip(tiles, predicted[:32], strict=True):
        draw_face(tile, shape, scheme)
    columns = min(8, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    write_image(path, np.concatenate(rows, axis=0))

"""Training on clips: the picture model becomes the tracker (equation 13) by backpropagation through several frames."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from srn.datasets.pack import FacePack
from srn.face.metrics import clip_nme, interocular, jitter
from srn.face.scheme import LandmarkScheme
from srn.model.config import ModelConfig
from srn.model.encoder import FeatureMaps
from srn.model.network import CascadeOutput, StructuralRelationNetwork
from srn.synthesis.animate import PlacedFace
from srn.training.clip_stream import ClipBatch, ClipStream, animated_face, crop_steps
from srn.training.config import ClipConfig, TrainConfig
from srn.training.loss import LossKind, LossTerms, cascade_loss, interocular_normalizer, point_distances
from srn.training.stream import ClipOccluder
from srn.training.tasks import Score, prediction_sheet


class ClipUnroll(nn.Module):
    """A network run over clips, frame after frame, for backpropagation through time.

    All frames are encoded in one batch, which the statistics of batch norm cover, and then refined one after the other.
    Gradients flow from frame to frame through the state. They do not flow through the shape that a frame starts from,
    just as patch coordinates carry none within a frame.
    """

    def __init__(self, network: StructuralRelationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, steps: Tensor, previous_start: Tensor) -> CascadeOutput:
        """Track faces through clips, with images in [0, 1] and the rest as in `ClipBatch`.

        Gives the outputs of the frames one after the other, (T * B, ...): all faces of frame 0, then of frame 1, ...
        """
        batch, frames = images.shape[:2]
        flat = images.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)  # (T * B, 3, S, S)
        maps, start, _ = self.network.encode(flat)
        carried = previous_start.to(start.dtype)
        outputs: list[CascadeOutput] = []
        initial = hidden = None
        for t in range(frames):
            rows = slice(t * batch, (t + 1) * batch)
            here = tuple(m[rows] for m in maps)
            frame_maps = FeatureMaps(*here) if isinstance(maps, FeatureMaps) else here
            if outputs:
                initial, hidden = affine(steps[:, t], outputs[-1].shapes[:, -1].detach()), outputs[-1].hidden
            outputs.append(self.network.refine(frame_maps, start[rows], initial, hidden, carried))
        joined: Any = (None if parts[0] is None else torch.cat(parts) for parts in zip(*outputs, strict=True))
        return CascadeOutput(*joined)


def affine(maps: Tensor, shapes: Tensor) -> Tensor:
    """Apply affine maps (..., 2, 3) to shapes (..., N, 2)."""
    # Written out: autocast would run a matrix product in bf16, which loses half a pixel.
    maps = maps[..., None, :, :]  # (..., 1, 2, 3)
    return shapes[..., :1] * maps[..., 0] + shapes[..., 1:] * maps[..., 1] + maps[..., 2]


def unsteadiness(output_shapes: Tensor, landmarks: Tensor, steps: Tensor, config: ModelConfig) -> Tensor:
    """Mean change of the error from frame to frame over the inter-ocular distance, a scalar.

    A constant error costs nothing, nor does a moving face. The error of frame t - 1 is rotated and scaled as its crop
    is to the crop of frame t. Predictions are (T, B, N, 2), the rest is as in `ClipBatch`.
    """
    target = landmarks.transpose(0, 1)
    error = output_shapes - target  # (T, B, N, 2)
    linear = steps.transpose(0, 1)[1:, :, :, :2]
    before = error[:-1] @ linear.transpose(-1, -2)
    normalizer = interocular_normalizer(target[1:].flatten(0, 1), config.scheme, config.face_size)
    return (point_distances(error[1:], before).flatten(0, 1) / normalizer[:, None]).mean()


def clip_loss(
    output: CascadeOutput, batch: ClipBatch, config: ModelConfig, kind: LossKind, steadiness: float
) -> LossTerms:
    """Add `cascade_loss` over all frames of `ClipUnroll` and the unsteadiness of the last iteration's shapes."""
    landmarks = batch.landmarks.transpose(0, 1).flatten(0, 1)
    visible = batch.visible.transpose(0, 1).flatten(0, 1)
    terms = cascade_loss(output, landmarks, visible, config, kind)
    if steadiness == 0:
        return terms
    clips, frames = batch.landmarks.shape[:2]
    last = output.shapes[:, -1].unflatten(0, (frames, clips))
    return terms._replace(total=terms.total + steadiness * unsteadiness(last, batch.landmarks, batch.steps, config))


@dataclasses.dataclass(frozen=True)
class ClipTask:
    """Learning from clips: the tracker."""

    config: TrainConfig
    clips: ClipConfig
    occluder: ClipOccluder | None = None

    @property
    def faces_each(self) -> int:
        return self.clips.frames

    def stream(self, pack: FacePack, weights: npt.NDArray[np.float64] | None) -> Dataset[tuple[Tensor, ...]]:
        return ClipStream(pack, self.config.model.crop_spec, self.clips, self.config.seed, weights, self.occluder)

    def module(self, network: StructuralRelationNetwork) -> nn.Module:
        return ClipUnroll(network)

    def loss(self, module: nn.Module, batch: Sequence[Tensor], device: torch.device, low: bool) -> LossTerms:
        clips = ClipBatch(*(tensor.to(device, non_blocking=True) for tensor in batch))
        with torch.autocast(device.type, torch.bfloat16, enabled=low):
            output = module(clips.images.float() / 255, clips.steps, clips.previous_start)
        return clip_loss(output, clips, self.config.model, self.config.loss, self.clips.steadiness)

    def validate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device, sheet: Path) -> Score:
        """Measure one clip of every held-out face; every other one starts each frame from the previous shape."""
        rng = np.random.default_rng([self.config.seed, 3])
        spec, motion = self.config.model.crop_spec, dataclasses.replace(self.clips.motion, flip=0.0)
        placed = [animated_face(pack, i, spec, motion, rng, self.clips.frames) for i in range(len(pack))]
        shapes = track_clips(network, placed, np.arange(len(pack)) % 2 == 1, device)
        scores = [_score(one, predicted, pack.scheme) for one, predicted in zip(placed, shapes, strict=True)]
        images = np.stack([one.face.images[-1] for one in placed])
        prediction_sheet(images, shapes[:, -1].astype(np.float32), network.config.scheme, sheet)
        jitters = [score.jitter for score in scores if score.jitter is not None and np.isfinite(score.jitter)]
        return Score(float(np.mean([score.nme for score in scores])), float(np.mean(jitters)) if jitters else None)

    def calibrate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device) -> dict[str, str]:
        return {}  # with a carried state the expected errors depend on the length of the clip


def _score(placed: PlacedFace, predicted: npt.NDArray[np.float64], scheme: LandmarkScheme) -> Score:
    target = placed.face.landmarks.astype(np.float64)
    normalizers = np.array([interocular(shape, scheme) for shape in target])
    # All errors are brought to the scene's scale, because a jump of the crop is no jitter of the prediction.
    to_scene = [np.linalg.inv(crop[:, :2]) for crop in placed.crops]
    error = np.stack([(p - t) @ m.T for p, t, m in zip(predicted, target, to_scene, strict=True)])
    scale = np.array([np.sqrt(abs(np.linalg.det(m))) for m in to_scene])
    return Score(clip_nme(predicted, target, normalizers), jitter(error, np.zeros_like(error), normalizers * scale))


@torch.no_grad()
def track_clips(
    network: StructuralRelationNetwork,
    clips: Sequence[PlacedFace],
    previous_start: npt.NDArray[np.bool_],
    device: torch.device,
    batch_size: int = 8,
) -> npt.NDArray[np.float64]:
    """Predict the landmarks (C, T, N, 2) of C clips of one length, each frame in the pixels of its own crop.

    The network is on the device. The frames of some clips start from the previous shape (`previous_start`, (C,)).
    """
    unroll = ClipUnroll(network).eval()
    shapes = []
    for first in range(0, len(clips), batch_size):
        some = clips[first : first + batch_size]
        images = torch.from_numpy(np.stack([c.face.images for c in some])).to(device).permute(0, 1, 4, 2, 3)
        steps = torch.from_numpy(np.stack([crop_steps(c.crops) for c in some])).to(device)
        carried = torch.from_numpy(previous_start[first : first + batch_size]).to(device)
        last = unroll(images.float() / 255, steps, carried).shapes[:, -1].unflatten(0, (-1, len(some)))
        shapes.append(last.transpose(0, 1).double().cpu().numpy())
    return np.concatenate(shapes)

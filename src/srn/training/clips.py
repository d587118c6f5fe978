"""Fine-tuning on clips: the picture model becomes the tracker (equation 13), through several frames at a time.

The loop, the log, the resuming and the weight average are those of `srn.training.loop`; here is what differs: where
the clips come from, how a clip is unrolled, and what it costs.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.face.geometry import CropSpec, ImageArray
from srn.face.metrics import clip_nme, interocular, jitter
from srn.model.config import ModelConfig
from srn.model.encoder import FeatureMaps
from srn.model.network import CascadeOutput, StructuralRelationNetwork
from srn.synthesis.animate import FramedFace, MotionConfig, MovingFace, animate_framed, move_frames
from srn.training.config import ClipConfig, TrainConfig
from srn.training.loop import Score, Task, prediction_sheet, train
from srn.training.loss import LossKind, LossTerms, cascade_loss, interocular_normalizer, point_distances
from srn.training.stream import FaceOrder, video_numbers


class ClipOccluder(Protocol):
    """Hides faces in a clip: what a HOFS agent gives. It has to be picklable where worker processes prepare clips."""

    def __call__(self, clip: MovingFace, rng: np.random.Generator) -> MovingFace:
        """The clip with something over it: new images and flags, the same landmarks. Chance comes from `rng` alone."""
        ...


# --- clips


class ClipBatch(NamedTuple):
    """Clips of one batch.

    Attributes:
        images: (B, T, 3, S, S) uint8.
        landmarks: (B, T, N, 2) float32, each frame's own crop pixels.
        visible: (B, T, N) bool.
        steps: (B, T, 2, 3) float32: the map from the crop of frame t - 1 to the crop of frame t; the identity at 0.
        previous_start: (B,) bool: whether frames start from the previous frame's shape.
    """

    images: Tensor
    landmarks: Tensor
    visible: Tensor
    steps: Tensor
    previous_start: Tensor


def crop_steps(frames: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """(T, 2, 3): crop t - 1 -> crop t, from `FramedFace.frames` (T, 2, 3), scene -> crop; the identity at 0."""
    whole = np.concatenate([frames, np.broadcast_to([[[0.0, 0.0, 1.0]]], (len(frames), 1, 3))], axis=1)
    between = whole[1:] @ np.linalg.inv(whole[:-1])
    return np.concatenate([np.eye(3)[None], between])[:, :2].astype(np.float32)


def _unoccluded(motion: MotionConfig) -> MotionConfig:
    """The same motion, light and camera, and nothing that hides the face."""
    return dataclasses.replace(motion, occluders=0.0, masks=0.0, sunglasses=0.0, noise_patch=0.0)


class ClipStream(Dataset[tuple[Tensor, ...]]):
    """Clips by position in the stream, as `FaceStream` has single faces: repeatable from any position.

    A packed face is brought to life. Where the pack is one of `config.videos`, a face with T - 1 more frames of its
    video after it begins a clip of these frames instead, moved and hidden in addition.

    Args:
        pack: the faces.
        spec: frame of the crops.
        config: the clips.
        seed: of order and animation.
        weights: (F,) how often each face is drawn, 1 on average.
        occluder: hides `config.hard_share` of the clips; none where None.
    """

    def __init__(
        self,
        pack: FacePack,
        spec: CropSpec,
        config: ClipConfig,
        seed: int,
        weights: npt.NDArray[np.float64] | None = None,
        occluder: ClipOccluder | None = None,
    ) -> None:
        self.pack, self.spec, self.config, self.seed, self.occluder = pack, spec, config, seed, occluder
        self.order = FaceOrder(len(pack), seed, weights)
        self._videos = video_numbers(pack) if config.videos else np.arange(len(pack))

    def __getitem__(self, position: int) -> tuple[Tensor, ...]:
        """One clip of a `ClipBatch`, without the batch's dimension."""
        rng = np.random.default_rng([self.seed, 2, position])
        previous = bool(rng.random() < self.config.previous_start)
        hard = self.occluder is not None and bool(rng.random() < self.config.hard_share)
        motion = _unoccluded(self.config.motion) if hard else self.config.motion
        framed = self._clip(self.order[position], motion, rng)
        face = framed.face
        if hard and self.occluder is not None:
            face = self.occluder(face, rng)
        return (
            torch.from_numpy(face.images).permute(0, 3, 1, 2),
            torch.from_numpy(face.landmarks),
            torch.from_numpy(face.visible),
            torch.from_numpy(crop_steps(framed.frames)),
            torch.tensor(previous),
        )

    def _clip(self, first: int, motion: MotionConfig, rng: np.random.Generator) -> FramedFace:
        """The clip that begins with a face of the pack."""
        frames = self.config.frames
        last = first + frames - 1
        if last >= len(self.pack) or self._videos[last] != self._videos[first]:
            return animated_face(self.pack, first, self.spec, motion, rng, frames)
        images = [self.pack.image(index) for index in range(first, last + 1)]
        landmarks = self.pack.landmarks[first : last + 1]
        return move_frames(images, landmarks, self.spec, self.pack.scheme, motion, rng, _another(self.pack, rng))


def _another(pack: FacePack, rng: np.random.Generator) -> Callable[[], ImageArray]:
    return lambda: pack.image(int(rng.integers(len(pack))))


def animated_face(
    pack: FacePack, index: int, spec: CropSpec, motion: MotionConfig, rng: np.random.Generator, frames: int
) -> FramedFace:
    """A packed face brought to life; pieces of the pack's other faces may pass in front of it."""
    occluded = None if pack.occluded is None else pack.occluded[index]
    return animate_framed(
        pack.image(index), pack.landmarks[index], spec, pack.scheme, motion, rng, frames, _another(pack, rng), occluded
    )


# --- the unrolled network and its cost


class ClipUnroll(nn.Module):
    """A network run over clips, frame after frame: what backpropagation through time goes through.

    All frames are looked at in one batch (so are the statistics of batch norm), then refined one after the other: the
    state goes from frame to frame with its gradient, a shape that the next frame starts from without, as the patch
    coordinates have none within a frame.
    """

    def __init__(self, network: StructuralRelationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor, steps: Tensor, previous_start: Tensor) -> CascadeOutput:
        """Track.

        Args:
            images: (B, T, 3, S, S) float in [0, 1].
            steps: (B, T, 2, 3), see `ClipBatch`.
            previous_start: (B,) bool, likewise.

        Returns:
            The frames' outputs one after the other, (T * B, ...): all faces of frame 0, then of frame 1, ...
        """
        batch, frames = images.shape[:2]
        flat = images.transpose(0, 1).flatten(0, 1).contiguous(memory_format=torch.channels_last)  # (T * B, 3, S, S)
        maps, start = self.network.look(flat)
        carried = previous_start.to(start.dtype)
        hidden: Tensor | None = None
        before: Tensor | None = None
        outputs: list[CascadeOutput] = []
        for t in range(frames):
            rows = slice(t * batch, (t + 1) * batch)
            here = tuple(m[rows] for m in maps)
            some_maps = FeatureMaps(*here) if isinstance(maps, FeatureMaps) else here
            initial = None if before is None else moved(steps[:, t], before)
            output = self.network.refine(some_maps, start[rows], initial, hidden, None if initial is None else carried)
            hidden, before = output.hidden, output.shapes[:, -1].detach()
            outputs.append(output)
        return CascadeOutput(*(_joined(parts) for parts in zip(*outputs, strict=True)))


def _joined(parts: Sequence[Tensor | None]) -> Any:
    tensors = [part for part in parts if part is not None]
    return torch.cat(tensors) if tensors else None


def moved(steps: Tensor, shapes: Tensor) -> Tensor:
    """Shapes (..., N, 2) after affine maps (..., 2, 3)."""
    # Written out: a matrix product would be taken in bf16 where the forward pass is, and half a pixel lost.
    maps = steps[..., None, :, :]  # (..., 1, 2, 3)
    return shapes[..., :1] * maps[..., 0] + shapes[..., 1:] * maps[..., 1] + maps[..., 2]


def unsteadiness(output_shapes: Tensor, landmarks: Tensor, steps: Tensor, config: ModelConfig) -> Tensor:
    """How much the error changes from frame to frame: its mean length over the inter-ocular distance, a scalar.

    An error that stays costs nothing here, nor does a face that moves: only what would be seen to shake. The error of
    frame t - 1 is turned and scaled as its crop is to frame t's.

    Args:
        output_shapes: (T, B, N, 2) predictions, each in its own crop's pixels.
        landmarks: (B, T, N, 2) truth; steps: (B, T, 2, 3), as in `ClipBatch`.
        config: the network's.
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
    """The cascade loss (equation 8) of every frame, averaged, and the unsteadiness of the last iteration's shapes.

    Args:
        output: of `ClipUnroll`, (T * B, ...).
        batch: the truth, on the output's device.
        config: the network's.
        kind: see `srn.training.loss.penalty`.
        steadiness: weight of `unsteadiness`; 0 leaves the paper's loss.
    """
    landmarks = batch.landmarks.transpose(0, 1).flatten(0, 1)
    visible = batch.visible.transpose(0, 1).flatten(0, 1)
    terms = cascade_loss(output, landmarks, visible, config, kind)
    if steadiness == 0:
        return terms
    clips, frames = batch.landmarks.shape[:2]
    last = output.shapes[:, -1].unflatten(0, (frames, clips))
    return terms._replace(total=terms.total + steadiness * unsteadiness(last, batch.landmarks, batch.steps, config))


# --- the run


@dataclasses.dataclass(frozen=True)
class ClipTask:
    """Learning from clips: a `Task` of the training loop."""

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
        """NME and jitter over one clip of every held-out face, the same clips every time; half of them start each frame
        from the previous shape."""
        rng = np.random.default_rng([self.config.seed, 3])
        spec, config = self.config.model.crop_spec, dataclasses.replace(self.clips.motion, flip=0.0)
        framed = [animated_face(pack, i, spec, config, rng, self.clips.frames) for i in range(len(pack))]
        shapes = track_clips(network, framed, np.arange(len(pack)) % 2 == 1, device)
        errors, shakes = [], []
        for one, predicted in zip(framed, shapes, strict=True):
            target = one.face.landmarks.astype(np.float64)
            normalizers = np.array([interocular(shape, pack.scheme) for shape in target])
            errors.append(clip_nme(predicted, target, normalizers))
            # Over all frames in the first crop's scale: crops that jump are not predictions that shake.
            to_scene = [np.linalg.inv(frame[:, :2]) for frame in one.frames]
            error = np.stack([(p - t) @ m.T for p, t, m in zip(predicted, target, to_scene, strict=True)])
            scale = np.array([np.sqrt(abs(np.linalg.det(m))) for m in to_scene])
            shakes.append(jitter(error, np.zeros_like(error), normalizers * scale))
        images = np.stack([one.face.images[-1] for one in framed])
        prediction_sheet(images, np.stack([s[-1] for s in shapes]).astype(np.float32), network, sheet)
        known = np.array(shakes)[np.isfinite(shakes)]
        return Score(float(np.mean(errors)), float(known.mean()) if len(known) else None)

    def calibrate(self, network: StructuralRelationNetwork, pack: FacePack, device: torch.device) -> float | None:
        """Leaves it as it was learned: what a carried state expects depends on how long it was carried."""
        return None


@torch.no_grad()
def track_clips(
    network: StructuralRelationNetwork,
    clips: Sequence[FramedFace],
    previous_start: npt.NDArray[np.bool_],
    device: torch.device,
    batch_size: int = 8,
) -> npt.NDArray[np.float64]:
    """What a network in evaluation mode predicts: (C, T, N, 2), in each frame's own crop pixels; clips of one length.

    Args:
        network: what tracks.
        clips: C animated faces.
        previous_start: (C,) whether a clip's frames start from the previous shape.
        device: where the network is.
        batch_size: clips at a time.
    """
    unroll = ClipUnroll(network).eval()
    shapes = []
    for first in range(0, len(clips), batch_size):
        some = clips[first : first + batch_size]
        images = torch.from_numpy(np.stack([c.face.images for c in some])).to(device).permute(0, 1, 4, 2, 3)
        steps = torch.from_numpy(np.stack([crop_steps(c.frames) for c in some])).to(device)
        carried = torch.from_numpy(previous_start[first : first + batch_size]).to(device)
        last = unroll(images.float() / 255, steps, carried).shapes[:, -1].unflatten(0, (-1, len(some)))
        shapes.append(last.transpose(0, 1).double().cpu().numpy())
    return np.concatenate(shapes)


def fine_tune(
    config: TrainConfig,
    pack: FacePack,
    out: str | os.PathLike[str],
    *,
    initial: StructuralRelationNetwork | None = None,
    occluder: ClipOccluder | None = None,
    **options: Any,
) -> Path:
    """Train the tracker on animated clips.

    Args:
        config: the run, with `clips`; `srn.training.config.tracker_config` makes one.
        pack: the annotated faces that are brought to life; `config.validation` of them are set aside.
        out: folder of the run; what it gets and how it is resumed: see `srn.training.loop.train`.
        initial: the picture model (or a tracker) to start from; random weights where None.
        occluder: hides a share of the clips (HOFS).
        options: `resume`, `schedule`, `console`, `provenance` of `srn.training.loop.train`.

    Returns:
        Path of `weights.safetensors`.

    Raises:
        InputError: as `train` does, or `config` is not one of clips.
    """
    if config.clips is None:
        raise InputError.at("training run", "one on clips", "one on single faces")
    task: Task = ClipTask(config, config.clips, occluder)
    return train(config, pack, out, initial=initial, task=task, **options)

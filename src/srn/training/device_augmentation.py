"""Augmentation of whole batches on the device that trains, for recipes whose occluders are noise patches alone."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from srn.errors import InputError
from srn.face.geometry import CropSpec
from srn.face.scheme import LandmarkScheme
from srn.synthesis.config import AugmentConfig

ON_PROCESSOR = ("second_pass", "turned", "blur", "low_resolution", "occluders", "masks", "behind", "patterns")
"""Settings that need the processor: they draw with OpenCV, face by face."""


def check_on_device(config: AugmentConfig) -> None:
    """Raise `InputError` unless a device can do all that the settings ask for."""
    found = [f"{name}={value:g}" for name in ON_PROCESSOR if (value := getattr(config, name))]
    if found:
        expected = "'processor', or an augmentation as the paper's, without what is drawn face by face"
        raise InputError.at("augment_on='device'", expected, ", ".join(found))


class DeviceAugmentation:
    """What `srn.synthesis.augment.augment` does, with the same distributions, for a batch at a time.

    The pixels differ from the processor's by about a grey level where nothing is random: they are not rounded between
    the steps. A picture that shrinks to less than half is not averaged first.

    Raises:
        InputError: the settings ask for more than noise patches, colours, grey and noise.
    """

    def __init__(
        self, spec: CropSpec, scheme: LandmarkScheme, config: AugmentConfig, seed: int, device: torch.device
    ) -> None:
        check_on_device(config)
        self.spec, self.config, self.seed = spec, config, seed
        self._mirror = torch.tensor(scheme.mirror, device=device)

    def __call__(
        self, pictures: Tensor, landmarks: Tensor, visible: Tensor, position: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make training crops. Nothing waits for the device.

        Args:
            pictures: (B, 3, P, P) uint8 RGB, packed faces, on the device.
            landmarks: (B, N, 2) float32, pixels of `pictures`.
            visible: (B, N) bool, which points are not known to be hidden in the picture.
            position: of the first face in the stream; with the seed, the only source of randomness.

        Returns:
            Crops (B, 3, S, S) float32 in [0, 255], their landmarks in crop pixels, and their visibility.
        """
        draw = _Draws(len(pictures), pictures.device, [self.seed, 5, position])
        center, turn, scale = self._places(landmarks, draw)
        flipped = draw.chance(self.config.flip)
        images = self._cropped(pictures, center, turn, scale, flipped)
        points = (landmarks - center[:, None]) @ turn.transpose(1, 2) * scale[:, None, None] + self.spec.center
        points, visible = self._mirrored(points, visible, flipped)
        images = torch.where(_each(draw.chance(self.config.color)), _changed_colors(images, draw), images)
        images, covered = self._patched(images, points, draw)
        visible = visible & self._inside(points) & ~covered
        images = torch.where(_each(draw.chance(self.config.grey)), _grey(images), images)
        noise = draw.normal(*images.shape[1:]) * _each(draw.uniform(2, 15))
        images = torch.where(_each(draw.chance(self.config.sensor_noise)), (images + noise).clamp(0, 255), images)
        return images, points, visible

    def _places(self, landmarks: Tensor, draw: _Draws) -> tuple[Tensor, Tensor, Tensor]:
        """Place the crops: centre (B, 2) in the picture, rotation (B, 2, 2) and scale (B,) to the crop."""
        config = self.config
        edges = torch.cat([landmarks.amin(1), landmarks.amax(1)], 1)  # x0, y0, x1, y1
        sides = edges[:, 2:] - edges[:, :2]
        size = _box_size(sides)
        moved = edges + draw.clipped(4) * config.box_edge * size[:, None]
        thin = ((moved[:, 2:] - moved[:, :2]) < 0.3 * sides).any(1, keepdim=True)
        edges = torch.where(thin, edges, moved)
        center = (edges[:, :2] + edges[:, 2:]) / 2 + draw.clipped(2) * config.box_shift * size[:, None]
        stretch = torch.exp(draw.clipped(1)[:, 0] * config.box_scale)
        scale = self.spec.face_size / (_box_size(edges[:, 2:] - edges[:, :2]) * stretch)
        wide = draw.uniform(-1, 1) * config.wide_rotation_deg
        degrees = torch.where(draw.chance(config.wide_rotation), wide, draw.clipped(1)[:, 0] * config.rotation_deg)
        cos, sin = torch.cos(torch.deg2rad(degrees)), torch.sin(torch.deg2rad(degrees))
        return center, torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1), scale

    def _cropped(self, pictures: Tensor, center: Tensor, turn: Tensor, scale: Tensor, flipped: Tensor) -> Tensor:
        """Sample the crops bilinearly; pixels outside a picture repeat its edge."""
        offset = torch.arange(self.spec.size, device=pictures.device, dtype=torch.float32) - self.spec.center
        y, x = torch.meshgrid(offset, offset, indexing="ij")
        grid = (
            torch.stack([x, y], -1)[None]
            * torch.stack([1 - 2 * flipped.float(), torch.ones_like(scale)], 1)[:, None, None]
        )
        places = torch.einsum("bhwi,bij->bhwj", grid, turn) / scale[:, None, None, None] + center[:, None, None]
        normalized = places * (2 / (pictures.shape[-1] - 1)) - 1
        return functional.grid_sample(pictures.float(), normalized, padding_mode="border", align_corners=True)

    def _mirrored(self, points: Tensor, visible: Tensor, flipped: Tensor) -> tuple[Tensor, Tensor]:
        other = points[:, self._mirror]
        other = torch.stack([self.spec.size - 1 - other[..., 0], other[..., 1]], -1)
        shown = torch.where(flipped[:, None], visible[:, self._mirror], visible)
        return torch.where(flipped[:, None, None], other, points), shown

    def _patched(self, images: Tensor, points: Tensor, draw: _Draws) -> tuple[Tensor, Tensor]:
        """Paint the paper's noise patches; also return which landmarks (B, N) they cover."""
        size = self.spec.size
        side = min(round(self.spec.face_size * self.config.noise_patch_size), size)
        chosen = (draw.uniform(0, 1) * points.shape[1]).long().clamp(max=points.shape[1] - 1)
        middle = points.gather(1, chosen[:, None, None].expand(-1, 1, 2))[:, 0]
        low = torch.round(middle - side / 2).clamp(0, size - side)
        painted = draw.chance(self.config.noise_patch)

        def within(pixels: Tensor) -> Tensor:  # (B, K, 2)
            return ((pixels >= low[:, None]) & (pixels < low[:, None] + side)).all(-1) & painted[:, None]

        index = torch.arange(size, device=images.device, dtype=torch.float32)
        y, x = torch.meshgrid(index, index, indexing="ij")
        window = within(torch.stack([x, y], -1).view(1, -1, 2)).view(-1, 1, size, size)
        noise = torch.floor(draw.uniform(0, 256, *images.shape[1:]))
        return torch.where(window, noise, images), within(torch.floor(points + 0.5))

    def _inside(self, points: Tensor) -> Tensor:
        pixels = torch.floor(points + 0.5)
        return ((pixels >= 0) & (pixels < self.spec.size)).all(-1)


class _Draws:
    """Random numbers for the B faces of a batch, drawn on the device."""

    def __init__(self, count: int, device: torch.device, seed: list[int]) -> None:
        self._count, self._device = count, device
        self._generator = torch.Generator(device)
        self._generator.manual_seed(int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> np.uint64(1)))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self._count, *shape, generator=self._generator, device=self._device)

    def clipped(self, *shape: int) -> Tensor:
        return self.normal(*shape).clamp(-2.5, 2.5)

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(self._count, *shape, generator=self._generator, device=self._device)
        return low + (high - low) * drawn

    def chance(self, probability: float) -> Tensor:
        return self.uniform(0, 1) < probability


def _each(values: Tensor) -> Tensor:
    """Reshape one value a face (B,) for pictures (B, C, H, W)."""
    return values[:, None, None, None]


def _box_size(sides: Tensor) -> Tensor:
    """`Box.size` of boxes with these sides (B, 2)."""
    return torch.linalg.vector_norm(sides, dim=1) / 2**0.5


def _grey(images: Tensor) -> Tensor:
    """(B, 1, H, W), with the weights of OpenCV's conversion."""
    return 0.299 * images[:, :1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:]


def _changed_colors(images: Tensor, draw: _Draws) -> Tensor:
    """Change brightness, contrast, saturation, hue and gamma mildly, as `augment` does."""
    contrast, saturation = (_each(torch.exp(draw.normal() * strength)) for strength in (0.2, 0.3))
    gains = contrast * torch.exp(draw.normal(3, 1, 1) * 0.06)
    offset = 127.5 * (1 - contrast) + _each(draw.normal()) * 20
    changed = (saturation * images + (1 - saturation) * _grey(images)) * gains + offset
    gamma = torch.where(draw.chance(0.5), torch.exp(draw.normal() * 0.3), 1.0)
    return (changed.clamp(0, 255) / 255) ** _each(gamma) * 255

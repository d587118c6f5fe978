"""A face in motion: movement, worn and passing occluders, light and camera, rendered one frame at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import Box, Float64Array, FloatArray, ImageArray, flip_points, transform_points
from srn.face.scheme import LandmarkScheme
from srn.synthesis.camera import Camera, random_camera
from srn.synthesis.config import MotionConfig
from srn.synthesis.motion import Movement, random_movement
from srn.synthesis.moving_occluders import MovingOccluder, random_passage, random_sprite, wandering_patch
from srn.synthesis.occluders import drawn_mask, sunglasses, visible_landmarks

PASSAGE_FRAMES = 30
"""One occluder may pass in each stretch of this many frames (`MotionConfig.occluders`)."""


@dataclass(frozen=True, eq=False)
class AnimatedFace:
    """A face in motion over T frames.

    Attributes:
        sources: pictures (H, W, 3) uint8 RGB with everything the face wears: one still, or one picture a frame.
        uncovered: (T, N) bool: points that lie inside their source and under nothing worn.
        movement: source -> scene of every frame.
        shapes: (T, N, 2) scene pixels.
        occluders: occluders that pass in front.
        camera: light and camera.
    """

    sources: tuple[ImageArray, ...]
    uncovered: npt.NDArray[np.bool_]
    movement: Movement
    shapes: Float64Array
    occluders: tuple[MovingOccluder, ...]
    camera: Camera

    def render(self, index: int, view: FloatArray, size: tuple[int, int]) -> ImageArray:
        """Render frame `index` (from 0) at `size` (width, height); `view` (2, 3) maps scene -> pixels of the result."""
        places = self.movement.source_map(index, view, size)
        source = self.sources[index % len(self.sources)]
        image = cv2.remap(source, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        image = image.astype(np.uint8, copy=False)
        for occluder in self.occluders:
            image = occluder.paint(image, index, view)
        before, after = max(index - 1, 0), min(index + 1, len(self.shapes) - 1)
        motion = (self.shapes[after] - self.shapes[before]).mean(axis=0) / max(after - before, 1)
        return self.camera.expose(image, index, view[:, :2] @ motion)

    def visible(self, index: int, view: FloatArray, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Visibility (N,) of the points of frame `index`; arguments as for `render`."""
        inside = visible_landmarks(np.zeros((size[1], size[0]), bool), transform_points(view, self.shapes[index]))
        seen = self.uncovered[index] & inside
        for occluder in self.occluders:
            seen &= ~occluder.hides(index, self.shapes[index])
        return seen


def random_animation(
    images: Sequence[ImageArray],
    landmarks: FloatArray,
    scheme: LandmarkScheme,
    config: MotionConfig,
    rng: np.random.Generator,
    other: Callable[[], ImageArray] | None,
    occluded: npt.NDArray[np.bool_] | None = None,
) -> AnimatedFace:
    """Draw everything random about a clip except the placement of its crops.

    Args:
        images: one still, or a picture of each of T frames.
        landmarks: (T, N, 2) pixels of each frame's picture.
        occluded: (N,) or (T, N) points that are hidden in the pictures themselves.
        scheme, config, rng, other: as for `srn.synthesis.animate.animate_placed`.

    Raises:
        InputError: no frame, or landmarks that do not fit the scheme.
    """
    frames = len(landmarks)
    if frames < 1:
        raise InputError.at("frames", "at least 1", str(frames))
    if landmarks.shape[1:] != (scheme.n_points, 2):
        raise InputError.at("landmarks", f"({scheme.n_points}, 2)", str(landmarks.shape[1:]))
    points: FloatArray = np.asarray(landmarks, dtype=np.float64)
    if rng.random() < config.flip:
        widths = [image.shape[1] for image in images]
        points = np.stack([flip_points(p, widths[t % len(widths)], scheme.mirror) for t, p in enumerate(points)])
        images = [image[:, ::-1] for image in images]
        occluded = None if occluded is None else occluded[..., scheme.mirror]
    sources, uncovered = _dress(images, points, scheme, config, rng)
    if occluded is not None:
        uncovered = uncovered & ~occluded
    period = float(np.exp(rng.uniform(*np.log(config.period))))
    still, shaky = bool(rng.random() < config.still), bool(rng.random() < 0.5)
    movement = random_movement(points[0], scheme, config, frames, rng, period=period, still=still, shaky=shaky)
    shapes = movement.points(points)
    occluders = _random_occluders(shapes, Box.around(points[0]).size, scheme, config, rng, other)
    camera = random_camera(config, period, frames, rng)
    flags = np.broadcast_to(uncovered, (frames, scheme.n_points))
    return AnimatedFace(sources, flags, movement, shapes, occluders, camera)


def _dress(
    images: Sequence[ImageArray],
    points: FloatArray,
    scheme: LandmarkScheme,
    config: MotionConfig,
    rng: np.random.Generator,
) -> tuple[tuple[ImageArray, ...], npt.NDArray[np.bool_]]:
    """Paint the same mask and sunglasses, if any, on a copy of every picture; returns the uncovered points, too."""
    masked, shaded = bool(rng.random() < config.masks), bool(rng.random() < config.sunglasses)
    seed = int(rng.integers(2**62))
    sources, uncovered = [], []
    for image, shape in zip(images, points, strict=False):  # a still has one picture and the points of every frame
        source = np.array(image)  # contiguous, and painted on
        chance = np.random.default_rng(seed)  # the same occluders in every picture
        covered = np.zeros(source.shape[:2], bool)
        if masked:
            covered |= drawn_mask(source, shape, scheme, chance)
        if shaded:
            covered |= sunglasses(source, shape, scheme, chance)
        sources.append(source)
        uncovered.append(visible_landmarks(covered, shape))
    return tuple(sources), np.stack(uncovered)


def _random_occluders(
    shapes: Float64Array,
    face_size: float,
    scheme: LandmarkScheme,
    config: MotionConfig,
    rng: np.random.Generator,
    other: Callable[[], ImageArray] | None,
) -> tuple[MovingOccluder, ...]:
    """Draw the occluders that pass in front of shapes (T, N, 2)."""
    occluders: list[MovingOccluder] = []
    for first in range(0, len(shapes), PASSAGE_FRAMES):
        if rng.random() < config.occluders:
            sprite = random_sprite(face_size, other, scheme, rng)
            occluders.append(random_passage(sprite, shapes, first, min(first + PASSAGE_FRAMES, len(shapes)), rng))
    if rng.random() < config.noise_patch:
        occluders.append(wandering_patch(face_size * config.noise_patch_size, shapes, rng))
    return tuple(occluders)

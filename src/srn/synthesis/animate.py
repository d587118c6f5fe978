"""Training clips from stills: crops of an animated face with exact landmarks and visibility in every frame.

The video counterpart of `srn.synthesis.augment`, in this order: masks and sunglasses are painted on the still and move
with it, the head and the camera move, other occluders pass in front, then light and camera follow. The landmarks follow
from the same formulas as the pixels (`srn.synthesis.motion`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.geometry import (
    Box,
    CropGeometry,
    CropSpec,
    Float64Array,
    FloatArray,
    ImageArray,
    fit_similarity,
    similarity,
    transform_points,
)
from srn.face.scheme import LandmarkScheme
from srn.synthesis.animated_face import AnimatedFace, random_animation
from srn.synthesis.config import MotionConfig

WORKING_MARGIN = 1.2
"""A face much larger than its crop is first reduced to this many times the crop's scale."""


class MovingFace(NamedTuple):
    """A training clip of T frames.

    Attributes:
        images: (T, S, S, 3) uint8 RGB crops.
        landmarks: (T, N, 2) float32, pixels of each frame's own crop.
        visible: (T, N) bool: inside the crop and the still, and not occluded.
    """

    images: ImageArray
    landmarks: npt.NDArray[np.float32]
    visible: npt.NDArray[np.bool_]


class PlacedFace(NamedTuple):
    """A training clip with the placement of its crops.

    Attributes:
        crops: (T, 2, 3) float64, common scene -> crop of each frame. `crops[t]` after the inverse of `crops[t - 1]`
            maps a shape from the crop of frame t - 1 to that of frame t.
    """

    face: MovingFace
    crops: Float64Array


def animate_placed(
    image: ImageArray,
    landmarks: FloatArray,
    spec: CropSpec,
    scheme: LandmarkScheme,
    config: MotionConfig,
    rng: np.random.Generator,
    frames: int,
    other: Callable[[], ImageArray] | None = None,
    occluded: npt.NDArray[np.bool_] | None = None,
) -> PlacedFace:
    """Animate a still and crop the face from every frame.

    Args:
        image: (H, W, 3) uint8 RGB, a picture or a packed face. Its edge is repeated outside.
        landmarks: (N, 2) pixels of `image`.
        spec: crop that the network sees.
        scheme: numbering of the landmarks.
        config: strength of the animation; `config.crop` selects how crops follow the face.
        rng: the only source of randomness: the same generator gives the same clip.
        frames: number of frames T.
        other: gives another face's picture, pieces of which may pass in front; called only when needed.
        occluded: (N,) points that are hidden in the still itself.

    Raises:
        InputError: landmarks that do not fit the scheme, or no frame.
    """
    if np.shape(landmarks) != (scheme.n_points, 2):
        raise InputError.at("landmarks", f"({scheme.n_points}, 2)", str(np.shape(landmarks)))
    if frames < 1:
        raise InputError.at("frames", "at least 1", str(frames))
    image, landmarks = _reduce(image, landmarks, spec)
    repeated = np.broadcast_to(landmarks, (frames, scheme.n_points, 2))
    return _crop_frames(random_animation([image], repeated, scheme, config, rng, other, occluded), spec, config, rng)


def move_frames(
    images: Sequence[ImageArray],
    landmarks: FloatArray,
    spec: CropSpec,
    scheme: LandmarkScheme,
    config: MotionConfig,
    rng: np.random.Generator,
    other: Callable[[], ImageArray] | None = None,
    occluded: npt.NDArray[np.bool_] | None = None,
) -> PlacedFace:
    """Add motion, light and occluders to the frames of a real video.

    Args:
        images: T consecutive frames or crops of them, (H, W, 3) uint8 RGB.
        landmarks: (T, N, 2) pixels of each frame's own picture.
        spec, scheme, config, rng, other: as for `animate_placed`.
        occluded: (T, N) points that are hidden in the frames themselves.

    Raises:
        InputError: no frame, or landmarks that do not fit the frames or the scheme.
    """
    if len(images) != len(landmarks) or not len(images):
        raise InputError.at("frames", "at least one, and landmarks of each", f"{len(images)} and {len(landmarks)}")
    reduced = [_reduce(image, points, spec) for image, points in zip(images, landmarks, strict=True)]
    pictures, points = [image for image, _ in reduced], np.stack([points for _, points in reduced])
    return _crop_frames(random_animation(pictures, points, scheme, config, rng, other, occluded), spec, config, rng)


def _reduce(image: ImageArray, landmarks: FloatArray, spec: CropSpec) -> tuple[ImageArray, FloatArray]:
    """Reduce a face much larger than its crop, with its surroundings, so that sampling does not alias."""
    box = Box.around(landmarks)
    if box.size <= 1.5 * spec.face_size:
        return image, landmarks
    working = CropSpec(round(spec.size * 2 * WORKING_MARGIN), spec.face_size * WORKING_MARGIN)
    geometry = CropGeometry.from_box(box, working)
    return geometry.crop(image), geometry.to_crop(landmarks)


def _crop_frames(animated: AnimatedFace, spec: CropSpec, config: MotionConfig, rng: np.random.Generator) -> PlacedFace:
    """Crop the face from every frame."""
    size = (spec.size, spec.size)
    crops = _place_crops(animated.shapes, spec, config, rng)
    images = np.stack([animated.render(t, crop.matrix, size) for t, crop in enumerate(crops)])
    points = np.stack([crop.to_crop(shape) for crop, shape in zip(crops, animated.shapes, strict=True)])
    visible = np.stack([animated.visible(t, crop.matrix, size) for t, crop in enumerate(crops)])
    return PlacedFace(MovingFace(images, points.astype(np.float32), visible), np.stack([c.matrix for c in crops]))


def _place_crops(
    shapes: Float64Array, spec: CropSpec, config: MotionConfig, rng: np.random.Generator
) -> list[CropGeometry]:
    """Place the crop of each frame in the scene of shapes (T, N, 2)."""
    edges = np.clip(rng.normal(0, 1, 4), -2.5, 2.5) * config.box_edge
    shift = np.clip(rng.normal(0, 1, 2), -2.5, 2.5) * config.box_shift
    scale = float(np.exp(np.clip(rng.normal(), -2.5, 2.5) * config.box_scale))
    tilt = float(np.deg2rad(np.clip(rng.normal(), -2.5, 2.5) * config.rotation_deg))
    fresh = np.clip(rng.normal(0, 1, (len(shapes), 4)), -2.5, 2.5) * config.box_fresh
    crops = []
    for index in range(len(shapes)):
        basis = shapes[0] if config.crop == "fixed" else shapes[max(index - 1, 0)]
        turn = fit_similarity(basis, shapes[0])
        angle = float(np.arctan2(turn[1, 0], turn[0, 0]))  # undoes the roll since the first frame
        middle = basis.mean(axis=0)
        upright = similarity(1.0, angle, middle, middle)
        box = Box.around(transform_points(upright, basis))
        jitter = edges + (fresh[index] if config.crop == "tracked" else 0)
        corners = box.as_array() + np.clip(jitter * box.size, -0.3 * box.height, 0.3 * box.height)
        if corners[2] - corners[0] < 0.3 * box.width or corners[3] - corners[1] < 0.3 * box.height:
            corners = box.as_array()  # the jitter has inverted a thin box
        placed = Box(*(float(v) for v in corners)).adjusted(shift * box.size, (scale, scale))
        crop = CropGeometry.from_box(placed, spec, tilt).matrix
        matrix = np.hstack([crop[:, :2] @ upright[:, :2], (crop @ np.append(upright[:, 2], 1))[:, None]])
        crops.append(CropGeometry(matrix, spec))
    return crops

"""Augmentation: training crops with exact landmarks and known visibility.

The order is geometry, light, occlusion, camera. An occluder thus hits the landmark it was drawn for, and visibility
follows from the pixels it covers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import (
    Box,
    CropGeometry,
    CropSpec,
    FloatArray,
    ImageArray,
    flip_points,
    similarity,
    transform_points,
)
from srn.face.scheme import LandmarkScheme
from srn.synthesis.bystanders import other_head
from srn.synthesis.camera import blur_along
from srn.synthesis.config import AugmentConfig, MotionConfig
from srn.synthesis.motion import Movement, random_movement
from srn.synthesis.occluders import (
    Covered,
    blob,
    drawn_mask,
    fingers,
    hair,
    half_shadow,
    hat,
    misfitted,
    noise_patch,
    pasted_patch,
    sunglasses,
    textured_rectangle,
    visible_landmarks,
)
from srn.synthesis.patterns import pattern_occluder, patterns_of
from srn.synthesis.surroundings import own_occluder

TURNED = MotionConfig(shift=0, zoom=0, roll_deg=0, turn_deg=14, perspective=0.08, expression=0.03, shake=0)
"""Strength of the out-of-plane rotation of `AugmentConfig.turned`."""


class TrainingFace(NamedTuple):
    """A training example.

    Attributes:
        image: (S, S, 3) uint8 RGB crop.
        landmarks: (N, 2) float32 crop pixels.
        visible: (N,) bool.
    """

    image: ImageArray
    landmarks: npt.NDArray[np.float32]
    visible: npt.NDArray[np.bool_]


def jittered_box(box: Box, config: AugmentConfig, rng: np.random.Generator) -> Box:
    """Disturb a box as a face finder would: each edge alone, then shift and scale of the whole."""
    edges = box.as_array() + np.clip(rng.normal(0, 1, 4), -2.5, 2.5) * config.box_edge * box.size
    shift = np.clip(rng.normal(0, 1, 2), -2.5, 2.5) * config.box_shift * box.size
    scale = float(np.exp(np.clip(rng.normal(), -2.5, 2.5) * config.box_scale))
    # Only a thin box is inverted by its edges; it keeps its size.
    if edges[2] - edges[0] < 0.3 * box.width or edges[3] - edges[1] < 0.3 * box.height:
        edges = box.as_array()
    return Box(*(float(v) for v in edges)).adjusted(shift, (scale, scale))


def _second_pass(
    landmarks: FloatArray, spec: CropSpec, upright_shape: FloatArray, rng: np.random.Generator
) -> CropGeometry:
    """Place a crop by the true shape with the rotation, scale and shift errors of a first pass."""
    turn, stretch, dx, dy = np.clip(rng.normal(0, 1, 4), -2.5, 2.5)
    center = landmarks.mean(axis=0)
    shift = np.array([dx, dy]) * 0.02 * Box.around(landmarks).size
    found = similarity(float(np.exp(0.03 * stretch)), float(np.deg2rad(2.5) * turn), center, center + shift)
    return CropGeometry.from_shape(transform_points(found, landmarks), spec, upright_shape)


def _change_colors(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Change brightness, contrast, saturation, hue and gamma mildly; one matrix holds the linear part."""
    contrast, saturation = np.exp(rng.normal(0, 0.2)), np.exp(rng.normal(0, 0.3))
    luma = np.array([0.299, 0.587, 0.114])
    matrix = (saturation * np.eye(3) + (1 - saturation) * luma) * contrast * np.exp(rng.normal(0, 0.06, (3, 1)))
    offset = 127.5 * (1 - contrast) + rng.normal(0, 20)
    changed = cv2.transform(image, np.hstack([matrix, np.full((3, 1), offset)]))
    if rng.random() < 0.5:
        gamma = np.exp(rng.normal(0, 0.3))
        table = (np.linspace(0, 1, 256) ** gamma * 255).round().astype(np.uint8)
        changed = cv2.LUT(changed, table)
    return changed.astype(np.uint8, copy=False)


def _blur(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Blur with a Gaussian (defocus) or along a random direction (motion)."""
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 2.0))).astype(np.uint8, copy=False)
    length, angle = int(rng.integers(3, 10)) | 1, rng.uniform(0, np.pi)
    return blur_along(image, length * np.array([np.cos(angle), np.sin(angle)]))


def _lower_resolution(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Reduce, sometimes compress as JPEG, and enlarge a square crop."""
    size = image.shape[0]
    # A size in whole pixels, not a factor: OpenCV would cut off the rest of a pixel, and move all points.
    reduced = round(size * rng.uniform(0.25, 0.7))
    small = cv2.resize(image, (reduced, reduced), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.5:
        _, code = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])
        decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
        small = small if decoded is None else decoded
    return cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)


def occlude(
    image: ImageArray,
    landmarks: FloatArray,
    other: Callable[[], ImageArray] | None,
    face_size: float,
    scheme: LandmarkScheme,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> Covered:
    """Paint random occluders on a crop (S, S, 3), in place, and return the covered pixels (S, S).

    Landmarks (N, 2) and `face_size` are in crop pixels; the rest is as for `augment`.
    """

    covered = np.zeros(image.shape[:2], bool)
    patterns = patterns_of(config, scheme)
    if patterns is not None and rng.random() < config.patterns:
        hidden = patterns.draw(landmarks, rng)
        covered |= pattern_occluder(image, landmarks, hidden, scheme, rng, other, config.own)
    elif config.behind and other is not None and rng.random() < config.behind:
        covered |= other_head(image, other(), landmarks, rng)
    elif rng.random() < config.masks:
        covered |= drawn_mask(image, _worn_on(landmarks, config, rng), scheme, rng)
        if rng.random() < 0.15:
            covered |= sunglasses(image, _worn_on(landmarks, config, rng), scheme, rng)
    elif rng.random() < config.occluders:
        for _ in range(1 + int(rng.random() < 0.5)):
            covered |= _random_occluder(image, landmarks, other, face_size, scheme, config, rng)
    if rng.random() < config.noise_patch:
        covered |= noise_patch(image, _any_of(landmarks, rng), face_size * config.noise_patch_size, rng)
    return covered


def _random_occluder(
    image: ImageArray,
    landmarks: FloatArray,
    other: Callable[[], ImageArray] | None,
    face_size: float,
    scheme: LandmarkScheme,
    config: AugmentConfig,
    rng: np.random.Generator,
) -> Covered:
    """Paint one occluder of a random kind; arguments and result as for `occlude`."""
    if config.own and rng.random() < config.own:
        return own_occluder(image, _worn_on(landmarks, config, rng), scheme, rng)
    size = face_size * rng.uniform(0.15, 0.6)
    kind = int(rng.integers(10))
    if kind <= 1 and other is not None:
        donor = cv2.resize(other(), image.shape[1::-1], interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        return pasted_patch(image, donor, _any_of(landmarks, rng), size * 1.3, rng)
    if kind <= 3:
        return blob(image, _any_of(landmarks, rng), size * 1.3, rng)
    if kind == 4:
        return textured_rectangle(image, _any_of(landmarks, rng), size, rng)
    if kind == 5:
        return fingers(image, _any_of(landmarks, rng), size, rng)
    if kind == 9:
        return half_shadow(image, landmarks, scheme, rng)
    paint = {6: sunglasses, 7: hair, 8: hat}[kind]
    return paint(image, _worn_on(landmarks, config, rng), scheme, rng)


def _any_of(landmarks: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Choose one of the landmarks (N, 2)."""
    return landmarks[int(rng.integers(len(landmarks)))]


def _worn_on(landmarks: FloatArray, config: AugmentConfig, rng: np.random.Generator) -> FloatArray:
    """Disturb the landmarks that something is fitted to."""
    return misfitted(landmarks, config.misfit * abs(rng.normal()), rng) if config.misfit else landmarks


def _random_geometry(
    landmarks: FloatArray,
    spec: CropSpec,
    config: AugmentConfig,
    rng: np.random.Generator,
    upright_shape: FloatArray | None,
) -> CropGeometry:
    """Place the crop of a face with landmarks (N, 2), as the first or the second pass would."""
    if upright_shape is not None and config.second_pass and rng.random() < config.second_pass:
        return _second_pass(landmarks, spec, upright_shape, rng)
    box = jittered_box(Box.around(landmarks), config, rng)
    if rng.random() < config.wide_rotation:
        angle = np.deg2rad(rng.uniform(-config.wide_rotation_deg, config.wide_rotation_deg))
    else:
        angle = np.deg2rad(np.clip(rng.normal(), -2.5, 2.5) * config.rotation_deg)
    return CropGeometry.from_box(box, spec, float(angle))


def _crop(image: ImageArray, geometry: CropGeometry, movement: Movement | None) -> ImageArray:
    """Crop a picture, with its face turned by `movement` where there is one."""
    if movement is None:
        return geometry.crop(image)
    places = movement.source_map(0, geometry.matrix, (geometry.spec.size, geometry.spec.size))
    crop = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(crop, dtype=np.uint8)


def _degrade(crop: ImageArray, config: AugmentConfig, rng: np.random.Generator) -> ImageArray:
    """Apply the camera's defects: blur, low resolution, grey and noise."""
    if rng.random() < config.blur:
        crop = _blur(crop, rng)
    if rng.random() < config.low_resolution:
        crop = _lower_resolution(crop, rng)
    if rng.random() < config.grey:
        crop = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    if rng.random() < config.sensor_noise:
        noise = rng.standard_normal(crop.shape, dtype=np.float32) * np.float32(rng.uniform(2, 15))
        crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
    return crop


def augment(
    image: ImageArray,
    landmarks: FloatArray,
    spec: CropSpec,
    scheme: LandmarkScheme,
    config: AugmentConfig,
    rng: np.random.Generator,
    other: Callable[[], ImageArray] | None = None,
    upright_shape: FloatArray | None = None,
    occluded: npt.NDArray[np.bool_] | None = None,
) -> TrainingFace:
    """Make one training crop.

    Args:
        image: (H, W, 3) uint8 RGB, a picture or a packed face.
        landmarks: (N, 2) pixels of `image`.
        spec: crop that the network sees.
        scheme: numbering of the landmarks.
        config: strength of the augmentation.
        rng: the only source of randomness: the same generator gives the same crop.
        other: gives another face's picture for occluders; called only when needed.
        upright_shape: (N, 2) mean shape in any unit, which turns the crops of a second pass upright. None: every crop
            is one of a first pass.
        occluded: (N,) points that are known to be hidden in the picture. None: all are visible.

    Returns:
        The crop, its landmarks in crop pixels, and their visibility.
    """
    movement = None
    if config.turned and rng.random() < config.turned:
        movement = random_movement(landmarks, scheme, TURNED, 1, rng, period=1)
        landmarks = movement.points(landmarks)[0]
    geometry = _random_geometry(landmarks, spec, config, rng, upright_shape)
    crop = _crop(image, geometry, movement)
    points: FloatArray = geometry.to_crop(landmarks)
    if rng.random() < config.flip:
        crop = np.ascontiguousarray(crop[:, ::-1])
        points = flip_points(points, spec.size, scheme.mirror)
        occluded = None if occluded is None else occluded[scheme.mirror]
    if rng.random() < config.color:
        crop = _change_colors(crop, rng)
    if not crop.flags.writeable:
        crop = crop.copy()
    covered = occlude(crop, points, other, spec.face_size, scheme, config, rng)
    crop = _degrade(crop, config, rng)
    visible = visible_landmarks(covered, points)
    if occluded is not None:
        visible &= ~occluded
    return TrainingFace(crop, points.astype(np.float32), visible)

"""Augmentation: a packed face -> a training crop with exact landmarks and known visibility.

The order matters: geometry first, then light, then occlusion on the landmarks *as they now lie*, then what the camera
does. So an occluder hits the landmark it was meant for, and the visibility flags follow from the pixels it covered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
from srn.synthesis.motion import MotionStrength, random_movement
from srn.synthesis.occluders import (
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


@dataclass(frozen=True)
class AugmentConfig:
    """How strongly faces are varied. Probabilities are per face; lengths are in units of the face box's side.

    Attributes:
        flip: probability of a left-right flip.
        rotation_deg: standard deviation of the in-plane turn.
        wide_rotation: probability of a uniform turn within +-`wide_rotation_deg` instead.
        box_edge: standard deviation of each edge of the box that places the crop (finders are off by 0.04-0.08).
        box_shift, box_scale: further common shift and log scale of the box.
        second_look: probability of a crop as the second look at a face sees it (`CropGeometry.from_shape`): upright
            and tight but for the first look's error, instead of the turn and the box above.
        turned: probability of a head turned further out of the picture's plane, its parts moved against each other
            (`srn.synthesis.motion`): poses and expressions that the training pictures lack.
        color: probability of brightness, contrast, saturation, hue and gamma changes.
        grey, blur, low_resolution, sensor_noise: probabilities.
        noise_patch: probability of the paper's noise patch on one landmark.
        noise_patch_size: its side (the paper: 48 pixels where the face box is about 140).
        occluders: probability of one more occluder of another kind; half of them get a second.
        masks: probability of a drawn face mask instead of these.
        misfit: how far off what is fitted to the whole face (masks, sunglasses, hair, hats) lies, see `misfitted`: for
            each, this times the size of a standard normal number. On the true points, a mask's outline would tell where
            the jaw is.
    """

    flip: float = 0.5
    rotation_deg: float = 12.0
    wide_rotation: float = 0.15
    wide_rotation_deg: float = 45.0
    box_edge: float = 0.04
    box_shift: float = 0.03
    box_scale: float = 0.07
    second_look: float = 0.0
    turned: float = 0.0
    color: float = 0.8
    grey: float = 0.12
    blur: float = 0.1
    low_resolution: float = 0.1
    sensor_noise: float = 0.15
    noise_patch: float = 0.15
    noise_patch_size: float = 0.34
    occluders: float = 0.4
    masks: float = 0.25
    misfit: float = 0.04


PAPER_AUGMENTATION = AugmentConfig(
    rotation_deg=10.0,
    wide_rotation=0.0,
    box_edge=0.04,
    box_shift=0.0,
    box_scale=0.0,
    color=1.0,
    grey=0.0,
    blur=0.0,
    low_resolution=0.0,
    sensor_noise=1.0,
    noise_patch=1.0,
    occluders=0.0,
    masks=0.0,
    misfit=0.0,
)
"""The authors' augmentation: flips, mild turns, colour, noise, and one noise patch in every picture."""

NO_AUGMENTATION = AugmentConfig(
    flip=0, rotation_deg=0, wide_rotation=0, box_edge=0, box_shift=0, box_scale=0, color=0, grey=0, blur=0,
    low_resolution=0, sensor_noise=0, noise_patch=0, occluders=0, masks=0, misfit=0,
)  # fmt: skip
"""The ground-truth crop as it is: what evaluation with ground-truth boxes sees."""


TURNED = MotionStrength(period=1, shift=0, zoom=0, roll_deg=0, turn_deg=14, perspective=0.08, expression=0.03, shake=0)
"""How far `AugmentConfig.turned` moves a face."""


class TrainingFace(NamedTuple):
    """A training example: `image` (S, S, 3) uint8 RGB, `landmarks` (N, 2) float32 crop pixels, `visible` (N,) bool."""

    image: ImageArray
    landmarks: npt.NDArray[np.float32]
    visible: npt.NDArray[np.bool_]


def jittered_box(box: Box, config: AugmentConfig, rng: np.random.Generator) -> Box:
    """A box as a face finder might have given it: edges moved on their own, then shifted and scaled as a whole."""
    edges = box.as_array() + np.clip(rng.normal(0, 1, 4), -2.5, 2.5) * config.box_edge * box.size
    shift = np.clip(rng.normal(0, 1, 2), -2.5, 2.5) * config.box_shift * box.size
    scale = float(np.exp(np.clip(rng.normal(), -2.5, 2.5) * config.box_scale))
    # A box that the edges turned inside out keeps its old size: it happens to degenerate (thin) boxes only.
    if edges[2] - edges[0] < 0.3 * box.width or edges[3] - edges[1] < 0.3 * box.height:
        edges = box.as_array()
    return Box(*(float(v) for v in edges)).moved(shift, (scale, scale))


def _second_look(
    landmarks: FloatArray, spec: CropSpec, upright_shape: FloatArray, rng: np.random.Generator
) -> CropGeometry:
    """The crop that a shape found in a first look gives: the true shape turned, scaled and shifted a little."""
    turn, stretch, dx, dy = np.clip(rng.normal(0, 1, 4), -2.5, 2.5)
    center = landmarks.mean(axis=0)
    shift = np.array([dx, dy]) * 0.02 * Box.around(landmarks).size
    found = similarity(float(np.exp(0.03 * stretch)), float(np.deg2rad(2.5) * turn), center, center + shift)
    return CropGeometry.from_shape(transform_points(found, landmarks), spec, upright_shape)


def _change_colors(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """Brightness, contrast, saturation, a colour cast and gamma, each mild; linear parts folded into one matrix."""
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
    """Out of focus or moved: a Gaussian, or a line in a random direction."""
    if rng.random() < 0.5:
        return cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.5, 2.0))).astype(np.uint8, copy=False)
    length = int(rng.integers(3, 10)) | 1
    kernel = np.zeros((length, length), np.float32)
    middle, angle = length // 2, rng.uniform(0, np.pi)
    reach = np.array([np.cos(angle), np.sin(angle)]) * middle
    start, stop = (np.round(middle + sign * reach).astype(int).tolist() for sign in (-1, 1))
    cv2.line(kernel, start, stop, 1.0)
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)


def _lower_resolution(image: ImageArray, rng: np.random.Generator) -> ImageArray:
    """As if the face had been small in its picture and compressed."""
    size = image.shape[0]
    small = cv2.resize(image, (0, 0), fx=(f := float(rng.uniform(0.25, 0.7))), fy=f, interpolation=cv2.INTER_AREA)
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
) -> npt.NDArray[np.bool_]:
    """Paint occluders on the crop in place; returns the covered pixels."""

    def anywhere() -> FloatArray:
        return landmarks[int(rng.integers(scheme.n_points))]

    def worn() -> FloatArray:
        return misfitted(landmarks, config.misfit * abs(rng.normal()), rng) if config.misfit else landmarks

    covered = np.zeros(image.shape[:2], bool)
    if rng.random() < config.masks:
        covered |= drawn_mask(image, worn(), scheme, rng)
        if rng.random() < 0.15:
            covered |= sunglasses(image, worn(), scheme, rng)
    elif rng.random() < config.occluders:
        for _ in range(1 + int(rng.random() < 0.5)):
            size = face_size * rng.uniform(0.15, 0.6)
            kind = int(rng.integers(10))
            if kind <= 1 and other is not None:
                donor = cv2.resize(other(), image.shape[1::-1], interpolation=cv2.INTER_AREA).astype(
                    np.uint8, copy=False
                )
                covered |= pasted_patch(image, donor, anywhere(), size * 1.3, rng)
            elif kind <= 3:
                covered |= blob(image, anywhere(), size * 1.3, rng)
            elif kind == 4:
                covered |= textured_rectangle(image, anywhere(), size, rng)
            elif kind == 5:
                covered |= fingers(image, anywhere(), size, rng)
            elif kind == 6:
                covered |= sunglasses(image, worn(), scheme, rng)
            elif kind == 7:
                covered |= hair(image, worn(), scheme, rng)
            elif kind == 8:
                covered |= hat(image, worn(), scheme, rng)
            else:
                covered |= half_shadow(image, landmarks, scheme, rng)
    if rng.random() < config.noise_patch:
        covered |= noise_patch(image, anywhere(), face_size * config.noise_patch_size, rng)
    return covered


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
        spec: frame of the crop the network sees.
        scheme: numbering of the landmarks.
        config: what to vary and how strongly.
        rng: the only source of chance: the same generator gives the same crop.
        other: gives another face's picture, pieces of which may be laid over this one; called only when needed.
        upright_shape: (N, 2) the mean shape, in any unit: what `config.second_look` turns faces upright by. None: every
            crop is a first look.
        occluded: (N,) points of the picture that are known to be hidden. None: all can be seen.

    Returns:
        The crop, its landmarks in crop pixels, and which of them can be seen.
    """
    movement = None
    if config.turned and rng.random() < config.turned:
        movement = random_movement(landmarks, scheme, TURNED, 1, rng)
        landmarks = movement.points(landmarks)[0]
    if upright_shape is not None and config.second_look and rng.random() < config.second_look:
        frame = _second_look(landmarks, spec, upright_shape, rng)
    else:
        box = jittered_box(Box.around(landmarks), config, rng)
        if rng.random() < config.wide_rotation:
            angle = np.deg2rad(rng.uniform(-config.wide_rotation_deg, config.wide_rotation_deg))
        else:
            angle = np.deg2rad(np.clip(rng.normal(), -2.5, 2.5) * config.rotation_deg)
        frame = CropGeometry.from_box(box, spec, float(angle))
    if movement is None:
        crop = frame.crop(image)
    else:
        places = movement.source_map(0, frame.matrix, (spec.size, spec.size))
        crop = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    points: FloatArray = frame.to_crop(landmarks)
    if rng.random() < config.flip:
        crop = np.ascontiguousarray(crop[:, ::-1])
        points = flip_points(points, spec.size, scheme.mirror)
        occluded = None if occluded is None else occluded[scheme.mirror]
    if rng.random() < config.color:
        crop = _change_colors(crop, rng)
    if not crop.flags.writeable:
        crop = crop.copy()
    covered = occlude(crop, points, other, spec.face_size, scheme, config, rng)
    if rng.random() < config.blur:
        crop = _blur(crop, rng)
    if rng.random() < config.low_resolution:
        crop = _lower_resolution(crop, rng)
    if rng.random() < config.grey:
        crop = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    if rng.random() < config.sensor_noise:
        noise = rng.standard_normal(crop.shape, dtype=np.float32) * np.float32(rng.uniform(2, 15))
        crop = np.clip(crop + noise, 0, 255).astype(np.uint8)
    visible = visible_landmarks(covered, points)
    if occluded is not None:
        visible &= ~occluded
    return TrainingFace(crop, points.astype(np.float32), visible)

"""Stills brought to life: an annotated picture -> a short video with exact landmarks and visibility in every frame.

The video counterpart of `srn.synthesis.augment`. The order matters here too: what a face wears (a mask, sunglasses) is
painted on the still and moves with it; the head and the camera move; other things pass in front; then come light and
what the camera does. Nothing is learned from and nothing is guessed: the landmarks of every frame follow from the same
formulas as its pixels (`srn.synthesis.motion`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.face.geometry import (
    Box,
    CropGeometry,
    CropSpec,
    FloatArray,
    ImageArray,
    fit_similarity,
    flip_points,
    similarity,
)
from srn.face.scheme import LandmarkScheme
from srn.synthesis.motion import Float64Array, MotionStrength, Movement, random_movement
from srn.synthesis.moving_occluders import MovingOccluder, random_passage, random_sprite, wandering_patch
from srn.synthesis.occluders import drawn_mask, sunglasses, visible_landmarks

OCCLUDER_SPELL = 30
"""Frames: in each stretch of this length an occluder may come by (`MotionConfig.occluders`)."""

WORKING_MARGIN = 2.0
"""A face larger in its picture than it needs to be is first reduced to a crop of this many times the frame's size."""


@dataclass(frozen=True)
class MotionConfig:
    """How strongly a still is moved and changed. Lengths are in units of the face box's side.

    Attributes:
        flip: probability that the whole clip is mirrored.
        rotation_deg: standard deviation of a turn of the whole clip in the plane.
        period: (shortest, longest) frames of one swing of head and camera to and fro; drawn for each clip.
        still: probability that the face holds one pose through the clip (light, noise and occluders still change).
        shift, zoom, roll_deg: standard deviations of the head's place, logarithm of its size, and tilt.
        turn_deg: of yaw and pitch against the still's pose.
        perspective: of the change of scale over one face's length.
        expression: of the movement of parts of the face against each other.
        shake: of a hand-held camera's jump from frame to frame; half of the clips have it.
        motion_blur: probability that what moves is smeared along its way.
        light: probability of colours changed for the clip and of light that swells, fades or is switched.
        grey: probability of a grey clip.
        compression: probability of a low resolution and of block artefacts that change from frame to frame.
        sensor_noise: probability of new noise in every frame.
        occluders: probability of something that enters, stays and leaves, in each 30 frames.
        masks, sunglasses: probability of one worn through the whole clip.
        noise_patch: probability that the paper's noise patch wanders over the face: from landmark to landmark by
            random steps of -1, 0 and +1, as the actions of HOFS go (section 3.2; RSF in table 9).
        noise_patch_size: its side (the paper: 48 pixels where the face box is about 140).
        crop: how the frame of the crops goes. `tracked`: the crop of frame t is placed by the true shape of frame
            t - 1 (the first by its own), upright as it was in frame 0, as a tracker's crop would be. `fixed`: all
            crops are placed by the first frame's shape, and the face moves within.
        box_edge, box_shift, box_scale: errors of the crop's placement that last through the clip: standard deviations
            of each edge, of a shift and of the logarithm of the size.
        box_fresh: standard deviation of each edge's error anew in every frame (`tracked` only).
    """

    flip: float = 0.5
    rotation_deg: float = 10.0
    period: tuple[float, float] = (12.0, 70.0)
    still: float = 0.15
    shift: float = 0.15
    zoom: float = 0.07
    roll_deg: float = 7.0
    turn_deg: float = 9.0
    perspective: float = 0.05
    expression: float = 0.015
    shake: float = 0.008
    motion_blur: float = 0.5
    light: float = 0.7
    grey: float = 0.12
    compression: float = 0.35
    sensor_noise: float = 0.25
    occluders: float = 0.45
    masks: float = 0.2
    sunglasses: float = 0.07
    noise_patch: float = 0.0
    noise_patch_size: float = 0.34
    crop: Literal["tracked", "fixed"] = "tracked"
    box_edge: float = 0.03
    box_shift: float = 0.02
    box_scale: float = 0.05
    box_fresh: float = 0.012

    def __post_init__(self) -> None:
        if self.crop not in ("tracked", "fixed"):
            raise InputError.at("MotionConfig.crop", "tracked or fixed", repr(self.crop))
        if not 1 <= self.period[0] <= self.period[1]:
            raise InputError.at("MotionConfig.period", "(shortest, longest), at least a frame", str(self.period))


NO_MOTION = MotionConfig(
    flip=0, rotation_deg=0, still=1, shift=0, zoom=0, roll_deg=0, turn_deg=0, perspective=0, expression=0, shake=0,
    motion_blur=0, light=0, grey=0, compression=0, sensor_noise=0, occluders=0, masks=0, sunglasses=0,
    box_edge=0, box_shift=0, box_scale=0, box_fresh=0,
)  # fmt: skip
"""The still itself in every frame, in the ground-truth crop. A base to switch single things on."""

UNOCCLUDED_MOTION = MotionConfig(occluders=0, masks=0, sunglasses=0)
"""Everything but occlusion: the clean clips of table 9, and what HOFS puts its own occlusions on."""

RANDOM_PATCH_MOTION = MotionConfig(occluders=0, masks=0, sunglasses=0, noise_patch=1)
"""The paper's random occlusion of video (RSF, table 9): one noise patch in every frame."""


class MovingFace(NamedTuple):
    """A training clip: `images` (T, S, S, 3) uint8 RGB, `landmarks` (T, N, 2) float32 crop pixels of each frame's own
    crop, `visible` (T, N) bool: inside the crop, inside the still, and with nothing in front."""

    images: ImageArray
    landmarks: npt.NDArray[np.float32]
    visible: npt.NDArray[np.bool_]


class FramedFace(NamedTuple):
    """A `MovingFace` whose crops can be told apart.

    Attributes:
        face: images, landmarks and visibility.
        frames: (T, 2, 3) float64: the map from the scene, which all frames share, to each frame's crop. A shape of
            frame t - 1 is seen in the crop of frame t after `frames[t]` of the inverse of `frames[t - 1]`.
    """

    face: MovingFace
    frames: Float64Array


@dataclass(frozen=True, eq=False)
class _Camera:
    """What light and camera do, frame by frame.

    Attributes:
        gains: (T, 3) factor of each colour; offsets: (T,) added after it; gamma: of the clip.
        grey: whether there is no colour.
        exposure: share of a frame's time in which the shutter is open; 0 for no motion blur.
        resolution, quality: scale and JPEG quality of the compression; None without.
        noise: standard deviation of the sensor's noise.
        seed: of the noise.
    """

    gains: Float64Array
    offsets: Float64Array
    gamma: float
    grey: bool
    exposure: float
    resolution: float
    quality: int | None
    noise: float
    seed: int

    def take(self, image: ImageArray, index: int, motion: FloatArray) -> ImageArray:
        """Frame `index` as this camera shows it; `motion` (2,): how far the face moves in a frame's time, pixels."""
        image = _smeared(image, np.asarray(motion) * self.exposure)
        levels = np.linspace(0, 1, 256)[:, None] ** self.gamma * self.gains[index] + self.offsets[index]  # (256, 3)
        table = np.round(levels * 255).clip(0, 255).astype(np.uint8)
        if (table != np.arange(256)[:, None]).any():
            image = cv2.LUT(image, table[None]).astype(np.uint8, copy=False)
        if self.grey:
            grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            image = cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
        if self.noise:
            rng = np.random.default_rng([self.seed, index])
            noise = rng.standard_normal(image.shape, dtype=np.float32) * np.float32(self.noise)
            image = np.clip(image + noise, 0, 255).astype(np.uint8)
        if self.quality is not None:
            image = _compressed(image, self.resolution, self.quality)
        return image


def _smeared(image: ImageArray, way: FloatArray) -> ImageArray:
    """The picture averaged along a way (2,) in pixels, centred, so that its points stay where they are."""
    length = min(float(np.hypot(*way)), 25.0)
    if length < 1.5:
        return image
    reach = int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    half = np.asarray(way) / np.hypot(*way) * length / 2
    ends = [np.round((reach + sign * half) * 256).astype(int).tolist() for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 8)
    kernel = kernel + kernel[::-1, ::-1]  # symmetric whatever the line's rounding: no point is moved
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)


def _compressed(image: ImageArray, resolution: float, quality: int) -> ImageArray:
    """The picture reduced, through JPEG, and back at its size."""
    height, width = image.shape[:2]
    size = max(round(width * resolution), 8), max(round(height * resolution), 8)
    small = image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, code = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
    if decoded.shape[:2] != (height, width):
        decoded = cv2.resize(decoded, (width, height), interpolation=cv2.INTER_LINEAR)
    return decoded.astype(np.uint8, copy=False)


def _random_camera(config: MotionConfig, period: float, frames: int, rng: np.random.Generator) -> _Camera:
    gains, offsets, gamma = np.ones((frames, 3)), np.zeros(frames), 1.0
    if rng.random() < config.light:
        gains = gains * np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.06, 3))
        gamma = float(np.exp(rng.normal(0, 0.25)))
        time = np.arange(frames)
        gains = gains * np.exp(rng.normal(0, 0.15) * np.sin(time / period * 2 * np.pi + rng.uniform(0, 7)))[:, None]
        offsets = offsets + rng.normal(0, 0.06)
        if rng.random() < 0.2:  # a lamp switched on or off, a cloud, the camera's own exposure
            since = time >= rng.uniform(0, frames)
            gains = gains * np.where(since, np.exp(rng.normal(0, 0.35)), 1.0)[:, None]
    grey = bool(rng.random() < config.grey)
    exposure = float(rng.uniform(0.3, 1.0)) if rng.random() < config.motion_blur else 0.0
    resolution, quality = 1.0, None
    if rng.random() < config.compression:
        resolution, quality = float(rng.uniform(0.4, 1.0)), int(rng.integers(20, 85))
    noise = float(rng.uniform(1.5, 10)) if rng.random() < config.sensor_noise else 0.0
    return _Camera(gains, offsets, gamma, grey, exposure, resolution, quality, noise, int(rng.integers(2**62)))


@dataclass(frozen=True, eq=False)
class LivingFace:
    """A face brought to life, from which frames are rendered one at a time.

    Attributes:
        sources: (H, W, 3) uint8 RGB each, with what the face wears: the still, or one picture a frame.
        uncovered: (T, N) bool: points inside their source that nothing worn covers.
        movement: where everything goes.
        shapes: (T, N, 2) scene pixels.
        occluders: what passes in front.
        camera: light and camera.
    """

    sources: tuple[ImageArray, ...]
    uncovered: npt.NDArray[np.bool_]
    movement: Movement
    shapes: Float64Array
    occluders: tuple[MovingOccluder, ...]
    camera: _Camera

    def render(self, index: int, view: FloatArray, size: tuple[int, int]) -> ImageArray:
        """Frame `index` (height, width, 3) through a view: (2, 3) similarity, scene -> picture pixels."""
        places = self.movement.source_map(index, view, size)
        source = self.sources[index % len(self.sources)]
        image = cv2.remap(source, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
        image = image.astype(np.uint8, copy=False)
        for occluder in self.occluders:
            image = occluder.paint(image, index, view)
        before, after = max(index - 1, 0), min(index + 1, len(self.shapes) - 1)
        way = (self.shapes[after] - self.shapes[before]).mean(axis=0) / max(after - before, 1)
        return self.camera.take(image, index, view[:, :2] @ way)

    def visible(self, index: int, view: FloatArray, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """(N,): which points of frame `index` can be seen in a view."""
        points = self.shapes[index] @ view[:, :2].T + view[:, 2]
        inside = visible_landmarks(np.zeros((size[1], size[0]), bool), points)
        seen = self.uncovered[index] & inside
        for occluder in self.occluders:
            seen &= ~occluder.hides(index, self.shapes[index])
        return seen


def _brought_to_life(
    images: Sequence[ImageArray],
    landmarks: FloatArray,
    scheme: LandmarkScheme,
    config: MotionConfig,
    rng: np.random.Generator,
    other: Callable[[], ImageArray] | None,
    occluded: npt.NDArray[np.bool_] | None = None,
) -> LivingFace:
    """Draw everything that is random about a clip except where its crops lie.

    Args:
        images: one still, or a picture of each of T frames.
        landmarks: (T, N, 2) pixels of each frame's picture.
        occluded: (N,) points that are hidden in the pictures themselves.
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
        occluded = None if occluded is None else occluded[scheme.mirror]
    masked, shaded = bool(rng.random() < config.masks), bool(rng.random() < config.sunglasses)
    seed = int(rng.integers(2**62))
    sources, uncovered = [], []
    for image, shape in zip(images, points, strict=False):  # of a still: the first frame's points are all frames'
        source = np.array(image)  # painted on, and contiguous
        chance = np.random.default_rng(seed)  # in every picture the same things are worn
        covered = np.zeros(source.shape[:2], bool)
        if masked:
            covered |= drawn_mask(source, shape, scheme, chance)
        if shaded:
            covered |= sunglasses(source, shape, scheme, chance)
        sources.append(source)
        seen = visible_landmarks(covered, shape)
        uncovered.append(seen if occluded is None else seen & ~occluded)
    side = Box.around(points[0]).size
    period = float(np.exp(rng.uniform(*np.log(config.period))))
    still = bool(rng.random() < config.still)
    shake = config.shake if rng.random() < 0.5 else 0.0
    strength = MotionStrength(
        period, config.shift, config.zoom, config.roll_deg, config.turn_deg, config.perspective, config.expression,
        shake,
    )  # fmt: skip
    movement = random_movement(points[0], scheme, strength, frames, rng, still=still)
    shapes = movement.points(points)
    passages: list[MovingOccluder] = []
    for first in range(0, frames, OCCLUDER_SPELL):
        if rng.random() < config.occluders:
            sprite = random_sprite(side, other, scheme, rng)
            passages.append(random_passage(sprite, shapes, first, min(first + OCCLUDER_SPELL, frames), rng))
    if rng.random() < config.noise_patch:
        passages.append(wandering_patch(side * config.noise_patch_size, shapes, rng))
    camera = _random_camera(config, period, frames, rng)
    flags = np.broadcast_to(np.stack(uncovered), (frames, scheme.n_points))
    return LivingFace(tuple(sources), flags, movement, shapes, tuple(passages), camera)


def _crop_frames(
    shapes: Float64Array, spec: CropSpec, config: MotionConfig, rng: np.random.Generator
) -> list[CropGeometry]:
    """Where the crop of each frame lies in the scene."""
    edges = np.clip(rng.normal(0, 1, 4), -2.5, 2.5) * config.box_edge
    shift = np.clip(rng.normal(0, 1, 2), -2.5, 2.5) * config.box_shift
    scale = float(np.exp(np.clip(rng.normal(), -2.5, 2.5) * config.box_scale))
    tilt = float(np.deg2rad(np.clip(rng.normal(), -2.5, 2.5) * config.rotation_deg))
    fresh = np.clip(rng.normal(0, 1, (len(shapes), 4)), -2.5, 2.5) * config.box_fresh
    frames = []
    for index in range(len(shapes)):
        basis = shapes[0] if config.crop == "fixed" else shapes[max(index - 1, 0)]
        turn = fit_similarity(basis, shapes[0])
        angle = float(np.arctan2(turn[1, 0], turn[0, 0]))  # takes the roll since the first frame back out
        middle = basis.mean(axis=0)
        upright = similarity(1.0, angle, middle, middle)
        box = Box.around(basis @ upright[:, :2].T + upright[:, 2])
        jitter = edges + (fresh[index] if config.crop == "tracked" else 0)
        corners = box.as_array() + np.clip(jitter * box.size, -0.3 * box.height, 0.3 * box.height)
        if corners[2] - corners[0] < 0.3 * box.width or corners[3] - corners[1] < 0.3 * box.height:
            corners = box.as_array()  # a thin box that the jitter turned inside out
        placed = Box(*(float(v) for v in corners)).moved(shift * box.size, (scale, scale))
        crop = CropGeometry.from_box(placed, spec, tilt).matrix
        matrix = np.hstack([crop[:, :2] @ upright[:, :2], (crop @ np.append(upright[:, 2], 1))[:, None]])
        frames.append(CropGeometry(matrix, spec))
    return frames


def _reduced(image: ImageArray, landmarks: FloatArray, spec: CropSpec) -> tuple[ImageArray, FloatArray]:
    """A face much larger than its crop, reduced with its surroundings, so that sampling it does not alias."""
    box = Box.around(landmarks)
    if box.size <= 1.5 * spec.face_size:
        return image, landmarks
    working = CropSpec(round(spec.size * WORKING_MARGIN * 1.2), spec.face_size * 1.2)
    frame = CropGeometry.from_box(box, working)
    return frame.crop(image), frame.to_crop(landmarks)


def animate_framed(
    image: ImageArray,
    landmarks: FloatArray,
    spec: CropSpec,
    scheme: LandmarkScheme,
    config: MotionConfig,
    rng: np.random.Generator,
    frames: int,
    other: Callable[[], ImageArray] | None = None,
    occluded: npt.NDArray[np.bool_] | None = None,
) -> FramedFace:
    """`animate`, and where each frame's crop lies: what a tracker that starts from the previous shape is trained on.

    `occluded` (N,): points that are hidden in the still itself.
    """
    if np.shape(landmarks) != (scheme.n_points, 2):
        raise InputError.at("landmarks", f"({scheme.n_points}, 2)", str(np.shape(landmarks)))
    if frames < 1:
        raise InputError.at("frames", "at least 1", str(frames))
    image, landmarks = _reduced(image, landmarks, spec)
    repeated = np.broadcast_to(landmarks, (frames, scheme.n_points, 2))
    return _framed(_brought_to_life([image], repeated, scheme, config, rng, other, occluded), spec, config, rng)


def move_frames(
    images: Sequence[ImageArray],
    landmarks: FloatArray,
    spec: CropSpec,
    scheme: LandmarkScheme,
    config: MotionConfig,
    rng: np.random.Generator,
    other: Callable[[], ImageArray] | None = None,
) -> FramedFace:
    """`animate_framed` for real video: frames that move by themselves are moved, lit and hidden in addition.

    Args:
        images: T consecutive frames, or crops of them (T packed faces), (H, W, 3) uint8 RGB.
        landmarks: (T, N, 2) pixels of each frame's own picture.
        spec, scheme, config, rng, other: as for `animate`.

    Raises:
        InputError: no frame, or landmarks that do not fit the frames or the scheme.
    """
    if len(images) != len(landmarks) or not len(images):
        raise InputError.at("frames", "at least one, and landmarks of each", f"{len(images)} and {len(landmarks)}")
    reduced = [_reduced(image, points, spec) for image, points in zip(images, landmarks, strict=True)]
    pictures, points = [image for image, _ in reduced], np.stack([points for _, points in reduced])
    return _framed(_brought_to_life(pictures, points, scheme, config, rng, other), spec, config, rng)


def _framed(living: LivingFace, spec: CropSpec, config: MotionConfig, rng: np.random.Generator) -> FramedFace:
    """The face cut out of every frame."""
    size = (spec.size, spec.size)
    crops = _crop_frames(living.shapes, spec, config, rng)
    images = np.stack([living.render(t, crop.matrix, size) for t, crop in enumerate(crops)])
    points = np.stack([crop.to_crop(shape) for crop, shape in zip(crops, living.shapes, strict=True)])
    visible = np.stack([living.visible(t, crop.matrix, size) for t, crop in enumerate(crops)])
    return FramedFace(MovingFace(images, points.astype(np.float32), visible), np.stack([c.matrix for c in crops]))


def animate(
    image: ImageArray,
    landmarks: FloatArray,
    spec: CropSpec,
    scheme: LandmarkScheme,
    config: MotionConfig,
    rng: np.random.Generator,
    frames: int,
    other: Callable[[], ImageArray] | None = None,
) -> MovingFace:
    """Bring a still to life and cut the face out of every frame.

    Args:
        image: (H, W, 3) uint8 RGB, a picture or a packed face. Beyond its edge it is repeated.
        landmarks: (N, 2) pixels of `image`.
        spec: frame of the crops the network sees.
        scheme: numbering of the landmarks.
        config: what to vary and how strongly; `config.crop` says how the crops follow the face.
        rng: the only source of chance: the same generator gives the same clip.
        frames: how many frames T.
        other: gives another face's picture, pieces of which may pass in front of this one; called only when needed.

    Returns:
        T crops, their landmarks in crop pixels, and which of them can be seen.

    Raises:
        InputError: the landmarks are not of the scheme, or no frame is asked for.
    """
    return animate_framed(image, landmarks, spec, scheme, config, rng, frames, other).face


class AnimatedFrames:
    """The frames of a still brought to life, rendered when they are asked for (a `srn.datasets.clip.FrameSource`).

    They count from 1. Reading them in any order gives the same pictures.
    """

    def __init__(self, path: Path, living: LivingFace, size: tuple[int, int]) -> None:
        self.path, self._living, self._size = path, living, size

    def read(self, number: int) -> ImageArray:
        """Frame `number`, (H, W, 3) uint8 RGB."""
        if not 1 <= number <= len(self._living.shapes):
            raise DataError.at(self.path, f"a frame from 1 to {len(self._living.shapes)}", str(number))
        return self._living.render(number - 1, np.eye(2, 3), self._size)


def animate_picture(
    sample: Sample,
    config: MotionConfig,
    rng: np.random.Generator,
    frames: int,
    other: Callable[[], ImageArray] | None = None,
) -> Clip:
    """Bring a whole picture to life: a `Clip` of frames of its size, for evaluation.

    `config.crop` and the box's jitter have no meaning here: there is no crop. A flip turns the picture.

    Args:
        sample: the face; every other face of the picture moves along unannotated.
        config: what to vary and how strongly.
        rng: the only source of chance.
        frames: how many frames T.
        other: as for `animate`.

    Returns:
        A clip named after the picture, its points in frame pixels and with `occluded` filled in.

    Raises:
        DataError: the picture cannot be read.
    """
    image = sample.load()
    size = (image.shape[1], image.shape[0])
    if frames < 1:
        raise InputError.at("frames", "at least 1", str(frames))
    repeated = np.broadcast_to(sample.landmarks, (frames, *sample.landmarks.shape))
    living = _brought_to_life([image], repeated, sample.scheme, config, rng, other)
    view = np.eye(2, 3)
    occluded = np.stack([~living.visible(t, view, size) for t in range(frames)])
    return Clip(
        name=sample.path.stem,
        frames=AnimatedFrames(sample.path, living, size),
        numbers=np.arange(1, frames + 1, dtype=np.int64),
        landmarks=living.shapes,
        scheme=sample.scheme,
        subset=sample.subset,
        occluded=occluded,
    )

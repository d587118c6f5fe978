"""Light, motion blur, noise and compression of an animated clip."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from srn.face.geometry import Float64Array, FloatArray, ImageArray
from srn.synthesis.config import MotionConfig

LONGEST_BLUR = 25.0
"""Motion blur reaches over at most this many pixels."""


@dataclass(frozen=True, eq=False)
class Camera:
    """Light and camera of a clip of T frames.

    Attributes:
        gains: (T, 3) factor of each colour; offsets: (T,) added after it; gamma: of the whole clip.
        grey: whether the clip has no colour.
        exposure: share of the frame time in which the shutter is open; 0 for no motion blur.
        resolution, quality: scale and JPEG quality of the compression; quality None for no compression.
        noise: standard deviation of the sensor noise.
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

    def expose(self, image: ImageArray, index: int, motion: FloatArray) -> ImageArray:
        """Apply light and camera to frame `index` (H, W, 3); `motion` (2,) is the face's movement, pixels a frame."""
        image = blur_along(image, np.asarray(motion) * self.exposure)
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
            image = _compress(image, self.resolution, self.quality)
        return image


def random_camera(config: MotionConfig, period: float, frames: int, rng: np.random.Generator) -> Camera:
    """Draw light and camera of a clip; `period` is the length in frames of one swing of the light."""
    gains, offsets, gamma = np.ones((frames, 3)), np.zeros(frames), 1.0
    if rng.random() < config.light:
        gains = gains * np.exp(rng.normal(0, 0.15) + rng.normal(0, 0.06, 3))
        gamma = float(np.exp(rng.normal(0, 0.25)))
        time = np.arange(frames)
        gains = gains * np.exp(rng.normal(0, 0.15) * np.sin(time / period * 2 * np.pi + rng.uniform(0, 7)))[:, None]
        offsets = offsets + rng.normal(0, 0.06)
        if rng.random() < 0.2:  # a lamp switched on or off, a cloud, automatic exposure
            since = time >= rng.uniform(0, frames)
            gains = gains * np.where(since, np.exp(rng.normal(0, 0.35)), 1.0)[:, None]
    grey = bool(rng.random() < config.grey)
    exposure = float(rng.uniform(0.3, 1.0)) if rng.random() < config.motion_blur else 0.0
    resolution, quality = 1.0, None
    if rng.random() < config.compression:
        resolution, quality = float(rng.uniform(0.4, 1.0)), int(rng.integers(20, 85))
    noise = float(rng.uniform(1.5, 10)) if rng.random() < config.sensor_noise else 0.0
    return Camera(gains, offsets, gamma, grey, exposure, resolution, quality, noise, int(rng.integers(2**62)))


def blur_along(image: ImageArray, motion: FloatArray) -> ImageArray:
    """Average a picture along a displacement (2,) in pixels, centred, so that no point moves."""
    length = min(float(np.hypot(*motion)), LONGEST_BLUR)
    if length < 1.5:
        return image
    reach = int(np.ceil(length / 2))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    half = np.asarray(motion) / np.hypot(*motion) * length / 2
    ends = [np.round((reach + sign * half) * 256).astype(int).tolist() for sign in (-1, 1)]
    cv2.line(kernel, ends[0], ends[1], 1.0, 1, cv2.LINE_8, 8)
    kernel = kernel + kernel[::-1, ::-1]  # symmetric in spite of the line's rounding: no point moves
    return cv2.filter2D(image, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE).astype(np.uint8, copy=False)


def _compress(image: ImageArray, resolution: float, quality: int) -> ImageArray:
    """Reduce a picture, encode it as JPEG, decode it and bring it back to its size."""
    height, width = image.shape[:2]
    size = max(round(width * resolution), 8), max(round(height * resolution), 8)
    small = image if size == (width, height) else cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, code = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.cvtColor(cv2.imdecode(code, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)  # type: ignore[arg-type]
    if decoded.shape[:2] != (height, width):
        decoded = cv2.resize(decoded, (width, height), interpolation=cv2.INTER_LINEAR)
    return decoded.astype(np.uint8, copy=False)

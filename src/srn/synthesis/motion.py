"""Movement of a still face: smooth random paths of camera, head and facial parts, exact at every point.

There are three coordinate frames. *Source*: pixels of the still. *Plane*: the still after perspective, foreshortening
and the bulges of the turned head. *Scene*: pixels of the video, the plane after a similarity (position, scale and tilt
of the head, and camera shake). Pixels are sampled backwards, scene -> plane -> source, by closed formulas. Points go
forwards by iterative inversion of the same formulas, so both agree to a thousandth of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import Box, Float64Array, FloatArray, invert_affine, similarity, transform_points
from srn.face.scheme import LandmarkScheme
from srn.synthesis.config import MotionConfig
from srn.synthesis.occluders import face_axes

HEAD_DEPTH, HEAD_WIDTH = 0.4, 0.42
NOSE_DEPTH, NOSE_WIDTH = 0.12, 0.12
"""Relief of a face in units of its box size: a broad Gaussian for the head and a narrow one for the nose. When the head
turns, a point of depth z moves against the outline by z times the sine of the angle. This suffices for +-20 degrees
from any pose, without a head model."""

STEEPEST = 0.7
"""Bound of the slope of all bulges together. Below 1 the plane never folds: outlines stay outlines, each point has one
source, and the inversion converges."""

_INVERSION_STEPS = 60  # the error shrinks by `STEEPEST` at least in each: 0.7^60 = 5e-10


def smooth_curve(frames: int, columns: int, period: float, rng: np.random.Generator, *, still: bool) -> Float64Array:
    """Draw independent smooth paths (frames, columns) of zero mean and unit variance over all phases.

    Each path mixes three periods near `period`, in frames. `still` keeps it at its first value: a random constant.
    """
    time = np.zeros(frames) if still else np.arange(frames, dtype=np.float64)
    periods = period * np.exp(rng.uniform(-0.7, 0.7, (3, columns)))
    phases = rng.uniform(0, 2 * np.pi, (3, columns))
    waves = np.sin(2 * np.pi * time[:, None, None] / periods + phases)
    return waves.sum(axis=1) * np.sqrt(2 / 3)


@dataclass(frozen=True, eq=False)
class Movement:
    """Map of every point of a still through T frames.

    Attributes:
        similarities: (T, 2, 3) plane -> scene.
        homographies: (T, 3, 3) plane without bulges -> source.
        centers: (K, 2) plane, centres of the Gaussian bulges; widths: (K,) pixels.
        pushes: (T, K, 2) pixels, displacement at the centre of each bulge.
    """

    similarities: Float64Array
    homographies: Float64Array
    centers: Float64Array
    widths: Float64Array
    pushes: Float64Array

    def __len__(self) -> int:
        return len(self.similarities)

    def points(self, source: FloatArray) -> Float64Array:
        """Map points of the still (N, 2), or of each frame's own source (T, N, 2), to scene pixels (T, N, 2)."""
        sources = np.broadcast_to(source, (len(self), *source.shape[-2:]))
        pairs = zip(self.homographies, sources, strict=True)
        flat = np.stack([_apply_homography(np.linalg.inv(h), points) for h, points in pairs])  # (T, N, 2)
        plane = flat
        for _ in range(_INVERSION_STEPS):
            squares = ((plane[:, :, None] - self.centers) ** 2).sum(axis=-1)  # (T, N, K)
            before, plane = plane, flat + np.exp(-squares / (2 * self.widths**2)) @ self.pushes
            if np.abs(plane - before).max(initial=0.0) < 1e-9:
                break
        return np.stack([transform_points(m, p) for m, p in zip(self.similarities, plane, strict=True)])

    def source_map(self, index: int, view: FloatArray, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """Give the source position (height, width, 2) of each pixel of a rendering, for `cv2.remap`.

        Args:
            index: number of the frame.
            view: (2, 3) similarity, scene -> pixels of the rendering.
            size: width and height of the rendering.
        """
        to_view = np.vstack([view, [0, 0, 1]]) @ np.vstack([self.similarities[index], [0, 0, 1]])
        scale = float(np.hypot(to_view[0, 0], to_view[1, 0]))
        centers = transform_points(to_view[:2], self.centers)
        pushes = self.pushes[index] @ to_view[:2, :2].T
        # A round Gaussian stays round under a similarity and is separable: the sum of all bulges is a matrix product.
        x, y = np.arange(size[0], dtype=np.float64), np.arange(size[1], dtype=np.float64)
        spread = 2 * (self.widths * scale)[:, None] ** 2
        across = np.exp(-((x - centers[:, :1]) ** 2) / spread)  # (K, width)
        down = np.exp(-((y - centers[:, 1:]) ** 2) / spread)  # (K, height)
        bulge = [(down * pushes[:, axis, None]).T @ across for axis in (0, 1)]  # (height, width) each
        flat = np.stack([x - bulge[0], y[:, None] - bulge[1]], axis=-1)
        to_source = self.homographies[index] @ np.vstack([invert_affine(to_view[:2]), [0, 0, 1]])
        return cv2.perspectiveTransform(flat, to_source).astype(np.float32)


def _apply_homography(matrix: FloatArray, points: FloatArray) -> Float64Array:
    """Apply a homography (3, 3) to points (N, 2)."""
    mapped = np.hstack([points, np.ones((len(points), 1))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def face_angle(landmarks: FloatArray, scheme: LandmarkScheme) -> float:
    """Measure the in-plane tilt of a face (N, 2), radians, along its eyes; 0 where they nearly coincide."""
    left, right = (landmarks[list(points)].mean(axis=0) for points in scheme.eyes)
    across = right - left
    if np.hypot(*across) < 0.15 * Box.around(landmarks).size:  # a profile: the line is unreliable
        return 0.0
    return float(np.arctan2(across[1], across[0]))


def random_movement(
    landmarks: FloatArray,
    scheme: LandmarkScheme,
    strength: MotionConfig,
    frames: int,
    rng: np.random.Generator,
    *,
    period: float,
    still: bool = False,
    shaky: bool = True,
) -> Movement:
    """Draw a movement of a face.

    Args:
        landmarks: (N, 2) source pixels.
        scheme: numbering of the landmarks.
        strength: standard deviations, from `shift` to `shake`.
        frames: number of frames T.
        rng: the only source of randomness.
        period: frames of one oscillation.
        still: keep the pose of the first frame, without camera shake.
        shaky: whether a hand-held camera jumps between frames.
    """
    box = Box.around(landmarks)
    side, center, angle = box.size, box.center, face_angle(landmarks, scheme)

    def curve(columns: int, deviation: float) -> Float64Array:
        return np.clip(smooth_curve(frames, columns, period, rng, still=still), -2, 2) * deviation

    shift, roll, zoom = curve(2, strength.shift), curve(1, np.deg2rad(strength.roll_deg)), curve(1, strength.zoom)
    if not still:
        shake = strength.shake if shaky else 0.0
        shift = shift + rng.normal(0, shake, (frames, 2))
        roll = roll + rng.normal(0, shake, (frames, 1)) / 2
    poses = zip(zoom[:, 0], roll[:, 0], shift, strict=True)
    similarities = np.stack([similarity(np.exp(z), r, center, center + s * side) for z, r, s in poses])

    turns = np.clip(curve(2, np.deg2rad(strength.turn_deg)), -0.45, 0.45)  # yaw, pitch; (T, 2)
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # rows: the face's x and y
    tilts = np.clip(curve(2, strength.perspective), -0.2, 0.2) / side
    homographies = np.stack([_facing(center, axes, turn, tilt) for turn, tilt in zip(turns, tilts, strict=True)])

    relief = np.sin(turns) @ axes * side  # (T, 2)
    middle, down, _ = face_axes(landmarks, scheme)
    tip = list(scheme.components["nose"])
    nose = landmarks[tip].mean(axis=0) if tip else middle + down * 0.55
    parts = landmarks[rng.choice(len(landmarks), 3, replace=False)]
    expression = curve(6, strength.expression).reshape(frames, 3, 2) * side
    centers = np.vstack([center, nose, parts])
    widths = np.array([HEAD_WIDTH, NOSE_WIDTH, *rng.uniform(0.12, 0.25, 3)]) * side
    pushes = np.concatenate([relief[:, None] * HEAD_DEPTH, relief[:, None] * NOSE_DEPTH, expression], axis=1)
    # The slope of a Gaussian is at most exp(-1/2) times height over width; the sum of these is a bound of the whole.
    steepest = float((np.linalg.norm(pushes, axis=-1) * np.exp(-0.5) / widths).sum(axis=1).max())
    pushes *= min(1.0, STEEPEST / max(steepest, 1e-9))
    return Movement(similarities, homographies, centers, widths, pushes)


def _facing(center: FloatArray, axes: FloatArray, turn: FloatArray, tilt: FloatArray) -> Float64Array:
    """Homography (3, 3) plane -> source that undoes foreshortening and applies a change of scale over the picture."""
    about, here, back = np.eye(3), np.eye(3), np.eye(3)
    about[:2, :2] = axes.T @ np.diag(1 / np.cos(turn)) @ axes
    about[2, :2] = tilt
    here[:2, 2], back[:2, 2] = -np.asarray(center), center
    return back @ about @ here

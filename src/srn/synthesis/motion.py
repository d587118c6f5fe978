"""How a still picture of a face moves: smooth paths of the camera, the head and the face, exact at every point.

Three planes. *Source*: pixels of the still. *Plane*: the still after perspective, foreshortening and the bulge of the
turned head. *Scene*: pixels of the video frame, the plane moved by a similarity (where the head is, how near, how
tilted, and the shaking camera). Pictures are sampled backwards (scene -> plane -> source, closed formulas), points go
forwards (the same formulas, inverted at the points by iteration): both agree to a thousandth of a pixel.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import Box, FloatArray, invert_affine, similarity, transform_points
from srn.face.scheme import LandmarkScheme

Float64Array = npt.NDArray[np.float64]

HEAD_DEPTH, HEAD_WIDTH = 0.4, 0.42
NOSE_DEPTH, NOSE_WIDTH = 0.12, 0.12
"""The relief of a face, in units of its box's side: a broad Gaussian for the head and a narrow one for the nose. When
the head turns by an angle, a place of depth z moves by z times its sine against the outline: enough for turns of +-20
degrees that start from any pose, without a model of the head."""

STEEPEST = 0.7
"""Bound of how fast the bulges' push may change over the plane. Below 1 the plane never folds: what is an outline in
the still stays one, every place keeps one source, and the inversion converges."""

_INVERSION_STEPS = 60  # the error shrinks by `STEEPEST` at least in each: 0.7^60 = 5e-10


def smooth_curve(frames: int, columns: int, period: float, rng: np.random.Generator, *, still: bool) -> Float64Array:
    """(frames, columns) smooth random paths of zero mean and unit variance over all their phases.

    Args:
        frames: how many frames.
        columns: how many independent paths.
        period: frames in which a path swings to and fro; each path mixes three periods about as long.
        rng: the source of chance.
        still: each path stays at its first value: a head may hold still in any pose.
    """
    time = np.zeros(frames) if still else np.arange(frames, dtype=np.float64)
    periods = period * np.exp(rng.uniform(-0.7, 0.7, (3, columns)))
    phases = rng.uniform(0, 2 * np.pi, (3, columns))
    waves = np.sin(2 * np.pi * time[:, None, None] / periods + phases)
    curve: Float64Array = waves.sum(axis=1) * np.sqrt(2 / 3)
    return curve


@dataclass(frozen=True, eq=False)
class Movement:
    """The way of every point of a still through T frames.

    Attributes:
        similarities: (T, 2, 3) plane -> scene.
        homographies: (T, 3, 3) plane, its bulges undone -> source.
        centers: (K, 2) plane; widths: (K,) pixels: the Gaussian bulges.
        pushes: (T, K, 2) pixels: how far each bulge pushes its centre.
    """

    similarities: Float64Array
    homographies: Float64Array
    centers: Float64Array
    widths: Float64Array
    pushes: Float64Array

    def __len__(self) -> int:
        return len(self.similarities)

    def points(self, source: FloatArray) -> Float64Array:
        """Where points of the still (N, 2), or of each frame's own source (T, N, 2), lie: (T, N, 2) scene pixels."""
        sources = np.broadcast_to(source, (len(self), *source.shape[-2:]))
        pairs = zip(self.homographies, sources, strict=True)
        flat = np.stack([_apply_homography(np.linalg.inv(h), points) for h, points in pairs])  # (T, N, 2)
        plane = flat.copy()
        for _ in range(_INVERSION_STEPS):
            squares = ((plane[:, :, None] - self.centers) ** 2).sum(axis=-1)  # (T, N, K)
            bulge = np.exp(-squares / (2 * self.widths**2)) @ self.pushes  # (T, N, 2)
            moved = flat + bulge
            step = np.abs(moved - plane).max(initial=0.0)
            plane = moved
            if step < 1e-9:
                break
        return np.stack([transform_points(m, p) for m, p in zip(self.similarities, plane, strict=True)])

    def source_map(self, index: int, view: FloatArray, size: tuple[int, int]) -> npt.NDArray[np.float32]:
        """(height, width, 2): the place in the still that each pixel of a view of frame `index` shows.

        Args:
            index: the frame.
            view: (2, 3) similarity, scene -> the pixels of the view.
            size: width and height of the view.
        """
        to_view = np.vstack([view, [0, 0, 1]]) @ np.vstack([self.similarities[index], [0, 0, 1]])
        scale = float(np.hypot(to_view[0, 0], to_view[1, 0]))
        centers = transform_points(to_view[:2], self.centers)
        pushes = self.pushes[index] @ to_view[:2, :2].T
        # A round Gaussian stays round under a similarity, and is the product of one in x and one in y: the sum of all
        # bulges over all pixels is a matrix product.
        x, y = np.arange(size[0], dtype=np.float64), np.arange(size[1], dtype=np.float64)
        spread = 2 * (self.widths * scale)[:, None] ** 2
        across = np.exp(-((x - centers[:, :1]) ** 2) / spread)  # (K, width)
        down = np.exp(-((y - centers[:, 1:]) ** 2) / spread)  # (K, height)
        bulge = [(down * pushes[:, axis, None]).T @ across for axis in (0, 1)]  # (height, width) each
        flat = np.stack([x - bulge[0], y[:, None] - bulge[1]], axis=-1)
        to_source = self.homographies[index] @ np.vstack([invert_affine(to_view[:2]), [0, 0, 1]])
        return cv2.perspectiveTransform(flat, to_source).astype(np.float32)


def _apply_homography(matrix: FloatArray, points: FloatArray) -> Float64Array:
    """A perspective map (3, 3) of points (N, 2)."""
    mapped = np.hstack([points, np.ones((len(points), 1))]) @ matrix.T
    result: Float64Array = mapped[:, :2] / mapped[:, 2:]
    return result


@dataclass(frozen=True)
class MotionStrength:
    """Standard deviations of a movement's paths; lengths in units of the face box's side.

    Attributes:
        period: frames of one swing to and fro.
        shift, zoom, roll_deg: of the head in the scene: place, logarithm of the size, tilt.
        turn_deg: yaw and pitch against the still's pose.
        perspective: how much the scale changes over one face's length.
        expression: how far parts of the face move against each other.
        shake: how far a hand-held camera jumps from frame to frame.
    """

    period: float
    shift: float
    zoom: float
    roll_deg: float
    turn_deg: float
    perspective: float
    expression: float
    shake: float


def face_angle(landmarks: FloatArray, scheme: LandmarkScheme) -> float:
    """Tilt of a face (N, 2) in the picture, radians, from the line through its eyes; 0 where they nearly coincide."""
    left, right = (landmarks[list(points)].mean(axis=0) for points in scheme.eyes)
    across = right - left
    if np.hypot(*across) < 0.15 * Box.around(landmarks).size:  # a profile: the line says little
        return 0.0
    return float(np.arctan2(across[1], across[0]))


def random_movement(
    landmarks: FloatArray,
    scheme: LandmarkScheme,
    strength: MotionStrength,
    frames: int,
    rng: np.random.Generator,
    *,
    still: bool = False,
) -> Movement:
    """A movement of the face with `landmarks` (N, 2), source pixels.

    Args:
        landmarks: the face in the still.
        scheme: numbering of the landmarks.
        strength: how far everything moves, and how fast.
        frames: how many frames T.
        rng: the only source of chance.
        still: the face holds the pose of the first frame, and the camera rests.
    """
    box = Box.around(landmarks)
    side, center, angle = box.size, box.center, face_angle(landmarks, scheme)

    def curve(columns: int, deviation: float) -> Float64Array:
        values = smooth_curve(frames, columns, strength.period, rng, still=still)
        return np.clip(values, -2, 2) * deviation

    shift, roll, zoom = curve(2, strength.shift), curve(1, np.deg2rad(strength.roll_deg)), curve(1, strength.zoom)
    if not still:
        shift = shift + rng.normal(0, strength.shake, (frames, 2))
        roll = roll + rng.normal(0, strength.shake, (frames, 1)) / 2
    similarities = np.stack(
        [
            similarity(float(np.exp(z[0])), float(r[0]), center, center + s * side)
            for s, r, z in zip(shift, roll, zoom, strict=True)
        ]
    )

    turns = np.clip(curve(2, np.deg2rad(strength.turn_deg)), -0.45, 0.45)  # yaw, pitch; (T, 2)
    axes = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])  # rows: the face's x and y
    tilts = np.clip(curve(2, strength.perspective), -0.2, 0.2) / side
    homographies = np.stack([_facing(center, axes, turn, tilt) for turn, tilt in zip(turns, tilts, strict=True)])

    relief = np.sin(turns) @ axes * side  # (T, 2)
    nose = landmarks[list(scheme.components["nose"])].mean(axis=0)
    parts = landmarks[rng.choice(len(landmarks), 3, replace=False)]
    expression = curve(6, strength.expression).reshape(frames, 3, 2) * side
    centers = np.vstack([center, nose, parts])
    widths = np.array([HEAD_WIDTH, NOSE_WIDTH, *rng.uniform(0.12, 0.25, 3)]) * side
    pushes = np.concatenate([relief[:, None] * HEAD_DEPTH, relief[:, None] * NOSE_DEPTH, expression], axis=1)
    # The slope of a Gaussian is at most exp(-1/2) of its height over its width; the sum of these bounds the sum.
    steepest = float((np.linalg.norm(pushes, axis=-1) * np.exp(-0.5) / widths).sum(axis=1).max())
    pushes *= min(1.0, STEEPEST / max(steepest, 1e-9))
    return Movement(similarities, homographies, centers, widths, pushes)


def _facing(center: FloatArray, axes: FloatArray, turn: FloatArray, tilt: FloatArray) -> Float64Array:
    """(3, 3) plane -> source: the foreshortening of a turned face undone, and the scale changing over the picture."""
    linear = axes.T @ np.diag(1 / np.cos(turn)) @ axes
    about = np.eye(3)
    about[:2, :2] = linear
    about[2, :2] = tilt
    here, back = np.eye(3), np.eye(3)
    here[:2, 2], back[:2, 2] = -np.asarray(center), center
    matrix: Float64Array = back @ about @ here
    return matrix

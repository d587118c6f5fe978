"""Head pose: yaw, pitch and roll of a face from its 68 points and a 3-D model of them.

Axes are those of a picture: x to its right, y down, z away from the camera. A model point S of a face that looks into
the camera with its head upright is seen at p = scale * (R S)[:2] + translation (scaled orthographic projection: the
head is small against its distance). R = Rx(pitch) Ry(yaw) Rz(roll), the order and the signs of 300W-LP (Zhu et al.,
*Face Alignment Across Large Poses*, CVPR 2016), in degrees:

- yaw > 0: the nose points to the picture's left;
- pitch > 0: the nose points up;
- roll > 0: the head leans to the picture's right, clockwise as one sees it.

The model was made from half of the AFW part of 300W-LP by `benchmarks/make_head_model.py`, and measured on the other
half (`docs/results/pose.md`). Near a yaw of 90 degrees pitch and roll are no longer two things (gimbal lock): compare
rotations there.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import NamedTuple

import cv2
import numpy as np

from srn.errors import InputError, WeightsError, shown
from srn.face.geometry import Box, Float64Array, FloatArray, ImageArray
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.inference.drawing import SUBPIXEL_BITS, drawable, fixed_point
from srn.inference.face import Face
from srn.inference.inputs import ImageInput
from srn.uses.points import NOSE_TIP, check_scheme

LEAST_WEIGHT = 0.05  # of a point that is certain to be wrong: some points are needed for any pose
MISPLACED = 0.05  # of a point on a head that looks ahead, beside the model's misfit, in sizes of the face
TURNED = 15.0, 60.0
"""Degrees of yaw from which a head counts as turned, and where it is wholly so. The model's misfit is that of heads
turned by any angle: large for the outline, which slides over a head that turns. On one that looks ahead, all points
hold their place alike, and the outline, far behind the nose, tells most of yaw and pitch."""
# The points of the outline at the picture's left and right, without the chin in the middle.
_SIDES = tuple([i for i in IBUG_68.part(side) if IBUG_68.mirror[i] != i] for side in ("left_cheek", "right_cheek"))
_STEPS = 20
_ENOUGH = 1e-10  # relative gain at which the fit ends
_AXIS_COLORS = ((255, 84, 112), (60, 220, 130), (58, 190, 255))  # RGB of x, y, z
_FLIP = np.diag([1.0, -1.0, -1.0])  # between a picture's axes and those of 300W-LP: y up, z to the camera


class HeadModel(NamedTuple):
    """The 3-D model: points (68, 3), and for each how far it misfits (68,), in units of the root mean square width."""

    points: Float64Array
    misfit: Float64Array


@cache
def head_model() -> HeadModel:
    """Return the model that the package holds; non-commercial research only, as the weights."""
    where = resources.files("srn") / "uses" / "head.json"
    with WeightsError.reading(str(where), "the 3-D model of the 68 points"):
        content = json.loads(where.read_text(encoding="utf-8"))
        model = HeadModel(*(np.array(content[name], np.float64) for name in ("points", "misfit")))
    for part in model:
        part.setflags(write=False)
    return model


@dataclass(frozen=True, eq=False)
class HeadPose:
    """How a head is turned.

    Attributes:
        yaw, pitch, roll: degrees, with the signs and the order of this module.
        rotation: (3, 3), from the model's axes to the picture's: x right, y down, z away from the camera.
        scale: picture pixels for a unit of the model.
        translation: (2,) where the model's origin is seen, picture pixels.
        misfit: weighted root mean square distance between the points and the turned model, as a share of the face's
            size (`Box.size` of the points): a large one says that the points fit no head.
    """

    yaw: float
    pitch: float
    roll: float
    rotation: Float64Array
    scale: float
    translation: Float64Array
    misfit: float

    def project(self, points: FloatArray) -> Float64Array:
        """Return where points (K, 3) of the model's space are seen, (K, 2) picture pixels."""
        return np.asarray(self.scale * points @ self.rotation[:2].T + self.translation, np.float64)

    def degrees_from(self, other: HeadPose) -> float:
        """Return the angle of the rotation between two poses, degrees, 0 to 180."""
        return rotation_distance(self.rotation, other.rotation)


def head_pose(face: Face) -> HeadPose:
    """Fit the pose of a face. Points weigh by their confidence, and by how well they hold their place on a head.

    The more a head is turned, the less the outline of its averted side counts: it is found on the visible edge of the
    face, which is another place of the head.

    Raises:
        InputError: the face has another scheme than the 68 points.
    """
    return pose_of_points(face.landmarks, face.scheme, face.confidence)


def pose_of_points(
    landmarks: FloatArray, scheme: LandmarkScheme = IBUG_68, confidence: FloatArray | None = None
) -> HeadPose:
    """Fit the pose to landmarks (68, 2), picture pixels: the least weighted squared distance to the projected model.

    Args:
        confidence: (68,) weights of the points in [0, 1]; all alike if None. Each is divided by the square
            of the point's misfit in `head_model` and, as far as the head looks ahead, of `MISPLACED`, added up.

    Raises:
        InputError: another scheme than the 68 points, points that all coincide, or a confidence of other points.
    """
    check_scheme(scheme, "head pose")
    points, model = np.asarray(landmarks, np.float64), head_model()
    extent = float(np.hypot(*np.ptp(points, axis=0)) / np.sqrt(2)) if points.shape == (68, 2) else 0.0
    if not (np.isfinite(extent) and extent > 0):
        raise InputError.at("head pose", "finite landmarks (68, 2) that do not coincide", str(points.shape))
    sure = np.ones(len(points)) if confidence is None else np.maximum(confidence, LEAST_WEIGHT)
    if sure.shape != (len(points),) or not np.isfinite(sure).all():
        raise InputError.at("confidence of the points", f"{len(points)} numbers within [0, 1]", shown(confidence))
    pose = _pose(points, sure * _weights(model, 1.0), extent)
    ahead = float(np.clip((TURNED[1] - abs(pose.yaw)) / (TURNED[1] - TURNED[0]), 0, 1))
    if ahead == 1:
        return pose
    weights = sure * _weights(model, ahead)
    weights[_SIDES[0 if pose.yaw > 0 else 1]] *= ahead
    return _pose(points, weights, extent)


def _weights(model: HeadModel, ahead: float) -> Float64Array:
    """Return the weights of points (68,): `ahead` is 1 for a head that looks into the camera, 0 for a turned one."""
    return 1 / (model.misfit**2 + (ahead * MISPLACED * Box.around(model.points[:, :2]).size) ** 2)


def _pose(points: Float64Array, weights: Float64Array, extent: float) -> HeadPose:
    model, weights = head_model(), weights / weights.sum()
    # Around the weighted means the translation is 0, and it is so for the best pose as well.
    origin, middle = weights @ model.points, weights @ points
    rotation, scale, cost = _fitted(model.points - origin, points - middle, weights)
    translation = middle - scale * rotation[:2] @ origin
    return HeadPose(*angles_of(rotation), rotation, scale, translation, float(np.sqrt(cost)) / extent)


def _fitted(model: Float64Array, points: Float64Array, weights: Float64Array) -> tuple[Float64Array, float, float]:
    """Fit rotation and scale by Levenberg and Marquardt's method, from the nearest affine map; also return the cost."""
    root = np.sqrt(weights)[:, None]
    affine = np.linalg.lstsq(model * root, points * root, rcond=None)[0].T
    left, sizes, right = np.linalg.svd(affine, full_matrices=False)
    rows = left @ right
    rotation, scale, damping = np.vstack([rows, np.cross(*rows)]), float(sizes.mean()), 1e-3

    def cost_of(rotation: Float64Array, scale: float) -> float:
        return float((weights[:, None] * (scale * model @ rotation[:2].T - points) ** 2).sum())

    cost = cost_of(rotation, scale)
    for _ in range(_STEPS):
        turned = model @ rotation.T
        slope = np.zeros((len(model), 2, 4))  # of x and y by a further rotation about each axis, and by the scale
        slope[:, 0, 1], slope[:, 0, 2] = scale * turned[:, 2], -scale * turned[:, 1]
        slope[:, 1, 0], slope[:, 1, 2] = -scale * turned[:, 2], scale * turned[:, 0]
        slope[:, :, 3] = turned[:, :2]
        weighted = (slope * weights[:, None, None]).reshape(-1, 4).T
        curvature = weighted @ slope.reshape(-1, 4)
        gradient = weighted @ (scale * turned[:, :2] - points).reshape(-1)
        step = -np.linalg.solve(curvature + damping * np.diag(np.diag(curvature) + 1e-12), gradient)
        tried, size = cv2.Rodrigues(step[:3])[0] @ rotation, scale + float(step[3])
        reached = cost_of(tried, size)
        if size > 0 and reached < cost:
            done = cost - reached <= _ENOUGH * cost
            rotation, scale, cost, damping = tried, size, reached, max(damping / 3, 1e-9)
            if done:
                break
        else:
            damping *= 10
    return np.asarray(rotation, np.float64), scale, cost


def rotation_of(yaw: float, pitch: float, roll: float) -> Float64Array:
    """Return the rotation (3, 3) of angles in degrees, in the picture's axes; the inverse of `angles_of`."""
    (cy, cp, cr), (sy, sp, sr) = np.cos(np.deg2rad([yaw, pitch, roll])), np.sin(np.deg2rad([yaw, pitch, roll]))
    about_x = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
    return np.asarray(_FLIP @ about_x @ about_y @ about_z @ _FLIP, np.float64)


def angles_of(rotation: FloatArray) -> tuple[float, float, float]:
    """Return yaw in [-90, 90], pitch and roll in [-180, 180] of a rotation (3, 3) in the picture's axes, degrees."""
    matrix = _FLIP @ rotation @ _FLIP
    yaw = np.arcsin(np.clip(-matrix[0, 2], -1, 1))
    pitch, roll = np.arctan2(matrix[1, 2], matrix[2, 2]), np.arctan2(matrix[0, 1], matrix[0, 0])
    return float(np.rad2deg(yaw)), float(np.rad2deg(pitch)), float(np.rad2deg(roll))


def rotation_distance(rotation: FloatArray, other: FloatArray) -> float:
    """Return the angle, in degrees, of the rotation that takes one rotation (3, 3) to another."""
    cos = (float(np.trace(rotation.T @ other)) - 1) / 2
    return float(np.rad2deg(np.arccos(np.clip(cos, -1, 1))))


def draw_pose(image: ImageInput, face: Face, pose: HeadPose | None = None) -> ImageArray:
    """Draw the axes of a head on a copy of its picture, (H, W, 3) uint8 RGB: x red, y green, z (the view) blue.

    They begin at the tip of the nose. `pose` is that of `head_pose` if None.

    Raises:
        InputError: the face has another scheme than the 68 points.
    """
    check_scheme(face.scheme, "head pose")
    drawn = drawable(image)
    pose = head_pose(face) if pose is None else pose
    start = face.landmarks[NOSE_TIP]
    length = 0.5 * face.landmark_box.size
    thick = max(round(length / 40), 1)
    # z is drawn towards the camera: the way the head looks.
    for axis, color in zip(
        np.array([[1, 0, 0], [0, 1, 0], [0, 0, -1]]) @ pose.rotation[:2].T, _AXIS_COLORS, strict=True
    ):
        ends = fixed_point(np.array([start, start + length * axis])).tolist()
        cv2.arrowedLine(drawn, ends[0], ends[1], color, min(thick, 100), cv2.LINE_AA, SUBPIXEL_BITS, 0.15)
    return drawn

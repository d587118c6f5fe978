"""`Looker`: run the localizer on crops of faces and map its answer back to the picture."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face import ellipse
from srn.face.geometry import Box, CropGeometry, CropSpec, Float64Array, FloatArray, ImageArray, flip_points
from srn.face.localizer import Float32Array, Localizer, Prediction, confidence_from_error

STRAYED = 0.04  # mean distance of the points of two views, in face units, at which one of them is wrong
# Where the last two views of an unsure face disagree about a point, its expected error grows (`docs/robustness.md`).
SURE = 0.7  # mean confidence of a face from which it does not
DISAGREEMENT = 0.02  # distance from which it does, in face units
DISAGREEMENT_WEIGHT = 0.7  # of the distance, added to the expected error as the root of the sum of squares
EARLIER_VIEW = 0.4  # weight of a view relative to the next one, at equal expected errors (`docs/experiments.md`)


@dataclass(frozen=True, eq=False)
class View:
    """Predictions for B faces of N landmarks, each seen in one crop. See `Prediction` for what is None.

    `shapes` (B, N, 2) are in picture pixels, `expected_error` (B, N) is in face units of the crop, `error_direction`
    (B, N, 2) is in the picture's coordinates.
    """

    geometries: tuple[CropGeometry, ...]
    shapes: Float64Array
    visibility: Float32Array | None
    expected_error: Float32Array | None
    hidden: Float32Array
    error_direction: Float32Array | None = None

    @property
    def covariance(self) -> Float32Array | None:
        """(B, N, 2, 2) covariance of each point's error, picture pixels^2; None without `error_direction`."""
        if self.error_direction is None or self.expected_error is None:
            return None
        return ellipse.covariance(self.expected_error * self.face_unit, self.error_direction).astype(np.float32)

    @property
    def face_unit(self) -> Float32Array:
        """(B, 1) picture pixels in one face unit of each crop."""
        return np.array([[g.spec.face_size / g.scale] for g in self.geometries], np.float32)

    @functools.cached_property
    def confidence(self) -> Float32Array | None:
        """(B, N) probability that the point lies within tolerance; None without `expected_error`."""
        return None if self.expected_error is None else confidence_from_error(self.expected_error)

    @functools.cached_property
    def mean_confidence(self) -> Float32Array:
        """(B,) mean confidence of each face's points; NaN without `expected_error`."""
        confidence = self.confidence
        return np.full(len(self.shapes), np.nan, np.float32) if confidence is None else confidence.mean(axis=1)

    def select(self, faces: Sequence[int]) -> View:
        """Return the view of some of the faces, by index."""
        rows = np.asarray(faces, int)
        return View(
            tuple(self.geometries[k] for k in faces),
            self.shapes[rows],
            chosen(self.visibility, rows),
            chosen(self.expected_error, rows),
            self.hidden[rows],
            chosen(self.error_direction, rows),
        )


def chosen(values: Float32Array | None, index: Any) -> Float32Array | None:
    """Return `values[index]`; None if there are no values."""
    return None if values is None else values[index]


def combined(views: Sequence[View]) -> View:
    """Average one or more views of the same faces, in the order in which they were taken.

    The errors of two views are partly independent, so their mean is better than either. Each point is weighted by the
    inverse square of its expected error in picture pixels, and by `EARLIER_VIEW` once for every later view. Views
    without expected errors cannot be weighted: the last one is returned. Crops and state are those of the last view.
    """
    last = views[-1]
    errors = [view.expected_error * view.face_unit for view in views if view.expected_error is not None]
    if len(errors) < len(views):
        return last
    shares = EARLIER_VIEW ** np.arange(len(views) - 1, -1, -1.0)
    weights = shares[:, None, None] / np.maximum(np.stack(errors), 1e-6).astype(np.float64) ** 2  # (K, B, N)
    weights /= weights.sum(axis=0)

    def mean(values: Sequence[Float32Array]) -> Float32Array:
        averaged: Float32Array = np.einsum("kbn,kbn->bn", weights, np.stack(values)).astype(np.float32)
        return averaged

    visibility = [view.visibility for view in views if view.visibility is not None]
    result = replace(
        last,
        shapes=np.einsum("kbn,kbnd->bnd", weights, np.stack([view.shapes for view in views])),
        visibility=mean(visibility) if len(visibility) == len(views) else last.visibility,
        expected_error=mean(errors) / last.face_unit,
        error_direction=_mean_direction([view.error_direction for view in views], weights, np.stack(errors)),
    )
    return result if len(views) < 2 else _doubted(result, np.linalg.norm(last.shapes - views[-2].shapes, axis=-1))


def _mean_direction(
    directions: Sequence[Float32Array | None], weights: Float64Array, errors: FloatArray
) -> Float32Array | None:
    """Average the directions of K views or predictions as their covariances are: None if one of them has none.

    Args:
        directions: (B, N, 2) each.
        weights: (K, B, N), or of a shape that stands for it, of the points.
        errors: (K, B, N) expected errors in one unit.
    """
    given = [direction for direction in directions if direction is not None]
    if len(given) < len(directions):
        return None
    shares = weights * np.maximum(errors, 1e-6).astype(np.float64) ** 2
    shares = shares / shares.sum(axis=0)
    return np.asarray(np.einsum("kbn,kbnd->bnd", shares, np.stack(given)), np.float32)


def _doubted(view: View, apart: Float64Array) -> View:
    """Raise the expected error where two views are `apart`, (B, N) picture pixels: often nobody sees the point."""
    assert view.expected_error is not None
    apart = apart / view.face_unit
    told = (apart > DISAGREEMENT) & (view.mean_confidence[:, None] < SURE)
    raised = np.hypot(view.expected_error, DISAGREEMENT_WEIGHT * apart).astype(np.float32)
    return replace(view, expected_error=np.where(told, raised, view.expected_error))


def strayed(before: View, after: View) -> npt.NDArray[np.bool_]:
    """Tell for each face (B,) whether a view that contradicts the one before is less sure than it, and is to be left.

    Without expected errors no view strays.
    """
    apart = np.linalg.norm(after.shapes - before.shapes, axis=-1).mean(axis=1) / after.face_unit[:, 0]
    return np.asarray((apart > STRAYED) & (after.mean_confidence < before.mean_confidence))


class Looker:
    """Views faces through a localizer: crop, predict, map back to the picture.

    `flip_average` averages every view with the view of the mirrored crop, at twice the cost.
    """

    def __init__(self, localizer: Localizer, *, flip_average: bool = False) -> None:
        self.localizer, self.flip_average = localizer, flip_average

    def geometry_of_box(self, box: Box, angle: float = 0.0) -> CropGeometry:
        """Return the crop for a face box in picture pixels; the picture is rotated by `angle` (radians, x to y)."""
        return CropGeometry.from_box(box, self.localizer.crop_spec, angle)

    def geometry_of_shape(self, shape: FloatArray, spec: CropSpec | None = None) -> CropGeometry:
        """Return the crop for landmarks (N, 2), upright and tight as in training; the network's `spec` if None."""
        upright = self.localizer.mean_shape.astype(np.float64)
        return CropGeometry.from_shape(shape, spec or self.localizer.crop_spec, upright)

    def view(
        self,
        images: Sequence[ImageArray],
        geometries: Sequence[CropGeometry],
        *,
        starts: Sequence[FloatArray | None] | None = None,
        hidden: Float32Array | None = None,
        iterations: int | None = None,
        mirrored: Sequence[bool] = (),
    ) -> View:
        """View faces, all in one batch.

        Args:
            images: the picture of each of B >= 1 faces, (H, W, 3) uint8 RGB.
            geometries: the crop of each face.
            starts: initial shape of each face, (N, 2) picture pixels; the network's own start where None.
            hidden: (B, H) recurrent state of the frame before; zeros if None.
            iterations: return the shape after this many iterations; after all if None.
            mirrored: for each face, whether its mirrored crop is viewed, and the answer mirrored back: a second
                opinion. None if empty.

        Raises:
            InputError: the network runs fewer iterations.
        """
        crops, initial, weight = self._inputs(images, geometries, starts)
        turned = np.asarray(mirrored if len(mirrored) else [False] * len(crops), bool)
        prediction = self._predict(crops, initial, hidden, weight, turned)
        if self.flip_average:
            prediction = _mean(prediction, self._predict(crops, initial, None, weight, ~turned))
        return _in_picture(prediction, geometries, iterations)

    def check_iterations(self, iterations: int) -> None:
        """Raise `InputError` where the network runs fewer iterations: only its answer tells how many it runs."""
        side = self.localizer.crop_spec.size
        _wanted(self.localizer(np.zeros((1, side, side, 3), np.uint8)), iterations)

    def _inputs(
        self,
        images: Sequence[ImageArray],
        geometries: Sequence[CropGeometry],
        starts: Sequence[FloatArray | None] | None,
    ) -> tuple[ImageArray, Float32Array | None, Float32Array | None]:
        """Crops, and initial shapes (B, N, 2) in crop pixels with their weights (B,): 0 for no start."""
        crops = np.stack([geometry.crop(image) for image, geometry in zip(images, geometries, strict=True)])
        if starts is None or all(start is None for start in starts):
            return crops, None, None
        blank = np.zeros_like(self.localizer.mean_shape)
        pairs = zip(starts, geometries, strict=True)
        initial = np.stack([blank if s is None else g.to_crop(s).astype(np.float32) for s, g in pairs])
        return crops, initial, np.array([start is not None for start in starts], np.float32)

    def _predict(
        self,
        crops: ImageArray,
        initial: Float32Array | None,
        hidden: Float32Array | None,
        weight: Float32Array | None,
        mirrored: npt.NDArray[np.bool_],
    ) -> Prediction:
        """Predict on crops, some of which (B,) are mirrored before, and their answers mirrored back."""
        if not mirrored.any():
            return self.localizer(crops, initial, hidden, weight)
        mirror, width = self.localizer.scheme.mirror, self.localizer.crop_spec.size

        def flipped(shapes: Float32Array) -> Float32Array:
            return np.array([flip_points(shape, width, mirror) for shape in shapes], np.float32)

        crops = np.stack([cv2.flip(crop, 1) if turned else crop for crop, turned in zip(crops, mirrored, strict=True)])
        if initial is not None:
            initial = initial.copy()
            initial[mirrored] = flipped(initial[mirrored])
        found = self.localizer(crops, initial, hidden, weight)
        shapes = found.shapes.copy()
        for k in np.flatnonzero(mirrored):
            shapes[k] = flipped(shapes[k])

        def renumbered(values: Float32Array | None) -> Float32Array | None:
            return None if values is None else np.where(mirrored[:, None], values[:, mirror], values)

        direction = found.error_direction
        if direction is not None:
            direction = np.where(mirrored[:, None, None], ellipse.mirrored(direction[:, mirror]), direction)
        visibility, error = renumbered(found.visibility), renumbered(found.expected_error)
        return Prediction(shapes, found.hidden, visibility, error, direction)


def _mean(one: Prediction, other: Prediction) -> Prediction:
    """Average two predictions; the state is that of the first."""
    direction = None
    if one.expected_error is not None and other.expected_error is not None:
        directions, errors = (one.error_direction, other.error_direction), (one.expected_error, other.expected_error)
        direction = _mean_direction(directions, np.ones((2, 1, 1)), np.stack(errors))

    def mean(a: Float32Array | None, b: Float32Array | None) -> Float32Array | None:
        return None if a is None or b is None else (a + b) / np.float32(2)

    return Prediction(
        ((one.shapes + other.shapes) / 2).astype(np.float32),
        one.hidden,
        mean(one.visibility, other.visibility),
        mean(one.expected_error, other.expected_error),
        direction,
    )


def _wanted(prediction: Prediction, iterations: int | None) -> int:
    """Return after how many iterations the shape is wanted, where all are if None."""
    last = prediction.shapes.shape[1]
    wanted = last if iterations is None else iterations
    if not 1 <= wanted <= last:
        raise InputError.at("iterations", f"at least 1 and at most {last}, which the weights run", str(wanted))
    return wanted


def _in_picture(prediction: Prediction, geometries: Sequence[CropGeometry], iterations: int | None) -> View:
    wanted = _wanted(prediction, iterations)
    in_crop = prediction.shapes[:, wanted - 1].astype(np.float64)
    shapes = [geometry.to_picture(shape) for geometry, shape in zip(geometries, in_crop, strict=True)]
    direction = prediction.error_direction
    if direction is not None:
        turns = np.array([[geometry.angle] for geometry in geometries])
        direction = ellipse.rotated(direction, -turns)
    visibility, error = prediction.visibility, prediction.expected_error
    return View(tuple(geometries), np.stack(shapes), visibility, error, prediction.hidden, direction)

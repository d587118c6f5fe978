"""Boxes, similarities and crops. Coordinates are x before y, 0-based, with pixel centres at whole numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import InputError, check_count, check_number, shown

FloatArray = npt.NDArray[np.floating]
Float64Array = npt.NDArray[np.float64]
ImageArray = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """An upright rectangle in picture pixels, 0-based; its corners are pixel centres and belong to it.

    Raises:
        InputError: a coordinate is not finite, or the box has no extent.

    Examples:
        >>> from srn import Box
        >>> box = Box(10, 20, 50, 80)
        >>> box.width, box.height, box.iou(Box(10, 20, 50, 50))
        (40, 60, 0.5)
        >>> box.adjusted((5, 0), scale=(0.5, 0.5))
        Box(x0=25.0, y0=35.0, x1=45.0, y1=65.0)
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        corners: tuple[Any, ...] = self.x0, self.y0, self.x1, self.y1
        # The first comparison is fast: a tracked frame makes a dozen boxes.
        if {*map(type, corners)} != {float} and not all(isinstance(value, Real) for value in corners):
            raise InputError.at("face box", "four numbers x0, y0, x1, y1", shown(corners))
        try:
            finite = all(map(math.isfinite, corners))
        except OverflowError as error:  # a whole number of 400 digits
            raise InputError.at("face box", "four numbers x0, y0, x1, y1", shown(corners)) from error
        if not (finite and self.x1 > self.x0 and self.y1 > self.y0):
            found = f"({self.x0:g}, {self.y0:g}, {self.x1:g}, {self.y1:g})"
            raise InputError.at("face box", "finite x0 < x1 and y0 < y1", found)

    @classmethod
    def around(cls, points: FloatArray) -> Box:
        """Return the tight box of points (N, 2): the face box that the networks are trained on."""
        (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        return cls(x0, y0, x1, y1)

    @property
    def width(self) -> float:
        """Distance from left to right, in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Distance from top to bottom, in pixels."""
        return self.y1 - self.y0

    @property
    def center(self) -> npt.NDArray[np.float64]:
        """(2,): x and y of the centre."""
        return np.array([(self.x0 + self.x1) / 2, (self.y0 + self.y1) / 2])

    @property
    def size(self) -> float:
        """Side of the square with the same diagonal, in pixels; it changes little when a face turns."""
        return math.hypot(self.width, self.height) / math.sqrt(2)

    def as_array(self) -> npt.NDArray[np.float64]:
        """(4,): x0, y0, x1, y1."""
        return np.array([self.x0, self.y0, self.x1, self.y1])

    def adjusted(self, offset: FloatArray | tuple[float, float], scale: tuple[float, float] = (1.0, 1.0)) -> Box:
        """Return the box with its centre shifted by `offset` (pixels) and its sides multiplied by `scale` (x, y)."""
        (x, y), half_width, half_height = self.center + offset, self.width * scale[0] / 2, self.height * scale[1] / 2
        return Box(float(x - half_width), float(y - half_height), float(x + half_width), float(y + half_height))

    def is_in(self, width: int, height: int) -> bool:
        """Tell whether a face box reaches into a picture of this size, and is from 1 pixel to 20 of its sides large."""
        meets = self.x0 <= width - 1 and self.x1 >= 0 and self.y0 <= height - 1 and self.y1 >= 0
        return meets and 1 <= self.size <= 20 * max(width, height)

    def iou(self, other: Box) -> float:
        """Return the intersection over union with another box, in [0, 1]."""
        width = min(self.x1, other.x1) - max(self.x0, other.x0)
        height = min(self.y1, other.y1) - max(self.y0, other.y0)
        overlap = max(width, 0.0) * max(height, 0.0)
        return overlap / (self.width * self.height + other.width * other.height - overlap)


def transform_points(matrix: FloatArray, points: FloatArray) -> npt.NDArray[np.float64]:
    """Apply an affine `matrix` (2, 3) to points (..., 2)."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float64)


def invert_affine(matrix: FloatArray) -> npt.NDArray[np.float64]:
    """Invert an affine map (2, 3)."""
    (a, b, x), (c, d, y) = matrix.tolist()
    determinant = a * d - b * c
    if determinant == 0:
        raise np.linalg.LinAlgError("an affine map onto a line has no inverse")
    back = np.array([[d, -b, b * y - d * x], [-c, a, c * x - a * y]])
    return np.asarray(back / determinant, np.float64)


def similarity(
    scale: float, angle: float, source: FloatArray, target: FloatArray | tuple[float, float]
) -> npt.NDArray[np.float64]:
    """Return the map (2, 3) that scales, rotates by `angle` (radians, x to y) and takes `source` to `target`."""
    cos, sin = scale * math.cos(angle), scale * math.sin(angle)
    (x, y), (u, v) = source, target
    return np.array([[cos, -sin, u - cos * x + sin * y], [sin, cos, v - sin * x - cos * y]], np.float64)


def fit_similarity(source: FloatArray, target: FloatArray) -> npt.NDArray[np.float64]:
    """Fit the least-squares similarity (2, 3), never a reflection, between points (N, 2) (Umeyama 1991).

    Raises:
        InputError: all source points coincide.
    """
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    power = float(np.vdot(a, a))
    if power == 0:
        raise InputError.at("similarity fit", "at least two distinct points", "one point")
    cos = float(np.vdot(a, b)) / power
    sin = float(a[:, 0] @ b[:, 1] - a[:, 1] @ b[:, 0]) / power
    (x, y), (u, v) = source_mean.tolist(), target_mean.tolist()
    return np.array([[cos, -sin, u - cos * x + sin * y], [sin, cos, v - sin * x - cos * y]])


def flip_points(points: FloatArray, width: int, mirror: npt.NDArray[np.int64]) -> FloatArray:
    """Mirror points (N, 2) in a picture of `width` pixels and renumber them by the scheme's `mirror` permutation."""
    flipped = points[mirror].copy()
    flipped[:, 0] = width - 1 - flipped[:, 0]
    return flipped


LARGEST_CROP = 16_384
"""Side of a crop, in pixels: OpenCV warps no picture of twice that."""


@dataclass(frozen=True)
class CropSpec:
    """Size of a crop: `size` pixels a side, of which a square face box takes the middle `face_size`."""

    size: int
    face_size: float

    def __post_init__(self) -> None:
        check_count("crop size", self.size)
        check_number("crop size", self.size, f"at most {LARGEST_CROP} pixels", most=LARGEST_CROP)
        check_number("face size of a crop", self.face_size, "pixels above 0", least=math.nextafter(0, 1))

    @property
    def center(self) -> float:
        """Coordinate (x and y) of the crop's centre."""
        return (self.size - 1) / 2

    def place(self, mean_shape: FloatArray) -> npt.NDArray[np.float64]:
        """Convert a shape (N, 2) from face units (origin at the box centre, 1 = `Box.size`) to crop pixels."""
        return np.asarray(mean_shape, dtype=np.float64) * self.face_size + self.center


def face_corners(spec: CropSpec) -> npt.NDArray[np.float64]:
    """Return the corners (4, 2) of the face box, crop pixels."""
    return spec.center + np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * (spec.face_size / 2)


@dataclass(frozen=True)
class CropGeometry:
    """The similarity `matrix` (2, 3) from picture pixels to those of the square crop that a network sees."""

    matrix: npt.NDArray[np.float64]
    spec: CropSpec

    @classmethod
    def from_box(cls, box: Box, spec: CropSpec, angle: float = 0.0) -> CropGeometry:
        """Centre the box in the crop and scale its size to `spec.face_size`; `angle` (radians) rotates the picture."""
        return cls(similarity(spec.face_size / box.size, angle, box.center, (spec.center, spec.center)), spec)

    @classmethod
    def from_shape(cls, shape: FloatArray, spec: CropSpec, upright_shape: FloatArray) -> CropGeometry:
        """Place the crop tightly around a shape (N, 2), picture pixels, rotated like `upright_shape` (N, 2).

        Only the orientation of the upright shape counts; it may be a mean shape.
        """
        a, b = shape - shape.mean(axis=0), upright_shape  # the angle of `fit_similarity`; to centre one is enough
        sin, cos = float(a[:, 0] @ b[:, 1] - a[:, 1] @ b[:, 0]), float(np.vdot(a, b))
        return cls.around(shape, spec, math.atan2(sin, cos))

    @classmethod
    def around(cls, shape: FloatArray, spec: CropSpec, angle: float) -> CropGeometry:
        """Rotate the picture by `angle` (radians) and centre the tight box of the rotated shape (N, 2) in the crop."""
        cos, sin = math.cos(angle), math.sin(angle)
        rotation = np.array([[cos, -sin], [sin, cos]])
        upright = Box.around(shape @ rotation.T)
        middle = upright.center @ rotation  # back in the picture
        return cls(similarity(spec.face_size / upright.size, angle, middle, (spec.center, spec.center)), spec)

    def shifted(self, offset: FloatArray) -> CropGeometry:
        """Return the same crop, shifted in the picture by `offset` (2,) picture pixels."""
        matrix = self.matrix.copy()
        matrix[:, 2] -= matrix[:, :2] @ offset
        return CropGeometry(matrix, self.spec)

    def displacement(self, placed: CropGeometry) -> float:
        """Return the largest distance between corners of the two crops' face boxes, as a share of their size."""
        corners = face_corners(self.spec)
        off = self.to_crop(placed.to_picture(corners)) - corners
        return math.sqrt((off**2).sum(axis=1).max()) / self.spec.face_size

    @property
    def scale(self) -> float:
        """Crop pixels per picture pixel."""
        return math.hypot(*self.matrix[:, 0].tolist())

    @property
    def angle(self) -> float:
        """Rotation of the picture in the crop: radians, x to y."""
        cos, sin = self.matrix[:, 0].tolist()
        return math.atan2(sin, cos)

    def to_crop(self, points: FloatArray) -> npt.NDArray[np.float64]:
        """Convert points (..., 2) from picture pixels to crop pixels."""
        return transform_points(self.matrix, points)

    def to_picture(self, points: FloatArray) -> npt.NDArray[np.float64]:
        """Convert points (..., 2) from crop pixels to picture pixels."""
        return transform_points(invert_affine(self.matrix), points)

    def cut(self, image: ImageArray) -> tuple[ImageArray, CropGeometry]:
        """Return the part of a picture (H, W[, C]) that the crop samples, and the same crop from that part's pixels.

        The part is no copy. With it, a large photograph costs no more than its face.
        """
        x, y = self.to_picture(np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (self.spec.size - 1.0)).T.tolist()
        height, width = image.shape[:2]
        margin = 2 / self.scale
        (x0, x1), (y0, y1) = _span(x, margin, width), _span(y, margin, height)
        return image[y0:y1, x0:x1], self.shifted(np.array([-x0, -y0]))

    def crop(self, image: ImageArray) -> ImageArray:
        """Resample a picture (H, W[, C]) uint8 to the crop (size, size[, C]).

        Interpolation is bilinear. A picture that shrinks to less than half is first reduced by area averaging, which
        prevents aliasing. Pixels outside the picture repeat its edge.
        """
        matrix, scale = self.matrix, self.scale
        if scale < 0.5:
            image, within = self.cut(image)
            sides = np.array(image.shape[1::-1])
            reduced_sides = np.maximum(np.round(sides * scale * 1.5), 1).astype(int)
            image = cv2.resize(image, reduced_sides.tolist(), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
            ratio = reduced_sides / sides
            # reduced = (part + 1/2) * ratio - 1/2, inverted and composed with the map to the crop.
            linear = within.matrix[:, :2] / ratio
            matrix = np.hstack([linear, (within.matrix @ np.append(0.5 / ratio - 0.5, 1))[:, None]])
        size = (self.spec.size, self.spec.size)
        warped = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return warped.astype(np.uint8, copy=False)


def _span(places: list[float], margin: float, length: int) -> tuple[int, int]:
    """Return the first pixel of a side that `places` with a margin reach, and the one after the last."""
    # At least one pixel is left: its edge is what a crop outside the picture shows.
    first = int(min(max(min(places) - margin, 0), length - 1))
    return first, math.ceil(min(max(max(places) + margin, first), length - 1)) + 1

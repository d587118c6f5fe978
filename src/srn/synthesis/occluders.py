"""Occluders: each paints on a picture and returns the pixels it covers.

The paper's own augmentation is `noise_patch`; the others vary appearance, position and size. All take a picture
(H, W, 3) uint8 RGB, paint on it in place, and return the covered pixels (H, W) bool. Landmarks stay in place;
`visible_landmarks` gives those that remain uncovered.
"""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import Box, FloatArray, ImageArray, similarity, transform_points
from srn.face.scheme import LandmarkScheme

Covered = npt.NDArray[np.bool_]
_SQUARE = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def visible_landmarks(covered: Covered, shape: FloatArray) -> npt.NDArray[np.bool_]:
    """Tell which landmarks (N,) of a shape (N, 2) lie inside the picture on an uncovered pixel."""
    height, width = covered.shape
    x, y = np.floor(shape + 0.5).astype(int).T  # the pixel a point falls on
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    visible = inside.copy()
    visible[inside] = ~covered[y[inside], x[inside]]
    return visible


def misfitted(shape: FloatArray, misfit: float, rng: np.random.Generator) -> FloatArray:
    """Shift, scale and rotate a shape (N, 2) at random, as the error of a detector would.

    `misfit` is the standard deviation of each shift in units of the face box's size, of the log scale, and of the
    rotation in radians.
    """
    box = Box.around(shape)
    shift, (scale, turn) = rng.normal(0, misfit, 2) * box.size, rng.normal(0, misfit, 2)
    return transform_points(similarity(float(np.exp(scale)), float(turn), box.center, box.center + shift), shape)


def _window(image: ImageArray, center: FloatArray, width: float, height: float) -> tuple[slice, slice]:
    """Rows and columns of a rectangle around `center`, shifted where needed to lie inside the picture."""
    rows, columns = image.shape[:2]
    h, w = min(round(height), rows), min(round(width), columns)
    y0 = int(np.clip(round(center[1] - h / 2), 0, rows - h))
    x0 = int(np.clip(round(center[0] - w / 2), 0, columns - w))
    return slice(y0, y0 + h), slice(x0, x0 + w)


def _nothing_covered(image: ImageArray) -> Covered:
    return np.zeros(image.shape[:2], bool)


def noise_patch(image: ImageArray, center: FloatArray, size: float, rng: np.random.Generator) -> Covered:
    """Paint the paper's occlusion: a square of uniform noise on a landmark, kept inside the picture (section 3.1)."""
    window = _window(image, center, size, size)
    image[window] = rng.integers(0, 256, image[window].shape, dtype=np.uint8)
    covered = _nothing_covered(image)
    covered[window] = True
    return covered


def texture(height: int, width: int, rng: np.random.Generator) -> ImageArray:
    """Draw a random surface: shading, stripes, checks or smooth blotches of two colours, with a little grain."""
    base, other = rng.uniform(0, 255, (2, 3))
    if rng.random() < 0.35:  # the colour of skin
        tone = rng.uniform(0.35, 1.0)
        base = np.array([235, 190, 160]) * tone * rng.uniform(0.92, 1.08, 3)
        other = base * rng.uniform(0.6, 0.9)
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    angle, period = rng.uniform(0, np.pi), rng.uniform(4, 40)
    along = rows * np.sin(angle) + columns * np.cos(angle)
    across = columns * np.sin(angle) - rows * np.cos(angle)
    kind = rng.integers(4)
    if kind == 0:
        mix = along / (np.ptp(along) + 1e-6) * rng.uniform(0, 1)
    elif kind == 1:
        mix = (np.sin(2 * np.pi * along / period) > rng.uniform(-0.8, 0.8)).astype(np.float32)
    elif kind == 2:
        mix = ((np.floor(along / period) + np.floor(across / period)) % 2).astype(np.float32)
    else:
        cells = rng.random((max(height // 12, 2), max(width // 12, 2)), dtype=np.float32)
        mix = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    surface = base + (other - base) * np.clip(mix, 0, 1)[..., None]
    surface += rng.standard_normal((height, width, 1), dtype=np.float32) * rng.uniform(0, 10)
    return np.clip(surface, 0, 255).astype(np.uint8)


def _paint(image: ImageArray, outline: FloatArray, surface: ImageArray | None, rng: np.random.Generator) -> Covered:
    """Fill a polygon (K, 2) with a surface of the picture's size, or a random one; its edge is slightly soft."""
    height, width = image.shape[:2]
    stencil = np.zeros((height, width), np.uint8)
    cv2.fillPoly(stencil, [np.round(np.asarray(outline) * 8).astype(np.int32)], 255, lineType=cv2.LINE_AA, shift=3)
    if not stencil.any():
        return _nothing_covered(image)
    x, y, w, h = cv2.boundingRect(stencil)
    window = (slice(y, y + h), slice(x, x + w))
    filling = texture(h, w, rng) if surface is None else surface[window]
    alpha = cv2.GaussianBlur(stencil, (3, 3), 0)[window][..., None].astype(np.float32) / 255
    image[window] = np.round(image[window] * (1 - alpha) + filling * alpha).astype(np.uint8)
    return np.asarray(stencil > 127)


def textured_rectangle(image: ImageArray, center: FloatArray, size: float, rng: np.random.Generator) -> Covered:
    """Paint a rotated rectangle with sides of 0.6 to 1.4 times `size`, such as a book or a phone."""
    half = size * rng.uniform(0.6, 1.4, 2) / 2
    angle = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return _paint(image, _SQUARE * half @ turn.T + center, None, rng)


def blob(image: ImageArray, center: FloatArray, size: float, rng: np.random.Generator) -> Covered:
    """Paint a rounded irregular shape about `size` across, such as a fist, a scarf or a microphone."""
    angles = np.arange(24) * 2 * np.pi / 24
    radius = np.ones(24)
    for order in (2, 3, 4):
        radius += rng.normal(0, 0.35 / order) * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    radius = np.clip(radius, 0.35, 1.8) * size / 2
    return _paint(image, np.stack([np.cos(angles), np.sin(angles)], 1) * radius[:, None] + center, None, rng)


def fingers(image: ImageArray, center: FloatArray, size: float, rng: np.random.Generator) -> Covered:
    """Paint a hand: two to four parallel bars of skin colour that reach in from the edge of the picture."""
    angle = rng.uniform(0, 2 * np.pi)
    along = np.array([np.cos(angle), np.sin(angle)])
    across = np.array([-along[1], along[0]])
    tone = np.array([235, 190, 160]) * rng.uniform(0.35, 1.0) * rng.uniform(0.92, 1.08, 3)
    thickness = size * rng.uniform(0.16, 0.26)
    covered = _nothing_covered(image)
    surface = np.empty_like(image)
    for k in range(int(rng.integers(2, 5))):
        surface[:] = np.clip(tone * rng.uniform(0.88, 1.05), 0, 255).astype(np.uint8)
        tip = np.asarray(center) + across * k * thickness * 1.15 + along * rng.normal(0, 0.15) * size
        far = tip + along * image.shape[0] * 1.5 + across * rng.normal(0, 0.1) * size
        half = across * thickness / 2
        rounding = -along * thickness * 0.4
        outline = np.stack(
            [tip + half, tip + half * 0.6 + rounding, tip - half * 0.6 + rounding, tip - half, far - half, far + half]
        )
        covered |= _paint(image, outline, surface, rng)
    return covered


def face_axes(shape: FloatArray, scheme: LandmarkScheme) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Midpoint of the eyes, vector from it to the mouth, and half the vector from the left to the right eye.

    Where the scheme has no mouth, it is taken to be where it is on average, straight below the eyes.
    """
    left, right = (shape[list(points)].mean(axis=0) for points in scheme.eyes)
    middle, aside = (left + right) / 2, (right - left) / 2
    mouth = list(scheme.components["mouth"])
    down = shape[mouth].mean(axis=0) - middle if mouth else 2.2 * np.array([-aside[1], aside[0]])
    return middle, down, aside


OUTLINE_POINTS = 9
"""Landmarks on the cheeks from which on a scheme has the outline of the face."""


def _with_jaw(shape: FloatArray, scheme: LandmarkScheme) -> FloatArray:
    """Add the average jaw to landmarks without an outline: by their mouth alone a mask would be a narrow strip."""
    if len(scheme.components["left_cheek"]) + len(scheme.components["right_cheek"]) >= OUTLINE_POINTS:
        return shape
    middle, down, aside = face_axes(shape, scheme)
    angles = np.linspace(0, np.pi, 17)[:, None]
    return np.concatenate([shape, middle - 2.2 * np.cos(angles) * aside + (0.05 + 1.62 * np.sin(angles)) * down])


def _mask_outline(
    shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float64], float] | None:
    """Draw the outline (K, 2) of a cloth mask and the height of its sides (0 at the eyes, 1 at the mouth).

    None where the landmarks leave no room for one.
    """
    middle, down, aside = face_axes(shape, scheme)
    length = float(np.linalg.norm(down)) + 1e-6
    down_unit = down / length
    height_of = (shape - middle) @ down_unit / length
    top = rng.uniform(0.12, 0.55) if rng.random() < 0.85 else rng.uniform(0.6, 0.95)
    sides = top + rng.uniform(0.0, 0.35)
    below = shape[height_of > sides]
    if len(below) < 3:
        return None
    center = below.mean(axis=0)
    wide, deep = rng.uniform(0.94, 1.2), rng.uniform(0.94, 1.15)
    offset = below - center
    depth = (offset @ down_unit)[:, None] * down_unit
    below = center + (offset - depth) * wide + depth * deep
    spread = rng.uniform(0.25, 0.6)
    lower = down * (sides - top)
    ridge = middle + down * top + np.array([[-spread], [0.0], [spread]]) * aside + np.array([[0.5], [0], [0.5]]) * lower
    hull = cv2.convexHull(np.concatenate([below, ridge]).astype(np.float32))[:, 0].astype(np.float64)
    return hull, sides


def _cup_outline(shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Draw the outline (K, 2) of a respirator: a rounded cup from the bridge of the nose to about the chin."""
    middle, down, aside = face_axes(shape, scheme)
    top, bottom = rng.uniform(0.15, 0.5), rng.uniform(1.35, 1.9)
    center = middle + down * (top + bottom) / 2
    angles = np.arange(28) * 2 * np.pi / 28
    power = rng.uniform(0.6, 1.0)  # below 1 the ellipse grows corners
    across = np.sign(np.cos(angles)) * np.abs(np.cos(angles)) ** power
    along = np.sign(np.sin(angles)) * np.abs(np.sin(angles)) ** power
    along = np.where(along < 0, along * (1 - 0.25 * np.abs(across)), along)  # narrower towards the nose
    half_width = np.linalg.norm(aside) * rng.uniform(0.85, 1.5)
    aside_unit = aside / (np.linalg.norm(aside) + 1e-6)
    return center + across[:, None] * aside_unit * half_width + along[:, None] * down * (bottom - top) / 2


def drawn_mask(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> Covered:
    """Paint a random face mask through the landmarks, without a template.

    Three in four are cloth: the hull of the landmarks below a line across the nose, with the upper edge raised in the
    middle; about one in seven of these hangs below the nose. The others are cups.
    """
    middle, down, aside = face_axes(shape, scheme)
    shape = _with_jaw(shape, scheme)
    cloth = None if rng.random() < 0.25 else _mask_outline(shape, scheme, rng)
    hull, sides = cloth if cloth is not None else (_cup_outline(shape, scheme, rng), 0.5)
    center = hull.mean(axis=0)
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        surface = texture(height, width, rng)
    else:
        color = rng.uniform(0, 255, 3) if rng.random() < 0.6 else np.full(3, rng.uniform(20, 255))
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        light = rng.normal(0, 0.004, 2)
        grain = rng.standard_normal((height, width), dtype=np.float32) * 0.02
        shade = 1 + (x - center[0]) * light[0] + (y - center[1]) * light[1] + grain
        surface = np.clip(color * shade[..., None], 0, 255).astype(np.uint8)
    if rng.random() < 0.6:  # ear loops, under the cloth
        ears = shape[[int(np.argmin((shape - middle) @ aside)), int(np.argmax((shape - middle) @ aside))]]
        loop = tuple(int(c) for c in rng.integers(120, 256, 3))
        for ear in ears:
            for anchor in hull[np.argsort(np.linalg.norm(hull - ear, axis=1))[:2]]:
                ends = [tuple(int(v) for v in np.clip(p, -10000, 10000)) for p in (ear, anchor)]
                cv2.line(image, ends[0], ends[1], loop, int(rng.integers(1, 3)), cv2.LINE_AA)
    covered = _paint(image, hull, surface, rng)
    if rng.random() < 0.5:  # pleats
        dark = np.clip(image.astype(np.int16) - int(rng.integers(15, 50)), 0, 255).astype(np.uint8)
        lines = np.zeros((height, width), np.uint8)
        for level in np.linspace(sides, 1.5, int(rng.integers(3, 6)))[1:]:
            ends = middle + down * level + np.array([[-1.6], [1.6]]) * aside
            points = np.clip(np.round(ends), -10000, 10000).astype(int)
            cv2.line(lines, points[0].tolist(), points[1].tolist(), 255, 1, cv2.LINE_AA)
        drawn = (lines > 100) & covered
        image[drawn] = dark[drawn]
    if rng.random() < 0.5:  # a bright or dark seam
        seam = tuple(int(c) for c in (np.full(3, 255) if rng.random() < 0.5 else rng.integers(0, 256, 3)))
        closed = np.round(np.clip(hull, -10000, 10000)).astype(np.int32)
        cv2.polylines(image, [closed], True, seam, 1, cv2.LINE_AA)
    return covered


def sunglasses(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> Covered:
    """Paint sunglasses: two dark or tinted lenses, a bridge and temples."""
    _, down, aside = face_axes(shape, scheme)
    half_width = float(np.linalg.norm(aside)) + 1e-6
    angle = np.degrees(np.arctan2(aside[1], aside[0]))
    color = tuple(int(c) for c in (rng.uniform(0, 50, 3) if rng.random() < 0.7 else rng.uniform(0, 255, 3)))
    wide, high = half_width * rng.uniform(0.62, 0.9), float(np.linalg.norm(down)) * rng.uniform(0.28, 0.5)
    stencil = np.zeros(image.shape[:2], np.uint8)
    centers = [shape[list(points)].mean(axis=0) + down * rng.uniform(-0.05, 0.1) for points in scheme.eyes]
    for center in centers:
        axes = (max(round(wide), 1), max(round(high), 1))
        cv2.ellipse(stencil, np.round(center).astype(int).tolist(), axes, float(angle), 0, 360, 255, -1, cv2.LINE_AA)
    ends = [centers[0] - aside * 2.2, centers[0], centers[1], centers[1] + aside * 2.2]
    thick = max(round(half_width * 0.12), 1)
    for a, b in itertools.pairwise(ends):
        cv2.line(stencil, np.round(a).astype(int).tolist(), np.round(b).astype(int).tolist(), 255, thick, cv2.LINE_AA)
    alpha = stencil[..., None].astype(np.float32) / 255 * rng.uniform(0.85, 1.0)
    image[:] = np.round(image * (1 - alpha) + np.array(color) * alpha).astype(np.uint8)
    return np.asarray(stencil > 127)


def hair(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> Covered:
    """Paint hair over the face: a fringe, or locks down one side."""
    middle, down, aside = face_axes(shape, scheme)
    tones = np.array([[30, 24, 20], [70, 45, 30], [120, 85, 50], [200, 165, 105], [150, 70, 35], [170, 168, 165]])
    tone = tones[int(rng.integers(len(tones)))] * rng.uniform(0.7, 1.3)
    # Strands: noise, constant along the columns.
    strands = np.repeat(rng.normal(1, 0.25, (1, image.shape[1], 1)), image.shape[0], axis=0)
    strands = strands + rng.standard_normal(image.shape[:2] + (1,), dtype=np.float32) * 0.06
    surface = np.clip(tone * strands, 0, 255).astype(np.uint8)
    if rng.random() < 0.5:  # a fringe across the forehead
        first, last, longest = -1.8, 1.8, rng.uniform(0.0, 0.5)
    else:  # one side, down to the jaw
        side = rng.choice([-1.0, 1.0])
        first, last, longest = 0.6 * side, 2.2 * side, rng.uniform(0.6, 2.0)
    top = middle - down * rng.uniform(1.1, 1.6)
    covered = _nothing_covered(image)
    count = int(rng.integers(4, 11))
    for place in np.linspace(first, last, count) + rng.normal(0, 0.1, count):
        root, half = top + aside * place, aside * rng.uniform(0.15, 0.4)
        tip = middle + aside * (place * rng.uniform(0.9, 1.2)) + down * (longest - rng.exponential(0.25))
        bend = (root + tip) / 2 + aside * rng.normal(0, 0.15)
        covered |= _paint(image, np.stack([root - half, bend - half, tip, bend + half, root + half]), surface, rng)
    return covered


def hat(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> Covered:
    """Paint a cap, hat or helmet down to the brows, with or without a brim."""
    middle, down, aside = face_axes(shape, scheme)
    edge = middle - down * rng.uniform(0.1, 0.6)
    wide, high = rng.uniform(1.9, 2.4), rng.uniform(1.2, 2.2)
    tilt = down * rng.normal(0, 0.08)
    surface = texture(image.shape[0], image.shape[1], rng)
    angles = np.linspace(np.pi, 2 * np.pi, 14)
    dome = edge + aside * wide * np.cos(angles)[:, None] + (down * high) * np.sin(angles)[:, None]
    covered = _paint(
        image, np.concatenate([dome, [edge + aside * wide + tilt, edge - aside * wide - tilt]]), surface, rng
    )
    if rng.random() < 0.6:
        reach, thick = wide * rng.uniform(1.0, 1.6), rng.uniform(0.08, 0.3)
        around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        brim = edge + (aside * reach + tilt) * np.cos(around)[:, None] + down * thick * np.sin(around)[:, None]
        covered |= _paint(image, brim, None if rng.random() < 0.5 else surface, rng)
    return covered


def pasted_patch(
    image: ImageArray, other: ImageArray, center: FloatArray, size: float, rng: np.random.Generator
) -> Covered:
    """Paste an ellipse or rectangle of another picture of the same size at `center`: real skin, hair or cloth."""
    half = size * rng.uniform(0.6, 1.4, 2) / 2
    angles = np.arange(20) * 2 * np.pi / 20
    outline = np.stack([np.cos(angles), np.sin(angles)], 1)
    if rng.random() < 0.4:
        outline = _SQUARE
    shift = rng.integers(-image.shape[0] // 3, image.shape[0] // 3 + 1, 2)
    shifted = np.roll(other, (int(shift[0]), int(shift[1])), axis=(0, 1))
    return _paint(image, outline * half + center, shifted, rng)


def half_shadow(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> Covered:
    """Paint a hard or soft shadow over one side of the picture; no pixel counts as covered."""
    center = shape[int(rng.integers(len(shape)))]
    angle = rng.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    distance = (x - center[0]) * np.cos(angle) + (y - center[1]) * np.sin(angle)
    dark = 1 / (1 + np.exp(-np.clip(distance / rng.uniform(1, 25), -30, 30)))
    image[:] = (image * (1 - dark * rng.uniform(0.3, 0.85))[..., None]).astype(np.uint8)
    return _nothing_covered(image)

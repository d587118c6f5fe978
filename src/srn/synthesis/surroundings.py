"""Occluders in the colours and the light of the picture itself: hair, clothes and hands of the person shown.

What hides real faces is mostly the person's own: locks and a fringe, a collar, a hand. Each occluder here takes its
colours from the picture: from what lies beside the face, above or below it, or from its skin. Conventions are those of
`srn.synthesis.occluders`; borders are soft, and a pixel counts as covered where more than half of it is.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import FloatArray, ImageArray
from srn.face.scheme import LandmarkScheme
from srn.synthesis.occluders import Covered, face_axes

Map = npt.NDArray[np.float32]


def blend(image: ImageArray, filling: npt.NDArray[np.floating] | ImageArray, alpha: Map) -> Covered:
    """Lay a filling (H, W, 3) over the picture by its opacity (H, W)."""
    image[:] = np.round(image * (1 - alpha[..., None]) + filling * alpha[..., None]).astype(np.uint8)
    return alpha > 0.5


def reflected(image: ImageArray, shape: FloatArray, inward: FloatArray, gap: float) -> ImageArray:
    """Continue what lies around a face over it: (H, W, 3), the picture reflected at a line along the face's edge.

    The line touches the outermost of the landmarks (N, 2), across the unit vector `inward`; `gap`, in units of the
    edge's length, is left out beside it.
    """
    across = np.array([-inward[1], inward[0]])
    size = float(np.ptp(shape @ across)) + 1e-6
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    first = np.float32((shape @ inward).min())
    inside = (columns * inward[0] + rows * inward[1] - first).astype(np.float32)
    back = 2 * np.maximum(inside, 0) + gap * size
    source = np.stack([columns - back * inward[0], rows - back * inward[1]], axis=-1).astype(np.float32)
    return cv2.remap(image, source, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)  # type: ignore[call-overload]


def skin_tone(
    image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Return a colour (3,) about that of the cheeks and the nose, lighter or darker."""
    middle, down, aside = face_axes(shape, scheme)
    unit = float(np.linalg.norm(aside)) + 1e-6
    limit = np.array(image.shape[1::-1]) - 1
    cheeks = middle + down * 0.55 + aside * np.array([[-0.9], [0.9], [0.0]])
    x, y = np.clip(cheeks + rng.normal(0, 0.1, (3, 2)) * unit, 0, limit).astype(int).T
    tone: npt.NDArray[np.float64] = np.median(image[y, x], axis=0) * rng.uniform(0.75, 1.15)
    return tone


def _waves(along: Map, length: float, rng: np.random.Generator) -> Map:
    """Draw a smooth random function of a coordinate, of about unit size, with waves down to a sixth of `length`."""
    total = np.zeros_like(along)
    for order in range(1, 7):
        total += rng.normal(0, 0.8 / order) * np.cos(order * np.pi * along / length + rng.uniform(0, 2 * np.pi))
    return total


def spread(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> Covered:
    """Let what lies around the face spread over its edge: hair over cheek and jaw, a collar over the chin.

    The surroundings are reflected at a line along the edge of the face, so that they continue without a seam.
    """
    _, down, aside = face_axes(shape, scheme)
    inward = [down, -down, aside, -aside][int(rng.choice(4, p=(0.08, 0.28, 0.32, 0.32)))]
    inward = inward / (np.linalg.norm(inward) + 1e-6)
    across = np.array([-inward[1], inward[0]])
    size = float(np.ptp(shape @ across)) + 1e-6  # of the edge
    first = float((shape @ inward).min())  # the outermost landmark: the line
    depth = float(np.ptp(shape @ inward)) * rng.uniform(0.03, 0.35)
    tilt = rng.normal(0, 0.25)
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    along = (columns * across[0] + rows * across[1] - np.float32(shape.mean(axis=0) @ across)).astype(np.float32)
    inside = (columns * inward[0] + rows * inward[1] - np.float32(first)).astype(np.float32)
    reach = depth * (1 + 0.5 * _waves(along, size, rng)) + tilt * along
    if rng.random() < 0.5:  # a part of the edge only
        center, width = rng.uniform(-0.5, 0.5) * size, rng.uniform(0.2, 0.6) * size
        reach = reach - np.float32(depth) * np.float32(2) * np.maximum(np.abs(along - center) / width - 1, 0)
    strands = cv2.GaussianBlur(rng.standard_normal(image.shape[:2], dtype=np.float32), (0, 0), 1.5)
    ragged = max(rng.uniform(-0.15, 0.15), 0.0) * depth
    soft = rng.uniform(0.4, 3.0)
    level = (reach + ragged * strands / (strands.std() + 1e-6) - inside) / soft
    alpha = (1 / (1 + np.exp(-np.clip(level, -30, 30)))).astype(np.float32)
    return blend(image, reflected(image, shape, inward, rng.uniform(0, 0.06)), alpha)


def locks(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> Covered:
    """Draw strands of the colours above or beside the face: a fringe, locks down one side, or a sweep between both."""
    middle, down, aside = face_axes(shape, scheme)
    limit = np.array(image.shape[1::-1]) - 1
    anchors = middle + down * rng.uniform(-1.6, -0.9) * np.array([[1.0], [1], [0.3]])
    anchors = anchors + aside * np.array([[-1.2], [1.2], [2.3 * rng.choice([-1.0, 1.0])]])
    places = anchors[rng.integers(0, 3, 60)] + rng.normal(0, 0.25, (60, 2)) * np.linalg.norm(aside)
    x, y = np.clip(places, 0, limit).astype(int).T
    colors = image[y, x].astype(np.float64)
    base = np.median(colors, axis=0)
    colors = base + (colors - base) * 0.5
    side, kind, span = float(rng.choice([-1.0, 1.0])), int(rng.integers(3)), rng.uniform(0.2, 2.6)
    start, bend = rng.uniform(-1.6, 1.7 - span), rng.normal(0, 0.35)
    length = rng.uniform(-0.3, 0.45)
    paint, alpha = np.zeros_like(image), np.zeros(image.shape[:2], np.uint8)
    thickness = max(round(float(np.linalg.norm(aside)) / 12), 1)
    for _ in range(int(rng.uniform(20, 70) * (0.4 + span))):
        t = rng.random()
        if kind == 0:  # a fringe
            root, tip = (start + span * t, -1.5), (start + span * t + bend * 0.5, length + rng.normal(0, 0.1))
        elif kind == 1:  # down one side
            root, tip = (side * 1.5, -1.5), (side * (1.9 - 0.45 * span * t), rng.uniform(0.8, 2.2))
        else:  # from the parting to the temple
            root, tip = (-side * (0.2 + 0.4 * t), -1.6), (side * rng.uniform(1.5, 2.1), length + 0.5 * t)
        knee = ((root[0] + tip[0]) / 2 + bend + (0.3 * side if kind else 0), (root[1] + tip[1]) / 2 - 0.1)
        s = np.linspace(0, 1, 9)[:, None]
        curve = (1 - s) ** 2 * root + 2 * s * (1 - s) * np.array(knee) + s**2 * tip
        points = middle + curve[:, :1] * aside + curve[:, 1:] * down
        color = np.clip(colors[int(rng.integers(60))] * rng.uniform(0.75, 1.2), 0, 255)
        drawn = [np.round(np.clip(points, -4000, 4000) * 8).astype(np.int32)]
        thick = int(rng.integers(1, thickness + 2))
        cv2.polylines(paint, drawn, False, color.tolist(), thick + 1, cv2.LINE_8, 3)
        cv2.polylines(alpha, drawn, False, 255, thick, cv2.LINE_AA, 3)
    paint = np.where(paint.any(axis=2, keepdims=True), paint, np.round(base).astype(np.uint8))
    opacity = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 1.0)).astype(np.float32) / 255
    image[:] = np.round(image * (1 - opacity[..., None]) + paint * opacity[..., None]).astype(np.uint8)
    return np.asarray(cv2.blur(opacity, (5, 5)) > 0.5)  # a lone strand hides nothing


def own_hand(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> Covered:
    """Draw fingers, sometimes with the back of the hand, in the colour of the face's skin, darker at their edges."""
    middle, down, aside = face_axes(shape, scheme)
    unit = float(np.linalg.norm(aside)) + 1e-6
    tone = skin_tone(image, shape, scheme, rng)
    others = [i for i in range(len(shape)) if i not in scheme.eyes[0] + scheme.eyes[1]]
    tip = shape[int(rng.choice(others or len(shape)))]
    out = tip - (middle + down * 0.3)
    angle = np.arctan2(out[1], out[0]) + rng.normal(0, 0.7)
    along, wide = np.array([np.cos(angle), np.sin(angle)]), unit * rng.uniform(0.22, 0.4)
    across = np.array([-along[1], along[0]])
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]].astype(np.float32)
    alpha, shade = np.zeros(image.shape[:2], np.float32), np.ones(image.shape[:2], np.float32)
    count, fan, soft = int(rng.integers(1, 5)), rng.normal(0, 0.12), rng.uniform(0.4, 1.5)
    parts = [
        (tip + across * wide * 1.9 * k + along * unit * abs(rng.normal(0, 0.25)), wide, k * fan) for k in range(count)
    ]
    if rng.random() < 0.6:  # the back of the hand
        parts.append((tip + across * wide * 0.95 * (count - 1) + along * unit * rng.uniform(0.9, 1.5), wide * 2.2, 0.0))
    for place, radius, turn in parts:
        way = along * np.cos(turn) + across * np.sin(turn)
        ahead = (columns - place[0]) * way[0] + (rows - place[1]) * way[1]
        beside = (rows - place[1]) * way[0] - (columns - place[0]) * way[1]
        distance = np.hypot(np.minimum(ahead - radius, 0), beside)  # of a capsule that is open towards `way`
        mine = 1 / (1 + np.exp(np.clip((distance - radius) / soft, -30, 30)))
        shade = np.where(mine > alpha, 1.05 - 0.35 * np.clip(distance / radius, 0, 1) ** 3, shade)
        alpha = np.maximum(alpha, mine)
    light = rng.normal(0, 0.15) * (columns * across[0] + rows * across[1] - float(tip @ across)) / unit
    grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * 0.015
    filling = np.clip(tone * (shade * (1 + light) + grain)[..., None], 0, 255)
    return blend(image, filling, alpha.astype(np.float32))


OWN_OCCLUDERS = {spread: 0.45, locks: 0.3, own_hand: 0.25}
"""How often each is drawn."""


def own_occluder(image: ImageArray, shape: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator) -> Covered:
    """Paint one of them at random."""
    paint = list(OWN_OCCLUDERS)[int(rng.choice(len(OWN_OCCLUDERS), p=list(OWN_OCCLUDERS.values())))]
    return paint(image, shape, scheme, rng)

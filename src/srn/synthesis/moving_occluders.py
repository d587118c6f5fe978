"""Occluders that pass in front of a face: they enter, stay and leave with constant appearance."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import Box, Float64Array, FloatArray, ImageArray, invert_affine, similarity, transform_points
from srn.face.scheme import LandmarkScheme
from srn.synthesis.occluders import Covered, blob, fingers, half_shadow, noise_patch, pasted_patch, textured_rectangle

Painter = Callable[[ImageArray, np.random.Generator], Covered]

FAR = 1.9
"""Distance from which an occluder enters, in units of the face box's size: outside any crop."""


@dataclass(frozen=True, eq=False)
class Sprite:
    """An occluder with transparency.

    Attributes:
        color: (K, K, 3) float32, multiplied by alpha.
        alpha: (K, K) float32, 0 to 1.
        hides: whether landmarks under it count as hidden; under a shadow they do not.
    """

    color: npt.NDArray[np.float32]
    alpha: npt.NDArray[np.float32]
    hides: bool = True


def cut_out(paint: Painter, side: int, rng: np.random.Generator, *, hides: bool = True) -> Sprite:
    """Separate an occluder of `srn.synthesis.occluders` from its background.

    It is painted on black and on white, `side` pixels square: where both agree it is opaque, where they differ by 255
    it is transparent.
    """
    seed = int(rng.integers(2**62))
    on_black, on_white = np.zeros((side, side, 3), np.uint8), np.full((side, side, 3), 255, np.uint8)
    for canvas in (on_black, on_white):
        paint(canvas, np.random.default_rng(seed))
    alpha = 1 - (on_white.astype(np.float32) - on_black).mean(axis=2) / 255
    return Sprite(on_black.astype(np.float32), np.clip(alpha, 0, 1), hides)


def random_sprite(
    face_size: float, other: Callable[[], ImageArray] | None, scheme: LandmarkScheme, rng: np.random.Generator
) -> Sprite:
    """Draw an occluder of one of the kinds that `srn.synthesis.augment` paints on stills.

    Args:
        face_size: size of the face box, pixels.
        other: gives another face's picture, a piece of which may be the occluder.
        scheme: numbering of the landmarks.
        rng: the only source of randomness.
    """
    size = face_size * rng.uniform(0.2, 0.65)
    kind = int(rng.integers(8))
    side = max(round(size * 3), 8) if kind < 6 else round(face_size * 4)  # hands and shadows extend beyond any crop
    middle = np.full(2, (side - 1) / 2)
    if kind <= 1 and other is not None:
        donor = cv2.resize(other(), (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        return cut_out(lambda image, chance: pasted_patch(image, donor, middle, size * 1.3, chance), side, rng)
    if kind <= 3:
        return cut_out(lambda image, chance: blob(image, middle, size * 1.3, chance), side, rng)
    if kind == 7:
        return cut_out(lambda image, chance: half_shadow(image, middle[None], scheme, chance), side, rng, hides=False)
    occluder = {4: textured_rectangle, 5: noise_patch, 6: fingers}[kind]
    return cut_out(lambda image, chance: occluder(image, middle, size, chance), side, rng)


@dataclass(frozen=True, eq=False)
class MovingOccluder:
    """A sprite in motion: `places` (T, 2, 3) map sprite pixels -> scene pixels."""

    sprite: Sprite
    places: Float64Array

    def paint(self, image: ImageArray, index: int, view: FloatArray) -> ImageArray:
        """Paint the occluder over a picture (H, W, 3) of frame `index`; `view` (2, 3) maps scene -> picture."""
        matrix = (np.vstack([view, [0, 0, 1]]) @ np.vstack([self.places[index], [0, 0, 1]]))[:2]
        size = (image.shape[1], image.shape[0])
        corners = transform_points(matrix, np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * (len(self.sprite.alpha) - 1.0))
        if (corners.max(axis=0) < 0).any() or (corners.min(axis=0) > np.array(size) - 1).any():
            return image
        color = cv2.warpAffine(self.sprite.color, matrix, size, flags=cv2.INTER_LINEAR)
        alpha = cv2.warpAffine(self.sprite.alpha, matrix, size, flags=cv2.INTER_LINEAR)
        return np.round(image * (1 - alpha[..., None]) + color).clip(0, 255).astype(np.uint8)

    def hides(self, index: int, points: FloatArray) -> npt.NDArray[np.bool_]:
        """Tell which points (N, 2), scene pixels, of frame `index` lie under more than half opacity."""
        if not self.sprite.hides:
            return np.zeros(len(points), bool)
        there = transform_points(invert_affine(self.places[index]), points).astype(np.float32)[:, None]
        alpha = cv2.remap(self.sprite.alpha, there, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)  # type: ignore[call-overload]
        return np.asarray(alpha[:, 0] > 0.5)


def presence(time: Float64Array, enters: float, travel: float, stay: float) -> Float64Array:
    """Ramp (T,) smoothly from 0 (away) to 1 (in place) in `travel` frames from `enters` on, and back after `stay`."""
    ramp = np.clip(np.minimum(time - enters, enters + 2 * travel + stay - time) / travel, 0, 1)
    return ramp**2 * (3 - 2 * ramp)


def random_passage(
    sprite: Sprite, shapes: Float64Array, first: int, last: int, rng: np.random.Generator
) -> MovingOccluder:
    """Draw the passage of an occluder that is in front of the face at some time in frames [first, last).

    It enters from outside to one of the landmarks in 3 to 10 frames, stays for 4 to 30, and leaves in another
    direction. Half of the occluders follow the face meanwhile (a hand, a cup); the others rest in the scene. `shapes`
    are (T, N, 2) scene pixels.
    """
    frames = len(shapes)
    time = np.arange(frames, dtype=np.float64)
    side = Box.around(shapes[min(max(first, 0), frames - 1)]).size
    travel, stay = rng.uniform(3, 10), rng.uniform(4, 30)
    enters = rng.uniform(first - travel - stay, last - travel / 2)
    there = presence(time, enters, travel, stay)
    landmark = int(rng.integers(shapes.shape[1]))
    target = shapes[:, landmark].copy()
    if rng.random() < 0.5:
        target[:] = target[int(np.clip(enters + travel, 0, frames - 1))]
    came, went = ((np.cos(angle), np.sin(angle)) for angle in rng.uniform(0, 2 * np.pi, 2))
    direction = np.where((time < enters + travel + stay / 2)[:, None], came, went)
    centers = target + direction * (1 - there[:, None]) * FAR * side
    angle, swing = rng.uniform(0, 2 * np.pi), rng.normal(0, 0.25)
    middle = np.full(2, (len(sprite.alpha) - 1) / 2)
    places = [similarity(1.0, angle + swing * (1 - p), middle, c) for p, c in zip(there, centers, strict=True)]
    return MovingOccluder(sprite, np.stack(places))


def wandering_patch(size: float, shapes: Float64Array, rng: np.random.Generator) -> MovingOccluder:
    """Draw the paper's noise patch, `size` pixels, on a random walk over the landmarks of shapes (T, N, 2).

    From frame to frame the index of the landmark changes by -1, 0 or +1, modulo N.
    """
    side = max(round(size), 1)
    noise = rng.integers(0, 256, (side, side, 3)).astype(np.float32)
    indices = (int(rng.integers(shapes.shape[1])) + np.cumsum(rng.integers(-1, 2, len(shapes)))) % shapes.shape[1]
    middle = np.full(2, (side - 1) / 2)
    places = [similarity(1.0, 0.0, middle, shape[i]) for shape, i in zip(shapes, indices, strict=True)]
    return MovingOccluder(Sprite(noise, np.ones((side, side), np.float32)), np.stack(places))

"""Occluders that hide what is hidden on real faces: which landmarks are hidden together is read from annotated faces.

The other occluders have a form, and what they hide follows. Here a pattern of hidden landmarks comes first. Material is
laid over the region of the face that is nearer to hidden than to visible landmarks, so that no others are hidden.
Conventions are those of `srn.synthesis.occluders`; borders are soft and irregular.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.face.geometry import FloatArray, ImageArray
from srn.face.scheme import LandmarkScheme, describe_scheme, described_scheme
from srn.files import write_atomically
from srn.media.arrays import read_npz
from srn.synthesis.config import AugmentConfig
from srn.synthesis.occluders import Covered, face_axes, texture
from srn.synthesis.surroundings import Map, blend, reflected, skin_tone

TRIED = 3
"""Of so many patterns drawn at random the one is taken whose face is most like the face to be hidden."""

WAVE = 0.5
"""How far the outline wanders between a visible landmark (-1) and a hidden one (1); it stays clear of both."""

_FORMAT = "srn occlusion patterns 1"


@dataclass(frozen=True, eq=False)
class OcclusionPatterns:
    """Which landmarks are hidden on P real faces, without their pictures.

    Attributes:
        scheme: numbering of the landmarks.
        hidden: (P, N) bool.
        shapes: (P, N, 2) float32, the landmarks in face units: 0 is the middle of the face box, 1 its size.
        where: name of the patterns in messages.

    Raises:
        DataError: the arrays do not fit each other, or no face has a hidden landmark.
    """

    scheme: LandmarkScheme
    hidden: npt.NDArray[np.bool_]
    shapes: npt.NDArray[np.float32]
    where: str = "occlusion patterns"

    def __post_init__(self) -> None:
        faces, n = len(self.hidden), self.scheme.n_points
        if self.hidden.shape != (faces, n) or self.shapes.shape != (faces, n, 2) or self.hidden.dtype != bool:
            found = f"{self.hidden.dtype} {self.hidden.shape} and {self.shapes.shape}"
            raise DataError.at(self.where, f"flags (P, {n}), bool, and shapes (P, {n}, 2)", found)
        if not np.isfinite(self.shapes).all():
            raise DataError.at(self.where, "finite shapes", "others")
        if not self.hidden.any():
            raise DataError.at(self.where, "a face with a hidden landmark", f"none of {faces}")

    def __len__(self) -> int:
        return len(self.hidden)

    @classmethod
    def of_samples(cls, samples: Iterable[Sample], where: str = "occlusion patterns") -> OcclusionPatterns:
        """Read the patterns of annotated faces; faces without flags are passed over. No picture is opened.

        Raises:
            DataError: no face has flags, none has a hidden landmark, or the faces have several schemes.
        """
        flagged = [sample for sample in samples if sample.occluded is not None]
        schemes = {sample.scheme.name: sample.scheme for sample in flagged}
        if len(schemes) != 1:
            found = ", ".join(sorted(schemes)) or "no face with flags"
            raise DataError.at(where, "flagged faces of one landmark scheme", found)
        boxes = [sample.box for sample in flagged]
        shapes = [(sample.landmarks - box.center) / box.size for sample, box in zip(flagged, boxes, strict=True)]
        hidden = np.stack([np.asarray(sample.occluded, bool) for sample in flagged])
        return cls(flagged[0].scheme, hidden, np.stack(shapes).astype(np.float32), where)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the patterns as `.npz`, atomically."""
        buffer = io.BytesIO()
        described = {"format": np.array(_FORMAT), "scheme": np.array(describe_scheme(self.scheme))}
        np.savez_compressed(buffer, allow_pickle=False, **described, hidden=self.hidden, shapes=self.shapes)
        write_atomically(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> OcclusionPatterns:
        """Read a file that `save` wrote; raise `DataError` where it is missing or another."""
        expected = "occlusion patterns (.npz)"
        arrays = read_npz(path, expected)
        with DataError.reading(path, expected):
            if str(arrays["format"]) != _FORMAT:
                raise ValueError(f"the format {str(arrays['format'])!r}")
            scheme = described_scheme(str(arrays["scheme"]))
            return cls(scheme, arrays["hidden"], arrays["shapes"].astype(np.float32), str(path))

    def draw(self, shape: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
        """Draw which landmarks (N,) of a face (N, 2) shall be hidden: at least one. Half of the patterns are mirrored.

        A hidden cheek of a turned face says little about one that faces the camera: `TRIED` patterns are drawn, and the
        one is taken whose shape comes nearest to the face's by a shift, a scale and a rotation.
        """
        occluded = np.flatnonzero(self.hidden.any(axis=1))
        chosen = occluded[rng.integers(len(occluded), size=TRIED)]
        hidden, shapes = self.hidden[chosen], self.shapes[chosen].astype(np.float64)
        if rng.random() < 0.5:
            hidden, shapes = hidden[:, self.scheme.mirror], shapes[:, self.scheme.mirror] * [-1, 1]
        return hidden[int(np.argmax(_likeness(shapes, shape)))]


def _likeness(shapes: FloatArray, shape: FloatArray) -> npt.NDArray[np.float64]:
    """Return how alike shapes (P, N, 2) are to one (N, 2): 1 where a similarity maps them onto each other, least 0."""
    first, second = (s[..., 0] + 1j * s[..., 1] for s in (shapes, shape))
    first, second = (z - z.mean(axis=-1, keepdims=True) for z in (first, second))
    energy = (np.abs(first) ** 2).sum(axis=1) * (np.abs(second) ** 2).sum()
    return np.abs(first @ second.conj()) ** 2 / (energy + 1e-12)


_loaded = functools.lru_cache(maxsize=4)(OcclusionPatterns.load)


@functools.lru_cache(maxsize=4)
def patterns_in(path: str, scheme: LandmarkScheme | None = None) -> OcclusionPatterns:
    """Return the patterns of a file, which is read once; they have to be of the scheme, if one is given.

    Raises:
        DataError: the file is missing or another.
        InputError: its patterns are of another scheme.
    """
    patterns = _loaded(path)  # with a scheme and without one
    if scheme is not None and patterns.scheme.definition() != scheme.definition():
        raise InputError.at(path, f"patterns of {scheme.name}", f"of {patterns.scheme.name}")
    return patterns


def patterns_of(config: AugmentConfig, scheme: LandmarkScheme | None = None) -> OcclusionPatterns | None:
    """Return the patterns that an augmentation draws from, None if from none; raises as `patterns_in`."""
    if not config.patterns or config.pattern_file is None:
        return None
    return patterns_in(config.pattern_file, scheme)


def pattern_occluder(
    image: ImageArray,
    shape: FloatArray,
    hidden: npt.NDArray[np.bool_],
    scheme: LandmarkScheme,
    rng: np.random.Generator,
    other: Callable[[], ImageArray] | None = None,
    own: float = 0.5,
) -> Covered:
    """Hide the given landmarks of a face and no others, as far as their pixels lie in the picture and apart.

    Args:
        image: (H, W, 3) uint8 RGB, painted on in place.
        shape: (N, 2) landmarks, pixels of `image`.
        hidden: (N,) bool, the landmarks to hide; without any, nothing is painted.
        scheme: numbering of the landmarks.
        rng: outline and material.
        other: gives another face's picture, of which a piece may hide the face; called only when needed.
        own: probability of a material in the picture's own colours: surroundings, hair, skin.

    Returns:
        The covered pixels (H, W). A pixel that a hidden landmark has in common with a visible one is not among them.
    """
    level = _levels(image.shape[:2], shape, hidden, rng)
    if level is None:
        return np.zeros(image.shape[:2], bool)
    filling = _material(image, shape, hidden, level, scheme, rng, other, own)
    alpha = 1 / (1 + np.exp(-np.clip(level / rng.uniform(0.3, 1.6), -30, 30)))
    return blend(image, filling, alpha.astype(np.float32))


def _levels(
    size: tuple[int, int], shape: FloatArray, hidden: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Map | None:
    """Draw how many pixels each pixel (H, W) lies inside the occluder; None where it hides no pixel of the picture."""
    far = _distance(size, shape[~hidden])
    near = _distance(size, shape[hidden])
    if near is None:
        return None
    if far is None:
        far = np.full(size, 2 * float(np.hypot(*size)), np.float32)
    face = float(np.hypot(*np.ptp(shape, axis=0))) / np.sqrt(2)
    cells = rng.random((2, *(int(n) for n in rng.integers(4, 17, 2))), dtype=np.float32) * 2 - 1
    edge, rim = (np.clip(cv2.resize(c, size[::-1], interpolation=cv2.INTER_CUBIC), -1, 1) for c in cells)
    wander = np.clip(rng.uniform(-0.3, 0.3) + rng.uniform(0.1, 0.4) * edge, -WAVE, WAVE)
    between = (far - near) / 2 + wander * (far + near) / 2
    reach = face * (rng.uniform(0.12, 0.3) if rng.random() < 0.5 else rng.uniform(0.3, 0.9))
    return np.minimum(between, (reach + 1) * (1 + 0.5 * rim) - near).astype(np.float32)


def _distance(size: tuple[int, int], points: FloatArray) -> Map | None:
    """Return the distance of each pixel (H, W) from the nearest pixel with a point (K, 2); None without one."""
    x, y = np.floor(points + 0.5).astype(int).T
    inside = (x >= 0) & (x < size[1]) & (y >= 0) & (y < size[0])
    if not inside.any():
        return None
    empty = np.full(size, 255, np.uint8)
    empty[y[inside], x[inside]] = 0
    return np.asarray(cv2.distanceTransform(empty, cv2.DIST_L2, cv2.DIST_MASK_PRECISE), np.float32)


def _material(
    image: ImageArray,
    shape: FloatArray,
    hidden: npt.NDArray[np.bool_],
    level: Map,
    scheme: LandmarkScheme,
    rng: np.random.Generator,
    other: Callable[[], ImageArray] | None,
    own: float,
) -> npt.NDArray[np.floating] | ImageArray:
    """Draw what fills the region: (H, W, 3) of the picture's size."""
    height, width = image.shape[:2]
    if rng.random() >= own:
        if other is None or rng.random() < 0.6:
            return texture(height, width, rng)
        donor = cv2.resize(other(), (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        return np.roll(donor, tuple(rng.integers(-height // 3, height // 3 + 1, 2).tolist()), axis=(0, 1))
    out = shape[hidden].mean(axis=0) - shape.mean(axis=0)
    if np.linalg.norm(out) < 0.05 * np.hypot(*np.ptp(shape, axis=0)):  # all around: from any side
        angle = rng.uniform(0, 2 * np.pi)
        out = np.array([np.cos(angle), np.sin(angle)])
    out = out / (np.linalg.norm(out) + 1e-6)
    kind = rng.random()
    if kind < 0.4:
        return reflected(image, shape, -out, rng.uniform(0, 0.06))
    if kind < 0.75:
        return _strands(image, shape, out, scheme, rng)
    _, _, aside = face_axes(shape, scheme)
    depth = np.clip(level / (0.3 * float(np.linalg.norm(aside)) + 1e-6), 0, 1)
    grain = rng.standard_normal((height, width), dtype=np.float32) * 0.015
    shade = 1.05 - 0.35 * (1 - depth) ** 3 + grain  # darker towards its edge, as a round thing
    return np.clip(skin_tone(image, shape, scheme, rng) * shade[..., None], 0, 255)


def _strands(
    image: ImageArray, shape: FloatArray, out: FloatArray, scheme: LandmarkScheme, rng: np.random.Generator
) -> npt.NDArray[np.float64]:
    """Draw strands, more or less along the face, in the colours beyond its edge in the direction `out`."""
    _, down, _ = face_axes(shape, scheme)
    size = float(np.hypot(*np.ptp(shape, axis=0)))
    beyond = float((shape @ out).max() - shape.mean(axis=0) @ out) + rng.uniform(0.03, 0.2, (40, 1)) * size
    places = shape.mean(axis=0) + out * beyond + rng.normal(0, 0.1, (40, 2)) * size
    x, y = np.clip(places, 0, np.array(image.shape[1::-1]) - 1).astype(int).T
    colors = image[y, x].astype(np.float64)
    base = np.median(colors, axis=0)
    angle = np.arctan2(down[1], down[0]) + rng.normal(0, 0.5)
    rows, columns = np.mgrid[0 : image.shape[0], 0 : image.shape[1]]
    across = np.abs(np.round(columns * np.sin(angle) - rows * np.cos(angle))).astype(int)
    count = int(across.max()) + 1
    strand = base + (colors[rng.integers(40, size=count)] - base) * 0.5
    strand = strand * rng.normal(1, 0.1, (count, 1)) + rng.normal(0, 4, (count, 1))
    return np.clip(cv2.GaussianBlur(strand[across], (0, 0), 0.9), 0, 255)

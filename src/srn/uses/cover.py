"""Cover faces or eyes in a picture: which part is covered, and how it is painted.

Doubt covers more: the margin around a face grows as its confidence falls, and a face that is in doubt is covered by its
box as well as by its points. Nothing is covered less because it is in doubt.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import check_number
from srn.face.geometry import Box, Float64Array, FloatArray, ImageArray
from srn.inference.engines import check_choice
from srn.inference.face import Face
from srn.inference.inputs import ImageInput, as_image

Target = Literal["face", "eyes"]
Style = Literal["pixelate", "blur", "fill"]

SURE = 0.6
"""Mean confidence below which a face is covered by its box as well, and its eyes by the whole face."""

FOREHEAD = 0.75  # from the brows up to the hair, as a share of the distance from the chin to the brows
MARGIN, DOUBT_MARGIN = 0.08, 0.4  # around a certain face, and in addition around one of confidence 0, in face sizes
BOX_SCALE = (1.4, 1.9)  # of a box, brows to chin, that covers the head with its hair: width, height
EYE_HEIGHT, EYE_WIDTH = 0.6, 1.5  # of the band over the eyes, in distances of the outer corners
DETAIL = 6  # blocks across a face: the most detail that is left
_LEAST_BLOCK = 4  # pixels
FILL = (24, 24, 28)
"""RGB of the style `fill`."""
_CORNERS = 16  # of the polygon that stands for a circle
_FAR = 1 << 20  # pixels; the end of what OpenCV draws


@dataclass(frozen=True)
class Cover:
    """What is covered, and how.

    Attributes:
        target: `face`: forehead to chin; `eyes`: a band over both eyes, where they are certain, else the whole face.
        style: `pixelate`: blocks, six across a face; `blur`: the same without edges; `fill`: one colour, of which
            nothing can be restored.
        margin: further margin on every side, in face sizes (`Box.size`).

    Raises:
        InputError: an unknown target or style, or a negative margin.
    """

    target: Target = "face"
    style: Style = "pixelate"
    margin: float = 0.0

    def __post_init__(self) -> None:
        check_choice("target", self.target, Target)
        check_choice("style", self.style, Style)
        check_number("margin", self.margin, "0 face sizes or more", least=0)


@dataclass(frozen=True, eq=False)
class Region:
    """A part of a picture that is covered: convex polygons (K, 2), picture pixels, and the size of its face, pixels."""

    polygons: tuple[Float64Array, ...]
    size: float

    def mask(self, height: int, width: int) -> npt.NDArray[np.bool_]:
        """Return the covered pixels (H, W) of a picture."""
        mask = np.zeros((height, width), np.uint8)
        for polygon in self.polygons:
            corners = np.round(np.clip(polygon, -_FAR, _FAR)).astype(np.int32)
            cv2.fillConvexPoly(mask, corners, 1)
        return mask.astype(bool)


def region_of(face: Face, cover: Cover | None = None, *, extra: float = 0.0) -> Region:
    """Return the part of the picture that covers a face.

    The face is the hull of its landmarks and of the forehead above its brows, in the direction from chin to brows. Its
    margin is 0.08 face sizes and 0.4 times the doubt, 1 - the mean confidence; without a confidence the doubt is 1.
    Below `SURE` the box by which the face was found is covered, too, enlarged to a head's;
    so it is in schemes without brows or mouth.

    Args:
        extra: further margin in face sizes, such as for a face that moves.
    """
    cover = Cover() if cover is None else cover
    sure = face.mean_confidence or 0.0
    size = max(face.landmark_box.size, face.box.size)
    margin = (MARGIN + DOUBT_MARGIN * (1 - sure) + cover.margin + extra) * size
    if cover.target == "eyes" and sure >= SURE and _eyes_confidence(face) >= SURE:
        return Region((_dilated(_eye_band(face), margin),), size)
    outlined = all(face.scheme.part(name) for name in ("brows", "mouth"))  # else a few points, which outline no face
    polygons = [_dilated(_with_forehead(face) if outlined else face.landmarks, margin)]
    if sure < SURE or not outlined:
        polygons.append(_head_of(face.box, margin))
    return Region(tuple(polygons), size)


def region_of_box(box: Box, cover: Cover | None = None, *, extra: float = 0.0) -> Region:
    """Return the part that covers a head known by its face box (brows to chin) alone: as a face of confidence 0."""
    cover = Cover() if cover is None else cover
    margin = (MARGIN + DOUBT_MARGIN + cover.margin + extra) * box.size
    return Region((_head_of(box, margin),), box.size)


def cover_faces(image: ImageInput, faces: Iterable[Face], cover: Cover | None = None) -> ImageArray:
    """Cover faces on a copy of a picture, (H, W, 3) uint8 RGB.

    Args:
        image: the picture, as for `as_image`.
        faces: all faces that were found in it: leave none out because it is in doubt.
        cover: what is covered and how; the whole face, pixelated, if None.
    """
    cover = Cover() if cover is None else cover
    return cover_regions(as_image(image), [region_of(face, cover) for face in faces], cover.style)


def cover_regions(image: ImageArray, regions: Iterable[Region], style: Style) -> ImageArray:
    """Paint over parts of a picture (H, W, 3) uint8 RGB, on a copy."""
    drawn = np.array(image)
    for region in regions:
        mask = region.mask(*image.shape[:2])
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            continue
        place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        # From what is painted already: two faces that overlap leave no more detail than one.
        window, inside = drawn[place], mask[place]
        window[inside] = _painted(window, region.size, style)[inside]
    return drawn


def _painted(window: ImageArray, size: float, style: Style) -> ImageArray:
    """Return a window (H, W, 3) with no more detail than `DETAIL` blocks across a face of `size` pixels."""
    if style == "fill":
        return np.full_like(window, FILL)
    height, width = window.shape[:2]
    block = max(size / DETAIL, _LEAST_BLOCK)
    few = (max(round(width / block), 1), max(round(height / block), 1))
    means = cv2.resize(window, few, interpolation=cv2.INTER_AREA)
    how = cv2.INTER_NEAREST if style == "pixelate" else cv2.INTER_LINEAR
    large = cv2.resize(means, (width, height), interpolation=how)
    return large.astype(np.uint8, copy=False)


def _eyes_confidence(face: Face) -> float:
    eyes = [*face.scheme.part("eyes"), *face.scheme.eye_corners]
    return 0.0 if face.confidence is None else float(face.confidence[eyes].mean())


def _eye_band(face: Face) -> Float64Array:
    """Return the corners (4, 2) of the band over both eyes."""
    left, right = face.landmarks[list(face.scheme.eye_corners)]
    across = right - left
    length = max(float(np.hypot(*across)), 0.5 * face.landmark_box.size)  # of a profile the corners lie close
    along = across / max(float(np.hypot(*across)), 1e-9) * length
    upwards = along[::-1] * [1, -1]
    middle = face.landmarks[[*face.scheme.part("eyes"), *face.scheme.eye_corners]].mean(axis=0)
    ends = [
        middle + x * EYE_WIDTH / 2 * along + y * EYE_HEIGHT / 2 * upwards
        for x, y in ((-1, 1), (1, 1), (1, -1), (-1, -1))
    ]
    return np.array(ends)


def _with_forehead(face: Face) -> Float64Array:
    """Return the landmarks and those of the brows raised by the height of a forehead."""
    points = face.landmarks
    brows, rest = list(face.scheme.part("brows")), list(face.scheme.part("jaw") or face.scheme.part("mouth"))
    middle = points[brows].mean(axis=0)
    # The lowest point is the one farthest from the brows: the chin, however the face is turned in the picture.
    chin = points[rest][np.argmax(np.linalg.norm(points[rest] - middle, axis=1))]
    mouth = points[list(face.scheme.part("mouth"))].mean(axis=0)
    up = middle - mouth
    up = up / max(float(np.hypot(*up)), 1e-9) * float(np.hypot(*(middle - chin)))
    return np.concatenate([points, points[brows] + FOREHEAD * up])


def _head_of(box: Box, margin: float) -> Float64Array:
    """Return the corners of a face box enlarged to a head, which lies higher than the box from brows to chin."""
    head = box.adjusted((0.0, -0.2 * box.height), BOX_SCALE)
    corners = [[head.x0, head.y0], [head.x1, head.y0], [head.x1, head.y1], [head.x0, head.y1]]
    return _dilated(np.array(corners), margin)


def _dilated(points: FloatArray, margin: float) -> Float64Array:
    """Return the convex hull of points (K, 2) and of all that lies within `margin` pixels of it: no less than that."""
    angles = 2 * np.pi * np.arange(_CORNERS) / _CORNERS
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1) * (margin / np.cos(np.pi / _CORNERS))
    spread = (points[:, None] + ring).reshape(-1, 2)
    return cv2.convexHull(spread.astype(np.float32))[:, 0].astype(np.float64)

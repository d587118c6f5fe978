"""Drawing a face on a picture: points coloured by component, hidden points hollow."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import Box, FloatArray, ImageArray
from srn.face.scheme import LandmarkScheme

COMPONENT_COLORS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "brows": (255, 190, 11),
        "eyes": (58, 190, 255),
        "nose": (60, 220, 130),
        "mouth": (255, 84, 112),
        "left_cheek": (205, 160, 255),
        "right_cheek": (205, 160, 255),
    }
)
"""RGB of each component; the two cheeks are one outline and share a colour."""

_SUBPIXEL_BITS = 4
_OUTLINE = (20, 20, 24)


def _fixed(value: float | npt.NDArray[np.floating]) -> npt.NDArray[np.int32]:
    """OpenCV's fixed-point coordinates. Clipped: a wild point must not overflow them."""
    return np.round(np.clip(value, -30000, 30000) * (1 << _SUBPIXEL_BITS)).astype(np.int32)


def _ring(image: ImageArray, center: FloatArray, radius: float, color: tuple[int, int, int], hole: float = 0.0) -> None:
    """A disc, or a ring, with exact sub-pixel edges: OpenCV's small circles come out as diamonds."""
    height, width = image.shape[:2]
    x, y = float(center[0]), float(center[1])
    x0, x1 = max(int(np.floor(x - radius - 1)), 0), min(int(np.ceil(x + radius + 2)), width)
    y0, y1 = max(int(np.floor(y - radius - 1)), 0), min(int(np.ceil(y + radius + 2)), height)
    if x0 >= x1 or y0 >= y1:
        return
    distance = np.hypot(np.arange(x0, x1)[None, :] - x, np.arange(y0, y1)[:, None] - y)
    alpha = np.clip(radius + 0.5 - distance, 0, 1)
    if hole > 0:
        alpha = np.minimum(alpha, np.clip(distance - hole + 0.5, 0, 1))
    window = image[y0:y1, x0:x1]
    window[:] = np.round(window * (1 - alpha[..., None]) + np.array(color) * alpha[..., None]).astype(np.uint8)


def draw_face(
    image: ImageArray,
    shape: FloatArray,
    scheme: LandmarkScheme,
    *,
    visibility: FloatArray | None = None,
    box: Box | None = None,
    contours: bool = True,
    size: float | None = None,
) -> None:
    """Draw one face into `image` (H, W, 3) uint8 RGB, in place.

    Args:
        image: the picture.
        shape: (N, 2) picture pixels.
        scheme: numbering of the landmarks; gives colours and contours.
        visibility: (N,) in [0, 1]; points below 0.5 are drawn hollow. All are filled where None.
        box: drawn as a thin rectangle where given.
        contours: whether the points of a contour are joined by thin lines.
        size: radius of a point in pixels; chosen from the size of the face where None.
    """
    # A wild point makes the face large, but no point larger than in a face that fills the picture.
    extent = min(float(np.hypot(*np.ptp(shape, axis=0))), float(np.hypot(*image.shape[:2])))
    radius = size if size is not None else max(extent / 110, 1.0)
    thin = max(round(radius * 0.6), 1)
    if box is not None:
        corners = _fixed(np.array([[box.x0, box.y0], [box.x1, box.y1]])).tolist()
        for color, width in ((_OUTLINE, thin + 2), ((255, 255, 255), thin)):
            cv2.rectangle(image, corners[0], corners[1], color, width, cv2.LINE_AA, _SUBPIXEL_BITS)
    if contours:
        layer = image.copy()
        for component, indices, closed in scheme.contours:
            line = _fixed(shape[list(indices)])
            cv2.polylines(layer, [line], closed, COMPONENT_COLORS[component], thin, cv2.LINE_AA, _SUBPIXEL_BITS)
        cv2.addWeighted(layer, 0.55, image, 0.45, 0, dst=image)
    rim = max(radius * 0.4, 0.5)
    for component, indices in scheme.components.items():
        color = COMPONENT_COLORS[component]
        for i in indices:
            hidden = visibility is not None and visibility[i] < 0.5
            hole = radius * 0.75 if hidden else 0.0
            outer = radius * 1.25 if hidden else radius
            _ring(image, shape[i], outer + rim, _OUTLINE, max(hole - rim, 0.0))
            _ring(image, shape[i], outer, color, hole)

"""Draw faces: on a picture (`draw_faces`), or with their tracks on the frames of a video (`TrackPainter`)."""

from __future__ import annotations

import colorsys
import itertools
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import InputError, check_number, shown
from srn.face import ellipse
from srn.face.geometry import Box, Float64Array, FloatArray, ImageArray
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.inference.face import Face
from srn.inference.inputs import ImageInput, as_image

Color = tuple[int, int, int]
Trace = list[tuple[float, Float64Array]]

COMPONENT_COLORS: Mapping[str, Color] = MappingProxyType(
    {
        "brows": (255, 190, 11),
        "eyes": (58, 190, 255),
        "nose": (60, 220, 130),
        "mouth": (255, 84, 112),
        "left_cheek": (205, 160, 255),
        "right_cheek": (205, 160, 255),
    }
)
"""RGB of each component; both cheeks are one outline and share a colour."""

DOUBTFUL_COLOR: Color = (150, 150, 150)
"""RGB of the points of a doubtful face (`Face.is_doubtful`), which is also drawn fainter."""

SUBPIXEL_BITS = 4
"""Binary digits behind the point in OpenCV's fixed-point coordinates (`fixed_point`)."""

_DOUBTFUL_SHARE = 0.6
_ELLIPSE_SHARE = 0.8
_DARK = (20, 20, 24)
_WHITE = (255, 255, 255)
_FONT = cv2.FONT_HERSHEY_DUPLEX
_MOST_GROWTH = 4.0
_THICKEST = 32_767  # line that OpenCV draws, pixels
_FULL_EXTENT = 110.0  # diagonal of a face in pixels; on smaller ones dots and lines shrink and fade


def draw_faces(
    image: ImageInput,
    faces: Iterable[Face],
    *,
    boxes: bool = True,
    contours: bool = True,
    size: float | None = None,
    colors: Mapping[str, Color] | None = None,
    box_color: Color = _WHITE,
    ellipses: bool = False,
) -> ImageArray:
    """Draw faces on a copy of a picture, (H, W, 3) uint8 RGB: landmarks coloured by component, hidden ones as rings.

    Doubtful faces (`Face.is_doubtful`) are grey and faint.

    Args:
        image: the picture: an array (H, W, 3) of uint8, RGB, the path of a file, or a PIL image, as for `as_image`.
        faces: the faces, in pixels of this picture.
        boxes: whether the face boxes are drawn.
        contours: whether the points of a contour are joined by thin lines.
        size: radius of a point in pixels; chosen by the size of each face if None.
        colors: RGB of components; those of `COMPONENT_COLORS` for all others.
        box_color: RGB of the boxes.
        ellipses: whether the ellipse around each point is drawn in which nine of ten true points should lie
            (`Face.covariance`).

    Raises:
        InputError: the picture is none, `faces` holds something else than faces, `size` is not positive, a colour is
            none, or faces have no covariance for ellipses.
    """
    check_color("box_color", box_color)
    for component, color in (colors or {}).items():
        if component not in COMPONENT_COLORS:
            raise InputError.at("colors", f"components: {', '.join(COMPONENT_COLORS)}", repr(component))
        check_color(f"colors[{component!r}]", color)
    if size is not None:
        check_number("size", size, "a positive number of pixels", least=math.ulp(0.0))
    drawn = drawable(image)
    for face in _checked(faces):
        doubtful = face.is_doubtful
        layer = drawn.copy() if doubtful else drawn
        of_face = dict.fromkeys(COMPONENT_COLORS, DOUBTFUL_COLOR) if doubtful else colors
        draw_face(
            layer, face.landmarks, face.scheme, visibility=face.visibility, box=face.box if boxes else None,
            contours=contours, size=size, colors=of_face,
            box_color=DOUBTFUL_COLOR if doubtful else box_color, covariance=_covariance(face, wanted=ellipses),
        )  # fmt: skip
        if doubtful:
            cv2.addWeighted(layer, _DOUBTFUL_SHARE, drawn, 1 - _DOUBTFUL_SHARE, 0, dst=drawn)
    return drawn


def draw_face(
    image: ImageArray,
    shape: FloatArray,
    scheme: LandmarkScheme,
    *,
    visibility: FloatArray | None = None,
    box: Box | None = None,
    contours: bool = True,
    size: float | None = None,
    colors: Mapping[str, Color] | None = None,
    box_color: Color = _WHITE,
    covariance: FloatArray | None = None,
) -> None:
    """Draw the landmarks (N, 2) of one face into `image` (H, W, 3) uint8 RGB, in place.

    Args:
        visibility: (N,) in [0, 1]; points below 0.5 are drawn as rings. All are discs if None.
        box: drawn as a thin rectangle if given.
        contours, size, colors, box_color: as in `draw_faces`.
        covariance: (N, 2, 2) of the points' errors, whose ellipses are drawn if given.
    """
    colors = {**COMPONENT_COLORS, **(colors or {})}
    # A wild point makes the face large, but its points no larger than in a face that fills the picture.
    # Few points span a part of the face only, and have more room: they are drawn larger.
    growth = float(np.clip(np.sqrt(IBUG_68.n_points / scheme.n_points), 1, _MOST_GROWTH))
    diagonal = float(np.hypot(*image.shape[:2]))
    extent = min(float(np.hypot(*np.ptp(shape, axis=0))) * growth, diagonal)
    radius = max(extent / _FULL_EXTENT, 0.35) if size is None else min(size, diagonal)
    thin = int(np.clip(round(radius * 0.6), 1, _THICKEST))
    if box is not None:
        corners = fixed_point(np.array([[box.x0, box.y0], [box.x1, box.y1]])).tolist()
        rims = [(_DARK, thin + 2)] * (extent >= _FULL_EXTENT)
        for color, width in (*rims, (box_color, thin)):
            cv2.rectangle(image, corners[0], corners[1], color, width, cv2.LINE_AA, SUBPIXEL_BITS)
    window, corner = _window(image, shape, thin + 1)
    if contours and window.size:
        share = 0.55 * float(np.clip(extent / _FULL_EXTENT, 0.2, 1))  # a line is never thinner than one pixel
        layer = window.copy()
        for component, indices, closed in scheme.contours:
            line = fixed_point(shape[list(indices)] - corner)
            cv2.polylines(layer, [line], closed, colors[component], thin, cv2.LINE_AA, SUBPIXEL_BITS)
        window[:] = cv2.addWeighted(layer, share, window, 1 - share, 0)
    if covariance is not None:
        _draw_ellipses(image, shape, covariance, scheme, colors)
    rim = max(radius * 0.4, min(radius, 1) * 0.5)
    for component, indices in scheme.components.items():
        color = colors[component]
        for i in indices:
            hidden = visibility is not None and visibility[i] < 0.5
            hole = radius * 0.75 if hidden else 0.0
            outer = radius * 1.25 if hidden else radius
            _draw_ring(image, shape[i], outer + rim, _DARK, max(hole - rim, 0.0))
            _draw_ring(image, shape[i], outer, color, hole)


def _draw_ellipses(
    image: ImageArray, shape: FloatArray, covariance: FloatArray, scheme: LandmarkScheme, colors: Mapping[str, Color]
) -> None:
    """Draw the outline of each point's ellipse of nine tenths, thin and a little transparent."""
    deviations, angles = ellipse.semi_axes(covariance.astype(np.float64))
    axes = np.minimum(deviations * ellipse.RADII[0.9], float(np.hypot(*image.shape[:2])))
    window, corner = _window(image, shape, math.ceil(axes.max()) + 2)
    if not window.size:
        return
    layer, centers, sizes = window.copy(), fixed_point(shape - corner), fixed_point(axes)
    for component, indices in scheme.components.items():
        for i in indices:
            turn = math.degrees(float(angles[i]))
            place, size = centers[i].tolist(), sizes[i].tolist()
            cv2.ellipse(layer, place, size, turn, 0, 360, colors[component], 1, cv2.LINE_AA, SUBPIXEL_BITS)
    window[:] = cv2.addWeighted(layer, _ELLIPSE_SHARE, window, 1 - _ELLIPSE_SHARE, 0)


class TrackPainter:
    """Draws the frames of one video, in order: landmarks, track numbers, and a trace of each track.

    `trace_s` is the length of a trace in seconds, 0 for none. `contours`, `boxes` and `ellipses` are those of
    `draw_faces`.
    """

    def __init__(
        self, trace_s: float = 1.0, *, contours: bool = True, boxes: bool = False, ellipses: bool = False
    ) -> None:
        check_number("trace_s", trace_s, "seconds, 0 or more", least=0)
        self.trace_s, self.contours, self.boxes, self.ellipses = trace_s, contours, boxes, ellipses
        self._traces: dict[int, Trace] = {}

    def draw(self, image: ImageArray, faces: Iterable[Face], time_s: float) -> ImageArray:
        """Draw the faces that `FaceTracker.update` returned for a frame (H, W, 3) uint8 RGB on a copy of it.

        The trace follows the middle of the nose. A lost face is the fainter, the lower its confidence.
        """
        drawn = drawable(image)
        faces = _checked(faces)
        for face in faces:
            if face.track_id is not None:
                nose = face.part("nose").mean(axis=0)
                self._traces.setdefault(face.track_id, []).append((time_s, nose))
        recent = {n: [p for p in trace if time_s - p[0] <= self.trace_s] for n, trace in self._traces.items()}
        self._traces = {number: trace for number, trace in recent.items() if trace}
        present = {face.track_id for face in faces}
        for number, trace in self._traces.items():
            if number in present:
                self._draw_trace(drawn, trace, time_s, track_color(number))
        for face in faces:
            self._draw_face(drawn, face)
        return drawn

    def _draw_trace(self, image: ImageArray, trace: Trace, time_s: float, color: Color) -> None:
        """Draw one thin line that fades towards its older end."""
        if len(trace) < 2:
            return
        window, corner = _window(image, np.array([point for _, point in trace]), 4)
        if not window.size:
            return
        strength = np.zeros(window.shape[:2], np.uint8)
        thick = max(round(min(image.shape[:2]) / 240), 1)
        for (_, before), (moment, after) in itertools.pairwise(trace):
            age = (time_s - moment) / self.trace_s
            ends = [fixed_point(point - corner).tolist() for point in (before, after)]
            cv2.line(strength, ends[0], ends[1], int(255 * 0.85 * (1 - age)), thick, cv2.LINE_AA, SUBPIXEL_BITS)
        alpha = strength[..., None].astype(np.float32) / 255
        window[:] = np.round(window * (1 - alpha) + np.array(color, np.float32) * alpha).astype(np.uint8)

    def _draw_face(self, image: ImageArray, face: Face) -> None:
        lost = face.state == "predicted"
        layer = image.copy() if lost else image
        box = face.box if self.boxes else None
        draw_face(
            layer, face.landmarks, face.scheme, visibility=face.visibility, box=box, contours=self.contours,
            covariance=_covariance(face, wanted=self.ellipses),
        )  # fmt: skip
        if face.track_id is not None:
            _draw_number(layer, face.track_id, face.landmarks)
        if lost:
            share = 0.2 + 0.6 * (face.mean_confidence or 0.0)
            cv2.addWeighted(layer, share, image, 1 - share, 0, dst=image)


def check_color(name: str, color: Any) -> None:
    """Raise `InputError` unless a colour is RGB: three whole numbers from 0 to 255."""
    parts = list(color) if isinstance(color, Iterable) and not isinstance(color, str | bytes) else []
    if len(parts) != 3 or not all(isinstance(part, int | np.integer) and 0 <= part <= 255 for part in parts):
        raise InputError.at(name, "RGB: three whole numbers from 0 to 255", shown(color))


def _covariance(face: Face, *, wanted: bool) -> FloatArray | None:
    if wanted and face.covariance is None:
        raise InputError.at("ellipses", "faces with a covariance, of weights that predict it", "a face without")
    return face.covariance if wanted else None


def _checked(faces: Any) -> list[Face]:
    given = list(faces) if isinstance(faces, Iterable) else [faces]
    for face in given:
        if not isinstance(face, Face):
            raise InputError.at("faces", "a list of `Face`, as FaceLandmarker.detect returns", type(face).__name__)
    return given


def track_color(track_id: int) -> Color:
    """Return the RGB colour of a track; golden-ratio steps of the hue keep the colours of consecutive tracks apart."""
    red, green, blue = colorsys.hsv_to_rgb((0.56 + track_id * 0.618034) % 1, 0.65, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


def _window(image: ImageArray, points: FloatArray, margin: int) -> tuple[ImageArray, npt.NDArray[np.int64]]:
    """Return the part of a picture around points (K, 2), which may be empty, and its corner (2,): x, y."""
    size = (image.shape[1], image.shape[0])
    low = np.clip(points.min(axis=0) - margin, 0, size).astype(np.int64)
    high = np.clip(points.max(axis=0) + margin + 1, 0, size).astype(np.int64)
    return image[low[1] : high[1], low[0] : high[0]], low


def fixed_point(points: FloatArray) -> npt.NDArray[np.int32]:
    """Convert pixels to OpenCV's fixed-point coordinates, clipped so that a wild point does not overflow them."""
    return np.round(np.clip(points, -30000, 30000) * (1 << SUBPIXEL_BITS)).astype(np.int32)


def drawable(image: ImageInput) -> ImageArray:
    """Return a copy of a picture, as for `as_image`, on which OpenCV draws: (H, W, 3) uint8 RGB, row after row."""
    return np.array(as_image(image), order="C")


def _draw_ring(image: ImageArray, center: FloatArray, radius: float, color: Color, hole: float = 0.0) -> None:
    """Draw a disc, or a ring around a hole, with exact sub-pixel edges: OpenCV draws small circles as diamonds."""
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


def _draw_number(image: ImageArray, number: int, shape: FloatArray) -> None:
    """Draw the number on a tag in the track's colour, above the left end of the face."""
    low, high = shape.min(axis=0), shape.max(axis=0)
    height, width = image.shape[:2]
    scale = float(np.clip(np.hypot(*(high - low)) / 380, 0.4, max(0.4, min(height, width) / 500)))
    text = str(number)
    (text_width, text_height), _ = cv2.getTextSize(text, _FONT, scale, 1)
    pad = max(round(6 * scale), 3)
    x = int(np.clip(low[0], 0, max(width - text_width - 2 * pad, 0)))
    y = int(np.clip(low[1] - text_height - 4 * pad, 0, max(height - text_height - 2 * pad, 0)))
    corner = (x + text_width + 2 * pad, y + text_height + 2 * pad)
    cv2.rectangle(image, (x, y), corner, track_color(number), cv2.FILLED, cv2.LINE_AA)
    cv2.putText(image, text, (x + pad, y + pad + text_height), _FONT, scale, _DARK, max(round(scale), 1), cv2.LINE_AA)

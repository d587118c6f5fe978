"""Followed faces drawn on a video: points, number, and the way each face has come."""

from __future__ import annotations

import colorsys
from collections import deque
from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import FloatArray, ImageArray
from srn.inference.drawing import draw_face
from srn.inference.face import Face

_FONT = cv2.FONT_HERSHEY_DUPLEX
_DARK = (20, 20, 24)
_BITS = 4


def track_color(track_id: int) -> tuple[int, int, int]:
    """RGB of a track: neighbouring numbers get colours far apart (golden-ratio steps around the colour wheel)."""
    red, green, blue = colorsys.hsv_to_rgb((0.56 + track_id * 0.618034) % 1, 0.65, 1.0)
    return round(red * 255), round(green * 255), round(blue * 255)


class TrackPainter:
    """Draws the frames of one video, handed in in order; it remembers the traces.

    Args:
        trace_s: how far back a trace reaches, seconds; 0 leaves traces out.
        contours: whether the points of a contour are joined by thin lines.
        boxes: whether the box of each face is drawn.
    """

    def __init__(self, trace_s: float = 1.0, *, contours: bool = True, boxes: bool = False) -> None:
        self.trace_s, self.contours, self.boxes = trace_s, contours, boxes
        self._traces: dict[int, deque[tuple[float, npt.NDArray[np.float64]]]] = {}

    def draw(self, image: ImageArray, faces: Iterable[Face], time_s: float) -> ImageArray:
        """A copy of the frame (H, W, 3) uint8 RGB of the moment `time_s` with its faces drawn.

        Points are coloured by component, hidden ones hollow. The trace is the way of the middle of the nose. A face
        that is lost for the moment is drawn fainter the less sure its place is.
        """
        drawn: ImageArray = np.array(image)
        faces = list(faces)
        for face in faces:
            if face.track_id is not None:
                nose = face.landmarks[list(face.scheme.components["nose"])].mean(axis=0)
                self._traces.setdefault(face.track_id, deque()).append((time_s, nose))
        for number, trace in list(self._traces.items()):
            while trace and time_s - trace[0][0] > self.trace_s:
                trace.popleft()
            if not trace:
                del self._traces[number]
        shown = {face.track_id for face in faces}
        for number, trace in self._traces.items():
            if number in shown:
                self._draw_trace(drawn, trace, time_s, track_color(number))
        for face in faces:
            self._draw_face(drawn, face)
        return drawn

    def _draw_trace(
        self,
        image: ImageArray,
        trace: deque[tuple[float, npt.NDArray[np.float64]]],
        time_s: float,
        color: tuple[int, int, int],
    ) -> None:
        """One thin line whose older end melts into the picture."""
        if len(trace) < 2:
            return
        points = [point for _, point in trace]
        (x0, y0), (x1, y1) = np.min(points, axis=0) - 4, np.max(points, axis=0) + 5
        height, width = image.shape[:2]
        left, right = (int(v) for v in np.clip([x0, x1], 0, width))
        top, bottom = (int(v) for v in np.clip([y0, y1], 0, height))
        if left >= right or top >= bottom:
            return
        window = image[top:bottom, left:right]
        strength = np.zeros(window.shape[:2], np.uint8)
        thick = max(round(min(height, width) / 240), 1)
        for (_, before), (moment, after) in zip(trace, list(trace)[1:], strict=False):
            age = (time_s - moment) / self.trace_s
            ends = [_fixed(point - (left, top)) for point in (before, after)]
            cv2.line(strength, ends[0], ends[1], int(255 * 0.85 * (1 - age)), thick, cv2.LINE_AA, _BITS)
        alpha = strength[..., None].astype(np.float32) / 255
        window[:] = np.round(window * (1 - alpha) + np.array(color, np.float32) * alpha).astype(np.uint8)

    def _draw_face(self, image: ImageArray, face: Face) -> None:
        lost = face.visibility is not None and not face.visibility.any()
        layer = image.copy() if lost else image
        draw_face(
            layer,
            face.landmarks,
            face.scheme,
            visibility=face.visibility,
            box=face.box if self.boxes else None,
            contours=self.contours,
        )
        if face.track_id is not None:
            _draw_number(layer, face.track_id, face.landmarks)
        if lost:
            share = 0.2 + 0.6 * (0.0 if face.confidence is None else float(face.confidence.mean()))
            cv2.addWeighted(layer, share, image, 1 - share, 0, dst=image)


def _fixed(point: FloatArray) -> tuple[int, int]:
    """OpenCV's fixed-point coordinates; clipped, since a wild point must not overflow them."""
    x, y = np.round(np.clip(point, -30000, 30000) * (1 << _BITS)).astype(int).tolist()
    return x, y


def _draw_number(image: ImageArray, number: int, shape: FloatArray) -> None:
    """The number on a tag of its colour, above the left end of the face."""
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

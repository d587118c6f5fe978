"""Judge proposed parts of a picture: which of them may hold a small face that the face finder would find.

A small network sees each part as the finder would, at a seventh of its cost, and spares it many of those that hold
none. It was trained on training faces and backgrounds only (`docs/face_finder.md`).
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from srn.face.geometry import FloatArray, ImageArray
from srn.face.localizer import Float32Array
from srn.face.onnx_file import SHIPPED, read_model
from srn.inference.engines import Device
from srn.inference.sessions import open_session

SIDE = 96  # pixels of a part, as the finder sees it
THRESHOLD = 0.03  # least probability of a face in a part that is searched (`docs/face_finder.md`)


class PartNetwork:
    """A network of this layout in ONNX Runtime: the one that the package ships, or that of `model`."""

    def __init__(self, model: Path | None = None, *, threads: int | None = None, device: Device = "cpu") -> None:
        where, expected = model or SHIPPED / "parts.onnx", "the network that judges parts of a picture"
        self._session = open_session(read_model(where, expected), where, expected, threads=threads, device=device)

    def __call__(self, parts: ImageArray) -> Float32Array:
        """Map parts (B, 96, 96, 3) to the probability (B,) that the finder finds a face of 24 to 48 pixels in each."""
        images = np.ascontiguousarray(parts.transpose(0, 3, 1, 2), np.float32)
        logits = self._session.run(["logits"], {"image": images})[0]
        return np.asarray((1 + np.tanh(logits / 2)) / 2, np.float32)  # the logistic function, which never overflows so

    def likely(self, image: ImageArray, centers: FloatArray, scale: float) -> npt.NDArray[np.bool_]:
        """Tell of points (K, 2), in pixels counted from the corner, which may be in a face at `scale`: a mask (K,)."""
        if not len(centers):
            return np.zeros(0, bool)
        return self(np.stack([part_around(image, center, scale) for center in centers])) > THRESHOLD


def part_around(image: ImageArray, center: FloatArray, scale: float) -> ImageArray:
    """Cut the square around a point that has 96 pixels when resized by `scale`; it is black outside of the picture."""
    side = max(1, round(SIDE / scale))
    x, y = (round(float(value) - side / 2) for value in center)
    part = image[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
    height, width = part.shape[:2]
    above, before = max(-y, 0), max(-x, 0)
    margins = above, side - height - above, before, side - width - before
    if any(margins):
        part = cv2.copyMakeBorder(part, *margins, cv2.BORDER_CONSTANT).astype(np.uint8, copy=False)
    if side == SIDE:
        return part
    interpolation = cv2.INTER_AREA if side > SIDE else cv2.INTER_LINEAR
    return cv2.resize(part, (SIDE, SIDE), interpolation=interpolation).astype(np.uint8, copy=False)

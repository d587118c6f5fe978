"""The appearance of a face, by which a lost one is known again."""

from __future__ import annotations

import functools

import cv2
import numpy as np

from srn.face.geometry import CropGeometry, CropSpec, ImageArray, face_corners
from srn.face.localizer import Float32Array

APPEARANCE_CROP = CropSpec(32, 25.6)


class Appearance:
    """A face as it looks in a picture (H, W, 3), where `geometry` cuts it out.

    Its pixels are copied at once, because the caller may write the next frame over them, and described when they are
    compared, which few frames need.
    """

    def __init__(self, image: ImageArray, geometry: CropGeometry) -> None:
        part, self._geometry = geometry.cut(image)
        self._part = part.copy()
        corners = geometry.to_picture(face_corners(geometry.spec))
        self.is_whole = bool((corners >= -0.5).all() and (corners <= np.array(image.shape[1::-1]) - 0.5).all())

    @functools.cached_property
    def _description(self) -> Float32Array:
        """A unit vector with zero mean."""
        pixels = cv2.GaussianBlur(self._geometry.crop(self._part).astype(np.float32), (0, 0), 1).ravel()
        pixels = pixels - pixels.mean()
        return np.asarray(pixels / max(float(np.linalg.norm(pixels)), 1e-6), np.float32)

    def likeness(self, other: Appearance) -> float:
        """Return the correlation of two appearances, in [-1, 1]."""
        return float(self._description @ other._description)

"""Faces drawn on a picture."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from srn.face.geometry import ImageArray
from srn.inference.drawing import draw_face
from srn.inference.face import Face


def draw_faces(image: ImageArray, faces: Iterable[Face], *, boxes: bool = True, contours: bool = True) -> ImageArray:
    """A copy of `image` (H, W, 3) uint8 RGB with every face's points: coloured by component, hidden ones hollow."""
    drawn: ImageArray = np.array(image)
    for face in faces:
        box = face.box if boxes else None
        draw_face(drawn, face.landmarks, face.scheme, visibility=face.visibility, box=box, contours=contours)
    return drawn

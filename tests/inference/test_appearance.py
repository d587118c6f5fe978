"""The appearance of a face in a picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from srn.face.geometry import Box, CropGeometry
from srn.inference.appearance import APPEARANCE_CROP, Appearance
from srn.inference.association import ALIKE


def test_an_appearance_is_that_of_the_face_wherever_it_is() -> None:
    noise = np.random.default_rng(0).uniform(0, 255, (40, 40, 3)).astype(np.float32)
    texture = cv2.resize(noise[:8, :8], (40, 40), interpolation=cv2.INTER_CUBIC).clip(0, 255).astype(np.uint8)
    image = np.full((200, 300, 3), 90, np.uint8)
    image[20:60, 30:70] = image[120:160, 200:240] = texture
    image[20:60, 200:240] = texture[::-1]
    spec = APPEARANCE_CROP
    corners = ((30, 20), (200, 120), (200, 20))
    one, again, other = (
        Appearance(image, CropGeometry.from_box(Box(x + 4, y + 4, x + 35, y + 35), spec)) for x, y in corners
    )
    assert one.likeness(one) == pytest.approx(1, abs=1e-5)
    image[:] = 0  # the next frame in the same memory
    assert one.likeness(again) > ALIKE > one.likeness(other)


@pytest.mark.parametrize(("x", "y", "is_whole"), [(0, 0, True), (268, 168, True), (-2, 50, False), (270, 50, False)])
def test_a_face_that_the_edge_cuts_is_not_whole(x: float, y: float, is_whole: bool) -> None:
    box = Box(x, y, x + 31, y + 31)
    assert (
        Appearance(np.zeros((200, 300, 3), np.uint8), CropGeometry.from_box(box, APPEARANCE_CROP)).is_whole == is_whole
    )

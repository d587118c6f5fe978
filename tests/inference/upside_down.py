"""The rule by which a found face of little confidence is viewed upside down: one, for pictures and for videos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from srn.face.geometry import Box

from ..conftest import Picture, Shape, crop_to_picture

CASES = pytest.mark.parametrize(
    ("score", "error", "overturned", "views", "kept"),
    [
        (0.8, 0.035, 0.01, 2, "overturned"),  # a confidence of 0.51 and of 0.98
        (0.9, 0.035, 0.01, 1, "upright"),  # the finder is sure
        (0.8, 0.02, 0.01, 1, "upright"),  # the network is
        (0.8, 0.035, 0.0345, 2, "upright"),  # no clear gain
    ],
)
"""Score of the face finder, expected errors of the first view and the second, number of views, which of them counts."""


class Views:
    """An answer for `FakeLocalizer`, which notes the crops: one expected error in the first, another from then on."""

    def __init__(self, face: Shape, error: float, overturned: float) -> None:
        self.shape, self._errors = face * 60 + 47.5, (error, overturned)
        self.seen: list[Shape] = []

    def __call__(self, crop: Picture) -> Any:
        self.seen.append(crop_to_picture(crop))
        return self.shape, None, np.full(68, self._errors[len(self.seen) > 1])

    def check(self, landmarks: Shape, boxes: Sequence[Box], angle: float, views: int, kept: str) -> None:
        """Crops lie on the two boxes, upright and upside down for a face that lies at `angle`; one of them counts."""
        assert len(self.seen) == views
        for crop, box, turned in zip(self.seen, boxes, (angle, angle + np.pi), strict=False):
            np.testing.assert_allclose(crop @ [47.5, 47.5, 1], box.center, atol=0.1)
            axis = crop[:, 0] / np.linalg.norm(crop[:, 0])  # the crop's x in the picture, which it turns by `turned`
            np.testing.assert_allclose(axis, [np.cos(turned), -np.sin(turned)], atol=0.01)
        shown = self.seen[-1 if kept == "overturned" else 0]
        np.testing.assert_allclose(landmarks, self.shape @ shown[:, :2].T + shown[:, 2], atol=0.1)

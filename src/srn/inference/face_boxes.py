"""The face boxes that a caller gives, and the faces to localize that they become."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from srn.errors import InputError, shown
from srn.face.geometry import Box, ImageArray
from srn.inference.box_fit import BoxFit
from srn.inference.found_boxes import FoundFace

BoxLike: TypeAlias = Box | FoundFace | Sequence[float] | npt.NDArray[np.floating]
"""A tight landmark box in picture pixels, or a found face with such a box (`FaceLandmarker.find`)."""


class Task(NamedTuple):
    """A face to localize; `number` is the index of its picture."""

    number: int
    image: ImageArray
    box: Box
    score: float = 1.0
    found: bool = False  # by the face finder
    angle: float = 0.0  # by which the picture is rotated to show the face upright, radians, x to y

    @classmethod
    def of_found(cls, number: int, image: ImageArray, face: FoundFace) -> Task:
        """Make the task of a face that a finder has found."""
        return cls(number, image, face.box, face.score, True, face.angle)

    @classmethod
    def of_given(cls, number: int, image: ImageArray, values: BoxLike) -> Task:
        """Make the task of a caller's face box, which must lie in the picture (`box_in`)."""
        box = box_in(image, values)
        return cls.of_found(number, image, values) if isinstance(values, FoundFace) else cls(number, image, box)

    def turned(self, angle: float, fit: BoxFit) -> Task:
        """Return the task if the face lies turned by a further `angle` (radians, x to y).

        `fit` shifted the box of a found face in the direction in which the finder took it to lie: it is shifted anew.
        """
        if not self.found:
            return self._replace(angle=self.angle + angle)
        right, down = fit.dx / fit.sx * self.box.size, fit.dy / fit.sy * self.box.size
        (before_x, before_y), (x, y) = (
            (math.cos(lies) * right + math.sin(lies) * down, math.cos(lies) * down - math.sin(lies) * right)
            for lies in (self.angle, self.angle + angle)
        )
        return self._replace(angle=self.angle + angle, box=self.box.adjusted((x - before_x, y - before_y)))

    def larger(self, scale: float, down: float) -> Task:
        """Return the task with a larger box, moved by `down` of its size towards the chin."""
        x, y = math.sin(self.angle) * down * self.box.size, math.cos(self.angle) * down * self.box.size
        return self._replace(box=self.box.adjusted((x, y), (scale, scale)))


def as_box(values: BoxLike) -> Box:
    """Convert four numbers x0, y0, x1, y1, or a found face, to a `Box`; anything else is an `InputError`."""
    if isinstance(values, FoundFace):
        return as_box(values.box)
    if isinstance(values, Box):
        return values
    try:
        if isinstance(values, str | bytes | Mapping):
            raise TypeError
        x0, y0, x1, y1 = (float(v) for v in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError.at("face box", "four numbers x0, y0, x1, y1", shown(values)) from error
    return Box(x0, y0, x1, y1)


def box_in(image: ImageArray, values: BoxLike) -> Box:
    """Convert a face box as `as_box` does; one outside the picture (H, W, 3), or of a senseless size, is an error."""
    box, (height, width) = as_box(values), image.shape[:2]
    if not box.is_in(width, height):
        expected = f"a face box of at least 1 pixel in the picture of {width} x {height}, at most 20 times it"
        raise InputError.at("face box", expected, f"({', '.join(f'{value:g}' for value in box.as_array())})")
    return box

"""From a finder's boxes to tight landmark boxes: `BoxFit`, the same for all faces, and `PointFit`, by their points."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from srn.errors import InputError, check_number
from srn.face.geometry import Box, Float64Array
from srn.inference.found_boxes import Points

MOST = 3.0  # standard deviations from the mean beyond which a face is taken for no more unusual
STRANGE = 6.0  # likewise, from which its points tell nothing: no training face's lie so


@dataclass(frozen=True)
class BoxFit:
    """Map from a finder's box to the tight landmark box: shift the centre, then scale the sides.

    The shift `dx` (to the right), `dy` (downwards) and the factors `sx`, `sy` are in widths and heights of the finder's
    box. `BoxFit()` leaves boxes as they are.

    Raises:
        InputError: a number is not finite, or `sx` or `sy` is not positive.
    """

    dx: float = 0.0
    dy: float = 0.0
    sx: float = 1.0
    sy: float = 1.0

    def __post_init__(self) -> None:
        expected = "finite dx, dy and positive sx, sy"
        for number in (self.dx, self.dy, self.sx, self.sy):
            check_number("box fit", number, expected)
        if not (self.sx > 0 and self.sy > 0):
            raise InputError.at("box fit", expected, f"{self.sx:g}, {self.sy:g}")

    def apply(self, box: Box, turn: int = 0, tilt: float = 0.0) -> Box:
        """Return the landmark box for a finder's box, both in picture pixels; `turn`, `tilt` are those of `FoundFace`.

        A tilted face's box is centred on the face's own tight box, which is tilted likewise and of the same size.
        """
        width, height = (box.width, box.height) if turn % 2 == 0 else (box.height, box.width)
        along, down, cos, sin = self.dx * width, self.dy * height, math.cos(tilt), math.sin(tilt)
        x, y = cos * along + sin * down, cos * down - sin * along
        for _ in range(turn % 4):
            x, y = -y, x
        return box.adjusted(np.array([x, y]), (self.sx, self.sy) if turn % 2 == 0 else (self.sy, self.sx))


@dataclass(frozen=True, eq=False)
class PointFit:
    """The `BoxFit` of a face by how its five points lie in the finder's box: linear, so it costs no time.

    What misleads the box (an open mouth, a turned head, a mask) shows in the points. `mean` and `deviation` (F,) are
    those of the features, `weights` (F + 1, 4) lead from them, in deviations from the mean, and from 1, to `dx`, `dy`
    and the logarithms of `sx` and `sy`. They were fitted on training faces (`benchmarks/fit_points.py`).
    """

    mean: Float64Array
    deviation: Float64Array
    weights: Float64Array

    def of_face(self, box: Box, points: Points, turn: int = 0, tilt: float = 0.0) -> BoxFit | None:
        """Return the fit of a face: the finder's box and points, picture pixels, and how it lies (`FoundFace`).

        None where its points lie as those of no face do, because the finder mistook how it lies.
        """
        unusual = (features(box, points, turn, tilt) - self.mean) / self.deviation
        if not np.abs(unusual).max() < STRANGE:
            return None
        dx, dy, sx, sy = (np.append(np.clip(unusual, -MOST, MOST), 1.0) @ self.weights).tolist()
        return BoxFit(dx, dy, math.exp(sx), math.exp(sy))


def features(box: Box, points: Points, turn: int, tilt: float) -> Float64Array:
    """Describe how five points lie in a finder's box, in the picture that shows the face upright: (11,).

    The logarithm of the box's width over its height, and x and y of the points from its centre, in its size.
    """
    width, height = (box.width, box.height) if turn % 2 == 0 else (box.height, box.width)
    x, y = ((np.array(points) - box.center) / box.size).T
    angle = tilt - turn * math.pi / 2
    cos, sin = math.cos(angle), math.sin(angle)
    return np.concatenate([[math.log(width / height)], cos * x - sin * y, sin * x + cos * y])


@cache
def _measured() -> dict[str, dict[str, Any]]:
    content: dict[str, dict[str, Any]] = json.loads(
        (resources.files("srn.inference") / "box_fit.json").read_text(encoding="utf-8")
    )
    return content


@cache
def measured_fits() -> dict[str, BoxFit]:
    """Return the fits measured on training faces, by the finder's name (`box_fit.json`)."""
    return {name: BoxFit(fit["dx"], fit["dy"], fit["sx"], fit["sy"]) for name, fit in _measured().items()}


@cache
def measured_point_fits() -> dict[str, PointFit]:
    """Return likewise the fits by five points, of the finders that have one."""
    return {
        name: PointFit(*(np.array(fit["points"][key], np.float64) for key in ("mean", "deviation", "weights")))
        for name, fit in _measured().items()
        if "points" in fit
    }

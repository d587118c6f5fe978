"""Map a face finder's boxes to the tight landmark boxes that the networks are trained on."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import resources

import numpy as np

from srn.errors import InputError
from srn.face.geometry import Box, ImageArray
from srn.inference.face_finder import CenterFaceFinder, FaceFinder, FoundFace


@dataclass(frozen=True)
class BoxFit:
    """Map from a finder's box to the tight landmark box: shift the centre, then scale the sides.

    `BoxFit()` leaves boxes as they are.

    Attributes:
        dx: shift of the centre to the right, in widths of the finder's box.
        dy: shift of the centre downwards, in heights of the finder's box.
        sx: width of the landmark box, in widths of the finder's box.
        sy: height of the landmark box, in heights of the finder's box.

    Raises:
        InputError: a number is not finite, or `sx` or `sy` is not positive.
    """

    dx: float = 0.0
    dy: float = 0.0
    sx: float = 1.0
    sy: float = 1.0

    def __post_init__(self) -> None:
        numbers = (self.dx, self.dy, self.sx, self.sy)
        if not (all(math.isfinite(n) for n in numbers) and self.sx > 0 and self.sy > 0):
            raise InputError.at("box fit", "finite dx, dy and positive sx, sy", str(numbers))

    def apply(self, box: Box) -> Box:
        """Return the landmark box for a finder's box, both in picture pixels."""
        return box.adjusted(np.array([self.dx * box.width, self.dy * box.height]), (self.sx, self.sy))


@cache
def measured_fits() -> dict[str, BoxFit]:
    """Return the fits measured on training faces, by the finder's name (`box_fit.json`)."""
    content = json.loads((resources.files("srn.inference") / "box_fit.json").read_text(encoding="utf-8"))
    names = [field.name for field in fields(BoxFit)]
    return {finder: BoxFit(**{name: values[name] for name in names}) for finder, values in content.items()}


def default_fit(finder: FaceFinder) -> BoxFit:
    """Return the fit measured for a finder, or CenterFace's for a finder that was not measured.

    CenterFace's boxes follow the annotation of WIDER FACE (forehead to chin), as those of most face detectors do.
    """
    return measured_fits().get(getattr(finder, "name", ""), measured_fits()[CenterFaceFinder.name])


class LandmarkBoxFinder:
    """A face finder whose boxes are tight landmark boxes.

    Args:
        finder: the face finder; the built-in one if None.
        fit: map of its boxes; `default_fit` if None. Pass `BoxFit()` for a finder that gives landmark boxes itself.
    """

    def __init__(self, finder: FaceFinder | None = None, fit: BoxFit | None = None) -> None:
        self.finder: FaceFinder = finder if finder is not None else CenterFaceFinder()
        self.fit = fit if fit is not None else default_fit(self.finder)

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB; their landmark boxes in picture pixels, best score first."""
        return [replace(found, box=self.fit.apply(found.box)) for found in self.finder.find(image)]

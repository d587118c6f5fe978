"""From boxes of the 68 points, which face finders are fitted to, to the tight boxes of another scheme's points.

A network is trained in the tight boxes of its own points. Those of five points reach from the eyes to the mouth only:
in a box from brows to chin the face would be half as large in the crop as it was in training.
"""

from __future__ import annotations

import numpy as np

from srn.face.geometry import Float64Array
from srn.face.localizer import Localizer
from srn.face.scheme import IBUG_68
from srn.inference.box_fit import BoxFit

# Of the mean shape of the shipped weights, which is that of 300W's training faces, in face units: the centre of the
# tight box is the origin, and its size (`Box.size`) is 1.
_EYES = np.array([[-0.2073, -0.2979], [0.2073, -0.2979]])
_EXTENT = np.array([0.975, 0.949])


def scheme_fit(localizer: Localizer) -> BoxFit | None:
    """Return the map from the tight box of a face's 68 points to that of the points that a localizer finds.

    Both mean shapes have two eyes: where they lie one on the other, the boxes lie as on a mean face that looks ahead.
    None for the 68 points themselves, and where the eyes of a mean shape are in one place.
    """
    scheme = localizer.scheme
    if scheme.name == IBUG_68.name:
        return None
    shape = np.asarray(localizer.mean_shape, np.float64)
    eyes = np.stack([shape[list(points)].mean(axis=0) for points in scheme.eyes])
    apart = float(np.linalg.norm(eyes[1] - eyes[0]))
    if apart <= 0 or (np.ptp(shape, axis=0) <= 0).any():
        return None
    scale = float(np.linalg.norm(_EYES[1] - _EYES[0])) / apart
    center = _EYES.mean(axis=0) - eyes.mean(axis=0) * scale  # of the other box, whose own centre is the origin as well
    sides = _of_size_one(np.ptp(shape, axis=0)) * scale
    (dx, dy), (sx, sy) = center / _of_size_one(_EXTENT), sides / _of_size_one(_EXTENT)
    return BoxFit(float(dx), float(dy), float(sx), float(sy))


def _of_size_one(extent: Float64Array) -> Float64Array:
    """Return the sides of a box of the size 1: a mean shape is smaller than the faces that it is the mean of."""
    return extent / (np.hypot(*extent) / np.sqrt(2))

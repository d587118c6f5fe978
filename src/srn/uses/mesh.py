"""A mesh of the 68 points for drawing: which triples of points are its triangles."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import check_number
from srn.face.geometry import ImageArray
from srn.inference.drawing import SUBPIXEL_BITS, Color, check_color, drawable, fixed_point
from srn.inference.face import Face
from srn.inference.inputs import ImageInput
from srn.uses.points import check_scheme
from srn.uses.pose import head_model

_UNIT = 1000  # units of the model's root mean square width in the plane of the triangulation


@cache
def triangles() -> npt.NDArray[np.int64]:
    """Return the mesh (T, 3): indices of points, in the order of the picture's clockwise turn, sorted.

    It is Delaunay's triangulation of the 3-D model (`srn.uses.pose.head_model`) seen from the front. It is computed
    once and is the same for every face, so that a place in one face's mesh is a place in another's. Both sides are
    alike but for the diagonals of quadrilaterals that lie across the middle.
    """
    points = head_model().points[:, :2]
    corner = points.min(axis=0) - 1
    size = np.ceil((np.ptp(points, axis=0) + 2) * _UNIT).astype(int).tolist()
    plane = cv2.Subdiv2D((0, 0, size[0], size[1]))
    placed = ((points - corner) * _UNIT).astype(np.float32)
    names = {plane.insert((float(x), float(y))): index for index, (x, y) in enumerate(placed)}
    found = set()
    for corners in np.array(plane.getTriangleList()).reshape(-1, 3, 2):
        ends = [plane.locate((float(x), float(y)))[2] for x, y in corners]
        if all(end in names for end in ends):
            found.add(_clockwise(tuple(names[end] for end in ends), placed))
    return np.array(sorted(found))


def _clockwise(corners: tuple[int, ...], points: npt.NDArray[np.float32]) -> tuple[int, ...]:
    """Turn a triangle so that it runs clockwise in the picture and begins with its smallest index."""
    (ax, ay), (bx, by), (cx, cy) = points[list(corners)].astype(np.float64)
    turned = corners if (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) > 0 else corners[::-1]
    first = turned.index(min(turned))
    return turned[first:] + turned[:first]


def draw_mesh(image: ImageInput, face: Face, *, color: Color = (120, 230, 255), share: float = 0.6) -> ImageArray:
    """Draw the mesh of a face on a copy of its picture, (H, W, 3) uint8 RGB.

    Args:
        color: RGB of the lines.
        share: opacity of the lines, in [0, 1].

    Raises:
        InputError: the face has another scheme than the 68 points, or colour or share are none.
    """
    check_scheme(face.scheme, "the mesh")
    check_color("color", color)
    check_number("share", share, "an opacity within [0, 1]", least=0, most=1)
    drawn = drawable(image)
    layer, points = drawn.copy(), fixed_point(face.landmarks)
    cv2.polylines(layer, [points[one] for one in triangles()], True, color, 1, cv2.LINE_AA, SUBPIXEL_BITS)
    blended = cv2.addWeighted(layer, share, drawn, 1 - share, 0)
    return blended.astype(np.uint8, copy=False)

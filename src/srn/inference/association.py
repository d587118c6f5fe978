"""Which found box belongs to which track: one-to-one, at the least total cost."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from srn.errors import InputError
from srn.face.geometry import Box, FloatArray

FORBIDDEN = 1e6
"""Pairs of at least this cost, infinity among them, are never made."""


def assign(cost: FloatArray) -> list[tuple[int, int]]:
    """The one-to-one pairs that are as many as possible and, among those, cost the least in total.

    The assignment problem is a transportation problem with one unit in every row and column, which OpenCV solves
    exactly (`cv2.EMD`, Rubner et al. 2000); its basic solutions are whole numbers.

    Args:
        cost: (R, C) costs in [0, 1]; `inf` (or anything of at least `FORBIDDEN`) where a pair must not be made.

    Returns:
        (row, column) of each pair, by rising row; rows and columns without an allowed partner stay alone.

    Raises:
        InputError: a cost that is negative, above 1 and allowed, or not a number.
    """
    rows, columns = cost.shape
    if rows == 0 or columns == 0:
        return []
    allowed = cost < FORBIDDEN
    if np.isnan(cost).any() or (cost[allowed] < 0).any() or (cost[allowed] > 1).any():
        raise InputError.at("assignment", "costs within [0, 1], or infinity", "others")
    if not allowed.any():
        return []
    # A forbidden pair costs more than all allowed ones together could save, so none replaces an allowed one.
    dear = float(min(rows, columns) + 1)
    scaled = np.where(allowed, cost, dear).astype(np.float32)
    ones = (np.ones((rows, 1), np.float32), np.ones((columns, 1), np.float32))
    flow = cv2.EMD(ones[0], ones[1], cv2.DIST_USER, cost=scaled)[2]
    return [(int(row), int(column)) for row, column in np.argwhere((np.asarray(flow) > 0.5) & allowed)]


def placement_cost(
    predicted: Sequence[Box], found: Sequence[Box], reach: FloatArray, stretch: FloatArray
) -> FloatArray:
    """(R, C) how badly each found box fits where a track should be; `inf` where it cannot be that face.

    Args:
        predicted: R boxes of tracks, picture pixels.
        found: C boxes of the face finder, by the same convention.
        reach: (R,) farthest move of the centre that is allowed, in face sides.
        stretch: (R,) largest |logarithm| of the ratio of sizes that is allowed.

    The cost is the mean of the two, each relative to what is allowed.
    """
    cost = np.full((len(predicted), len(found)), np.inf)
    for row, box in enumerate(predicted):
        for column, other in enumerate(found):
            # In sides of the larger face: what a small false find inside a face lies away from its middle counts less.
            distance = float(np.linalg.norm(box.center - other.center)) / max(box.size, other.size)
            ratio = abs(float(np.log(other.size / box.size)))
            if distance <= reach[row] and ratio <= stretch[row]:
                cost[row, column] = (distance / reach[row] + ratio / stretch[row]) / 2
    return cost

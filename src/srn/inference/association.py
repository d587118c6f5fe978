"""Data association: which found box and which observation belongs to which track."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from srn.errors import InputError
from srn.face.geometry import Box, FloatArray
from srn.inference.appearance import Appearance
from srn.inference.smoothing import similar_part
from srn.inference.tracks import Observation, Track, TrackerConfig

ALIKE = 0.7  # least correlation of the appearances of one face; chosen on YouTube Faces (`docs/video.md`)
ALIKE_STRETCH = 2.0  # largest ratio of the sizes of a face before and after an absence
FORBIDDEN = 1e6  # cost from which, as from infinity, a pair is never made


def assign(cost: FloatArray) -> list[tuple[int, int]]:
    """Solve the assignment problem: the largest number of one-to-one pairs and, among those, the least total cost.

    It is a transportation problem with one unit in every row and column, which `cv2.EMD` solves exactly (Rubner et al.
    2000). Its basic solutions are whole numbers. Returns (row, column) of each pair, by rising row.

    Args:
        cost: (R, C) costs in [0, 1]; infinity, or at least `FORBIDDEN`, for a pair that must not be made.

    Raises:
        InputError: a cost is negative, not a number, or between 1 and `FORBIDDEN`.
    """
    rows, columns = cost.shape
    allowed = cost < FORBIDDEN
    if np.isnan(cost).any() or (cost[allowed] < 0).any() or (cost[allowed] > 1).any():
        raise InputError.at("assignment", "costs within [0, 1], or infinity", "others")
    if not allowed.any():
        return []
    # A forbidden pair costs more than all allowed ones together, so it never replaces an allowed one.
    forbidden = float(min(rows, columns) + 1)
    scaled = np.where(allowed, cost, forbidden).astype(np.float32)
    ones = (np.ones((rows, 1), np.float32), np.ones((columns, 1), np.float32))
    flow = cv2.EMD(ones[0], ones[1], cv2.DIST_USER, cost=scaled)[2]
    return [(int(row), int(column)) for row, column in np.argwhere((np.asarray(flow) > 0.5) & allowed)]


def placement_cost(
    predicted: Sequence[Box], found: Sequence[Box], reach: FloatArray, stretch: FloatArray
) -> FloatArray:
    """Compute the cost (R, C) of assigning each found box to each track, in [0, 1]; infinity beyond the limits.

    The cost is the mean of the distance between the centres, in sizes of the larger box, and of the absolute logarithm
    of the ratio of sizes, each relative to its limit (R,).
    """
    cost = np.full((len(predicted), len(found)), np.inf)
    for row, box in enumerate(predicted):
        for column, other in enumerate(found):
            # The larger size keeps a small false detection inside a face from being far away from its centre.
            distance = float(np.linalg.norm(box.center - other.center)) / max(box.size, other.size)
            ratio = abs(float(np.log(other.size / box.size)))
            if distance <= reach[row] and ratio <= stretch[row]:
                cost[row, column] = (distance / reach[row] + ratio / stretch[row]) / 2
    return cost


def match(tracks: Sequence[Track], boxes: Sequence[Box], config: TrackerConfig) -> list[tuple[int, int]]:
    """Assign found boxes to tracks by their predicted positions: (track, box) of each pair, by index."""
    away = np.array([track.time_s - track.seen_s if track.lost else 0.0 for track in tracks])
    reach = np.minimum(config.reach + config.reach_per_s * away, config.max_reach)
    stretch = np.log(config.max_stretch) * np.minimum(1 + away / 2, 2)
    return assign(placement_cost([track.box for track in tracks], boxes, reach, stretch))


def is_face(observation: Observation, mean_shape: FloatArray, config: TrackerConfig) -> bool:
    """Whether an observation shows a face, and that of its track if it has one; `mean_shape` is in face units."""
    track, shape, confidence = observation.candidate.track, observation.shape, observation.mean_confidence
    if not has_extent(shape):
        return False
    misfit = similar_part(shape, mean_shape, np.ones(len(shape))) - mean_shape
    if np.sqrt((misfit**2).sum(axis=1).mean()) > config.max_misfit:
        return False
    if track is None:
        least = config.accept_confidence
    elif observation.candidate.found and not track.lost:  # placed by the finder, and `match` has checked the place
        least = config.found_confidence
    else:
        recent = not track.lost or track.time_s - track.seen_s <= config.retry_s
        least = config.keep_confidence if recent else config.accept_confidence
    if confidence is not None and confidence < least:
        return False
    if track is None or observation.candidate.found:
        return True
    if (confidence is None or observation.is_weak(config)) and track.missed >= config.max_misses:
        return False
    if confidence is None and track.lost:
        return False  # without confidence, only the face finder tells a face from background
    distance, ratio = deviation(shape, track.box)
    return distance <= config.max_shift and bool(abs(np.log(ratio)) <= np.log(config.max_stretch))


def most_alike(look: Appearance, observation: Observation, lost: Iterable[Track]) -> Track | None:
    """Choose the lost track that a new face continues, by their appearances and sizes; None if there is none."""
    best, least = None, ALIKE
    for track in lost:
        ratio = deviation(observation.shape, track.box)[1]
        likeness = -1.0 if track.appearance is None else look.likeness(track.appearance)
        if likeness > least and abs(np.log(ratio)) <= np.log(ALIKE_STRETCH):
            best, least = track, likeness
    return best


def deviation(shape: FloatArray, predicted: Box) -> tuple[float, float]:
    """Compare a shape (N, 2) with a predicted box: distance in sizes of the box, and ratio of the sizes."""
    box = Box.around(shape)
    return float(np.linalg.norm(box.center - predicted.center)) / predicted.size, box.size / predicted.size


def without_duplicates(observations: Iterable[Observation]) -> list[Observation]:
    """Keep one observation of each face: of a followed track first, then the nearest to its prediction, the oldest."""

    def rank(observation: Observation) -> tuple[bool, bool, float, int]:
        track = observation.candidate.track
        if track is None:
            return True, True, 0.0, 0
        # Coarse steps: of two tracks that are both in place, the older one counts.
        return False, track.lost, round(deviation(observation.shape, track.box)[0] / 0.1), track.number

    kept: list[Observation] = []
    for observation in sorted(observations, key=rank):
        if not any(is_same_face(observation.shape, other.shape) for other in kept):
            kept.append(observation)
    return kept


def has_extent(shape: FloatArray) -> bool:
    return bool(np.isfinite(shape).all() and (np.ptp(shape, axis=0) > 0).all())


def is_same_face(shape: FloatArray, other: FloatArray) -> bool:
    """Whether corresponding points are nearer than a quarter of the face size, on average."""
    size = min(Box.around(shape).size, Box.around(other).size)
    return float(np.linalg.norm(shape - other, axis=1).mean()) < 0.25 * size

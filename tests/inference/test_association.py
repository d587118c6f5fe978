"""Assignment against every permutation, costs of found boxes, and the judgement of observations."""

from __future__ import annotations

import itertools
import math

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box, CropGeometry, CropSpec
from srn.inference.association import (
    assign,
    is_face,
    match,
    placement_cost,
    without_duplicates,
)
from srn.inference.tracks import Candidate, Observation, Track, TrackerConfig

Shape = npt.NDArray[np.float64]

CONFIG = TrackerConfig()


def best_by_trying(cost: np.ndarray) -> tuple[int, float]:
    """How many pairs are possible, and the least that so many cost: every one-to-one assignment tried."""
    if cost.shape[0] > cost.shape[1]:
        cost = cost.T
    best = (0, 0.0)
    for columns in itertools.permutations(range(cost.shape[1]), cost.shape[0]):
        chosen = cost[range(cost.shape[0]), columns]
        made = np.isfinite(chosen)
        best = min(best, (-int(made.sum()), float(chosen[made].sum())))
    return -best[0], best[1]


@pytest.mark.parametrize("seed", range(60))
def test_as_many_pairs_as_possible_at_the_least_cost(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows, columns = (int(n) for n in rng.integers(1, 6, 2))
    cost = rng.random((rows, columns))
    if seed % 3 == 0:
        cost = np.round(cost * 3) / 3  # ties
    cost[rng.random(cost.shape) < (0, 0.3, 0.7)[seed % 3]] = np.inf
    pairs = assign(cost)
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)
    assert all(np.isfinite(cost[pair]) for pair in pairs)
    count, total = best_by_trying(cost)
    assert len(pairs) == count
    assert sum(cost[pair] for pair in pairs) == pytest.approx(total, abs=1e-5)


def test_a_greedy_choice_would_be_worse() -> None:
    # The cheapest pair (0, 0) forces 0.9 on the other row.
    assert assign(np.array([[0.1, 0.2], [0.2, 0.9]])) == [(0, 1), (1, 0)]


def test_a_planted_permutation_of_many(rng: np.random.Generator) -> None:
    order = rng.permutation(40)
    cost = 0.3 + 0.7 * rng.random((40, 40))
    cost[np.arange(40), order] = 0.2 * rng.random(40)
    assert assign(cost) == [(k, int(order[k])) for k in range(40)]


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_assign(shape: tuple[int, int]) -> None:
    assert assign(np.zeros(shape)) == []


def test_all_forbidden() -> None:
    assert assign(np.full((2, 3), np.inf)) == []


@pytest.mark.parametrize("wrong", [-0.1, 1.5, math.nan])
def test_costs_out_of_range_are_refused(wrong: float) -> None:
    with pytest.raises(InputError, match=r"costs within \[0, 1\]"):
        assign(np.array([[0.5, wrong]]))


def test_placement_by_hand() -> None:
    box, moved = Box(0, 0, 100, 100), Box(30, 0, 130, 100)
    (cost,) = placement_cost([box], [box, moved, Box(70, 0, 170, 100)], np.array([0.6]), np.array([math.log(2)]))
    assert cost[0] == 0
    assert cost[1] == pytest.approx(0.3 / 0.6 / 2)  # 30 of 100 pixels, of 0.6 sides
    assert cost[2] == np.inf
    (cost,) = placement_cost([box], [Box(-25, -25, 125, 125), Box(-60, -60, 160, 160)], np.ones(1), np.log([2.0]))
    assert cost[0] == pytest.approx(math.log(1.5) / math.log(2) / 2)
    assert cost[1] == np.inf


def test_placement_does_not_depend_on_the_size_of_the_picture() -> None:
    boxes, others = [Box(0, 0, 40, 50), Box(60, 10, 95, 60)], [Box(5, 0, 50, 55), Box(70, 5, 100, 50)]

    def scaled(box: Box) -> Box:
        return Box(*(3 * box.as_array()).tolist())

    reach, stretch = np.array([0.8, 0.8]), np.log([1.6, 1.6])
    np.testing.assert_allclose(
        placement_cost(boxes, others, reach, stretch),
        placement_cost([scaled(b) for b in boxes], [scaled(b) for b in others], reach, stretch),
    )


# --- observations


def observation(
    shape: Shape, track: Track | None = None, confidence: float | None = 0.9, found: bool = False
) -> Observation:
    geometry = CropGeometry.from_box(Box(0, 0, 60, 60), CropSpec(96, 60.0))
    values = None if confidence is None else np.full(68, confidence, np.float32)
    return Observation(Candidate(geometry, track, 0.8, found=found), shape, np.zeros(4, np.float32), values, values)


def track_at(shape: Shape, number: int = 1, lost: bool = False) -> Track:
    track = Track(number, 0, observation(shape), 0.0, CONFIG)
    if lost:
        track.lose()
    return track


@pytest.mark.parametrize(
    ("confidence", "lost", "expected"),
    [(0.3, False, True), (0.22, False, True), (0.22, True, False), (0.1, False, False), (None, True, False)],
)
def test_a_face_needs_confidence(face: Shape, confidence: float | None, lost: bool, expected: bool) -> None:
    """A followed face less than one that is found again."""
    shape = face * 50 + 100
    track = track_at(shape, lost=lost)
    track.time_s = track.seen_s + 2 * CONFIG.retry_s
    assert is_face(observation(shape, track, confidence), face, CONFIG) is expected
    assert is_face(observation(shape, None, confidence), face, CONFIG) is (confidence != 0.22 and confidence != 0.1)


@pytest.mark.parametrize(("lost", "expected"), [(False, True), (True, False)])
def test_the_finder_vouches_for_a_followed_face_and_not_for_a_lost_one(face: Shape, lost: bool, expected: bool) -> None:
    """Half a face that comes out behind another one is found half a face off, with little confidence."""
    shape = face * 50 + 100
    assert is_face(observation(shape, track_at(shape, lost=lost), 0.18, found=True), face, CONFIG) is expected
    assert is_face(observation(shape, track_at(shape, lost=lost), 0.3, found=True), face, CONFIG)


def test_the_finder_has_the_word_where_there_is_no_confidence(face: Shape) -> None:
    shape = face * 50 + 100
    track = track_at(shape)
    for missed, expected in ((0, True), (1, True), (2, False)):
        track.missed = missed
        assert is_face(observation(shape, track, None), face, CONFIG) is expected
    track.missed, track.lost = 0, True
    assert is_face(observation(shape, track, None, found=True), face, CONFIG)


def test_shapes_that_are_no_face(face: Shape) -> None:
    rng = np.random.default_rng(0)
    for shape in (np.full((68, 2), np.nan), np.full((68, 2), 5.0), rng.uniform(0, 50, (68, 2))):
        assert not is_face(observation(shape), face, CONFIG)


@pytest.mark.parametrize(
    ("shift", "scale", "expected"), [(20, 1, True), (40, 1, False), (0, 1.5, True), (0, 1.7, False), (0, 0.5, False)]
)
def test_a_jump_is_another_face(face: Shape, shift: float, scale: float, expected: bool) -> None:
    shape = face * 50 + 100
    assert is_face(observation(face * 50 * scale + 100 + [shift, 0], track_at(shape)), face, CONFIG) is expected


def test_of_one_face_the_followed_then_the_nearest_then_the_oldest_track_stays(face: Shape) -> None:
    shape = face * 50 + 100
    new, lost = observation(shape), observation(shape, track_at(shape, 1, lost=True))
    far, near, younger = (observation(shape, track_at(shape + [x, 0], n)) for n, x in ((2, 12), (3, 1), (4, 0)))
    elsewhere = observation(shape + [30, 0])
    assert without_duplicates([new, lost, far, younger, near, elsewhere]) == [near, elsewhere]
    assert without_duplicates([new, lost]) == [lost]
    assert without_duplicates([]) == []


def test_a_lost_track_reaches_farther_with_time(face: Shape) -> None:
    shape = face * 50 + 100
    box = Box.around(shape + [50, 0])  # a face away: beyond `reach`
    track = track_at(shape, lost=True)
    assert match([track], [box], CONFIG) == []
    track.predict(1.0)
    assert match([track], [box], CONFIG) == [(0, 0)]
    assert match([track_at(shape)], [box], CONFIG) == []

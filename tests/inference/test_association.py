"""Assignment against every permutation, and what a found box costs."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.inference.association import assign, placement_cost


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

"""Oracles and random policies, against every possible trajectory."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from srn.hofs.baselines import (
    best_trajectory,
    full_search,
    greedy_trajectory,
    random_landmarks,
    random_walk,
    trajectory_reward,
)


def obeys(trajectory: np.ndarray, start: int, n_points: int) -> bool:
    steps = np.diff(np.concatenate([[start], trajectory])) % n_points
    return bool(np.isin(steps, [0, 1, n_points - 1]).all())


def all_trajectories(frames: int, n_points: int, start: int) -> list[np.ndarray]:
    """Every trajectory of the three actions, by brute force."""
    return [
        (start + np.cumsum(np.array(actions) - 1)) % n_points for actions in itertools.product(range(3), repeat=frames)
    ]


@pytest.mark.parametrize("discount", [1.0, 0.9, 0.3, 0.0])
@pytest.mark.parametrize("seed", range(4))
def test_no_path_is_better_than_the_best(seed: int, discount: float) -> None:
    rewards = np.random.default_rng(seed).random((6, 7))
    weights = discount ** np.arange(6)

    def worth(trajectory: np.ndarray) -> float:
        return float((rewards[np.arange(6), trajectory] * weights).sum())

    for start in range(7):
        best = best_trajectory(rewards, start, discount)
        assert obeys(best, start, 7)
        assert worth(best) == pytest.approx(max(worth(trajectory) for trajectory in all_trajectories(6, 7, start)))


def test_without_a_future_the_best_is_the_greedy(rng: np.random.Generator) -> None:
    rewards = rng.random((8, 10))
    for start in range(10):
        np.testing.assert_array_equal(best_trajectory(rewards, start, 0.0), greedy_trajectory(rewards, start))


def test_greedy_falls_for_the_decoy() -> None:
    """A little to be had at once, much beyond a stretch of nothing."""
    rewards = np.zeros((10, 12))
    rewards[:, 3], rewards[:, 8] = 0.2, 1.0
    np.testing.assert_array_equal(greedy_trajectory(rewards, 4), [3] * 10)
    np.testing.assert_array_equal(best_trajectory(rewards, 4), [5, 6, 7, *[8] * 7])
    assert trajectory_reward(rewards, greedy_trajectory(rewards, 4)) == pytest.approx(0.2)
    assert trajectory_reward(rewards, best_trajectory(rewards, 4)) == pytest.approx(0.7)


def test_greedy_stays_where_all_are_equal() -> None:
    np.testing.assert_array_equal(greedy_trajectory(np.ones((4, 5)), 2), [2] * 4)


def test_the_short_way_round() -> None:
    rewards = np.zeros((3, 20))
    rewards[:, 18] = 1
    np.testing.assert_array_equal(best_trajectory(rewards, 1), [0, 19, 18])


def test_the_order_of_the_policies(rng: np.random.Generator) -> None:
    rewards = rng.random((20, 15))
    full, best, greedy = (
        trajectory_reward(rewards, trajectory)
        for trajectory in (full_search(rewards), best_trajectory(rewards, 7), greedy_trajectory(rewards, 7))
    )
    assert full >= best >= greedy
    assert full == pytest.approx(rewards.max(axis=1).mean())


def test_random_trajectories(rng: np.random.Generator) -> None:
    walk = random_walk(5000, 68, 66, rng)
    assert obeys(walk, 66, 68)
    np.testing.assert_allclose(np.bincount(np.diff(walk) % 68, minlength=68)[[0, 1, 67]] / 4999, 1 / 3, atol=0.03)
    jumps = random_landmarks(68_000, 68, rng)
    np.testing.assert_allclose(np.bincount(jumps, minlength=68), 1000, atol=150)
    np.testing.assert_array_equal(
        random_walk(9, 5, 0, np.random.default_rng(3)), random_walk(9, 5, 0, np.random.default_rng(3))
    )

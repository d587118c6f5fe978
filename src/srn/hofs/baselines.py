"""Policies that need no learning: random ones and oracles that know all rewards. The agent is measured against them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srn.hofs.scenes import ACTIONS, Trajectory, next_landmark

Rewards = npt.NDArray[np.float64]
"""(T, N): `OcclusionWorld.table` of a clip."""


def trajectory_reward(rewards: Rewards, trajectory: Trajectory) -> float:
    """Compute the mean reward of a trajectory over the frames."""
    return float(rewards[np.arange(len(rewards)), trajectory].mean())


def random_walk(frames: int, n_points: int, start: int, rng: np.random.Generator) -> Trajectory:
    """Take one of the three actions at random in every frame; `start` is the landmark before the first."""
    return np.asarray((start + np.cumsum(rng.integers(ACTIONS, size=frames) - 1)) % n_points, dtype=np.int64)


def random_landmarks(frames: int, n_points: int, rng: np.random.Generator) -> Trajectory:
    """Draw a random landmark in every frame: the paper's randomly synthesized occlusion (RSF, section 4.4)."""
    return rng.integers(n_points, size=frames)


def greedy_trajectory(rewards: Rewards, start: int) -> Trajectory:
    """Take the action of the highest reward in every frame; among equal ones stay."""
    trajectory, landmark = [], start
    for frame in rewards:
        candidates = [next_landmark(landmark, action, len(frame)) for action in (1, 0, 2)]
        landmark = max(candidates, key=lambda candidate: frame[candidate])
        trajectory.append(landmark)
    return np.array(trajectory, dtype=np.int64)


def best_trajectory(rewards: Rewards, start: int, discount: float = 1.0) -> Trajectory:
    """Find the trajectory of actions with the largest (discounted) sum of rewards, by dynamic programming.

    With the Q-net's discount this is the policy that eq. 11 defines; with 1 it bounds the mean reward of every agent.
    """
    frames, n_points = rewards.shape
    ahead = np.zeros(n_points)  # the return that each landmark still leads to
    choices = np.zeros((frames, n_points), np.int64)
    for frame in range(frames - 1, -1, -1):
        here = rewards[frame] + discount * ahead
        options = np.stack([np.roll(here, 1 - action) for action in range(ACTIONS)])  # [a, i] = here[i + a - 1]
        choices[frame] = options.argmax(axis=0)
        ahead = options.max(axis=0)
    trajectory, landmark = [], start
    for frame in range(frames):
        landmark = next_landmark(landmark, int(choices[frame, landmark]), n_points)
        trajectory.append(landmark)
    return np.array(trajectory, dtype=np.int64)


def full_search(rewards: Rewards) -> Trajectory:
    """Take the landmark of the highest reward in every frame, whatever its distance: an upper bound of all policies."""
    return np.asarray(rewards.argmax(axis=1), dtype=np.int64)

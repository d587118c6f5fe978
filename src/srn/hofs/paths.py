"""Where a patch can go through a clip when all rewards are known: the baselines that the agent is measured against.

A path is the landmark under the patch in every frame, (T,) int. The one before the first frame, `start`, is drawn at
random (section 3.2), and from frame to frame a path that obeys the rules moves by at most one landmark on the ring.
`rewards` is `OcclusionWorld.table`: (T, N).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from srn.hofs.scenes import ACTIONS, moved

Path = npt.NDArray[np.int64]
Rewards = npt.NDArray[np.float64]


def path_reward(rewards: Rewards, path: Path) -> float:
    """Mean reward of a path over the frames."""
    return float(rewards[np.arange(len(rewards)), path].mean())


def random_walk(frames: int, n_points: int, start: int, rng: np.random.Generator) -> Path:
    """One of the three actions at random in every frame."""
    return np.asarray((start + np.cumsum(rng.integers(ACTIONS, size=frames) - 1)) % n_points, dtype=np.int64)


def random_jumps(frames: int, n_points: int, rng: np.random.Generator) -> Path:
    """Any landmark in every frame: the paper's random synthesis (RSF), which knows no rules of movement."""
    return rng.integers(n_points, size=frames)


def greedy_path(rewards: Rewards, start: int) -> Path:
    """The one-step oracle: tries all three candidates of a frame on the frozen network and takes the worst for it.

    Of equal ones it stays where it is.
    """
    path, index = [], start
    for frame in rewards:
        candidates = [moved(index, action, len(frame)) for action in (1, 0, 2)]
        index = max(candidates, key=lambda candidate: frame[candidate])
        path.append(index)
    return np.array(path, dtype=np.int64)


def best_path(rewards: Rewards, start: int, discount: float = 1.0) -> Path:
    """The path of the largest (discounted) sum of rewards among those that obey the rules, by dynamic programming.

    With the Q-net's discount this is the policy that eq. 11 defines; with 1 it bounds the mean reward of every agent.
    """
    frames, n_points = rewards.shape
    ahead = np.zeros(n_points)  # what can still be had from each landmark on
    choices = np.zeros((frames, n_points), np.int64)
    for frame in range(frames - 1, -1, -1):
        here = rewards[frame] + discount * ahead
        options = np.stack([np.roll(here, 1 - action) for action in range(ACTIONS)])  # [a, i] = here[i + a - 1]
        choices[frame] = options.argmax(axis=0)
        ahead = options.max(axis=0)
    path, index = [], start
    for frame in range(frames):
        index = moved(index, int(choices[frame, index]), n_points)
        path.append(index)
    return np.array(path, dtype=np.int64)


def full_search(rewards: Rewards) -> Path:
    """The worst of all N landmarks in every frame: more than any path that obeys the rules can reach."""
    return np.asarray(rewards.argmax(axis=1), dtype=np.int64)

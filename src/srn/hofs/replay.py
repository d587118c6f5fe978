"""Experience replay: the paper's multi-queue memory and DQN's single queue. They hold addresses, not patches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srn.hofs.scenes import Place, next_landmark


class Transition(NamedTuple):
    """One step of the process; the clip ended with it if `done`.

    `place` is that before the step: the frame of the candidates, and the landmark of the previous frame.
    """

    place: Place
    action: int
    reward: float
    done: bool

    def chosen(self, n_points: int) -> Place:
        """Give the place that the action led to."""
        return self.place._replace(landmark=next_landmark(self.place.landmark, self.action, n_points))

    def following(self, n_points: int) -> Place:
        """Give the place that the next step starts from: the chosen landmark, one frame on."""
        return self.chosen(n_points)._replace(frame=self.place.frame + 1)


class Entry(NamedTuple):
    """A transition with its lane and episode, from which a saved memory is restored."""

    lane: int
    episode: int
    transition: Transition


class Replay(ABC):
    """A memory of transitions."""

    @abstractmethod
    def add(self, lane: int, episode: int, transition: Transition) -> None:
        """Keep a transition of a lane's episode, counted from 0."""

    @abstractmethod
    def entries(self) -> Iterator[Entry]:
        """Iterate over all transitions, oldest first in each queue; added to an empty memory they restore this one."""

    def sample(self, count: int, rng: np.random.Generator) -> list[Transition]:
        """Draw `count` transitions uniformly, with replacement."""
        pool = list(self.entries())
        return [pool[i].transition for i in rng.integers(len(pool), size=count)]

    def __len__(self) -> int:
        return sum(1 for _ in self.entries())


class MultiQueueReplay(Replay):
    """The paper's memory: a queue for each of the last K clips (K = 3), sampled uniformly over the pool.

    When a clip begins, the queue of the oldest clip is dropped as a whole, so the pool holds the one being played and
    K - 1 whole ones. Each lane has K queues of its own; one lane gives the paper's memory.
    """

    def __init__(self, clips: int = 3) -> None:
        self.clips = clips
        self._queues: dict[int, deque[list[Entry]]] = {}

    def add(self, lane: int, episode: int, transition: Transition) -> None:
        queues = self._queues.setdefault(lane, deque(maxlen=self.clips))
        if not queues or queues[-1][0].episode != episode:
            queues.append([])
        queues[-1].append(Entry(lane, episode, transition))

    def entries(self) -> Iterator[Entry]:
        return (entry for queues in self._queues.values() for queue in queues for entry in queue)


class SingleQueueReplay(Replay):
    """DQN's memory (Mnih et al. 2013): the last `capacity` transitions of all clips."""

    def __init__(self, capacity: int) -> None:
        self._queue: deque[Entry] = deque(maxlen=capacity)

    def add(self, lane: int, episode: int, transition: Transition) -> None:
        self._queue.append(Entry(lane, episode, transition))

    def entries(self) -> Iterator[Entry]:
        return iter(self._queue)


def to_table(entries: Iterable[Entry]) -> npt.NDArray[np.float64]:
    """Convert to (n, 9) float64 for a file: lane, episode, clip, frame, landmark, noise seed, action, reward, done.

    Whole numbers below 2^53 and rewards are stored exactly.
    """
    rows = [(e.lane, e.episode, *e.transition.place, *e.transition[1:]) for e in entries]
    return np.array(rows, dtype=np.float64).reshape(-1, 9)


def from_table(table: npt.NDArray[np.float64]) -> Iterator[Entry]:
    """Read the table that `to_table` gives."""
    for row in table.tolist():
        lane, episode, clip, frame, landmark, noise_seed, action = (int(v) for v in row[:7])
        yield Entry(lane, episode, Transition(Place(clip, frame, landmark, noise_seed), action, row[7], bool(row[8])))

"""Experience replay: the paper's multi-queue memory and DQN's single queue. They hold addresses, not patches."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.hofs.scenes import Place, next_landmark


class Transition(NamedTuple):
    """One step of the process.

    Attributes:
        place: where the patch was before the step: the frame whose candidates were offered, and the landmark that the
            previous frame left.
        action: which of the three was taken.
        reward: what the frozen network's error on the chosen frame was worth.
        done: whether the clip ended with it.
    """

    place: Place
    action: int
    reward: float
    done: bool

    def chosen(self, n_points: int) -> Place:
        """The occluded frame that the action led to."""
        return self.place._replace(landmark=next_landmark(self.place.landmark, self.action, n_points))

    def following(self, n_points: int) -> Place:
        """Where the next step starts: the same landmark, one frame on."""
        return self.chosen(n_points)._replace(frame=self.place.frame + 1)


class Entry(NamedTuple):
    """A transition with the lane and the episode that it came from: what a saved memory is restored from."""

    lane: int
    episode: int
    transition: Transition


class Replay(Protocol):
    """A memory of transitions."""

    def add(self, lane: int, episode: int, transition: Transition) -> None:
        """Keep a transition of the `episode`-th clip that a lane plays."""

    def sample(self, count: int, rng: np.random.Generator) -> list[Transition]:
        """`count` transitions, uniformly over all that are kept, with replacement."""

    def entries(self) -> Iterator[Entry]:
        """All that is kept, oldest first in each queue; adding them to an empty memory gives this one."""

    def __len__(self) -> int:
        """How many transitions are kept."""


class MultiQueueReplay:
    """The paper's memory: a queue for each of the last K clips (K = 3), sampled uniformly over the pool.

    When a clip begins, the oldest clip's queue goes as a whole. So the pool holds K clips at any time, whatever their
    lengths, and no half-forgotten one. Several lanes that play side by side have K queues each; with one lane it is
    the paper's memory.
    """

    def __init__(self, clips: int = 3) -> None:
        if clips < 1:
            raise InputError.at("clips of the replay memory", "at least 1", str(clips))
        self.clips = clips
        self._queues: dict[int, deque[tuple[int, list[Transition]]]] = {}

    def add(self, lane: int, episode: int, transition: Transition) -> None:
        queues = self._queues.setdefault(lane, deque(maxlen=self.clips))
        if not queues or queues[-1][0] != episode:
            queues.append((episode, []))
        queues[-1][1].append(transition)

    def sample(self, count: int, rng: np.random.Generator) -> list[Transition]:
        pool = [transition for queues in self._queues.values() for _, queue in queues for transition in queue]
        return [pool[i] for i in rng.integers(len(pool), size=count)]

    def entries(self) -> Iterator[Entry]:
        for lane, queues in self._queues.items():
            for episode, queue in queues:
                yield from (Entry(lane, episode, transition) for transition in queue)

    def __len__(self) -> int:
        return sum(len(queue) for queues in self._queues.values() for _, queue in queues)


class SingleQueueReplay:
    """DQN's memory (Mnih et al. 2013): the last `capacity` transitions, whatever clips they come from."""

    def __init__(self, capacity: int) -> None:
        if capacity < 1:
            raise InputError.at("capacity of the replay memory", "at least 1", str(capacity))
        self._queue: deque[Entry] = deque(maxlen=capacity)

    def add(self, lane: int, episode: int, transition: Transition) -> None:
        self._queue.append(Entry(lane, episode, transition))

    def sample(self, count: int, rng: np.random.Generator) -> list[Transition]:
        return [self._queue[i].transition for i in rng.integers(len(self._queue), size=count)]

    def entries(self) -> Iterator[Entry]:
        return iter(self._queue)

    def __len__(self) -> int:
        return len(self._queue)


def to_table(entries: Iterable[Entry]) -> npt.NDArray[np.float64]:
    """(n, 9) float64, for a file: lane, episode, clip, frame, index, noise seed, action, reward, done.

    Whole numbers below 2^53 and rewards go in and out without a change.
    """
    rows = [(e.lane, e.episode, *e.transition.place, *e.transition[1:]) for e in entries]
    return np.array(rows, dtype=np.float64).reshape(-1, 9)


def from_table(table: npt.NDArray[np.float64]) -> Iterator[Entry]:
    """What `to_table` wrote."""
    for row in table.tolist():
        lane, episode, clip, frame, index, noise_seed, action = (int(v) for v in row[:7])
        yield Entry(lane, episode, Transition(Place(clip, frame, index, noise_seed), action, row[7], bool(row[8])))

"""The two memories: what they keep, how they draw, how they come back from a file."""

from __future__ import annotations

import numpy as np
import pytest

from srn.hofs.replay import MultiQueueReplay, Replay, SingleQueueReplay, Transition, from_table, to_table
from srn.hofs.scenes import Place


def play(replay: Replay, lane: int, episode: int, frames: int) -> None:
    """A clip of its own number, its transitions named by their frames."""
    for frame in range(frames):
        place = Place(100 * lane + episode, frame, frame % 29, 2**40 + episode)
        replay.add(lane, episode, Transition(place, frame % 3, frame / 7, frame + 1 == frames))


def clips_in(replay: Replay) -> list[tuple[int, int]]:
    """(clip, how many of its transitions), in order."""
    clips = [entry.transition.place.clip for entry in replay.entries()]
    return [(clip, clips.count(clip)) for clip in dict.fromkeys(clips)]


def test_where_a_transition_leads() -> None:
    transition = Transition(Place(4, 2, 0, 9), action=0, reward=0.5, done=False)
    assert transition.chosen(68) == Place(4, 2, 67, 9)
    assert transition.following(68) == Place(4, 3, 67, 9)


def test_a_queue_for_each_of_the_last_three_clips() -> None:
    replay = MultiQueueReplay(3)
    for episode, frames in enumerate((5, 9, 2, 4)):
        play(replay, 0, episode, frames)
    assert clips_in(replay) == [(1, 9), (2, 2), (3, 4)]
    assert len(replay) == 15
    replay.add(0, 4, Transition(Place(4, 0, 0, 0), 1, 0.0, False))  # the oldest clip goes as a whole
    assert clips_in(replay) == [(2, 2), (3, 4), (4, 1)]


def test_lanes_have_queues_of_their_own() -> None:
    replay = MultiQueueReplay(1)
    for lane in (0, 1):
        for episode in (0, 1):
            play(replay, lane, episode, 3)
    assert clips_in(replay) == [(1, 3), (101, 3)]


def test_a_clip_that_comes_twice_has_two_queues() -> None:
    """Queues are by episode: the same clip played again is another experience."""
    replay = MultiQueueReplay(2)
    for episode in range(3):
        replay.add(0, episode, Transition(Place(5, 0, episode, 0), 1, 0.0, True))
    assert [entry.transition.place.landmark for entry in replay.entries()] == [1, 2]


def test_one_queue_forgets_step_by_step() -> None:
    replay = SingleQueueReplay(10)
    for episode, frames in enumerate((5, 9, 2)):
        play(replay, 0, episode, frames)
    assert clips_in(replay) == [(1, 8), (2, 2)]
    assert len(replay) == 10


@pytest.mark.parametrize("replay", [MultiQueueReplay(3), SingleQueueReplay(100)])
def test_all_are_drawn_alike(replay: Replay) -> None:
    """Uniformly over the pool: a long clip's queue is drawn from more often than a short one's."""
    play(replay, 0, 0, 6)
    play(replay, 0, 1, 2)
    drawn = replay.sample(16_000, np.random.default_rng(0))
    counts = dict.fromkeys({(t.place.clip, t.place.frame) for t in drawn}, 0)
    for transition in drawn:
        counts[transition.place.clip, transition.place.frame] += 1
    assert len(counts) == 8
    np.testing.assert_allclose(list(counts.values()), 2000, atol=200)


@pytest.mark.parametrize("kind", [MultiQueueReplay, SingleQueueReplay])
def test_a_file_and_back(kind: type[MultiQueueReplay | SingleQueueReplay]) -> None:
    replay, restored = kind(3), kind(3)
    for lane in range(2):
        for episode in range(4):
            play(replay, lane, episode, 3)
    for entry in from_table(to_table(replay.entries())):
        restored.add(*entry)
    assert list(restored.entries()) == list(replay.entries())
    same = [r.sample(20, np.random.default_rng(5)) for r in (replay, restored)]
    assert same[0] == same[1]


def test_an_empty_memory_makes_an_empty_table() -> None:
    assert to_table(MultiQueueReplay().entries()).shape == (0, 9)
    assert list(from_table(np.zeros((0, 9)))) == []

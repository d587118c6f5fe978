"""When the face finder is asked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.inference.scenes import FrameSignature
from srn.inference.schedule import FinderSchedule

FACE = Box(100, 100, 160, 160)
SIZE = (320, 240)


def picture(*changed: slice) -> FrameSignature:
    image: npt.NDArray[np.uint8] = np.full((240, 320, 3), 90, np.uint8)
    image[::8] = 120
    if changed:
        image[changed] = 250
    return FrameSignature.of(image)


def runs(
    schedule: FinderSchedule, frames: int, frame: FrameSignature, faces: list[Box], doubtful: int = 0
) -> list[int]:
    """Frames in which the finder is asked, counted from 0."""
    return [k for k in range(frames) if schedule.due(frame, faces, doubtful, SIZE)]


def test_at_first_and_then_seldom() -> None:
    schedule = FinderSchedule(every=30)
    assert runs(schedule, 100, picture(), [FACE]) == [0, 30, 60, 90]
    assert schedule.runs == 4


def test_more_often_while_there_is_no_face() -> None:
    assert runs(FinderSchedule(every=30, when_empty=5), 21, picture(), []) == [0, 5, 10, 15, 20]
    assert runs(FinderSchedule(every=3, when_empty=5), 10, picture(), []) == [0, 3, 6, 9]


def test_after_a_loss_at_once_and_then_in_growing_steps() -> None:
    schedule = FinderSchedule(every=30)
    runs(schedule, 5, picture(), [FACE])
    schedule.alarm()
    assert runs(schedule, 100, picture(), [FACE], doubtful=1) == [0, 2, 6, 14, 30, 60, 90]
    assert runs(schedule, 31, picture(), [FACE]) == [20]  # all is well again: thirty after the last


def test_a_change_away_from_the_faces_brings_it_forward() -> None:
    schedule = FinderSchedule(every=100, after_change=8)
    assert runs(schedule, 10, picture(), [FACE]) == [0]
    newcomer = picture(slice(80, 160), slice(220, 280))
    assert runs(schedule, 20, newcomer, [FACE]) == [0]  # once: after that it is known
    beneath = picture(slice(105, 155), slice(105, 155))
    schedule = FinderSchedule(every=100, after_change=8)
    runs(schedule, 10, picture(), [FACE])
    assert runs(schedule, 20, beneath, [FACE]) == []  # the face itself has changed


def test_changes_that_show_nothing_new_lose_their_weight() -> None:
    """A moving camera changes everything in every frame."""
    schedule = FinderSchedule(every=64, after_change=8)
    pictures = [picture(), picture(slice(0, 240), slice(0, 40))]
    asked = []
    for k in range(200):
        frame = pictures[schedule.runs % 2]  # always another one than at the last run
        if schedule.due(frame, [FACE], 0, SIZE):
            asked.append(k)
            schedule.learn(new_face=False)
    assert np.diff(asked).tolist() == [8, 16, 32, 64, 64]
    schedule.learn(new_face=True)
    assert runs(schedule, 60, pictures[schedule.runs % 2], [FACE])[0] < 30


@pytest.mark.parametrize(
    ("arguments", "name"), [((0, 5, 8), "find_every"), ((1, 0, 8), "find_when_empty"), ((1, 1, 0), "find_after_change")]
)
def test_no_frames_at_all_are_refused(arguments: tuple[int, int, int], name: str) -> None:
    with pytest.raises(InputError, match=name):
        FinderSchedule(*arguments)

"""Cuts, flashes and pans in drawn pictures; where a picture has changed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.inference.scenes import FinderSchedule, FrameSignature, SceneMemory, agreement, changed_outside, is_cut
from srn.media.pictures import read_image

Picture = npt.NDArray[np.uint8]


def scenery(seed: int, width: int = 320, height: int = 240) -> Picture:
    """A picture of its own: soft blotches in a few colours."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(0, 255, (7, 9, 3)) * rng.uniform(0.3, 1, 3)
    return np.clip(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def test_a_picture_agrees_with_itself_whatever_its_size() -> None:
    picture = scenery(1)
    layout, colors = agreement(
        FrameSignature.of(picture), FrameSignature.of(cv2.resize(picture, (640, 480)).astype(np.uint8))
    )
    assert layout > 0.98
    assert colors > 0.95
    blank = FrameSignature.of(np.full((90, 120, 3), 77, np.uint8))
    assert agreement(blank, blank) == pytest.approx((1, 1))


def test_the_signature_counts_colours() -> None:
    picture = scenery(3, width=160, height=96)  # of so few pixels all count
    counts = np.zeros((8, 8, 8))
    for r, g, b in (picture.reshape(-1, 3) // 32).tolist():
        counts[r, g, b] += 1
    np.testing.assert_allclose(FrameSignature.of(picture).colors, np.sqrt(counts / counts.sum()).ravel(), rtol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_another_scene_is_a_cut_and_the_same_is_none(seed: int, rng: np.random.Generator) -> None:
    one, other = scenery(seed), scenery(seed + 100)
    noisy = np.clip(one + rng.normal(0, 8, one.shape), 0, 255).astype(np.uint8)
    assert is_cut(FrameSignature.of(one), FrameSignature.of(other))
    assert not is_cut(FrameSignature.of(one), FrameSignature.of(noisy))


@pytest.mark.parametrize("seed", range(4))
def test_a_pan_an_object_and_light_are_no_cuts(seed: int) -> None:
    wide = scenery(seed, width=480)
    one = wide[:, :320]
    assert not is_cut(
        FrameSignature.of(one), FrameSignature.of(wide[:, 16:336])
    )  # a twentieth of the width in one frame
    assert not is_cut(FrameSignature.of(one), FrameSignature.of(np.clip(one * 1.3 + 10, 0, 255).astype(np.uint8)))
    thing = one.copy()
    thing[60:180, 110:210] = (200, 30, 40)
    assert not is_cut(FrameSignature.of(one), FrameSignature.of(thing))


def test_scenes_are_numbered_and_come_back() -> None:
    memory = SceneMemory(memory_s=2.0)
    a, b, c = (FrameSignature.of(scenery(seed)) for seed in (1, 2, 3))
    assert memory.number == -1
    assert [memory.update(frame, t / 10) for t, frame in enumerate((a, a, b, b, a, c))] == [
        True, False, True, False, True, True,
    ]  # fmt: skip
    assert memory.number == 2
    assert memory.update(a, 1.0)
    assert memory.number == 0
    assert memory.update(b, 1.5)
    assert memory.number == 1
    assert memory.update(c, 9.0)  # forgotten meanwhile: a scene of its own
    assert memory.number == 3


def test_a_flash_does_not_end_a_scene() -> None:
    memory = SceneMemory()
    scene, white = FrameSignature.of(scenery(1)), FrameSignature.of(np.full((240, 320, 3), 255, np.uint8))
    numbers = []
    for k in range(6):
        memory.update(white if k == 3 else scene, k / 30)
        numbers.append(memory.number)
    assert numbers[:3] == [0, 0, 0]
    assert numbers[4:] == [0, 0]


def test_changes_are_told_away_from_the_faces() -> None:
    one = scenery(5)
    other = one.copy()
    other[80:160, 200:280] = 255 - other[80:160, 200:280]
    frames, size = (FrameSignature.of(one), FrameSignature.of(other)), (320, 240)
    share = changed_outside(*frames, [], size)
    assert 0.5 < share / (80 * 80 / (320 * 240)) < 1.6
    assert changed_outside(*frames, [Box(200, 80, 280, 160)], size) == 0
    assert changed_outside(*frames, [Box(0, 0, 60, 60)], size) == pytest.approx(share)
    assert changed_outside(frames[0], frames[0], [], size) == 0
    brighter = FrameSignature.of(np.clip(one.astype(int) + 12, 0, 255).astype(np.uint8))
    assert changed_outside(frames[0], brighter, [], size) < 0.02
    everywhere = [Box(-500, -500, 900, 900)]
    assert changed_outside(*frames, everywhere, size) == 0


def test_real_clips(shared_data: Path) -> None:
    """Frames of one clip seconds apart against the first frames of neighbouring clips."""
    files = sorted((shared_data / "youtube_faces").glob("*.jpg"))[:240]
    if len(files) < 240:
        pytest.skip("youtube_faces is not here")
    frames = [FrameSignature.of(read_image(file)) for file in files]
    within = [is_cut(frames[k], frames[k + 1]) for k in range(len(frames) - 1) if k % 3 < 2]
    across = [
        is_cut(frames[k], frames[k + 3])
        for k in range(0, len(frames) - 3, 3)
        if files[k].stem[:6] != files[k + 3].stem[:6]
    ]
    assert np.mean(within) < 0.06
    assert np.mean(across) > 0.85


# --- when the face finder is asked


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
    assert runs(schedule, 100, picture(), [FACE], doubtful=1) == [0, 2, 6, *range(11, 100, 5)]
    assert runs(schedule, 31, picture(), [FACE]) == [26]  # all is well again: thirty after the last


def test_a_change_away_from_the_faces_brings_it_forward() -> None:
    schedule = FinderSchedule(every=100, after_change=8)
    assert runs(schedule, 10, picture(), [FACE]) == [0]
    newcomer = picture(slice(80, 160), slice(220, 280))
    assert runs(schedule, 20, newcomer, [FACE]) == [0]  # once: after that it is known
    beneath = picture(slice(105, 155), slice(105, 155))
    schedule = FinderSchedule(every=100, after_change=8)
    runs(schedule, 10, picture(), [FACE])
    assert runs(schedule, 20, beneath, [FACE]) == []  # the face itself has changed


@pytest.mark.parametrize(("faces", "doubtful"), [([], 0), ([FACE], 1)])
def test_what_hides_a_face_may_pass_in_any_frame(faces: list[Box], doubtful: int) -> None:
    schedule = FinderSchedule(every=20, when_empty=5, after_change=8)
    pictures = [picture(), picture(slice(0, 240), slice(0, 40))]

    def asked(frames: int) -> list[int]:
        found = []
        for k in range(frames):  # always another picture than at the last run
            if schedule.due(pictures[schedule.runs % 2], faces, doubtful, SIZE):
                found.append(k)
                schedule.learn(new_face=False)
        return found

    assert asked(20) == list(range(20))
    assert np.diff(asked(40)).tolist() == [5] * 7  # changes alone have not been worth it
    schedule.alarm()
    assert asked(20) == list(range(20))
    schedule.doubt()
    assert asked(20) == list(range(20))


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

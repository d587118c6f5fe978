"""Cuts, flashes and pans in drawn pictures; where a picture has changed."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.face.geometry import Box
from srn.inference.scenes import FrameSignature, SceneMemory, agreement, changed_outside, is_cut
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

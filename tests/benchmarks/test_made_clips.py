"""Clips with something over them: flags held against the pixels that changed, one mask through the whole clip."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from made_clips import framed, masked_clip, passed_clip, vanishing_clip
from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.errors import InputError
from srn.face.geometry import CropSpec
from srn.face.scheme import IBUG_68
from srn.synthesis.masks import MaskTemplate
from srn.synthesis.wardrobe import MaskWardrobe

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]


class Grain:
    """Grey frames with grain, the same in all."""

    path = Path("grain")

    def read(self, number: int) -> Picture:
        return np.random.default_rng(0).integers(120, 136, (220, 260, 3), dtype=np.uint8)


@pytest.fixture
def clip(face: Shape) -> Clip:
    """Eight frames, numbered 2, 4, ..., of a face of 110 pixels on its way."""
    landmarks = face * 110 + np.stack([110 + 3.0 * np.arange(8), np.full(8, 105.0)], 1)[:, None]
    return Clip("toy", Grain(), np.arange(2, 18, 2), landmarks, IBUG_68, "toy")


@pytest.fixture
def wardrobe() -> MaskWardrobe:
    """One square template, all blue."""
    image = np.full((40, 60, 4), 255, np.uint8)
    image[..., :2] = 10
    points = np.array([[0, 0], [30, 0], [59, 0], [0, 39], [30, 39], [59, 39]], float)
    return MaskWardrobe({"blue": {"front": MaskTemplate("blue", image, points)}}, {})


def changed(clip: Clip, index: int) -> npt.NDArray[np.bool_]:
    return np.asarray((clip.frame(index) != Grain().read(0)).any(-1))


def check_flags(covered: Clip, tolerance: float) -> int:
    """Hidden points lie on pixels that changed; returns how many there are."""
    assert covered.occluded is not None
    hidden = wrong = 0
    for index in range(len(covered)):
        different = changed(covered, index)
        for x, y in np.floor(covered.landmarks[index][covered.occluded[index]] + 0.5).astype(int):
            hidden += 1
            wrong += not different[y, x]
    assert wrong <= tolerance * max(hidden, 1)
    return hidden


@pytest.mark.parametrize("kind", ["drawn", "blue", "mixed"])
def test_one_mask_through_the_clip(clip: Clip, wardrobe: MaskWardrobe, kind: str) -> None:
    masked = masked_clip(clip, kind, wardrobe, np.random.default_rng(1))
    assert masked.occluded is not None
    assert check_flags(masked, 0.03) > 80
    mouth = list(IBUG_68.components["mouth"])
    assert masked.occluded[:, mouth].mean() > 0.5
    assert not masked.occluded[:, list(IBUG_68.components["brows"])].any()
    assert (masked.occluded == masked.occluded[0]).mean() > 0.97  # the face only moves
    np.testing.assert_array_equal(masked.landmarks, clip.landmarks)
    np.testing.assert_array_equal(masked.frame(3), masked.frame(3))
    again = masked_clip(clip, kind, wardrobe, np.random.default_rng(1))
    np.testing.assert_array_equal(again.frame(5), masked.frame(5))
    assert not changed(clip, 0).any()  # the clip itself is as it was


def test_things_pass_by(clip: Clip) -> None:
    moving = hidden = 0
    for seed in range(8):
        covered = passed_clip(clip, np.random.default_rng(seed))
        assert covered.occluded is not None
        hidden += check_flags(covered, 0.1)
        moving += bool((covered.occluded != covered.occluded[0]).any())
    assert hidden > 100
    assert moving >= 3


def test_a_face_vanishes_and_comes_back(clip: Clip) -> None:
    cover = np.full((5, 5, 3), [200, 30, 30], np.uint8)
    vanished = vanishing_clip(clip, cover, first=2, travel=1.0, stay=2.0)
    assert vanished.occluded is not None
    assert vanished.occluded.all(axis=1).tolist() == [False] * 3 + [True] * 3 + [False] * 2
    assert not vanished.occluded[[0, 1, 2, 6, 7]].any()
    center = clip.landmarks[4].mean(axis=0).round().astype(int)
    np.testing.assert_array_equal(vanished.frame(4)[center[1], center[0]], [200, 30, 30])
    assert not changed(vanished, 4)[:3, :3].any()  # the rest of the frame stays


def test_a_sample_becomes_a_frame(face: Shape) -> None:
    image = np.zeros((80, 90, 3), np.uint8)
    points = face * 40 + [45, 40]
    x, y = points[30].round().astype(int)
    image[y - 2 : y + 3, x - 2 : x + 3] = 255
    frame = framed(Sample(Path("one"), points, IBUG_68, "toy", source=lambda: image), CropSpec(120, 60.0))
    assert frame.load().shape == (120, 120, 3)
    assert frame.box.size == pytest.approx(60.0, rel=0.02)
    x, y = frame.landmarks[30].round().astype(int)
    assert (frame.load()[y, x] > 250).all()


def test_nothing_passes_where_the_share_is_none(clip: Clip) -> None:
    covered = passed_clip(clip, np.random.default_rng(0), share=0.0)
    assert covered.occluded is not None
    assert not covered.occluded.any()
    assert not changed(covered, 2).any()


def test_what_was_hidden_before_stays_hidden(clip: Clip) -> None:
    before = np.zeros((8, 68), bool)
    before[:, 20] = True
    known = Clip("toy", Grain(), clip.numbers, clip.landmarks, IBUG_68, "toy", occluded=before)
    covered = passed_clip(known, np.random.default_rng(0), share=0.0)
    assert covered.occluded is not None
    assert covered.occluded[:, 20].all()


def test_frames_without_points_are_left_alone(clip: Clip, wardrobe: MaskWardrobe) -> None:
    masked = masked_clip(clip, "blue", wardrobe, np.random.default_rng(0))
    np.testing.assert_array_equal(masked.frames.read(3), Grain().read(3))
    assert masked.frames.path == Path("grain")


def test_templates_are_asked_for(clip: Clip) -> None:
    with pytest.raises(InputError, match="mask templates for the kind"):
        masked_clip(clip, "mixed", None, np.random.default_rng(0))

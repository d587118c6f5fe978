"""Stills brought to life: points found back in the pixels of every frame, visibility held against what changed."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from made_clips import animate_picture
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.face.geometry import Box, CropGeometry, CropSpec, invert_affine, transform_points
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image
from srn.synthesis.animate import MovingFace, animate_placed, move_frames
from srn.synthesis.camera import blur_along
from srn.synthesis.config import NO_MOTION, RANDOM_PATCH_MOTION, UNOCCLUDED_MOTION, MotionConfig

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

SPEC = CropSpec(160, 108.0)
GEOMETRY = dataclasses.replace(
    NO_MOTION, flip=0, rotation_deg=15, period=(6, 12), still=0, shift=0.2, zoom=0.1, roll_deg=12, turn_deg=12,
    perspective=0.08, expression=0.03, shake=0.02, box_edge=0.03, box_shift=0.03, box_scale=0.06, box_fresh=0.02,
)  # fmt: skip


def animate(*arguments: Any) -> MovingFace:
    return animate_placed(*arguments).face


def only(**values: Any) -> MotionConfig:
    return dataclasses.replace(NO_MOTION, **values)


@pytest.fixture
def landmarks(face: Shape) -> Shape:
    """A face of 130 pixels in a picture of 280 x 280: not so large that it is reduced first."""
    return face * 130 + [141.0, 138.5]


@pytest.fixture
def grain(rng: np.random.Generator) -> Picture:
    return rng.integers(120, 136, (280, 280, 3), dtype=np.uint8)


def marked_picture(landmarks: Shape, size: int, sigma: float = 2.0) -> tuple[Picture, list[int]]:
    """Black, with a soft white dot at landmarks far from each other."""
    chosen: list[int] = []
    for index, point in enumerate(landmarks):
        if all(np.linalg.norm(point - landmarks[other]) >= 11 * sigma for other in chosen):
            chosen.append(index)
    picture = np.zeros((size, size))
    for index in chosen:
        along_x, along_y = np.exp(-((np.arange(size) - landmarks[index, :, None]) ** 2) / (2 * sigma**2))
        picture += 250 * np.outer(along_y, along_x)
    return np.repeat(picture.round().clip(0, 255).astype(np.uint8)[..., None], 3, axis=2), chosen


def center_of_mass(crop: Picture, point: npt.NDArray[np.floating], radius: int = 7) -> Shape:
    column, row = np.round(point).astype(int)
    window = crop[row - radius : row + radius + 1, column - radius : column + radius + 1, 0].astype(np.float64)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    return np.array([(window * x).sum(), (window * y).sum()]) / (window.sum() + 1e-9) + [column, row]


@pytest.mark.parametrize("crop", ["tracked", "fixed"])
def test_landmarks_lie_where_the_pixels_went(landmarks: Shape, crop: Any) -> None:
    picture, chosen = marked_picture(landmarks, 280)
    assert len(chosen) >= 12
    config = dataclasses.replace(GEOMETRY, crop=crop)
    checked = 0
    for seed in range(6):
        clip = animate(picture, landmarks, SPEC, IBUG_68, config, np.random.default_rng(seed), 5)
        for t in range(5):
            for i in chosen:
                point = clip.landmarks[t, i]
                if point.min() < 9 or point.max() > SPEC.size - 10:
                    continue
                assert np.abs(center_of_mass(clip.images[t], point) - point).max() < 0.4
                checked += 1
    assert checked > 200


def test_a_mirrored_clip_renumbers_its_points(landmarks: Shape, grain: Picture) -> None:
    plain = animate(grain, landmarks, SPEC, IBUG_68, NO_MOTION, np.random.default_rng(0), 2)
    flipped = animate(grain, landmarks, SPEC, IBUG_68, only(flip=1), np.random.default_rng(0), 2)
    mirror = IBUG_68.mirror
    np.testing.assert_allclose(flipped.landmarks[:, mirror, 0], 159 - plain.landmarks[..., 0], atol=1e-3)
    np.testing.assert_allclose(flipped.landmarks[:, mirror, 1], plain.landmarks[..., 1], atol=1e-3)
    assert np.abs(flipped.images[0].astype(int) - plain.images[0, :, ::-1]).mean() < 1.5  # the sampling's rounding


def test_no_motion_is_the_ground_truth_crop_in_every_frame(landmarks: Shape, grain: Picture) -> None:
    frame = CropGeometry.from_box(Box.around(landmarks), SPEC)
    clip = animate(grain, landmarks, SPEC, IBUG_68, NO_MOTION, np.random.default_rng(0), 3)
    assert clip.images.shape == (3, 160, 160, 3)
    assert [values.dtype for values in clip] == [np.uint8, np.float32, bool]
    np.testing.assert_allclose(clip.landmarks, np.broadcast_to(frame.to_crop(landmarks), (3, 68, 2)), atol=1e-3)
    assert np.abs(clip.images.astype(int) - frame.crop(grain)).max() <= 2  # 1/32 pixel, in which OpenCV samples
    assert clip.visible.all()


@pytest.mark.parametrize(
    "config", [MotionConfig(), UNOCCLUDED_MOTION, RANDOM_PATCH_MOTION], ids=["default", "unoccluded", "patch"]
)
def test_the_generator_alone_decides(landmarks: Shape, grain: Picture, config: MotionConfig) -> None:
    before = grain.copy()
    seen: list[MovingFace] = []
    for seed in range(4):
        first, second = (
            animate(grain, landmarks, SPEC, IBUG_68, config, np.random.default_rng(seed), 4, lambda: grain[::-1].copy())
            for _ in range(2)
        )
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)
        seen.append(first)
    assert len({clip.images.tobytes() for clip in seen}) == 4
    np.testing.assert_array_equal(grain, before)


def test_another_face_is_asked_for_only_when_needed(landmarks: Shape, grain: Picture) -> None:
    def never() -> Picture:
        raise AssertionError("asked for another face")

    for seed in range(5):
        config = dataclasses.replace(UNOCCLUDED_MOTION, masks=1, sunglasses=1, noise_patch=1)
        animate(grain, landmarks, SPEC, IBUG_68, config, np.random.default_rng(seed), 2, never)


# --- what hides


@pytest.mark.parametrize("what", ["occluders", "masks", "sunglasses", "noise_patch"])
def test_hidden_landmarks_lie_on_pixels_that_changed(landmarks: Shape, grain: Picture, what: str) -> None:
    hidden = unchanged = 0
    for seed in range(25):
        plain = animate(grain, landmarks, SPEC, IBUG_68, NO_MOTION, np.random.default_rng(seed), 4)
        clip = animate(grain, landmarks, SPEC, IBUG_68, only(**{what: 1.0}), np.random.default_rng(seed), 4)
        changed = np.asarray((np.abs(plain.images.astype(int) - clip.images) > 2).any(-1))
        for t in range(4):
            for x, y in np.floor(clip.landmarks[t, ~clip.visible[t]] + 0.5).astype(int):
                hidden += 1
                unchanged += not changed[t, y, x]
    assert hidden > 100
    assert unchanged / hidden < 0.03  # an edge of half a pixel, or the very colour of what it hides


def test_what_is_worn_moves_with_the_face(landmarks: Shape, grain: Picture) -> None:
    """The flags of a mask stay the same through a clip in which the head moves and turns."""
    config = dataclasses.replace(GEOMETRY, masks=1, box_edge=0, box_shift=0, box_scale=0, shift=0.05)
    for seed in range(5):
        clip = animate(grain, landmarks, SPEC, IBUG_68, config, np.random.default_rng(seed), 5)
        inside = np.asarray(((clip.landmarks > 1) & (clip.landmarks < 158)).all(axis=(0, 2)))
        assert (clip.visible[:, inside] == clip.visible[0, inside]).all()
        mouth = [i for i in IBUG_68.components["mouth"] if inside[i]]
        assert np.ptp(clip.landmarks, axis=0).max() > 2
        assert (~clip.visible[:, mouth]).mean() > 0.3


def test_passing_occluders_come_and_go(landmarks: Shape, grain: Picture) -> None:
    changes = 0
    for seed in range(12):
        clip = animate(grain, landmarks, SPEC, IBUG_68, only(occluders=1), np.random.default_rng(seed), 20)
        changes += bool((clip.visible != clip.visible[0]).any())
    assert changes >= 6


def test_points_outside_the_still_are_hidden(landmarks: Shape, grain: Picture) -> None:
    cut = grain[:, 100:].copy()
    points = landmarks - [100, 0]
    clip = animate(cut, points, SPEC, IBUG_68, NO_MOTION, np.random.default_rng(0), 1)
    np.testing.assert_array_equal(clip.visible[0], points[:, 0] >= -0.5)
    assert not clip.visible.all()


# --- the crop


def test_points_hidden_in_the_still_are_hidden_in_every_frame(landmarks: Shape, grain: Picture) -> None:
    hidden = np.zeros(68, bool)
    hidden[[0, 5, 36]] = True
    for flip, expected in ((0, hidden), (1, hidden[IBUG_68.mirror])):
        framed = animate_placed(
            grain, landmarks, SPEC, IBUG_68, only(flip=flip), np.random.default_rng(0), 3, occluded=hidden
        )
        np.testing.assert_array_equal(framed.face.visible, np.tile(~expected, (3, 1)))


def test_frames_join_the_crops(landmarks: Shape, grain: Picture) -> None:
    """Carried over by the frames, a still face's points of one crop are those of the next, whatever the jitter."""
    config = dataclasses.replace(GEOMETRY, still=1)
    face, frames = animate_placed(grain, landmarks, SPEC, IBUG_68, config, np.random.default_rng(3), 4)
    assert frames.shape == (4, 2, 3)
    assert np.abs(np.diff(face.landmarks, axis=0)).max() > 0.3  # the jitter is there
    for t in range(1, 4):
        scene = transform_points(invert_affine(frames[t - 1]), face.landmarks[t - 1].astype(np.float64))
        np.testing.assert_allclose(transform_points(frames[t], scene), face.landmarks[t], atol=1e-3)


def test_the_tracked_crop_follows_and_the_fixed_one_stays(landmarks: Shape, grain: Picture) -> None:
    moving = dataclasses.replace(NO_MOTION, still=0, shift=0.3, roll_deg=15, period=(15, 15))
    spread = {}
    for crop in ("tracked", "fixed"):
        config = dataclasses.replace(moving, crop=crop)
        face, frames = animate_placed(grain, landmarks, SPEC, IBUG_68, config, np.random.default_rng(1), 12)
        spread[crop] = np.ptp(face.landmarks.mean(axis=1), axis=0).max()
        assert (np.ptp(frames, axis=0).max() > 1e-9) == (crop == "tracked")
    assert spread["fixed"] > 30
    assert spread["tracked"] < spread["fixed"] / 2


def test_a_large_face_is_reduced_first(face: Shape) -> None:
    """The same clip from a picture of four times the size, whose fine stripes must not alias."""
    points = face * 520 + [560.0, 560.0]
    stripes = np.zeros((1120, 1120, 3), np.uint8)
    stripes[:, ::2] = 255
    clip = animate(stripes, points, SPEC, IBUG_68, NO_MOTION, np.random.default_rng(0), 1)
    assert np.abs(clip.images[0].astype(int) - 127).max() < 40  # sampled as it is: 127
    expected = CropGeometry.from_box(Box.around(points), SPEC).to_crop(points)
    np.testing.assert_allclose(clip.landmarks[0], expected, atol=1e-3)


# --- light and camera


def test_blur_runs_along_the_way_and_moves_nothing() -> None:
    image = np.zeros((41, 41, 3), np.uint8)
    image[20, 20] = 255
    for way in ((9.0, 0.0), (0.0, -6.5), (5.0, 7.0), (-11.3, 4.2)):
        blurred = blur_along(image, np.array(way))[..., 0].astype(np.float64)
        y, x = np.mgrid[:41, :41] - 20
        mean = np.array([(blurred * x).sum(), (blurred * y).sum()]) / blurred.sum()
        np.testing.assert_allclose(mean, 0, atol=1e-9)
        main = np.array([x[blurred > 0], y[blurred > 0]])
        off = main[0] * way[1] - main[1] * way[0]
        assert np.abs(off).max() / np.hypot(*way) < 1.2  # on the line, to a pixel
        assert np.ptp(main @ np.eye(main.shape[1]), axis=1).max() == pytest.approx(np.abs(way).max(), abs=1.5)
    np.testing.assert_array_equal(blur_along(image, np.array([1.0, 0.5])), image)


def test_noise_and_compression_change_from_frame_to_frame(landmarks: Shape, grain: Picture) -> None:
    clip = animate(grain, landmarks, SPEC, IBUG_68, only(sensor_noise=1), np.random.default_rng(0), 3)
    assert (clip.images[0] != clip.images[1]).any()
    assert np.abs(clip.images[0].astype(float) - clip.images[1]).mean() < 15
    still = animate(grain, landmarks, SPEC, IBUG_68, only(grey=1), np.random.default_rng(0), 3)
    assert (still.images == still.images[..., :1]).all()
    assert (still.images[0] == still.images[2]).all()
    assert (clip.landmarks == clip.landmarks[0]).all()


# --- whole pictures


def test_a_whole_picture_becomes_a_clip(landmarks: Shape, tmp_path: Path) -> None:
    picture, chosen = marked_picture(landmarks, 280)
    write_image(tmp_path / "one.png", picture)
    sample = Sample(tmp_path / "one.png", landmarks, IBUG_68, "toy")
    config = dataclasses.replace(GEOMETRY, noise_patch=0)
    clip = animate_picture(sample, config, np.random.default_rng(0), 6)
    assert (len(clip), clip.name, clip.subset) == (6, "one", "toy")
    assert clip.occluded is not None
    for t in (5, 0, 3):  # any order
        image = clip.frame(t)
        assert image.shape == (280, 280, 3)
        for i in chosen:
            point = clip.landmarks[t, i]
            if point.min() > 9 and point.max() < 270:
                assert np.abs(center_of_mass(image, point) - point).max() < 0.4
    np.testing.assert_array_equal(clip.frame(2), clip.frame(2))
    again = animate_picture(sample, config, np.random.default_rng(0), 6)
    np.testing.assert_array_equal(again.frame(4), clip.frame(4))
    with pytest.raises(DataError, match="frame from 1 to 6"):
        clip.frames.read(7)


# --- real video


def test_frames_that_move_by_themselves_keep_their_points(landmarks: Shape) -> None:
    """Each frame shows its own picture, moved in addition; the dots are where the points say."""
    shapes = np.stack([landmarks + [4.0 * t, -3.0 * t] for t in range(4)])
    pictures: list[Picture] = []
    chosen: list[int] = []
    for shape in shapes:
        picture, chosen = marked_picture(shape, 280)
        pictures.append(picture)
    checked = 0
    for seed in range(3):
        for flip in (0.0, 1.0):
            config = dataclasses.replace(GEOMETRY, flip=flip)
            face, frames = move_frames(pictures, shapes, SPEC, IBUG_68, config, np.random.default_rng(seed))
            assert frames.shape == (4, 2, 3)
            for t in range(4):
                for i in chosen:
                    point = face.landmarks[t, IBUG_68.mirror[i] if flip else i]
                    if point.min() < 9 or point.max() > SPEC.size - 10:
                        continue
                    assert np.abs(center_of_mass(face.images[t], point) - point).max() < 0.4
                    checked += 1
    assert checked > 150


def test_one_mask_is_worn_in_all_frames(landmarks: Shape, grain: Picture) -> None:
    shapes = np.stack([landmarks + [2.0 * t, 0.0] for t in range(4)])
    face, _ = move_frames([grain] * 4, shapes, SPEC, IBUG_68, only(masks=1), np.random.default_rng(1))
    assert (~face.visible[0]).sum() > 5
    assert (face.visible == face.visible[0]).mean() > 0.95
    with pytest.raises(InputError, match="landmarks of each"):
        move_frames([grain], shapes, SPEC, IBUG_68, NO_MOTION, np.random.default_rng(0))


# --- the user's mistakes


def test_mistakes_are_named(landmarks: Shape, grain: Picture) -> None:
    with pytest.raises(InputError, match="tracked or fixed"):
        MotionConfig(crop="loose")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="period"):
        MotionConfig(period=(20, 10))
    with pytest.raises(InputError, match="at least 1"):
        animate(grain, landmarks, SPEC, IBUG_68, NO_MOTION, np.random.default_rng(0), 0)
    with pytest.raises(InputError, match="landmarks"):
        animate(grain, landmarks[:29], SPEC, IBUG_68, NO_MOTION, np.random.default_rng(0), 2)

"""Augmentation: landmarks found back in the pixels, occlusion flags held against the pixels that changed."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.face.geometry import Box, CropGeometry, CropSpec, fit_similarity
from srn.face.scheme import IBUG_68
from srn.synthesis.augment import TrainingFace, augment, jittered_box
from srn.synthesis.config import NO_AUGMENTATION, PAPER_AUGMENTATION, AugmentConfig
from srn.synthesis.occluders import drawn_mask, visible_landmarks

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

SPEC = CropSpec(160, 108.0)
GEOMETRY = dataclasses.replace(
    NO_AUGMENTATION, flip=0.5, rotation_deg=20, wide_rotation=0.3, wide_rotation_deg=60,
    box_edge=0.05, box_shift=0.05, box_scale=0.1,
)  # fmt: skip


def only(**values: Any) -> AugmentConfig:
    return dataclasses.replace(NO_AUGMENTATION, **values)


@pytest.fixture
def landmarks(face: Shape) -> Shape:
    """A face of 200 pixels, a little turned, in a picture of 400 x 400."""
    turn = np.deg2rad(7)
    return face * 200 @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + [203.3, 195.8]


@pytest.fixture
def grain(rng: np.random.Generator) -> Picture:
    """A grey picture with soft grain, so that whatever is painted over it shows."""
    return rng.integers(120, 136, (400, 400, 3), dtype=np.uint8)


def far_apart(points: Shape, distance: float) -> list[int]:
    chosen: list[int] = []
    for index, point in enumerate(points):
        if all(np.linalg.norm(point - points[other]) >= distance for other in chosen):
            chosen.append(index)
    return chosen


def marked_picture(landmarks: Shape, chosen: list[int]) -> Picture:
    """Black, with a soft dot at each chosen landmark: red is the same in all, green tells them apart."""
    picture = np.zeros((400, 400, 3))
    for number, index in enumerate(chosen):
        along_x, along_y = np.exp(-((np.arange(400) - landmarks[index, :, None]) ** 2) / (2 * 3.0**2))
        dot = np.outer(along_y, along_x)
        picture += dot[..., None] * [240, 240 * (number + 1) / len(chosen), 0]
    return picture.round().clip(0, 255).astype(np.uint8)


def dot_near(crop: Picture, point: npt.NDArray[np.floating], radius: int = 7) -> tuple[Shape, float]:
    """Where the dot around a point has its centre of mass, and which share of its red its green is."""
    column, row = np.round(point).astype(int)
    window = crop[row - radius : row + radius + 1, column - radius : column + radius + 1].astype(np.float64)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    red = window[..., 0] + 1e-9  # where there is no dot at all, the share is 0
    center = np.array([(red * x).sum(), (red * y).sum()]) / red.sum() + [column, row]
    return center, window[..., 1].sum() / red.sum()


@pytest.mark.parametrize(
    "config",
    [
        NO_AUGMENTATION,
        only(flip=1),
        only(rotation_deg=25),
        only(wide_rotation=1, wide_rotation_deg=45),
        only(box_scale=0.15),
        only(box_edge=0.06, box_shift=0.06),
        GEOMETRY,
        only(turned=1),
        dataclasses.replace(GEOMETRY, turned=1),
    ],
    ids=["none", "flip", "rotation", "wide rotation", "scale", "shift", "all", "turned", "all and turned"],
)
def test_landmarks_lie_where_the_pixels_went(landmarks: Shape, config: AugmentConfig) -> None:
    chosen = far_apart(landmarks, 34)
    assert len(chosen) >= 15
    picture = marked_picture(landmarks, chosen)
    checked, placements = 0, []
    for seed in range(8):
        result = augment(picture, landmarks, SPEC, IBUG_68, config, np.random.default_rng(seed))
        placements.append(result.landmarks)
        for flipped in (False, True):
            # A flip gives the dot of landmark i the number of its mirror image.
            indices = [int(IBUG_68.mirror[i]) if flipped else i for i in chosen]
            found = [(n, i) for n, i in enumerate(indices) if result.landmarks[i].min() >= 8]
            found = [(n, i) for n, i in found if result.landmarks[i].max() <= SPEC.size - 9]
            dots = [(n, i, *dot_near(result.image, result.landmarks[i])) for n, i in found]
            named = [round(share * len(chosen)) == n + 1 for n, _, _, share in dots]
            if not all(named):
                continue
            assert len(dots) >= 8
            for _, i, center, _ in dots:
                assert np.abs(center - result.landmarks[i]).max() < 0.4
            checked += 1
    assert checked == 8, "every crop shows the dots in one of the two numberings"
    moved = np.ptp(np.stack(placements), axis=0).max()
    assert (moved > 5) == (config not in (NO_AUGMENTATION, only(flip=1)))


def test_flip_is_the_mirror_image_and_its_own_inverse(landmarks: Shape, grain: Picture) -> None:
    plain = augment(grain, landmarks, SPEC, IBUG_68, NO_AUGMENTATION, np.random.default_rng(0))
    flipped = augment(grain, landmarks, SPEC, IBUG_68, only(flip=1), np.random.default_rng(0))
    np.testing.assert_array_equal(flipped.image, plain.image[:, ::-1])
    for i in range(68):
        x, y = plain.landmarks[IBUG_68.mirror[i]]
        np.testing.assert_allclose(flipped.landmarks[i], [159 - x, y], atol=1e-4)
    # The crop of a crop, flipped again, is the first one.
    twice = augment(flipped.image, flipped.landmarks, SPEC, IBUG_68, only(flip=1), np.random.default_rng(0))
    np.testing.assert_allclose(twice.landmarks, plain.landmarks, atol=1e-3)


def test_the_crop_of_a_second_pass_is_upright_and_tight(landmarks: Shape, grain: Picture) -> None:
    config = only(second_pass=1, rotation_deg=60, box_shift=0.3, box_scale=0.3)  # the others are of the first pass
    turn = np.deg2rad(7)
    upright = landmarks @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    truth = CropGeometry.from_shape(landmarks, SPEC, upright).to_crop(landmarks)
    turns, scales, shifts = [], [], []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        seen = augment(grain, landmarks, SPEC, IBUG_68, config, rng, upright_shape=upright).landmarks
        fitted = fit_similarity(truth, seen.astype(np.float64))
        turns.append(np.rad2deg(np.arctan2(fitted[1, 0], fitted[0, 0])))
        scales.append(np.log(np.hypot(fitted[0, 0], fitted[1, 0])))
        shifts.append((seen - truth).mean(axis=0) / SPEC.face_size)
    # What the found shape is off by, the face is off by in the crop that is placed by it, and by nothing else.
    assert np.std(turns) == pytest.approx(2.5, rel=0.15)
    assert np.std(scales) == pytest.approx(0.03, rel=0.15)
    assert np.std(shifts, axis=0) == pytest.approx(0.02, rel=0.15)
    assert np.abs(np.mean(shifts, axis=0)).max() < 0.004


def test_without_an_upright_shape_every_look_is_the_first(landmarks: Shape, grain: Picture) -> None:
    config = only(second_pass=1, rotation_deg=20)
    plain = augment(grain, landmarks, SPEC, IBUG_68, only(rotation_deg=20), np.random.default_rng(1))
    same = augment(grain, landmarks, SPEC, IBUG_68, config, np.random.default_rng(1))
    np.testing.assert_array_equal(same.landmarks, plain.landmarks)


def test_no_augmentation_is_the_ground_truth_crop(landmarks: Shape, grain: Picture) -> None:
    frame = CropGeometry.from_box(Box.around(landmarks), SPEC)
    result = augment(grain, landmarks, SPEC, IBUG_68, NO_AUGMENTATION, np.random.default_rng(3))
    np.testing.assert_array_equal(result.image, frame.crop(grain))
    np.testing.assert_allclose(result.landmarks, frame.to_crop(landmarks), atol=1e-4)
    assert result.visible.all()
    assert result.landmarks.dtype == np.float32
    assert result.visible.dtype == bool


@pytest.mark.parametrize(
    "config", [AugmentConfig(), PAPER_AUGMENTATION, only(turned=1)], ids=["default", "paper", "turned"]
)
def test_the_generator_alone_decides(landmarks: Shape, grain: Picture, config: AugmentConfig) -> None:
    before = grain.copy()
    results: list[TrainingFace] = []
    for seed in range(6):
        first, second = (
            augment(grain, landmarks, SPEC, IBUG_68, config, np.random.default_rng(seed), lambda: grain[::-1])
            for _ in range(2)
        )
        for one, other in zip(first, second, strict=True):
            np.testing.assert_array_equal(one, other)
        assert first.image.shape == (160, 160, 3)
        assert first.image.dtype == np.uint8
        results.append(first)
    assert len({result.image.tobytes() for result in results}) == 6
    np.testing.assert_array_equal(grain, before)  # the pack's picture is not painted on


# --- occlusion


def changed_pixels(
    grain: Picture, landmarks: Shape, config: AugmentConfig, seed: int, **without: Any
) -> tuple[npt.NDArray[np.bool_], TrainingFace]:
    """Which pixels differ from the crop that the same generator gives without the occluder."""
    rest = dataclasses.replace(config, **without)
    plain = augment(grain, landmarks, SPEC, IBUG_68, rest, np.random.default_rng(seed))
    result = augment(grain, landmarks, SPEC, IBUG_68, config, np.random.default_rng(seed))
    np.testing.assert_array_equal(plain.landmarks, result.landmarks)  # an occluder moves no landmark
    return (plain.image != result.image).any(-1), result


def test_the_noise_patch_is_centred_on_a_landmark_after_the_geometry(landmarks: Shape, grain: Picture) -> None:
    config = dataclasses.replace(GEOMETRY, noise_patch=1, noise_patch_size=0.34)
    side = round(108 * 0.34)
    for seed in range(20):
        changed, result = changed_pixels(grain, landmarks, config, seed, noise_patch=0)
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        y0, y1, x0, x1 = rows[0], rows[-1], columns[0], columns[-1]
        assert (y1 - y0 + 1, x1 - x0 + 1) == (side, side)
        # A square around (x, y), moved into the crop where it would stick out, for one of the landmarks.
        middle = np.clip(result.landmarks, (side - 1) / 2, 159 - (side - 1) / 2)
        assert np.abs(middle - [(x0 + x1) / 2, (y0 + y1) / 2]).max(axis=1).min() <= 1
        # Every pixel of the square is noise (a plain pixel by chance: 1 in 16 million).
        assert changed[y0 : y1 + 1, x0 : x1 + 1].mean() > 0.999
        for (x, y), visible in zip(result.landmarks, result.visible, strict=True):
            column, row = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
            inside = 0 <= column < 160 and 0 <= row < 160
            assert visible == (inside and not (x0 <= column <= x1 and y0 <= row <= y1))
        assert not result.visible.all()


def test_every_landmark_can_be_hit(landmarks: Shape, grain: Picture) -> None:
    hits = np.zeros(68, int)
    for seed in range(500):
        hits += ~augment(
            grain, landmarks, SPEC, IBUG_68, only(noise_patch=1, noise_patch_size=0.1), np.random.default_rng(seed)
        ).visible
    assert (hits > 0).all()


@pytest.mark.parametrize("kind", ["occluders", "masks"])
def test_hidden_landmarks_lie_on_pixels_that_changed(landmarks: Shape, grain: Picture, kind: str) -> None:
    hidden = unchanged = 0
    for seed in range(60):
        changed, result = changed_pixels(grain, landmarks, only(**{kind: 1}), seed, **{kind: 0})
        for x, y in np.floor(result.landmarks[~result.visible] + 0.5).astype(int):
            hidden += 1
            unchanged += not changed[y, x]
    assert hidden > 200
    assert unchanged / hidden < 0.02  # an occluder may by chance have the colour of what it hides


def test_a_mask_hides_the_mouth_and_leaves_eyes_and_brows(landmarks: Shape, grain: Picture) -> None:
    components = {name: list(points) for name, points in IBUG_68.components.items()}
    crop, points, _ = augment(grain, landmarks, SPEC, IBUG_68, NO_AUGMENTATION, np.random.default_rng(0))
    mouths = []
    for seed in range(200):
        covered = drawn_mask(crop.copy(), points, IBUG_68, np.random.default_rng(seed))
        visible = visible_landmarks(covered, points)
        assert visible[components["brows"] + components["eyes"]].all()
        mouths.append((~visible[components["mouth"]]).mean())
    assert np.median(mouths) > 0.9


def test_masks_that_lie_off(landmarks: Shape, grain: Picture) -> None:
    """They lie further left and right of where the face is, and what they hide is still what they cover."""
    spread = {}
    for misfit in (0.0, 0.1):
        middles, painted = [], []
        for seed in range(40):
            config = only(masks=1.0, misfit=misfit)
            face = augment(grain, landmarks, SPEC, IBUG_68, config, np.random.default_rng(seed))
            changed = (np.abs(face.image.astype(int) - 128) > 10).any(-1)
            hidden = face.landmarks[~face.visible].round().astype(int)
            painted += changed[hidden[:, 1], hidden[:, 0]].tolist()
            middles.append(np.argwhere(changed).mean(axis=0)[1])
        assert np.mean(painted) > 0.9  # a mask may have the picture's own grey in places
        spread[misfit] = np.std(middles)
    assert spread[0.1] > 2 * spread[0.0]


def test_points_known_to_be_hidden_stay_hidden_and_flip_with_the_face(landmarks: Shape, grain: Picture) -> None:
    hidden = np.zeros(68, bool)
    hidden[[0, 5, 36]] = True
    for flip, expected in ((0, hidden), (1, hidden[IBUG_68.mirror])):
        result = augment(grain, landmarks, SPEC, IBUG_68, only(flip=flip), np.random.default_rng(0), occluded=hidden)
        np.testing.assert_array_equal(result.visible, ~expected)


def test_another_face_is_asked_for_only_when_needed(landmarks: Shape, grain: Picture) -> None:
    def never() -> Picture:
        raise AssertionError("asked for another face")

    for seed in range(20):
        augment(grain, landmarks, SPEC, IBUG_68, only(masks=1, noise_patch=1), np.random.default_rng(seed), never)
    asked: list[int] = []
    shown = []

    def white() -> Picture:
        asked.append(1)
        return np.full((80, 90, 3), 255, np.uint8)

    for seed in range(60):
        count = len(asked)
        result = augment(grain, landmarks, SPEC, IBUG_68, only(occluders=1), np.random.default_rng(seed), white)
        if len(asked) > count:
            shown.append((result.image == 255).all(-1).any())
    assert 8 < len(asked) < 40  # 2 kinds of 8, one or two occluders a face
    assert np.mean(shown) > 0.7  # a piece of the other face lies on this one, where no shadow fell on it afterwards


# --- light and camera


@pytest.mark.parametrize("name", ["color", "grey", "blur", "low_resolution", "sensor_noise"])
def test_light_and_camera_change_pixels_only(landmarks: Shape, rng: np.random.Generator, name: str) -> None:
    picture = rng.integers(0, 256, (400, 400, 3), dtype=np.uint8)
    plain = augment(picture, landmarks, SPEC, IBUG_68, NO_AUGMENTATION, np.random.default_rng(0))
    for seed in range(6):
        result = augment(picture, landmarks, SPEC, IBUG_68, only(**{name: 1}), np.random.default_rng(seed))
        np.testing.assert_array_equal(result.landmarks, plain.landmarks)
        assert result.visible.all()
        assert (result.image != plain.image).mean() > 0.2
        if name == "grey":
            np.testing.assert_array_equal(result.image, result.image[..., :1].repeat(3, axis=-1))
        if name in ("blur", "low_resolution"):
            assert (
                np.abs(np.diff(result.image.astype(int), axis=1)).mean()
                < np.abs(np.diff(plain.image.astype(int), axis=1)).mean()
            )


@pytest.mark.parametrize(("name", "most"), [("blur", 0.1), ("low_resolution", 0.3)])  # JPEG's blocks are not even
def test_a_bad_camera_moves_no_point(landmarks: Shape, name: str, most: float) -> None:
    chosen = far_apart(landmarks, 34)
    picture = marked_picture(landmarks, chosen)
    for seed in range(24):
        result = augment(picture, landmarks, SPEC, IBUG_68, only(**{name: 1}), np.random.default_rng(seed))
        points = [p for p in result.landmarks[chosen] if p.min() >= 8 and p.max() <= SPEC.size - 9]
        shift = np.mean([dot_near(result.image, point)[0] - point for point in points], axis=0)
        assert np.abs(shift).max() < most


def test_colour_changes_stay_centred(landmarks: Shape, grain: Picture) -> None:
    means = [
        augment(grain, landmarks, SPEC, IBUG_68, only(color=1), np.random.default_rng(seed)).image.mean()
        for seed in range(80)
    ]
    assert np.mean(means) == pytest.approx(grain.mean(), abs=12)
    assert np.std(means) > 10


# --- boxes


def test_jitter_has_the_spread_it_says() -> None:
    box = Box(100, 200, 180, 320)
    side = np.sqrt((80**2 + 120**2) / 2)
    draws = np.random.default_rng(0)
    z = np.linspace(-12, 12, 200_001)  # the standard deviation of a normal that is cut at +-2.5, by integration
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    clipped = np.sqrt((np.clip(z, -2.5, 2.5) ** 2 * density).sum() * (z[1] - z[0]))

    def jittered(count: int, config: AugmentConfig) -> list[Box]:
        return [jittered_box(box, config, draws) for _ in range(count)]

    edges = np.stack([b.as_array() for b in jittered(4000, only(box_edge=0.04))]) - box.as_array()
    np.testing.assert_allclose(edges.mean(axis=0), 0, atol=0.2)
    np.testing.assert_allclose(edges.std(axis=0), 0.04 * side * clipped, rtol=0.06)
    assert np.abs(edges).max() <= 2.5 * 0.04 * side + 1e-9
    np.testing.assert_allclose(np.corrcoef(edges.T), np.eye(4), atol=0.06)

    boxes = jittered(2000, only(box_shift=0.03))
    centers = np.stack([b.center for b in boxes]) - box.center
    np.testing.assert_allclose(centers.std(axis=0), 0.03 * side * clipped, rtol=0.08)
    np.testing.assert_allclose([b.size for b in boxes], side)

    boxes = jittered(2000, only(box_scale=0.07))
    logs = np.log([b.size / side for b in boxes])
    assert logs.std() == pytest.approx(0.07 * clipped, rel=0.08)
    np.testing.assert_allclose([b.width / b.height for b in boxes], 80 / 120)
    np.testing.assert_allclose(np.stack([b.center for b in boxes]), np.broadcast_to(box.center, (2000, 2)))


@pytest.mark.parametrize(
    "box",
    [Box(10, 10, 10.5, 200), Box(10, 10, 200, 10.01), Box(5, 5, 5.001, 5.001), Box(-1e5, -1e5, 1e5, 1e5)],
    ids=["thin", "flat", "tiny", "huge"],
)
def test_degenerate_boxes_stay_boxes(box: Box) -> None:
    draws = np.random.default_rng(0)
    for _ in range(300):
        result = jittered_box(box, AugmentConfig(box_edge=0.2), draws)  # a Box checks itself when made
        assert 0.4 < result.size / box.size < 2.5


@pytest.mark.parametrize(
    "squeeze", [(1e-3, 1), (1, 1e-3), (0.01, 0.01), (30, 30)], ids=["thin", "flat", "tiny", "huge"]
)
def test_degenerate_faces_do_not_crash(landmarks: Shape, grain: Picture, squeeze: tuple[float, float]) -> None:
    shape = (landmarks - 200) * squeeze + 200
    for seed in range(25):
        result = augment(
            grain,
            shape,
            SPEC,
            IBUG_68,
            AugmentConfig(occluders=0.7, masks=0.5, turned=0.5),
            np.random.default_rng(seed),
        )
        assert np.isfinite(result.landmarks).all()
        outside = ((result.landmarks < -0.5) | (result.landmarks >= 159.5)).any(1)
        assert not result.visible[outside].any()

"""Occluders: what they say they covered against the pixels that changed."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.face.scheme import COFW_29, COMPONENTS, IBUG_68, SCHEMES, LandmarkScheme
from srn.synthesis.occluders import (
    blob,
    drawn_mask,
    face_axes,
    fingers,
    hair,
    half_shadow,
    hat,
    misfitted,
    noise_patch,
    pasted_patch,
    sunglasses,
    textured_rectangle,
    visible_landmarks,
)
from srn.synthesis.surroundings import OWN_OCCLUDERS

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
SIZE = 160
SEEDS = range(25)

PLACES = {"brows": (0.25, -0.38), "eyes": (0.23, -0.2), "nose": (0.06, 0.05), "mouth": (0.1, 0.3)}


def face_of(scheme: LandmarkScheme) -> Shape:
    """A rough upright face of any scheme in 160 pixels: each component where it belongs, left and right apart."""
    rng = np.random.default_rng(0)
    side = np.zeros(scheme.n_points)
    for left, right in scheme.mirror_pairs:
        side[left], side[right] = -1, 1
    shape = np.zeros((scheme.n_points, 2))
    for name, (x, y) in PLACES.items():
        points = list(scheme.components[name])
        shape[points] = np.stack([x * side[points], np.full(len(points), y)], 1) + rng.normal(0, 0.02, (len(points), 2))
    outline = [*scheme.components["left_cheek"], *scheme.components["right_cheek"]]
    if len(outline) == 1:
        shape[outline] = [0, 0.5]
    else:
        angle = np.linspace(np.pi, 0, len(outline))
        shape[outline] = np.stack([0.5 * np.cos(angle), -0.15 + 0.65 * np.sin(angle)], 1)
    for eye, sign in zip(scheme.eyes, (-1, 1), strict=True):
        shape[list(eye), 0] = 0.23 * sign + np.linspace(-0.06, 0.06, len(eye)) * (len(eye) > 1)
    return shape * 108 + 79.5


@pytest.fixture
def grain(rng: np.random.Generator) -> Picture:
    return rng.integers(90, 106, (SIZE, SIZE, 3), dtype=np.uint8)


Paint = Callable[[Picture, Shape, LandmarkScheme, np.random.Generator], Mask]


def on_a_landmark(occluder: Callable[[Picture, Shape, float, np.random.Generator], Mask]) -> Paint:
    def paint(image: Picture, shape: Shape, scheme: LandmarkScheme, rng: np.random.Generator) -> Mask:
        return occluder(image, shape[int(rng.integers(len(shape)))], float(rng.uniform(15, 60)), rng)

    return paint


def paste(image: Picture, shape: Shape, scheme: LandmarkScheme, rng: np.random.Generator) -> Mask:
    other = np.random.default_rng(1).integers(150, 256, image.shape, dtype=np.uint8)
    return pasted_patch(image, other, shape[int(rng.integers(len(shape)))], float(rng.uniform(15, 60)), rng)


ALL: dict[str, Paint] = {
    **{occluder.__name__: on_a_landmark(occluder) for occluder in (noise_patch, textured_rectangle, blob, fingers)},
    **{occluder.__name__: occluder for occluder in (drawn_mask, sunglasses, hair, hat, half_shadow)},
    "pasted_patch": paste,
}
every_occluder = pytest.mark.parametrize("name", ALL)
every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=list(SCHEMES))


def grown(mask: Mask, pixels: int) -> Mask:
    return cv2.dilate(mask.astype(np.uint8), np.ones((2 * pixels + 1,) * 2, np.uint8)).astype(bool)


def shrunk(mask: Mask, pixels: int) -> Mask:
    return ~grown(~mask, pixels)


def paint(name: str, grain: Picture, shape: Shape, scheme: LandmarkScheme, seed: int) -> tuple[Picture, Mask]:
    image = grain.copy()
    covered = ALL[name](image, shape, scheme, np.random.default_rng(seed))
    assert covered.dtype == bool
    assert covered.shape == (SIZE, SIZE)
    return image, covered


@every_scheme
@pytest.mark.parametrize("name", [name for name in ALL if name != "half_shadow"])  # which covers nothing: see below
def test_covered_is_what_was_painted(
    name: str, scheme: LandmarkScheme, grain: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name == "drawn_mask":  # ear loops and pleats are thin lines beside and on the cloth: see below
        monkeypatch.setattr(cv2, "line", lambda *args, **options: None)
    shares, changed_inside, changed_outside = [], [], 0
    for seed in SEEDS:
        image, covered = paint(name, grain, face_of(scheme), scheme, seed)
        changed = (image != grain).any(-1)
        edge = 2 if name != "noise_patch" else 0
        changed_outside += int((changed & ~grown(covered, edge)).sum())
        inner = shrunk(covered, 1)
        if inner.sum() > 30:
            changed_inside.append(changed[inner].mean())
        shares.append(covered.mean())
    assert changed_outside == 0
    assert np.mean(changed_inside) > 0.95  # a surface may have the picture's own grey in places
    assert np.median(shares) > 0.005
    assert max(shares) < 0.9


@every_occluder
def test_the_generator_alone_decides(name: str, grain: Picture, face: Shape) -> None:
    shape = face * 108 + 79.5
    images = [[paint(name, grain, shape, IBUG_68, seed) for seed in (1, 2, 3)] for _ in range(2)]
    for (one, covered), (other, covered_again) in zip(*images, strict=True):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(covered, covered_again)
    assert len({image.tobytes() for image, _ in images[0]}) == 3


@every_scheme
@every_occluder
@pytest.mark.parametrize(("scale", "offset"), [(1, 150), (1, -400), (4, 0), (0.01, 0), (0, 0)])
def test_faces_beyond_the_picture_do_no_harm(
    name: str, scheme: LandmarkScheme, grain: Picture, scale: float, offset: float
) -> None:
    shape = (face_of(scheme) - 79.5) * scale + 79.5 + offset
    for seed in range(6):
        _, covered = paint(name, grain, shape, scheme, seed)
        visible = visible_landmarks(covered, shape)
        outside = ((shape < -0.5) | (shape >= SIZE - 0.5)).any(1)
        assert not visible[outside].any()


def test_visible_landmarks_by_hand() -> None:
    covered = np.zeros((3, 4), bool)
    covered[1, 2] = True
    points = {
        (2, 1): False,
        (1.51, 0.51): False,  # falls on the covered pixel
        (1.49, 1): True,
        (2, 1.5): True,  # a half belongs to the next pixel
        (0, 0): True,
        (3.49, 2.49): True,
        (3.5, 1): False,  # beyond the picture
        (0, 2.5): False,
        (-0.5, 0): True,
        (-0.51, 0): False,
        (1e6, -1e6): False,
    }
    visible = visible_landmarks(covered, np.array(list(points), float))
    assert dict(zip(points, visible.tolist(), strict=True)) == points


@pytest.mark.parametrize(
    ("center", "corner"),
    [((80, 80), (60, 60)), ((5, 80), (0, 60)), ((158, 3), (120, 0)), ((-50, 500), (0, 120))],
    ids=["inside", "left edge", "corner", "far out"],
)
def test_the_noise_patch_keeps_its_size(grain: Picture, center: tuple[int, int], corner: tuple[int, int]) -> None:
    covered = noise_patch(grain.copy(), np.array(center, float), 40, np.random.default_rng(0))
    expected = np.zeros((SIZE, SIZE), bool)
    expected[corner[1] : corner[1] + 40, corner[0] : corner[0] + 40] = True
    np.testing.assert_array_equal(covered, expected)


def test_the_noise_is_uniform(grain: Picture) -> None:
    image = grain.copy()
    covered = noise_patch(image, np.array([80.0, 80.0]), 120, np.random.default_rng(0))
    counts = np.bincount(image[covered].ravel(), minlength=256)
    expected = 120 * 120 * 3 / 256
    assert np.abs(counts - expected).max() < 6 * np.sqrt(expected)


def test_a_patch_larger_than_the_picture_covers_it_all(grain: Picture) -> None:
    assert noise_patch(grain.copy(), np.array([3.0, 3.0]), 999, np.random.default_rng(0)).all()


def test_a_shadow_hides_nothing_and_darkens_one_side(grain: Picture, face: Shape) -> None:
    for seed in SEEDS:
        image = grain.copy()
        assert not half_shadow(image, face * 108 + 79.5, IBUG_68, np.random.default_rng(seed)).any()
        assert (image <= grain).all()
        ratio = image.mean(-1) / grain.mean(-1)
        assert ratio.min() < 0.75
    assert (image < grain).any(-1).mean() > 0.01


def test_sunglasses_hide_the_eyes(grain: Picture, face: Shape) -> None:
    shape = face * 108 + 79.5
    eyes, mouth = list(IBUG_68.components["eyes"]), list(IBUG_68.components["mouth"])
    hidden = []
    for seed in SEEDS:
        covered = sunglasses(grain.copy(), shape, IBUG_68, np.random.default_rng(seed))
        visible = visible_landmarks(covered, shape)
        hidden.append((~visible[eyes]).mean())
        assert visible[mouth].all()
    assert np.mean(hidden) > 0.9


def test_a_turned_face_wears_its_mask_turned(grain: Picture, face: Shape) -> None:
    """Upside down, the mask lies on the mouth all the same: it is drawn along the face's own axes."""
    upright = face * 108 + 79.5
    turned = 159 - upright
    for seed in range(10):
        one = drawn_mask(grain.copy(), upright, IBUG_68, np.random.default_rng(seed))
        other = drawn_mask(grain.copy(), turned, IBUG_68, np.random.default_rng(seed))
        overlap = (one & other[::-1, ::-1]).sum() / (one | other[::-1, ::-1]).sum()
        assert overlap > 0.9


def test_ear_loops_are_thin(grain: Picture, face: Shape) -> None:
    shape = face * 108 + 79.5
    with_loops = 0
    for seed in SEEDS:
        image, covered = paint("drawn_mask", grain, shape, IBUG_68, seed)
        outside = (image != grain).any(-1) & ~grown(covered, 2)
        with_loops += bool(outside.any())
        assert not shrunk(outside, 4).any()  # nowhere nine pixels thick, even where two of them meet at an ear
        assert outside.mean() < 0.05
    assert 5 < with_loops < 24


def test_points_that_are_off_as_a_whole_by_hand() -> None:
    """Two shifts, a scale and a turn, each normal with the misfit: the moments over many draws, and the form kept."""
    shape = np.array([[0.0, 0.0], [40.0, 0.0], [40.0, 40.0], [0.0, 40.0]])  # a box of side 40
    drawn = np.stack([misfitted(shape, 0.05, np.random.default_rng(seed)) for seed in range(2000)])
    middle, first, second = drawn.mean(axis=1), drawn[:, 0], drawn[:, 1]
    across = second - first
    scale, turn = np.hypot(*across.T) / 40, np.arctan2(across[:, 1], across[:, 0])
    np.testing.assert_allclose(middle.std(axis=0), 0.05 * 40, rtol=0.06)
    np.testing.assert_allclose([np.log(scale).std(), turn.std()], 0.05, rtol=0.06)
    np.testing.assert_allclose(np.abs(np.corrcoef([*middle.T, scale, turn]) - np.eye(4)).max(), 0, atol=0.08)
    np.testing.assert_allclose(np.hypot(*(drawn[:, 2] - first).T), scale * 40 * np.sqrt(2))
    np.testing.assert_array_equal(misfitted(shape, 0.0, np.random.default_rng(0)), shape)


def test_a_mask_is_as_wide_as_the_face_where_no_landmark_tells_its_outline(grain: Picture, face: Shape) -> None:
    """On COFW's landmarks it was a strip between mouth and chin, narrower than the eyes are apart."""
    whole = face * 108 + 79.5
    widths = {}
    for scheme, shape in ((IBUG_68, whole), (COFW_29, face_of(COFW_29))):
        painted = [drawn_mask(grain.copy(), shape, scheme, np.random.default_rng(seed)) for seed in SEEDS]
        left, right = (shape[list(points)].mean(axis=0) for points in scheme.eyes)
        widths[scheme] = np.mean([covered.any(axis=0).sum() for covered in painted]) / np.linalg.norm(right - left)
    assert widths[COFW_29] == pytest.approx(widths[IBUG_68], rel=0.15)


OWN = {occluder.__name__: occluder for occluder in OWN_OCCLUDERS}
EYES = LandmarkScheme("eyes", 2, {**dict.fromkeys(COMPONENTS, ()), "eyes": (0, 1)}, ((0, 1),), (0, 1), ((0,), (1,)))


@pytest.mark.parametrize("name", [*ALL, *OWN])
def test_a_scheme_needs_no_points_but_the_eyes(name: str, grain: Picture) -> None:
    """The place of the mouth was no number, and the training of such points ended with an error in a worker process."""
    occlude = {**ALL, **OWN}[name]
    shape = np.array([[60.0, 60], [100, 60]])
    covered = [occlude(grain.copy(), shape, EYES, np.random.default_rng(seed)) for seed in SEEDS]
    assert np.any(covered) == (name != "half_shadow")


def test_the_mouth_lies_straight_below_the_eyes_where_it_has_no_points() -> None:
    turned = np.array([[80.0, 60], [80, 100]])  # the right eye below the left one
    middle, down, aside = face_axes(turned, EYES)
    np.testing.assert_allclose([middle, down, aside], [[80, 80], [-44, 0], [0, 20]])

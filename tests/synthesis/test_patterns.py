"""Occluders by patterns of hidden landmarks: the flags that come out against the pattern that went in."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.face.geometry import Box, CropSpec
from srn.face.scheme import COFW_29, IBUG_68, describe_scheme
from srn.synthesis.augment import augment
from srn.synthesis.config import NO_AUGMENTATION, AugmentConfig
from srn.synthesis.occluders import visible_landmarks
from srn.synthesis.patterns import OcclusionPatterns, pattern_occluder, patterns_in

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
Flags = npt.NDArray[np.bool_]

MOUTH, LEFT_JAW = list(IBUG_68.part("mouth")), list(IBUG_68.part("left_cheek"))


def flags(*points: int) -> Flags:
    hidden = np.zeros(68, bool)
    hidden[list(points)] = True
    return hidden


def sample(shape: Shape, hidden: Flags | None) -> Sample:
    return Sample(Path("no_picture.jpg"), shape, IBUG_68, "mine", occluded=hidden)


@pytest.fixture
def shape(face: Shape) -> Shape:
    return face * 108 + 79.5


@pytest.fixture
def picture(rng: np.random.Generator) -> Picture:
    return rng.integers(0, 256, (160, 160, 3), dtype=np.uint8)


def hide(picture: Picture, shape: Shape, hidden: Flags, seed: int, own: float = 0.5) -> tuple[Picture, Flags]:
    """The painted picture, and which landmarks are hidden in it."""
    image = picture.copy()
    covered = pattern_occluder(image, shape, hidden, IBUG_68, np.random.default_rng(seed), lambda: picture[::-1], own)
    return image, ~visible_landmarks(covered, shape)


def clustered(shape: Shape, rng: np.random.Generator) -> Flags:
    """The landmarks on one side of a line, as something before the face hides them."""
    way = rng.normal(size=2)
    along = shape @ (way / np.linalg.norm(way))
    return np.asarray(along > np.quantile(along, rng.uniform(0.3, 0.95)))


@pytest.mark.parametrize("own", [0.0, 1.0])
def test_hidden_is_what_the_pattern_says(picture: Picture, shape: Shape, own: float) -> None:
    rng = np.random.default_rng(5)
    pixels = np.floor(shape + 0.5)
    alone = np.array([(np.abs(pixels - pixel).max(axis=1) == 0).sum() == 1 for pixel in pixels])
    assert alone.sum() > 60
    for seed in range(24):
        hidden = clustered(shape, rng) if seed % 2 else rng.random(68) < 0.3  # the second: neighbours apart
        image, found = hide(picture, shape, hidden, seed, own)
        x, y = pixels[alone & hidden].astype(int).T
        assert (image != picture).any(axis=2)[y, x].mean() > 0.9
        np.testing.assert_array_equal(found[alone], hidden[alone])


def test_a_pixel_of_a_visible_landmark_is_spared(picture: Picture, shape: Shape) -> None:
    shape[1] = shape[0] + 0.01
    for seed in range(4):
        _, found = hide(picture, shape, flags(0, 2), seed)
        assert np.flatnonzero(found).tolist() == [2]


def test_nothing_hidden_and_everything_hidden(picture: Picture, shape: Shape) -> None:
    image, found = hide(picture, shape, flags(), 0)
    np.testing.assert_array_equal(image, picture)
    assert not found.any()
    _, found = hide(picture, shape, flags(*range(68)), 0)
    assert found.all()


def test_landmarks_beyond_the_picture_do_no_harm(picture: Picture, shape: Shape) -> None:
    for moved in (shape + [90, 0], shape + 500, (shape - 79.5) * 5 + 79.5, shape * 0 + 40):
        for seed in range(4):
            _, found = hide(picture, moved, flags(*MOUTH), seed)
            outside = ((moved < -0.5) | (moved >= 159.5)).any(axis=1)
            assert found[outside].all()  # as everywhere: what is not in the picture cannot be seen


def test_outline_and_material_come_from_the_generator(picture: Picture, shape: Shape) -> None:
    one, same, other = (hide(picture, shape, flags(*MOUTH), seed)[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    outlines = [(hide(picture, shape, flags(*MOUTH), seed)[0] != picture).any(axis=2) for seed in range(12)]
    assert (one != other).any()
    assert len({outline.sum() for outline in outlines}) == 12
    always, ever = np.all(outlines, axis=0), np.any(outlines, axis=0)
    assert ever.sum() > 1.5 * always.sum() > 0


def test_a_face_in_another_picture_is_asked_for_only_when_needed(picture: Picture, shape: Shape) -> None:
    asked: list[int] = []

    def white() -> Picture:
        asked.append(1)
        return np.full((80, 90, 3), 255, np.uint8)

    for seed in range(30):
        hidden = flags(*MOUTH)
        pattern_occluder(picture.copy(), shape, hidden, IBUG_68, np.random.default_rng(seed), white, own=1.0)
    assert not asked
    for seed in range(30):
        image = picture.copy()
        pattern_occluder(image, shape, hidden, IBUG_68, np.random.default_rng(seed), white, own=0.0)
    assert 4 < len(asked) < 20


# --- the library


@pytest.fixture
def patterns(shape: Shape) -> OcclusionPatterns:
    faces = [sample(shape, flags(*LEFT_JAW)), sample(shape * 2 + 9, flags()), sample(shape, None)]
    return OcclusionPatterns.of_samples(faces)


def test_patterns_are_read_from_flagged_faces(patterns: OcclusionPatterns, shape: Shape, tmp_path: Path) -> None:
    assert len(patterns) == 2  # a face without flags is no face without hidden landmarks
    box = Box.around(shape)
    np.testing.assert_allclose(patterns.shapes[0], (shape - box.center) / box.size, atol=1e-6)
    np.testing.assert_allclose(patterns.shapes[1], patterns.shapes[0], atol=1e-6)  # in face units
    patterns.save(tmp_path / "patterns.npz")
    again = OcclusionPatterns.load(tmp_path / "patterns.npz")
    np.testing.assert_array_equal(again.hidden, patterns.hidden)
    np.testing.assert_array_equal(again.shapes, patterns.shapes)
    assert again.scheme is IBUG_68


def test_half_of_the_patterns_are_mirrored(patterns: OcclusionPatterns, shape: Shape) -> None:
    drawn = [tuple(np.flatnonzero(patterns.draw(shape, np.random.default_rng(seed)))) for seed in range(200)]
    mirrored = tuple(np.flatnonzero(flags(*LEFT_JAW)[IBUG_68.mirror]))
    assert set(drawn) == {tuple(LEFT_JAW), mirrored}  # the face without a hidden landmark is never drawn
    assert 0.4 < drawn.count(mirrored) / 200 < 0.6


def test_faces_that_are_alike_lend_their_pattern(shape: Shape) -> None:
    turned = shape * [0.6, 1] + np.outer(shape[:, 1] * 0, [1, 0])
    turned[list(IBUG_68.part("nose"))] += [25, 0]  # to the right of the picture
    faces = [sample(turned, flags(*LEFT_JAW)), sample(shape, flags(*MOUTH))]
    patterns = OcclusionPatterns.of_samples(faces)
    draws = [patterns.draw(turned * 3 + 7, np.random.default_rng(seed)) for seed in range(300)]
    # Three draws of two: at least one of the like in 7 of 8, and half of the time the mirrored face is as unlike.
    shares = [np.mean([draw[LEFT_JAW[0]] for draw in draws]), np.mean([draw[MOUTH].all() for draw in draws])]
    assert shares[0] > shares[1] * 1.2 or shares[0] > 0.4
    assert sum(patterns.draw(shape, np.random.default_rng(seed))[MOUTH].all() for seed in range(300)) > 240


def test_patterns_that_make_no_sense_are_refused(shape: Shape, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a face with a hidden landmark, found none of 2"):
        OcclusionPatterns.of_samples([sample(shape, flags()), sample(shape, flags())])
    with pytest.raises(InputError, match=r"my\.csv: expected flagged faces of one landmark scheme, found no face"):
        OcclusionPatterns.of_samples([sample(shape, None)], "my.csv")
    cofw = Sample(Path("c.jpg"), shape[:29], COFW_29, "mine", occluded=flags(3)[:29])
    with pytest.raises(InputError, match="of one landmark scheme, found cofw29, ibug68"):
        OcclusionPatterns.of_samples([cofw, sample(shape, flags(3))])
    unit = np.zeros((1, 68, 2), np.float32)
    for hidden, shapes in ((flags(3), unit), (flags(3)[None, :60], unit), (flags(3)[None] * 1.0, unit)):
        with pytest.raises(InputError, match=r"flags \(P, 68\), bool, and shapes"):
            OcclusionPatterns(IBUG_68, hidden, shapes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="finite shapes"):
        OcclusionPatterns(IBUG_68, flags(3)[None], unit + np.nan)
    for content in (b"", b"PK\x03\x04"):
        (tmp_path / "broken.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.npz: expected occlusion patterns"):
            OcclusionPatterns.load(tmp_path / "broken.npz")
    described = {"format": np.array("srn occlusion patterns 1"), "scheme": np.array(describe_scheme(IBUG_68))}
    np.savez(tmp_path / "counts.npz", allow_pickle=False, **described, hidden=np.ones((1, 68), int), shapes=unit)
    with pytest.raises(DataError, match=r"^\S*counts\.npz: expected flags \(P, 68\), bool, .* found int64 \(1, 68\)"):
        OcclusionPatterns.load(tmp_path / "counts.npz")
    np.savez(tmp_path / "pack.npz", format=np.array("srn face pack 1"))
    with pytest.raises(DataError, match=r"pack\.npz: expected occlusion patterns .*srn face pack 1"):
        OcclusionPatterns.load(tmp_path / "pack.npz")


# --- in the augmentation


def test_the_augmentation_draws_them(
    patterns: OcclusionPatterns, face: Shape, picture: Picture, tmp_path: Path
) -> None:
    file = tmp_path / "patterns.npz"
    patterns.save(file)
    shape = face * 60 + 79.5
    plain = dataclasses.replace(NO_AUGMENTATION, flip=0.5)
    always = dataclasses.replace(plain, patterns=1.0, pattern_file=str(file))
    jaws = []
    for seed in range(20):
        made = augment(picture, shape, CropSpec(160, 108.0), IBUG_68, always, np.random.default_rng(seed))
        clean = augment(picture, shape, CropSpec(160, 108.0), IBUG_68, plain, np.random.default_rng(seed))
        np.testing.assert_array_equal(made.landmarks, clean.landmarks)
        left = np.array_equal(made.visible, ~flags(*LEFT_JAW))
        assert left or np.array_equal(made.visible, ~flags(*LEFT_JAW)[IBUG_68.mirror])
        jaws.append(left)
    assert 3 < sum(jaws) < 17


def test_a_pattern_file_is_needed_and_has_to_fit(patterns: OcclusionPatterns, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"AugmentConfig\.pattern_file: expected a file .* patterns=0.5 asks for"):
        AugmentConfig(patterns=0.5)
    assert AugmentConfig().patterns == 0
    config = AugmentConfig(patterns=0.5, pattern_file="patterns.npz")
    assert AugmentConfig.from_dict(config.to_dict()) == config
    file = tmp_path / "patterns.npz"
    patterns.save(file)
    with pytest.raises(InputError, match=r"patterns\.npz: expected patterns of cofw29, found of ibug68"):
        patterns_in(str(file), COFW_29)
    with pytest.raises(DataError, match=r"absent\.npz: expected occlusion patterns"):
        patterns_in(str(tmp_path / "absent.npz"), IBUG_68)
    assert patterns_in(str(file), IBUG_68) is patterns_in(str(file), IBUG_68)  # read once
    assert patterns_in(str(file)) is patterns_in(str(file), IBUG_68)  # also where the scheme is not known yet

"""Points carried by the pixels: against known motions of a public-domain portrait."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.cbook import get_sample_data

from srn.face.geometry import CropGeometry, ImageArray, similarity, transform_points
from srn.inference.flow import FLOW_CROP, Carried, FaceFlow, affine_part, anchored
from srn.media.pictures import read_image

Shape = npt.NDArray[np.float64]
MIDDLE = np.array([260.0, 190.0])
"""Where the portrait's face is; its box has about 190 pixels."""


@pytest.fixture(scope="module")
def portrait() -> ImageArray:
    return read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))


@pytest.fixture
def placed(face: Shape) -> Shape:
    return face * 190 + MIDDLE


def warped(image: ImageArray, matrix: Shape) -> ImageArray:
    size = (image.shape[1], image.shape[0])
    moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return moved.astype(np.uint8, copy=False)


def carry(before: ImageArray, now: ImageArray, shape: Shape, foreseen: Shape | None = None, **given: Shape) -> Carried:
    frame = CropGeometry.from_shape(shape, FLOW_CROP, shape)
    offset = np.zeros(2) if foreseen is None else foreseen
    return FaceFlow()(anchored(before, frame), anchored(now, frame.shifted(offset)), shape, **given)


@pytest.mark.parametrize(
    ("scale", "degrees", "shift"), [(1.0, 0.0, (7.0, -4.0)), (1.04, 0.0, (0.0, 0.0)), (1.0, 5.0, (3.0, 2.0))]
)
def test_a_moved_face_is_followed_to_a_part_of_a_per_cent(
    portrait: ImageArray, placed: Shape, scale: float, degrees: float, shift: tuple[float, float]
) -> None:
    matrix = similarity(scale, np.deg2rad(degrees), MIDDLE, MIDDLE + shift)
    carried = carry(portrait, warped(portrait, matrix), placed)
    truth = transform_points(matrix, placed)
    moved = np.linalg.norm(truth - placed, axis=1).mean()
    error = np.linalg.norm(carried.points - truth, axis=1).mean()
    assert error < min(0.005 * 190, 0.25 * moved)
    assert carried.trust.mean() > 0.7
    assert (carried.trust <= 1).all()


def test_the_flow_is_what_the_expected_place_is_off_by(portrait: ImageArray, placed: Shape) -> None:
    """40 pixels are too far for the flow alone; foreseen up to 5 of them, they are not."""
    matrix = similarity(1.0, 0.0, MIDDLE, MIDDLE + (40.0, 0.0))
    carried = carry(portrait, warped(portrait, matrix), placed, np.array([35.0, 0.0]))
    assert np.linalg.norm(carried.points - placed - (40.0, 0.0), axis=1).mean() < 0.005 * 190


def test_a_still_face_stays_where_it_is(portrait: ImageArray, placed: Shape) -> None:
    carried = carry(portrait, portrait, placed)
    np.testing.assert_allclose(carried.points, placed, atol=0.05)


def test_hidden_points_go_with_the_face_and_not_with_what_hides_it(portrait: ImageArray, placed: Shape) -> None:
    """A textured plate over the mouth moves up while the face moves to the right."""
    mouth = np.arange(68) >= 48
    plate = np.random.default_rng(0).integers(0, 255, (60, 120, 3), dtype=np.uint8)
    plate = cv2.GaussianBlur(plate, (0, 0), 1.5).astype(np.uint8)
    matrix = similarity(1.0, 0.0, MIDDLE, MIDDLE + (6.0, 0.0))
    x, y = placed[mouth].mean(axis=0).astype(int) - [60, 30]
    before, now = portrait.copy(), warped(portrait, matrix)
    before[y : y + 60, x : x + 120] = plate
    now[y - 8 : y + 52, x : x + 120] = plate

    told = carry(before, now, placed, visibility=np.where(mouth, 0.0, 1.0))
    untold = carry(before, now, placed)

    truth = placed + (6.0, 0.0)
    off, off_untold = (np.linalg.norm(c.points - truth, axis=1)[mouth].mean() for c in (told, untold))
    assert off < min(0.5, 0.7 * off_untold)


def test_another_picture_is_not_trusted(portrait: ImageArray, placed: Shape, rng: np.random.Generator) -> None:
    other = cv2.GaussianBlur(rng.integers(0, 255, portrait.shape, dtype=np.uint8), (0, 0), 3).astype(np.uint8)
    assert carry(portrait, other, placed).trust.mean() < 0.3
    assert carry(portrait, np.full_like(portrait, 90), placed).trust.mean() < 0.1


def test_where_nothing_is_to_be_seen_nothing_is_trusted(placed: Shape) -> None:
    dark = np.full((600, 512, 3), 7, np.uint8)
    carried = carry(dark, dark, placed)
    np.testing.assert_allclose(carried.points, placed, atol=1e-6)
    assert carried.trust.max() < 0.05


def test_the_affine_part_is_what_most_points_do(placed: Shape, rng: np.random.Generator) -> None:
    crop = placed - placed.mean(axis=0)
    matrix = np.array([[1.05, 0.02, 3.0], [-0.03, 0.97, -2.0]])
    moved = transform_points(matrix, crop)
    np.testing.assert_allclose(affine_part(crop, moved, np.ones(68)), moved, atol=0.02)
    spoilt = moved.copy()
    spoilt[48:] += [25, -10]  # 20 of 68 points lie on something else
    np.testing.assert_allclose(affine_part(crop, spoilt, np.ones(68)), moved, atol=0.5)
    # A weight of zero takes them out altogether, and without any weight the points stay near the plain mean motion.
    np.testing.assert_allclose(affine_part(crop, spoilt, np.r_[np.ones(48), np.zeros(20)]), moved, atol=0.02)
    assert np.isfinite(affine_part(crop, spoilt, np.zeros(68))).all()

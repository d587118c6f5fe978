"""The judge of proposed parts: it sees small faces, passes over fabrics, and looks where it is told to."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.cbook import get_sample_data

from srn.face.geometry import FloatArray, ImageArray
from srn.inference.face_finder import CenterFaceFinder
from srn.inference.parts import SIDE, THRESHOLD, PartNetwork, part_around
from srn.media.pictures import read_image


@pytest.fixture(scope="module")
def network() -> PartNetwork:
    return PartNetwork(threads=1)


@pytest.fixture(scope="module")
def hopper() -> ImageArray:
    return read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))


@pytest.mark.parametrize("scale", [1.0, 0.5, 0.25, 1.5])
def test_a_part_shows_the_surroundings_of_a_point(scale: float) -> None:
    across, down = np.meshgrid(np.arange(400.0), np.arange(300.0))
    image = np.stack([across * 255 / 400, down * 255 / 300, 0 * down + 200], axis=2).round().astype(np.uint8)
    center = np.array([210.0, 145.0])
    part = part_around(image, center, scale)
    assert part.shape == (SIDE, SIDE, 3)
    places = (np.arange(SIDE) + 0.5 - SIDE / 2) / scale  # in picture pixels from the point
    inside = np.abs(places) < 100
    expected = [(at + places - 0.5) * 255 / side for at, side in zip(center, (400, 300), strict=True)]
    np.testing.assert_allclose(part[SIDE // 2, inside, 0], expected[0][inside], atol=1.5)
    np.testing.assert_allclose(part[inside, SIDE // 2, 1], expected[1][inside], atol=1.5)


def test_a_part_is_black_outside_of_the_picture() -> None:
    part = part_around(np.full((60, 80, 3), 255, np.uint8), np.array([2.0, 55.0]), 1.0)
    rows, columns = np.nonzero(part[..., 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 52, 46, SIDE - 1)


@pytest.mark.parametrize("height", [25, 34, 46])
@pytest.mark.parametrize("masked", [False, True])
def test_small_faces_are_likely(network: PartNetwork, hopper: ImageArray, height: int, masked: bool) -> None:
    picture = hopper.copy()
    if masked:
        picture[225:340, 176:357] = (190, 210, 225)
    small = cv2.resize(picture, None, fx=height / 224, fy=height / 224, interpolation=cv2.INTER_AREA)
    image = np.full((150, 150, 3), 120, np.uint8)
    image[20 : 20 + small.shape[0], 30 : 30 + small.shape[1]] = small[:130, :120]
    middle = np.array([30, 20]) + np.array([266, 224]) * height / 224
    assert network.likely(image, middle[None], 1.0).all()


def test_fabrics_and_noise_are_not(network: PartNetwork) -> None:
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    stripes = 128 + 100 * np.sin(across / 3)
    checks = 128 + 100 * np.sin(across / 5) * np.sin(down / 5)
    noise = np.random.default_rng(0).uniform(0, 255, (SIDE, SIDE))
    plain = np.full((SIDE, SIDE), 90.0)
    parts = np.stack([np.repeat(one[..., None], 3, axis=2) for one in (stripes, checks, noise, plain)]).astype(np.uint8)
    assert (network(parts) < THRESHOLD).all()


def test_points_are_judged_together_as_alone(network: PartNetwork, hopper: ImageArray) -> None:
    points = np.random.default_rng(1).uniform(0, 500, (9, 2))
    together = network.likely(hopper, points, 1.0)
    assert together.tolist() == [bool(network.likely(hopper, point[None], 1.0)[0]) for point in points]
    assert network.likely(hopper, np.empty((0, 2)), 1.0).shape == (0,)


def test_a_portrait_is_searched_less_and_shows_the_same_face(
    hopper: ImageArray, monkeypatch: pytest.MonkeyPatch
) -> None:
    finder, judged = CenterFaceFinder(threads=1), list[int]()
    (face,) = finder.find(hopper)
    own = PartNetwork.likely

    def counted(self: PartNetwork, image: ImageArray, centers: FloatArray, scale: float) -> npt.NDArray[np.bool_]:
        likely = own(self, image, centers, scale)
        judged.extend([len(likely), int(likely.sum())])
        return np.ones(len(centers), bool)

    monkeypatch.setattr(PartNetwork, "likely", counted)
    assert finder.find(hopper) == [face]
    assert sum(judged[::2]) >= 5  # medals and stripes are proposed
    assert sum(judged[1::2]) < 0.5 * sum(judged[::2])

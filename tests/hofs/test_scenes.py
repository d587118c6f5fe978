"""Occluded frames by their addresses."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.scheme import COFW_29
from srn.hofs.clips import GivenClips
from srn.hofs.scenes import NOWHERE, PAPER_PATCH_SIZE, Place, Scenes, next_landmark
from srn.synthesis.animate import MovingFace

from .conftest import GREY, PATCH_SIZE, SPEC, grid_shape, plain_clip, toy_world


@pytest.fixture
def scenes() -> Scenes:
    return toy_world({}).scenes


@pytest.mark.parametrize(
    ("landmark", "action", "expected"), [(5, 0, 4), (5, 1, 5), (5, 2, 6), (0, 0, 67), (67, 2, 0), (67, 1, 67)]
)
def test_actions_move_on_a_ring(landmark: int, action: int, expected: int) -> None:
    assert next_landmark(landmark, action, 68) == expected


def test_the_papers_patch() -> None:
    assert pytest.approx(48) == PAPER_PATCH_SIZE * 140


def test_candidates(scenes: Scenes) -> None:
    place = Place(0, 3, 28, 7)
    assert scenes.candidates(place) == [Place(0, 3, k, 7) for k in (27, 28, 0)]


def test_a_patch_lies_on_its_landmark(scenes: Scenes) -> None:
    image, visible = scenes.occluded(Place(0, 2, 14, 5))
    changed = (image != GREY).any(axis=2)
    rows, columns = np.nonzero(changed)

    x, y = grid_shape()[14]
    assert [int(np.ptp(columns)), int(np.ptp(rows))] == [4, 4]  # five pixels
    np.testing.assert_allclose([columns.mean(), rows.mean()], [x, y], atol=1)
    assert np.flatnonzero(~visible).tolist() == [14]
    assert len(np.unique(image[changed])) > 40  # noise, not a colour


def test_the_clip_stays_as_it_was(scenes: Scenes) -> None:
    scenes.occluded(Place(0, 0, 3, 0))[0][:] = 0
    assert (scenes.clip(0).images == GREY).all()
    assert scenes.clip(0).visible.all()


def test_nowhere_is_the_frame_itself(scenes: Scenes) -> None:
    image, visible = scenes.occluded(Place(0, 1, NOWHERE, 0))
    assert (image == GREY).all()
    assert visible.all()


def test_the_noise_is_the_seeds(scenes: Scenes) -> None:
    """One object that moves: the same texture at every landmark and in every frame of an episode."""

    def patch(place: Place) -> npt.NDArray[np.uint8]:
        x, y = grid_shape()[place.landmark].astype(int)
        return scenes.occluded(place)[0][y - 2 : y + 3, x - 2 : x + 3]

    first = patch(Place(0, 0, 8, 1))
    np.testing.assert_array_equal(first, patch(Place(0, 5, 20, 1)))
    assert (first != patch(Place(0, 0, 8, 2))).any()


def test_what_was_hidden_stays_hidden() -> None:
    clip = plain_clip(1)
    clip.visible[0, 9] = False
    scenes = Scenes(GivenClips([clip], SPEC, COFW_29), PATCH_SIZE)
    _, visible = scenes.occluded(Place(0, 0, 4, 0))
    assert np.flatnonzero(~visible).tolist() == [4, 9]


def test_pictures_are_those_of_their_addresses(scenes: Scenes) -> None:
    places = [Place(0, 0, 1, 0), Place(0, 3, 2, 9)]
    images, shapes = scenes.render(places)
    assert images.shape == (2, 64, 64, 3)
    np.testing.assert_array_equal(images[1], scenes.occluded(places[1])[0])
    np.testing.assert_array_equal(shapes, [grid_shape()] * 2)
    assert shapes.dtype == np.float32


def test_few_clips_are_kept() -> None:
    class Counting:
        scheme, spec, name = COFW_29, SPEC, "counting"
        asked: list[int] = []  # noqa: RUF012

        def __len__(self) -> int:
            return 5

        def clip(self, number: int) -> MovingFace:
            self.asked.append(number)
            return plain_clip(number + 1)

        def origin(self, number: int) -> str:
            return f"counted/{number}"

    source = Counting()
    scenes = Scenes(source, PATCH_SIZE, clips_kept=2)
    assert [scenes.length(number) for number in (0, 1, 0, 2, 0, 1)] == [1, 2, 1, 3, 1, 2]
    assert source.asked == [0, 1, 2, 1]


def test_a_patch_has_a_size(scenes: Scenes) -> None:
    with pytest.raises(InputError, match="patch size: expected a number above 0, found 0"):
        Scenes(scenes.source, 0)

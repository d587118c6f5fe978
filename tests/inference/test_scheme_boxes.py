"""The finder's boxes, for networks of other points."""

from __future__ import annotations

from typing import Any

import numpy as np

from srn.face.geometry import Box
from srn.face.scheme import LandmarkScheme
from srn.inference.box_fit import BoxFit
from srn.inference.face_finder import LandmarkBoxFinder
from srn.inference.landmarker import FaceLandmarker
from srn.inference.runtime import open_localizer
from srn.inference.scheme_boxes import scheme_fit

FIVE = LandmarkScheme(
    "five", 5, {"brows": (), "eyes": (0, 1), "nose": (2,), "mouth": (3, 4), "left_cheek": (), "right_cheek": ()},
    ((0, 1), (3, 4)), (0, 1), ((0,), (1,)), (),
)  # fmt: skip


def five_of(shape: Any) -> Any:
    return np.stack([shape[36:42].mean(axis=0), shape[42:48].mean(axis=0), shape[30], shape[48], shape[54]])


def in_face_units(shape: Any) -> Any:
    box = Box.around(shape)
    return (shape - [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]) / box.size


def test_the_68_points_keep_their_boxes(fake_localizer: Any) -> None:
    assert scheme_fit(fake_localizer(lambda crop: crop)) is None


def test_five_points_of_a_face_lie_in_the_box_that_is_made_for_them(robust_weights: Any, fake_localizer: Any) -> None:
    """Of the shipped mean shape both boxes are known: the tight one of its 68 points, and of five of them."""
    mean = np.asarray(open_localizer(robust_weights).mean_shape, np.float64) * 100 + 200
    localizer = fake_localizer(lambda crop: crop, scheme=FIVE, mean_shape=in_face_units(five_of(mean)))
    fit = scheme_fit(localizer)
    assert fit is not None
    made, expected = fit.apply(Box.around(mean)).as_array(), Box.around(five_of(mean)).as_array()
    np.testing.assert_allclose(made, expected, atol=4)  # of about 60 pixels: a mean shape is smaller than its faces


def test_whoever_fits_boxes_fits_them_to_the_network_s_own_points(fake_localizer: Any, face: Any) -> None:
    class Finder:
        def find(self, image: Any) -> list[Any]:
            from srn import FoundFace

            return [FoundFace(Box(50, 50, 150, 150), 0.9)]

    picture = np.zeros((200, 200, 3), np.uint8)
    localizer = fake_localizer(lambda crop: crop, scheme=FIVE, mean_shape=in_face_units(five_of(face)))
    own = FaceLandmarker(localizer=localizer, face_finder=LandmarkBoxFinder(Finder(), BoxFit()))
    assert own.find(picture)[0].box == Box(50, 50, 150, 150)
    bare = FaceLandmarker(localizer=localizer, face_finder=Finder())
    assert bare.find(picture)[0].box.size < 100 * BoxFit().sx * 0.75

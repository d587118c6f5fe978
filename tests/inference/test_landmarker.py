"""`FaceLandmarker`: coordinates there and back, batches, views, mirrored averaging, and what it refuses."""

from __future__ import annotations

import copy
import pickle
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image

from srn.errors import DataError, InputError
from srn.face.geometry import Box, CropSpec, flip_points
from srn.face.localizer import confidence_from_error
from srn.face.scheme import IBUG_68
from srn.inference.box_fit import BoxFit
from srn.inference.face import Face, Faces
from srn.inference.face_finder import FoundFace, LandmarkBoxFinder, default_fit
from srn.inference.landmarker import FaceLandmarker
from srn.inference.tracks import TrackerConfig
from srn.inference.views import Accuracy
from srn.media.pictures import read_image, write_image

from ..conftest import Portrait, crop_to_picture, turn_picture
from .upside_down import CASES, Views

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]

SIZE, FACE_SIZE = 96, 60.0
"""Crop of the fake localizer."""


def coordinates(blue: int = 0) -> Picture:
    """Red is x, green is y: a crop says where it was taken from (`true_localizer` reads it)."""
    y, x = np.mgrid[:256, :256]
    return np.stack([x, y, np.full_like(x, blue)], -1).astype(np.uint8)


def turned(face: Shape, size: float, degrees: float, x: float, y: float) -> Shape:
    angle = np.deg2rad(degrees)
    return face * size @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + [x, y]


def box_of(shape: Shape) -> Box:
    (x0, y0), (x1, y1) = shape.min(axis=0).tolist(), shape.max(axis=0).tolist()
    return Box(x0, y0, x1, y1)


# --- there and back


@pytest.mark.parametrize("box", [Box(10, 20, 110, 120), Box(-30.5, 4, 60, 44), Box(50, 50, 53, 52)])
def test_crop_pixels_become_picture_pixels(fake_localizer: Any, face: Shape, box: Box) -> None:
    in_crop = face * 70 + 40
    localizer = fake_localizer(lambda crop: (in_crop, None, None))
    (found,) = FaceLandmarker(localizer=localizer, accuracy="fast").detect(coordinates(), [box])
    # By hand: the box's centre is the crop's centre, its side 60 crop pixels.
    side = np.sqrt(((box.x1 - box.x0) ** 2 + (box.y1 - box.y0) ** 2) / 2)
    center = np.array([(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2])
    expected = (in_crop - (SIZE - 1) / 2) * side / FACE_SIZE + center
    np.testing.assert_allclose(found.landmarks, expected, atol=1e-4 * side)
    assert (found.box, found.score, found.scheme) == (box, 1.0, IBUG_68)
    assert found.visibility is None
    assert found.confidence is None


@pytest.mark.parametrize(("accuracy", "views"), [("fast", 1), ("balanced", 2), ("best", 2)])
@pytest.mark.parametrize("flip_average", [False, True])
def test_a_localizer_that_knows_gives_the_truth(
    true_localizer: Any, face: Shape, accuracy: Accuracy, views: int, flip_average: bool
) -> None:
    truth = turned(face, 90, 25, 130, 120)
    localizer = true_localizer({0: truth})
    landmarker = FaceLandmarker(localizer=localizer, accuracy=accuracy, flip_average=flip_average)
    (found,) = landmarker.detect(coordinates(), [Box(75, 65, 175, 185)])
    np.testing.assert_allclose(found.landmarks, truth, atol=0.15)
    assert len(localizer.batches) == views * (2 if flip_average else 1)


def test_visibility_and_confidence_are_passed_on(fake_localizer: Any, face: Shape) -> None:
    visibility, error = np.linspace(0, 1, 68), np.linspace(0.001, 0.2, 68)
    localizer = fake_localizer(lambda crop: (face * 60 + 47.5, visibility, error))
    (found,) = FaceLandmarker(localizer=localizer).detect(coordinates(), [Box(50, 50, 150, 150)])
    assert found.visibility is not None
    assert found.confidence is not None
    np.testing.assert_allclose(found.visibility, visibility, atol=1e-6)
    np.testing.assert_allclose(found.confidence, confidence_from_error(error.astype(np.float32)), atol=1e-6)


# --- several faces, several pictures


def tell(faces: Iterable[Face]) -> list[list[float]]:
    return [[*face.landmarks.ravel(), *face.box.as_array(), face.score] for face in faces]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 16])
def test_batched_is_one_by_one(true_localizer: Any, face: Shape, batch_size: int) -> None:
    truths = {blue: turned(face, 70 + 10 * i, 10 * i, 120 + 5 * i, 130) for i, blue in enumerate((0, 100, 200))}
    pictures = [coordinates(blue) for blue in truths]
    boxes = [[Box(70, 70, 170, 180), Box(80, 90, 180, 190)], [], [Box(60, 70, 190, 200)]]
    localizer = true_localizer(truths)
    landmarker = FaceLandmarker(localizer=localizer, batch_size=batch_size)
    together = landmarker.detect_batch(pictures, boxes)
    assert [len(faces) for faces in together] == [2, 0, 1]
    for picture, given, faces in zip(pictures, boxes, together, strict=True):
        assert tell(landmarker.detect(picture, given)) == tell(faces)
    assert [face.box for face in together[0]] == boxes[0]
    assert max(localizer.batches) <= batch_size
    np.testing.assert_allclose(together[2][0].landmarks, truths[200], atol=0.15)


class FixedFinder:
    """Finds faces where it was told, by the picture's blue."""

    name = "fixed"

    def __init__(self, found: dict[int, list[FoundFace]]) -> None:
        self.found = found

    def find(self, image: Picture) -> list[FoundFace]:
        return self.found[int(image[0, 0, 2])]


def test_the_finder_s_boxes_and_scores(true_localizer: Any, face: Shape) -> None:
    found = [FoundFace(Box(60, 60, 160, 160), 0.9), FoundFace(Box(70, 70, 190, 190), 0.5)]
    finder = LandmarkBoxFinder(FixedFinder({0: found, 9: []}), BoxFit(dx=0.1, dy=0.0, sx=0.5, sy=1.0))
    landmarker = FaceLandmarker(localizer=true_localizer({0: turned(face, 80, 0, 110, 120)}), face_finder=finder)
    faces, none = landmarker.detect_batch([coordinates(0), coordinates(9)])
    assert none == Faces()
    assert [face.score for face in faces] == [0.9, 0.5]
    np.testing.assert_allclose(faces[0].box.as_array(), [95, 60, 145, 160])
    assert landmarker.find(coordinates(0))[0] == FoundFace(faces[0].box, 0.9)


def test_the_landmarks_decide_about_doubtful_boxes(fake_localizer: Any, face: Shape) -> None:
    """Three doubtful boxes and a sure one: of the doubtful those stay whose landmarks are confident, in their place."""
    boxes = [Box(20, 20, 80, 90), Box(100, 20, 160, 90), Box(20, 120, 80, 190), Box(120, 120, 180, 190)]
    scores = [0.5, 0.35, 0.3, 0.2]
    found = [FoundFace(box, score, doubtful=score < 0.4) for box, score in zip(boxes, scores, strict=True)]
    errors = {0: 0.5, 100: 0.5, 20: 0.005, 120: 0.005}  # by the left edge of the box; unsure even of the sure one

    def answer(crop: Picture) -> tuple[Shape, Shape, Shape]:
        middle = float(np.median(crop[..., 0]))
        return face * 60 + 80, np.ones(68), np.full(68, errors[min(errors, key=lambda left: abs(left - middle))])

    picture = np.zeros((256, 256, 3), np.uint8)
    for box, left in zip(boxes, (0, 100, 20, 120), strict=True):
        x0, y0, x1, y1 = (int(v) for v in box.as_array())
        picture[max(y0 - 40, 0) : y1 + 30, max(x0 - 20, 0) : x1 + 20, 0] = left
    finder = LandmarkBoxFinder(FixedFinder({0: found}), BoxFit())
    landmarker = FaceLandmarker(localizer=fake_localizer(answer), face_finder=finder, accuracy="fast")
    sure, *believed = landmarker.find(picture)
    assert sure == FoundFace(boxes[0], 0.5)
    assert [(face.score, face.doubtful) for face in believed] == [(0.3, False), (0.2, False)]
    for found_face, box in zip(
        believed, boxes[2:], strict=True
    ):  # the box of the landmarks, which lie about its middle
        given = landmarker.detect(picture, boxes=[box])[0]
        np.testing.assert_allclose(found_face.box.as_array(), Box.around(given.landmarks).as_array())
    assert [face.score for face in landmarker.detect(picture)] == [0.5, 0.3, 0.2]
    silent = FaceLandmarker(localizer=fake_localizer(lambda crop: (face, None, None)), face_finder=finder)
    assert silent.find(picture) == [FoundFace(boxes[0], 0.5)]  # weights without confidence cannot decide


def test_no_picture_and_no_face(fake_localizer: Any) -> None:
    landmarker = FaceLandmarker(localizer=fake_localizer(lambda crop: pytest.fail("nothing to localize")))
    assert landmarker.detect_batch([]) == []
    assert landmarker.detect(coordinates(), boxes=[]) == Faces()
    assert landmarker.detect(np.full((90, 120, 3), 90, np.uint8)) == Faces()  # the built-in finder sees none


# --- what it refuses


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threads": "a"}, "threads: expected a whole number of at least 1, found 'a'"),
        ({"threads": 1.5}, "threads: expected a whole number of at least 1, found 1.5"),
        ({"batch_size": None}, "batch_size: expected a whole number of at least 1, found None"),
        ({"max_faces": True}, "max_faces: expected a whole number of at least 1, found True"),
        ({"smallest": "x"}, "smallest: expected a number of pixels, found 'x'"),
        ({"weights": 3}, "weights: expected the path of a file, found 3"),
        ({"localizer": "robust"}, "localizer: expected a Localizer, which is called with crops, found 'robust'"),
        ({"face_finder": "yunet.onnx"}, "face_finder: expected an object with find(image), found 'yunet.onnx'"),
    ],
)
def test_options_of_another_kind_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        FaceLandmarker(**options)
    assert str(caught.value) == message


def test_how_it_is_printed(fake_localizer: Any, face: Shape) -> None:
    landmarker = FaceLandmarker(localizer=fake_localizer(lambda crop: (face, None, None)), accuracy="fast")
    assert repr(landmarker) == (
        "FaceLandmarker(weights='fake', scheme='ibug68', accuracy='fast', flip_average=False,"
        " face_finder=CenterFaceFinder)"
    )


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), np.uint8), np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 4, 3), np.uint8),
        None, [[1, 2, 3]],
    ],
    ids=["grey", "alpha", "float", "empty", "None", "list"],
)  # fmt: skip
def test_other_pictures_are_refused(fake_localizer: Any, face: Shape, image: Any) -> None:
    landmarker = FaceLandmarker(localizer=fake_localizer(lambda crop: (face, None, None)))
    for boxes in (None, [[1, 2, 3, 4]]):
        with pytest.raises(InputError, match=r"picture: expected an array .* of uint8 .*channels='RGB'.* found"):
            landmarker.detect(image, boxes)


def test_pictures_in_any_form(true_localizer: Any, face: Shape, tmp_path: Path) -> None:
    """A path, other channel orders, floats where they are announced: one and the same face."""
    landmarker = FaceLandmarker(localizer=true_localizer({0: turned(face, 90, 0, 130, 120)}))
    boxes, picture = [[75, 65, 175, 185]], coordinates()
    expected = landmarker.detect(picture, boxes)
    Image.fromarray(picture).save(tmp_path / "picture.png")
    assert landmarker.detect(tmp_path / "picture.png", boxes) == expected
    assert landmarker.detect(str(tmp_path / "picture.png"), boxes) == expected
    assert landmarker.detect(Image.fromarray(picture), boxes) == expected
    assert landmarker.detect(picture[:, :, ::-1], boxes, channels="BGR") == expected
    assert landmarker.detect(picture / 255, boxes, unit_range=True) == expected
    assert landmarker.detect_batch([picture[:, :, ::-1]], [boxes], channels="BGR") == [expected]
    with pytest.raises(DataError, match=r"missing\.jpg"):
        landmarker.detect(tmp_path / "missing.jpg")


@pytest.mark.parametrize(
    "box", [[1, 2, 3], [1, 2, 3, 4, 5], [3, 2, 1, 4], [1, 2, 1, 4], [0, 0, float("nan"), 1], ["a", 0, 1, 1], 7, None]
)
def test_other_boxes_are_refused(fake_localizer: Any, face: Shape, box: Any) -> None:
    landmarker = FaceLandmarker(localizer=fake_localizer(lambda crop: (face, None, None)))
    with pytest.raises(InputError, match="face box: expected"):
        landmarker.detect(coordinates(), [box])


def test_options_out_of_range(fake_localizer: Any, face: Shape, tmp_path: Path) -> None:
    localizer = fake_localizer(lambda crop: (face, None, None))
    cases: list[dict[str, Any]] = [{"batch_size": 0}, {"threads": 0}, {"threads": -1}]
    for wrong in cases:
        ((name, value),) = wrong.items()
        with pytest.raises(InputError, match=rf"{name}: expected .*at least \d, found {value}"):
            FaceLandmarker(localizer=localizer, **wrong)
    with pytest.raises(InputError, match="accuracy: expected one of fast, balanced, best, found 'good'"):
        FaceLandmarker(localizer=localizer, accuracy="good")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="boxes: expected a list for each of 2 pictures, found 1 lists"):
        FaceLandmarker(localizer=localizer).detect_batch([coordinates()] * 2, [[]])


def test_contradictory_options(fake_localizer: Any, tmp_path: Path) -> None:
    localizer = fake_localizer(None)
    wrong: dict[str, Any]
    for wrong in (
        {"weights": tmp_path / "a.onnx"}, {"device": "cuda"}, {"providers": ["CPUExecutionProvider"]},
        {"runtime": "openvino"}, {"precision": "int8"},
    ):  # fmt: skip
        with pytest.raises(InputError, match=r"a localizer, or weights with their providers, device, .* found both"):
            FaceLandmarker(localizer=localizer, **wrong)
    with pytest.raises(InputError, match="threads: expected none with a localizer and a face finder of your own"):
        FaceLandmarker(localizer=localizer, face_finder=LandmarkBoxFinder(), threads=1)
    landmarker = FaceLandmarker(localizer=localizer)
    for wrong in ({"smooth": False}, {"smooth": True}, {"start": "mean"}, {"iterations": 1}, {"find_every": 30}):
        with pytest.raises(InputError, match=f"config or {next(iter(wrong))}, found both"):
            landmarker.tracker(config=TrackerConfig(), **wrong)
    assert landmarker.tracker(smooth=False, find_every=9).config == TrackerConfig(smooth=False, find_every=9)


def test_a_finder_of_one_s_own_needs_no_fit(true_localizer: Any, face: Shape) -> None:
    finder = FixedFinder({0: [FoundFace(Box(60, 60, 160, 180), 0.9)]})
    (found,) = FaceLandmarker(localizer=true_localizer({0: turned(face, 80, 0, 110, 120)}), face_finder=finder).detect(
        coordinates(0)
    )
    assert found.box == default_fit(finder).apply(Box(60, 60, 160, 180))


# --- how a found face lies


@pytest.mark.parametrize(("turn", "tilt"), [(0, 20), (0, -35), (1, 15), (3, -40)])
def test_the_first_crop_shows_a_found_face_upright(true_localizer: Any, face: Shape, turn: int, tilt: float) -> None:
    """The picture is turned counter-clockwise by quarters, then clockwise by the tilt: the face lies otherwise."""
    truth = turned(face, 80, 90 * turn - tilt, 130, 120)
    found = FoundFace(Box(90, 80, 170, 160), 0.9, turn=turn, tilt=np.deg2rad(tilt))
    localizer = true_localizer({0: truth})
    landmarker = FaceLandmarker(
        localizer=localizer, face_finder=LandmarkBoxFinder(FixedFinder({0: [found]}), BoxFit()), accuracy="fast"
    )
    landmarker.detect(coordinates())
    to_picture = crop_to_picture(localizer.crops[0])
    in_crop = (truth - to_picture[:, 2]) @ np.linalg.inv(to_picture[:, :2]).T
    np.testing.assert_allclose(in_crop - in_crop.mean(axis=0), (face - face.mean(axis=0)) * FACE_SIZE, atol=0.5)


def test_a_found_face_may_be_given_as_a_box(true_localizer: Any, face: Shape) -> None:
    found = [FoundFace(Box(60, 60, 160, 180), 0.9, turn=1, tilt=0.3), FoundFace(Box(70, 80, 190, 190), 0.5, tilt=-0.2)]
    localizer = true_localizer({0: turned(face, 80, 70, 110, 120)})
    finder = LandmarkBoxFinder(FixedFinder({0: found}), BoxFit())
    landmarker = FaceLandmarker(localizer=localizer, face_finder=finder)
    faces = landmarker.detect(coordinates())
    crops = localizer.crops[:]
    assert landmarker.detect(coordinates(), landmarker.find(coordinates())) == faces
    np.testing.assert_array_equal(localizer.crops[len(crops) :], crops)
    (plain,) = landmarker.detect(coordinates(), [found[0].box])
    assert (plain.box, plain.score) == (found[0].box, 1.0)
    assert [one.score for one in faces] == [0.9, 0.5]
    with pytest.raises(InputError, match="face box: expected a face box of at least 1 pixel in the picture"):
        landmarker.detect(coordinates(), [FoundFace(Box(400, 0, 500, 100), 0.9)])


def test_the_landmarks_of_a_believed_face_tell_its_tilt(fake_localizer: Any, face: Shape) -> None:
    lying = turned(face, 60, 25, 47.5, 47.5)
    localizer = fake_localizer(lambda crop: (lying, np.ones(68), np.full(68, 0.005)))
    doubtful = FoundFace(Box(90, 90, 150, 150), 0.3, doubtful=True, turn=3, tilt=0.1)
    finder = LandmarkBoxFinder(FixedFinder({0: [doubtful]}), BoxFit())
    (believed,) = FaceLandmarker(localizer=localizer, face_finder=finder, accuracy="fast").find(coordinates())
    assert (believed.doubtful, believed.turn) == (False, 3)
    assert believed.tilt == pytest.approx(0.1 - np.deg2rad(25), abs=1e-3)


def test_doubtful_faces_of_a_file_are_viewed_as_well(fake_localizer: Any, face: Shape, tmp_path: Path) -> None:
    """A face finder opens it; the network needs its pixels, too."""
    write_image(tmp_path / "a.png", coordinates())
    localizer = fake_localizer(lambda crop: (turned(face, 60, 0, 47.5, 47.5), np.ones(68), np.full(68, 0.005)))
    finder = LandmarkBoxFinder(FixedFinder({0: [FoundFace(Box(90, 90, 150, 150), 0.3, doubtful=True)]}), BoxFit())
    landmarker: Any = FaceLandmarker(localizer=localizer, face_finder=finder)
    assert landmarker.find(tmp_path / "a.png") == landmarker.find(coordinates()) != []


# --- the second view


def test_the_second_crop_is_placed_by_the_first_answer(true_localizer: Any, face: Shape) -> None:
    truth = turned(face, 100, 20, 128, 128)
    localizer = true_localizer({0: truth})
    FaceLandmarker(localizer=localizer).detect(coordinates(), [Box(60, 50, 170, 200)])
    second = localizer.crops[1]
    # The pixel at the mean face's nose tip shows the truth's nose tip: red is x, green is y.
    for index in (30, 8, 36):
        x, y = np.round(face[index] * FACE_SIZE + (SIZE - 1) / 2).astype(int)
        exact = (face[index] * FACE_SIZE + (SIZE - 1) / 2 - [x, y]) * 100 / FACE_SIZE
        assert np.abs(second[y, x, :2] - truth[index]).max() <= np.abs(exact).sum() + 1


def test_without_expected_errors_the_last_view_counts(fake_localizer: Any, face: Shape) -> None:
    answers = iter([(face * 60 + 47.5, None, None), (face * 60 + 50.5, None, None)])
    localizer = fake_localizer(lambda crop: next(answers))
    landmarker = FaceLandmarker(localizer=localizer, accuracy="best")
    (found,) = landmarker.detect(coordinates(), [Box(68, 68, 188, 188)])
    # First answer: the mean face in its place, so the second crop is the first, 2 picture pixels a crop pixel.
    np.testing.assert_allclose(found.landmarks, (face * 60 + 50.5 - 47.5) * 2 + 128, atol=0.05)


def test_two_views_are_weighted_by_hand(fake_localizer: Any, face: Shape) -> None:
    rng = np.random.default_rng(1)
    (v1, v2), (e1, e2) = rng.uniform(0, 1, (2, 68)), rng.uniform(0.001, 0.03, (2, 68))
    # The face is found half as large as its box, so that the second crop shows it twice as large: a face unit is 120
    # picture pixels in the first view, 60 in the second.
    answers = iter([(face * 30 + 47.5, v1, e1), (face * 60 + 50.5, v2, e2)])
    localizer = fake_localizer(lambda crop: next(answers))
    landmarker = FaceLandmarker(localizer=localizer, accuracy="best")
    (found,) = landmarker.detect(coordinates(), [Box(68, 68, 188, 188)])
    assert found.visibility is not None
    assert found.confidence is not None
    for i in range(68):
        first, second = face[i] * 60 + 128, face[i] * 60 + 128 + 3  # picture pixels: 2 and 1 a crop pixel
        w1, w2 = 0.4 / (120 * e1[i]) ** 2, 1 / (60 * e2[i]) ** 2
        np.testing.assert_allclose(found.landmarks[i], (w1 * first + w2 * second) / (w1 + w2), atol=1e-3)
        assert found.visibility[i] == pytest.approx((w1 * v1[i] + w2 * v2[i]) / (w1 + w2), abs=1e-5)
        error = np.array([(w1 * 120 * e1[i] + w2 * 60 * e2[i]) / (w1 + w2) / 60], np.float32)
        assert found.confidence[i] == pytest.approx(confidence_from_error(error)[0], abs=1e-4)


# --- views that pay


def wandering(face: Shape, first: float, answers: list[float]) -> Any:
    """Answers of a localizer: the face, to the right of where the crop shows it by that many crop pixels."""
    steps = iter([first, *answers])
    return lambda crop: (face * FACE_SIZE + 47.5 + [next(steps), 0.0], None, np.full(68, 0.02))


@pytest.mark.parametrize(
    ("accuracy", "steps", "views"),
    [
        ("fast", [20], 1),
        ("best", [30, 4.7], 2),  # the second crop was placed to within 8 % of 60 pixels
        ("best", [0, 4.9, 0.5], 3),  # the third was, the second was not
        ("best", [0, 8, 8, 8], 4),  # no more than that
        ("balanced", [6.5], 1),  # 6.5 of 60 pixels, with a doubt of 0.2: the product is below 0.023
        ("balanced", [7.5, 4.7], 2),
        ("balanced", [7.5, 8, 0], 3),
    ],
)
def test_a_face_is_viewed_until_its_crop_is_in_place(
    fake_localizer: Any, face: Shape, accuracy: Accuracy, steps: list[float], views: int
) -> None:
    localizer = fake_localizer(wandering(face, steps[0], steps[1:]))
    FaceLandmarker(localizer=localizer, accuracy=accuracy).detect(coordinates(), [Box(68, 68, 188, 188)])
    assert localizer.batches == [1] * views


@pytest.mark.parametrize(("error", "kept"), [(0.03, "first"), (0.01, "both")])
def test_a_view_that_contradicts_a_surer_one_is_left_out(
    fake_localizer: Any, face: Shape, error: float, kept: str
) -> None:
    """The second view lies off by 6 of 60 crop pixels; the first one expects an error of 0.02."""
    answers = iter([(face * 60 + 47.5, None, np.full(68, 0.02)), (face * 60 + 53.5, None, np.full(68, error))])
    last = (face * 60 + 47.5, None, np.full(68, error))
    localizer = fake_localizer(lambda crop: next(answers, last))
    box = Box(98, 98, 158, 158)  # one crop pixel is one picture pixel
    (found,) = FaceLandmarker(localizer=localizer, accuracy="best").detect(coordinates(), [box])
    off = float((found.landmarks - (face * 60 + 128))[:, 0].mean())
    assert len(localizer.batches) == (2 if kept == "first" else 3)
    assert (off == pytest.approx(0, abs=0.01)) is (kept == "first")


def test_only_misplaced_faces_are_viewed_again(fake_localizer: Any, face: Shape) -> None:
    # Three faces in a batch; the second one goes on to lie 8 crop pixels off, in its third view no more.
    steps = iter([0, 0, 0, 0, 8, 0, 0.2])
    answer: Any = lambda crop: (face * FACE_SIZE + 47.5 + [next(steps), 0.0], None, np.full(68, 0.02))  # noqa: E731
    localizer = fake_localizer(answer)
    boxes = [Box(20, 20, 80, 80), Box(100, 100, 160, 160), Box(150, 20, 210, 80)]
    found = FaceLandmarker(localizer=localizer, accuracy="best").detect(coordinates(), boxes)
    assert localizer.batches == [3, 3, 1]
    centers = [box.center for box in boxes]
    for k in (0, 2):
        np.testing.assert_allclose(found[k].landmarks, found[0].landmarks - centers[0] + centers[k], atol=1e-4)
    # By hand, in crop pixels to the right of the box's centre: the views see 0, 8 and 8 + 0.2.
    places, weights = np.array([0, 8, 8.2]), np.array([0.16, 0.4, 1])
    moved = found[1].landmarks - found[0].landmarks - (np.array(centers[1]) - centers[0])
    scale = boxes[1].size / FACE_SIZE
    np.testing.assert_allclose(moved, np.tile([weights @ places / weights.sum() * scale, 0], (68, 1)), atol=1e-3)


# --- averaging with the mirrored crop


def test_mirrored_average_by_hand(fake_localizer: Any, face: Shape) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.uniform(20, 70, (2, 68, 2))
    (v1, v2), (e1, e2) = rng.uniform(0, 1, (2, 68)), rng.uniform(0.001, 0.03, (2, 68))
    answers = iter([(first, v1, e1), (second, v2, e2)])
    localizer = fake_localizer(lambda crop: next(answers))
    landmarker = FaceLandmarker(localizer=localizer, accuracy="fast", flip_average=True)
    (found,) = landmarker.detect(coordinates(), [Box(68, 68, 128, 128)])  # one crop pixel is one picture pixel
    np.testing.assert_array_equal(localizer.crops[1], localizer.crops[0][:, ::-1])
    for i in range(68):
        j = IBUG_68.mirror[i]
        mirrored = np.array([SIZE - 1 - second[j, 0], second[j, 1]])
        np.testing.assert_allclose(found.landmarks[i], (first[i] + mirrored) / 2 - 47.5 + 98, atol=1e-4)
        assert found.visibility is not None
        assert found.visibility[i] == pytest.approx((v1[i] + v2[j]) / 2, abs=1e-6)
        assert found.confidence is not None
        error = np.array([(e1[i] + e2[j]) / 2], np.float32)
        assert found.confidence[i] == pytest.approx(confidence_from_error(error)[0], abs=1e-5)


def test_the_mirrored_average_takes_out_a_sideways_bias(true_localizer: Any, face: Shape) -> None:
    truth = turned(face, 103, 0, 128, 128)  # at 100 each sample would lie between two grey levels
    box = box_of(truth)
    errors = []
    for flip in (False, True):
        landmarker = FaceLandmarker(
            localizer=true_localizer({0: truth}, (3.0, 0.0)), accuracy="fast", flip_average=flip
        )
        errors.append(landmarker.detect(coordinates(), [box])[0].landmarks - truth)
    np.testing.assert_allclose(errors[0], np.tile([3 * 103 / 60, 0], (68, 1)), atol=0.15)
    np.testing.assert_allclose(errors[1], 0, atol=0.15)


# --- with the weights that ship


@pytest.fixture(scope="module")
def portrait() -> Picture:
    """(600, 512, 3): Grace Hopper, public domain, from Matplotlib's sample data."""
    return read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))


@pytest.fixture(scope="module")
def shipped(robust_weights: Path) -> Callable[..., FaceLandmarker]:
    def build(**options: Any) -> FaceLandmarker:
        return FaceLandmarker(robust_weights, threads=1, **options)

    return build


BOX = Box(178, 170, 350, 332)
"""Read off the portrait: brows to chin, jaw to jaw."""


def distances(one: Shape, other: Shape) -> npt.NDArray[np.float64]:
    """Of corresponding points, in shares of the distance between the outer eye corners."""
    result: npt.NDArray[np.float64] = np.linalg.norm(one - other, axis=1) / np.linalg.norm(one[36] - one[45])
    return result


def test_the_portrait(shipped: Callable[..., FaceLandmarker], portrait: Picture) -> None:
    (face,) = shipped().detect(portrait)
    assert face.box.iou(BOX) > 0.7
    assert box_of(face.landmarks).iou(BOX) > 0.75
    # Read off the picture: outer eye corners, nose tip, mouth corners, chin.
    expected = np.array([[206, 193], [322, 188], [267, 238], [230, 280], [307, 279], [267, 331]])
    found = face.landmarks[[36, 45, 30, 48, 54, 8]]
    assert np.linalg.norm(found - expected, axis=1).max() < 0.12 * np.linalg.norm(expected[0] - expected[1])
    assert face.confidence is not None
    assert face.confidence.mean() > 0.3


@pytest.mark.parametrize(("scale", "shift"), [(1.0, (40, 25)), (0.5, (0, 0)), (1.5, (10, 30))])
def test_points_follow_the_picture(
    shipped: Callable[..., FaceLandmarker], portrait: Picture, scale: float, shift: tuple[int, int]
) -> None:
    landmarker = shipped()
    (before,) = landmarker.detect(portrait, [BOX])
    # Pixel centres lie at whole numbers: the corner of the picture, at -1/2, is what stays in place.
    matrix = np.array([[scale, 0, shift[0] + (scale - 1) / 2], [0, scale, shift[1] + (scale - 1) / 2]])
    size = (int(512 * scale) + shift[0], int(600 * scale) + shift[1])
    moved = cv2.warpAffine(portrait, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    corners = BOX.as_array().reshape(2, 2) @ matrix[:, :2].T + matrix[:, 2]
    (after,) = landmarker.detect(moved.astype(np.uint8), [corners.ravel()])
    expected = before.landmarks @ matrix[:, :2].T + matrix[:, 2]
    limit = 0.005 if scale == 1 else 0.03
    assert distances(expected, after.landmarks).mean() < limit


def test_a_mirrored_picture_has_mirrored_points(shipped: Callable[..., FaceLandmarker], portrait: Picture) -> None:
    landmarker = shipped(flip_average=True)
    (before,) = landmarker.detect(portrait, [BOX])
    box = [511 - BOX.x1, BOX.y0, 511 - BOX.x0, BOX.y1]
    (after,) = landmarker.detect(np.ascontiguousarray(portrait[:, ::-1]), [box])
    back = after.landmarks[IBUG_68.mirror] * [-1, 1] + [511, 0]
    assert distances(before.landmarks, back).max() < 0.01
    assert before.visibility is not None
    assert after.visibility is not None
    np.testing.assert_allclose(after.visibility[IBUG_68.mirror], before.visibility, atol=0.05)


def test_batched_is_one_by_one_with_real_weights(shipped: Callable[..., FaceLandmarker], portrait: Picture) -> None:
    landmarker = shipped()
    other = np.ascontiguousarray(portrait[100:, 50:])
    together = landmarker.detect_batch([portrait, other])
    for picture, faces in zip([portrait, other], together, strict=True):
        (alone,), (pooled,) = landmarker.detect(picture), faces
        np.testing.assert_allclose(alone.landmarks, pooled.landmarks, atol=0.02)


def test_the_crop_of_the_fake_is_what_the_tests_say(fake_localizer: Any) -> None:
    assert fake_localizer(lambda crop: (np.zeros((68, 2)), None, None)).crop_spec == CropSpec(SIZE, FACE_SIZE)


# --- turned faces


@pytest.mark.parametrize("angle", range(0, 360, 30))
def test_a_face_turned_in_the_plane_is_localized(portraits: list[Portrait], angle: int) -> None:
    """The answer on the turned picture, turned back, is the answer on the upright one within 2 % of the face's size."""
    landmarker = FaceLandmarker(threads=1)
    for portrait in portraits[:2]:
        image, landmarks = turn_picture(portrait.image, portrait.landmarks, angle)
        (found,) = landmarker.detect(image, [Box.around(landmarks)])
        distance = np.linalg.norm(found.landmarks - landmarks, axis=1).mean() / Box.around(portrait.landmarks).size
        assert distance < 0.02, portrait.name
        assert found.mean_confidence is not None
        assert found.mean_confidence > 0.6


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_face_on_its_side_is_found_and_localized(portraits: list[Portrait], quarters: int) -> None:
    portrait = portraits[0]
    image, landmarks = turn_picture(portrait.image, portrait.landmarks, 90 * quarters)
    (found,) = FaceLandmarker(threads=1).detect(image)
    distance = np.linalg.norm(found.landmarks - landmarks, axis=1).mean() / Box.around(landmarks).size
    assert distance < 0.03


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_the_box_of_a_face_that_the_finder_took_to_lie_otherwise(true_localizer: Any, face: Shape, turn: int) -> None:
    """The picture is to be turned by one quarter counter-clockwise to show the face upright."""
    truth = turned(face, 90, 90, 120, 130)
    finder = FixedFinder({0: [FoundFace(Box(70, 80, 170, 180), 0.9, turn=turn)]})
    fit = BoxFit(dx=0.1, dy=0.05, sx=0.8, sy=0.9)
    landmarker = FaceLandmarker(
        localizer=true_localizer({0: truth}), face_finder=LandmarkBoxFinder(finder, fit), accuracy="best"
    )
    (found,) = landmarker.detect(coordinates())
    expected = fit.apply(Box(70, 80, 170, 180), 1) if turn == 1 else Box.around(truth)
    np.testing.assert_allclose(found.box.as_array(), expected.as_array(), atol=0.5)


@pytest.mark.parametrize(
    ("upright", "turned", "kept", "views"),
    [
        (0.005, None, "upright", 1),  # sure: nothing else is tried
        (0.2, 0.005, "turned", 4),
        (0.2, 0.19, "upright", 4),  # no clear gain
        (None, None, "upright", 1),  # weights without confidence
    ],
)
def test_only_an_unsure_face_is_turned_and_only_for_a_clear_gain(
    fake_localizer: Any, face: Shape, upright: float | None, turned: float | None, kept: str, views: int
) -> None:
    def answer(crop: Picture) -> Any:
        is_upright = crop[48, -2, 0] > crop[48, 1, 0] and crop[-2, 48, 1] > crop[1, 48, 1]
        error = upright if is_upright else turned
        return face * 60 + (47.5 if is_upright else 44), None, None if error is None else np.full(68, error)

    localizer = fake_localizer(answer)
    (found,) = FaceLandmarker(localizer=localizer, accuracy="fast").detect(coordinates(), [Box(90, 90, 150, 150)])
    assert len(localizer.batches) == views
    straight = np.allclose(found.landmarks, face * 60 + 120, atol=0.1)
    assert straight is (kept == "upright")


@pytest.mark.parametrize(
    ("error", "side", "views"),
    [(0.2, 60, 6), (0.2, 15, 1), (0.04, 60, 3)],  # no confidence; too small for any; 0.44: upside down, and larger
)
def test_a_found_face_is_turned_only_where_the_finder_may_be_mistaken(
    fake_localizer: Any, face: Shape, error: float, side: float, views: int
) -> None:
    """Within the caller's box each of them is tried in its turns."""
    box = Box(120 - side / 2, 120 - side / 2, 120 + side / 2, 120 + side / 2)
    for boxes, expected in (None, views), ([box], 4):
        localizer = fake_localizer(lambda crop: (face * 60 + 47.5, None, np.full(68, error)))
        finder = LandmarkBoxFinder(FixedFinder({0: [FoundFace(box, 0.9)]}), BoxFit())
        landmarker = FaceLandmarker(localizer=localizer, face_finder=finder, accuracy="fast")
        assert len(landmarker.detect(coordinates(), boxes)) == 1
        assert len(localizer.batches) == expected


@pytest.mark.parametrize(("turn", "tilt"), [(0, 0.0), (1, 0.3), (3, -0.4)])
@CASES
def test_a_found_face_may_lie_upside_down(
    fake_localizer: Any, face: Shape, turn: int, tilt: float,
    score: float, error: float, overturned: float, views: int, kept: str,
) -> None:  # fmt: skip
    """Its crop then lies where the fit puts the box of a face that is turned so, in the picture and on the finder's."""
    raw, fit = Box(80, 90, 160, 170), BoxFit(dx=0.05, dy=0.2, sx=0.75, sy=0.75)
    answer = Views(face, error, overturned)
    lies = FoundFace(raw, score, turn=turn, tilt=tilt)
    finder = LandmarkBoxFinder(FixedFinder({0: [lies]}), fit)
    landmarker = FaceLandmarker(localizer=fake_localizer(answer), face_finder=finder, accuracy="fast")
    (found,) = landmarker.detect(coordinates())
    boxes = [fit.apply(raw, turn, tilt), fit.apply(raw, (turn + 2) % 4, tilt)]
    answer.check(found.landmarks, boxes, lies.angle, views, kept)


@pytest.mark.parametrize(("turn", "tilt"), [(0, 0.0), (3, -0.4)])
@pytest.mark.parametrize(
    ("error", "larger", "found", "views"),
    [
        (0.04, 0.02, True, 3),  # a confidence of 0.44 and of 0.80
        (0.04, 0.039, True, 3),  # no clear gain
        (0.03, 0.02, True, 1),  # sure enough
        (0.04, 0.02, False, 4),  # the caller's box: quarter turns only
    ],
)
def test_the_finder_may_have_seen_a_part_of_the_face(
    fake_localizer: Any, face: Shape, turn: int, tilt: float, error: float, larger: float, found: bool, views: int
) -> None:
    """An unsure found face is viewed upside down, then in a larger crop, moved towards the chin; the surest counts."""
    lies = FoundFace(Box(80, 90, 160, 170), 0.9, turn=turn, tilt=tilt)
    seen: list[Shape] = []

    def answer(crop: Picture) -> Any:
        seen.append(crop_to_picture(crop))
        return face * 60 + 47.5, None, np.full(68, larger if len(seen) > 2 and found else error)

    landmarker = FaceLandmarker(localizer=fake_localizer(answer), accuracy="fast")
    (result,) = landmarker.detect(coordinates(), [lies if found else lies.box])
    assert len(seen) == views
    if views == 3:
        down = np.array([np.sin(lies.angle), np.cos(lies.angle)]) * 0.1 * 80
        np.testing.assert_allclose(seen[2] @ [47.5, 47.5, 1], lies.box.center + down, atol=0.1)
        np.testing.assert_allclose(np.linalg.det(seen[2][:, :2]), 1.3**2 * np.linalg.det(seen[0][:, :2]), rtol=0.01)
    shown = seen[2 if views == 3 and larger == 0.02 else 0]
    np.testing.assert_allclose(result.landmarks, (face * 60 + 47.5) @ shown[:, :2].T + shown[:, 2], atol=0.1)


# --- in a server


def test_a_landmarker_can_be_pickled_and_copied(portraits: list[Portrait]) -> None:
    image = portraits[0].image
    landmarker = FaceLandmarker(threads=1, accuracy="fast")
    expected = landmarker.detect(image)  # the face finder is open now
    for other in (pickle.loads(pickle.dumps(landmarker)), copy.deepcopy(landmarker)):
        assert other.detect(image) == expected
        assert (other.accuracy, other.flip_average) == ("fast", False)
    tracker = pickle.loads(pickle.dumps(landmarker.tracker()))
    assert len(tracker.update(image)) == 1


def test_eight_threads_give_the_same_numbers(portraits: list[Portrait]) -> None:
    landmarker = FaceLandmarker(threads=1)
    images = [portrait.image for portrait in portraits] * 4
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(landmarker.detect, images))
    assert together == [FaceLandmarker(threads=1).detect(image) for image in images[:3]] * 4


def test_memory_stays_flat_and_nothing_is_logged(portraits: list[Portrait], capfd: pytest.CaptureFixture[str]) -> None:
    resource = pytest.importorskip("resource")
    landmarker = FaceLandmarker(threads=1)
    images = [np.ascontiguousarray(portraits[0].image[: 600 - 7 * k, : 500 - 5 * k]) for k in range(4)]
    for image in images:
        landmarker.detect(image)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(15):
        for image in images:
            landmarker.detect(image)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000  # kB
    assert capfd.readouterr() == ("", "")


# --- symmetry: what happens to the picture happens to the points; distances are shares of the face's size


def moved_picture(portrait: Portrait, change: str) -> tuple[Picture, Shape]:
    """The changed picture, and where the points go."""
    image, landmarks = portrait.image, portrait.landmarks
    if change == "shifted":
        return np.ascontiguousarray(image[7:, 13:]), landmarks - (13, 7)
    if change == "mirrored":
        mirrored = flip_points(landmarks, image.shape[1], IBUG_68.mirror).astype(np.float64)
        return np.ascontiguousarray(image[:, ::-1]), mirrored
    if change == "scaled":
        size = (round(image.shape[1] * 0.8), round(image.shape[0] * 0.8))
        ratio = np.array(size) / (image.shape[1], image.shape[0])
        resized = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
        return resized, (landmarks + 0.5) * ratio - 0.5
    return turn_picture(image, landmarks, 5)


@pytest.mark.parametrize(
    ("accuracy", "change", "limit"),
    [
        ("best", "shifted", 1e-4), ("best", "scaled", 0.01), ("best", "mirrored", 0.02),
        ("best", "turned by 5 degrees", 0.01), ("balanced", "shifted", 1e-4), ("balanced", "scaled", 0.01),
        ("balanced", "mirrored", 0.02), ("balanced", "turned by 5 degrees", 0.015),  # its one crop is not upright
    ],
)  # fmt: skip
def test_points_move_with_the_picture(portraits: list[Portrait], accuracy: Accuracy, change: str, limit: float) -> None:
    """From face boxes that move along. Mean over the points, as a share of the face's size."""
    landmarker = FaceLandmarker(accuracy=accuracy, threads=1)
    for portrait in portraits:
        (plain,) = landmarker.detect(portrait.image, [Box.around(portrait.landmarks)])
        upright = Portrait(portrait.name, portrait.image, plain.landmarks)
        image, expected = moved_picture(upright, change)
        _, known = moved_picture(portrait, change)
        (found,) = landmarker.detect(image, [Box.around(known)])
        distance = np.linalg.norm(found.landmarks - expected, axis=1).mean() / Box.around(known).size
        assert distance < limit, (portrait.name, distance)


@pytest.mark.parametrize("threads", [1, 2])
def test_order_batches_and_threads_hardly_matter(portraits: list[Portrait], threads: int) -> None:
    """Within 0.001 pixels and 0.0001 of confidence, whatever else is in the batch."""
    images = [portrait.image for portrait in portraits]
    alone = [FaceLandmarker(threads=1, batch_size=1).detect(image) for image in images]
    for order in ((0, 1, 2), (2, 0, 1)):
        batch = FaceLandmarker(threads=threads).detect_batch([images[k] for k in order])
        for k, faces in zip(order, batch, strict=True):
            assert len(faces) == len(alone[k])
            for one, other in zip(faces, alone[k], strict=True):
                np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-3)
                assert one.confidence is not None
                assert other.confidence is not None
                np.testing.assert_allclose(one.confidence, other.confidence, atol=1e-4)


def test_pictures_of_a_batch_are_searched_side_by_side(
    portraits: list[Portrait], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By two threads at once, which wait for each other here; the boxes are those of `find`, bit for bit."""
    monkeypatch.setattr("srn.inference.cores.usable_cores", lambda: 2)
    images = [portrait.image for portrait in portraits] + [np.zeros((90, 120, 3), np.uint8)]
    landmarker = FaceLandmarker(threads=2)
    expected = [[face.box for face in landmarker.find(image)] for image in images]
    search, meeting = LandmarkBoxFinder.find, threading.Barrier(2, timeout=60)

    def together(self: LandmarkBoxFinder, image: Picture) -> list[FoundFace]:
        meeting.wait()
        return search(self, image)

    monkeypatch.setattr(LandmarkBoxFinder, "find", together)
    assert [[face.box for face in faces] for faces in landmarker.detect_batch(images)] == expected


def test_a_finder_of_ones_own_is_called_by_one_thread(
    true_localizer: Any, face: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("srn.inference.cores.usable_cores", lambda: 2)
    callers = []

    class Finder:
        def find(self, image: Picture) -> list[FoundFace]:
            callers.append(threading.current_thread())
            return []

    localizer = true_localizer({0: turned(face, 90, 0, 120, 130)})
    FaceLandmarker(localizer=localizer, face_finder=Finder()).detect_batch([coordinates()] * 4)
    assert callers == [threading.current_thread()] * 4


# --- what users give


def test_generators_of_pictures_and_boxes(true_localizer: Any, face: Shape) -> None:
    landmarker = FaceLandmarker(localizer=true_localizer({0: turned(face, 90, 0, 120, 130)}))
    boxes = [[Box(70, 70, 170, 180)], []]
    expected = landmarker.detect_batch([coordinates(), coordinates()], boxes)
    found = landmarker.detect_batch((coordinates() for _ in range(2)), (iter(group) for group in boxes))
    assert found == expected
    assert [len(faces) for faces in found] == [1, 0]
    with pytest.raises(InputError, match=r"pictures: expected a list of pictures, found one path: a\.jpg"):
        landmarker.detect_batch("a.jpg")


@pytest.mark.parametrize(
    "box",
    [
        (5000, 5000, 5100, 5100),
        (-90, 10, -10, 90),
        (10, 256, 90, 300),
        (-1e308, -1e308, 1e308, 1e308),
        (0, 0, 1e9, 1e9),
        (10, 10, 10.1, 10.1),
    ],
)
def test_boxes_outside_the_picture_and_of_senseless_sizes_are_refused(
    true_localizer: Any, face: Shape, box: tuple[float, ...]
) -> None:
    landmarker = FaceLandmarker(localizer=true_localizer({0: turned(face, 90, 0, 120, 130)}))
    with pytest.raises(InputError, match=r"face box: expected a face box .* in the picture of 256 x 256.*, found \("):
        landmarker.detect(coordinates(), [Box(70, 70, 170, 180), box])


def test_points_beyond_the_picture_s_edge_are_not_visible(portraits: list[Portrait]) -> None:
    portrait = portraits[0]
    box = Box.around(portrait.landmarks)
    cut = np.ascontiguousarray(portrait.image[:, int(box.center[0]) :])
    (found,) = FaceLandmarker(threads=1).detect(cut, [box.adjusted((-int(box.center[0]), 0))])
    assert found.inside is not None
    assert found.visibility is not None
    assert 20 < (~found.inside).sum() < 50
    np.testing.assert_array_equal(found.inside, ((found.landmarks >= 0) & (found.landmarks[:, :1] >= 0)).all(axis=1))
    assert not found.visibility[~found.inside].any()

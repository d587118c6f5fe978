"""`Face`: validated and immutable, its parts and its crop, plain numbers in and out."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box, similarity, transform_points
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.face import Face

from ..conftest import coordinate_picture, crop_to_picture


@pytest.fixture
def good(face: npt.NDArray[np.float64]) -> Face:
    return Face(
        landmarks=face * 100 + 0.126,
        visibility=np.linspace(0, 1, 68, dtype=np.float32),
        confidence=np.full(68, 1 / 3, np.float32),
        box=Box(1.234, 2.345, 30.5, 40),
        score=0.123456,
        scheme=IBUG_68,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landmarks": np.zeros((29, 2))}, r"Face\.landmarks: expected finite \(68, 2\), found \(29, 2\)"),
        ({"landmarks": np.full((68, 2), np.nan)}, r"Face\.landmarks: expected finite"),
        ({"landmarks": np.zeros((68, 3))}, r"Face\.landmarks"),
        ({"scheme": COFW_29}, r"Face\.landmarks: expected finite \(29, 2\)"),
        ({"visibility": np.zeros(67, np.float32)}, r"Face\.visibility: expected \(68,\) within \[0, 1\]"),
        ({"visibility": np.full(68, 1.01, np.float32)}, r"Face\.visibility"),
        ({"confidence": np.full(68, -0.01, np.float32)}, r"Face\.confidence"),
        ({"confidence": np.full(68, np.nan, np.float32)}, r"Face\.confidence"),
        ({"score": 1.5}, r"Face\.score: expected a number within \[0, 1\], found 1\.5"),
        ({"score": float("nan")}, r"Face\.score"),
    ],
)
def test_what_cannot_be_is_refused(good: Face, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(good, **change)  # type: ignore[arg-type]


def test_plain_numbers(good: Face) -> None:
    values = good.to_dict()
    assert list(values) == ["box", "score", "landmarks", "visibility", "confidence"]
    assert values["box"] == [1.23, 2.35, 30.5, 40.0] or values["box"] == [1.23, 2.34, 30.5, 40.0]
    assert values["score"] == 0.1235
    assert values["confidence"] == [0.3333] * 68
    for (x, y), (rounded_x, rounded_y) in zip(good.landmarks.tolist(), values["landmarks"], strict=True):
        assert abs(x - rounded_x) <= 0.005 + 1e-9
        assert abs(y - rounded_y) <= 0.005 + 1e-9
        assert round(rounded_x, 2) == rounded_x
    assert json.loads(json.dumps(values)) == values


def test_what_the_weights_do_not_say_is_null(good: Face) -> None:
    values = dataclasses.replace(good, visibility=None, confidence=None).to_dict()
    assert values["visibility"] is None
    assert values["confidence"] is None


def test_arrays_are_read_only_copies(face: npt.NDArray[np.float64]) -> None:
    points, sure = face * 100, np.full(68, 0.5, np.float32)
    made = Face(points, sure, sure, Box(0, 0, 1, 1), 0.5, IBUG_68)
    points *= 2
    sure[:] = 0
    np.testing.assert_array_equal(made.landmarks, face * 100)
    for array in (made.landmarks, made.visibility, made.confidence):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array *= 0.5
    made.part("mouth")[:] = 0  # a part is the caller's own
    np.testing.assert_array_equal(made.landmarks, face * 100)


def test_there_and_back(good: Face) -> None:
    for face in (good, dataclasses.replace(good, visibility=None, confidence=None, track_id=7)):
        again = Face.from_dict(json.loads(json.dumps(face.to_dict())), IBUG_68)
        assert again.to_dict() == face.to_dict()
        assert again == Face.from_dict(face.to_dict())
        assert hash(again) == hash(Face.from_dict(face.to_dict()))


@pytest.mark.parametrize("change", [{"box": [0, 0, 1]}, {"landmarks": [[0, 0]] * 67}, {"score": "high"}])
def test_a_dictionary_that_is_no_face(good: Face, change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Face.from_dict({**good.to_dict(), **change})
    with pytest.raises(InputError, match=r"a dictionary made by Face\.to_dict"):
        Face.from_dict({"box": [0, 0, 1, 1]})


def test_equal_by_value(good: Face) -> None:
    assert good == dataclasses.replace(good)
    for change in ({"score": 0.2}, {"landmarks": good.landmarks + 1e-9}, {"visibility": None}, {"track_id": 1}):
        assert good != dataclasses.replace(good, **change)
    assert good != "a face"


def test_short_text(good: Face) -> None:
    assert repr(good) == "Face(ibug68, box=(1, 2, 30, 40), score=0.12, visible=34/68, confidence=0.33)"
    bare = dataclasses.replace(good, visibility=None, confidence=None, track_id=3)
    assert repr(bare) == "Face(ibug68, box=(1, 2, 30, 40), score=0.12, track_id=3)"


def test_parts(good: Face) -> None:
    np.testing.assert_array_equal(good.part("left_eye"), good.landmarks[36:42])
    np.testing.assert_array_equal(good.part("jaw"), good.landmarks[:17])
    with pytest.raises(InputError, match=r"part of a face: expected one of brows, eyes, .*jaw, found 'ear'"):
        good.part("ear")


def test_landmark_box(good: Face) -> None:
    low, high = good.landmarks.min(axis=0), good.landmarks.max(axis=0)
    np.testing.assert_array_equal(good.landmark_box.as_array(), [*low, *high])
    assert good.landmark_box != good.box


@pytest.mark.parametrize("degrees", [-160.0, -30.0, 0.0, 75.0])
def test_an_aligned_crop_is_upright_and_tight(face: npt.NDArray[np.float64], degrees: float) -> None:
    """The colours of the picture are its coordinates, so the crop tells where each of its pixels comes from."""
    turn = similarity(90.0, np.radians(degrees), np.zeros(2), np.array([128.0, 120.0]))
    shape = transform_points(turn, face)
    made = Face(shape, None, None, Box.around(shape), 1.0, IBUG_68)
    crop = made.aligned_crop(coordinate_picture(), 150, margin=0.25)
    assert crop.shape == (150, 150, 3)
    inverse = crop_to_picture(crop)
    seen = (shape - inverse[:, 2]) @ np.linalg.inv(inverse[:, :2]).T
    left, right = (seen[list(points)].mean(axis=0) for points in IBUG_68.eyes)
    assert left[0] < right[0]
    assert left[1] == pytest.approx(right[1], abs=0.3)
    box = Box.around(seen)
    np.testing.assert_allclose(box.center, [74.5, 74.5], atol=0.3)
    assert box.size == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize("options", [{"size": 0}, {"margin": -0.1}, {"margin": float("nan")}])
def test_impossible_crops(good: Face, options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"size|margin"):
        good.aligned_crop(coordinate_picture(), **options)  # type: ignore[arg-type]

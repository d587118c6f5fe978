"""`Face`: checked at birth, plain numbers on the way out."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.face import Face


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

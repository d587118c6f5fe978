"""Faces as other libraries hold them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from srn.errors import InputError
from srn.media.exchange import from_key_points, from_normalized, from_rows, key_point_arrays, normalized, with_box

FACE: dict[str, Any] = {
    "box": [0.0, 1.0, 19.0, 9.0], "score": 0.5, "landmarks": [[0.0, 9.0], [19.0, 1.0]], "visibility": [1.0, 0.25],
    "confidence": [0.5, 0.75],
}  # fmt: skip


def test_the_edges_of_the_picture_are_0_and_1() -> None:
    """A row of 20 pixels has its centres at 1/40, 3/40, ...: pixel k reaches from k/20 to (k + 1)/20."""
    first, last = normalized([FACE], 10, 20)[0]
    assert first == {"x": 0.025, "y": 0.95, "z": 0.0, "visibility": 1.0, "presence": 0.5}
    assert (last["x"], last["y"]) == (0.975, 0.15)
    for point, (x, y) in zip((first, last), FACE["landmarks"], strict=True):
        assert (int((point["x"] or 0) * 20), int((point["y"] or 0) * 10)) == (x, y)  # as MediaPipe finds the pixel


def test_normalized_points_come_back() -> None:
    given = normalized([FACE], 10, 20)
    (face,) = from_normalized(given, 10, 20)
    np.testing.assert_allclose(face["landmarks"], FACE["landmarks"], atol=1e-12)
    assert (face["visibility"], face["confidence"], face["score"]) == ([1.0, 0.25], [0.5, 0.75], 1.0)
    objects = [[SimpleNamespace(**point) for point in given[0]]]
    pairs = [[(point["x"], point["y"]) for point in given[0]]]
    assert from_normalized(objects, 10, 20)[0] == face
    assert from_normalized(pairs, 10, 20)[0]["landmarks"] == face["landmarks"]
    assert from_normalized(pairs, 10, 20)[0]["visibility"] is None


def test_what_is_no_size_and_no_point_is_named() -> None:
    with pytest.raises(InputError, match="size of the picture: expected a height and a width of at least 1, found 0"):
        normalized([FACE], 0, 20)
    for size in (float("nan"), float("inf")):
        with pytest.raises(InputError, match="size of the picture"):
            normalized([FACE], 10, size)  # type: ignore[arg-type]
    odd: list[Any] = [[], [3], [{"x": 1}], [{"x": None, "y": 1}], [{"x": 1, "y": 1}, {"x": 1}], [("a", "b")], None]
    for face in odd:
        with pytest.raises(InputError, match="face 0: expected points with x and y, found "):
            from_normalized([face], 10, 20)
    with pytest.raises(InputError, match="face 0: expected finite points"):
        from_normalized([[{"x": float("nan"), "y": 1}]], 10, 20)


def test_tables_and_key_points_that_are_none() -> None:
    row = {"face": 0, "point": 0, "x": 1.0, "y": 2.0, "visibility": 1.0, "confidence": 1.0, "score": 1.0}
    assert from_rows([row])[0]["landmarks"] == [[1.0, 2.0]]
    for name, value in (("face", "a"), ("x", None), ("score", "b"), ("visibility", "c")):
        with pytest.raises(InputError):
            from_rows([{**row, name: value}])
    with pytest.raises(InputError, match=r"table of faces: expected the columns of Faces.to_pandas"):
        from_rows([{"x": 1}])
    with pytest.raises(InputError, match="found the point 0 of face 0 twice: faces of several pictures, perhaps"):
        from_rows([row, {**row, "x": 5.0}])  # as `pandas.concat` makes it
    for odd in (None, SimpleNamespace(xy=[[[1, 2]]]), SimpleNamespace(xy=[[[1, 2]]], keypoint_confidence=[])):
        with pytest.raises(InputError, match=r"key points: expected a supervision.KeyPoints"):
            from_key_points(odd)


def test_arrays_of_key_points() -> None:
    arrays = key_point_arrays([FACE, {**FACE, "confidence": None}], 2)
    assert arrays["xy"].shape == (2, 2, 2)
    assert arrays["visible"].tolist() == [[True, False]] * 2
    assert arrays["keypoint_confidence"] is None
    assert arrays["detection_confidence"].tolist() == [0.5, 0.5]
    assert key_point_arrays([], 68)["xy"].shape == (0, 68, 2)


def test_key_points_come_back() -> None:
    back = from_key_points(SimpleNamespace(**key_point_arrays([FACE], 2)))
    assert back == [FACE]  # all numbers of it are exact in float32


def test_a_box_is_made_of_the_points() -> None:
    bare = {**FACE, "box": None, "score": None}
    assert with_box(bare) == {**FACE, "score": 1.0}

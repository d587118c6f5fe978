"""Boxes of found faces: the decoding against a plain loop, merging, parts of faces, turned and reduced pictures."""

from __future__ import annotations

import numpy as np
import pytest

from srn.face.geometry import Box, Float64Array, fit_similarity
from srn.inference.found_boxes import (
    LARGEST_TILT,
    decode_centerface,
    merge_overlaps,
    parts_of_faces,
    points_turned_back,
    resized,
    rotations,
    tilt_beside,
    turned_back,
)
from srn.inference.runtime import open_localizer


@pytest.fixture(scope="module")
def five() -> Float64Array:
    """(5, 2): eyes, nose tip and corners of the mouth of the shipped weights' mean shape, in face units."""
    mean = open_localizer(None, threads=1).mean_shape.astype(np.float64)
    return np.array([mean[36:42].mean(axis=0), mean[42:48].mean(axis=0), mean[30], mean[48], mean[54]])


class TestDecoding:
    def test_equals_a_plain_loop(self, five: Float64Array) -> None:
        rng = np.random.default_rng(1)
        heat = rng.uniform(0, 1, (5, 7)).astype(np.float32)
        scale = rng.normal(1, 0.5, (2, 5, 7)).astype(np.float32)
        offset = rng.uniform(-0.5, 0.5, (2, 5, 7)).astype(np.float32)
        landmarks = rng.uniform(0, 1, (10, 5, 7)).astype(np.float32)
        expected_boxes: list[list[float]] = []
        expected_scores: list[float] = []
        expected_turns: list[int] = []
        expected_angles: list[float] = []
        expected_points: list[Float64Array] = []
        for row in range(5):
            for column in range(7):
                if heat[row, column] > 0.6:
                    height = 4 * np.exp(float(scale[0, row, column]))
                    width = 4 * np.exp(float(scale[1, row, column]))
                    y = 4 * (row + 0.5 + float(offset[0, row, column]))
                    x = 4 * (column + 0.5 + float(offset[1, row, column]))
                    expected_boxes.append([x - width / 2, y - height / 2, x + width / 2, y + height / 2])
                    expected_scores.append(float(heat[row, column]))
                    points = landmarks[:, row, column].reshape(5, 2).astype(float) * [height, width]
                    down, right = points[3] + points[4] - points[0] - points[1]
                    # Turning a picture counter-clockwise turns the direction (down, right) into (-right, down).
                    expected_turns.append(int(np.argmax([down, -right, -down, right])))
                    fitted = fit_similarity(points[:, ::-1], five)
                    expected_angles.append(np.arctan2(fitted[1, 0], fitted[0, 0]))
                    expected_points.append(points[:, ::-1] + [x - width / 2, y - height / 2])
        assert len(expected_boxes) > 5
        boxes, scores, turns, found_points = decode_centerface(heat, scale, offset, landmarks, 0.6)
        np.testing.assert_allclose(boxes, np.array(expected_boxes), rtol=1e-12)
        np.testing.assert_array_equal(scores, expected_scores)
        np.testing.assert_array_equal(turns, expected_turns)
        assert set(expected_turns) == {0, 1, 2, 3}
        np.testing.assert_allclose(found_points, np.array(expected_points), rtol=1e-9)
        upright = rotations(found_points)
        np.testing.assert_allclose(np.angle(upright * np.exp(-1j * np.array(expected_angles))), 0, atol=1e-3)

    def test_nothing_above_the_threshold(self) -> None:
        zeros = np.zeros((2, 3, 4), np.float32)
        boxes, *others = decode_centerface(zeros[0], zeros, zeros, np.zeros((10, 3, 4), np.float32), 0.5)
        assert boxes.shape == (0, 4)
        assert [values.shape for values in others] == [(0,), (0,), (0, 5, 2)]


class TestRotations:
    @pytest.mark.parametrize("degrees", [-170, -91, -30, 0, 7, 45, 120])
    def test_a_turned_face_is_turned_back(self, five: Float64Array, degrees: float) -> None:
        angle = np.deg2rad(degrees)
        turned = five * 80 @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) + [300, 200]
        mirrored = turned[[1, 0, 2, 4, 3]] * [-1, 1]
        found, other = np.rad2deg(np.angle(rotations(np.stack([turned, mirrored]))))
        assert (found, other) == (pytest.approx(-degrees, abs=0.05), pytest.approx(degrees, abs=0.05))

    def test_the_mean_of_several_is_that_of_their_points(self, five: Float64Array, rng: np.random.Generator) -> None:
        points, weights = five * 50 + rng.normal(0, 6, (4, 5, 2)), rng.uniform(0.1, 1, 4)
        together = rotations(np.average(points, axis=0, weights=weights)[None])[0]
        assert np.average(rotations(points), weights=weights) == pytest.approx(together)

    def test_points_in_one_place_lie_upright(self) -> None:
        assert rotations(np.full((1, 5, 2), 3.0)).tolist() == [0]
        assert tilt_beside(0, 0j) == 0

    @pytest.mark.parametrize(
        ("turn", "degrees", "left"),
        [
            (0, 20, 20),
            (0, -20, -20),
            (1, -75, 15),
            (3, 75, -15),
            (2, 170, -10),
            (0, 60, 45),
            (1, -150, -45),
            (0, 100, 0),
        ],
    )
    def test_what_quarter_turns_leave(self, turn: int, degrees: float, left: float) -> None:
        """Counter-clockwise turns rotate by less than 0, x to y."""
        tilt = tilt_beside(turn, 3 * np.exp(1j * np.deg2rad(degrees)))
        assert np.rad2deg(tilt) == pytest.approx(left)
        assert abs(tilt) <= LARGEST_TILT


class TestMerging:
    def test_rivals_go_and_those_that_agree_are_averaged(self) -> None:
        boxes = np.array(
            [
                [100, 0, 110, 10],  # another face
                [0, 0, 10, 10],  # the best
                [0, 0, 10, 12],  # agrees with it: IoU 10/12
                [6, 0, 16, 10],  # IoU 40/160 = 1/4: dropped at max_iou 0.2, and too far off to be averaged
            ],
            dtype=float,
        )
        scores = np.array([0.5, 0.8, 0.4, 0.7])
        points = np.arange(40.0).reshape(4, 5, 2) ** 2
        merged, placed, kept = merge_overlaps(boxes, points, scores, 0.2)
        np.testing.assert_allclose(merged, np.array([[0, 0, 10, (10 * 0.8 + 12 * 0.4) / 1.2], [100, 0, 110, 10]]))
        np.testing.assert_allclose(placed, [(points[1] * 0.8 + points[2] * 0.4) / 1.2, points[0]])
        np.testing.assert_array_equal(kept, [1, 0])
        assert len(merge_overlaps(boxes, points, scores, 0.3)[0]) == 3

    @pytest.mark.parametrize("max_iou", [0.0, 1.0])
    def test_ends_at_the_extremes(self, max_iou: float) -> None:
        boxes = np.tile([0.0, 0.0, 5.0, 5.0], (4, 1))
        merged, *_ = merge_overlaps(boxes, np.ones((4, 5, 2)), np.full(4, 0.5), max_iou)
        assert len(merged) == (1 if max_iou == 0 else 4)

    def test_nothing_in_nothing_out(self) -> None:
        merged, points, kept = merge_overlaps(np.empty((0, 4)), np.empty((0, 5, 2)), np.empty(0), 0.3)
        assert (merged.shape, points.shape, kept.shape) == ((0, 4), (0, 5, 2), (0,))


def test_parts_of_a_face_are_no_faces() -> None:
    boxes = np.array([[0, 0, 100, 100], [60, 60, 85, 85], [20, 20, 45, 45], [90, 90, 120, 120]], dtype=float)
    parts = parts_of_faces(boxes, np.array([0.9, 0.8, 0.5, 0.45]))
    np.testing.assert_array_equal(parts, [False, False, True, False])  # the second is sure enough to be a face itself


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_boxes_of_a_turned_picture(turn: int) -> None:
    picture = np.zeros((40, 60), np.uint8)
    picture[10:16, 20:31] = 1  # a box of edges 20, 10 to 30, 15
    rows, columns = np.nonzero(np.rot90(picture, turn))
    turned = Box(float(columns.min()), float(rows.min()), float(columns.max()), float(rows.max()))
    assert turned_back(turned, turn, picture.shape) == Box(20, 10, 30, 15)


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_points_of_a_turned_picture(turn: int) -> None:
    picture = np.zeros((40, 60), np.uint8)
    picture[10, 20] = picture[15, 31] = 1
    rows, columns = np.nonzero(np.rot90(picture, turn))
    points = tuple((float(x), float(y)) for x, y in zip(columns, rows, strict=True))
    assert sorted(points_turned_back(points, turn, picture.shape)) == [(20, 10), (31, 15)]


@pytest.mark.parametrize(
    ("height", "width", "scale"), [(1501, 2003, 0.08), (641, 845, 0.19), (1023, 1281, 0.25), (1, 4000, 0.04)]
)
def test_a_large_picture_shows_the_same_when_it_is_reduced(height: int, width: int, scale: float) -> None:
    across = 255 * np.arange(width) / width
    image = np.repeat(np.broadcast_to(across, (height, width))[..., None], 3, axis=2).round().astype(np.uint8)
    reduced, ratio = resized(image, scale)
    assert reduced.shape == (max(1, round(height * scale)), round(width * scale), 3)
    np.testing.assert_allclose(ratio[0], scale, rtol=0.01)
    # A pixel shows the mean of those under it, which is the value at its middle.
    middles = (np.arange(reduced.shape[1]) + 0.5) / ratio[0] - 0.5
    np.testing.assert_allclose(reduced[:, :, 0], np.broadcast_to(255 * middles / width, reduced.shape[:2]), atol=1.01)

"""Head pose: known turns come back, signs are those of the field, real renderings agree."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box, flip_points
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.face import Face
from srn.media.pts import read_pts
from srn.uses.pose import angles_of, draw_pose, head_model, head_pose, pose_of_points, rotation_distance, rotation_of

Shape = npt.NDArray[np.float64]


def seen(yaw: float, pitch: float, roll: float, scale: float = 40.0, at: tuple[float, float] = (150, 130)) -> Shape:
    """The model as a camera sees it, turned, (68, 2)."""
    return scale * head_model().points @ rotation_of(yaw, pitch, roll)[:2].T + np.array(at)


@pytest.mark.parametrize("angles", [(0, 0, 0), (25, -10, 5), (-60, 15, -20), (80, 20, 30), (-10, -35, 170)])
def test_a_turn_comes_back(angles: tuple[float, float, float]) -> None:
    pose = pose_of_points(seen(*angles))

    assert (pose.yaw, pose.pitch, pose.roll) == pytest.approx(angles, abs=1e-3)
    assert pose.scale == pytest.approx(40)
    assert pose.misfit < 1e-6
    np.testing.assert_allclose(pose.project(head_model().points), seen(*angles), atol=1e-3)


def test_rotations_agree_with_opencv() -> None:
    """OpenCV turns by the right-hand rule about an axis: y to z about x, z to x about y, x to y about z."""
    for axis, angles in (([-1, 0, 0], (0, 20, 0)), ([0, 1, 0], (20, 0, 0)), ([0, 0, 1], (0, 0, 20))):
        known = cv2.Rodrigues(np.deg2rad(20) * np.array(axis, float))[0]
        assert rotation_distance(known, rotation_of(*angles)) == pytest.approx(0, abs=1e-4)
    assert rotation_distance(rotation_of(10, 0, 0), rotation_of(-25, 0, 0)) == pytest.approx(35)
    assert angles_of(rotation_of(-70, 12, 33)) == pytest.approx((-70, 12, 33))


def test_signs_are_those_stated() -> None:
    nose = head_model().points[30]
    left, up, clockwise = rotation_of(20, 0, 0) @ nose, rotation_of(0, 20, 0) @ nose, rotation_of(0, 0, 20) @ [1, 0, 0]

    assert left[0] < nose[0] - 0.1
    assert up[1] < nose[1] - 0.1
    assert clockwise[1] > 0.3


def test_a_mirrored_face_is_turned_the_other_way() -> None:
    shape = seen(30, 10, -15) + np.random.default_rng(0).normal(0, 1.5, (68, 2))
    pose, other = pose_of_points(shape), pose_of_points(flip_points(shape, 300, IBUG_68.mirror))

    assert (other.yaw, other.pitch, other.roll) == pytest.approx((-pose.yaw, pose.pitch, -pose.roll), abs=1e-3)


def test_doubted_points_hardly_count() -> None:
    shape, sure = seen(20, 5, 0), np.ones(68, np.float32)
    shape[48:] += 40  # a mouth in the wrong place
    sure[48:] = 0

    doubted, believed = pose_of_points(shape, IBUG_68, sure), pose_of_points(shape)
    assert abs(doubted.pitch - 5) < abs(believed.pitch - 5) / 3
    face = Face(shape, sure, sure, Box.around(shape), 0.9, IBUG_68)
    assert head_pose(face).rotation == pytest.approx(doubted.rotation)


def test_all_points_are_needed_where_each_lies_a_little_off() -> None:
    """By 2 % of the face. Weights by the model's misfit alone pass the outline over: 2.1 and 2.3 degrees."""
    rng, shape = np.random.default_rng(0), seen(0, 0, 0)
    poses = [pose_of_points(shape + rng.normal(0, 0.02 * Box.around(shape).size, (68, 2))) for _ in range(40)]
    assert np.mean([abs(pose.pitch) for pose in poses]) < 1.2
    assert np.mean([abs(pose.yaw) for pose in poses]) < 1.2


def test_the_averted_outline_of_a_turned_head_does_not_count() -> None:
    """It is found on the visible edge of the face, here moved by a tenth of its size."""
    shape = seen(65, 5, 0)
    moved = shape.copy()
    moved[:8] += [-0.1 * Box.around(shape).size, 0]
    assert rotation_distance(pose_of_points(moved).rotation, rotation_of(65, 5, 0)) < 0.1
    moved = shape.copy()
    moved[9:17] += [0.1 * Box.around(shape).size, 0]
    assert rotation_distance(pose_of_points(moved).rotation, rotation_of(65, 5, 0)) > 0.2


def test_a_head_that_turns_slowly_does_not_jump() -> None:
    noise = np.random.default_rng(1).normal(0, 1, (68, 2))
    poses = [pose_of_points(seen(yaw, 5, 0) + noise) for yaw in np.arange(-70, 70, 0.5)]
    steps = np.diff([pose.yaw for pose in poses])
    assert steps.min() > 0
    assert steps.max() < 1


@pytest.mark.parametrize(
    ("points", "scheme", "words"),
    [
        (np.zeros((68, 2)), IBUG_68, "head pose: expected finite landmarks (68, 2) that do not coincide"),
        (np.full((68, 2), np.nan), IBUG_68, "that do not coincide"),
        (np.zeros((5, 2)), IBUG_68, "found (5, 2)"),
        (np.zeros((29, 2)), COFW_29, "expected the points of ibug68, found cofw29"),
    ],
)
def test_what_is_no_head(points: Shape, scheme: object, words: str) -> None:
    with pytest.raises(InputError) as caught:
        pose_of_points(points, scheme)  # type: ignore[arg-type]
    assert words in str(caught.value)


@pytest.mark.parametrize("confidence", [np.ones(67), np.full(68, np.nan), 0.5])
def test_confidences_of_other_points_are_named(confidence: object) -> None:
    with pytest.raises(InputError, match=r"confidence of the points: expected 68 numbers within \[0, 1\], found"):
        pose_of_points(seen(0, 0, 0), IBUG_68, confidence)  # type: ignore[arg-type]


def test_the_model_is_a_face() -> None:
    """Symmetric, the nose in front of the eyes, those in front of the ears; x right, y down, z away."""
    points, misfit = head_model()
    np.testing.assert_allclose(points[IBUG_68.mirror] * [-1, 1, 1], points, atol=1e-3)
    assert points[30, 2] < points[36, 2] < points[0, 2]
    assert points[8, 1] > points[57, 1] > points[33, 1] > points[27, 1] > points[19, 1]
    assert misfit[36:48].mean() < misfit[:17].mean() / 5  # the outline slides over a head that turns


def test_renderings_that_took_no_part_in_the_model(shared_data: Path) -> None:
    """The angles are the renderer's. Always 0 is wrong by 46.1, 10.5 and 8.7 degrees (`docs/results/pose.md`)."""
    folder = shared_data / "extra" / "300W_LP_AFW"
    rows = list(csv.DictReader((folder / "manifest.csv").read_text().splitlines()))
    making = set(sorted({"_".join(row["stem"].split("_")[:2]) for row in rows})[::2])
    others = [row for row in rows if "_".join(row["stem"].split("_")[:2]) not in making][::5]
    truth = [[float(row[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")] for row in others]
    poses = [pose_of_points(read_pts(folder / f"{row['stem']}.pts")) for row in others]

    off = np.abs([[pose.yaw, pose.pitch, pose.roll] for pose in poses] - np.array(truth)).mean(axis=0)
    turned = [rotation_distance(pose.rotation, rotation_of(*true)) for pose, true in zip(poses, truth, strict=True)]
    assert (off < (2.5, 6, 6)).all(), off
    assert np.mean(turned) < 4


def test_axes_are_drawn_from_the_nose() -> None:
    shape = seen(0, 0, 0)
    face = Face(shape, None, None, Box.around(shape), 0.9, IBUG_68)
    drawn = draw_pose(np.zeros((260, 300, 3), np.uint8), face)

    red = np.argwhere((drawn == (255, 84, 112)).all(axis=2))
    green = np.argwhere((drawn == (60, 220, 130)).all(axis=2))
    nose = shape[30]
    assert red[:, 1].max() > nose[0] + 50  # x to the right
    assert np.abs(red[:, 0] - nose[1]).max() < 12
    assert green[:, 0].max() > nose[1] + 50  # y down


def test_a_face_far_larger_than_its_picture_is_drawn_as_far_as_it_goes() -> None:
    shape = seen(0, 0, 0) * 1e6
    face = Face(shape, None, None, Box.around(shape), 0.9, IBUG_68)
    assert draw_pose(np.zeros((26, 30, 3), np.uint8), face).shape == (26, 30, 3)


def test_a_turned_view_of_a_picture_is_drawn_on() -> None:
    """Its rows lie otherwise in memory, which OpenCV refuses."""
    shape, picture = seen(0, 0, 0), np.zeros((260, 300, 3), np.uint8)
    face = Face(shape, None, None, Box.around(shape), 0.9, IBUG_68)
    np.testing.assert_array_equal(draw_pose(np.asfortranarray(picture), face), draw_pose(picture, face))


def test_the_axes_of_other_points_are_not_drawn_by_a_given_pose() -> None:
    """Which of the points is the tip of the nose, the 68 tell."""
    shape = seen(0, 0, 0)
    face = Face(shape[:29], None, None, Box.around(shape[:29]), 0.9, COFW_29)
    with pytest.raises(InputError, match="head pose: expected the points of ibug68, found cofw29"):
        draw_pose(np.zeros((260, 300, 3), np.uint8), face, pose_of_points(shape))

"""Eyes, mouth and blinks: the published ratio by hand, turned heads, a made sequence, a real video."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.face import Face
from srn.uses.openness import (
    CLOSED_RATIO,
    OPEN_RATIO,
    Blink,
    BlinkDetector,
    aspect_ratio,
    openness,
    seen_share,
)
from srn.uses.points import INNER_LIPS, LEFT_EYE, RIGHT_EYE, five_points, opening_of
from srn.uses.pose import head_model, pose_of_points, rotation_of

Shape = npt.NDArray[np.float64]


def person(ratio: float, mouth: float = 0.0, turn: tuple[float, float, float] = (0, 0, 0)) -> Shape:
    """The 3-D model with eyes and lips opened to given ratios, as a camera sees it, (68, 2)."""
    points = head_model().points.copy()
    for opening, wanted in ((LEFT_EYE, ratio), (RIGHT_EYE, ratio), (INNER_LIPS, mouth)):
        first, last = points[list(opening.corners)]
        for upper, lower in opening.pairs:
            middle = (points[upper] + points[lower]) / 2
            half = np.array([0, wanted * np.linalg.norm(last - first) / 2, 0])
            points[upper], points[lower] = middle - half, middle + half
    return 60 * points @ rotation_of(*turn)[:2].T + 200


def face_of(shape: Shape, confidence: float | None = 0.9) -> Face:
    sure = None if confidence is None else np.full(68, confidence, np.float32)
    return Face(shape, None, sure, Box.around(shape), 0.9, IBUG_68)


def test_openings_are_the_points_of_the_paper() -> None:
    """Soukupova and Cech, figure 2: p1 the left corner, p2 and p3 above, p4 the right corner, p5 and p6 below."""
    assert LEFT_EYE == ((36, 39), ((37, 41), (38, 40)))
    assert RIGHT_EYE == ((42, 45), ((43, 47), (44, 46)))
    assert INNER_LIPS == ((60, 64), ((61, 67), (62, 66), (63, 65)))
    assert opening_of((0, 1, 2, 3)) == ((0, 2), ((1, 3),))


def test_the_eye_aspect_ratio_by_hand() -> None:
    """Equation 1: (|p2 p6| + |p3 p5|) / (2 |p1 p4|) = (3 + 5) / (2 * 10)."""
    eye = np.array([[0, 0], [3, -1], [7, -2], [10, 0], [7, 3], [3, 2]], float)

    assert aspect_ratio(eye, opening_of((0, 1, 2, 3, 4, 5))) == pytest.approx(0.4)
    assert aspect_ratio(eye * 7 + 3, opening_of((0, 1, 2, 3, 4, 5))) == pytest.approx(0.4)
    assert aspect_ratio(np.zeros((6, 2)), opening_of((0, 1, 2, 3, 4, 5))) == 0


def test_openness_of_known_eyes() -> None:
    wide, narrow, shut = (openness(face_of(person(ratio))) for ratio in (OPEN_RATIO, 0.2, CLOSED_RATIO / 2))

    assert wide.left_eye == pytest.approx(1, abs=0.01)
    assert wide.right_state == "open"
    assert narrow.left_eye == pytest.approx((0.2 - CLOSED_RATIO) / (OPEN_RATIO - CLOSED_RATIO), abs=0.02)
    assert narrow.left_state == "unsure"
    assert (shut.left_eye, shut.right_eye, shut.left_state) == (0, 0, "closed")


@pytest.mark.parametrize("yaw", [-50, -25, 25, 50])
def test_a_turned_head_opens_no_eye(yaw: float) -> None:
    """Seen from the side the raw ratio grows; the corrected one does not."""
    shape = person(0.25, 0.4, (yaw, 0, 10))
    found = openness(face_of(shape))

    assert (found.left_ratio, found.right_ratio, found.mouth) == pytest.approx((0.25, 0.25, 0.4), abs=0.03)
    assert max(aspect_ratio(shape, LEFT_EYE), aspect_ratio(shape, RIGHT_EYE)) > 0.29
    assert seen_share(pose_of_points(person(0.25)), LEFT_EYE) > 0.9


def test_doubt_has_no_state() -> None:
    found = openness(face_of(person(0.3), 0.4))
    assert (found.left_state, found.right_state) == ("unsure", "unsure")
    assert openness(face_of(person(0.3), None)).left_state == "open"


def test_other_schemes_have_no_eyes() -> None:
    shape = np.random.default_rng(0).uniform(0, 9, (29, 2))
    with pytest.raises(InputError, match="openness: expected the points of ibug68, found cofw29"):
        openness(Face(shape, None, None, Box.around(shape), 1.0, COFW_29))


# --- blinks


def blinks_of(ratios: Sequence[float | None], rate: float = 10.0, **options: float) -> list[Blink]:
    detector = BlinkDetector(**options)
    found = [detector.update(k / rate, ratio) for k, ratio in enumerate(ratios)]
    return [blink for blink in found if blink is not None]


def test_a_blink_by_hand() -> None:
    """Ten frames a second: open up to 0.9 s, closed most at 1.1 s, open by 0.14 more at 1.2 s."""
    (blink,) = blinks_of([0.3] * 10 + [0.15, 0.06, 0.2] + [0.3] * 5)

    assert blink[:3] == pytest.approx((0.9, 1.1, 1.2))
    assert blink.depth == pytest.approx(0.8)
    assert blink.duration_s == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("ratios", "count"),
    [
        ([0.3] * 30, 0),
        ([0.3, 0.25, 0.28, 0.24] * 8, 0),  # a twitch is no blink
        ([0.18] * 10 + [0.05] + [0.18] * 9, 1),  # narrow eyes blink as well
        ([0.3] * 10 + [0.05] * 20 + [0.3] * 9, 0),  # closed for two seconds
        ([0.3] * 10 + [0.05, None, 0.3] + [0.3] * 9, 0),  # not seen to its end
        (([0.3] * 5 + [0.1]) * 6 + [0.3], 6),
        ([0.3] * 10 + [0.1, 0.17, 0.1] + [0.3] * 9, 1),  # a rise of less than 0.3 * 0.3
        ([0.3] * 10 + [0.1, 0.22, 0.1] + [0.3] * 9, 2),
        ([0.3] * 10 + [0.3 - 0.01 * k for k in range(20)] + [0.3] * 9, 0),  # closed slowly
    ],
)
def test_what_is_a_blink(ratios: list[float | None], count: int) -> None:
    assert len(blinks_of(ratios)) == count


def test_memory_is_short() -> None:
    """Eyes that narrow for good are open eyes after a while."""
    detector = BlinkDetector(memory_s=2.0)
    for k in range(60):
        detector.update(k / 10, 0.3 if k < 20 else 0.15)
    assert detector.open_ratio == pytest.approx(0.15)
    assert BlinkDetector().open_ratio is None


@pytest.mark.parametrize("options", [{"fall": 0}, {"fall": 1.0}, {"longest_s": 0}, {"memory_s": -1}, {"fall": "a"}])
def test_settings_are_checked(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="BlinkDetector"):
        BlinkDetector(**options)


def test_time_does_not_run_back() -> None:
    detector = BlinkDetector()
    detector.update(1.0, 0.3)
    with pytest.raises(InputError, match="seconds from 1 on, found"):
        detector.update(0.5, 0.3)


def test_five_points(face: Shape) -> None:
    five = five_points(face * 100)
    np.testing.assert_allclose(five[0], face[36:42].mean(axis=0) * 100)
    np.testing.assert_allclose(five[[2, 3, 4]], face[[30, 48, 54]] * 100)
    assert five[0, 0] < five[1, 0]

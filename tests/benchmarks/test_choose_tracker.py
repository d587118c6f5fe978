"""The choice of the tracker's constants: replays that equal tracking, scores by hand, the rule held to its words."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import choose_tracker
import training_takes
from remembered import RememberedLocalizer
from replayed_tracks import Score, Take, lag_s, points_of, replayed, score, seen_faces
from srn import FaceLandmarker, TrackerConfig
from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.face.geometry import CropSpec
from srn.face.scheme import IBUG_68
from srn.inference import flow
from srn.media.pictures import write_image
from srn.media.pts import write_pts

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]


class Blank:
    path = Path("blank")

    def read(self, number: int) -> Picture:
        return np.zeros((300, 300, 3), np.uint8)


def take_of(landmarks: Shape, occluded: npt.NDArray[np.bool_] | None = None, rate: float = 30.0) -> Take:
    flags = np.zeros(landmarks.shape[:2], bool) if occluded is None else occluded
    numbers = np.arange(1, len(landmarks) + 1)
    return Take("toy", Clip("toy", Blank(), numbers, landmarks, IBUG_68, "toy", occluded=flags), rate)


# --- replays


def test_a_replay_with_the_same_settings_is_the_tracker(robust_weights: Path, portraits: list[Any]) -> None:
    landmarker = FaceLandmarker(robust_weights, threads=1)
    portrait = portraits[0]
    sample = Sample(Path("portrait"), portrait.landmarks, IBUG_68, "toy", source=lambda: portrait.image)
    (take,) = training_takes.moving_takes([sample], 6, 0)
    recorded = seen_faces(landmarker.tracker(config=TrackerConfig(smooth=False)), take)
    tracked = points_of(seen_faces(landmarker.tracker(), take), take)
    assert np.isfinite(tracked).all()

    np.testing.assert_allclose(replayed(landmarker, take, recorded, TrackerConfig()), tracked, atol=1e-9)
    with choose_tracker.changed({"smoothing.carried_cutoff": 500.0, "smoothing.hold": 0.0}, TrackerConfig()) as config:
        loose = replayed(landmarker, take, recorded, config)
    raw = points_of(recorded, take)
    assert np.abs(loose - raw).mean() < 0.7 * np.abs(tracked - raw).mean()


def test_each_crop_is_viewed_once(fake_localizer: Callable[..., Any]) -> None:
    """The network answers with the value of the first pixel: as the shape, and as the expected errors."""
    localizer = fake_localizer(
        lambda crop: (np.full((68, 2), float(crop[0, 0, 0])), None, np.full(68, float(crop[0, 0, 0]))),
        crop_spec=CropSpec(8, 4.0),
    )
    crops = np.zeros((3, 8, 8, 3), np.uint8) + np.array([1, 2, 1], np.uint8)[:, None, None, None]
    remembered = RememberedLocalizer(localizer)
    answer = remembered(crops)
    np.testing.assert_array_equal(answer.shapes[:, -1, 0, 0], [1, 2, 1])
    assert answer.visibility is None
    np.testing.assert_array_equal(remembered(crops[::-1] + np.uint8(1)).shapes[:, -1, 0, 0], [2, 3, 2])
    assert localizer.batches == [2, 1]
    remembered(crops[:1], np.zeros((1, 68, 2), np.float32))  # continues a state: not remembered
    assert localizer.batches == [2, 1, 1]
    assert remembered.views == 7


# --- scores


def test_points_that_follow_late_lag_by_that_time(face: Shape) -> None:
    time = np.arange(-2, 40)
    way = 150 + 100 * np.sin(time / 8)  # up to 375 pixels a second, the face's size is 100
    places = face * 100 + np.stack([way, np.full(42, 150.0)], 1)[:, None]
    truth, late = places[2:], places[:-2] + [3.0, 0.0]

    assert lag_s(late, truth, 30.0) == pytest.approx(2 / 30, rel=0.1)
    assert lag_s(truth, truth, 30.0) == pytest.approx(0.0, abs=1e-9)
    assert np.isnan(lag_s(truth[:1].repeat(40, axis=0), truth[:1].repeat(40, axis=0), 30.0))


def test_missed_and_false_frames_are_counted(face: Shape) -> None:
    truth = np.repeat((face * 100 + 150)[None], 10, axis=0)
    hidden = np.zeros((10, 68), bool)
    hidden[4:8] = True
    hidden[8, :50] = True  # neither shown nor absent
    shapes = truth + [3.0, 4.0]
    shapes[[0, 4, 8]] = np.nan  # missed, rightly silent, not counted
    shapes[1] += 300  # elsewhere: missed as well
    seen = score(shapes, take_of(truth, hidden))

    assert seen.missed == pytest.approx(100 * 2 / 9)
    assert seen.false == pytest.approx(100 * 3 / 9)
    eyes = np.linalg.norm(truth[0, 36] - truth[0, 45])
    assert seen.nme == pytest.approx(100 * 5 / eyes)
    assert np.isnan(score(np.full_like(shapes, np.nan), take_of(truth)).nme)


# --- the rule


def row(mean: float, low: float, high: float, **changes: float) -> dict[str, Any]:
    return {"changes": changes, "criterion": 2.0 + mean, "difference": (mean, low, high)}


def test_a_value_wins_that_is_surely_and_clearly_better() -> None:
    rows = [
        {"changes": {}, "criterion": 2.0, "difference": None},
        row(-0.1, -0.2, 0.01, unsure=1.0),
        row(-0.015, -0.02, -0.01, slight=1.0),
        row(0.5, 0.4, 0.6, worse=1.0),
        row(-0.3, -0.4, -0.2, better=1.0),
        row(-0.2, -0.3, -0.1, better=2.0),
        row(-0.05, -0.06, -0.04, other=3.0),
        {"changes": {"nothing": 1.0}, "criterion": None, "difference": None},
    ]
    assert [choose_tracker.beats(one, rows[0]) for one in rows[1:]] == [False] * 3 + [True] * 3 + [False]
    assert choose_tracker.to_repeat(rows[:4]) == [{"slight": 1.0}, {"unsure": 1.0}]
    assert choose_tracker.to_repeat(rows[:1] + rows[4:]) == [
        {"other": 3.0}, {"better": 1.0}, {"other": 3.0, "better": 1.0},
    ]  # fmt: skip


def test_the_criterion_is_what_the_group_is_for() -> None:
    one = Score(nme=3.0, jitter=0.5, lag=1.0, missed=2.0, false=4.0)
    assert choose_tracker.criterion("flow", [one]).tolist() == [3.5]
    assert choose_tracker.criterion("loss", [one]).tolist() == [6.0]
    better = dataclasses.replace(one, nme=2.0)
    nobody = dataclasses.replace(one, nme=np.nan)
    assert choose_tracker.difference("flow", [better, nobody], [one, one]) == (-1.0, -1.0, -1.0)
    assert choose_tracker.difference("flow", [nobody], [one]) is None


def test_constants_of_settings_and_of_modules_are_changed_for_a_while() -> None:
    before = flow._OWN
    names = [name for group in choose_tracker.CONSTANTS.values() for name in group]
    tried = [item for group in choose_tracker.CONSTANTS.values() for item in group.items()]
    assert all(choose_tracker.present_value(name) not in values for name, values in tried)
    assert len(set(names)) == len(names)
    with choose_tracker.changed({"srn.inference.flow._OWN": 9.0, "max_shift": 0.3}, TrackerConfig()) as config:
        assert (flow._OWN, config.max_shift) == (9.0, 0.3)
    assert flow._OWN == before == choose_tracker.present_value("srn.inference.flow._OWN")


# --- the whole


def test_it_runs(
    tmp_path: Path, face: Shape, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(4):
        stem = tmp_path / "300W" / "afw" / f"face{number}"
        stem.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(0, 256, (150, 150, 3), dtype=np.uint8)
        write_image(stem.with_suffix(".jpg"), noise)
        write_pts(stem.with_suffix(".pts"), face * 60 + [75, 75])
    few = {"filter": {}, "flow": {"smoothing.hold": (0.0,)}, "speed": {}, "loss": {"keep_confidence": (0.1,)}}
    monkeypatch.setattr(choose_tracker, "CONSTANTS", few)
    monkeypatch.setattr(choose_tracker, "shipped_weights", lambda: tiny_weights)
    monkeypatch.setattr(training_takes, "FRAME", CropSpec(96, 40.0))
    words = [str(tmp_path), "--clips", "1", "--frames", "3", "--out", str(tmp_path)]
    assert choose_tracker.main(words) == 2
    assert "expected 4 training faces, found 0" in capsys.readouterr().err

    monkeypatch.setattr(choose_tracker, "SMALLEST", 50.0)
    assert choose_tracker.main(words) == 0
    content = json.loads((tmp_path / "tracker_choice.json").read_text())
    assert [len(content["groups"][name]) for name in few] == [1, 2, 1, 2]
    assert "| `smoothing.hold` | 0 (present: 0.7) |" in (tmp_path / "tracker_choice.md").read_text()


def test_the_background_holds_no_face(face: Shape) -> None:
    image = np.zeros((200, 200, 3), np.uint8)
    points = face * 60 + [130, 100]
    sample = Sample(Path("one"), points, IBUG_68, "toy", source=lambda: image)
    x0, _, x1, _ = sample.box.as_array()
    image[:, int(x0) : int(x1) + 1] = 255
    background = training_takes.background_of(sample)
    assert background.shape[0] == background.shape[1] > 60
    assert not background.any()

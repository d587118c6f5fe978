"""Followers on clips whose faces they know, and their scores by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from cascade_follower import CascadeFollower
from srn.datasets.clip import Clip
from srn.errors import DataError, InputError
from srn.evaluation.followers import FrameByFrame, Track, TrackerFollower
from srn.evaluation.video import evaluate_followers, score_track
from srn.face.geometry import Box, CropSpec
from srn.face.localizer import Float32Array, Prediction
from srn.face.metrics import interocular
from srn.face.scheme import IBUG_68
from srn.inference.face_finder import FoundFace
from srn.inference.landmarker import FaceLandmarker

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]


class Blank:
    """Frames of one grey each: the frame's number."""

    path = Path("blank")

    def read(self, number: int) -> Picture:
        return np.full((200, 240, 3), number, np.uint8)


@pytest.fixture
def clip(face: Shape) -> Clip:
    """Five frames of a face of 80 pixels that moves 2 pixels to the right in each."""
    landmarks = face * 80 + np.stack([100 + 2.0 * np.arange(5), np.full(5, 90.0)], 1)[:, None]
    return Clip("toy", Blank(), np.arange(1, 6), landmarks, IBUG_68, "toy")


class Recording:
    """A localizer that notes what it is given and answers with the mean shape, shifted more in each iteration."""

    def __init__(self, mean_shape: Shape, recurrence: str = "frame") -> None:
        self.mean_shape = mean_shape.astype(np.float32)
        self.scheme, self.crop_spec, self.name = IBUG_68, CropSpec(96, 60.0), "recording"
        self.recurrence = recurrence
        self.starts: list[Float32Array | None] = []
        self.states: list[Float32Array | None] = []
        self.shift = np.zeros(2)

    def __call__(
        self,
        crops: Picture,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        assert initial_weight is None or (initial_weight == 1).all()
        self.starts.append(initial_shape)
        self.states.append(hidden)
        answer = self.crop_spec.place(self.mean_shape)[None, None] + self.shift
        shapes = np.concatenate([answer + 3, answer + 1, answer], axis=1).astype(np.float32)
        state = np.full((len(crops), 4), len(self.states), np.float32)
        return Prediction(np.repeat(shapes, len(crops), axis=0), state, None, None)


def follower_of(localizer: Recording, **options: Any) -> CascadeFollower:
    return CascadeFollower(FaceLandmarker(localizer=localizer), name="one", **options)


def test_the_papers_tracker_carries_its_state_and_starts_from_the_mean(clip: Clip, face: Shape) -> None:
    localizer = Recording(face)
    track = follower_of(localizer)(clip)
    np.testing.assert_allclose(track.shapes, clip.landmarks, atol=1e-3)  # the true box, and the mean shape in it
    assert localizer.starts == [None] * 5
    assert localizer.states[0] is None
    assert [float(s[0, 0]) for s in localizer.states[1:] if s is not None] == [1, 2, 3, 4]
    assert (track.seconds > 0).all()


def test_without_state_nothing_is_carried(clip: Clip, face: Shape) -> None:
    localizer = Recording(face)
    follower_of(localizer, carry_state=False)(clip)
    assert localizer.states == [None] * 5


def test_a_previous_start_is_the_last_shape_in_the_new_crop(clip: Clip, face: Shape) -> None:
    localizer = Recording(face)
    follower_of(localizer, start="previous", placement="gt-box")(clip)
    assert localizer.starts[0] is None
    scale = 60 / Box.around(clip.landmarks[0]).size
    for start in localizer.starts[1:]:
        assert start is not None
        # The face has moved 2 pixels to the right: in its new crop the old shape lies that much to the left.
        np.testing.assert_allclose(start[0], localizer.crop_spec.place(face) - [2 * scale, 0], atol=1e-3)


def test_a_crop_of_the_previous_shape_lags(clip: Clip, face: Shape) -> None:
    """The crop of frame t lies where the face was in frame t - 1, so the mean shape in it is 2 pixels behind."""
    track = follower_of(Recording(face), placement="previous")(clip)
    np.testing.assert_allclose(track.shapes[0], clip.landmarks[0], atol=1e-3)
    # This localizer never sees the motion: it stays where it began.
    np.testing.assert_allclose(track.shapes[4], clip.landmarks[0], atol=1e-2)


def test_iterations(clip: Clip, face: Shape) -> None:
    scale = Box.around(clip.landmarks[0]).size / 60
    for iterations, offset in ((1, 3), (2, 1), (3, 0)):
        track = follower_of(Recording(face), iterations=iterations)(clip)
        np.testing.assert_allclose(track.shapes - clip.landmarks, offset * scale, atol=1e-3)
    with pytest.raises(InputError, match="iterations"):
        follower_of(Recording(face), iterations=0)


def test_a_face_that_was_lost_is_counted_and_found_again(clip: Clip, face: Shape) -> None:
    localizer = Recording(face)
    localizer.shift = np.array([80.0, 0.0])  # always beside the face
    follower = follower_of(localizer, start="previous", placement="previous")
    track = follower(clip)
    assert localizer.starts == [None] * 5  # never from a lost shape
    assert localizer.states == [None] * 5
    score = score_track(track, clip)
    assert (score.lost, score.found) == (5, 5)
    offset = 80 / 60 * Box.around(clip.landmarks[0]).size
    assert score.nme == pytest.approx(offset / interocular(clip.landmarks[0], IBUG_68), rel=1e-3)


def test_steps_over_frames_that_are_left_out_are_none(clip: Clip) -> None:
    """Frames 2 and 3 lie a minute apart: a jump between them is no jitter, and no flicker."""
    still = replace(clip, landmarks=np.repeat(clip.landmarks[:1], 5, axis=0))
    shapes = still.landmarks + np.array([0, 0, 9, 9, 9])[:, None, None]
    size = interocular(still.landmarks[0], IBUG_68)
    whole = score_track(Track(shapes, np.zeros(5)), still)
    assert whole.flicker == pytest.approx(np.hypot(9, 9) / size / 4)
    assert whole.jitter == pytest.approx(2 * np.hypot(9, 9) / size / 3)
    cut = score_track(Track(shapes, np.zeros(5)), replace(still, numbers=np.array([1, 2, 1500, 1501, 1502])))
    assert (cut.jitter, cut.flicker) == (0.0, 0.0)
    assert cut.nme == whole.nme
    sparse = score_track(Track(shapes, np.zeros(5)), replace(still, numbers=np.arange(1, 26, 5)))
    assert np.isnan([sparse.jitter, sparse.flicker]).all()


def test_frame_by_frame(clip: Clip, face: Shape) -> None:
    localizer = Recording(face)
    landmarker = FaceLandmarker(localizer=localizer, accuracy="fast")
    track = FrameByFrame(landmarker)(clip)
    np.testing.assert_allclose(track.shapes, clip.landmarks, atol=1e-3)
    assert localizer.starts == [None] * 5


def test_a_frame_without_a_face_is_missed(clip: Clip, face: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    landmarker = FaceLandmarker(localizer=Recording(face), accuracy="fast")

    def find(image: Picture) -> list[FoundFace]:
        number = int(image[0, 0, 0])
        elsewhere = [FoundFace(Box(0, 0, 20, 20), 0.9)]
        return elsewhere if number == 3 else [*elsewhere, FoundFace(Box.around(clip.landmarks[number - 1]), 0.8)]

    monkeypatch.setattr(landmarker, "find", find)
    track = FrameByFrame(landmarker, init="finder")(clip)
    assert np.isnan(track.shapes[2]).all()
    np.testing.assert_allclose(np.delete(track.shapes, 2, 0), np.delete(clip.landmarks, 2, 0), atol=1e-3)
    score = score_track(track, clip)
    assert (score.frames, score.found, score.lost) == (5, 4, 0)
    assert score.nme == pytest.approx(0, abs=1e-4)
    assert np.isnan(score.jitter)  # no three frames in a row


def test_a_new_tracker_for_every_clip(clip: Clip, face: Shape) -> None:
    landmarker = FaceLandmarker(localizer=Recording(face), accuracy="fast")
    landmarker.find = lambda image: [FoundFace(Box.around(clip.landmarks[0]), 0.9)]  # type: ignore[method-assign]
    made: list[int] = []

    def make() -> Any:
        made.append(1)
        return landmarker.tracker()

    follower = TrackerFollower(make)
    (result,) = evaluate_followers([follower], [clip, clip])
    assert len(made) == 2
    assert result.summary()["frames"] == 10
    assert result.summary()["missed"] == 0


class Broken(Blank):
    """The third frame cannot be read."""

    def read(self, number: int) -> Picture:
        if number == 3:
            raise DataError.at("blank/3.jpg", "a picture", "6 bytes")
        return super().read(number)


def test_a_video_that_cannot_be_read_or_whose_face_is_elsewhere_ends_no_other(clip: Clip, face: Shape) -> None:
    follower = FrameByFrame(FaceLandmarker(localizer=Recording(face), accuracy="fast"))
    broken, away = replace(clip, frames=Broken()), replace(clip, name="away", landmarks=clip.landmarks + 1e9)
    problems: list[str] = []
    (result,) = evaluate_followers([follower], [broken, clip, away], problems=problems)
    assert [score.name for score in result.clips] == ["toy"]
    frame = "a face in the frame of 240 x 200 pixels"
    assert problems == [
        "blank/3.jpg: expected a picture, found 6 bytes; the video toy is left out",
        f"blank, frame 1: expected {frame}, found one elsewhere; the video away is left out",
    ]
    for one in (broken, away):
        with pytest.raises(DataError):
            evaluate_followers([follower], [one])


# --- scores


def test_a_score_by_hand(clip: Clip) -> None:
    """Errors of 1, 1, 4, 1, 1 pixels along x: mean 1.6; accelerations of 3, 6 and 3 pixels: mean 4."""
    shapes = clip.landmarks.copy()
    shapes[..., 0] += np.array([1, 1, 4, 1, 1])[:, None]
    score = score_track(Track(shapes, np.ones(5)), clip)
    size = interocular(clip.landmarks[0], IBUG_68)
    assert score.nme == pytest.approx(1.6 / size)
    assert score.jitter == pytest.approx(4 / size)
    assert np.isnan(score.flicker)  # the face never holds still
    assert np.isnan(score.nme_hidden)
    assert (score.found, score.lost, score.name) == (5, 0, "toy")


def test_hidden_and_visible_points_apart(clip: Clip) -> None:
    occluded = np.zeros((5, 68), bool)
    occluded[:, :10] = True
    hidden = Clip("toy", Blank(), clip.numbers, clip.landmarks, IBUG_68, "toy", occluded=occluded)
    shapes = clip.landmarks.copy()
    shapes[:, :10, 1] += 5
    shapes[:, 10:, 1] += 1
    score = score_track(Track(shapes, np.ones(5)), hidden, "bbox")
    size = np.sqrt(np.prod(np.ptp(clip.landmarks[0], axis=0)))
    assert score.nme_hidden == pytest.approx(5 / size)
    assert score.nme_visible == pytest.approx(1 / size)
    with pytest.raises(InputError, match="normalizer"):
        score_track(Track(shapes, np.ones(5)), hidden, "nose")


def test_hidden_points_of_all_clips_count_alike(clip: Clip) -> None:
    """Ten hidden points in each of five frames, five pixels off; thirty in one of five frames, one pixel off."""
    many, few = np.zeros((2, 5, 68), bool)
    many[:, :10] = True
    few[0, :30] = True
    size = interocular(clip.landmarks[0], IBUG_68)

    class Off:
        name = "off"

        def __call__(self, clip: Clip) -> Track:
            return Track(clip.landmarks + [0.0, 5.0 if clip.name == "many" else 1.0], np.ones(len(clip)))

    clips = [replace(clip, name=name, occluded=flags) for name, flags in (("many", many), ("few", few))]
    (result,) = evaluate_followers([Off()], clips)
    assert [(score.hidden, score.visible) for score in result.clips] == [(50, 290), (30, 310)]
    summary = result.summary()
    assert summary["nme_hidden"] == pytest.approx((50 * 5 + 30 * 1) / 80 / size)
    assert summary["nme_visible"] == pytest.approx((290 * 5 + 310 * 1) / 600 / size)


def test_clips_count_by_their_frames(clip: Clip) -> None:
    short = Clip("short", Blank(), clip.numbers[:1], clip.landmarks[:1], IBUG_68, "toy")
    size = interocular(clip.landmarks[0], IBUG_68)

    class Off:
        name = "off"

        def __call__(self, clip: Clip) -> Track:
            return Track(clip.landmarks + [0.0, 6.0 if clip.name == "short" else 0.0], np.full(len(clip), 0.002))

    calls: list[int] = []
    (result,) = evaluate_followers([Off()], [clip, short], progress=lambda: calls.append(1))
    summary = result.summary()
    assert summary["nme"] == pytest.approx(6 / 6 / size)  # one frame of six is off by six pixels
    assert summary["jitter"] == pytest.approx(0)  # the short clip says nothing of it
    assert summary["ms"] == pytest.approx(2)
    assert len(calls) == 2
    written = result.to_dict()
    assert written["per_clip"][1]["jitter"] is None
    assert written["method"] == "off"
    with pytest.raises(InputError, match="at least one clip"):
        evaluate_followers([Off()], [])

"""Scripted scenes: faces that come, go, cross, hide and come back; a finder and a localizer that know the script.

Every frame says what it is by its colours: red is x, green is y, blue the number of the frame. So the fake localizer
can read from a crop which part of which frame it shows.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.cbook import get_sample_data
from PIL import Image

from srn.errors import InputError
from srn.face.geometry import Box, CropSpec, similarity, transform_points
from srn.face.localizer import Float32Array, Prediction
from srn.face.scheme import IBUG_68
from srn.inference.box_fit import BoxFit
from srn.inference.face import Face, Faces
from srn.inference.face_finder import FoundFace, LandmarkBoxFinder
from srn.inference.flow import Anchor, Carried, FaceFlow
from srn.inference.landmarker import FaceLandmarker
from srn.inference.looker import Looker
from srn.inference.runtime import OnnxLocalizer
from srn.inference.smoothing import OneEuroShape, ShapeMemory
from srn.inference.tracker import FaceTracker
from srn.inference.tracks import TrackerConfig
from srn.inference.views import Accuracy
from srn.media.pictures import read_image

from .upside_down import CASES, Views

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]
Place = tuple[float, float, float]
"""x, y and side of a face, pixels."""

SCENE = 128
"""From this blue on the other scene is shown: its coordinates count from the far corner."""


def picture(k: int, size: int = 256) -> Picture:
    y, x = np.mgrid[:size, :size]
    coordinates = np.stack([x, y, np.full_like(x, k)], -1)
    if k >= SCENE:
        coordinates[..., :2] = size - 1 - coordinates[..., :2]
    return coordinates.astype(np.uint8)


@dataclass
class Actor:
    """A face of the script: where it is in each frame, and in which frames nobody can see it."""

    place: Callable[[int], Place | None]
    hidden: frozenset[int] = frozenset()


@dataclass
class Stage:
    """The script, and at once the localizer and the face finder that know it. Actors in front come first."""

    actors: list[Actor]
    mean: Shape
    noise: float = 0.0
    lean: tuple[float, float] = (0.0, 0.0)
    """What all its answers are off by, crop pixels."""
    with_confidence: bool = True
    recurrence: str = "iteration"
    finds: bool = True
    """Whether the finder sees anything."""
    name: str = "stage"
    calls: list[dict[str, Any]] = field(default_factory=list)
    asked: list[int] = field(default_factory=list)
    """Frames in which the finder was asked."""
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    scheme = IBUG_68
    crop_spec = CropSpec(96, 60.0)

    @property
    def mean_shape(self) -> Float32Array:
        return self.mean.astype(np.float32)

    def seen(self, k: int) -> list[Place]:
        """Faces that can be seen in frame k: hidden ones and those behind others are not among them."""
        seen: list[Place] = []
        for actor in self.actors:
            place = actor.place(k)
            if place is None or k in actor.hidden:
                continue
            if all(np.hypot(place[0] - x, place[1] - y) > 0.5 * side for x, y, side in seen):
                seen.append(place)
        return seen

    def shape(self, place: Place) -> Shape:
        return self.mean * place[2] + place[:2]

    def find(self, image: Picture) -> list[FoundFace]:
        k = int(np.median(image[..., 2]))
        self.asked.append(k)
        return [FoundFace(Box.around(self.shape(place)), 0.9) for place in self.seen(k)] if self.finds else []

    def __call__(
        self,
        crops: Picture,
        initial_shape: Float32Array | None = None,
        hidden: Float32Array | None = None,
        initial_weight: Float32Array | None = None,
    ) -> Prediction:
        self.calls.append({"n": len(crops), "start": initial_shape, "hidden": hidden, "weight": initial_weight})
        shapes, errors, seen = zip(*(self._answer(crop) for crop in crops), strict=True)
        final = np.stack(shapes).astype(np.float32)
        cascade = np.stack([final + 9, final + 3, final], 1)  # closer with every iteration
        hidden_out = np.full((len(crops), 4), len(self.calls), np.float32)
        visibility = np.repeat(np.array(seen, np.float32)[:, None], 68, 1)
        expected = np.repeat(np.array(errors, np.float32)[:, None], 68, 1)
        if not self.with_confidence:
            return Prediction(cascade, hidden_out, None, None)
        return Prediction(cascade, hidden_out, visibility, expected)

    def _answer(self, crop: Picture) -> tuple[Shape, float, float]:
        """The seen face that the crop is about, in crop pixels; a guess without confidence where it shows none."""
        k = round(float(np.median(crop[..., 2])))
        to_picture = place_of(crop, k)
        if to_picture is None or abs(np.linalg.det(to_picture[:, :2])) < 1e-6:
            return self.mean * 60 + 47.5, 0.3, 0.3
        back = np.linalg.inv(to_picture[:, :2])
        middle = to_picture @ [47.5, 47.5, 1]
        crop_side = float(np.sqrt(abs(np.linalg.det(to_picture[:, :2])))) * self.crop_spec.face_size
        near = [
            p
            for p in self.seen(k)
            if np.hypot(*(middle - p[:2])) < 0.6 * p[2] and 0.5 < crop_side / p[2] < 2
        ]  # fmt: skip
        if not near:
            return self.mean * 60 + 47.5, 0.3, 0.3
        nearest = min(near, key=lambda p: float(np.hypot(*(middle - p[:2]))))
        noisy = self.shape(nearest) + self.rng.normal(0, self.noise, (68, 2))
        in_crop = (noisy - to_picture[:, 2]) @ back.T
        if np.linalg.det(back) < 0:  # a mirrored crop shows a face whose left is its right
            in_crop = in_crop[list(IBUG_68.mirror)]
        return in_crop + self.lean, 0.008, 0.95


def place_of(crop: Picture, k: int) -> Shape | None:
    """(2, 3): crop pixels -> picture pixels, read off a crop's colours; None where it shows no part of the picture."""
    y, x = np.mgrid[: crop.shape[0] : 5, : crop.shape[1] : 5]
    colors = crop[::5, ::5, :2].astype(np.float64)
    inside = ((colors > 2) & (colors < 253)).all(-1)
    if inside.sum() < 6:
        return None
    if k >= SCENE:
        colors = 255 - colors
    positions = np.stack([x[inside], y[inside], np.ones(inside.sum())], 1)
    matrix: Shape = np.linalg.lstsq(positions, colors[inside], rcond=None)[0].T
    return matrix


def landmarker(stage: Stage, **options: Any) -> FaceLandmarker:
    return FaceLandmarker(localizer=stage, face_finder=LandmarkBoxFinder(stage, BoxFit()), **options)


def ids(faces: Iterable[Face]) -> list[int]:
    return [face.track_id or 0 for face in faces]


def play(tracker: FaceTracker, frames: Iterable[int]) -> dict[int, Faces]:
    return {k: tracker.update(picture(k), k / 30) for k in frames}


def still(x: float, y: float = 128, side: float = 50) -> Callable[[int], Place]:
    return lambda k: (x, y, side)


def off(stage: Stage, found: Face, actor: int, k: int) -> float:
    """Mean distance from the truth in sides of the face."""
    place = stage.actors[actor].place(k)
    assert place is not None
    return float(np.linalg.norm(found.landmarks - stage.shape(place), axis=1).mean()) / place[2]


# --- following


def test_what_the_finder_found_in_the_last_frame_is_told(face: Shape) -> None:
    """Also what its landmarks convinced nobody of: whoever covers faces covers it as well."""
    stage = Stage([Actor(still(128))], face)
    tracker = landmarker(stage).tracker(find_every=3)
    counts = []
    for k in range(7):
        tracker.update(picture(k), k / 30)
        counts.append((k in stage.asked, len(tracker.found)))
    assert {False, True} == {asked for asked, _ in counts}
    assert all(found == asked for asked, found in counts)
    tracker.reset()
    assert tracker.found == []


def test_two_faces_keep_their_numbers_and_the_finder_rests(face: Shape) -> None:
    stage = Stage([Actor(lambda k: (60 + 0.8 * k, 90, 50)), Actor(lambda k: (200 - 0.5 * k, 180, 44))], face)
    told = play(landmarker(stage).tracker(smooth=False), range(100))
    for k, faces in told.items():
        assert ids(faces) == [1, 2]
        assert {
            round(off(stage, f, a, k), 1) for a, f in enumerate(sorted(faces, key=lambda f: f.landmarks[0, 1]))
        } == {0}
        for found in faces:
            assert found.box == Box.around(found.landmarks)
            assert found.score == pytest.approx(0.9)
            assert found.visibility is not None
            assert found.visibility.mean() == pytest.approx(0.95)
    assert stage.asked == [0, 30, 60, 90]


def test_all_faces_of_a_frame_are_one_batch(face: Shape) -> None:
    stage = Stage([Actor(still(50, 60)), Actor(still(128, 60)), Actor(still(200, 60)), Actor(still(90, 190))], face)
    tracker = landmarker(stage).tracker()
    play(tracker, range(1))
    # New faces are viewed twice, as in a picture, the second time mirrored, too.
    assert [call["n"] for call in stage.calls] == [4, 4 + 4]
    stage.calls.clear()
    play(tracker, range(1, 10))
    # In every fourth frame there is a mirrored view, in the same batch.
    assert [call["n"] for call in stage.calls] == [8 if k % 4 == 0 else 4 for k in range(1, 10)]


def test_no_face_is_an_empty_list(face: Shape) -> None:
    stage = Stage([], face)
    tracker = landmarker(stage).tracker()
    assert all(faces == [] for faces in play(tracker, range(21)).values())
    assert stage.asked == [0, 5, 10, 15, 20]
    assert stage.calls == []


def test_a_fast_face_is_followed_by_its_speed(face: Shape) -> None:
    """0.4 faces a frame: the speed builds up to it, so the crop has to go ahead of the face."""
    stage = Stage([Actor(lambda k: (40 + 0.8 * min(k, 25) ** 2 * 0.4, 128, 50))], face)
    told = play(landmarker(stage).tracker(smooth=False), range(24))
    assert all(ids(faces) == [1] for faces in told.values())
    assert max(off(stage, faces[0], 0, k) for k, faces in told.items()) < 0.02
    assert stage.asked == [0]


@pytest.mark.parametrize(
    ("jump", "accuracy", "views"), [(3, "balanced", 1), (10, "balanced", 2), (10, "best", 2), (10, "fast", 1)]
)
def test_a_face_that_jumped_is_viewed_again(face: Shape, jump: float, accuracy: Accuracy, views: int) -> None:
    """A face of 50 pixels jumps in frame 10; by more than 8 % of its size, its first crop was misplaced."""
    stage = Stage([Actor(lambda k: (100.0 + jump * (k >= 10), 128, 50))], face)
    tracker = landmarker(stage, accuracy=accuracy).tracker(smooth=False)
    play(tracker, range(10))
    before = len(stage.calls)
    faces = tracker.update(picture(10))
    assert len(stage.calls) - before == views
    assert off(stage, faces[0], 0, 10) < 0.02


def test_a_face_that_enters_is_found_and_one_that_leaves_is_forgotten(face: Shape) -> None:
    enters = Actor(lambda k: (190, 60, 44) if k >= 12 else None)
    leaves = Actor(lambda k: (80 - 4.0 * k, 150, 50) if k < 32 else None)
    stage = Stage([leaves, enters], face)
    tracker = landmarker(stage).tracker()
    told = play(tracker, range(127))
    assert ids(told[0]) == [1]
    assert next(k for k, faces in told.items() if 2 in ids(faces)) <= 30
    assert ids(told[70]) == [2]
    assert tracker.config.memory_s < 127 / 30
    assert ids(told[126]) == [2]
    assert len(stage.calls[-1:]) == 1
    assert stage.calls[-1]["n"] == 1  # and the one that left is not viewed


def test_numbers_are_not_given_twice(face: Shape) -> None:
    comes_and_goes = Actor(lambda k: (60, 60, 50) if k < 20 else (200, 200, 40) if k >= 60 else None)
    stage = Stage([comes_and_goes], face)
    told = play(landmarker(stage).tracker(config=TrackerConfig(memory_s=0.5)), range(80))
    assert ids(told[10]) == [1]
    assert ids(told[79]) == [2]


def test_after_a_gap_longer_than_a_life_the_finder_looks_at_once(face: Shape) -> None:
    stage = Stage([Actor(still(128))], face)
    tracker = landmarker(stage).tracker()
    told = [ids(tracker.update(picture(k), time_s)) for k, time_s in enumerate((0.0, 0.1, 5.0, 5.1))]
    assert told == [[1], [1], [2], [2]]
    assert stage.asked == [0, 2]


# --- hiding


@pytest.mark.parametrize("frames", [1, 10, 30, 60])
def test_a_face_that_was_hidden_whole_gets_its_number_back(face: Shape, frames: int) -> None:
    stage = Stage([Actor(lambda k: (90 + 0.5 * k, 120, 50), frozenset(range(20, 20 + frames)))], face)
    tracker = landmarker(stage).tracker()
    told = play(tracker, range(20 + frames + 5))
    for k in range(20):
        assert ids(told[k]) == [1]
    seen = [k for k, faces in told.items() for f in faces if f.visibility is not None and f.visibility.mean() > 0.5]
    back = next(k for k in seen if k >= 20 + frames)
    assert back - (20 + frames) <= 2
    assert ids(told[back]) == [1]
    assert off(stage, told[back][0], 0, back) < 0.02
    assert len(stage.asked) <= 4 + frames / 5


class Look(NamedTuple):
    """An appearance of the script."""

    likes: float
    is_whole: bool = True

    def likeness(self, other: Look) -> float:
        return self.likes * other.likes


@pytest.mark.parametrize("is_whole", [True, False])
def test_a_face_that_leaves_through_the_edge_is_known_by_its_last_whole_view(
    face: Shape, is_whole: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it on its way out looks like nobody. Another look of a whole face counts."""
    look = {"now": Look(1.0)}
    monkeypatch.setattr("srn.inference.tracker.Appearance", lambda *_: look["now"])
    actor = Actor(lambda k: (60, 128, 50) if k < 24 else (200, 60, 48) if k >= 60 else None)
    tracker = landmarker(Stage([actor], face)).tracker()
    play(tracker, range(18))
    look["now"] = Look(0.0, is_whole)
    play(tracker, range(18, 24))
    look["now"] = Look(1.0)
    assert ids(play(tracker, range(24, 66))[65]) == [2 if is_whole else 1]


@pytest.mark.parametrize("back", [(200, 60), (60, 60), (200, 200)], ids=["across", "same side", "corner"])
@pytest.mark.parametrize("away", [20, 90])
def test_a_face_that_leaves_and_comes_back_gets_its_number(
    face: Shape, back: tuple[int, int], away: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it comes back: by its appearance, for four seconds; another appearance is another face."""
    looks = {"now": 1.0}

    monkeypatch.setattr("srn.inference.tracker.Appearance", lambda *_: Look(looks["now"]))
    actor = Actor(lambda k: (60 - 5 * max(k - 10, 0), 128, 50) if k < 24 else (*back, 48) if k >= 24 + away else None)
    told = play(landmarker(Stage([actor], face)).tracker(), range(24 + away + 6))
    assert ids(told[24 + away + 5]) == [1]
    absent = [guess for k in range(24, 24 + away) for guess in told[k]]
    assert all(guess.state == "predicted" and 0 <= guess.box.center[0] <= 255 for guess in absent)
    tracker = landmarker(Stage([actor], face)).tracker()
    play(tracker, range(24))
    looks["now"] = 0.0
    told = play(tracker, range(24, 24 + away + 6))
    assert ids(told[24 + away + 5]) == [2]


@pytest.mark.parametrize("finds", [True, False])
def test_a_face_that_the_finder_sees_is_never_given_up(
    face: Shape, finds: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An occluder lowers the confidence below that of a followed face for ten frames."""
    stage = Stage([Actor(lambda k: (100 + 0.5 * k, 120, 50))], face)
    tracker, answer = landmarker(stage).tracker(), stage._answer
    play(tracker, range(20))
    stage.finds = finds
    monkeypatch.setattr(stage, "_answer", lambda crop: (answer(crop)[0], 0.08, answer(crop)[2]))
    told = play(tracker, range(20, 30))
    assert {face.state for faces in told.values() for face in faces} == {"seen" if finds else "predicted"}
    assert all(ids(faces) == [1] for faces in told.values())


def test_while_hidden_it_goes_on_and_says_that_it_is_a_guess(face: Shape) -> None:
    stage = Stage([Actor(lambda k: (60 + 1.5 * k, 120, 50), frozenset(range(20, 128)))], face)
    told = play(landmarker(stage).tracker(), range(60))
    confidences = []
    for k in range(20, 49):
        (guess,) = told[k]
        assert guess.visibility is not None
        assert guess.confidence is not None
        assert not guess.visibility.any()
        assert guess.state == "predicted"
        confidences.append(float(guess.confidence.mean()))
        assert guess.score < 0.9
    assert all(after < before for before, after in itertools.pairwise(confidences))
    assert confidences[-1] < 0.2
    assert off(stage, told[30][0], 0, 30) < 0.15  # ten frames on, 15 pixels: it has gone along
    assert told[55] == []  # a second later it is no longer told


def test_what_goes_wrong_is_noticed_at_once(face: Shape) -> None:
    """The crop shows a wall: low confidence, and the finder is asked in the next frame."""
    stage = Stage([Actor(lambda k: (70, 120, 50) if k < 17 else (190, 60, 50))], face)
    told = play(landmarker(stage).tracker(), range(20))
    assert 18 in stage.asked
    assert any(off(stage, f, 0, 18) < 0.02 for f in told[18])


def test_without_confidence_values_the_finder_s_word_counts(face: Shape) -> None:
    """The paper's preset gives no confidence: what the finder no longer sees is lost after two runs."""
    stage = Stage([Actor(lambda k: (70, 120, 50))], face, with_confidence=False)
    tracker = landmarker(stage).tracker(find_every=10)
    told = play(tracker, range(15))
    assert ids(told[14]) == [1]
    assert told[14][0].confidence is None
    stage.finds = False
    told = play(tracker, range(15, 70))
    assert ids(told[25]) == [1]
    assert told[69] == []
    stage.finds = True
    assert ids(play(tracker, range(70, 90))[89]) == [1]


def test_a_false_find_starts_nothing(face: Shape) -> None:
    class Dreamer(Stage):
        def find(self, image: Picture) -> list[FoundFace]:
            return [*super().find(image), FoundFace(Box(180, 180, 230, 240), 0.8)]

    stage = Dreamer([Actor(still(70))], face)
    assert all(ids(faces) == [1] for faces in play(landmarker(stage).tracker(), range(40)).values())


def test_two_finds_on_one_face_are_one_face(face: Shape) -> None:
    class Double(Stage):
        def find(self, image: Picture) -> list[FoundFace]:
            found = super().find(image)
            return [*found, *(FoundFace(f.box.adjusted(np.array([22.0, 0]), (0.9, 0.9)), 0.5) for f in found)]

    stage = Double([Actor(still(100))], face)
    assert all(ids(faces) == [1] for faces in play(landmarker(stage).tracker(), range(70)).values())


# --- crossing, cuts


@pytest.mark.parametrize("speed", [1.2, 2.5, 5.0])
@pytest.mark.parametrize("smooth", [False, True])
def test_faces_that_cross_keep_their_numbers(face: Shape, speed: float, smooth: bool) -> None:
    front = Actor(lambda k: (60 + speed * k, 125, 50))
    back = Actor(lambda k: (200 - speed * k, 133, 46))
    stage = Stage([front, back], face)
    last = int(140 / speed)
    told = play(landmarker(stage).tracker(smooth=smooth), range(last))
    at_first = {f.track_id: a for a in (0, 1) for f in told[0] if off(stage, f, a, 0) < 0.1}
    assert len(at_first) == 2
    for k in (*range(int(50 / speed)), *range(int(100 / speed) + 4, last)):
        now = {f.track_id: a for a in (0, 1) for f in told[k] if off(stage, f, a, k) < 0.1}
        assert now == at_first, k
    (front_id,) = (number for number, actor in at_first.items() if actor == 0)
    for k, faces in told.items():  # the face in front is never lost
        assert any(f.track_id == front_id and off(stage, f, 0, k) < 0.1 for f in faces), k


def test_a_cut_starts_new_faces_and_the_way_back_the_old_ones(face: Shape) -> None:
    """From frame 128 on another scene is shown, with a face at the very same place."""
    stage = Stage([Actor(still(100, 120, 50))], face)
    tracker = landmarker(stage).tracker()
    order = [*range(100, 120), *range(130, 150), *range(120, 128)]
    told = [tracker.update(picture(k), n / 30) for n, k in enumerate(order)]
    assert [ids(faces) for faces in told] == [[1]] * 20 + [[2]] * 20 + [[1]] * 8
    assert {100, 130, 120} <= set(stage.asked)  # the finder is asked in the first frame of each
    # Long after, the first scene's face is forgotten.
    later = tracker.update(picture(150), 10.0)
    assert ids(later) == [3]


def test_a_flash_ends_no_track(face: Shape) -> None:
    stage = Stage([Actor(still(100))], face)
    tracker = landmarker(stage).tracker()
    play(tracker, range(10))
    tracker.update(np.full((256, 256, 3), 255, np.uint8), 10 / 30)
    assert ids(tracker.update(picture(11), 11 / 30)) == [1]


def test_frames_of_another_size_are_another_video(face: Shape) -> None:
    stage = Stage([Actor(still(100))], face)
    tracker = landmarker(stage).tracker()
    play(tracker, range(5))
    smaller = picture(5)[:200]
    assert ids(tracker.update(smaller, 1.0)) == [2]


# --- what is passed to the network


def test_the_mean_start_passes_no_shape(face: Shape) -> None:
    stage = Stage([Actor(still(100))], face)
    play(landmarker(stage).tracker(), range(3))
    assert all(call["start"] is None and call["hidden"] is None for call in stage.calls)


def test_the_previous_shape_is_the_start_of_known_faces_only(face: Shape) -> None:
    stage = Stage([Actor(still(80)), Actor(lambda k: (180, 128, 50) if k >= 2 else None)], face)
    config = TrackerConfig(start="previous", find_every=2, smooth=False, mirror_every=0)
    told = play(landmarker(stage, accuracy="fast").tracker(config=config), range(4))
    first, second, both, after = stage.calls
    assert first["start"] is None
    np.testing.assert_array_equal(second["weight"], [1])
    # The start lies in the crop where the face was: its own upright and tight crop.
    expected = face * 60
    np.testing.assert_allclose(second["start"][0] - second["start"][0].mean(0), expected - expected.mean(0), atol=0.7)
    np.testing.assert_array_equal(both["weight"], [1, 0])
    np.testing.assert_array_equal(after["weight"], [1, 1])
    assert ids(told[3]) == [1, 2]


def leaning(face: Shape, **options: Any) -> Stage:
    """A network whose answers lie three crop pixels to the right: the mirror image of its mistake is the other way."""
    return Stage([Actor(still(128))], face, lean=(3.0, 0.0), **options)


@pytest.mark.parametrize(("every", "share"), [(0, 1.0), (1, 0.0), (4, 0.0)])
def test_the_mirror_takes_out_what_the_network_leans_to(face: Shape, every: int, share: float) -> None:
    """Also in the frames between the mirrored views, whose crop is the same."""
    stage = leaning(face)
    config = TrackerConfig(smooth=False, mirror_every=every)
    told = play(landmarker(stage).tracker(config=config), range(9))
    mirrored = {0: 0, 1: 9, 4: 3}[every]  # in frames 0, 4 and 8
    assert sum(call["n"] for call in stage.calls) == 9 + 1 + mirrored  # the first frame takes two passes
    for k, (found,) in told.items():
        mean_off = (found.landmarks - stage.shape((128, 128, 50))).mean(axis=0)
        np.testing.assert_allclose(mean_off, [share * 3 * 50 / 60, 0], atol=0.2, err_msg=str(k))


def test_a_new_difference_counts_its_share(face: Shape) -> None:
    """The network changes its mind: the old offset decays by the gain with every mirrored view."""
    stage = leaning(face)
    config = TrackerConfig(smooth=False, mirror_every=1, mirror_gain=0.25)
    tracker = landmarker(stage, accuracy="fast").tracker(config=config)
    play(tracker, range(2))
    stage.lean = (0.0, 0.0)
    told = play(tracker, range(2, 6))
    offs = [(told[k][0].landmarks - stage.shape((128, 128, 50))).mean(axis=0)[0] for k in range(2, 6)]
    np.testing.assert_allclose(offs, [-3 * 50 / 60 * 0.75 ** (n + 1) for n in range(4)], atol=0.2)


def test_the_mirror_is_not_asked_where_it_is_no_second_opinion(face: Shape) -> None:
    """Where every view is averaged with its mirrored one already, and where the state goes from frame to frame."""
    averaged, carrying = leaning(face), leaning(face, recurrence="frame")
    play(landmarker(averaged, accuracy="fast", flip_average=True).tracker(), range(4))
    assert len(averaged.calls) == 8
    play(landmarker(carrying, accuracy="fast").tracker(), range(4))
    assert [call["n"] for call in carrying.calls] == [1] * 4


def test_the_state_is_carried_for_weights_that_were_trained_for_it(face: Shape) -> None:
    stage = Stage([Actor(still(80)), Actor(lambda k: (180, 128, 50) if k >= 2 else None)], face, recurrence="frame")
    play(landmarker(stage, accuracy="fast").tracker(find_every=2), range(4))
    hidden = [call["hidden"] for call in stage.calls]
    assert hidden[0] is None
    np.testing.assert_array_equal(hidden[1], [[1] * 4])  # what call number 1 left
    np.testing.assert_array_equal(hidden[2], [[2] * 4, [0] * 4])  # a new face starts from nothing
    np.testing.assert_array_equal(hidden[3], [[3] * 4, [3] * 4])


def test_the_state_of_a_hidden_face_waits(face: Shape) -> None:
    stage = Stage([Actor(still(80), frozenset({10, 11}))], face, recurrence="frame")
    play(landmarker(stage, accuracy="fast").tracker(find_every=100), range(13))
    carried = {n: call["hidden"][0, 0] for n, call in enumerate(stage.calls) if call["hidden"] is not None}
    assert carried[10] == 10  # what frame 9 left; the view of frame 10 fails ...
    assert carried[11] == 10  # ... so what it left is not used


@pytest.mark.parametrize(("iterations", "shift"), [(1, 9), (2, 3), (3, 0), (None, 0)])
def test_fewer_iterations(face: Shape, iterations: int | None, shift: int) -> None:
    stage = Stage([Actor(still(128))], face)
    config = TrackerConfig(smooth=False, iterations=iterations, mirror_every=0)
    (found,) = landmarker(stage, accuracy="fast").tracker(config=config).update(picture(0))
    expected = stage.shape((128, 128, 50)) + shift * 50 / 60
    np.testing.assert_allclose(found.landmarks, expected, atol=0.3)


def test_more_iterations_than_there_are(face: Shape) -> None:
    """Told before the first frame: a command has begun no file yet, and counts no frames."""
    with pytest.raises(InputError, match="at most 3"):
        landmarker(Stage([Actor(still(128))], face)).tracker(iterations=4)


# --- what callers do with faces and frames


def test_faces_are_read_only_and_changed_copies_do_not_disturb_the_tracker(face: Shape) -> None:
    """The same script twice: once undisturbed, once with a caller who tries everything with what it gets."""
    actors = [Actor(lambda k: (80 + k, 120, 50), frozenset({12, 13})), Actor(still(180))]
    stages = [Stage(actors, face, noise=0.4, recurrence=kind) for kind in ("frame", "frame")]
    alone, disturbed = (landmarker(stage).tracker() for stage in stages)
    for k in range(25):
        frame = picture(k)
        expected, faces = alone.update(picture(k)), disturbed.update(frame)
        assert faces == expected
        for found in faces:
            for array in (found.landmarks, found.visibility, found.confidence):
                assert array is not None
                with pytest.raises(ValueError, match="read-only"):
                    array *= 0.5
                copy = array.copy()
                copy *= 0.5  # the caller's own
                array.flags.writeable = True  # whoever insists spoils only that face
                array *= 0.5
        frame[:] = 0  # a camera fills the same array again


def test_faces_of_a_picture_are_read_only(face: Shape) -> None:
    stage = Stage([Actor(still(128))], face)
    tool = landmarker(stage)
    (first,) = tool.detect(picture(0))
    with pytest.raises(ValueError, match="read-only"):
        first.landmarks *= 0.5  # type: ignore[misc]
    (second,) = tool.detect(picture(0))
    assert second == first


def test_frames_in_any_form(face: Shape, tmp_path: Path) -> None:
    stage = Stage([Actor(still(128))], face)
    expected = landmarker(stage).tracker().update(picture(0))
    Image.fromarray(picture(0)).save(tmp_path / "frame.png")
    assert landmarker(stage).tracker().update(tmp_path / "frame.png") == expected
    assert landmarker(stage).tracker().update(picture(0)[:, :, ::-1], channels="BGR") == expected
    assert landmarker(stage).tracker().update(picture(0) / 255, unit_range=True) == expected


def test_a_tracker_of_parts(face: Shape) -> None:
    """A looker and anything that finds faces are enough."""
    stage = Stage([Actor(still(128))], face)
    tracker = FaceTracker(Looker(stage), stage.find, TrackerConfig(smooth=False), passes=1)
    (found,) = tracker.update(picture(0))
    assert off(stage, found, 0, 0) < 0.02
    with pytest.raises(InputError, match="passes: expected at least 1, found 0"):
        FaceTracker(Looker(stage), stage.find, passes=0)


# --- smoothing, times


def test_smoothing_is_that_of_the_filters(face: Shape) -> None:
    place = lambda k: (80 + 2.0 * k, 120, 50)  # noqa: E731
    rough, smooth = (Stage([Actor(place)], face, noise=0.6) for _ in range(2))
    raw = play(landmarker(rough).tracker(smooth=False), range(40))
    told = play(landmarker(smooth).tracker(), range(40))
    memory, filtered = ShapeMemory(), OneEuroShape()
    for k in range(40):
        (seen,), (out,) = raw[k], told[k]
        held = memory(seen.landmarks, k / 30, seen.visibility, seen.confidence)
        np.testing.assert_allclose(out.landmarks, filtered(held, k / 30, seen.confidence), atol=1e-6)


def test_jitter_at_rest_is_less_than_half_and_the_error_no_larger(face: Shape) -> None:
    rough, smooth = (Stage([Actor(still(120))], face, noise=0.4) for _ in range(2))
    raw = np.stack([f[0].landmarks for f in play(landmarker(rough).tracker(smooth=False), range(90)).values()])
    told = np.stack([f[0].landmarks for f in play(landmarker(smooth).tracker(), range(90)).values()])
    truth = smooth.shape((120, 128, 50))
    assert (
        np.linalg.norm(np.diff(told, 2, axis=0), axis=2).mean()
        < 0.35 * np.linalg.norm(np.diff(raw, 2, axis=0), axis=2).mean()
    )
    assert np.abs(told - truth).mean() < np.abs(raw - truth).mean()


def test_the_pixels_steady_a_face_in_fast_motion(robust_weights: Path) -> None:
    """A portrait that is shaken by up to a tenth of its face from frame to frame, localized by the shipped weights."""
    portrait = read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    tool = FaceLandmarker(robust_weights, threads=1)
    truth = FaceLandmarker(robust_weights, accuracy="best", flip_average=True, threads=1).detect(portrait)[0].landmarks
    rng = np.random.default_rng(4)
    places = np.cumsum(np.clip(rng.normal(0, 0.05, (30, 2)), -0.1, 0.1), axis=0) * Box.around(truth).size
    turns = np.cumsum(rng.normal(0, np.deg2rad(1.5), 30))
    matrices = [
        similarity(0.6, turn, truth.mean(axis=0), [160, 150] + 0.6 * place)
        for turn, place in zip(turns, places, strict=True)
    ]

    def errors(config: TrackerConfig) -> Shape:
        tracker = tool.tracker(config=config)
        shown = [cv2.warpAffine(portrait, m, (320, 320), borderMode=cv2.BORDER_REPLICATE) for m in matrices]
        told = [tracker.update(frame.astype(np.uint8, copy=False)) for frame in shown]
        return np.stack([f[0].landmarks - transform_points(m, truth) for f, m in zip(told, matrices, strict=True)])

    carried, foreseen = errors(TrackerConfig()), errors(TrackerConfig(flow=False))
    shaking = [np.linalg.norm(np.diff(e, 2, axis=0), axis=2).mean() for e in (carried, foreseen)]
    assert shaking[0] < 0.6 * shaking[1]
    assert np.linalg.norm(carried, axis=2).mean() < 1.05 * np.linalg.norm(foreseen, axis=2).mean()


@pytest.mark.parametrize(("distance", "carried"), [(100, 2), (30, 0)])
def test_the_flow_carries_no_faces_that_overlap(
    face: Shape, distance: float, carried: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the one in front would take the one behind along."""
    stage = Stage([Actor(still(80)), Actor(still(80 + distance))], face)
    tracker = landmarker(stage).tracker()
    play(tracker, range(3))
    calls: list[Shape] = []
    compute = FaceFlow.__call__

    def counted(self: FaceFlow, before: Anchor, now: Anchor, shape: Shape, seen: Any = None) -> Carried:
        calls.append(shape)
        return compute(self, before, now, shape, seen)

    monkeypatch.setattr(FaceFlow, "__call__", counted)
    assert ids(tracker.update(picture(3), 0.1)) == [1, 2]
    assert len(calls) == carried


def test_frames_without_a_time_follow_the_frame_rate(face: Shape) -> None:
    stages = [Stage([Actor(lambda k: (60 + k, 120, 50))], face) for _ in range(2)]
    timed, counted = landmarker(stages[0]).tracker(), landmarker(stages[1]).tracker(frame_rate=25)
    for k in range(20):
        (one,), (other,) = timed.update(picture(k), k / 25), counted.update(picture(k))
        np.testing.assert_allclose(one.landmarks, other.landmarks, atol=1e-9)


def test_times_may_stand_still_but_not_run_back(face: Shape) -> None:
    tracker = landmarker(Stage([Actor(still(128))], face)).tracker()
    tracker.update(picture(0), 1.0)
    assert ids(tracker.update(picture(1), 1.0)) == [1]
    with pytest.raises(InputError, match=r"not before the last frame's 1\.0"):
        tracker.update(picture(2), 0.9)
    with pytest.raises(InputError, match="seconds"):
        tracker.update(picture(2), float("nan"))


def test_a_pause_of_the_video_is_survived(face: Shape) -> None:
    """Two seconds without a frame; meanwhile the face has moved by its own width."""
    stage = Stage([Actor(lambda k: (80, 120, 50) if k < 20 else (130, 120, 50))], face)
    tracker = landmarker(stage).tracker()
    play(tracker, range(20))
    told = [tracker.update(picture(k), k / 30 + 2) for k in range(20, 24)]
    assert ids(told[-1]) == [1]
    assert off(stage, told[-1][0], 0, 23) < 0.05


def test_reset_starts_over(face: Shape) -> None:
    stage = Stage([Actor(still(128))], face)
    tracker = landmarker(stage).tracker(config=TrackerConfig(memory_s=0.01))
    play(tracker, range(3))
    tracker.reset()
    assert ids(tracker.update(picture(0), 0.0)) == [1]
    assert tracker.schedule.runs == 1


def test_what_is_no_frame_is_refused(face: Shape) -> None:
    tracker = landmarker(Stage([], face)).tracker()
    with pytest.raises(InputError, match="picture"):
        tracker.update(np.zeros((5, 5), np.uint8))


def test_a_frame_rate_of_nothing_is_refused(face: Shape) -> None:
    with pytest.raises(InputError, match="frame_rate"):
        landmarker(Stage([], face)).tracker(frame_rate=0)


def test_the_script_itself(face: Shape) -> None:
    """The fake localizer reads crops rightly, also of the other scene and turned ones."""
    stage = Stage([Actor(still(128, 120, 60))], face)
    for k in (3, 200):
        matrix = cv2.getRotationMatrix2D((128, 120), 12, 1.0)
        matrix[:, 2] += np.array([47.5 - 128, 47.5 - 120])
        crop = cv2.warpAffine(picture(k), matrix, (96, 96), borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
        shape, error, _ = stage._answer(crop)
        expected = stage.shape((128, 120, 60)) @ matrix[:, :2].T + matrix[:, 2]
        np.testing.assert_allclose(shape, expected, atol=0.2)
        assert error < 0.01


def test_a_face_tells_its_number_only_in_video(face: Shape) -> None:
    stage = Stage([Actor(still(128))], face)
    (followed,) = landmarker(stage).tracker().update(picture(0))
    (single,) = landmarker(stage).detect(picture(0))
    assert followed.to_dict()["track_id"] == 1
    assert single.track_id is None
    assert "track_id" not in single.to_dict()


def test_the_shipped_weights_carry_no_state(robust_weights: Path) -> None:
    assert OnnxLocalizer(robust_weights, threads=1).recurrence == "iteration"


@pytest.mark.parametrize(("turn", "tilt"), [(0, 0.0), (1, 0.3)])
@CASES
def test_a_new_face_may_lie_upside_down_as_in_a_picture(
    fake_localizer: Any, face: Shape, turn: int, tilt: float,
    score: float, error: float, overturned: float, views: int, kept: str,
) -> None:  # fmt: skip
    raw, fit = Box(80, 90, 160, 170), BoxFit(dx=0.05, dy=0.2, sx=0.75, sy=0.75)
    lies = FoundFace(fit.apply(raw, turn, tilt), score, turn=turn, tilt=tilt)
    answer = Views(face, error, overturned)
    looker, config = Looker(fake_localizer(answer)), TrackerConfig(mirror_every=0, smooth=False)
    (found,) = FaceTracker(looker, lambda image: [lies], config, passes=1, fit=fit).update(picture(0))
    answer.check(found.landmarks, [lies.box, fit.apply(raw, (turn + 2) % 4, tilt)], lies.angle, views, kept)

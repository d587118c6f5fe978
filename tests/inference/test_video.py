"""A whole video through a tracker: its outcome, its records, its drawn frames."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.face import Face, Faces
from srn.inference.video import TrackedVideo, track_video
from srn.media.ffmpeg import UNTOLD
from srn.media.video_reading import TimedFrame, open_video
from srn.media.video_writing import VideoWriter

SIZES = {(64, 96): None}


class Video:
    """Ten frames, then perhaps an error."""

    frame_rate, time_base, length, has_sound, colors = 10.0, Fraction(1, 1000), 10, False, UNTOLD

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error

    def __iter__(self) -> Iterator[TimedFrame]:
        for k in range(10):
            yield TimedFrame(k, k / 10, np.full((64, 96, 3), 90, np.uint8))
        if self.error is not None:
            raise self.error

    def close(self) -> None: ...


class Tracker:
    """One face; from the fifth frame on it has a new number."""

    def __init__(self, face: npt.NDArray[np.float64]) -> None:
        self.shape, self.frames = face * 30 + 40, 0

    def update(self, frame: Any, time_s: float | None = None) -> Faces:
        self.frames += 1
        return Faces([Face(self.shape, None, None, Box.around(self.shape), 0.9, IBUG_68, 1 + (self.frames > 4))])


@pytest.fixture
def tracker(face: npt.NDArray[np.float64]) -> Any:
    return Tracker(face)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, TrackedVideo(10, Counter({1: 4, 2: 6}), sizes=SIZES)),
        (KeyboardInterrupt(), TrackedVideo(10, Counter({1: 4, 2: 6}), interrupted=True, sizes=SIZES)),
        (DataError("cut off"), TrackedVideo(10, Counter({1: 4, 2: 6}), problem="cut off", sizes=SIZES)),
    ],
    ids=["whole", "interrupted", "broken"],
)
def test_the_outcome(tracker: Any, error: BaseException | None, expected: TrackedVideo) -> None:
    records: list[Any] = []
    steps: list[None] = []
    done = track_video(Video(error), tracker, write_record=records.append, progress=lambda: steps.append(None))
    assert done == expected
    assert done.people == 1  # the first was seen in four frames only
    assert [record["frame"] for record in records] == list(range(10))
    assert [record["time_s"] for record in records] == [k / 10 for k in range(10)]
    assert [record["faces"][0]["track_id"] for record in records] == [1] * 4 + [2] * 6
    assert len(steps) == 10


def test_a_limit_ends_the_video(tracker: Any) -> None:
    assert track_video(Video(), tracker, limit=3) == TrackedVideo(3, Counter({1: 3}), sizes=SIZES)
    assert tracker.frames == 3


def test_frames_of_another_size_say_theirs(tracker: Any) -> None:
    """Their points are pixels of another frame than the first."""

    class Changing(Video):
        def __iter__(self) -> Iterator[TimedFrame]:
            for k, size in enumerate([(64, 96), (96, 64), (64, 96)]):
                yield TimedFrame(k, k / 10, np.full((*size, 3), 90, np.uint8))

    records: list[Any] = []
    assert list(track_video(Changing(), tracker, write_record=records.append).sizes) == [(64, 96), (96, 64)]
    assert [(one.get("width"), one.get("height")) for one in records] == [(None, None), (64, 96), (None, None)]


def test_the_frames_are_written_with_their_faces_drawn(tracker: Any, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10.0) as writer:
        track_video(Video(), tracker, writer=writer)
    frames = list(open_video(tmp_path / "a.mp4"))
    assert len(frames) == 10
    assert (np.abs(frames[3].image.astype(int) - 90).max(axis=2) > 60).mean() > 0.01


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("cut off")], ids=["interrupted", "broken"])
def test_a_video_that_ends_early_keeps_all_frames_so_far(tracker: Any, tmp_path: Path, error: BaseException) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10.0) as writer:
        track_video(Video(error), tracker, writer=writer)
    assert len(list(open_video(tmp_path / "a.mp4"))) == 10


def test_a_frame_that_cannot_be_written_ends_the_video(
    tracker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, write = list[float](), VideoWriter.write

    def fails(self: VideoWriter, image: Any, time_s: float, *more: Any) -> None:
        if time_s >= 0.5:
            raise DataError("the disk is full")
        written.append(time_s)
        write(self, image, time_s, *more)

    monkeypatch.setattr(VideoWriter, "write", fails)
    with VideoWriter(tmp_path / "a.mp4", 10.0) as writer:
        done = track_video(Video(), tracker, writer=writer)
    assert written == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert done.problem == "the disk is full"
    assert done.frames in (6, 7)  # the next one may have been tracked meanwhile
    assert len(list(open_video(tmp_path / "a.mp4"))) == 5


def test_a_window_is_written_by_the_thread_that_opened_it(tracker: Any) -> None:
    threads = set[int]()

    class Window:
        def write(self, image: Any, time_s: float, pixel_aspect: Fraction = Fraction(1)) -> None:
            threads.add(threading.get_ident())

        def complete(self) -> None:
            threads.add(threading.get_ident())

    track_video(Video(), tracker, writer=Window())
    assert threads == {threading.get_ident()}

"""Covering videos: a face that is missed is covered in the frames around, and every frame comes back in order."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.face import Face, Faces
from srn.inference.face_finder import FoundFace
from srn.inference.landmarker import FaceLandmarker
from srn.media.pictures import read_image
from srn.media.video_reading import TimedFrame, open_video
from srn.media.video_writing import VideoWriter
from srn.uses import anonymize
from srn.uses.anonymize import SPREAD_S, VideoCover, cautious_landmarker, cover_video
from srn.uses.cover import FILL, Cover

Shape = npt.NDArray[np.float64]
RATE = 10.0


class Landmarker:
    """Its tracker returns what it is told, frame by frame: faces, and what the face finder has found."""

    def __init__(self, faces: Sequence[Sequence[Face]], found: Sequence[list[FoundFace]] = ()) -> None:
        self.faces, self.waiting = list(faces), list(found)

    def tracker(self, **options: Any) -> Landmarker:
        return self

    def update(self, image: npt.NDArray[np.uint8], time_s: float) -> Faces:
        self.found = self.waiting.pop(0) if self.waiting else []
        return Faces(self.faces.pop(0))


def frames(count: int) -> list[TimedFrame]:
    return [TimedFrame(k, k / RATE, np.full((200, 200, 3), 200, np.uint8)) for k in range(count)]


def at(face: Shape, x: float, number: int = 1, state: Any = "seen") -> Face:
    shape = face * 40 + [x, 100]
    return Face(shape, None, np.ones(68, np.float32), Box.around(shape), 0.9, IBUG_68, number, state=state)


def covered(frames_in: Sequence[TimedFrame], landmarker: Any) -> list[TimedFrame]:
    cover = VideoCover(landmarker, Cover(style="fill"), frame_rate=RATE)
    done = [one for frame in frames_in for one in cover.push(frame)] + list(cover.finish())
    assert [frame.number for frame in done] == [frame.number for frame in frames_in]
    return done


def is_covered(frame: TimedFrame, x: float, y: float = 100) -> bool:
    return bool((frame.image[round(y), round(x)] == FILL).all())


def test_a_face_is_covered_before_it_is_found_and_after_it_is_lost(face: Shape) -> None:
    """Found in frame 10 of 21 alone: covered half a second before and after, and with a margin that grows."""
    done = covered(frames(21), Landmarker([[at(face, 100)] if k == 10 else [] for k in range(21)]))

    inside = [is_covered(frame, 100) for frame in done]
    assert inside == [abs(k - 10) / RATE <= SPREAD_S for k in range(21)]
    areas = [int((frame.image == FILL).all(axis=2).sum()) for frame in done]
    assert areas[5] > areas[8] > areas[10] > 0
    assert areas[5:10] == pytest.approx(areas[15:10:-1], rel=0.02)


def test_a_predicted_face_is_covered_where_it_was_and_will_be(face: Shape) -> None:
    """Seen at 50, predicted at 60 while it is at 150: all three places are covered."""
    states = [at(face, 50), at(face, 60, state="predicted"), at(face, 150)]
    done = covered(frames(3), Landmarker([[one] for one in states]))

    assert is_covered(done[1], 50)
    assert is_covered(done[1], 60)
    assert is_covered(covered(frames(3), Landmarker([[at(face, 50)], [], [at(face, 150)]]))[1], 50)


def test_a_find_without_a_track_is_covered() -> None:
    """Its landmarks convinced nobody."""
    found: list[list[FoundFace]] = [[] for _ in range(12)]
    found[6] = [FoundFace(Box(80, 80, 120, 120), 0.2)]
    done = covered(frames(12), Landmarker([[]] * 12, found))

    assert [is_covered(frame, 100) for frame in done] == [abs(k - 6) <= 5 for k in range(12)]


def test_large_frames_wait_less(face: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anonymize, "LARGEST_WAIT", 2 * 200 * 200 * 3)
    done = covered(frames(14), Landmarker([[at(face, 100)] if k == 10 else [] for k in range(14)]))
    assert [is_covered(frame, 100) for frame in done[:11]] == [False] * 8 + [True] * 3


def test_a_broken_video_keeps_its_covered_frames(face: Shape, tmp_path: Path) -> None:
    class Reader:
        frame_rate, length = RATE, None

        def __iter__(self) -> Any:
            yield from frames(6)
            raise DataError.at("clip.mp4", "20 frames", "6")

    reader: Any = Reader()
    landmarker: Any = Landmarker([[at(face, 100)]] * 6)
    with VideoWriter(tmp_path / "out.mp4", RATE) as writer:
        done = cover_video(reader, landmarker, writer, Cover(style="fill"))
    assert (done.frames, done.tracks, done.bare_frames) == (6, {1}, 0)
    assert done.problem == "clip.mp4: expected 20 frames, found 6"
    written = list(open_video(tmp_path / "out.mp4"))
    assert len(written) == 6
    assert all(np.abs(frame.image[100, 100].astype(int) - FILL).max() < 12 for frame in written)


def test_a_masked_face_that_only_its_landmarks_convince_of_is_covered(robust_weights: Path, shared_data: Path) -> None:
    """The finder's score of it is 0.15; the cautious search alone finds two other places."""
    image = read_image(shared_data / "masked_300W" / "ibug" / "image_018.jpg")
    (usual,) = FaceLandmarker(threads=1).detect(image)
    found = cautious_landmarker(threads=1).detect(image)
    assert max(usual.box.iou(face.box) for face in found) > 0.7


def test_the_cautious_finder_finds_what_the_usual_one_does(robust_weights: Path, portraits: list[Any]) -> None:
    landmarker, usual = cautious_landmarker(threads=1), FaceLandmarker(threads=1)
    for portrait in portraits[:1]:
        found, known = landmarker.detect(portrait.image), usual.detect(portrait.image)
        assert len(found) >= len(known) == 1
        assert max(face.box.iou(known[0].box) for face in found) > 0.8

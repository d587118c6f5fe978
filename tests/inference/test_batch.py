"""Many pictures: order, own boxes, unreadable files, and that an interrupted run keeps its tables."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import DataError, InputError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.batch import (
    PICTURES_AT_ONCE,
    Detection,
    DetectionWriter,
    TrackedVideo,
    detect_pictures,
    track_video,
)
from srn.inference.face import Face, Faces
from srn.inference.face_finder import BoxFit, FoundFace, LandmarkBoxFinder
from srn.inference.landmarker import FaceLandmarker
from srn.media.boxes import PictureBoxes
from srn.media.listing import PictureFile, pictures_in
from srn.media.pictures import write_image
from srn.media.video_reading import TimedFrame, open_video
from srn.media.video_writing import VideoWriter

BOX = Box(70, 70, 180, 190)


@pytest.fixture
def landmarker(true_localizer: Callable[..., Any], face: npt.NDArray[np.float64]) -> FaceLandmarker:
    return FaceLandmarker(localizer=true_localizer({0: face * 100 + 128}), passes=1)


@pytest.fixture
def pictures(tmp_path: Path) -> list[PictureFile]:
    """More than fit in one batch; the third cannot be read."""
    y, x = np.mgrid[:256, :256]
    image = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    for number in range(PICTURES_AT_ONCE + 3):
        write_image(tmp_path / "in" / f"{number:02}.png", image)
    (tmp_path / "in" / "02.png").write_bytes(b"broken")
    return pictures_in([tmp_path / "in"]).pictures


def test_every_picture_gives_its_faces_or_its_error(landmarker: FaceLandmarker, pictures: list[PictureFile]) -> None:
    outcomes = list(detect_pictures(landmarker, pictures, PictureBoxes({"01.png": [BOX, BOX], "09.png": [BOX]})))
    assert len(outcomes) == len(pictures)
    (error,) = (outcome for outcome in outcomes if isinstance(outcome, DataError))
    assert "02.png: expected a picture" in str(error)
    detections = [outcome for outcome in outcomes if isinstance(outcome, Detection)]
    assert [found.picture for found in detections] == [p for p in pictures if p.stem.name != "02"]
    assert {found.picture.stem.name: len(found.faces) for found in detections if found.faces} == {"01": 2, "09": 1}
    assert detections[0].image.shape == (256, 256, 3)


def test_faces_below_the_score_are_left_out(landmarker: FaceLandmarker, pictures: list[PictureFile]) -> None:
    for min_score, count in ((1.0, 1), (1.01, 0)):  # a given box has the score 1
        (found,) = detect_pictures(landmarker, pictures[:1], PictureBoxes({"00.png": [BOX]}), min_score=min_score)
        assert isinstance(found, Detection)
        assert len(found.faces) == count


@pytest.mark.parametrize(
    ("min_confidence", "own_boxes", "kept"), [(None, False, 1), (None, True, 3), (0.0, False, 3), (0.9, True, 0)]
)
def test_doubtful_faces_are_left_out_and_counted(
    fake_localizer: Any, face: npt.NDArray[np.float64], pictures: list[PictureFile],
    min_confidence: float | None, own_boxes: bool, kept: int,
) -> None:  # fmt: skip
    boxes = [Box(20, 20, 90, 90), Box(100, 20, 170, 90), Box(100, 120, 170, 190)]

    class Finder:
        def find(self, image: Any) -> list[FoundFace]:
            return [FoundFace(box, 0.9) for box in boxes]

    def answer(crop: npt.NDArray[np.uint8]) -> Any:
        sure = np.median(crop[..., 0]) < 95  # the first box lies at the left
        return face * 60 + 47.5, np.ones(68), np.full(68, 0.03 if sure else 0.4)

    landmarker = FaceLandmarker(
        localizer=fake_localizer(answer), face_finder=LandmarkBoxFinder(Finder(), BoxFit()), passes=1
    )
    given = PictureBoxes({"00.png": boxes}) if own_boxes else None
    (found,) = detect_pictures(landmarker, pictures[:1], given, min_confidence=min_confidence)
    assert isinstance(found, Detection)
    assert (len(found.faces), found.left_out) == (kept, 3 - kept)
    with DetectionWriter(pictures[:1], None) as writer:
        writer.add(found)
    assert writer.records[0].get("left_out", 0) == 3 - kept


def test_a_box_outside_its_picture_is_named_and_costs_no_other(
    landmarker: FaceLandmarker, pictures: list[PictureFile]
) -> None:
    boxes = PictureBoxes({"00.png": [Box(5000, 5000, 5100, 5100)], "01.png": [BOX]})
    outcomes = list(detect_pictures(landmarker, pictures[:2], boxes))
    (error,) = (outcome for outcome in outcomes if isinstance(outcome, DataError))
    assert "00.png" in str(error)
    assert "(5000, 5000, 5100, 5100)" in str(error)
    assert [len(found.faces) for found in outcomes if isinstance(found, Detection)] == [1]


@pytest.mark.parametrize(("kind", "name"), [("csv", "landmarks.csv"), ("coco", "landmarks.json")])
def test_an_interrupted_run_keeps_its_tables(
    landmarker: FaceLandmarker, pictures: list[PictureFile], tmp_path: Path, kind: Any, name: str
) -> None:
    def interrupted() -> None:
        with DetectionWriter(pictures, tmp_path / "out", kind, overlay=False, json_to=tmp_path / "a.json") as writer:
            for found in detect_pictures(landmarker, pictures, PictureBoxes({"01.png": [BOX]})):
                if isinstance(found, DataError):
                    continue
                writer.add(found)
                if found.picture.stem.name == "01":
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    images = json.loads((tmp_path / "a.json").read_text())["images"]
    assert [len(image["faces"]) for image in images] == [0, 1]
    assert [path.name for path in (tmp_path / "out").iterdir()] == [name]


@pytest.mark.parametrize("kind", ["pts", "csv", "coco"])
def test_formats_other_than_json_need_a_folder(kind: Any) -> None:
    with pytest.raises(InputError, match=f"--format {kind}: expected --out DIR to write into, found none"):
        DetectionWriter([], None, kind)


def detected(landmarker: FaceLandmarker, writer: DetectionWriter, pictures: list[PictureFile]) -> list[str]:
    """Detect and write everything; return all problems."""
    problems = []
    with writer:
        for found in detect_pictures(landmarker, pictures, PictureBoxes({"00.png": [BOX], "01.png": [BOX]})):
            if isinstance(found, DataError):
                problems.append(str(found))
            else:
                writer.add(found)
    return [*problems, *writer.problems]


@pytest.mark.parametrize("error", [cv2.error("too wide"), MemoryError("no memory"), RuntimeError("a node failed")])
def test_a_picture_that_cannot_be_processed_does_not_end_the_rest(
    landmarker: FaceLandmarker, pictures: list[PictureFile], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    detect_batch = landmarker.detect_batch

    def failing(images: Any, boxes: Any) -> Any:
        if any(len(of_one) == 2 for of_one in boxes):
            raise error
        return detect_batch(images, boxes)

    monkeypatch.setattr(landmarker, "detect_batch", failing)
    outcomes = list(detect_pictures(landmarker, pictures, PictureBoxes({"01.png": [BOX, BOX], "03.png": [BOX]})))
    errors = [str(outcome) for outcome in outcomes if isinstance(outcome, DataError)]
    assert errors[1] == f"{pictures[1].path}: expected a picture that can be processed, found {error}"
    assert len(outcomes) - len(errors) == len(pictures) - 2


def test_lines_are_there_at_once(landmarker: FaceLandmarker, pictures: list[PictureFile], tmp_path: Path) -> None:
    writer = DetectionWriter(pictures, None, json_to=tmp_path / "a.jsonl")
    with writer:
        found = next(iter(detect_pictures(landmarker, pictures, PictureBoxes({"00.png": [BOX]}))))
        assert isinstance(found, DataError)  # the third picture, told as soon as it is read
        for found in detect_pictures(landmarker, pictures[:1], PictureBoxes({"00.png": [BOX]})):
            assert isinstance(found, Detection)
            writer.add(found)
        (growing,) = tmp_path.glob(".a.*")
        assert json.loads(growing.read_text())["path"] == str(pictures[0].path)
    assert json.loads((tmp_path / "a.jsonl").read_text())["faces"]


@pytest.mark.parametrize(
    ("name", "size", "reason"),
    [
        ("x" * 250, (256, 256), "expected a file that can be written, found File name too long"),
        ("wide", (66000, 16), "picture file '.jpg': expected sides of at most 65500 pixels, found 66000"),
    ],
)
def test_an_overlay_that_cannot_be_written_does_not_end_the_rest(
    landmarker: FaceLandmarker,
    pictures: list[PictureFile],
    tmp_path: Path,
    name: str,
    size: tuple[int, int],
    reason: str,
) -> None:
    odd = tmp_path / "odd" / f"{name}.png"
    write_image(odd, np.zeros((size[1], size[0], 3), np.uint8))
    some = pictures_in([odd, *(picture.path for picture in pictures[:2])]).pictures
    writer = DetectionWriter(some, tmp_path / "out", "csv", json_to=tmp_path / "a.json")
    (problem,) = detected(landmarker, writer, some)
    assert problem.startswith(f"{odd}: ")
    assert problem.endswith(reason)
    assert len(json.loads((tmp_path / "a.json").read_text())["images"]) == 3
    names = [path.name for path in (tmp_path / "out").iterdir()]
    assert sorted(names) == ["00_landmarks.jpg", "01_landmarks.jpg", "landmarks.csv"]


@pytest.mark.parametrize("lost", ["a.json", "out/landmarks.csv", "out/00_landmarks.jpg", "out"])
def test_an_output_that_cannot_be_written_leaves_the_others(
    landmarker: FaceLandmarker, pictures: list[PictureFile], tmp_path: Path, lost: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or a permission that was taken away, for one of the files."""
    replace = Path.replace

    def full(self: Path, target: Any) -> Path:
        if target.is_relative_to(tmp_path / lost):
            raise OSError(28, "No space left on device")
        return replace(self, target)

    writer = DetectionWriter(pictures[:2], tmp_path / "out", "csv", json_to=tmp_path / "a.json")
    monkeypatch.setattr(Path, "replace", full)
    problems = detected(landmarker, writer, pictures[:2])
    everything = {"a.json", "out/landmarks.csv", "out/00_landmarks.jpg", "out/01_landmarks.jpg"}
    missing = {name for name in everything if Path(name).is_relative_to(lost)}
    assert len(problems) == len(missing)
    assert all(
        problem.endswith("expected a file that can be written, found No space left on device") for problem in problems
    )
    left = {path.relative_to(tmp_path).as_posix() for path in [*tmp_path.glob("*.json"), *tmp_path.glob("out/*")]}
    assert left == everything - missing


def test_outputs_in_a_folder_destroy_no_input(landmarker: FaceLandmarker, pictures: list[PictureFile]) -> None:
    folder = pictures[0].path.parent
    drawn = folder / "00_landmarks.jpg"
    write_image(drawn, np.zeros((4, 4, 3), np.uint8))
    both = pictures_in([pictures[0].path, drawn]).pictures
    with pytest.raises(InputError, match=r"00_landmarks\.jpg: expected another file than the inputs"):
        DetectionWriter(both, folder)
    DetectionWriter(both[:1], folder)  # an overlay of an earlier run
    (folder / "landmarks.csv").write_text("a.jpg,1,2,3,4")
    for force in (False, True):
        with pytest.raises(InputError, match="expected another file than the inputs"):
            DetectionWriter(both[:1], folder, "csv", inputs=[folder / "landmarks.csv"], force=force)
    with pytest.raises(InputError, match="a file of another kind"):
        DetectionWriter(both[:1], folder, "csv")
    DetectionWriter(both[:1], folder, "csv", force=True)


# --- a whole video through a tracker


class Video:
    """Ten frames, then perhaps an error."""

    frame_rate, time_base, length = 10.0, Fraction(1, 1000), 10

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
        (None, TrackedVideo(10, Counter({1: 4, 2: 6}))),
        (KeyboardInterrupt(), TrackedVideo(10, Counter({1: 4, 2: 6}), interrupted=True)),
        (DataError("cut off"), TrackedVideo(10, Counter({1: 4, 2: 6}), problem="cut off")),
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
    assert track_video(Video(), tracker, limit=3) == TrackedVideo(3, Counter({1: 3}))
    assert tracker.frames == 3


def test_the_frames_are_written_with_their_faces_drawn(tracker: Any, tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.mp4", 10.0) as writer:
        track_video(Video(), tracker, writer=writer)
    frames = list(open_video(tmp_path / "a.mp4"))
    assert len(frames) == 10
    assert (np.abs(frames[3].image.astype(int) - 90).max(axis=2) > 60).mean() > 0.01

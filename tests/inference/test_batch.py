"""Many pictures: order, own boxes, unreadable files, batches, and memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import DataError
from srn.face.geometry import Box
from srn.inference import batch as batch_module
from srn.inference.batch import BLOCK, Choice, Detection, detect_pictures
from srn.inference.box_fit import BoxFit
from srn.inference.face_finder import FoundFace, LandmarkBoxFinder
from srn.inference.landmarker import FaceLandmarker
from srn.media.boxes import PictureBoxes
from srn.media.listing import PictureFile, pictures_in
from srn.media.pictures import decode_picture, write_image

BOX = Box(70, 70, 180, 190)
BYTES = 256 * 256 * 3  # of a decoded picture


@pytest.fixture
def landmarker(true_localizer: Callable[..., Any], face: npt.NDArray[np.float64]) -> FaceLandmarker:
    return FaceLandmarker(localizer=true_localizer({0: face * 100 + 128}), accuracy="fast")


def made_pictures(folder: Path, count: int) -> list[PictureFile]:
    y, x = np.mgrid[:256, :256]
    image = np.stack([x, y, np.zeros_like(x)], -1).astype(np.uint8)
    for number in range(count):
        write_image(folder / f"{number:02}.png", image)
    return pictures_in([folder]).pictures


@pytest.fixture
def pictures(tmp_path: Path) -> list[PictureFile]:
    """Eleven; the third cannot be read."""
    made_pictures(tmp_path / "in", 11)
    (tmp_path / "in" / "02.png").write_bytes(b"broken")
    return pictures_in([tmp_path / "in"]).pictures


def batches(
    landmarker: FaceLandmarker, pictures: list[PictureFile], boxes: dict[str, Any] | None = None, **options: Any
) -> Iterator[list[Detection | DataError]]:
    choice = Choice(None if boxes is None else PictureBoxes(boxes), **{
        name: options.pop(name) for name in ("min_score", "min_confidence") if name in options
    })  # fmt: skip
    return detect_pictures(landmarker, pictures, choice, lambda found: found, **options)


def outcomes_of(*arguments: Any, **options: Any) -> list[Detection | DataError]:
    return [one for batch in batches(*arguments, **options) for one in batch]


def test_every_picture_gives_its_faces_or_its_error(landmarker: FaceLandmarker, pictures: list[PictureFile]) -> None:
    outcomes = outcomes_of(landmarker, pictures, {"01.png": [BOX, BOX], "09.png": [BOX]})
    assert [one.picture if isinstance(one, Detection) else None for one in outcomes] == [
        picture if picture.stem.name != "02" else None for picture in pictures
    ]
    assert "02.png: expected a picture" in str(outcomes[2])
    detections = [one for one in outcomes if isinstance(one, Detection)]
    assert {found.picture.stem.name: len(found.faces) for found in detections if found.faces} == {"01": 2, "09": 1}
    assert detections[0].image.shape == (256, 256, 3)


def test_faces_below_the_score_are_left_out(landmarker: FaceLandmarker, pictures: list[PictureFile]) -> None:
    for min_score, count in ((1.0, 1), (1.01, 0)):  # a given box has the score 1
        (found,) = outcomes_of(landmarker, pictures[:1], {"00.png": [BOX]}, min_score=min_score)
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
        localizer=fake_localizer(answer), face_finder=LandmarkBoxFinder(Finder(), BoxFit()), accuracy="fast"
    )
    given = {"00.png": boxes} if own_boxes else None
    (found,) = outcomes_of(landmarker, pictures[:1], given, min_confidence=min_confidence)
    assert isinstance(found, Detection)
    assert (len(found.faces), found.left_out) == (kept, 3 - kept)


def test_a_box_outside_its_picture_is_named_and_costs_no_other(
    landmarker: FaceLandmarker, pictures: list[PictureFile]
) -> None:
    far = Box(5000, 5000, 5100, 5100)
    error, found = outcomes_of(landmarker, pictures[:2], {"00.png": [far], "01.png": [BOX]})
    assert isinstance(found, Detection)
    assert "00.png" in str(error)
    assert "(5000, 5000, 5100, 5100)" in str(error)
    assert len(found.faces) == 1


@pytest.mark.parametrize("error", [cv2.error("too wide"), RuntimeError("a node failed")])
def test_a_picture_that_cannot_be_processed_does_not_end_the_rest(
    landmarker: FaceLandmarker, pictures: list[PictureFile], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    detect_batch = landmarker.detect_batch

    def failing(images: Any, boxes: Any) -> Any:
        if any(len(of_one) == 2 for of_one in boxes):
            raise error
        return detect_batch(images, boxes)

    monkeypatch.setattr(landmarker, "detect_batch", failing)
    told: list[str] = []
    boxes = {"01.png": [BOX, BOX], "03.png": [BOX]}
    outcomes = outcomes_of(landmarker, pictures, boxes, tell=told.append)
    assert str(outcomes[1]) == f"{pictures[1].path}: expected a picture that can be processed, found {error}"
    assert sum(isinstance(one, Detection) for one in outcomes) == len(pictures) - 2
    assert told == []


def test_batches_depend_on_the_place_in_the_list_alone(landmarker: FaceLandmarker, tmp_path: Path) -> None:
    pictures = made_pictures(tmp_path / "in", 2 * BLOCK + 5)
    whole = list(batches(landmarker, pictures, {}))
    assert [len(batch) for batch in whole] == [BLOCK, BLOCK, 5]
    done = {picture.stem for picture in pictures[: BLOCK - 3]}
    rest = list(batches(landmarker, pictures, {}, finished=done))
    assert [len(batch) for batch in rest] == [3, BLOCK, 5]


def test_batches_share_the_memory(
    landmarker: FaceLandmarker, pictures: list[PictureFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten pictures, room for five: a batch of two is decoded while one of two is detected."""
    alive, most = 0, 0
    decode, detect = decode_picture, landmarker.detect_batch

    def decoded(content: bytes, name: Any) -> Any:
        nonlocal alive, most
        alive += 1
        most = max(most, alive)
        return decode(content, name)

    def finish(found: Detection) -> str:
        nonlocal alive
        alive -= 1
        return found.picture.stem.name

    sizes: list[int] = []

    def counted(images: Any, boxes: Any) -> Any:
        sizes.append(len(images))
        return detect(images, boxes)

    monkeypatch.setattr(batch_module, "decode_picture", decoded)
    monkeypatch.setattr(landmarker, "detect_batch", counted)
    readable = [picture for picture in pictures if picture.stem.name != "02"]
    choice = Choice(PictureBoxes({}))
    found = list(detect_pictures(landmarker, readable, choice, finish, memory=5 * BYTES))
    assert [name for batch in found for name in batch] == [picture.stem.name for picture in readable]
    assert sizes == [2] * 5
    assert most <= 5
    assert [len(batch) for batch in detect_pictures(landmarker, readable[:3], choice, finish, memory=BYTES // 2)] == [
        1, 1, 1,
    ]  # fmt: skip


@pytest.mark.parametrize(
    "error", [MemoryError("no memory"), RuntimeError("Failed to allocate memory for requested buffer of size 9")]
)
def test_where_memory_ends_the_batch_is_smaller_and_nothing_is_lost(
    landmarker: FaceLandmarker, pictures: list[PictureFile], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    detect_batch = landmarker.detect_batch

    def short_of_memory(images: Any, boxes: Any) -> Any:
        if len(images) > 3:
            raise error
        return detect_batch(images, boxes)

    localize = landmarker._localize

    def short_of_memory_for_faces(tasks: Any) -> Any:
        if len(tasks) > 4:
            raise error
        return localize(tasks)

    monkeypatch.setattr(landmarker, "detect_batch", short_of_memory)
    monkeypatch.setattr(landmarker, "_localize", short_of_memory_for_faces)
    told: list[str] = []
    boxes = {picture.path.name: [BOX] for picture in pictures} | {"10.png": [BOX] * 9}
    outcomes = outcomes_of(landmarker, pictures, boxes, tell=told.append)
    assert [len(one.faces) for one in outcomes if isinstance(one, Detection)] == [1] * 9 + [9]
    assert told[:2] == [
        f"no memory for {count} pictures at once: from now on at most {count // 2}" for count in (10, 5)
    ]
    assert told[-1] == "no memory for 16 faces at once: from now on at most 2"  # nine at once, four, two


def test_a_picture_without_memory_to_decode_or_finish_is_tried_again(
    landmarker: FaceLandmarker, pictures: list[PictureFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: set[str] = set()

    def once(name: str) -> None:
        if name not in failed:
            failed.add(name)
            raise MemoryError("no memory")

    def decoded(content: bytes, name: Path) -> Any:
        once(name.name)
        return decode_picture(content, name)

    def finish(found: Detection) -> str:
        once(found.picture.stem.name)
        return found.picture.stem.name

    monkeypatch.setattr(batch_module, "decode_picture", decoded)
    told: list[str] = []
    choice = Choice(PictureBoxes({}))
    (found,) = detect_pictures(landmarker, pictures, choice, finish, tell=told.append)
    assert [name for name in found if isinstance(name, str)] == [p.stem.name for p in pictures if p.stem.name != "02"]
    assert told[0] == f"{pictures[0].path}: no memory to decode it beside others; once more"

    def never(path: Path) -> Any:
        raise MemoryError("no memory")

    failed.clear()
    monkeypatch.setattr(batch_module, "read_encoded", never)
    (error, *_) = outcomes_of(landmarker, pictures[:1], {})
    assert str(error) == f"{pictures[0].path}: expected a picture that fits into memory, found no memory"


def test_a_file_of_several_pictures_is_told_once(landmarker: FaceLandmarker, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image", reason="Pillow writes the animation")
    (plain,) = made_pictures(tmp_path, 1)
    frames = [pil.open(plain.path).convert("RGB") for _ in range(2)] + [pil.new("RGB", (256, 256))]
    frames[2].save(tmp_path / "b.png", save_all=True, append_images=frames[:2])
    (tmp_path / "c.gif").write_bytes(b"GIF89a")
    told: list[str] = []
    found = outcomes_of(landmarker, pictures_in([tmp_path]).pictures, tell=told.append)
    line = "b.png: holds 3 pictures, and only the first is read: 'srn track' reads an animation"
    assert told == [str(tmp_path / line)]
    assert [isinstance(one, Detection) and one.pictures for one in found] == [1, 3, False]
    assert isinstance(found[1], Detection)
    assert not found[1].image.any()  # the first

"""Many pictures: order, own boxes, unreadable files, and that an interrupted run keeps its tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import DataError, InputError
from srn.face.geometry import Box
from srn.inference.batch import PICTURES_AT_ONCE, Detection, DetectionWriter, detect_pictures
from srn.inference.landmarker import FaceLandmarker
from srn.media.pictures import PictureFile, pictures_in, write_image

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
    return pictures_in([tmp_path / "in"])


def test_every_picture_gives_its_faces_or_its_error(landmarker: FaceLandmarker, pictures: list[PictureFile]) -> None:
    outcomes = list(detect_pictures(landmarker, pictures, {"01.png": [BOX, BOX], "09.png": [BOX]}))
    assert len(outcomes) == len(pictures)
    (error,) = (outcome for outcome in outcomes if isinstance(outcome, DataError))
    assert "02.png: expected a picture" in str(error)
    detections = [outcome for outcome in outcomes if isinstance(outcome, Detection)]
    assert [found.picture for found in detections] == [p for p in pictures if p.stem.name != "02"]
    assert {found.picture.stem.name: len(found.faces) for found in detections if found.faces} == {"01": 2, "09": 1}
    assert detections[0].image.shape == (256, 256, 3)


def test_faces_below_the_score_are_left_out(landmarker: FaceLandmarker, pictures: list[PictureFile]) -> None:
    for min_score, count in ((1.0, 1), (1.01, 0)):  # a given box has the score 1
        (found,) = detect_pictures(landmarker, pictures[:1], {"00.png": [BOX]}, min_score=min_score)
        assert isinstance(found, Detection)
        assert len(found.faces) == count


@pytest.mark.parametrize(("kind", "name"), [("csv", "landmarks.csv"), ("coco", "landmarks.json")])
def test_an_interrupted_run_keeps_its_tables(
    landmarker: FaceLandmarker, pictures: list[PictureFile], tmp_path: Path, kind: Any, name: str
) -> None:
    def interrupted() -> None:
        with DetectionWriter(pictures, tmp_path / "out", kind, overlay=False, json_to=tmp_path / "a.json") as writer:
            for found in detect_pictures(landmarker, pictures, {"01.png": [BOX]}):
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

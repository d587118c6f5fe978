"""Arguments of another kind than stated: text for a list, one thing for many, arrays for numbers. One line each."""

# mypy: disable-error-code="arg-type, misc, list-item, call-overload, dict-item"
from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn import (
    IBUG_68,
    Box,
    CropSpec,
    Face,
    FaceLandmarker,
    Faces,
    InputError,
    OnnxLocalizer,
    TrackPainter,
    read_image,
)
from srn.inference.box_fit import BoxFit
from srn.inference.face_finder import CenterFaceFinder, LandmarkBoxFinder

IMAGE = np.zeros((120, 160, 3), np.uint8)
BOX = (20, 20, 90, 100)
SHAPE = np.random.default_rng(0).uniform(20, 90, (68, 2))
FACE = Face(SHAPE, None, np.full(68, 0.5, np.float32), Box(*BOX), 0.9, IBUG_68)


class Finder:
    def find(self, image: object) -> list[Any]:
        return []


def named(expected: str, *cases: tuple[Any, str]) -> list[Any]:
    """The argument and what it expects, `NAME: expected WHAT`, for calls with what they find."""
    return [pytest.param(call, f"{expected}, found {found}", id=f"{expected} {found}"[:60]) for call, found in cases]


Call = Callable[[FaceLandmarker], object]
PROVIDERS = "providers: expected a list of names of ONNX Runtime's execution providers"
BOXES = "expected a list of face boxes, each x0, y0, x1, y1"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        *named(
            PROVIDERS,
            (lambda _: FaceLandmarker(providers="CUDA"), "'CUDA'"),
            (lambda _: FaceLandmarker(providers=[1]), "[1]"),
            (lambda _: FaceLandmarker(providers={"CPUExecutionProvider": {}}), "{'CPUExecutionProvider': {}}"),
            (lambda _: FaceLandmarker("a.safetensors", providers=5), "5"),
            (lambda _: OnnxLocalizer(providers="CUDAExecutionProvider"), "'CUDAExecutionProvider'"),
        ),
        *named(
            f"boxes: {BOXES}",
            (lambda mine: mine.detect(IMAGE, boxes=BOX), "a single box: (20, 20, 90, 100)"),
            (lambda mine: mine.detect(IMAGE, boxes=np.array(BOX, float)), "a single box: (np.float64(20.0), "),
            (lambda mine: mine.detect(IMAGE, boxes=Box(*BOX)), "Box(x0=20, y0=20, x1=90, y1=100)"),
            (lambda mine: mine.detect(IMAGE, boxes="20,20,90,100"), "'20,20,90,100'"),
            (lambda mine: mine.detect(IMAGE, boxes={"a.jpg": [BOX]}), "{'a.jpg': [(20, 20, 90, 100)]}"),
            (lambda mine: mine.detect(IMAGE, boxes=Path("boxes.json")), "PosixPath('boxes.json')"),
            (lambda mine: mine.detect(IMAGE, boxes=np.array(5)), "array(5)"),
        ),
        *named(
            f"boxes[1]: {BOXES}",
            (lambda mine: mine.detect_batch([IMAGE] * 2, boxes=[[], BOX]), "a single box: (20, 20, 90, 100)"),
            (lambda mine: mine.detect_batch([IMAGE] * 2, boxes=[[], None]), "None"),
        ),
        *named(
            "boxes: expected a list of face boxes for each picture",
            (lambda mine: mine.detect_batch([IMAGE], boxes=5), "5"),
            (lambda mine: mine.detect_batch([IMAGE], boxes=Box(*BOX)), "Box(x0=20, y0=20, x1=90, y1=100)"),
        ),
        *named(
            "face box: expected four numbers x0, y0, x1, y1",
            (lambda mine: mine.detect(IMAGE, boxes=["1234"]), "'1234'"),
            (lambda mine: mine.detect(IMAGE, boxes=np.zeros((2, 5))), "an array (5,) of float64"),
            (lambda mine: mine.detect(IMAGE, boxes=[FACE]), "Face(ibug68"),
            (lambda _: Box("1", "2", "3", "4"), "('1', '2', '3', '4')"),
        ),
        *named(
            "pictures: expected a list of pictures",
            (lambda mine: mine.detect_batch(IMAGE), "one picture: an array (120, 160, 3) of uint8"),
            (lambda mine: mine.detect_batch(IMAGE[..., 0], channels="GREY"), "one picture: an array (120, 160)"),
            (lambda mine: mine.detect_batch(Path("a.jpg")), "one path: a.jpg"),
            (lambda mine: mine.detect_batch({"a.jpg": IMAGE}), "{'a.jpg': "),
            (lambda mine: mine.detect_batch(None), "None"),
        ),
        *named(
            "flip_average: expected True or False",
            (lambda _: FaceLandmarker(flip_average="no"), "'no'"),
            (lambda _: FaceLandmarker(flip_average=np.array([True, False])), "an array (2,) of bool"),
        ),
        *named("unit_range: expected True or False", (lambda mine: mine.detect(IMAGE, unit_range="no"), "'no'")),
        *named(
            "accuracy: expected one of fast, balanced, best",
            (lambda _: FaceLandmarker(accuracy=np.array(["fast"])), "an array (1,) of <U4"),
            (lambda _: FaceLandmarker(accuracy=["fast"]), "['fast']"),
        ),
        *named(
            "channels: expected one of RGB, BGR, RGBA, BGRA, GREY",
            (lambda mine: mine.detect(IMAGE, channels=np.array(["RGB", "BGR"])), "an array (2,) of <U3"),
        ),
        *named(
            "face_finder: expected an object with find(image)",
            (lambda _: FaceLandmarker(face_finder=Finder), "<class "),
        ),
        *named(
            "localizer: expected a Localizer, which is called with crops",
            (lambda _: FaceLandmarker(localizer=len), "<built-in function len>"),
            (lambda _: FaceLandmarker(localizer=OnnxLocalizer), "<class "),
        ),
        *named("path: expected the path of a file", (lambda _: OnnxLocalizer(["a.onnx"]), "['a.onnx']")),
        *named(
            "picture: expected the path of a file",
            (lambda _: read_image(["a.jpg"]), "['a.jpg']"),
            (lambda _: read_image(IMAGE), "an array (120, 160, 3) of uint8"),
            (lambda _: read_image(b"a.jpg"), "b'a.jpg'"),
        ),
        *named("config: expected a TrackerConfig", (lambda mine: mine.tracker(config={}), "{}")),
        *named(
            "frame_rate: expected frames a second, above 0",
            (lambda mine: mine.tracker(frame_rate="30"), "'30'"),
            (lambda mine: mine.tracker(frame_rate=None), "None"),
            (lambda mine: mine.tracker(frame_rate=0), "0"),
        ),
        *named(
            "time of a frame: expected seconds",
            (lambda mine: mine.tracker().update(IMAGE, "0"), "'0'"),
            (lambda mine: mine.tracker().update(IMAGE, np.zeros(2)), "an array (2,) of float64"),
        ),
        *named(
            "size: expected at most 16384 pixels",
            (lambda _: FACE.aligned_crop(IMAGE, 10**9), "1000000000"),
            (lambda _: FACE.aligned_crop(IMAGE, 10**400), "1000"),
        ),
        *named(
            "Face.landmarks: expected an array of numbers",
            (lambda _: Face.from_dict({**FACE.to_dict(), "landmarks": [[10**400, 1]] * 68}), "list"),
        ),
        *named("Faces: expected a list of faces", (lambda _: Faces(FACE), "Face(ibug68")),
        *named("faces: expected a list of dictionaries made by Face.to_dict", (lambda _: Faces.from_dict(3), "3")),
        *named(
            "annotations: expected a list of COCO key point annotations",
            (lambda _: Faces.from_coco({"a": 1}), "{'a': 1}"),
        ),
        *named(
            "faces: expected a list of faces, each a list of points",
            (lambda _: Faces.from_normalized(None, 9, 9), "None"),
        ),
        *named(
            "table of faces: expected a pandas.DataFrame, as Faces.to_pandas makes it",
            (lambda _: Faces.from_pandas([1]), "'list'"),
        ),
        *named("confidence: expected a number", (lambda _: Faces([FACE]).above(confidence="0.5"), "'0.5'")),
        *named("score: expected a number", (lambda _: Faces([FACE]).above(score=[0.5]), "[0.5]")),
        *named(
            "size: expected a whole number of at least 1",
            (lambda _: FACE.aligned_crop(IMAGE, "64"), "'64'"),
            (lambda _: FACE.aligned_crop(IMAGE, 64.0), "64.0"),
            (lambda _: FACE.aligned_crop(IMAGE, (64, 64)), "(64, 64)"),
        ),
        *named("margin: expected 0 or more", (lambda _: FACE.aligned_crop(IMAGE, 64, margin="a"), "'a'")),
        *named(
            "size of the picture: expected a height and a width of at least 1",
            (lambda _: Faces([FACE]).to_normalized("a", 3), "'a'"),
        ),
        *named(
            "face finder's sizes: expected one or more sizes of at least 32 pixels",
            (lambda _: CenterFaceFinder(sizes=640), "640"),
            (lambda _: CenterFaceFinder(sizes=()), "none"),
            (lambda _: CenterFaceFinder(sizes="160"), "'160'"),
            (lambda _: CenterFaceFinder(sizes=(160, "320")), "'320'"),
        ),
        *named(
            "face finder's threshold: expected a number from 0 to 1",
            (lambda _: CenterFaceFinder(threshold="0.5"), "'0.5'"),
        ),
        *named("max_faces: expected a whole number of at least 1", (lambda _: CenterFaceFinder(max_faces=2.5), "2.5")),
        *named("smallest face: expected at least 8 pixels", (lambda _: CenterFaceFinder(smallest="24"), "'24'")),
        *named("face finder: expected an object with find(image)", (lambda _: LandmarkBoxFinder("a"), "'a'")),
        *named("box fit: expected a BoxFit", (lambda _: LandmarkBoxFinder(Finder(), (0, 0, 1, 1)), "(0, 0, 1, 1)")),
        *named("box fit: expected finite dx, dy and positive sx, sy", (lambda _: BoxFit("a"), "'a'")),
        *named("trace_s: expected seconds, 0 or more", (lambda _: TrackPainter("1"), "'1'")),
        *named("crop size: expected a whole number of at least 1", (lambda _: CropSpec("64", 44.0), "'64'")),
        *named("face size of a crop: expected pixels above 0", (lambda _: CropSpec(64, 0), "0")),
    ],
)
def test_another_kind_is_named_in_one_line(fake_localizer: Any, call: Call, message: str) -> None:
    mine = FaceLandmarker(localizer=fake_localizer(lambda crop: (SHAPE, None, None)))
    with pytest.raises(InputError) as error:
        call(mine)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_scalars_and_arrays_of_numpy_are_numbers_and_lists(fake_localizer: Any) -> None:
    localizer = fake_localizer(lambda crop: (SHAPE, None, None))
    mine = FaceLandmarker(localizer=localizer, flip_average=np.bool_(False), batch_size=np.int64(2))
    two = np.stack([IMAGE, IMAGE])
    assert [len(faces) for faces in mine.detect_batch(two, boxes=np.array([[BOX], [BOX]]))] == [1, 1]
    assert [len(faces) for faces in mine.detect_batch(two[..., 0], channels="GREY", boxes=[[], [BOX]])] == [0, 1]
    assert len(mine.detect(IMAGE, boxes=np.zeros((0, 4)))) == 0
    assert len(mine.detect(IMAGE, boxes=(box for box in [BOX, list(BOX), Box(*BOX), np.array(BOX)]))) == 4
    tracker = mine.tracker(frame_rate=np.float32(25))
    assert len(tracker.update(IMAGE, np.float32(0))) == len(tracker.update(IMAGE, np.int64(1))) == 0
    assert len(Faces([FACE]).above(confidence=np.float32(0.5), score=np.float64(0.9))) == 1
    assert FACE.aligned_crop(IMAGE, np.int64(32), margin=np.float32(0.1)).shape == (32, 32, 3)
    assert CenterFaceFinder(sizes=(size for size in (320, np.int64(160), 320))).sizes == (160, 320)

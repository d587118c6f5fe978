"""Face finders: behaviour on odd pictures, crowds, turned faces, and what they find on real faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data

from srn.errors import InputError, WeightsError
from srn.face.geometry import Box, ImageArray
from srn.inference.box_fit import BoxFit, measured_fits, measured_point_fits
from srn.inference.face_finder import (
    CenterFaceFinder,
    FaceFinder,
    FoundFace,
    LandmarkBoxFinder,
    YuNetFinder,
    default_fit,
)
from srn.media.pictures import read_image
from srn.media.pts import read_pts

from ..conftest import turn_picture

DATA = Path(__file__).parents[2].parent / "shared" / "data"


PORTRAIT_HEIGHT = 215  # forehead to chin
PORTRAIT_BOX = Box(178, 170, 350, 332)
"""Read off the portrait: brows to chin, jaw to jaw."""


@pytest.fixture(scope="module")
def finder() -> CenterFaceFinder:
    return CenterFaceFinder(threads=1)


@pytest.fixture(scope="module")
def portrait() -> ImageArray:
    """(600, 512, 3): Grace Hopper, public domain, from matplotlib's sample data."""
    return read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))


def describe(faces: list[FoundFace]) -> list[tuple[float, ...]]:
    return [(*face.box.as_array(), face.score) for face in faces]


class TestOddPictures:
    @pytest.mark.parametrize(
        "image",
        [
            np.zeros((480, 640, 3), np.uint8),
            np.full((300, 300, 3), 255, np.uint8),
            np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8),
            cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (400, 500, 3), dtype=np.uint8), (0, 0), 9),
        ],
        ids=["black", "white", "noise", "smooth noise"],
    )
    def test_no_face(self, finder: CenterFaceFinder, image: ImageArray) -> None:
        assert finder.find(image) == []

    @pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (3, 5), (31, 33), (7, 900)])
    def test_tiny_and_thin(self, finder: CenterFaceFinder, size: tuple[int, int]) -> None:
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
        assert finder.find(image) == []

    @pytest.mark.parametrize(
        "image",
        [
            np.zeros((8, 8), np.uint8),
            np.zeros((8, 8, 4), np.uint8),
            np.zeros((8, 8, 3), np.float32),
            np.zeros((0, 8, 3), np.uint8),
            [[0]],
        ],
        ids=["grey", "alpha", "float", "empty", "list"],
    )
    def test_other_arrays_are_refused(self, finder: CenterFaceFinder, image: ImageArray) -> None:
        with pytest.raises(InputError, match=r"expected an array \(H, W, 3\) of uint8"):
            finder.find(image)


class TestPortrait:
    def test_one_face_in_its_place(self, finder: CenterFaceFinder, portrait: ImageArray) -> None:
        (face,) = LandmarkBoxFinder(finder).find(portrait)
        assert face.box.iou(PORTRAIT_BOX) > 0.75
        assert 0.7 < face.score <= 1

    def test_same_answer_every_time(self, finder: CenterFaceFinder, portrait: ImageArray) -> None:
        assert describe(finder.find(portrait)) == describe(finder.find(portrait))

    @pytest.mark.parametrize("factor", [0.3, 3.0])
    def test_box_follows_the_size_of_the_picture(
        self, finder: CenterFaceFinder, portrait: ImageArray, factor: float
    ) -> None:
        (expected,) = finder.find(portrait)
        resized = cv2.resize(portrait, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
        (face,) = finder.find(resized)
        box = Box(*((face.box.as_array() + 0.5) / factor - 0.5))
        assert box.iou(expected.box) > 0.9

    def test_mirrored_picture_mirrors_the_box(self, finder: CenterFaceFinder, portrait: ImageArray) -> None:
        (expected,) = finder.find(portrait)
        (face,) = finder.find(np.ascontiguousarray(portrait[:, ::-1]))
        mirrored = Box(511 - face.box.x1, face.box.y0, 511 - face.box.x0, face.box.y1)
        assert mirrored.iou(expected.box) > 0.9

    def test_two_faces_best_first(self, finder: CenterFaceFinder, portrait: ImageArray) -> None:
        faces = finder.find(np.hstack([portrait, portrait]))
        assert len(faces) == 2
        assert faces[0].score >= faces[1].score
        assert abs(abs(faces[0].box.center[0] - faces[1].box.center[0]) - 512) < 5

    def test_doubtful_faces_only_where_there_is_no_sure_one(
        self, finder: CenterFaceFinder, portrait: ImageArray
    ) -> None:
        generous = CenterFaceFinder(doubtful_threshold=0.1, threads=1)
        assert generous.find(portrait) == finder.find(portrait)
        assert not any(face.doubtful for face in generous.find(portrait))
        (sure, *_) = finder.find(portrait)
        stern = CenterFaceFinder(threshold=0.99, doubtful_threshold=0.1, turned=False, threads=1)
        doubtful = stern.find(portrait)
        assert all(face.doubtful for face in doubtful)
        # The same faces as those of a finder that takes all of them for sure.
        assert doubtful[0].box.iou(sure.box) > 0.8

    def test_face_that_fills_the_picture(self, finder: CenterFaceFinder, portrait: ImageArray) -> None:
        (face,) = LandmarkBoxFinder(finder).find(np.ascontiguousarray(portrait[170:333, 178:351]))
        assert face.box.iou(Box(0, 0, 172, 162)) > 0.6

    def test_small_face_in_a_large_picture(self, finder: CenterFaceFinder, portrait: ImageArray) -> None:
        # A face of 17 pixels in a picture of 1600: 3 pixels in the reduced pictures.
        image = np.full((1200, 1600, 3), 128, np.uint8)
        small = cv2.resize(portrait, (51, 60), interpolation=cv2.INTER_AREA)
        image[700:760, 900:951] = small
        (face,) = LandmarkBoxFinder(finder).find(image)
        corner = np.array([900, 700, 900, 700])
        assert face.box.iou(Box(*(PORTRAIT_BOX.as_array() * 0.1 + corner))) > 0.4


def crowd(portrait: ImageArray, height: int, size: tuple[int, int] = (1500, 2000)) -> tuple[ImageArray, list[Box]]:
    """A grid of 48 portraits with faces of `height` pixels, forehead to chin, on smooth noise; their landmark boxes."""
    noise = np.random.default_rng(0).normal(110, 60, (*size, 3)).astype(np.float32)
    image = np.clip(cv2.GaussianBlur(noise, (0, 0), 5) * 3 - 220, 0, 255).astype(np.uint8)
    scale = height / PORTRAIT_HEIGHT
    small = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    h, w = small.shape[:2]
    boxes = []
    for k in range(48):
        y, x = k // 8 * (size[0] // 6) + 7, k % 8 * (size[1] // 8) + 11
        image[y : y + h, x : x + w] = small
        boxes.append(Box(*(PORTRAIT_BOX.as_array() * scale + np.array([x, y, x, y]))))
    return image, boxes


def found_of(faces: list[FoundFace], boxes: list[Box]) -> float:
    return float(np.mean([any(face.box.iou(box) > 0.4 for face in faces) for box in boxes]))


class TestCrowds:
    @pytest.mark.parametrize("height", [24, 35, 52, 70])
    @pytest.mark.parametrize("front", [False, True], ids=["crowd alone", "a big face in front"])
    def test_every_face_is_found(
        self, finder: CenterFaceFinder, portrait: ImageArray, height: int, front: bool
    ) -> None:
        image, boxes = crowd(portrait, height)
        if front:
            image[700:1300, 700:1212] = portrait
            boxes = [box for box in boxes if not (600 < box.center[0] < 1212 and 640 < box.center[1] < 1300)]
            boxes.append(Box(*(PORTRAIT_BOX.as_array() + np.array([700, 700, 700, 700]))))
        faces = LandmarkBoxFinder(finder).find(image)
        assert found_of(faces, boxes) >= 0.97
        assert len(faces) <= len(boxes) + 3

    def test_small_masked_faces_are_looked_at_twice(self, finder: CenterFaceFinder, portrait: ImageArray) -> None:
        masked = portrait.copy()
        masked[250:390, 160:370] = (190, 210, 225)  # below the eyes
        image, boxes = crowd(masked, 18, (500, 660))
        faces = LandmarkBoxFinder(finder).find(image)
        assert found_of(faces, boxes) >= 0.97  # 0.33 where the region is seen once

    def test_options_say_what_one_wants(self, portrait: ImageArray) -> None:
        image, boxes = crowd(portrait, 40)
        image[700:1300, 700:1212] = portrait
        (largest,) = CenterFaceFinder(max_faces=1, threads=1).find(image)
        assert largest.box.height > 150
        assert len(CenterFaceFinder(max_faces=5, threads=1).find(image)) == 5
        (tall,) = CenterFaceFinder(smallest=100, threads=1).find(image)
        assert tall.box.iou(largest.box) > 0.8
        assert len(CenterFaceFinder(smallest=30, threads=1).find(image)) > len(boxes) / 2


class TestTurned:
    @pytest.mark.parametrize("turn", [0, 1, 2, 3])
    @pytest.mark.parametrize("factor", [1.0, 0.4])
    def test_the_landmark_box_turns_with_the_picture(
        self, finder: CenterFaceFinder, portrait: ImageArray, turn: int, factor: float
    ) -> None:
        image = cv2.resize(portrait, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA).astype(np.uint8)
        (upright,) = LandmarkBoxFinder(finder).find(image)
        turned = np.ascontiguousarray(np.rot90(image, turn))
        (face,) = LandmarkBoxFinder(finder).find(turned)
        assert face.turn == -turn % 4
        expected, (height, width) = upright.box, image.shape[:2]
        for length in [width, height, width][:turn]:  # width of the picture before each turn
            expected = Box(expected.y0, length - 1 - expected.x1, expected.y1, length - 1 - expected.x0)
        assert face.box.iou(expected) > 0.8

    @pytest.mark.parametrize("turn", [1, 2, 3])
    def test_small_faces_that_lie_as_a_large_one_does_are_found(
        self, finder: CenterFaceFinder, portrait: ImageArray, turn: int
    ) -> None:
        other = read_image(Path(__file__).parents[1] / "data" / "astronaut.jpg")
        small = cv2.resize(other, None, fx=0.15, fy=0.15, interpolation=cv2.INTER_AREA).astype(np.uint8)
        image = np.pad(portrait, ((0, 0), (0, 200), (0, 0)), constant_values=90)
        for top in (20, 210, 400):
            image[top : top + len(small), -180 : small.shape[1] - 180] = small
        faces = finder.find(np.ascontiguousarray(np.rot90(image, turn)))
        assert [face.turn for face in faces] == [-turn % 4] * 4

    def test_turned_faces_are_not_wanted(self, portrait: ImageArray) -> None:
        upright = CenterFaceFinder(turned=False, threads=1)
        turned = np.ascontiguousarray(portrait[::-1, ::-1])
        assert all(face.turn == 0 for face in upright.find(turned))

    def test_nothing_in_nothing(self, finder: CenterFaceFinder) -> None:
        assert finder.find(np.full((400, 400, 3), 128, np.uint8)) == []


class TestTilt:
    def angle(self, finder: CenterFaceFinder, image: ImageArray) -> float:
        (face,) = finder.find(np.ascontiguousarray(image))
        assert face.angle == pytest.approx(face.tilt - face.turn * np.pi / 2)
        return float(np.rad2deg(face.angle))

    @pytest.mark.parametrize("degrees", [-115, -20, -10, 10, 25, 110])
    def test_a_turned_picture_is_to_be_turned_back(
        self, finder: CenterFaceFinder, portrait: ImageArray, degrees: float
    ) -> None:
        turned, _ = turn_picture(portrait, np.zeros((1, 2)), degrees)
        change = self.angle(finder, turned) - self.angle(finder, portrait)
        assert (change + degrees + 180) % 360 - 180 == pytest.approx(0, abs=7)

    @pytest.mark.parametrize("degrees", [0, 20])
    def test_a_mirrored_picture_is_turned_the_other_way(
        self, finder: CenterFaceFinder, portrait: ImageArray, degrees: float
    ) -> None:
        turned, _ = turn_picture(portrait, np.zeros((1, 2)), degrees)
        assert self.angle(finder, turned[:, ::-1]) == pytest.approx(-self.angle(finder, turned), abs=3)

    def test_the_size_of_the_picture_does_not_matter(self, finder: CenterFaceFinder, portrait: ImageArray) -> None:
        small = cv2.resize(portrait, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA).astype(np.uint8)
        assert self.angle(finder, small) == pytest.approx(self.angle(finder, portrait), abs=2)

    def test_without_turns_an_upside_down_face_is_not_tilted(self, portrait: ImageArray) -> None:
        found = CenterFaceFinder(turned=False, threads=1, threshold=0.1).find(portrait[::-1, ::-1].copy())
        assert found
        assert found[0].angle == 0


class TestMistakes:
    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"absent\.onnx: expected CenterFace's ONNX file, found No such file"):
            CenterFaceFinder(tmp_path / "absent.onnx")

    def test_broken_file(self, tmp_path: Path) -> None:
        (tmp_path / "broken.onnx").write_bytes(b"not a model")
        with pytest.raises(WeightsError, match=r"broken\.onnx: expected an ONNX model"):
            CenterFaceFinder(tmp_path / "broken.onnx")

    def test_another_model(self, tmp_path: Path) -> None:
        yunet_like(tmp_path / "other.onnx")
        with pytest.raises(WeightsError, match=r"other\.onnx: expected input 'image' and outputs 'heat'"):
            CenterFaceFinder(tmp_path / "other.onnx")

    @pytest.mark.parametrize(
        "options",
        [
            {"sizes": ()},
            {"sizes": (16,)},
            {"smallest": 4},
            {"smallest": float("nan")},
            {"max_faces": 0},
            {"threshold": 2},
            {"max_iou": -1},
            {"threads": 0},
        ],
    )
    def test_options_out_of_range(self, options: dict[str, object]) -> None:
        with pytest.raises(InputError, match=r"face finder's|threads|smallest|max_faces"):
            CenterFaceFinder(**options)  # type: ignore[arg-type]


def yunet_like(path: Path, points: Sequence[float] = (0.0,) * 10) -> None:
    """Write an ONNX file with YuNet's input and outputs that sees a face wherever a 32 x 32 cell is bright all over.

    Only the coarsest of the three strides answers; a face's box is one cell large and starts half a cell before it.
    Its five `points`, x and y in turns, are in cells from there.
    """
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper

    nodes, outputs = [], []
    for stride in (8, 16, 32):
        gain = 1 / 255 if stride == 32 else 0.0
        names = [f"{kind}_{stride}" for kind in ("cls", "obj", "bbox", "kps")]
        nodes += [
            helper.make_node("AveragePool", ["input"], [f"p{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2),
            helper.make_node("Constant", [], [f"g{stride}"], value_floats=[gain]),
            helper.make_node("Constant", [], [f"z{stride}"], value_floats=[0.0]),
            helper.make_node("Constant", [], [f"s{stride}"], value_ints=[1, -1, 1]),
            helper.make_node("ReduceMean", [f"p{stride}"], [f"m{stride}"], axes=[1], keepdims=1),
            helper.make_node("Reshape", [f"m{stride}", f"s{stride}"], [f"r{stride}"]),
            helper.make_node("Mul", [f"r{stride}", f"g{stride}"], [names[0]]),
            helper.make_node("Mul", [f"r{stride}", f"g{stride}"], [names[1]]),
            helper.make_node("Mul", [f"r{stride}", f"z{stride}"], [f"n{stride}"]),
            helper.make_node("Concat", [f"n{stride}"] * 4, [names[2]], axis=2),
            helper.make_node("Concat", [f"n{stride}"] * 10, [f"k{stride}"], axis=2),
            helper.make_node("Constant", [], [f"five{stride}"], value_floats=list(points)),
            helper.make_node("Add", [f"k{stride}", f"five{stride}"], [names[3]]),
        ]
        outputs += [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, channels])
            for name, channels in zip(names, (1, 1, 4, 10), strict=True)
        ]
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, "height", "width"])
    graph = helper.make_graph(nodes, "yunet_like", [image], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    path.write_bytes(model.SerializeToString())


class TestYuNet:
    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(WeightsError, match=r"absent\.onnx: expected a YuNet ONNX file .* found No such file"):
            YuNetFinder(tmp_path / "absent.onnx")

    def test_broken_file(self, tmp_path: Path) -> None:
        (tmp_path / "broken.onnx").write_bytes(b"not a model")
        with pytest.raises(WeightsError, match=r"broken\.onnx: expected a YuNet ONNX file"):
            YuNetFinder(tmp_path / "broken.onnx")

    @pytest.mark.parametrize("size", [31, 128.5, "128", None])
    def test_sizes_that_are_none(self, tmp_path: Path, size: Any) -> None:
        with pytest.raises(InputError, match="face finder's size: expected a whole number of at least 32, found"):
            YuNetFinder(tmp_path / "absent.onnx", size=size)

    def test_bright_cell(self, tmp_path: Path) -> None:
        yunet_like(tmp_path / "model.onnx")
        finder = YuNetFinder(tmp_path / "model.onnx", size=128)
        image = np.zeros((96, 128, 3), np.uint8)
        assert finder.find(image) == []
        image[32:64, 64:96] = 255
        (face,) = finder.find(image)
        np.testing.assert_allclose(face.box.as_array(), np.array([48, 16, 80, 48]) - 0.5)
        assert face.score == pytest.approx(1)
        # Twice the size: reduced to 128 first, then mapped back.
        (face,) = finder.find(image.repeat(2, axis=0).repeat(2, axis=1))
        np.testing.assert_allclose(face.box.as_array(), np.array([96, 32, 160, 96]) - 0.5)
        assert finder.find(np.zeros((1, 1, 3), np.uint8)) == []
        assert (face.turn, face.tilt) == (0, 0.0)  # all five points in one place

    @pytest.mark.parametrize(("degrees", "turn", "tilt"), [(20, 0, -20), (-100, 3, 10)])
    def test_its_five_points_tell_how_the_face_lies(
        self, tmp_path: Path, degrees: float, turn: int, tilt: float
    ) -> None:
        angle = np.deg2rad(degrees)
        upright = np.array([[-0.2, -0.2], [0.2, -0.2], [0, 0], [-0.15, 0.2], [0.15, 0.2]])
        points = upright @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        yunet_like(tmp_path / "model.onnx", points.ravel().tolist())
        image = np.zeros((96, 128, 3), np.uint8)
        image[32:64, 64:96] = 255
        (face,) = YuNetFinder(tmp_path / "model.onnx", size=128).find(image)
        assert (face.turn, np.rad2deg(face.tilt)) == (turn, pytest.approx(tilt, abs=0.5))


@pytest.mark.skipif(not (DATA / "300W").is_dir(), reason="the 300W pictures are not here (../shared/data/300W)")
class TestRealFaces:
    def recall(self, finder: CenterFaceFinder, folder: str, count: int) -> float:
        landmark_finder = LandmarkBoxFinder(finder)
        paths = sorted((DATA / folder).glob("*.pts"))
        hits = []
        for path in paths[:: len(paths) // count][:count]:
            image = read_image(path.with_suffix(".jpg"))
            target = Box.around(read_pts(path))
            hits.append(any(face.box.iou(target) >= 0.5 for face in landmark_finder.find(image)))
        return float(np.mean(hits))

    def test_full_frames(self, finder: CenterFaceFinder) -> None:
        assert self.recall(finder, "300W/helen/testset", 5) == 1
        assert self.recall(finder, "300W/ibug", 5) >= 0.8

    @pytest.mark.skipif(not (DATA / "masked_300W").is_dir(), reason="the masked pictures are not here")
    def test_masked_faces(self, finder: CenterFaceFinder) -> None:
        assert self.recall(finder, "masked_300W/ibug", 6) >= 0.8


# --- box fits, and finders that bring none


PICTURE = np.zeros((100, 100, 3), np.uint8)


class OwnFinder:
    """A bare finder: nothing but `find`."""

    def find(self, image: ImageArray) -> list[FoundFace]:
        return [FoundFace(Box(10, 20, 30, 60), 0.9, doubtful=True)]


def test_a_given_fit_is_used() -> None:
    assert LandmarkBoxFinder(OwnFinder(), BoxFit()).find(PICTURE) == OwnFinder().find(PICTURE)


def test_a_bare_finder_gets_the_fit_of_centerface() -> None:
    finder: FaceFinder = OwnFinder()
    assert default_fit(finder) == measured_fits()["centerface"]
    (found,) = LandmarkBoxFinder(finder).find(PICTURE)
    assert (found.turn, found.tilt, found.angle) == (0, 0.0, 0.0)  # not told
    assert found == FoundFace(measured_fits()["centerface"].apply(Box(10, 20, 30, 60)), 0.9, doubtful=True)


def test_five_points_refine_the_fit_of_the_built_in_finder(finder: CenterFaceFinder) -> None:
    image = read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    (raw,), (found,) = finder.find(image), LandmarkBoxFinder(finder).find(image)
    assert raw.points is not None
    fit = measured_point_fits()["centerface"].of_face(raw.box, raw.points, raw.turn, raw.tilt)
    assert fit is not None
    assert found == replace(raw, box=fit.apply(raw.box, raw.turn, raw.tilt))
    everyone = default_fit(finder)
    (unrefined,) = LandmarkBoxFinder(finder, everyone).find(image)
    assert unrefined.box == everyone.apply(raw.box, raw.turn, raw.tilt)

    class Strange(OwnFinder):
        """Of the built-in finder's kind, with points that no face has."""

        name = finder.name

        def find(self, image: ImageArray) -> list[FoundFace]:
            return [replace(raw, points=raw.points[:1] * 5 if raw.points else None)]

    assert LandmarkBoxFinder(Strange()).find(image)[0].box == unrefined.box


@pytest.mark.parametrize(
    "found",
    [
        None, "face", 3, [None], [(1, 2, 3, 4)], np.zeros((1, 5)), [FoundFace(Box(0, 0, 1, 1), float("nan"))],
        [FoundFace((0, 0, 1, 1), 0.5)], [FoundFace(Box(0, 0, 1, 1), "high")],  # type: ignore[arg-type]
        [FoundFace(Box(0, 0, 1, 1), 0.5, tilt=float("inf"))], [FoundFace(Box(0, 0, 1, 1), 0.5, turn="left")],  # type: ignore[arg-type]
        [FoundFace(Box(0, 0, 1, 1), 0.5, turn=0.5)],  # type: ignore[arg-type]
    ],
    ids=[
        "None", "text", "number", "None in it", "tuple", "array", "NaN", "no box", "no score", "no tilt", "no turn",
        "half a turn",
    ],
)  # fmt: skip
def test_what_a_finder_returns_is_checked(found: Any) -> None:
    class Careless:
        def find(self, image: Any) -> Any:
            return found

    with pytest.raises(InputError, match=r"Careless\.find: expected a list of FoundFace, each with a Box and a score"):
        LandmarkBoxFinder(Careless(), BoxFit()).find(PICTURE)

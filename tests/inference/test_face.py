"""`Face`: validated and immutable, its parts and its crop, plain numbers in and out."""

from __future__ import annotations

import dataclasses
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.coco import read_coco
from srn.datasets.report import ReadingReport
from srn.errors import InputError, MissingDependencyError
from srn.face.geometry import Box, similarity, transform_points
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.face import Face, Faces
from srn.media.pictures import write_image

from ..conftest import coordinate_picture, crop_to_picture


@pytest.fixture
def good(face: npt.NDArray[np.float64]) -> Face:
    return Face(
        landmarks=face * 100 + 0.126,
        visibility=np.linspace(0, 1, 68, dtype=np.float32),
        confidence=np.full(68, 1 / 3, np.float32),
        box=Box(1.234, 2.345, 30.5, 40),
        score=0.123456,
        scheme=IBUG_68,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"landmarks": np.zeros((29, 2))}, r"Face\.landmarks: expected finite \(68, 2\), found \(29, 2\)"),
        ({"landmarks": np.full((68, 2), np.nan)}, r"Face\.landmarks: expected finite"),
        ({"landmarks": np.zeros((68, 3))}, r"Face\.landmarks"),
        ({"scheme": COFW_29}, r"Face\.landmarks: expected finite \(29, 2\)"),
        ({"visibility": np.zeros(67, np.float32)}, r"Face\.visibility: expected \(68,\) within \[0, 1\]"),
        ({"visibility": np.full(68, 1.01, np.float32)}, r"Face\.visibility"),
        ({"confidence": np.full(68, -0.01, np.float32)}, r"Face\.confidence"),
        ({"confidence": np.full(68, np.nan, np.float32)}, r"Face\.confidence"),
        ({"covariance": np.zeros((68, 2))}, r"Face\.covariance: expected \(68, 2, 2\), symmetric and positive"),
        ({"covariance": np.full((68, 2, 2), [[1, 0.5], [0.4, 1]])}, r"Face\.covariance"),
        ({"covariance": np.full((68, 2, 2), [[1, -2], [-2, 1]])}, r"Face\.covariance"),
        ({"covariance": np.full((68, 2, 2), np.nan)}, r"Face\.covariance"),
        ({"score": 1.5}, r"Face\.score: expected a number within \[0, 1\], found 1\.5"),
        ({"score": float("nan")}, r"Face\.score"),
        ({"track_id": -1}, r"Face\.track_id: expected a whole number of at least 0, found -1"),
        ({"track_id": "a"}, r"Face\.track_id"),
    ],
)
def test_what_cannot_be_is_refused(good: Face, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dataclasses.replace(good, **change)  # type: ignore[arg-type]


def test_plain_numbers(good: Face) -> None:
    values = good.to_dict()
    assert list(values) == ["box", "score", "landmarks", "visibility", "confidence"]
    assert values["box"] == [1.23, 2.35, 30.5, 40.0] or values["box"] == [1.23, 2.34, 30.5, 40.0]
    assert values["score"] == 0.1235
    assert values["confidence"] == [0.3333] * 68
    for (x, y), (rounded_x, rounded_y) in zip(good.landmarks.tolist(), values["landmarks"], strict=True):
        assert abs(x - rounded_x) <= 0.005 + 1e-9
        assert abs(y - rounded_y) <= 0.005 + 1e-9
        assert round(rounded_x, 2) == rounded_x
    assert json.loads(json.dumps(values)) == values


@pytest.mark.parametrize(("x", "inside"), [(-0.01, False), (0.0, True), (99.0, True), (99.01, False), (1e9, False)])
def test_points_beyond_the_edge_are_not_visible(good: Face, x: float, inside: bool) -> None:
    landmarks = np.full((68, 2), 50.0)
    landmarks[7] = x, 20
    landmarks[8] = 20, x
    face = dataclasses.replace(good, landmarks=landmarks, visibility=np.full(68, 0.9, np.float32)).within(100, 100)
    assert face.inside is not None
    assert face.visibility is not None
    assert np.flatnonzero(~face.inside).tolist() == ([] if inside else [7, 8])
    np.testing.assert_array_equal(face.visibility == 0, ~face.inside)
    assert ("inside" in face.to_dict()) is not inside
    if not inside:
        restored = Face.from_dict(json.loads(json.dumps(face.to_dict())))
        np.testing.assert_array_equal(restored.inside, face.inside)


def test_inside_is_unknown_without_a_picture_and_is_checked(good: Face) -> None:
    assert good.inside is None
    with pytest.raises(InputError, match=r"Face\.inside: expected \(68,\), found \(3,\)"):
        dataclasses.replace(good, inside=np.ones(3, bool))


@pytest.mark.parametrize(("mean", "doubtful"), [(None, False), (0.0, True), (0.24, True), (0.26, False), (1.0, False)])
def test_a_low_mean_confidence_is_doubtful(good: Face, mean: float | None, doubtful: bool) -> None:
    confidence = None if mean is None else np.full(68, mean, np.float32)
    face = dataclasses.replace(good, confidence=confidence)
    assert face.is_doubtful is doubtful
    assert ("doubtful" in repr(face)) is doubtful
    assert face.mean_confidence == (None if mean is None else pytest.approx(mean))


def test_numbers_of_numpy_have_a_json_form(good: Face) -> None:
    """As the scores of a finder of the user's."""
    face = dataclasses.replace(good, score=np.float32(0.25), track_id=np.int64(7))  # type: ignore[arg-type]
    values = json.loads(json.dumps(face.to_dict()))
    assert (values["score"], values["track_id"]) == (0.25, 7)


def test_what_the_weights_do_not_say_is_null(good: Face) -> None:
    values = dataclasses.replace(good, visibility=None, confidence=None).to_dict()
    assert values["visibility"] is None
    assert values["confidence"] is None


def test_arrays_are_read_only_copies(face: npt.NDArray[np.float64]) -> None:
    points, sure = face * 100, np.full(68, 0.5, np.float32)
    made = Face(points, sure, sure, Box(0, 0, 1, 1), 0.5, IBUG_68)
    points *= 2
    sure[:] = 0
    np.testing.assert_array_equal(made.landmarks, face * 100)
    for array in (made.landmarks, made.visibility, made.confidence):
        assert array is not None
        with pytest.raises(ValueError, match="read-only"):
            array *= 0.5
    made.part("mouth")[:] = 0  # a part is the caller's own
    np.testing.assert_array_equal(made.landmarks, face * 100)


def test_there_and_back(good: Face) -> None:
    for face in (good, dataclasses.replace(good, visibility=None, confidence=None, track_id=7)):
        again = Face.from_dict(json.loads(json.dumps(face.to_dict())), IBUG_68)
        assert again.to_dict() == face.to_dict()
        assert again == Face.from_dict(face.to_dict())
        assert hash(again) == hash(Face.from_dict(face.to_dict()))


@pytest.mark.parametrize("change", [{"box": [0, 0, 1]}, {"landmarks": [[0, 0]] * 67}, {"score": "high"}])
def test_a_dictionary_that_is_no_face(good: Face, change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        Face.from_dict({**good.to_dict(), **change})
    for values, found in (
        ({"box": [0, 0, 1, 1]}, "no landmarks, visibility, confidence, score"),
        ({**good.to_dict(), "box": None}, "four numbers x0, y0, x1, y1, found None"),
        ({**good.to_dict(), "box": []}, r"four numbers x0, y0, x1, y1, found \[\]"),
        ({**good.to_dict(), "score": None}, "Face.score: expected a number within .*, found None"),
        ({**good.to_dict(), "visibility": [1e308] * 68}, "Face.visibility"),
        (["a face"], r"found \['a face'\]"),
    ):
        with pytest.raises(InputError, match=found):
            Faces.from_dict([values])  # type: ignore[list-item]
    with pytest.raises(InputError, match=r"face: expected points as `to_dict` writes them, found 1e\+308"):
        Face.from_dict({**good.to_dict(), "landmarks": [[-1e308, 0.0]] * 68})  # rounded, it would be Infinity


def test_covariances_are_three_numbers_a_point_in_files(good: Face) -> None:
    assert good.covariance is None
    assert "covariance" not in good.to_dict()
    matrices = np.tile(
        np.array([[0.00012, 0.00008], [0.00008, 0.00006]]), (68, 1, 1)
    )  # rounded, its determinant is < 0
    matrices[1] = [[4.5, -1.25], [-1.25, 2.0]]
    face = dataclasses.replace(good, covariance=matrices)
    values = face.to_dict()
    assert values["covariance"][:2] == [[0.0001, 0.0001, 0.0001], [4.5, -1.25, 2.0]]
    again = Face.from_dict(json.loads(json.dumps(values)))
    assert again.covariance is not None
    assert again.covariance.dtype == np.float32
    np.testing.assert_array_equal(again.covariance[1], matrices[1])
    assert face != good
    assert face == dataclasses.replace(good, covariance=matrices.tolist()) == pickle.loads(pickle.dumps(face))
    assert dataclasses.replace(face, covariance=matrices * 2) != face
    with pytest.raises(InputError, match="covariance: expected three numbers"):
        Face.from_dict({**values, "covariance": [[1, 2]] * 68})
    with pytest.raises(InputError, match=r"Face\.covariance"):
        Face.from_dict({**values, "covariance": values["covariance"][:29]})


def test_equal_by_value(good: Face) -> None:
    assert good == dataclasses.replace(good)
    for change in ({"score": 0.2}, {"landmarks": good.landmarks + 1e-9}, {"visibility": None}, {"track_id": 1}):
        assert good != dataclasses.replace(good, **change)
    assert good != "a face"


def test_short_text(good: Face) -> None:
    assert repr(good) == "Face(ibug68, box=(1, 2, 30, 40), score=0.12, visible=34/68, confidence=0.33)"
    bare = dataclasses.replace(good, visibility=None, confidence=None, track_id=3)
    assert repr(bare) == "Face(ibug68, box=(1, 2, 30, 40), score=0.12, track_id=3)"


def test_parts(good: Face) -> None:
    np.testing.assert_array_equal(good.part("left_eye"), good.landmarks[36:42])
    np.testing.assert_array_equal(good.part("jaw"), good.landmarks[:17])
    with pytest.raises(InputError, match=r"part of a face: expected one of brows, eyes, .*jaw, found 'ear'"):
        good.part("ear")


def test_landmark_box(good: Face) -> None:
    low, high = good.landmarks.min(axis=0), good.landmarks.max(axis=0)
    np.testing.assert_array_equal(good.landmark_box.as_array(), [*low, *high])
    assert good.landmark_box != good.box


@pytest.mark.parametrize("degrees", [-160.0, -30.0, 0.0, 75.0])
def test_an_aligned_crop_is_upright_and_tight(face: npt.NDArray[np.float64], degrees: float) -> None:
    """The colours of the picture are its coordinates, so the crop tells where each of its pixels comes from."""
    turn = similarity(90.0, np.radians(degrees), np.zeros(2), np.array([128.0, 120.0]))
    shape = transform_points(turn, face)
    made = Face(shape, None, None, Box.around(shape), 1.0, IBUG_68)
    crop = made.aligned_crop(coordinate_picture(), 150, margin=0.25)
    assert crop.shape == (150, 150, 3)
    inverse = crop_to_picture(crop)
    seen = (shape - inverse[:, 2]) @ np.linalg.inv(inverse[:, :2]).T
    left, right = (seen[list(points)].mean(axis=0) for points in IBUG_68.eyes)
    assert left[0] < right[0]
    assert left[1] == pytest.approx(right[1], abs=0.3)
    box = Box.around(seen)
    np.testing.assert_allclose(box.center, [74.5, 74.5], atol=0.3)
    assert box.size == pytest.approx(100, abs=0.5)


@pytest.mark.parametrize("options", [{"size": 0}, {"margin": -0.1}, {"margin": float("nan")}])
def test_impossible_crops(good: Face, options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=r"size|margin"):
        good.aligned_crop(coordinate_picture(), **options)  # type: ignore[arg-type]


# --- `Faces`: an immutable sequence, its filters, and the forms that it is written in


def made(shape: npt.NDArray[np.float64], score: float, sure: float | None = None, seen: float | None = None) -> Face:
    visibility = None if seen is None else np.linspace(0, seen, len(shape))
    confidence = None if sure is None else np.full(len(shape), sure)
    return Face(shape, visibility, confidence, Box.around(shape), score, IBUG_68)  # type: ignore[arg-type]


@pytest.fixture
def three(face: npt.NDArray[np.float64]) -> list[Face]:
    """Scores and confidences: 0.9 and 0.2, 0.5 and 0.6, 0.3 and 0.7; the second is the largest."""
    sizes = ((50, 0.9, 0.2), (90, 0.5, 0.6), (70, 0.3, 0.7))
    return [made(face * size + 100, score, sure, seen=1) for size, score, sure in sizes]


def test_is_a_sequence(three: list[Face]) -> None:
    faces = Faces(three)
    assert len(faces) == 3
    assert list(faces) == three
    assert faces[1] is three[1]
    assert faces[-1] is three[2]
    assert three[2] in faces
    assert isinstance(faces[:2], Faces)
    assert faces[::2] == Faces([three[0], three[2]])
    assert not Faces()
    with pytest.raises(IndexError):
        faces[3]
    with pytest.raises(TypeError):
        faces[0] = three[1]  # type: ignore[index]


def test_faces_equal_by_value(three: list[Face]) -> None:
    copies = Faces(dataclasses.replace(face) for face in three)
    assert Faces(three) == copies
    assert hash(Faces(three)) == hash(copies)
    assert Faces(three) != Faces(three[:2])
    assert Faces(three) != Faces(reversed(three))
    assert Faces(three) == three
    assert Faces() == []
    assert Faces() != "faces"


def test_only_faces_of_one_scheme(three: list[Face]) -> None:
    other = Face(np.zeros((29, 2)), None, None, Box(0, 0, 1, 1), 0.5, COFW_29)
    with pytest.raises(InputError, match=r"Faces\[3\]: expected scheme ibug68, found cofw29"):
        Faces([*three, other])
    with pytest.raises(InputError, match=r"Faces\[1\]: expected a Face, found Box"):
        Faces([three[0], Box(0, 0, 1, 1)])  # type: ignore[list-item]


def test_faces_short_text(three: list[Face]) -> None:
    assert [repr(Faces(three[:n])) for n in range(3)] == [
        "Faces(0 faces)", "Faces(1 face, ibug68)", "Faces(2 faces, ibug68)",
    ]  # fmt: skip


def test_above(three: list[Face]) -> None:
    faces = Faces(three)
    assert faces.above() == faces
    assert faces.above(score=0.5) == three[:2]
    assert faces.above(confidence=0.55) == three[1:]
    assert faces.above(confidence=0.55, score=0.5) == three[1:2]
    assert faces.above(score=1) == []
    unsaid = Faces([dataclasses.replace(three[0], confidence=None)])
    assert unsaid.above(score=0.5) == unsaid
    with pytest.raises(InputError, match="faces with a confidence"):
        unsaid.above(confidence=0.5)


def test_biggest(three: list[Face]) -> None:
    assert Faces(three).biggest() is three[1]
    assert Faces().biggest() is None


def test_faces_there_and_back(three: list[Face]) -> None:
    values = Faces(three).to_dict()
    assert values == [face.to_dict() for face in three]
    again = Faces.from_dict(json.loads(json.dumps(values)))
    assert again.to_dict() == values
    with pytest.raises(InputError):
        Faces.from_dict(values, COFW_29)
    assert Faces.from_dict([]) == Faces()


def test_coco(three: list[Face]) -> None:
    first, second, third = Faces([*three[:2], dataclasses.replace(three[2], visibility=None)]).to_coco(
        image_id=4, first_id=10
    )
    assert [a["id"] for a in (first, second, third)] == [10, 11, 12]
    assert {a["image_id"] for a in (first, second, third)} == {4}
    points = np.array(second["keypoints"]).reshape(68, 3)
    np.testing.assert_allclose(points[:, :2], three[1].landmarks, atol=0.005 + 1e-9)
    np.testing.assert_array_equal(points[:, 2], np.where(np.linspace(0, 1, 68) < 0.5, 1, 2))
    assert set(third["keypoints"][2::3]) == {2}
    x, y, width, height = second["bbox"]
    np.testing.assert_allclose([x, y, x + width, y + height], three[1].box.as_array(), atol=0.02)
    assert json.loads(json.dumps(second)) == second


def test_coco_is_read_as_a_dataset(three: list[Face], tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros((200, 200, 3), np.uint8))
    content = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": Faces(three).to_coco(image_id=1)}
    (tmp_path / "faces.json").write_text(json.dumps(content))
    report = ReadingReport()
    samples = read_coco(tmp_path / "faces.json", IBUG_68, report)
    assert len(samples) == 3
    assert not report.problems
    for sample, face in zip(samples, three, strict=True):
        np.testing.assert_allclose(sample.landmarks, face.landmarks, atol=0.005 + 1e-9)
        assert face.visibility is not None
        np.testing.assert_array_equal(sample.occluded, face.visibility < 0.5)


def test_pandas(three: list[Face]) -> None:
    pytest.importorskip("pandas")
    numbered = dataclasses.replace(three[2], visibility=None, track_id=5)
    table = Faces([three[0], numbered]).to_pandas()
    names = ["face", "track_id", "score", "point", "component", "x", "y", "visibility", "confidence"]
    assert list(table) == [*names, "covariance_xx", "covariance_xy", "covariance_yy"]
    assert table.covariance_xy.isna().all()
    assert len(table) == 2 * 68
    np.testing.assert_array_equal(table[table.face == 1][["x", "y"]], numbered.landmarks)
    assert set(table[table.component == "nose"].point) == set(IBUG_68.components["nose"])
    assert table[table.face == 1].visibility.isna().all()
    assert set(table[table.face == 1].track_id) == {5}
    np.testing.assert_array_equal(table[table.face == 0].visibility, three[0].visibility)
    assert len(Faces().to_pandas()) == 0


def test_without_pandas(three: list[Face], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(MissingDependencyError, match=r"Faces\.to_pandas needs pandas; .*'srn\[pandas\]'"):
        Faces(three).to_pandas()


def two_faces() -> Faces:
    rng = np.random.default_rng(0)
    points = [np.round(rng.uniform(10, 90, (68, 2)), 2) for _ in range(2)]
    flags = (np.arange(68) % 2).astype(np.float32)
    return Faces(Face(p, flags, np.full(68, 0.5), Box.around(p), 0.5, IBUG_68) for p in points)


def faces_with_covariances() -> Faces:
    """Two faces, of which the first has covariances."""
    one, other = two_faces()
    return Faces([dataclasses.replace(one, covariance=np.tile([[4.5, -1.25], [-1.25, 2.0]], (68, 1, 1))), other])


def test_every_conversion_comes_back() -> None:
    faces = two_faces()
    coco = Faces.from_coco(faces.to_coco(image_id=1))
    assert [face.box.as_array().round(2).tolist() for face in coco] == [
        f.box.as_array().round(2).tolist() for f in faces
    ]
    assert [face.to_dict()["visibility"] for face in coco] == [face.to_dict()["visibility"] for face in faces]
    normal = Faces.from_normalized(faces.to_normalized(100, 120), 100, 120)
    for back in (coco, normal):
        for a, b in zip(back, faces, strict=True):
            np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-9)


def test_pandas_comes_back() -> None:
    pytest.importorskip("pandas")
    faces = two_faces()
    back = Faces.from_pandas(faces.to_pandas())
    assert back == faces
    directed = faces_with_covariances()
    assert Faces.from_pandas(directed.to_pandas()) == directed
    older = faces.to_pandas().drop(columns=["covariance_xx", "covariance_xy", "covariance_yy"])
    assert Faces.from_pandas(older) == faces


def test_covariances_in_coco_come_back() -> None:
    """As JSON has them; files of others, and annotations without, are read as before."""
    faces = faces_with_covariances()
    annotations = json.loads(json.dumps(faces.to_coco(image_id=1)))
    assert annotations[0]["covariance"][0] == [4.5, -1.25, 2.0]
    assert "covariance" not in annotations[1]
    first, second = Faces.from_coco(annotations)
    assert second.covariance is None
    np.testing.assert_array_equal(first.covariance, faces[0].covariance)
    with pytest.raises(InputError, match="covariance: expected three numbers"):
        Faces.from_coco([{**annotations[0], "covariance": [1, 2, 3]}])


def test_supervision_comes_back() -> None:
    supervision = pytest.importorskip("supervision", reason="supervision brings much along, and is in no extra")
    faces = two_faces()
    key_points = faces.to_supervision()
    assert isinstance(key_points, supervision.KeyPoints)
    assert len(key_points) == 2
    assert key_points.visible.sum() == 68
    back = Faces.from_supervision(key_points)
    for a, b in zip(back, faces, strict=True):
        np.testing.assert_allclose(a.landmarks, b.landmarks, atol=1e-5)
        assert a.to_dict()["visibility"] == b.to_dict()["visibility"]
    assert len(Faces().to_supervision()) == 0


def test_without_supervision_it_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    message = r"Faces\.to_supervision needs {}: pip install --upgrade supervision"
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(MissingDependencyError, match=message.format("supervision")):
        two_faces().to_supervision()
    # It is there, and a package that it needs itself is not.
    monkeypatch.delitem(sys.modules, "supervision")
    (tmp_path / "supervision.py").write_text("import nowhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=message.format("nowhere")):
        two_faces().to_supervision()

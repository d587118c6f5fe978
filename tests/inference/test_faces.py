"""`Faces`: an immutable sequence, its filters, and the forms that it is written in."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.coco import read_coco
from srn.datasets.report import ReadingReport
from srn.errors import InputError, MissingDependencyError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.face import Face
from srn.inference.faces import Faces
from srn.media.pictures import write_image


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


def test_equal_by_value(three: list[Face]) -> None:
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


def test_short_text(three: list[Face]) -> None:
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


def test_there_and_back(three: list[Face]) -> None:
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
    assert list(table) == ["face", "track_id", "score", "point", "component", "x", "y", "visibility", "confidence"]
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

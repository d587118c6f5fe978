"""Faces under stress: where the points go, what is counted, and that it reaches the page and the JSON."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.evaluation.outputs import Measured, spread, with_stress, write_outputs
from srn.evaluation.protocol import evaluate
from srn.evaluation.report.evaluation_charts import stress_charts
from srn.evaluation.stress import STRESSES, Stress, StressPoint, stress_test, stressed
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.landmarker import FaceLandmarker
from srn.media.pictures import write_image

from ..conftest import Portrait, coordinate_picture

Shape = npt.NDArray[np.float64]


@pytest.fixture
def sample(face: Shape, tmp_path: Path) -> Sample:
    write_image(tmp_path / "face.png", coordinate_picture())
    return Sample(tmp_path / "face.png", face * 100 + [130, 120], IBUG_68, "set")


@pytest.mark.parametrize(("stress", "value"), [("size", 24), ("turn", 30), ("turn", 90), ("turn", 180), ("turn", 270)])
def test_the_points_move_with_the_pixels(sample: Sample, stress: str, value: float) -> None:
    """Red is x and green is y of the picture before: they tell where a pixel comes from."""
    moved = stressed(sample, sample.load(), stress, value)
    assert moved is not None
    assert moved.box == Box.around(moved.landmarks)
    columns, rows = np.round(moved.landmarks).astype(int).T
    origin = moved.image[rows, columns, :2].astype(float)
    pixel = 100 / 24 if stress == "size" else 1.0
    np.testing.assert_allclose(origin, sample.landmarks, atol=1.2 * pixel)


def test_the_other_stresses(sample: Sample) -> None:
    image = sample.load()
    for stress, value in (("darkness", 50), ("blur", 4), ("shift", 20)):
        face = stressed(sample, image, stress, value)
        assert face is not None
        assert face.landmarks is sample.landmarks
        assert (face.box == sample.box) is (stress != "shift")
        assert (face.image == image).all() == (stress == "shift")
    dark, shifted = (stressed(sample, image, *what) for what in (("darkness", 50), ("shift", 20)))
    assert dark is not None
    assert shifted is not None
    np.testing.assert_allclose(dark.image, image * 0.5, atol=0.5)
    assert np.linalg.norm(shifted.box.center - sample.box.center) == pytest.approx(0.2 * sample.box.size)


def test_no_stress_leaves_the_face_as_it_is_and_no_face_is_enlarged(sample: Sample) -> None:
    image = sample.load()
    for stress, value in (("turn", 0), ("darkness", 100), ("blur", 0), ("shift", 0)):
        face = stressed(sample, image, stress, value)
        assert face is not None
        np.testing.assert_array_equal(face.image, image)
        np.testing.assert_allclose(face.landmarks, sample.landmarks)
    assert stressed(sample, image, "size", 1000) is None


def test_all_stresses_of_a_portrait_reach_the_page_and_the_json(
    portraits: list[Portrait], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {name: kind._replace(values=kind.values[:: len(kind.values) - 1]) for name, kind in STRESSES.items()}
    monkeypatch.setattr("srn.evaluation.stress.STRESSES", few)
    write_image(tmp_path / "a.png", portraits[0].image)
    (sample,) = [Sample(tmp_path / "a.png", portraits[0].landmarks, IBUG_68, "set")]
    landmarker = FaceLandmarker(threads=1, accuracy="fast")
    steps: list[str] = []
    measured = Measured(evaluate(landmarker, [sample]), landmarker, [sample])
    measured = with_stress(measured, lambda name, total: lambda: steps.append(f"{name} {total}"))
    assert steps == ["under stress 1"]
    assert measured.stress is not None
    assert list(measured.stress.points) == list(STRESSES)
    largest = measured.stress.points["size"][-1]
    assert (largest.faces, largest.recall) == (1, 1.0)
    assert largest.nme < 0.05
    assert measured.stress.points["shift"][0].recall is None
    page = write_outputs(
        measured, lambda name, total: lambda: None, numbers=tmp_path / "numbers.json",
        ced=None, reliability=None, boxes=None, report=tmp_path / "report",
    )  # fmt: skip
    assert page is not None
    text = page.read_text(encoding="utf-8")
    for kind in STRESSES.values():
        assert kind.title in text
    numbers = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))["stress"]
    assert numbers == measured.stress.to_dict()
    assert set(numbers["turn"][0]) == {"value", "faces", "nme", "median", "confidence", "recall", "nme_found"}


def test_a_stress_without_any_found_face_is_drawn() -> None:
    points = [StressPoint(value, 3, 0.1, 0.1, None, recall, None) for value, recall in ((12.0, 0.0), (24.0, 0.0))]
    recall, error = stress_charts("size", points)
    assert "faces found" in recall.title
    assert "<svg" in error.svg()
    assert Stress({"size": points}, "interocular").to_dict()["size"][0]["nme_found"] is None


def test_few_faces_are_spread_over_all(sample: Sample) -> None:
    many = [Sample(Path(str(k)), sample.landmarks, IBUG_68, "set") for k in range(100)]
    assert [int(str(s.path)) for s in spread(many, 4)] == [0, 25, 50, 75]
    assert spread(many[:3], 4) == many[:3]


def test_an_unreadable_picture_is_an_error(sample: Sample) -> None:
    sample.path.unlink()
    with pytest.raises(DataError):
        stress_test(FaceLandmarker(threads=1), [sample])

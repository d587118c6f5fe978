"""Measuring: errors calculated by hand, missed faces, boxes of three kinds, and which files are read."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.catalogue import open_faces
from srn.datasets.sample import Sample
from srn.errors import InputError
from srn.evaluation.outputs import Measured
from srn.evaluation.protocol import evaluate
from srn.evaluation.results import Evaluation, FaceResult
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68
from srn.inference.box_fit import BoxFit
from srn.inference.face_finder import FoundFace, LandmarkBoxFinder
from srn.inference.landmarker import FaceLandmarker
from srn.media.pictures import write_image

from ..conftest import coordinate_picture

Shape = npt.NDArray[np.float64]
FACE_SIZE = 60
"""Side of the face box in the fake localizer's crops."""


@pytest.fixture
def truths(face: Shape) -> dict[int, Shape]:
    # At 100 pixels every sample of a crop would lie between two grey levels, and OpenCV 4 and 5 round differently.
    return {0: face * 103 + [120, 130], 100: face * 110 + [128, 120], 200: face * 105 + [125, 128]}


@pytest.fixture
def samples(tmp_path: Path, truths: dict[int, Shape]) -> list[Sample]:
    made = []
    for blue, shape in truths.items():
        write_image(tmp_path / f"{blue}.png", coordinate_picture(blue=blue))
        subset = "one" if blue < 200 else "two"
        box = Box(*(Box.around(shape).as_array() + [3, 0, 3, 0]).tolist())
        made.append(Sample(tmp_path / f"{blue}.png", shape, IBUG_68, subset, box))
    return made


def landmarker(localizer: Any, **options: Any) -> FaceLandmarker:
    return FaceLandmarker(localizer=localizer, accuracy="fast", **options)


@pytest.mark.parametrize(
    ("normalizer", "by_hand"),
    [
        ("interocular", lambda s: np.hypot(*(s[36] - s[45]))),
        ("interpupil", lambda s: np.hypot(*(s[36:42].mean(axis=0) - s[42:48].mean(axis=0)))),
        ("bbox", lambda s: np.sqrt(np.ptp(s[:, 0]) * np.ptp(s[:, 1]))),
        ("bbox-diagonal", lambda s: np.hypot(np.ptp(s[:, 0]), np.ptp(s[:, 1]))),
    ],
)
def test_errors_by_hand(
    true_localizer: Any, samples: list[Sample], truths: dict[int, Shape], normalizer: str, by_hand: Any
) -> None:
    localizer = true_localizer(truths, (3.0, 4.0))  # every point is 5 crop pixels off
    done: list[int] = []
    result = evaluate(landmarker(localizer), samples, normalizer=normalizer, progress=lambda: done.append(1))
    expected = [5 * sample.box.size / FACE_SIZE / by_hand(sample.landmarks) for sample in samples]
    np.testing.assert_allclose(result.errors, expected, rtol=0.01)
    assert result.nme == pytest.approx(np.mean(expected), rel=0.01)
    assert result.mean_shape_nme < 1e-5  # these faces are the mean shape itself
    assert (result.missed, result.weights, result.normalizer, result.init) == (0, "fake", normalizer, "gt-box")
    assert len(done) == 3


def test_the_zero_line_by_hand(true_localizer: Any, samples: list[Sample], truths: dict[int, Shape]) -> None:
    """The detector's box lies 3 pixels to the right: so does the mean shape in it; a localizer that knows does not."""
    result = evaluate(landmarker(true_localizer(truths)), samples, init="bbs")
    for one, sample in zip(result.results, samples, strict=True):
        interocular = np.hypot(*(sample.landmarks[36] - sample.landmarks[45]))
        assert one.mean_shape_nme == pytest.approx(3 / interocular, rel=1e-4)
        assert one.nme < 0.005


def test_a_box_that_is_not_there_is_named(true_localizer: Any, samples: list[Sample], truths: dict[int, Shape]) -> None:
    bare = [dataclasses.replace(samples[0], detector_box=None)]
    with pytest.raises(InputError, match=r"0\.png: expected a box in the dataset's bbs folder, found none"):
        evaluate(landmarker(true_localizer(truths)), bare, init="bbs")


class Finder:
    """Finds what it is told, by the picture's blue."""

    name = "told"

    def __init__(self, boxes: dict[int, list[Box]]) -> None:
        self.boxes = boxes

    def find(self, image: npt.NDArray[np.uint8]) -> list[FoundFace]:
        return [FoundFace(box, 0.9) for box in self.boxes[int(image[0, 0, 2])]]


def test_faces_that_the_finder_misses(true_localizer: Any, samples: list[Sample], truths: dict[int, Shape]) -> None:
    # 0: two faces are found, the second overlaps the annotated one better. 100: another place. 200: nothing.
    near, nearer = (Box(*(samples[0].box.as_array() + shift).tolist()) for shift in (25, 5))
    finder = Finder({0: [near, nearer], 100: [Box(0, 0, 40, 40)], 200: []})
    tool = landmarker(true_localizer(truths, (3.0, 4.0)), face_finder=LandmarkBoxFinder(finder, BoxFit()))
    result = evaluate(tool, samples, init="finder")
    error = 5 * samples[0].box.size / FACE_SIZE / np.hypot(*(truths[0][36] - truths[0][45]))
    assert result.errors[0] == pytest.approx(error, rel=0.01)
    assert result.errors[1:].tolist() == [np.inf, np.inf]
    assert result.missed == 2
    assert result.nme == pytest.approx(error, rel=0.01)  # of the face that was found
    mean_shape = result.results[0].mean_shape_nme
    assert mean_shape == pytest.approx(5 * np.sqrt(2) / np.hypot(*(truths[0][36] - truths[0][45])), rel=1e-4)
    values = result.to_dict()
    assert values["failure_rate"] == 1.0  # 17 % is a failure, too
    assert values["auc"] == 0.0
    assert [face["nme"] for face in values["per_image"]] == [pytest.approx(error, rel=0.01), None, None]
    assert values["subsets"]["two"]["nme"] is None
    assert values["subsets"]["two"]["missed"] == 1
    assert json.loads(json.dumps(values, allow_nan=False)) == values


def test_numbers_of_a_summary_by_hand() -> None:
    results = tuple(
        FaceResult(Path(f"{i}.jpg"), subset, nme, nme * 2)
        for i, (subset, nme) in enumerate([("a", 0.02), ("a", 0.04), ("b", 0.08), ("b", 0.1), ("b", np.inf)])
    )
    whole = Evaluation(results, "interocular", "gt-box", "w")
    assert whole.summary() == pytest.approx(
        {
            "n": 5,
            "missed": 1,
            "nme": (0.02 + 0.04 + 0.08 + 0.1) / 4,
            "mean_shape_nme": 2 * (0.02 + 0.04 + 0.08 + 0.1) / 4,
            "failure_rate": 2 / 5,  # above 8 %: 10 % and the missed one; 8 % itself is not
            "auc": (0.06 + 0.04 + 0 + 0 + 0) / 5 / 0.08,
        }
    )
    assert whole.subsets == ("a", "b")
    part = whole.subset("a").summary()
    assert (part["n"], part["nme"], part["failure_rate"]) == (2, pytest.approx(0.03), 0.0)


def test_what_is_written(true_localizer: Any, samples: list[Sample], truths: dict[int, Shape]) -> None:
    values = evaluate(landmarker(true_localizer(truths)), samples).to_dict({"accuracy": "fast"})
    assert {"n", "nme", "failure_rate", "auc", "normalizer", "init", "weights", "per_image"} <= set(values)
    assert values["accuracy"] == "fast"
    assert values["threshold"] == 0.08
    assert [set(face) for face in values["per_image"]] == [{"path", "subset", "nme"}] * 3
    assert values["per_image"][0]["path"].endswith("/0.png")


def test_a_bad_picture_is_left_out_and_named(
    true_localizer: Any, samples: list[Sample], truths: dict[int, Shape]
) -> None:
    samples[1].path.write_bytes(b"broken")
    result = evaluate(landmarker(true_localizer(truths), batch_size=2), samples)
    assert [one.path.name for one in result.results] == ["0.png", "200.png"]
    (problem,) = result.problems
    assert problem.startswith(f"{samples[1].path}: expected a picture")
    with pytest.raises(InputError, match="at least one annotated face in a readable picture"):
        evaluate(landmarker(true_localizer(truths)), samples[1:2])


def test_faces_and_boxes_outside_their_picture_are_left_out_and_named(
    true_localizer: Any, samples: list[Sample], truths: dict[int, Shape]
) -> None:
    """One of two faces of a picture; and no chart of the others looks at it again."""
    first, second, third = samples
    away = dataclasses.replace(first, landmarks=first.landmarks + 1e9)
    lost = dataclasses.replace(second, detector_box=Box(900, 900, 990, 990))
    every = [away, first, lost, third]
    result = evaluate(landmarker(true_localizer(truths)), every, init="bbs")
    assert [face.path for face in result.results] == [first.path, third.path]
    for problem, path in zip(result.problems, (first.path, second.path), strict=True):
        assert problem.startswith(f"{path}: expected a face in the picture of 256 x 256 pixels, found one at (")
    assert Measured(result, landmarker(true_localizer(truths)), every).readable == [first, third]


def test_settings_that_do_not_fit(true_localizer: Any, samples: list[Sample], truths: dict[int, Shape]) -> None:
    tool = landmarker(true_localizer(truths))
    with pytest.raises(InputError, match=r"normalizer: expected one of interocular, interpupil, bbox.*, found 'iod'"):
        evaluate(tool, samples, normalizer="iod")
    other = Sample(samples[0].path, truths[0][:29], COFW_29, "cofw")
    with pytest.raises(InputError, match=r"0\.png: expected ibug68 landmarks, found cofw29"):
        evaluate(tool, [other])


# --- the weights that ship, on the real test sets' first faces


def test_shipped_weights_beat_the_mean_shape(robust_weights: Path, shared_data: Path) -> None:
    tool = FaceLandmarker(robust_weights, threads=1)
    samples = open_faces(shared_data / "300W" / "lfpw" / "testset").samples
    result = evaluate(tool, samples[:24])
    assert result.nme < 0.045
    assert result.mean_shape_nme > 2 * result.nme


def test_where_memory_ends_fewer_faces_are_localized_at_once(
    true_localizer: Any, samples: list[Sample], truths: dict[int, Shape], monkeypatch: pytest.MonkeyPatch
) -> None:
    localizer, said = true_localizer(truths, (3.0, 4.0)), list[str]()
    whole = evaluate(landmarker(localizer), samples)
    localize, room = type(localizer).__call__, 1

    def limited(self: Any, crops: npt.NDArray[np.uint8], *more: Any) -> Any:
        if len(crops) > room:
            raise RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested buffer of size 9")
        return localize(self, crops, *more)

    monkeypatch.setattr(type(localizer), "__call__", limited)
    result = evaluate(landmarker(localizer, batch_size=4), samples, tell=said.append)

    assert said == ["no memory for 4 faces at once: from now on at most 1"]
    assert [face.nme for face in result.results] == [face.nme for face in whole.results]
    room = 0
    with pytest.raises(InputError, match=r"^evaluation: expected memory for one face, found .*Failed to allocate"):
        evaluate(landmarker(localizer, batch_size=1), samples)

"""Numbers by component, attribute and normalizer, and comparisons of evaluations: by hand."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.evaluation.results import Evaluation, FaceResult, compare_evaluations, video_numbers
from srn.face.metrics import interpupil, nme
from srn.face.scheme import COFW_29, COMPONENTS, IBUG_68

Shape = npt.NDArray[np.float64]


def result(name: str, target: Shape, offsets: Shape, **facts: object) -> FaceResult:
    """A face whose inter-ocular distance is `size`, with points off by `offsets`."""
    size = float(np.hypot(*(target[36] - target[45])))
    shape = target + offsets
    values = {
        "nme": nme(shape, target, size), "mean_shape_nme": 0.3, "landmarks": shape,
        "point_errors": np.hypot(*offsets.T) / size, "target_landmarks": target,
    }  # fmt: skip
    return FaceResult(Path(f"{name}.png"), "one", **{**values, **facts})


@pytest.fixture
def target(face: Shape) -> Shape:
    return face * 200 + 300


@pytest.fixture
def by_component(target: Shape) -> FaceResult:
    """Brows 1 pixel off, eyes 2, nose 3, mouth 4, left cheek 5, right cheek 6."""
    offsets = np.zeros((68, 2))
    for pixels, name in enumerate(COMPONENTS, 1):
        offsets[list(IBUG_68.components[name]), 0] = pixels
    return result("a", target, offsets)


def evaluation(*results: FaceResult) -> Evaluation:
    return Evaluation(results, "interocular", "gt-box", "w", scheme=IBUG_68)


def test_components_by_hand(by_component: FaceResult, target: Shape) -> None:
    size = np.hypot(*(target[36] - target[45]))
    still = result("b", target, np.zeros((68, 2)))
    missed = FaceResult(Path("c.png"), "one", np.inf, np.inf, target_landmarks=target)
    summary = evaluation(by_component, still, missed).component_summary()
    assert summary is not None
    assert tuple(summary) == COMPONENTS
    for pixels, name in enumerate(COMPONENTS, 1):
        assert summary[name]["points"] == len(IBUG_68.components[name])
        assert summary[name]["nme"] == pytest.approx(pixels / size / 2)
        assert set(summary[name]) == {"points", "nme", "along", "across"}
    total = sum(v["nme"] * v["points"] for v in summary.values()) / 68
    assert total == pytest.approx(evaluation(by_component, still).nme)


def test_the_outline_along_and_across_by_hand(target: Shape) -> None:
    """An outline that is level from ear to ear, 3 pixels off along itself and 4 across; another face has no error."""
    level = target.copy()
    level[:17] = np.stack([np.linspace(250, 350, 17), np.full(17, 400.0)], axis=1)
    size, offsets = np.hypot(*(level[36] - level[45])), np.zeros((68, 2))
    offsets[:17], offsets[17:] = [-3, 4], [50, 0]
    both = evaluation(result("a", level, offsets), result("b", level, np.zeros((68, 2))))
    assert both.outline_summary() == pytest.approx({"along": 1.5 / size, "across": 2 / size})
    components = both.component_summary()
    assert components is not None
    for cheek in ("left_cheek", "right_cheek"):
        assert components[cheek]["along"] == pytest.approx(1.5 / size)
        assert components[cheek]["across"] == pytest.approx(2 / size)
    assert both.to_dict()["outline"] == both.outline_summary()
    missed = FaceResult(Path("c.png"), "one", np.inf, np.inf, target_landmarks=target)
    assert evaluation(missed).outline_summary() is None


def test_seen_and_hidden_points_of_a_component(target: Shape) -> None:
    size = np.hypot(*(target[36] - target[45]))
    offsets, occluded = np.zeros((68, 2)), np.zeros(68, bool)
    offsets[48:58, 1], occluded[48:58] = 7, True  # half of the mouth
    other = result("b", target, offsets * 100)  # occlusion not annotated: in neither
    summary = evaluation(result("a", target, offsets, occluded=occluded), other).component_summary()
    assert summary is not None
    assert summary["mouth"]["nme_occluded"] == pytest.approx(7 / size)
    assert summary["mouth"]["nme_visible"] == 0
    assert "nme_occluded" not in summary["eyes"]


def test_a_component_without_points_is_left_out(rng: np.random.Generator) -> None:
    shape = rng.uniform(0, 99, (29, 2))
    one = FaceResult(Path("a.png"), "test", 0.1, 0.2, shape, np.full(29, 0.1), target_landmarks=shape)
    summary = Evaluation((one,), "interocular", "gt-box", "w", scheme=COFW_29).component_summary()
    assert summary is not None
    assert "right_cheek" not in summary
    assert summary["left_cheek"]["points"] == 1


def test_without_a_scheme_or_a_face_there_are_no_components(by_component: FaceResult) -> None:
    assert Evaluation((by_component,), "interocular", "gt-box", "w").component_summary() is None
    assert evaluation(FaceResult(Path("c.png"), "one", np.inf, np.inf)).component_summary() is None


def test_attributes_by_hand(target: Shape) -> None:
    made = [
        dataclasses.replace(result(str(i), target, np.zeros((68, 2))), nme=error, attributes=frozenset(marks))
        for i, (error, marks) in enumerate([(0.02, ["blur"]), (0.04, ["blur", "pose"]), (0.12, ["pose"]), (0.5, [])])
    ]
    whole = evaluation(*made)
    assert whole.attributes == ("blur", "pose")
    summary = whole.attribute_summary()
    assert summary is not None
    assert (summary["blur"]["n"], summary["blur"]["nme"]) == (2, pytest.approx(0.03))
    assert (summary["pose"]["n"], summary["pose"]["failure_rate"]) == (2, 0.5)
    assert evaluation(made[3]).attribute_summary() is None


def test_a_flag_stands_beside_one_that_sees_no_picture(target: Shape) -> None:
    """Three faces; point 0 is occluded in all, point 1 in the first, and the network gets everything right."""
    occluded = np.zeros((3, 68), bool)
    occluded[:, 0] = occluded[0, 1] = True
    still = np.zeros((68, 2))
    faces = [
        result(str(k), target, still, occluded=hidden, visibility=np.where(hidden, 0.1, 0.9).astype(np.float32))
        for k, hidden in enumerate(occluded)
    ]
    summary = evaluation(*faces).visibility_summary()
    assert summary is not None
    assert summary["points"] == 3 * 68
    assert summary["occluded_share"] == pytest.approx(4 / 204)
    flags = [summary[key] for key in ("recall_at_80_precision", "average_precision", "roc_auc")]
    assert flags == pytest.approx([1, 1, 1])
    # The prior scores point 0 with 1; point 1 with 0 on the first face, where it is occluded, and 1/2 on the others.
    prior = summary["prior"]
    assert prior["recall_at_80_precision"] == pytest.approx(3 / 4)
    assert prior["average_precision"] == pytest.approx(3 / 4 + 1 / 4 * 4 / 204)
    assert prior["roc_auc"] == pytest.approx((3 * 200 + 198 / 2) / (4 * 200))


def test_confidence_by_the_error_of_the_face(target: Shape) -> None:
    size = np.hypot(*(target[36] - target[45]))
    faces = []
    for name, error, confidence in (("a", 0.01, 0.95), ("b", 0.02, 0.75), ("c", 0.06, 0.55)):
        offsets = np.tile([error * size, 0], (68, 1))
        near = np.full(68, error < 0.03)
        faces.append(result(name, target, offsets, confidence=np.full(68, confidence, np.float32), near=near))
    summary = evaluation(*faces).confidence_summary()
    assert summary is not None
    assert summary["by_error"] == [
        {"error_from": 0.0, "faces": 2, "confidence": pytest.approx(0.85), "observed": 1.0},
        {"error_from": 0.05, "faces": 1, "confidence": pytest.approx(0.55), "observed": 0.0},
    ]
    assert summary["expected_calibration_error"] == pytest.approx((0.05 + 0.25 + 0.55) / 3)


def test_another_normalizer(by_component: FaceResult, target: Shape) -> None:
    whole = evaluation(by_component)
    other = whole.by("interpupil")
    ratio = np.hypot(*(target[36] - target[45])) / interpupil(target, IBUG_68)
    assert other.nme == pytest.approx(whole.nme * ratio)
    assert other.mean_shape_nme == pytest.approx(0.3 * ratio)
    before, after = by_component.point_errors, other.results[0].point_errors
    assert before is not None
    assert after is not None
    np.testing.assert_allclose(after, before * ratio)
    assert other.by("interocular").nme == pytest.approx(whole.nme)
    assert whole.by("interocular") is whole
    missed = evaluation(FaceResult(Path("c.png"), "one", np.inf, np.inf, target_landmarks=target))
    assert missed.by("bbox").errors.tolist() == [np.inf]
    with pytest.raises(InputError, match="one of interocular"):
        whole.by("nose")
    with pytest.raises(InputError, match="which these results were measured by"):
        evaluation(FaceResult(Path("c.png"), "one", 0.1, 0.2)).by("bbox")


def test_what_is_written(by_component: FaceResult) -> None:
    values = evaluation(by_component).to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["intervals"]["nme"] == [None, None]  # of a single face
    assert values["components"]["nose"]["points"] == 9
    assert values["attributes"] is None


def test_frames_of_videos_are_drawn_by_video(rng: np.random.Generator) -> None:
    """Forty frames of two videos are two independent numbers, not forty."""
    errors = np.concatenate([rng.normal(0.04, 0.001, 20), rng.normal(0.06, 0.001, 20)])
    videos = [f"category 1/{number}" for number in (114, 124) for _ in range(20)]
    frames = [
        FaceResult(Path(f"{k:06d}.jpg"), video, e, e, video=video)
        for k, (e, video) in enumerate(zip(errors.tolist(), videos, strict=True))
    ]
    interval = evaluation(*frames).intervals().nme
    means = errors.reshape(2, 20).mean(axis=1)
    assert (interval.low, interval.high) == pytest.approx((means[0], means[1]))
    better = evaluation(*(dataclasses.replace(one, nme=one.nme - 0.01) for one in frames))
    assert compare_evaluations(evaluation(*frames), better).p_value == 0.5  # of two videos: 2 of 4 sign patterns
    pictures = [dataclasses.replace(one, video=None) for one in frames]
    assert video_numbers(pictures) is None
    assert video_numbers([frames[0], pictures[0], pictures[1], frames[1], frames[-1]]).tolist() == [0, 1, 2, 0, 3]  # type: ignore[union-attr]


def test_comparing_by_face(target: Shape) -> None:
    def faces(errors: dict[str, float], subset: str = "one", folder: str = "x") -> Evaluation:
        return evaluation(*(FaceResult(Path(folder) / f"{n}.jpg", subset, e, e) for n, e in errors.items()))

    first = faces({"a": 0.05, "b": 0.07, "c": 0.5})
    second = faces({"b": 0.05, "a": 0.05, "d": 0.9}, folder="masked")  # another order and another folder
    found = compare_evaluations(first, second)
    assert (found.faces, found.share_better, found.share_worse) == (2, 0.5, 0.0)
    assert found.difference.value == pytest.approx(-0.01)
    with pytest.raises(InputError, match="no face in common"):
        compare_evaluations(first, faces({"a": 0.1}, subset="two"))
    with pytest.raises(InputError, match="errors by interocular, found by bbox"):
        compare_evaluations(first, dataclasses.replace(second, normalizer="bbox"))


def test_two_faces_of_one_picture_are_compared_in_their_order() -> None:
    def twice(*errors: float) -> Evaluation:
        return evaluation(*(FaceResult(Path("group.jpg"), "test", e, e) for e in errors))

    assert compare_evaluations(twice(0.1, 0.2), twice(0.1, 0.3)).difference.value == pytest.approx(0.05)

"""The steps of the benchmark do what their names say."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from srn.errors import DataError, InputError
from srn.evaluation.speed_steps import BATCHES, CYCLE, DEVICE_BATCHES, PLACES, QUICK_BATCHES, Bench, portrait
from srn.inference.cores import thread_count
from srn.inference.landmarker import FaceLandmarker
from srn.media.pictures import write_image


@pytest.fixture(scope="module")
def bench(tiny_weights: Path) -> Bench:
    return Bench(weights=tiny_weights, threads=1)


def test_the_portrait_comes_along_and_holds_a_face(robust_weights: Path) -> None:
    assert portrait().stat().st_size <= 60_000
    bench = Bench(threads=1)
    assert bench.image.shape == (512, 512, 3)
    (face,) = FaceLandmarker(localizer=bench.localizer, threads=1).detect(bench.image)
    left_eye, right_eye = face.landmarks[36:42].mean(axis=0), face.landmarks[42:48].mean(axis=0)
    np.testing.assert_allclose([left_eye, right_eye], [[202, 101], [246, 104]], atol=4)  # read off the picture


def test_every_step_runs_and_has_its_reference(bench: Bench) -> None:
    steps = bench.steps()
    names = {(step.group, step.name) for step in steps}
    assert len(names) == len(steps)
    assert [step.count for step in steps if step.group == "batch"] == list(BATCHES)
    for step in steps:
        assert step.reference is None or (step.group, step.reference) in names, step
        if "640 x 480" not in step.name:
            step.run()
    assert {step.group for step in steps} == {
        *("floor", "picture", "batch", "runtime and precision", "accuracy, end to end", "threads", "tracking")
    }
    cores = thread_count(None)
    shared = {name.partition(", ")[2] for group, name in names if group == "threads" and name.startswith(f"{cores} ")}
    assert shared == {"1 at once", "16 at once", "end to end", "one face, 640 x 480"}
    kinds = {name.rpartition(",")[0] for group, name in names if group == "runtime and precision"}
    installed = importlib.util.find_spec("openvino") is not None
    assert ("openvino, float32" in kinds) == installed
    assert (("tracking", "one face, 640 x 480, openvino, float32") in names) == installed
    assert any(line.startswith("onnxruntime, int8: precision 'int8': expected the shipped") for line in bench.left_out)


def test_the_quick_run_has_fewer_steps(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srn.evaluation.speed_steps.ARITHMETIC", ())
    steps = Bench(weights=tiny_weights, threads=1, quick=True).steps()
    assert [step.count for step in steps if step.group == "batch"] == list(QUICK_BATCHES)
    assert not any(step.group in ("threads", "accuracy, end to end") for step in steps)


def test_a_gpu_has_larger_batches_and_no_comparison_of_the_processor(
    tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []
    real = onnxruntime.InferenceSession

    def session(content: bytes, options: Any, providers: list[str], **_: int) -> Any:
        heard.append(providers[0])
        opened = real(content, options, providers=[providers[-1]])
        monkeypatch.setattr(opened, "get_providers", lambda: providers)
        return opened

    both = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    bench = Bench(weights=tiny_weights, threads=1, device="cuda")
    steps = bench.steps()
    assert [step.count for step in steps if step.group == "batch"] == [*BATCHES, *DEVICE_BATCHES]
    assert not {"threads", "runtime and precision"} & {step.group for step in steps}
    steps += bench.against("against", ("own", "other"), tiny_weights)
    assert heard.count("CUDAExecutionProvider") >= 6  # the landmarker, the product, three accuracies, the pair


def test_two_files_are_paired(bench: Bench, tiny_weights: Path) -> None:
    steps = list(bench.against("against", ("own", "other"), tiny_weights))
    assert [(step.name, step.count, step.reference) for step in steps] == [
        ("own, 1 at once", 1, None),
        ("other, 1 at once", 1, "own, 1 at once"),
        ("own, 16 at once", 16, None),
        ("other, 16 at once", 16, "own, 16 at once"),
    ]
    with pytest.raises(InputError, match="expected weights as"):
        list(bench.against("against", ("own", "other"), "other.pt"))


@pytest.mark.parametrize(("places", "count"), [("one face", 1), ("five faces", 5)])
def test_all_faces_of_the_frames_are_found(bench: Bench, places: str, count: int) -> None:
    frames = bench.frames(places)
    assert len(frames) == CYCLE
    assert all(frame.shape == (480, 640, 3) for frame in frames)
    assert len(bench.landmarker.find(frames[7])) == count == len(PLACES[places][1])
    step = np.abs(frames[0].astype(int) - frames[1]).max()
    assert step > 0  # the faces move, and the last frame leads to the first again
    assert np.abs(frames[-1].astype(int) - frames[0]).mean() < 3 * np.abs(frames[0].astype(int) - frames[1]).mean()


def test_a_picture_without_a_face(tmp_path: Path, tiny_weights: Path) -> None:
    write_image(tmp_path / "wall.png", np.full((60, 80, 3), 200, np.uint8))
    with pytest.raises(InputError, match=r"wall\.png: expected a picture with a face, found no face in it"):
        Bench(tmp_path / "wall.png", tiny_weights, 1)
    with pytest.raises(DataError, match=r"none\.png: expected"):
        Bench(tmp_path / "none.png", tiny_weights, 1)

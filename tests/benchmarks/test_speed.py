"""Speed of versions, threads and a peer: every part once, with a tiny network."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import pytest

import measure_precision
import measure_speed
from measure_speed import JOBS
from srn.datasets.sample import Sample
from srn.errors import InputError, MissingDependencyError
from srn.evaluation.speed_steps import ARITHMETIC, Bench
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image


@pytest.fixture
def bench(tiny_weights: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr("srn.evaluation.speed_steps.CYCLE", 2)
    return Bench(weights=tiny_weights, threads=1)


def test_two_versions_take_turns(bench: Bench, robust_weights: Path, tmp_path: Path) -> None:
    settings = measure_speed._settings(bench, argparse.Namespace(weights=None, threads=1), tmp_path)
    old, new = measure_speed.versions((sys.executable, sys.executable), settings, rounds=2)
    table, numbers = measure_speed.versions_table(old, new)
    assert list(numbers) == list(JOBS)
    for job in JOBS:
        assert old[job][0].shape == new[job][1].shape == (2,)
        assert (old[job][0] > 0).all()
        assert f"| {job} |" in table
    assert 0.1 < numbers["view"]["cpu_ratio"] < 10  # the same version


def test_a_version_that_does_not_start(bench: Bench, tiny_weights: Path, tmp_path: Path) -> None:
    settings = measure_speed._settings(bench, argparse.Namespace(weights=tmp_path / "none", threads=1), tmp_path)
    with pytest.raises(InputError, match="expected a Python in which srn is installed"):
        measure_speed.versions((sys.executable, sys.executable), settings, 1)


def test_threads_and_cores(bench: Bench, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_speed, "THREAD_CASES", ((1, 1, 8), (1, 2, 1), (10_000, 1, 1)))
    settings = measure_speed._settings(bench, argparse.Namespace(weights=tiny_weights, threads=1), tmp_path)
    one, two = measure_speed.thread_rows(settings, 1)
    assert (one["cores"], one["processes"], one["asked"], one["used"]) == (1, 1, 8, 1)
    assert (two["processes"], two["asked"]) == (2, 1)
    assert one["ms"] > 0
    assert two["cpu_ms"] > 0


def test_the_peer_needs_its_file_and_its_runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    with pytest.raises(MissingDependencyError, match="pip install ai-edge-litert"):
        measure_speed.peer_step(tmp_path / "face_landmark.tflite", "view", 1)
    monkeypatch.undo()
    pytest.importorskip("ai_edge_litert")
    with pytest.raises(InputError, match=r"face_landmark\.tflite: expected MediaPipe"):
        measure_speed.peer_step(tmp_path / "face_landmark.tflite", "view", 1)


def test_precisions_on_the_same_faces(tiny_weights: Path, tmp_path: Path, face: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    samples = []
    for number in range(3):
        write_image(tmp_path / f"{number}.png", rng.integers(0, 256, (150, 150, 3), dtype=np.uint8))
        samples.append(Sample(tmp_path / f"{number}.png", face * 60 + [75, 75], IBUG_68, "a"))
    rows, left_out = measure_precision.measure(samples, 1, tiny_weights)
    assert rows[0]["arithmetic"] == "onnxruntime, float32"
    assert rows[0]["difference"] == rows[0]["farthest_px"] == 0
    assert rows[0]["nme"] > 0
    assert len(rows) + len(left_out) == len(ARITHMETIC)
    for row in rows[1:]:
        assert 0 < row["farthest_px"] < 3
        low, high = row["interval"]
        assert low <= row["difference"] <= high
    assert measure_precision.row("3 faces", rows[0])[:2] == ["3 faces", "onnxruntime, float32"]

"""`srn benchmark`: one run, a table, JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.evaluation import speed_steps
from srn.media.pictures import write_image

Run = Callable[..., Any]


@pytest.fixture(autouse=True)
def little_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round, one frame to track, and no other runtime (`tests/evaluation/test_speed_steps.py` has all)."""
    monkeypatch.setattr("srn.evaluation.timing.LEAST_ROUNDS", 1)
    monkeypatch.setattr("srn.evaluation.speed_steps.CYCLE", 1)
    monkeypatch.setattr("srn.evaluation.speed_steps.ARITHMETIC", speed_steps.ARITHMETIC[:2])


def test_a_quick_run_with_a_pair(srn: Run, tiny_weights: Path, tmp_path: Path) -> None:
    ran = srn(
        "benchmark", "--quick", "--seconds", "0", "--threads", "1", "--weights", tiny_weights,
        "--against", tiny_weights, "--json", tmp_path / "speed.json",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    found = json.loads((tmp_path / "speed.json").read_text(encoding="utf-8"))
    steps = {(step["group"], step["name"]): step for step in found["steps"]}
    for group, name in (
        ("floor", "matrix product, 512"), ("picture", "face finder"), ("picture", "crop"), ("picture", "view"),
        ("picture", "end to end"), ("batch", "1 at once"), ("batch", "16 at once"),
        ("runtime and precision", "onnxruntime, float32, 1 at once"), ("tracking", "one face, 640 x 480"),
        ("tracking", "five faces, 640 x 480"),
    ):  # fmt: skip
        assert steps[group, name]["best_ms"] > 0
        assert name.split(",")[0].split()[0] in ran.out
    pair = steps["against", "against, 1 at once"]
    assert pair["reference"] == "weights, 1 at once"
    low, high = pair["time_ratio_interval"]
    assert 0.05 < low <= pair["time_ratio"] <= high < 20  # the same file, with a busy machine between
    assert found["threads"] == 1
    assert found["weights"].startswith("tiny.onnx@")
    floor = re.search(r"floor: (\d+) million multiply-adds a view, at the (\d+) GFLOP/s of the matrix product", ran.out)
    assert floor is not None
    assert int(floor[2]) == pytest.approx(found["floor"]["gflops"], abs=1)
    assert "left out: onnxruntime, int8: precision 'int8'" in ran.out


def test_iterations_are_cut_off(srn: Run, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without --quick all parts are there; a network of one iteration has none to leave out."""
    monkeypatch.setattr("srn.evaluation.speed_steps.BATCHES", (1,))
    ran = srn("benchmark", "--seconds", "0", "--threads", "1", "--weights", tiny_weights, "--json", tmp_path / "b.json")
    assert ran.code == 0, ran.err
    groups = {step["group"] for step in json.loads((tmp_path / "b.json").read_text(encoding="utf-8"))["steps"]}
    assert {"iterations", "threads", "accuracy, end to end"} <= groups


def test_a_picture_without_a_face(srn: Run, tiny_weights: Path, tmp_path: Path) -> None:
    write_image(tmp_path / "wall.png", np.full((60, 80, 3), 200, np.uint8))
    message = f"{tmp_path / 'wall.png'}: expected a picture with a face, found no face in it"
    assert srn("benchmark", tmp_path / "wall.png", "--weights", tiny_weights).mistake == message
    assert "nothing.jpg: expected a readable picture file" in srn("benchmark", tmp_path / "nothing.jpg").mistake


def test_a_file_that_is_no_network(srn: Run, tiny_weights: Path, tmp_path: Path) -> None:
    (tmp_path / "other.onnx").write_bytes(b"nothing")
    ran = srn("benchmark", "--quick", "--weights", tiny_weights, "--against", tmp_path / "other.onnx")
    assert ran.mistake.startswith(f"{tmp_path / 'other.onnx'}: expected a network exported by 'srn export' (.onnx)")

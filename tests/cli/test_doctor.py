"""`srn doctor`: what it tells, and what it finds wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.evaluation import self_test
from srn.face.weights import CATALOGUE, KnownWeights

Run = Callable[..., Any]


def test_a_sound_installation(srn: Run, robust_weights: Path, tmp_path: Path) -> None:
    ran = srn("doctor", "--threads", 1, "--json", tmp_path / "d.json")
    assert ran.code == 0, ran.err
    about = json.loads((tmp_path / "d.json").read_text())
    assert about["healthy"]
    assert about["threads"] == 1
    assert about["versions"]["numpy"] == np.__version__
    assert "CPUExecutionProvider" in about["providers"]
    assert {one["name"]: one["sha256"] for one in about["weights"]} == {one.name: one.sha256 for one in CATALOGUE}
    assert {"train", "eval", "video", "pandas"} <= about["extras"].keys()
    assert {"dev", "test"}.isdisjoint(about["extras"])
    assert about["extras"]["pandas"].keys() >= {"pandas"}
    assert f"numpy {np.__version__}" in ran.out
    assert "the portrait's face is found" in ran.out


def test_weights_that_are_elsewhere_take_one_line(
    srn: Run, robust_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(KnownWeights, "path", lambda one: robust_weights if one.name == "robust" else None)
    lines = [line.split("  ")[0] for line in srn("doctor", "--threads", 1).out.splitlines()]
    assert [line for line in lines if line.startswith("weights")] == ["weights robust", "weights elsewhere"]


@pytest.mark.parametrize("target", ["-", "/dev/stdout"])
def test_landmarks_that_are_off_and_changed_weights_fail(
    srn: Run, use_localizer: Any, fake_localizer: Any, face: Any, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    use_localizer(fake_localizer(lambda crop: (face * 20 + 20, None, None)))
    monkeypatch.setattr(self_test, "PINNED", {"robust.onnx": "0" * 64, "nothing.onnx": "0" * 64})
    ran = srn("doctor", "--json", target)
    assert ran.code == 1
    about = json.loads(ran.out)  # and nothing else
    assert not about["healthy"]
    assert "failed: the networks are those that were shipped: missing or changed: robust.onnx, nothing.onnx" in ran.err
    assert "of the face's size from the record" in ran.err


def test_a_network_that_does_not_open_fails(srn: Run, tmp_path: Path) -> None:
    (tmp_path / "w.onnx").write_bytes(b"nothing")
    ran = srn("doctor", "--weights", tmp_path / "w.onnx")
    assert ran.code == 1
    assert "failed: the network opens: " in ran.err

"""Devices and providers of ONNX Runtime, on machines that have them or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from srn.errors import InputError
from srn.inference.landmarker import FaceLandmarker
from srn.inference.runtime import open_localizer
from srn.inference.sessions import open_session

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str], list[str]], list[list[str]]]:
    """A machine whose ONNX Runtime has some providers, of which some start; returns what sessions asked for."""
    real = onnxruntime.InferenceSession
    asked: list[list[str]] = []

    def session(content: bytes, options: Any, providers: list[str], enable_fallback: int) -> Any:
        assert not enable_fallback  # it prints to the standard output
        asked.append(providers)
        opened = real(content, options, providers=[CPU])
        monkeypatch.setattr(opened, "get_providers", lambda: [name for name in providers if name in started])
        return opened

    started: list[str] = []

    def made(has: list[str], starts: list[str]) -> list[list[str]]:
        started[:] = starts
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: has)
        monkeypatch.setattr(onnxruntime, "InferenceSession", session)
        return asked

    return made


def test_cuda_comes_first_and_the_processor_second(machine: Callable[..., list[list[str]]], tiny_weights: Path) -> None:
    asked = machine([CUDA, CPU], [CUDA, CPU])
    localizer = open_localizer(tiny_weights, device="cuda")
    open_session(tiny_weights.read_bytes(), "finder.onnx", "a network", device="cuda")
    assert asked == [[CUDA, CPU]] * 2
    assert localizer.arithmetic == "onnxruntime, float32, cuda"  # type: ignore[attr-defined]


def test_cuda_without_its_provider(machine: Callable[..., list[list[str]]], tiny_weights: Path) -> None:
    asked = machine([CPU], [CPU])
    expected = rf"execution provider: expected one of {CPU} \(the package onnxruntime-gpu provides CUDA\), found {CUDA}"
    with pytest.raises(InputError, match=expected):
        open_localizer(tiny_weights, device="cuda")
    assert asked == []


def test_cuda_whose_libraries_do_not_load(machine: Callable[..., list[list[str]]], tiny_weights: Path) -> None:
    """ONNX Runtime would run on the processor, and say nothing."""
    machine([CUDA, CPU], [CPU])
    with pytest.raises(
        InputError, match=f"expected CUDA and cuDNN of the versions .*, found {CUDA}, which does not start"
    ):
        open_localizer(tiny_weights, device="cuda")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device: expected one of cpu, cuda, found 'tpu'"),
        ({"device": "cuda", "providers": [CPU]}, "device: expected a device or providers"),
        ({"providers": ["TpuProvider"]}, f"execution provider: expected one of .*{CPU}.*, found TpuProvider"),
    ],
)
def test_what_does_not_go_together(options: dict[str, Any], message: str, tiny_weights: Path) -> None:
    with pytest.raises(InputError, match=message):
        open_session(tiny_weights.read_bytes(), "tiny.onnx", "a network", **options)


def test_the_built_in_finder_has_the_device_of_the_network(
    machine: Callable[..., list[list[str]]], tiny_weights: Path
) -> None:
    asked = machine([CUDA, CPU], [CUDA, CPU])
    landmarker = FaceLandmarker(tiny_weights, device="cuda")
    assert asked == [[CUDA, CPU]]
    landmarker.find(np.zeros((64, 64, 3), np.uint8))
    assert asked == [[CUDA, CPU]] * 4  # the network, CenterFace, the proposals, their judge

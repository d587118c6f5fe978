"""Devices and providers of ONNX Runtime, on machines that have them or not."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from srn.errors import InputError
from srn.inference.landmarker import FaceLandmarker
from srn.inference.runtime import open_localizer
from srn.inference.sessions import Awaited, Reopened, Session, open_session

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


def test_an_open_session_does_not_keep_the_content_of_its_file(tiny_weights: Path) -> None:
    content = tiny_weights.read_bytes()
    before = sys.getrefcount(content)
    session = open_session(content, "tiny.onnx", "a network", own=True)
    assert session.get_inputs()
    assert sys.getrefcount(content) == before


class Base(Reopened):
    def __init__(self, path: str, *, threads: int = 1) -> None:
        self.path, self.threads = path, threads


class WithOtherArguments(Base):
    def __init__(self, folder: str) -> None:
        super().__init__(f"{folder}/a.onnx", threads=2)


def test_a_subclass_is_opened_again_by_its_own_arguments() -> None:
    """Those of its base would be taken for them."""
    rebuild, values = WithOtherArguments("weights").__reduce__()
    assert callable(rebuild)
    assert isinstance(values, tuple)
    again = rebuild(*values)
    assert (type(again), again.path, again.threads) == (WithOtherArguments, "weights/a.onnx", 2)


# --- sessions that are opened by a thread


@pytest.fixture
def content(tiny_weights: Path) -> bytes:
    return tiny_weights.read_bytes()


def test_an_awaited_session_waits_until_it_is_open(content: bytes) -> None:
    begin = threading.Event()

    def opened() -> Session:
        assert begin.wait(60)
        return open_session(content, "tiny.onnx", "a network", own=True)

    awaited = Awaited(opened)
    expected = open_session(content, "tiny.onnx", "a network", own=True)
    begin.set()
    assert [(one.name, one.shape) for one in awaited.get_inputs()] == [(x.name, x.shape) for x in expected.get_inputs()]


def test_an_error_of_the_thread_is_told_at_the_first_run(content: bytes) -> None:
    def fails() -> Session:
        raise InputError("no memory")

    awaited = Awaited(fails)
    for _ in range(2):
        with pytest.raises(InputError, match="no memory"):
            awaited.run(["shapes"], {})


def test_without_a_further_thread_it_is_opened_at_once(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)
    awaited = Awaited(lambda: open_session(content, "tiny.onnx", "a network", own=True))
    assert {one.name for one in awaited.get_inputs()} == {"image", "initial_shape", "hidden", "initial_weight"}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_process_is_forked_with_the_session_open(content: bytes) -> None:
    begin, opened = threading.Event(), threading.Event()

    def slowly() -> Session:
        assert begin.wait(60)
        session = open_session(content, "tiny.onnx", "a network", own=True)
        opened.set()
        return session

    awaited = Awaited(slowly)
    os.register_at_fork(before=begin.set)  # called before those that were registered earlier
    child = os.fork()
    if not child:
        os._exit(0 if opened.is_set() and awaited.get_inputs() else 1)
    assert os.waitpid(child, 0)[1] == 0

"""OpenVINO as a runtime: the numbers of ONNX Runtime, by another engine."""

from __future__ import annotations

import importlib
import importlib.util
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError, MissingDependencyError, WeightsError
from srn.inference.runtime import OnnxLocalizer, open_localizer

Crops = npt.NDArray[np.uint8]

needed = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="OpenVINO is not installed")


@pytest.fixture
def crops(rng: np.random.Generator) -> Crops:
    return rng.integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


def has_bf16() -> bool:
    openvino = importlib.import_module("openvino")

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@needed
@pytest.mark.parametrize("threads", [1, None])
def test_equals_onnx_runtime(tiny_weights: Path, crops: Crops, threads: int | None) -> None:
    ours = OnnxLocalizer(tiny_weights, runtime="openvino", threads=threads)
    theirs = OnnxLocalizer(tiny_weights, threads=1)
    assert (ours.scheme, ours.crop_spec, ours.name) == (theirs.scheme, theirs.crop_spec, theirs.name)
    assert (ours.provenance, ours.arithmetic) == ({"data": "nothing"}, "openvino, float32, cpu")
    start = np.random.default_rng(1).uniform(10, 54, (5, 68, 2)).astype(np.float32)
    hidden = np.random.default_rng(2).uniform(-1, 1, (5, 8)).astype(np.float32)
    weight = np.array([0, 1, 1, 0, 1], np.float32)
    for arguments in ((), (start,), (start, hidden, weight)):
        a, b = ours(crops, *arguments), theirs(crops, *arguments)
        for name in ("shapes", "hidden", "visibility", "expected_error"):
            np.testing.assert_allclose(getattr(a, name), getattr(b, name), atol=1e-3, err_msg=name)


@needed
def test_a_batch_is_its_faces_one_by_one(tiny_weights: Path, crops: Crops) -> None:
    localizer = OnnxLocalizer(tiny_weights, runtime="openvino", threads=1)
    together = localizer(crops).shapes
    alone = np.concatenate([localizer(crops[k : k + 1]).shapes for k in range(5)])
    np.testing.assert_allclose(together, alone, atol=1e-3)


@needed
def test_copies_and_threads_give_the_same_numbers(tiny_weights: Path, crops: Crops) -> None:
    localizer = OnnxLocalizer(tiny_weights, runtime="openvino")
    expected = localizer(crops).shapes
    copied = pickle.loads(pickle.dumps(localizer))
    assert copied.arithmetic == localizer.arithmetic
    np.testing.assert_allclose(copied(crops).shapes, expected, atol=1e-3)
    with ThreadPoolExecutor(4) as pool:
        for shapes in pool.map(lambda _: localizer(crops).shapes, range(12)):
            np.testing.assert_allclose(shapes, expected, atol=1e-3)


@needed
def test_bf16_is_near_and_says_so(tiny_weights: Path, crops: Crops) -> None:
    if not has_bf16():
        with pytest.raises(InputError, match="precision: expected float32 or int8 on a processor without bf16"):
            OnnxLocalizer(tiny_weights, runtime="openvino", precision="bf16")
        return
    low = OnnxLocalizer(tiny_weights, runtime="openvino", precision="bf16", threads=1)
    whole = OnnxLocalizer(tiny_weights, runtime="openvino", threads=1)
    assert low.name == f"{whole.name} in bf16"
    difference = np.abs(low(crops).shapes - whole(crops).shapes).max()
    assert 1e-4 < difference < 2  # crop pixels


@needed
def test_the_import_reports_to_nobody(tiny_weights: Path) -> None:
    """`openvino_telemetry` is not loaded, though it can be afterwards."""
    code = (
        "import sys; from srn import OnnxLocalizer; OnnxLocalizer(sys.argv[1], runtime='openvino');"
        "assert 'openvino' in sys.modules; assert 'openvino_telemetry' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(tiny_weights)], check=True, timeout=100)


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"not a network")
    with pytest.raises(WeightsError, match=r"broken\.onnx: expected a network exported by 'srn export'"):
        OnnxLocalizer(tmp_path / "broken.onnx", runtime="openvino")


def test_without_openvino(monkeypatch: pytest.MonkeyPatch, tiny_weights: Path) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    expected = r"the runtime 'openvino' needs openvino; install it with: pip install 'srn\[openvino\]'"
    with pytest.raises(MissingDependencyError, match=expected):
        open_localizer(tiny_weights, runtime="openvino")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"runtime": "tensorrt"}, "runtime: expected one of onnxruntime, openvino, found 'tensorrt'"),
        ({"precision": "half"}, "precision: expected one of float32, bf16, int8, found 'half'"),
        ({"precision": "bf16"}, "precision 'bf16': expected the runtime 'openvino', found 'onnxruntime'"),
        ({"precision": "int8"}, "precision 'int8': expected the shipped weights, found other weights"),
        ({"precision": "int8", "runtime": "openvino"}, "precision 'int8': expected the runtime 'onnxruntime', found"),
        ({"runtime": "openvino", "device": "cuda"}, "runtime 'openvino': expected the CPU, .* found device='cuda'"),
        ({"runtime": "openvino", "providers": ["A", "B"]}, "runtime 'openvino': expected the CPU, .* found A, B"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, Any], message: str, tiny_weights: Path) -> None:
    with pytest.raises(InputError, match=message):
        open_localizer(tiny_weights, **options)


@pytest.mark.parametrize("options", [{"runtime": "openvino"}, {"precision": "int8"}])
def test_the_weights_of_a_run_know_no_other_runtime(options: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=r"runtime and precision: expected neither with \.safetensors weights"):
        open_localizer("weights.safetensors", **options)


@needed
@pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")
def test_ctrl_c_after_a_network_is_freed_is_an_interruption(tiny_weights: Path) -> None:
    """In a process of its own, which a segmentation fault would end."""
    code = f"""
import gc, os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # some shells ignore it in the background
import numpy as np
from srn.inference.runtime import OnnxLocalizer
localizer = OnnxLocalizer({str(tiny_weights)!r}, runtime="openvino", threads=1)
localizer(np.zeros((2, 64, 64, 3), np.uint8))
del localizer
gc.collect()
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr

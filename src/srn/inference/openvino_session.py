"""Sessions in OpenVINO (the extra `openvino`), with the interface of ONNX Runtime's that a localizer uses."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from srn.errors import InputError, MissingDependencyError, WeightsError, first_line, let_interruption_pass
from srn.face.localizer import Float32Array
from srn.face.onnx_file import Digests, check_model, output_names
from srn.inference.cores import thread_count
from srn.inference.engines import Precision

_TELEMETRY = "openvino_telemetry"


class _Input(NamedTuple):
    """An input: name, and shape with None for the batch."""

    name: str
    shape: list[int | None]


class OpenVinoSession:
    """An ONNX model in OpenVINO, on the CPU.

    It is compiled twice: for one face, because a graph of fixed shapes is faster, and at the first batch for any
    number. Threads may share a session.

    Args:
        content: the file's content.
        where, expected: its name and description in error messages; the file must be shipped or sealed.
        threads: CPU threads, at most `usable_cores`; all of those if None.
        precision: arithmetic of float layers: `bf16`, or `float32` for any other.

    Raises:
        InputError: `threads` is below 1, or the processor has no bf16.
        WeightsError: the file is damaged, or OpenVINO cannot load the model.
        MissingDependencyError: OpenVINO is not installed.
    """

    def __init__(
        self,
        content: bytes,
        where: str | os.PathLike[str],
        expected: str,
        *,
        threads: int | None = None,
        precision: Precision = "float32",
        digests: Digests | None = None,
    ) -> None:
        self._threads = thread_count(threads)
        check_model(content, where, expected, own=True, digests=digests)
        self._core = _openvino().Core()
        if precision == "bf16" and "BF16" not in self._core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
            raise InputError.at("precision", "float32 or int8 on a processor without bf16", "bf16")
        self._precision = "bf16" if precision == "bf16" else "f32"
        try:
            self._model = self._core.read_model(content)
            self._inputs = [_Input(value.any_name, [None, *_free(value)]) for value in self._model.inputs]
            self._outputs = output_names(content)  # OpenVINO may give an output several names
            self._alone = self._compiled(1)
            self._batched: _Compiled | None = None
            self._lock = threading.Lock()
        except Exception as error:  # OpenVINO raises RuntimeError, and what its Python part raises
            let_interruption_pass(error)
            raise WeightsError.at(where, expected, f"an error: {first_line(error)}") from error

    def get_inputs(self) -> list[_Input]:
        """Return the inputs' names and shapes."""
        return self._inputs

    def run(self, names: Sequence[str], feeds: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Compute outputs for B >= 1 faces, in the order of `names`."""
        count = len(next(iter(feeds.values())))
        found = (self._alone if count == 1 else self._together()).run(feeds)
        return [found[self._outputs.index(name)] for name in names]

    def _together(self) -> _Compiled:
        with self._lock:
            self._batched = self._batched or self._compiled(None)
        return self._batched

    def _compiled(self, batch: int | None) -> _Compiled:
        """Compile the model for a batch size; for any if None."""
        self._model.reshape({name: [batch or -1, *shape[1:]] for name, shape in self._inputs})
        options = {
            "INFERENCE_NUM_THREADS": self._threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": self._precision,  # the default is half precision where the processor likes it
            "ENABLE_CPU_PINNING": False,  # several processes would be pinned to the same cores
        }
        with _own_signal_stack():
            return _Compiled(self._core.compile_model(self._model, "CPU", options))


class _Compiled:
    """A compiled model and its idle requests, one for each thread that runs it at a time."""

    def __init__(self, compiled: Any) -> None:
        self._compiled = compiled
        self._idle: list[Any] = []  # list.pop and list.append are atomic

    def run(self, feeds: Mapping[str, Float32Array]) -> list[Float32Array]:
        """Compute all outputs."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        request.infer(dict(feeds))
        values = [np.array(tensor.data, np.float32) for tensor in request.output_tensors]
        self._idle.append(request)
        return values


class _SignalStack(ctypes.Structure):
    _fields_ = (("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def _own_signal_stack() -> Iterator[None]:
    """Restore this thread's alternate signal stack afterwards (sigaltstack(2)).

    Compiling gives the thread one that is freed with the model. A signal after that, such as Ctrl-C, would end the
    process by a segmentation fault.
    """
    exchange = getattr(ctypes.CDLL(None), "sigaltstack", None) if os.name == "posix" else None
    before = _SignalStack()
    if exchange is not None:
        exchange(None, ctypes.byref(before))
    try:
        yield
    finally:
        if exchange is not None:
            exchange(ctypes.byref(before), None)


def _openvino() -> Any:
    """Import OpenVINO, without the package by which its import reports itself to a server."""
    loaded = sys.modules.get(_TELEMETRY)
    if "openvino" not in sys.modules:
        sys.modules[_TELEMETRY] = None  # type: ignore[assignment]  # OpenVINO then takes its own stub
    try:
        with MissingDependencyError.importing("openvino", "the runtime 'openvino'"):
            return importlib.import_module("openvino")
    finally:
        if loaded is None:
            sys.modules.pop(_TELEMETRY, None)
        else:
            sys.modules[_TELEMETRY] = loaded


def _free(value: Any) -> list[int]:
    """Return the sizes behind the batch."""
    return [dimension.get_length() for dimension in list(value.partial_shape)[1:]]

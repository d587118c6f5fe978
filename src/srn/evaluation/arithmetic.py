"""The floor of a network's time: its multiplications, at the speed of this machine's matrix product."""

from __future__ import annotations

import json
import math
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime

from srn.evaluation.timing import Step
from srn.inference.engines import Device
from srn.inference.sessions import open_session

PRODUCT_SIDE = 512
PRODUCT_FLOP = 2 * PRODUCT_SIDE**3

# An ONNX model of one node: c = MatMul(a, b), all of float32 (512, 512).
_PRODUCT = (
    b'\x08\x08\x12\x00:[\n\x11\n\x01a\n\x01b\x12\x01c"\x06MatMul\x12\x01gZ\x15\n\x01a\x12\x10\n\x0e\x08\x01\x12\n\n'
    b"\x03\x08\x80\x04\n\x03\x08\x80\x04Z\x15\n\x01b\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x08\x80\x04\n\x03\x08\x80\x04b"
    b"\x15\n\x01c\x12\x10\n\x0e\x08\x01\x12\n\n\x03\x08\x80\x04\n\x03\x08\x80\x04B\x04\n\x00\x10\r"
)


def product_step(*, threads: int | None, device: Device) -> Step:
    """Make a step that multiplies two matrices of side 512 in ONNX Runtime, on the threads or device of a network.

    It is the group `floor`. The step's unit is one product, of `PRODUCT_FLOP` operations.
    """
    session = open_session(_PRODUCT, "matrix product", "an ONNX model", threads=threads, device=device)
    a, b = np.random.default_rng(0).random((2, PRODUCT_SIDE, PRODUCT_SIDE), np.float32)
    return Step("floor", "matrix product, 512", lambda: session.run(None, {"a": a, "b": b}), unit="product")


def multiply_adds(content: bytes) -> dict[str, int]:
    """Count the multiply-adds of a landmark network, an ONNX file's content, for one face by kind of node.

    ONNX Runtime reports the shapes of every node that it runs. Convolutions and matrix products are counted, and no
    others, which have a small share of the arithmetic.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # nodes as in the file
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "nodes")
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        session.run(None, {value.name: np.zeros([1, *value.shape[1:]], np.float32) for value in session.get_inputs()})
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    found: Counter[str] = Counter()
    for event in events:
        arguments = event.get("args", {})
        if event.get("cat") == "Node" and arguments.get("output_type_shape"):
            kind = arguments["op_name"]
            # Each tensor is described as `{type: shape}`.
            inputs, outputs = (
                [next(iter(one.values())) for one in arguments[f"{end}_type_shape"]] for end in ("input", "output")
            )
            found[kind] += _count(kind, inputs, outputs[0])
    return {kind: count for kind, count in found.most_common() if count}


def _count(kind: str, inputs: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    if kind == "Conv":  # each output needs the weights of its channel
        return math.prod(output) * math.prod(inputs[1][1:])
    if kind == "MatMul":
        return math.prod(output) * inputs[0][-1]
    if kind == "Gemm":  # either input may be transposed, and the output (M, N) says which of its sizes is not K
        return math.prod(output) * (math.prod(inputs[0]) // output[0])
    return 0

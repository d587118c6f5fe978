"""The arithmetic of networks, counted from the shapes of their nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.evaluation.arithmetic import _PRODUCT, PRODUCT_FLOP, multiply_adds, product_step
from srn.inference.sessions import open_session


def model(nodes: list[Any], inputs: dict[str, list[int]], output: list[int], **weights: list[int]) -> bytes:
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    constants = [onnx.numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in weights.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, ["batch", *shape]) for name, shape in inputs.items()],
        [helper.make_tensor_value_info("y", kind, ["batch", *output])],
        constants,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    return bytes(made.SerializeToString())


def test_a_grouped_convolution_and_a_matrix_product() -> None:
    onnx = pytest.importorskip("onnx")
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w"], ["c"], group=2, strides=[2, 2], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["c"], ["r"]),
        onnx.helper.make_node("MatMul", ["r", "m"], ["y"]),
    ]
    content = model(nodes, {"x": [4, 8, 8]}, [6, 4, 5], w=[6, 2, 3, 3], m=[4, 5])
    convolution = (6 * 4 * 4) * (2 * 3 * 3)  # outputs times weights of each
    product = (6 * 4) * 4 * 5
    assert multiply_adds(content) == {"Conv": convolution, "MatMul": product}


@pytest.mark.parametrize("turned", [0, 1])
def test_a_layer_with_a_bias(turned: int) -> None:
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("Gemm", ["x", "w", "b"], ["y"], transB=turned)
    content = model([node], {"x": [7]}, [3], w=[3, 7] if turned else [7, 3], b=[3])
    assert multiply_adds(content) == {"Gemm": 7 * 3}


def test_the_shipped_network(robust_weights: Path) -> None:
    counts = multiply_adds(robust_weights.read_bytes())
    assert set(counts) <= {"Conv", "MatMul", "Gemm"}
    assert 250e6 < sum(counts.values()) < 400e6


def test_the_matrix_product_is_one() -> None:
    a, b = np.random.default_rng(1).random((2, 512, 512), np.float32)
    (product,) = open_session(_PRODUCT, "product", "a model", threads=1).run(None, {"a": a, "b": b})
    np.testing.assert_allclose(product, a @ b, rtol=1e-4)
    step = product_step(threads=1, device="cpu")
    step.run()
    assert (step.count, step.unit) == (1, "product")
    assert PRODUCT_FLOP == 2 * 512 * 512 * 512

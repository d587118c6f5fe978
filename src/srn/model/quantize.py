"""Static quantization of a network's graph: convolutions and wide linear layers compute in 8-bit integers."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import numpy_helper

Feeds = Mapping[str, npt.NDArray[np.float32]]

CONVOLUTIONS = ("encoder.", "coarse.")
LINEAR_LAYERS = ("coarse.3.", "recurrent.", "hsrm.g.", "hsrm.f.")
"""Layers of a `NetworkGraph` in integers, by the beginning of their names. All else stays in float32: the first
convolution, which is no faster; sampling, where the places must be exact; the non-local block; the last layers that
give coordinates, visibility and expected error."""


def quantized(
    model: onnx.ModelProto,
    examples: Iterable[Feeds],
    *,
    convolutions: tuple[str, ...] = CONVOLUTIONS,
    linear_layers: tuple[str, ...] = LINEAR_LAYERS,
) -> onnx.ModelProto:
    """Return a model with integer layers.

    Weights are integers with a scale for each output channel, of 7 bits: processors without VNNI add products in 16
    bits, where those of 8-bit weights overflow. Activations have 8 bits, and the range that they have in the examples.
    The result holds the folded weights and none of the network's parameters.

    Args:
        model: a graph in full precision.
        examples: inputs of the model, by name.
        convolutions, linear_layers: how the names of the nodes (Conv, Gemm) begin that compute in integers.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # the package has no types
        def __init__(self) -> None:
            self._examples = iter(examples)

        def get_next(self) -> Feeds | None:
            return next(self._examples, None)

    folded = _folded(model)
    chosen = _chosen(folded, convolutions, linear_layers)
    chosen += _rectifiers(folded, set(chosen))
    with tempfile.TemporaryDirectory() as folder, _quiet():
        path = str(Path(folder) / "quantized.onnx")
        quantize_static(
            folded, path, Reader(), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
            op_types_to_quantize=["Conv", "Gemm", "Relu"], nodes_to_quantize=chosen,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            extra_options={"OpTypesToExcludeOutputQuantization": ["Gemm"]},
        )  # fmt: skip
        result = onnx.load(path)
    _free_activations(result)
    result.producer_name = model.producer_name  # by which `srn.files` knows the program's own files
    return result


def _chosen(model: onnx.ModelProto, convolutions: tuple[str, ...], linear_layers: tuple[str, ...]) -> list[str]:
    sizes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    names = []
    for node in model.graph.node:
        if node.op_type == "Conv" and node.name.startswith(convolutions):
            names += [node.name] if sizes[node.input[1]][1] > 3 else []  # those on pixels are faster in float32
        elif node.op_type == "Gemm" and node.name.startswith(linear_layers):
            names.append(node.name)
    return names


def _rectifiers(model: onnx.ModelProto, chosen: set[str]) -> list[str]:
    """Name the activations behind convolutions in integers: the range of the integers then does their work."""
    convolutions = {node.output[0] for node in model.graph.node if node.op_type == "Conv" and node.name in chosen}
    return [node.name for node in model.graph.node if node.op_type == "Relu" and node.input[0] in convolutions]


def _free_activations(model: onnx.ModelProto) -> None:
    """Write the activations behind linear layers as a maximum.

    ONNX Runtime would merge them with a layer in float32, and would convert its weights in every run.
    """
    linear = {node.output[0] for node in model.graph.node if node.op_type == "Gemm"}
    behind = [node for node in model.graph.node if node.op_type == "Relu" and node.input[0] in linear]
    if behind:
        model.graph.initializer.append(numpy_helper.from_array(np.array(0, np.float32), "zero"))
    for node in behind:
        node.op_type = "Max"
        node.input.append("zero")


def _folded(model: onnx.ModelProto) -> onnx.ModelProto:
    """Compute what follows from parameters alone, as ONNX Runtime does when it loads a file."""
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "folded.onnx")
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        folded = onnx.load(options.optimized_model_filepath)
    del folded.opset_import[:]
    folded.opset_import.extend(model.opset_import)
    return folded


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the quantizer's advice: the graph is already folded."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)

"""An ONNX graph under construction: nodes, parameters, and the layers of PyTorch that the networks are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

OPSET = 18
IR_VERSION = 10

_NORM = ("weight", "bias", "running_mean", "running_var")  # in the order of ONNX

_HALF_FROM = 1024
"""Tensors of at least this many numbers are stored in half precision."""


def stored(tensor: Tensor, *, half: bool) -> Tensor:
    """Return a parameter as a file keeps it: in half precision, if `half` is set and it is large."""
    return tensor.half() if half and tensor.is_floating_point() and tensor.numel() >= _HALF_FROM else tensor


class Graph:
    """Nodes and initializers of a network's graph. A method that adds a value returns its name.

    Every parameter becomes an initializer of its own name, so that the file gives the network back. What follows from
    parameters alone, such as a batch norm folded into a convolution, is written as nodes on them. ONNX Runtime computes
    those once, when it loads the file.

    Args:
        network: the network whose parameters and modules the graph is about.
        half: store large parameters in half precision, behind a cast that is also computed at loading.
    """

    def __init__(self, network: nn.Module, *, half: bool) -> None:
        # The graph does not use the counters of seen batches.
        state = {name: t for name, t in network.state_dict().items() if not name.endswith("num_batches_tracked")}
        arrays = {name: stored(tensor.cpu(), half=half).numpy() for name, tensor in state.items()}
        self._halved = {name for name, array in arrays.items() if array.dtype == np.float16}
        self._initializers = {name: numpy_helper.from_array(array, name) for name, array in arrays.items()}
        self._prefix = {module: f"{name}." for name, module in network.named_modules()}
        self._constants: dict[tuple[Any, ...], str] = {}
        self._nodes: dict[str, onnx.NodeProto] = {}

    def add(
        self, kind: str, *inputs: str, output: str | None = None, layer: nn.Module | None = None, **attributes: Any
    ) -> str:
        """Add a node of one output, called `output` if that is given; the name of a layer's node begins with its."""
        prefix = "" if layer is None else self._prefix[layer]
        name = output or f"{prefix}{kind}.{len(self._nodes)}"
        self._nodes[name] = helper.make_node(kind, inputs, [name], name, **attributes)
        return name

    def split(self, x: str, sizes: list[int], axis: int) -> list[str]:
        """Add a split into parts of some sizes along an axis."""
        name = f"Split.{len(self._nodes)}"
        outputs = [f"{name}.{k}" for k in range(len(sizes))]
        self._nodes[name] = helper.make_node("Split", [x, self.whole(sizes)], outputs, name, axis=axis)
        return outputs

    def constant(self, values: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Add a constant; equal ones are one."""
        array = np.array(values, dtype)
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._constants:
            self._constants[key] = name = f"constant.{len(self._constants)}"
            self._initializers[name] = numpy_helper.from_array(array, name)
        return self._constants[key]

    def whole(self, values: npt.ArrayLike) -> str:
        """Add a constant of whole numbers: sizes, axes, indices."""
        return self.constant(values, np.int64)

    def parameter(self, module: nn.Module, name: str) -> str:
        """Return the float32 value of a module's parameter or buffer."""
        name = self._prefix[module].removeprefix(".") + name
        if name not in self._halved:
            return name
        full = f"{name}.float32"
        return full if full in self._nodes else self.add("Cast", name, output=full, to=TensorProto.FLOAT)

    def reshape(self, x: str, *shape: int) -> str:
        """Add a reshape; a size of 0 is that of `x`, and one of -1 follows from the others."""
        return self.add("Reshape", x, self.whole(shape))

    def join(self, *parts: str, axis: int) -> str:
        """Add a concatenation."""
        return parts[0] if len(parts) == 1 else self.add("Concat", *parts, axis=axis)

    def linear(self, x: str, *modules: nn.Module) -> str:
        """Add linear layers that read the same rows x (R, inputs): their outputs side by side."""
        weight, bias = (self.join(*(self.parameter(m, part) for m in modules), axis=0) for part in ("weight", "bias"))
        return self.add("Gemm", x, weight, bias, layer=modules[0], transB=1)

    def convolution(self, x: str, conv: nn.Conv2d, norm: nn.Module | None = None, gain: float = 1) -> str:
        """Add a convolution of `gain` times x; a batch norm behind it becomes part of its weights.

        ONNX Runtime keeps its fast layout of convolutions only without a batch norm between them.
        """
        weight, bias = self.parameter(conv, "weight"), None if conv.bias is None else self.parameter(conv, "bias")
        if gain != 1:
            weight = self.add("Mul", weight, self.constant(gain))
        if isinstance(norm, nn.BatchNorm2d):
            gamma, beta, mean, variance = (self.parameter(norm, n) for n in _NORM)
            scale = self.add("Div", gamma, self.add("Sqrt", self.add("Add", variance, self.constant(norm.eps))))
            weight = self.add("Mul", weight, self.reshape(scale, -1, 1, 1, 1))
            centered = mean if bias is None else self.add("Sub", mean, bias)
            bias = self.add("Sub", beta, self.add("Mul", centered, scale))
        inputs = [x, weight] if bias is None else [x, weight, bias]
        assert not isinstance(conv.padding, str)
        top, left = conv.padding
        return self.add("Conv", *inputs, layer=conv, pads=[top, left, top, left], strides=conv.stride)

    def layers(self, x: str, *modules: nn.Module, gain: float = 1) -> str:
        """Add layers one after the other; those within `Sequential` count as if they stood alone.

        The first one reads `gain` times x; where that is not 1, it is a convolution.
        """
        ahead = [layer for module in modules for layer in _flat(module)]
        while ahead:
            layer = ahead.pop(0)
            if isinstance(layer, nn.Conv2d):
                norm = ahead.pop(0) if ahead and isinstance(ahead[0], nn.BatchNorm2d) else None
                x, gain = self.convolution(x, layer, norm, gain), 1
            elif isinstance(layer, nn.BatchNorm2d):
                values = (self.parameter(layer, name) for name in _NORM)
                x = self.add("BatchNormalization", x, *values, epsilon=layer.eps)
            elif isinstance(layer, nn.Linear):
                x = self.linear(x, layer)
            elif isinstance(layer, nn.MaxPool2d):
                x = self.pool(x)
            elif isinstance(layer, nn.ReLU | nn.Flatten):
                x = self.add(type(layer).__name__.replace("ReLU", "Relu"), x)
            elif not isinstance(layer, nn.Identity):
                raise TypeError(f"no ONNX nodes for {type(layer).__name__}")
        return x

    def pool(self, x: str, *, ceil_mode: bool = False) -> str:
        """Add a maximum over 2 x 2 cells."""
        return self.add("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=int(ceil_mode))

    def enlarge(self, x: str) -> str:
        """Add a doubling of height and width by repetition."""
        scales, places = self.constant([1, 1, 2, 2]), "asymmetric"  # in nearest mode: each cell twice
        return self.add("Resize", x, "", scales, coordinate_transformation_mode=places, nearest_mode="floor")

    def model(self, inputs: Mapping[str, Sequence[int]], outputs: Mapping[str, Sequence[int]]) -> onnx.ModelProto:
        """Return the model, given the shapes of its inputs and outputs for one face."""

        def described(shapes: Mapping[str, Sequence[int]]) -> list[onnx.ValueInfoProto]:
            float32 = TensorProto.FLOAT
            return [helper.make_tensor_value_info(name, float32, ["batch", *s]) for name, s in shapes.items()]

        nodes, initializers = list(self._nodes.values()), list(self._initializers.values())
        graph = helper.make_graph(nodes, "srn", described(inputs), described(outputs), initializers)
        opset = [helper.make_opsetid("", OPSET)]
        return helper.make_model(graph, producer_name="srn", opset_imports=opset, ir_version=IR_VERSION)


def _flat(module: nn.Module) -> Iterator[nn.Module]:
    if isinstance(module, nn.Sequential):
        for layer in module:
            yield from _flat(layer)
    else:
        yield module

"""Graphs under construction: each layer against PyTorch, and what stands in the file."""

from __future__ import annotations

from collections import Counter
from typing import TypeVar

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from srn.model.graph import Graph, stored

M = TypeVar("M", bound=nn.Module)


def random(module: M) -> M:
    """The module with parameters and statistics that leave nothing out."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            if tensor.is_floating_point():
                low = 0.5 if name.endswith("running_var") else -1.0
                tensor.uniform_(low, 2.0, generator=generator)
    return module.eval()


def run(graph: Graph, output: str, x: torch.Tensor) -> tuple[np.ndarray, onnx.ModelProto]:
    """The value `output` for the input `x`, and the model."""
    graph.add("Identity", output, output="y")
    model = graph.model({"x": list(x.shape[1:])}, {"y": []})
    model.graph.output[0].type.tensor_type.ClearField("shape")
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x.numpy()})[0], model


LAYERS: dict[str, nn.Module] = {
    "convolution": nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1)),
    "no bias": nn.Sequential(nn.Conv2d(3, 4, 1, bias=False)),
    "batch norm behind": nn.Sequential(nn.Conv2d(3, 4, 3, 1, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU()),
    "bias and batch norm": nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, eps=0.1)),
    "batch norm alone": nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 2, 1)),
    "nested": nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3)), nn.Sequential(nn.BatchNorm2d(4)), nn.Identity()),
    "linear": nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(3 * 4 * 4, 5), nn.ReLU()),
}


@pytest.mark.parametrize("kind", LAYERS)
def test_layers_give_the_numbers_of_torch(kind: str) -> None:
    module = random(LAYERS[kind])
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    graph = Graph(module, half=False)
    found, model = run(graph, graph.layers("x", module), x)

    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), module(x), atol=1e-5, rtol=1e-5)
    kinds = Counter(node.op_type for node in model.graph.node)
    assert kinds["BatchNormalization"] == (kind == "batch norm alone")


def test_a_gain_counts_once() -> None:
    module = random(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)))
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    graph = Graph(module, half=False)
    found, _ = run(graph, graph.layers("x", module, gain=4), x)

    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(found), module(4 * x), atol=1e-4, rtol=1e-5)


def test_a_layer_without_nodes_is_refused() -> None:
    module = nn.Sequential(nn.Softplus())
    with pytest.raises(TypeError, match="no ONNX nodes for Softplus"):
        Graph(module, half=False).layers("x", module)


def test_linear_layers_side_by_side() -> None:
    modules = random(nn.ModuleList([nn.Linear(6, 2), nn.Linear(6, 3)]))
    x = torch.randn(4, 6, generator=torch.Generator().manual_seed(1))

    graph = Graph(modules, half=False)
    found, model = run(graph, graph.linear("x", *modules), x)

    with torch.no_grad():
        expected = torch.cat([m(x) for m in modules], dim=1)
    torch.testing.assert_close(torch.from_numpy(found), expected, atol=1e-5, rtol=1e-5)
    assert [node.op_type for node in model.graph.node].count("Gemm") == 1


def test_enlarging_repeats_cells_and_pooling_keeps_a_last_half_cell() -> None:
    x = torch.randn(1, 2, 3, 3, generator=torch.Generator().manual_seed(1))
    graph = Graph(nn.Module(), half=False)
    larger, _ = run(graph, graph.enlarge("x"), x)
    np.testing.assert_array_equal(larger, x.numpy().repeat(2, axis=2).repeat(2, axis=3))
    graph = Graph(nn.Module(), half=False)
    smaller, _ = run(graph, graph.pool("x", ceil_mode=True), x)
    np.testing.assert_array_equal(smaller, nn.functional.max_pool2d(x, 2, ceil_mode=True).numpy())


def test_parameters_keep_their_names_and_only_large_ones_are_halved() -> None:
    module = random(nn.ModuleDict({"wide": nn.Linear(64, 32), "norm": nn.BatchNorm2d(4)}))
    graph = Graph(module, half=True)
    full = graph.parameter(module["wide"], "weight")
    assert graph.parameter(module["wide"], "weight") == full
    _, model = run(graph, graph.add("MatMul", "x", full), torch.randn(2, 32))

    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    state = {name: t for name, t in module.state_dict().items() if "num_batches" not in name}
    assert kept.keys() == state.keys()
    assert {name for name, array in kept.items() if array.dtype == np.float16} == {"wide.weight"}
    for name, tensor in state.items():
        np.testing.assert_array_equal(kept[name], stored(tensor, half=True).numpy())
    assert [node.op_type for node in model.graph.node] == ["Cast", "MatMul", "Identity"]


def test_equal_constants_are_one() -> None:
    graph = Graph(nn.Module(), half=False)
    assert graph.constant([1, 2]) == graph.constant([1, 2])
    assert len({graph.constant([1, 2]), graph.constant([[1, 2]]), graph.whole([1, 2]), graph.constant([2, 1])}) == 4

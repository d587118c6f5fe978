"""The lean graph against PyTorch, for every architecture that a config can describe."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from srn.model.network import StructuralRelationNetwork
from srn.model.network_graph import NetworkGraph

from .conftest import make_network, small_config

VARIANTS: dict[str, dict[str, Any]] = {
    "robust": {},
    "tracker": {"recurrence": "frame"},
    "one iteration": {"iterations": 1},
    "no batch norm": {"batch_norm": False},
    "mean shape": {"coarse_shape": False},
    "hourglass": {"coarse_shape": False, "hourglass": True},
    "hourglass of odd levels": {"coarse_shape": False, "hourglass": True, "crop_size": 80},
    "no heads": {"point_heads": False},
    "visibility head": {"visibility_width": 12},
    "no visibility head of its own": {"visibility_width": 0},
    "visibility head of one iteration, 29 points": {"visibility_width": 5, "iterations": 1, "scheme_name": "cofw29"},
    "error direction": {"error_direction": True},
    "error direction, 29 points, no visibility head": {
        "error_direction": True, "scheme_name": "cofw29", "visibility_width": 0,
    },
    "no local offsets": {"local_offsets": False},
    "one offset": {"offsets_per_landmark": 1},
    "without non-local": {"non_local": False},
    "dot product": {"non_local_softmax": False},
    "29 points": {"scheme_name": "cofw29"},
    "98 points": {"scheme_name": "wflw98"},
    **{f"without {''.join(parts)}": {"without": parts} for parts in (
        ("g",), ("f",), ("d",), ("mu",), ("g", "f"), ("f", "d"), ("d", "mu"), ("f", "mu"), ("g", "f", "d", "mu"),
    )},
}  # fmt: skip

PAPER: dict[str, dict[str, Any]] = {
    "paper": {},
    "paper with batch norm": {"batch_norm": True},
    "paper with hourglass": {"hourglass": True},
    "paper, 29 points, without f and mu": {"scheme_name": "cofw29", "without": ("f", "mu")},
}


def inputs_of(network: StructuralRelationNetwork, batch: int) -> dict[str, np.ndarray]:
    """Crops, states, and shapes with points at the edges of the crop, on cells' centres and far outside."""
    rng, config = np.random.default_rng(7), network.config
    size, n = config.crop_size, config.scheme.n_points
    shape = rng.uniform(-0.2 * size, 1.2 * size, (batch, n, 2))
    edges = [[0.0, 0.0], [size - 1, size - 1], [-300, 25.5], [30.5, 9000], [1.5, 1.5], [size - 0.5, -0.5]]
    shape[:, :6] = np.array(edges)
    coarse = rng.random((batch, 3, size // 8, size // 8))
    values = {
        "image": coarse.repeat(8, axis=2).repeat(8, axis=3),
        "initial_shape": shape,
        "hidden": rng.normal(0, 0.5, (batch, config.hidden_size)),
        "initial_weight": np.arange(1, batch + 1) % 2,
    }
    return {name: value.astype(np.float32) for name, value in values.items()}


def opened(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def outputs_of(session: onnxruntime.InferenceSession, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, inputs), strict=True))


@pytest.mark.parametrize("variant", [*VARIANTS, *PAPER])
def test_the_graph_gives_the_numbers_of_torch(variant: str) -> None:
    name, changes = ("robust", VARIANTS[variant]) if variant in VARIANTS else ("paper", PAPER[variant])
    network = make_network(small_config(name, **changes))
    model = NetworkGraph(network, half=False).model()
    onnx.checker.check_model(model)
    session = opened(model)

    for batch in (1, 3):
        inputs = inputs_of(network, batch)
        found = outputs_of(session, inputs)
        with torch.no_grad():
            expected = network(*(torch.from_numpy(value) for value in inputs.values()))
        assert found["shapes"].shape == expected.shapes.shape
        np.testing.assert_allclose(found["shapes"], expected.shapes, atol=1e-3, rtol=1e-5)
        np.testing.assert_allclose(found["hidden_out"], expected.hidden, atol=1e-4)
        assert ("visibility" in found) == ("expected_error" in found) == network.config.point_heads
        if network.config.point_heads:
            np.testing.assert_allclose(found["visibility"], torch.sigmoid(expected.visibility), atol=1e-4)
            np.testing.assert_allclose(found["expected_error"], 2 * torch.exp(expected.log_scale), rtol=1e-4)


@pytest.mark.parametrize("variant", ["robust", "hourglass", "without mu", "paper"])
def test_every_node_is_needed(variant: str) -> None:
    changes = PAPER[variant] if variant == "paper" else VARIANTS[variant]
    network = make_network(small_config("paper" if variant == "paper" else "robust", **changes))
    graph = NetworkGraph(network, half=True).model().graph

    used = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    unused = [node.name for node in graph.node if not used.intersection(node.output)]
    assert unused == []
    # The mean shape is the file's own description; the counters of seen batches are left out.
    idle = {tensor.name for tensor in graph.initializer} - used
    assert idle <= {"mean_shape"}


def test_faces_of_a_batch_do_not_mix() -> None:
    network = make_network(small_config("robust"))
    session = opened(NetworkGraph(network, half=False).model())
    inputs = inputs_of(network, 4)

    together = outputs_of(session, inputs)

    for k in range(4):
        alone = outputs_of(session, {name: value[k : k + 1] for name, value in inputs.items()})
        for name, value in alone.items():
            np.testing.assert_allclose(together[name][k], value[0], atol=1e-4, err_msg=name)

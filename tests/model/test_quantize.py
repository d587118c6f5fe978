"""Networks in integers: which layers, what bits, and how far the landmarks move."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import srn.model.export
from srn.errors import WeightsError
from srn.inference.runtime import OnnxLocalizer
from srn.model.export import ParityError, export_int8, export_onnx, load_weights
from srn.model.network import StructuralRelationNetwork

from .conftest import make_network, small_config


@pytest.fixture(scope="module")
def crops() -> np.ndarray:
    """(20, 64, 64, 3) uint8: smooth noise."""
    coarse = np.random.default_rng(4).integers(0, 256, size=(20, 8, 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture
def network() -> StructuralRelationNetwork:
    return make_network(small_config("robust", iterations=2))


def test_integers_move_the_landmarks_a_little(
    network: StructuralRelationNetwork, crops: np.ndarray, tmp_path: Path
) -> None:
    export_onnx(network, tmp_path / "float.onnx", half=False)
    told = export_int8(network, tmp_path / "int8.onnx", crops, provenance={"data": "noise"})

    exact, rough = (OnnxLocalizer(tmp_path / f"{name}.onnx", threads=1) for name in ("float", "int8"))
    ours, theirs = rough(crops), exact(crops)
    moved = np.linalg.norm(ours.shapes[:, -1] - theirs.shapes[:, -1], axis=2)
    assert moved.mean() == pytest.approx(told, rel=1e-3)
    assert 1e-4 < told < 0.5
    assert rough.provenance == {"data": "noise"}
    assert ours.visibility is not None
    assert theirs.visibility is not None
    assert 0 < np.abs(ours.visibility - theirs.visibility).max() < 0.2
    # Every face by itself: a batch sets no ranges.
    np.testing.assert_allclose(rough(crops[3:4]).shapes[0], ours.shapes[3], atol=0.05)


def test_convolutions_and_wide_layers_are_in_integers_of_seven_bits(
    network: StructuralRelationNetwork, crops: np.ndarray, tmp_path: Path
) -> None:
    export_int8(network, tmp_path / "int8.onnx", crops)
    graph = onnx.load(str(tmp_path / "int8.onnx")).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    sources = {node.output[0]: node for node in graph.node}

    def weight(node: onnx.NodeProto) -> np.ndarray:
        source = sources.get(node.input[1])
        return values[node.input[1] if source is None else source.input[0]]

    layers = [node for node in graph.node if node.op_type in {"Conv", "Gemm"}]
    integer = {node.name.rsplit(".", 2)[0] for node in layers if weight(node).dtype == np.int8}
    exact = {node.name.rsplit(".", 2)[0] for node in layers if weight(node).dtype == np.float32}
    assert {"encoder.stem.2.0", "encoder.merge4.0", "coarse.0", "coarse.3", "recurrent", "hsrm.g.snout"} <= integer
    assert {"encoder.stem.0.0", "encoder.squeeze", "coarse.5", "point_heads.local"} <= exact
    assert not integer & exact
    for node in layers:
        if weight(node).dtype == np.int8:
            assert np.abs(weight(node).astype(int)).max() <= 64
            scale = values[sources[node.input[1]].input[1]]
            assert scale.shape == (len(weight(node)),)  # one for each output channel
    rectified = [sources[node.input[0]].op_type for node in graph.node if node.op_type == "Relu"]
    assert "Add" in rectified
    assert "DequantizeLinear" not in rectified  # the range of the integers does it


def test_a_file_in_integers_is_not_trained_further(
    network: StructuralRelationNetwork, crops: np.ndarray, tmp_path: Path
) -> None:
    path = tmp_path / "int8.onnx"
    export_int8(network, path, crops)
    with pytest.raises(WeightsError, match=f"{path}: expected a network with its parameters, found one in integers"):
        load_weights(path)


def test_nothing_is_written_where_integers_lose_the_face(
    network: StructuralRelationNetwork, crops: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ruined(model: onnx.ModelProto, _examples: object) -> onnx.ModelProto:
        result = onnx.ModelProto()
        result.CopyFrom(model)
        weight = next(tensor for tensor in result.graph.initializer if tensor.name == "hsrm.mu.bias")
        weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight) + np.float32(0.1), weight.name))
        return result

    monkeypatch.setattr(srn.model.export, "quantized", ruined)
    with pytest.raises(ParityError, match=r"int8\.onnx: integers move the landmarks by .* nothing was written"):
        export_int8(network, tmp_path / "int8.onnx", crops)
    assert not (tmp_path / "int8.onnx").exists()

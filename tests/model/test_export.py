"""Exported networks: ONNX Runtime says what PyTorch says, and the file gives the network back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import srn.model.export
from srn.errors import InputError, WeightsError
from srn.face.onnx_file import SEAL_LENGTH, sealed
from srn.inference.runtime import OnnxLocalizer
from srn.model.checkpoint import save_network
from srn.model.config import ModelConfig, preset
from srn.model.export import FORMAT, ParityError, export_int8, export_onnx, load_onnx, load_weights, parity
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork

from .conftest import make_network

TOLERANCE = 1e-3
"""Crop pixels. A face is about a hundred of them wide."""

SMALL_PAPER: dict[str, Any] = {
    "crop_size": 64, "face_size": 40.0, "hidden_size": 8, "region_size": 12, "component_size": 10, "iterations": 2,
    "scheme_name": "cofw29",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("export")


@pytest.fixture(scope="module")
def robust(folder: Path) -> tuple[StructuralRelationNetwork, Path, float]:
    """The default network at its real size, half precision: network, file, reported difference."""
    network = make_network(preset("robust"))
    path = folder / "new" / "robust.onnx"
    return network, path, export_onnx(network, path, provenance={"data": "none", "faces_seen": "0"})


@pytest.fixture(scope="module")
def paper(folder: Path) -> tuple[StructuralRelationNetwork, Path, float]:
    """The paper's network, narrow and for 29 points, full precision."""
    network = make_network(preset("paper", **SMALL_PAPER))
    return network, folder / "paper.onnx", export_onnx(network, folder / "paper.onnx", half=False)


every_export = pytest.mark.parametrize("which", ["robust", "paper"])


def rounded(network: StructuralRelationNetwork, half: bool) -> StructuralRelationNetwork:
    """The network with its large tensors as half precision stores them."""
    copy = StructuralRelationNetwork(network.config, network.mean_shape.numpy())
    copy.load_state_dict(
        {
            name: tensor.half().float() if half and tensor.is_floating_point() and tensor.numel() >= 1024 else tensor
            for name, tensor in network.state_dict().items()
        }
    )
    return copy.eval()


def crops_of(config: ModelConfig, batch: int) -> np.ndarray:
    size = config.crop_size
    coarse = np.random.default_rng(4).integers(0, 256, size=(batch, size // 8, size // 8, 3), dtype=np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


def start_of(network: StructuralRelationNetwork, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Initial shapes (some points outside of the crop) and hidden states."""
    rng = np.random.default_rng(5)
    shape = network.mean_initial_shape(batch).numpy() + rng.normal(0, 4, (batch, network.config.scheme.n_points, 2))
    shape[:, 0] = [-7.3, network.config.crop_size + 11.9]
    return shape.astype(np.float32), rng.normal(0, 0.5, (batch, network.config.hidden_size)).astype(np.float32)


# --- the same numbers


@every_export
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_runtime_says_what_torch_says(which: str, batch: int, request: pytest.FixtureRequest) -> None:
    network, path, _ = request.getfixturevalue(which)
    reference = TorchLocalizer(rounded(network, half=which == "robust"))
    runtime = OnnxLocalizer(path, threads=1)
    crops = crops_of(network.config, batch)
    shape, hidden = start_of(network, batch)
    weight = (np.arange(batch) % 2).astype(np.float32)

    for inputs in ((), (shape,), (shape, hidden), (shape, hidden, weight)):
        ours, theirs = runtime(crops, *inputs), reference(crops, *inputs)
        assert ours.shapes.shape == (batch, network.config.iterations, network.config.scheme.n_points, 2)
        np.testing.assert_allclose(ours.shapes, theirs.shapes, atol=TOLERANCE, rtol=0)
        np.testing.assert_allclose(ours.hidden, theirs.hidden, atol=1e-4, rtol=0)
        if theirs.visibility is None:
            assert ours.visibility is None
            assert ours.expected_error is None
        else:
            assert ours.visibility is not None
            assert ours.expected_error is not None
            assert theirs.expected_error is not None
            np.testing.assert_allclose(ours.visibility, theirs.visibility, atol=1e-4, rtol=0)
            np.testing.assert_allclose(ours.expected_error, theirs.expected_error, atol=1e-4, rtol=0)


@every_export
def test_the_reported_difference_is_small_and_measured(which: str, request: pytest.FixtureRequest) -> None:
    network, path, difference = request.getfixturevalue(which)

    assert 0 < difference < TOLERANCE
    # Against weights that are not the file's own there is a difference to see.
    other = rounded(network, half=which == "robust")
    with torch.no_grad():
        other.recurrent.bias.add_(0.5)
    assert parity(other, path.read_bytes()) > 10 * difference


def test_the_initial_weight_chooses_the_start(robust: tuple[StructuralRelationNetwork, Path, float]) -> None:
    network, path, _ = robust
    runtime = OnnxLocalizer(path, threads=1)
    crops = crops_of(network.config, 3)
    shape, _ = start_of(network, 3)

    mixed = runtime(crops, shape, None, np.array([1, 0, 1], np.float32)).shapes
    own, given = runtime(crops).shapes, runtime(crops, shape).shapes

    assert np.abs(own - given).max() > 1
    np.testing.assert_allclose(mixed[1], own[1], atol=TOLERANCE)
    np.testing.assert_allclose(mixed[[0, 2]], given[[0, 2]], atol=TOLERANCE)


def test_the_state_of_a_frame_goes_into_the_next(paper: tuple[StructuralRelationNetwork, Path, float]) -> None:
    network, path, _ = paper
    runtime = OnnxLocalizer(path, threads=1)
    crops = crops_of(network.config, 1)

    first = runtime(crops)
    second = runtime(crops, None, first.hidden)

    expected = TorchLocalizer(network)(crops, None, first.hidden)
    assert np.abs(second.shapes - first.shapes).max() > TOLERANCE
    np.testing.assert_allclose(second.shapes, expected.shapes, atol=TOLERANCE)


# --- the file


def test_the_paper_has_two_outputs_and_robust_four(
    paper: tuple[Any, Path, float], robust: tuple[Any, Path, float]
) -> None:
    def outputs(path: Path) -> list[str]:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return [output.name for output in session.get_outputs()]

    assert outputs(paper[1]) == ["shapes", "hidden_out"]
    assert outputs(robust[1]) == ["shapes", "hidden_out", "visibility", "expected_error"]


def test_the_file_says_what_is_in_it(robust: tuple[StructuralRelationNetwork, Path, float]) -> None:
    network, path, _ = robust
    model = onnx.load(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}

    assert metadata["format"] == FORMAT
    assert ModelConfig.from_json(metadata["config"]) == network.config
    assert json.loads(metadata["provenance"]) == {"data": "none", "faces_seen": "0"}
    np.testing.assert_allclose(json.loads(metadata["mean_shape"]), network.mean_shape, atol=1e-6)
    assert {tensor.name for tensor in model.graph.initializer} >= dict(network.named_parameters()).keys()


def test_the_file_is_one_and_half_as_large(robust: tuple[StructuralRelationNetwork, Path, float]) -> None:
    network, path, _ = robust
    numbers = sum(parameter.numel() for parameter in network.parameters())

    assert os.listdir(path.parent) == ["robust.onnx"]
    assert 2 * numbers < path.stat().st_size < 2.2 * numbers


def test_batch_norms_are_folded_into_convolutions(robust: tuple[StructuralRelationNetwork, Path, float]) -> None:
    network, path, _ = robust
    kinds = [node.op_type for node in onnx.load(str(path)).graph.node]

    assert any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
    assert "Conv" in kinds
    assert "BatchNormalization" not in kinds


def test_the_file_tells_nothing_of_the_machine_that_wrote_it(robust: tuple[Any, Path, float]) -> None:
    content = robust[1].read_bytes()

    for trace in (
        str(Path(srn.model.export.__file__).parents[2]),
        "site-packages",
        "export.py",
        str(Path.home()) + "/",
    ):
        assert trace.encode() not in content


# --- there and back


@every_export
def test_the_file_gives_the_network_back(which: str, request: pytest.FixtureRequest) -> None:
    network, path, _ = request.getfixturevalue(which)

    read, provenance = load_onnx(path)

    assert read.config == network.config
    assert not read.training
    assert provenance == ({"data": "none", "faces_seen": "0"} if which == "robust" else {})
    expected = rounded(network, half=which == "robust").state_dict()
    for name, tensor in read.state_dict().items():
        assert tensor.dtype == expected[name].dtype
        assert torch.equal(tensor, expected[name]), name
        original = network.state_dict()[name]
        # Half precision keeps 11 binary digits; below 6e-5 its steps are 6e-8.
        torch.testing.assert_close(tensor, original, rtol=2**-11, atol=2**-25, msg=name)


def test_a_network_read_back_exports_to_the_same_predictions(paper: tuple[Any, Path, float], tmp_path: Path) -> None:
    network, path, _ = paper
    again = tmp_path / "again.onnx"

    export_onnx(load_onnx(path)[0], again, half=False)

    crops = crops_of(network.config, 2)
    shape, hidden = start_of(network, 2)
    first, second = (OnnxLocalizer(file, threads=1)(crops, shape, hidden) for file in (path, again))
    np.testing.assert_array_equal(first.shapes, second.shapes)
    np.testing.assert_array_equal(first.hidden, second.hidden)


def test_weights_are_read_from_either_kind_of_file(paper: tuple[Any, Path, float], tmp_path: Path) -> None:
    network, path, _ = paper
    save_network(tmp_path / "w.safetensors", network, provenance={"data": "drawn"})

    from_run, facts = load_weights(tmp_path / "w.safetensors")
    from_export, _ = load_weights(path)

    assert facts == {"data": "drawn"}
    assert torch.equal(from_run.recurrent.bias, network.recurrent.bias)
    assert torch.equal(from_export.recurrent.bias, network.recurrent.bias)


# --- what goes wrong


def foreign(path: Path, metadata: dict[str, str]) -> None:
    """A valid ONNX file of somebody else's: the identity."""
    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", info[:1], info[1:])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(sealed(model.SerializeToString()))


@pytest.mark.parametrize("content", [None, b"", b"not an onnx file at all"], ids=["missing", "empty", "text"])
def test_a_file_that_is_no_network(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "w.onnx"
    if content is not None:
        path.write_bytes(content)

    with pytest.raises(WeightsError, match=f"^{path}: expected a network exported by 'srn export'") as caught:
        load_weights(path)

    assert "\n" not in str(caught.value)


def test_somebody_elses_network(tmp_path: Path) -> None:
    foreign(tmp_path / "w.onnx", {"author": "somebody"})

    with pytest.raises(WeightsError, match="another ONNX file"):
        load_onnx(tmp_path / "w.onnx")


def test_a_file_with_tensors_missing_is_not_filled_up_with_random_ones(
    paper: tuple[Any, Path, float], tmp_path: Path
) -> None:
    path = paper[1]
    metadata = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    foreign(tmp_path / "w.onnx", metadata)

    with pytest.raises(WeightsError, match=r"expected a tensor '.+', found none"):
        load_onnx(tmp_path / "w.onnx")


def test_an_older_file_is_exported_anew(paper: tuple[Any, Path, float], tmp_path: Path) -> None:
    content = paper[1].read_bytes()
    (tmp_path / "old.onnx").write_bytes(content[:-SEAL_LENGTH])
    with pytest.raises(WeightsError, match=r"found no valid SHA-256 in it: .*'srn export' writes it anew"):
        load_weights(tmp_path / "old.onnx")
    network, _ = load_weights(tmp_path / "old.onnx", older=True)
    assert torch.equal(network.recurrent.bias, load_weights(paper[1])[0].recurrent.bias)


@pytest.mark.parametrize("difference", [0.011, float("inf"), float("nan")])
def test_nothing_is_left_behind_where_the_numbers_differ(
    difference: float, paper: tuple[Any, Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = paper[0]
    monkeypatch.setattr(srn.model.export, "parity", lambda *_args: difference)
    (tmp_path / "old.onnx").write_bytes(b"the old file")

    for name in ("old.onnx", "new.onnx"):
        with pytest.raises(ParityError, match=f"{name}: .*nothing was written"):
            export_onnx(network, tmp_path / name, half=False)

    assert os.listdir(tmp_path) == ["old.onnx"]
    assert (tmp_path / "old.onnx").read_bytes() == b"the old file"


@pytest.mark.parametrize("name", ["mine", "mine.safetensors", ".onnx"])
def test_a_name_that_could_not_be_opened_is_refused(paper: tuple[Any, Path, float], tmp_path: Path, name: str) -> None:
    for write in (export_onnx, lambda network, path: export_int8(network, path, np.zeros((1, 64, 64, 3), np.uint8))):
        with pytest.raises(InputError, match=r"expected a file that ends in \.onnx, found"):
            write(paper[0], tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_network_of_nans_has_no_parity(paper: tuple[StructuralRelationNetwork, Path, float]) -> None:
    network, path, _ = paper
    broken = rounded(network, half=False)
    assert broken.hsrm.mu is not None
    torch.nn.init.constant_(broken.hsrm.mu.bias, float("nan"))

    assert np.isnan(parity(broken, path.read_bytes()))


def test_a_full_disk_leaves_the_old_file(
    paper: tuple[Any, Path, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = paper[0]
    (tmp_path / "w.onnx").write_bytes(b"the old file")

    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(InputError, match="No space left"):
        export_onnx(network, tmp_path / "w.onnx", half=False)

    assert os.listdir(tmp_path) == ["w.onnx"]
    assert (tmp_path / "w.onnx").read_bytes() == b"the old file"

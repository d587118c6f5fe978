"""Checkpoints: what is written is what is read, and nothing else passes for one."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from srn.errors import InputError, WeightsError
from srn.model.checkpoint import FORMAT, adapted, load_network, load_tensors, network_from, save_network, save_tensors
from srn.model.config import preset
from srn.model.network import StructuralRelationNetwork

from .conftest import make_network, small_config


@pytest.fixture
def network() -> StructuralRelationNetwork:
    return make_network(small_config("robust", hidden_size=18, without=("mu",)))


def predicted(network: StructuralRelationNetwork) -> torch.Tensor:
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return network(image).shapes


def test_round_trip(network: StructuralRelationNetwork, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / "weights.safetensors"
    save_network(path, network.train(), provenance={"data": "300W", "faces_seen": "64"})

    read, metadata = load_network(path)

    assert read.config == network.config
    assert not read.training
    assert metadata == {"data": "300W", "faces_seen": "64", "format": FORMAT, "config": network.config.to_json()}
    expected = network.state_dict()
    assert set(read.state_dict()) == set(expected)
    for name, tensor in read.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    assert torch.equal(predicted(read), predicted(network.eval()))
    assert os.listdir(path.parent) == ["weights.safetensors"]


def test_the_file_is_plain_safetensors_with_the_mean_shape_inside(
    network: StructuralRelationNetwork, tmp_path: Path
) -> None:
    save_network(tmp_path / "w.safetensors", network)

    with safe_open(tmp_path / "w.safetensors", framework="np") as file:
        assert (file.get_tensor("mean_shape") == network.mean_shape.numpy()).all()


def test_provenance_cannot_pose_as_the_description(network: StructuralRelationNetwork, tmp_path: Path) -> None:
    save_network(tmp_path / "w.safetensors", network, provenance={"config": "{}", "format": "mine"})

    assert load_network(tmp_path / "w.safetensors")[0].config == network.config


def test_half_precision_rounds_and_is_read_in_full(network: StructuralRelationNetwork, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_network(whole, network)
    save_network(half, network, half=True)

    stored, _ = load_tensors(half)
    read, _ = load_network(half)

    assert {t.dtype for t in stored.values()} == {torch.float16, torch.int64}
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    for name, tensor in read.state_dict().items():
        original = network.state_dict()[name]
        assert tensor.dtype == original.dtype
        # Half precision keeps 11 binary digits; below 6e-5 its steps are 6e-8.
        torch.testing.assert_close(tensor, original, rtol=2**-11, atol=2**-25, msg=name)


def test_tensors_that_share_no_layout_are_written_as_they_read(tmp_path: Path) -> None:
    """Convolutions are trained channels-last; the file holds the same numbers in the same places."""
    weights = torch.arange(2.0 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    save_tensors(tmp_path / "t", {"a": weights.to(memory_format=torch.channels_last), "b": weights[:, 1]}, {"k": "v"})

    tensors, metadata = load_tensors(tmp_path / "t")

    assert torch.equal(tensors["a"], weights)
    assert torch.equal(tensors["b"], weights[:, 1])
    assert metadata == {"k": "v"}


# --- what is not a checkpoint


def fails(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        load_network(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_missing_file(tmp_path: Path) -> None:
    assert fails(tmp_path / "none.safetensors").startswith(f"{tmp_path / 'none.safetensors'}: expected")


@pytest.mark.parametrize("keep", [0, 5, 400, -1], ids=["empty", "no header", "half a header", "last byte missing"])
def test_a_truncated_file(keep: int, network: StructuralRelationNetwork, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_network(path, network)
    path.write_bytes(path.read_bytes()[:keep])

    assert str(path) in fails(path)


def test_a_pickle_is_not_even_looked_into(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    torch.save({"mean_shape": torch.zeros(68, 2)}, path)

    assert "safetensors" in fails(path)


def test_a_folder(tmp_path: Path) -> None:
    assert str(tmp_path) in fails(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (None, "without a format entry"),
        ({"author": "somebody"}, "without a format entry"),
        ({"format": "another 3"}, "found another 3"),
        ({"format": FORMAT}, "model config"),
        ({"format": FORMAT, "config": "{"}, "model config"),
    ],
    ids=["bare", "foreign", "other format", "no config", "broken config"],
)
def test_another_programs_file(metadata: dict[str, str] | None, words: str, tmp_path: Path) -> None:
    save_file({"mean_shape": torch.zeros(68, 2)}, tmp_path / "w.safetensors", metadata)

    assert words in fails(tmp_path / "w.safetensors")


def changed(network: StructuralRelationNetwork, path: Path, **tensors: Any) -> None:
    """A checkpoint with some tensors replaced (or, with None, gone)."""
    state = {**network.state_dict(), **{name.replace("__", "."): t for name, t in tensors.items()}}
    kept = {name: t for name, t in state.items() if t is not None}
    save_tensors(path, kept, {"format": FORMAT, "config": network.config.to_json()})


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"recurrent__bias": None}, "recurrent.bias"),
        ({"recurrent__bias": torch.zeros(17)}, "recurrent.bias"),
        ({"another__weight": torch.zeros(3)}, "another.weight"),
        ({"mean_shape": None}, "a tensor 'mean_shape'"),
        ({"mean_shape": torch.zeros(29, 2)}, "68 points, found (29, 2)"),
    ],
    ids=["missing", "size", "unexpected", "no mean shape", "another scheme's mean shape"],
)
def test_weights_that_do_not_fit_their_description(
    tensors: dict[str, Any], words: str, network: StructuralRelationNetwork, tmp_path: Path
) -> None:
    changed(network, tmp_path / "w.safetensors", **tensors)

    message = fails(tmp_path / "w.safetensors")

    assert str(tmp_path / "w.safetensors") in message
    assert words in message


def test_a_flipped_byte_is_always_found(network: StructuralRelationNetwork, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_network(path, network, provenance={"data": "nothing"})
    content = path.read_bytes()
    for place in [*np.random.default_rng(0).choice(len(content), 60, replace=False).tolist(), 200, len(content) - 1]:
        broken = bytearray(content)
        broken[place] ^= 1 << place % 8
        path.write_bytes(broken)
        fails(path)


def test_files_of_older_versions_have_no_digest(network: StructuralRelationNetwork, tmp_path: Path) -> None:
    save_network(tmp_path / "new.safetensors", network)
    tensors, metadata = load_tensors(tmp_path / "new.safetensors")
    save_file(tensors, tmp_path / "old.safetensors", metadata)
    assert torch.equal(load_network(tmp_path / "old.safetensors")[0].recurrent.bias, network.recurrent.bias)


def test_a_network_of_another_size(network: StructuralRelationNetwork) -> None:
    with pytest.raises(WeightsError, match=r"expected \w+.* \(.*\), as of .*, found \("):
        network_from(network.state_dict(), preset("robust"), "the weights")


# --- writing


@pytest.mark.parametrize("moment", ["fsync", "replace"])
def test_a_failing_write_leaves_the_old_file(moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state.safetensors"
    save_tensors(path, {"a": torch.ones(3)}, {"step": "1"})

    def full(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if moment == "fsync" else Path, moment, full)
    with pytest.raises(InputError, match="No space left"):
        save_tensors(path, {"a": torch.zeros(3)}, {"step": "2"})
    monkeypatch.undo()

    tensors, metadata = load_tensors(path)
    assert tensors["a"].tolist() == [1, 1, 1]
    assert metadata == {"step": "1"}
    assert os.listdir(tmp_path) == ["state.safetensors"]


def test_the_content_is_on_the_disk_before_the_file_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(descriptor: int) -> None:
        happened.append(f"fsync {os.fstat(descriptor).st_size > 24}")
        fsync(descriptor)

    def noted_replace(self: Path, target: Path) -> Path:
        happened.append(f"replace {target.name}")
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    save_tensors(tmp_path / "t", {"a": torch.ones(3)}, {})

    assert happened == ["fsync True", "replace t"]


def test_a_deepened_network_gives_the_same_answers_and_has_more_to_learn() -> None:
    torch.manual_seed(0)
    shallow = StructuralRelationNetwork(
        small_config("robust", blocks=(1, 2, 1)), np.random.default_rng(0).random((68, 2))
    )
    for norm in (m for m in shallow.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)  # as after training: blocks are no identities any more
    config = small_config("robust", blocks=(3, 2, 2))
    deep = adapted(shallow.eval(), config).eval()
    image = torch.rand(2, 3, config.crop_size, config.crop_size)

    assert torch.equal(deep(image).shapes, shallow(image).shapes)
    assert sum(p.numel() for p in deep.parameters()) > sum(p.numel() for p in shallow.parameters())
    deep.train()(image).shapes.sum().backward()
    gradient = deep.get_parameter("encoder.stage4.2.norm2.weight").grad
    assert gradient is not None
    assert gradient.abs().max() > 0


@pytest.mark.parametrize("changes", [{"blocks": (1, 1, 1)}, {"blocks": (2, 2, 2), "hidden_size": 24}])
def test_a_network_cannot_be_adapted_into_another_one(changes: dict[str, Any]) -> None:
    config = small_config("robust", blocks=(1, 2, 1))
    shallow = StructuralRelationNetwork(config, np.zeros((68, 2)))

    with pytest.raises(InputError, match="initial weights"):
        adapted(shallow, dataclasses.replace(config, **changes))


def test_an_adapted_network_may_see_faces_in_another_size() -> None:
    torch.manual_seed(0)
    config = small_config("robust")
    network = StructuralRelationNetwork(config, np.random.default_rng(0).random((68, 2))).eval()
    larger = adapted(network, dataclasses.replace(config, face_size=config.face_size * 1.1)).eval()
    state, image = larger.state_dict(), torch.rand(2, 3, config.crop_size, config.crop_size)

    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    # Shapes are learned in units of the face: the starting one is larger about the crop's centre by as much.
    middle = config.crop_spec.center
    coarse, grown = network(image).coarse, larger(image).coarse
    torch.testing.assert_close(grown - middle, (coarse - middle) * 1.1, rtol=1e-4, atol=1e-4)


def test_a_network_adapted_to_other_landmarks_keeps_its_encoder() -> None:
    torch.manual_seed(0)
    network = StructuralRelationNetwork(small_config("robust"), np.random.default_rng(0).random((68, 2)))
    config = small_config("robust", scheme_name="wflw98")
    mean_shape = np.random.default_rng(1).random((98, 2)).astype(np.float32)
    other = adapted(network.eval(), config, mean_shape).eval()

    assert other(torch.rand(2, 3, config.crop_size, config.crop_size)).shapes.shape[-2:] == (98, 2)
    np.testing.assert_array_equal(other.mean_shape.numpy(), mean_shape)
    for name, tensor in network.encoder.state_dict().items():
        assert torch.equal(other.encoder.state_dict()[name], tensor), name
    with pytest.raises(InputError, match="expected wflw98 landmarks, or a mean shape, found ibug68"):
        adapted(network, config)


def test_a_network_with_an_hourglass_may_start_from_one_without() -> None:
    network = StructuralRelationNetwork(small_config("robust"), np.random.default_rng(0).random((68, 2)))
    for norm in (m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    state = adapted(network, small_config("robust", coarse_shape=False, hourglass=True)).state_dict()
    old = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("coarse.")}

    assert all(torch.equal(state[name], tensor) for name, tensor in old.items())
    assert any(name.startswith("hourglass.") for name in state)


def test_a_visibility_head_leaves_the_points_and_their_expected_errors() -> None:
    network = make_network(small_config("robust", visibility_width=0))
    headed = adapted(network, small_config("robust", visibility_width=6)).eval()
    image = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = network(image), headed(image)
    torch.testing.assert_close(after.shapes, before.shapes, rtol=0, atol=0)
    torch.testing.assert_close(after.log_scale, before.log_scale)
    assert after.visibility.shape == before.visibility.shape
    assert not torch.allclose(after.visibility, before.visibility)


def test_the_same_weights_are_the_same_bytes(network: StructuralRelationNetwork, tmp_path: Path) -> None:
    """The library writes the text in an order that differs from one process to the next, and from call to call."""
    texts = {f"name {number}": "Stück\n" for number in range(20)}
    for name in "ab":
        save_network(tmp_path / name, network, provenance=texts)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert load_network(tmp_path / "a")[1].items() >= texts.items()
    start = int.from_bytes((tmp_path / "a").read_bytes()[:8], "little")
    assert start % 8 == 0

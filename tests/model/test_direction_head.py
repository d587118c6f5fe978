"""The direction of errors: the closed form, what it leaves alone, and the way through files and runtimes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from srn.errors import InputError
from srn.face.geometry import ImageArray
from srn.inference.runtime import OnnxLocalizer
from srn.model.checkpoint import adapted, load_network, save_network
from srn.model.config import ModelConfig, preset
from srn.model.export import export_onnx
from srn.model.localizer import TorchLocalizer
from srn.model.network import direction_of

from .conftest import make_network, small_config

DIRECTED = small_config("robust", error_direction=True)


@pytest.fixture
def crops(rng: np.random.Generator) -> ImageArray:
    return rng.integers(0, 256, size=(3, 64, 64, 3), dtype=np.uint8)


def test_the_direction_is_that_of_the_matrix_exponential() -> None:
    tendency = torch.tensor([[0.0, 0.0], [0.8, 0.0], [-0.4, 1.1], [2.0, -3.0]], dtype=torch.float64)
    one, other = tendency.unbind(-1)
    generator = torch.stack([torch.stack([one, other], -1), torch.stack([other, -one], -1)], -2)
    power = torch.linalg.matrix_exp(generator)
    unit = power / power.diagonal(dim1=-2, dim2=-1).sum(-1)[:, None, None] * 2  # the trace is 2
    d1, d2 = direction_of(tendency).unbind(-1)
    made = torch.stack([torch.stack([1 + d1, d2], -1), torch.stack([d2, 1 - d1], -1)], -2)
    torch.testing.assert_close(made, unit)
    # exp(|v|) is the ratio of the axes.
    values = torch.linalg.eigvalsh(made)
    torch.testing.assert_close((values[:, 1] / values[:, 0]).sqrt().log(), tendency.norm(dim=-1))


def test_a_new_head_says_round_and_moves_nothing(crops: ImageArray) -> None:
    plain = make_network(small_config("robust"))
    before = TorchLocalizer(plain)(crops)
    after = TorchLocalizer(adapted(plain, dataclasses.replace(plain.config, error_direction=True)))(crops)
    assert before.error_direction is None
    assert after.error_direction is not None
    assert after.error_direction.shape == (3, 68, 2)
    assert not after.error_direction.any()
    for name in ("shapes", "hidden", "visibility", "expected_error"):
        np.testing.assert_array_equal(getattr(before, name), getattr(after, name))


def test_only_the_head_learns_from_the_direction() -> None:
    network = make_network(DIRECTED).train()
    output = network(torch.rand(2, 3, 64, 64))
    assert output.tendency is not None
    output.tendency.square().sum().backward()
    learning = {name.split(".")[0] for name, p in network.named_parameters() if p.grad is not None and p.grad.any()}
    assert learning == {"direction_head"}


def test_it_goes_through_files_and_runtimes(crops: ImageArray, tmp_path: Path) -> None:
    network = make_network(DIRECTED)
    save_network(tmp_path / "a.safetensors", network)
    read, _ = load_network(tmp_path / "a.safetensors")
    expected = TorchLocalizer(network)(crops).error_direction
    assert expected is not None
    assert np.linalg.norm(expected, axis=-1).mean() > 0.1
    np.testing.assert_array_equal(TorchLocalizer(read)(crops).error_direction, expected)
    export_onnx(read, tmp_path / "a.onnx", half=False)
    localizer = OnnxLocalizer(tmp_path / "a.onnx", threads=1)
    assert localizer.tells_direction
    exported = localizer(crops).error_direction
    assert exported is not None
    np.testing.assert_allclose(exported, expected, atol=1e-4)


def test_files_without_it_go_on() -> None:
    values = preset("robust").to_dict()
    del values["error_direction"]
    assert ModelConfig.from_dict(values) == preset("robust")
    assert not preset("robust").error_direction


def test_it_needs_point_heads() -> None:
    with pytest.raises(InputError, match="error_direction: expected point heads"):
        preset("paper", error_direction=True)

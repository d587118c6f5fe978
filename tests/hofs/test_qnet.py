"""The Q-net: where its encoder comes from, and that a value is a matter of its own face alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from srn.errors import InputError, WeightsError
from srn.hofs.qnet import QNet, QNetConfig, pretrained_qnet
from srn.model.config import preset
from srn.model.encoder import PatchEncoder, SharedMapEncoder
from srn.model.network import StructuralRelationNetwork

from .conftest import grid_shape, toy_world


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(5, 3, 64, 64, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def shapes() -> torch.Tensor:
    return torch.from_numpy(grid_shape()).expand(5, -1, -1)


def test_the_encoder_is_the_networks(
    network: StructuralRelationNetwork, images: torch.Tensor, shapes: torch.Tensor
) -> None:
    qnet = pretrained_qnet(network)
    assert isinstance(qnet.encoder, SharedMapEncoder)
    with torch.no_grad():
        expected = network.encoder(network.encoder.prepare(images), shapes).flatten(1)
        torch.testing.assert_close(qnet.features(images, shapes), expected)
    frozen = network.encoder.get_parameter("squeeze.weight")
    before = frozen.clone()
    with torch.no_grad():
        qnet.encoder.get_parameter("squeeze.weight").zero_()
    torch.testing.assert_close(frozen.detach(), before.detach())  # a copy: the network stays frozen


def test_the_papers_preset_lends_its_convolutions(shapes: torch.Tensor) -> None:
    small = {"crop_size": 64, "face_size": 40.0, "hidden_size": 8, "region_size": 8, "component_size": 8}
    paper = StructuralRelationNetwork(preset("paper", scheme_name="cofw29", **small), np.zeros((29, 2)))
    qnet = pretrained_qnet(paper, hidden_size=16)
    assert isinstance(qnet.encoder, PatchEncoder)
    torch.testing.assert_close(qnet.encoder.conv1.weight, paper.encoder.get_parameter("conv1.weight"))
    assert qnet.head.get_parameter("1.weight").shape == (16, 29 * 256)
    with torch.no_grad():
        assert qnet(torch.rand(2, 3, 64, 64), shapes[:2]).shape == (2,)


def test_one_value_for_one_face(network: StructuralRelationNetwork, images: torch.Tensor, shapes: torch.Tensor) -> None:
    """Also in training mode: no face's value depends on what else is in the batch."""
    qnet = pretrained_qnet(network).train()
    with torch.no_grad():
        together = qnet(images, shapes)
        alone = torch.cat([qnet(images[i : i + 1], shapes[i : i + 1]) for i in range(5)])
    assert together.shape == (5,)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert together.std() > 0


def test_a_random_encoder_gets_statistics(network: StructuralRelationNetwork) -> None:
    torch.manual_seed(0)
    qnet = QNet(QNetConfig(network.config, "shared-map"))
    crops = np.random.default_rng(0).integers(0, 60, (8, 64, 64, 3), dtype=np.uint8)  # dark: far from the norms' start
    shapes = np.tile(grid_shape(), (8, 1, 1))
    qnet.calibrate(crops, shapes)
    convolution, norm = (qnet.encoder.get_submodule(f"stem.0.{k}") for k in (0, 1))
    assert isinstance(norm, torch.nn.BatchNorm2d)
    assert norm.running_mean is not None
    with torch.no_grad():
        seen = convolution((qnet.images(crops) - 0.5) * 4)
    torch.testing.assert_close(norm.running_mean, seen.mean(dim=(0, 2, 3)), rtol=1e-4, atol=1e-5)
    assert not norm.training
    assert norm.momentum == 0.1


def test_patches_need_no_statistics(network: StructuralRelationNetwork) -> None:
    qnet = QNet(QNetConfig(network.config, "patches"))
    before = {name: tensor.clone() for name, tensor in qnet.state_dict().items()}
    qnet.calibrate(np.zeros((1, 64, 64, 3), np.uint8), grid_shape()[None])
    for name, tensor in qnet.state_dict().items():
        torch.testing.assert_close(tensor, before[name])


def test_the_occlusion_is_seen(network: StructuralRelationNetwork) -> None:
    """Features of a landmark under the patch differ from those of the clean frame."""
    from srn.hofs.features import place_features
    from srn.hofs.scenes import NOWHERE, Place

    scenes = toy_world({}).scenes
    with torch.no_grad():
        both = place_features(pretrained_qnet(network), scenes, [Place(0, 0, 12, 0), Place(0, 0, NOWHERE, 0)])
    difference = (both[0] - both[1]).view(29, -1).norm(dim=1)
    assert difference[12] > 0.1


def test_a_description_and_back(network: StructuralRelationNetwork) -> None:
    config = QNetConfig(network.config, "shared-map", 32)
    assert QNetConfig.from_json(config.to_json()) == config


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"model": {}}'])
def test_descriptions_that_are_none(text: str) -> None:
    with pytest.raises(WeightsError, match="Q-net config: expected a Q-net's description as JSON"):
        QNetConfig.from_json(text)


def test_encoders_that_do_not_fit(network: StructuralRelationNetwork) -> None:
    with pytest.raises(InputError, match="encoder: expected patches or shared-map, found 'ears'"):
        QNetConfig(network.config, "ears")  # type: ignore[arg-type]
    paper = preset("paper")
    with pytest.raises(InputError, match="encoder: expected patches with a network of patches"):
        QNetConfig(paper, "shared-map")
    assert QNetConfig(paper).landmark_features == 256
    assert dataclasses.replace(QNetConfig(network.config), encoder="shared-map").landmark_features == 8


def test_values_have_the_unit_they_are_given(
    network: StructuralRelationNetwork, images: torch.Tensor, shapes: torch.Tensor
) -> None:
    qnet = pretrained_qnet(network)
    with torch.no_grad():
        qnet.start_from(0.0, 1.0)
        own = qnet(images, shapes)
        qnet.start_from(3.0, 0.25)
        torch.testing.assert_close(qnet(images, shapes), 3 + own / 4)


def test_files_without_a_unit_have_one(network: StructuralRelationNetwork) -> None:
    """Q-nets that were saved before the head had a unit of its own keep their values."""
    qnet = pretrained_qnet(network)
    kept = {name: tensor for name, tensor in qnet.state_dict().items() if name != "scale"}
    other = pretrained_qnet(network)
    other.start_from(1.0, 5.0)
    other.load_state_dict(kept)
    assert float(other.scale) == 1


def test_dropout_keeps_the_mean_and_repeats(network: StructuralRelationNetwork) -> None:
    torch.manual_seed(0)
    qnet = pretrained_qnet(network)
    features = torch.rand(1, 29 * network.config.landmark_features).expand(4000, -1)
    with torch.no_grad():
        # A bias keeps all inner units above zero, so that the head is linear and its mean under dropout its value.
        qnet.head.get_parameter("1.bias").fill_(100)
        value = float(qnet.value(features[:1]))
        some, again, others = (qnet.value(features, 0.5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(some, again)
    assert not torch.equal(some, others)
    assert float(some.mean()) == pytest.approx(value, abs=4 * float(some.std()) / 4000**0.5)
    assert float(some.std()) > 0

"""A torch network behind the runtime's interface."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from srn.face.localizer import Localizer
from srn.face.scheme import COFW_29
from srn.model.localizer import TorchLocalizer

from .conftest import make_network, small_config


@pytest.fixture
def crops(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, size=(3, 64, 64, 3), dtype=np.uint8)


def test_it_is_what_its_network_is() -> None:
    config = small_config("robust", scheme_name="cofw29")
    network = make_network(config).train()

    localizer: Localizer = TorchLocalizer(network, "first run")

    assert localizer.scheme is COFW_29
    assert localizer.crop_spec == config.crop_spec
    assert localizer.name == "first run"
    assert localizer.mean_shape.dtype == np.float32
    np.testing.assert_array_equal(localizer.mean_shape, network.mean_shape)
    assert not network.training


def test_it_says_what_the_network_says_in_the_runtimes_units(crops: np.ndarray) -> None:
    network = make_network(small_config("robust"))

    prediction = TorchLocalizer(network)(crops)

    image = torch.stack([torch.from_numpy(crop.astype(np.float32) / 255).permute(2, 0, 1) for crop in crops])
    with torch.no_grad():
        output = network(image)
    assert {value.dtype for value in prediction if value is not None} == {np.dtype(np.float32)}
    np.testing.assert_allclose(prediction.shapes, output.shapes, atol=1e-3)
    np.testing.assert_allclose(prediction.hidden, output.hidden, atol=1e-5)
    assert prediction.visibility is not None
    assert prediction.expected_error is not None
    for b, n in ((0, 0), (1, 40), (2, 67)):
        logit, log_scale = float(output.visibility[b, n]), float(output.log_scale[b, n])
        assert prediction.visibility[b, n] == pytest.approx(1 / (1 + math.exp(-logit)), rel=1e-4)
        # The mean of |e| under exp(-|e| / b) / (2 pi b^2): the integral of r^2 exp(-r / b) / b^2 is 2 b.
        assert prediction.expected_error[b, n] == pytest.approx(2 * math.exp(log_scale), rel=1e-4)


def test_every_input_reaches_the_network(crops: np.ndarray) -> None:
    network = make_network(small_config("robust"))
    rng = np.random.default_rng(3)
    shape = (network.mean_initial_shape(3).numpy() + rng.normal(0, 3, (3, 68, 2))).astype(np.float32)
    hidden = rng.random((3, 16), dtype=np.float32)
    weight = np.array([1, 0, 1], np.float32)

    given = TorchLocalizer(network)(crops, shape, hidden, weight)

    image = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        output = network(image, *(torch.from_numpy(v) for v in (shape, hidden, weight)))
    np.testing.assert_allclose(given.shapes, output.shapes, atol=1e-3)
    without = TorchLocalizer(network)(crops)
    assert np.abs(given.shapes - without.shapes).max() > 0.1


def test_the_paper_network_says_nothing_of_visibility(crops: np.ndarray) -> None:
    prediction = TorchLocalizer(make_network(small_config("paper")))(crops)

    assert prediction.shapes.shape == (3, 3, 68, 2)
    assert prediction.visibility is None
    assert prediction.expected_error is None


def test_a_batch_is_its_crops(crops: np.ndarray) -> None:
    localizer = TorchLocalizer(make_network(small_config("robust")))

    together = localizer(crops)

    for i in range(3):
        np.testing.assert_allclose(together.shapes[i], localizer(crops[i : i + 1]).shapes[0], atol=1e-3)


def test_crops_cut_out_of_a_larger_picture_need_no_copy(crops: np.ndarray) -> None:
    localizer = TorchLocalizer(make_network(small_config("robust")))
    mirrored = crops[:, :, ::-1]  # negative strides, which torch does not know

    np.testing.assert_array_equal(localizer(mirrored).shapes, localizer(np.ascontiguousarray(mirrored)).shapes)


def test_bf16_moves_points_by_a_fraction_of_a_pixel_and_answers_in_float32(crops: np.ndarray) -> None:
    network = make_network(small_config("robust", visibility_width=0))

    exact = TorchLocalizer(network)(crops)
    rough = TorchLocalizer(network, precision="bfloat16")(crops)

    assert {value.dtype for value in rough if value is not None} == {np.dtype(np.float32)}
    off = np.linalg.norm(rough.shapes - exact.shapes, axis=-1)
    assert 0 < off.max() < 0.5

"""The ablation over one frozen encoder: its arms differ in one thing, and its intervals are of paired differences."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import measure_ablation
from srn.model.config import preset
from srn.model.network import StructuralRelationNetwork


def test_every_arm_is_the_bare_network_with_a_frozen_encoder() -> None:
    configs = {name: measure_ablation.arm_config(arm, 1000, 3) for name, arm in measure_ablation.ARMS.items()}
    whole = configs[measure_ablation.WHOLE]
    assert whole.frozen == ("encoder",)
    assert not whole.model.local_offsets
    assert not whole.model.coarse_shape
    assert (whole.augmentation.masks, whole.augmentation.occluders, whole.augmentation.noise_patch) == (0, 0, 1)
    assert configs["whole, with masks in training"].augmentation.masks > 0
    assert len({str(config) for config in configs.values()}) == len(configs)


def test_arms_share_the_encoder_and_the_linear_one_starts_at_the_mean_shape() -> None:
    small = {"hidden_size": 8, "region_size": 8, "component_size": 8}
    mean = np.random.default_rng(0).normal(0, 0.2, (68, 2)).astype(np.float32)
    torch.manual_seed(5)
    donor = StructuralRelationNetwork(preset("robust", **small), mean).eval()
    image = torch.rand(2, 3, 160, 160)
    for name in (measure_ablation.WHOLE, "one linear layer for HSRM"):
        arm = measure_ablation.ARMS[name]
        config = measure_ablation.arm_config(measure_ablation.Arm({**arm.model, **small}), 100, 0)
        network = measure_ablation.begin(config, donor).eval()
        with torch.no_grad():
            torch.testing.assert_close(network.encoder.prepare(image)[0], donor.encoder.prepare(image)[0])
            if name != measure_ablation.WHOLE:
                bias = network.hsrm.mu.bias.abs().max()  # type: ignore[union-attr]
                moved = (network(image).shapes[:, 0] - network.mean_initial_shape(2)).abs().max()
                assert moved <= bias * network.config.face_size * 1.001


def test_the_summary_compares_each_arm_with_its_whole() -> None:
    base = np.full((2, 3), 5.0)
    errors = {
        name: dict.fromkeys(measure_ablation.SETS, base + number) for number, name in enumerate(measure_ablation.ARMS)
    }
    results = measure_ablation.summary(errors)
    assert results["without d"]["300W"]["difference"] == pytest.approx((3, 3, 3))
    assert results["one linear layer, with masks in training"]["300W"]["difference"] == pytest.approx((1, 1, 1))
    assert measure_ablation.row("without g", results["without g"])[:4] == [
        "without g", "7.49", "6.00 +- 0.00", "+1.00 (+1.00 to +1.00)",
    ]  # fmt: skip

"""Confidence: expected errors are put right by how large errors are on faces kept from training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from srn.datasets.pack import FacePack, mean_shape
from srn.model.checkpoint import load_tensors
from srn.model.network import CascadeOutput, StructuralRelationNetwork
from srn.training.calibration import DRAWS, calibrate, error_ratio
from srn.training.stream import split_validation
from srn.training.tasks import FaceTask

from .conftest import run, toy_config

CPU = torch.device("cpu")


class Misses(StructuralRelationNetwork):
    """Says (32, 32) for every point and expects an error of scale b; the faces of `MissedFaces` are elsewhere."""

    def __init__(self, config: Any, scale: float) -> None:
        nn.Module.__init__(self)  # none of the network's own layers
        self.config, self.scale = config, scale

    def forward(self, images: Tensor, *_: Any) -> CascadeOutput:
        count, n = len(images), self.config.scheme.n_points
        shapes = torch.full((count, 1, n, 2), 32.0)
        expected = torch.full((count, n), math.log(self.scale))
        return CascadeOutput(shapes, torch.zeros(count, 4), shapes[:, 0], torch.zeros(count, n), expected)


class MissedFaces(Dataset[tuple[Tensor, ...]]):
    """Points around (32, 32), their distances given, crop pixels: (F, N)."""

    def __init__(self, distances: np.ndarray[Any, Any]) -> None:
        self.distances = distances

    def __getitem__(self, position: int) -> tuple[Tensor, ...]:
        distance = self.distances[position]
        angle = np.random.default_rng(position).uniform(0, 2 * np.pi, len(distance))
        landmarks = 32 + distance[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return torch.zeros(3, 8, 8, dtype=torch.uint8), torch.tensor(landmarks, dtype=torch.float32)


def test_the_ratio_by_hand() -> None:
    """Distances 2 and 4 pixels, expected 2 b: the mean of 2 / 2b and 4 / 2b; batches of 32 and a rest."""
    config = toy_config().model
    n = config.scheme.n_points
    distances = np.tile([[2.0], [4.0]], (20, n))
    scale = 0.5 / config.face_size  # b of half a pixel: a pixel is expected
    assert error_ratio(Misses(config, scale), MissedFaces(distances), 40, CPU) == pytest.approx(3.0, rel=1e-5)


def test_errors_of_the_models_own_kind_have_the_ratio_of_their_scales() -> None:
    """The length of a radial exponential error in the plane is gamma distributed with shape 2."""
    config = toy_config().model
    distances = np.random.default_rng(0).gamma(2, 1.5, (400, config.scheme.n_points))
    ratio = error_ratio(Misses(config, 0.5 / config.face_size), MissedFaces(distances), 400, CPU)
    assert ratio == pytest.approx(3.0, rel=0.03)


def test_afterwards_the_errors_are_those_expected(pack: FacePack) -> None:
    config = toy_config()
    torch.manual_seed(1)
    network = StructuralRelationNetwork(config.model, mean_shape(pack)).eval()
    faces = FaceTask(config).stream(pack, None)
    image = torch.rand(2, 3, config.model.crop_size, config.model.crop_size)
    with torch.no_grad():
        before = network(image)
    ratio = calibrate(network, faces, 40, CPU)
    with torch.no_grad():
        after = network(image)
    assert abs(math.log(ratio)) > 0.01
    torch.testing.assert_close(after.log_scale, before.log_scale + math.log(ratio))
    torch.testing.assert_close(after.shapes, before.shapes)
    torch.testing.assert_close(after.visibility, before.visibility)
    assert error_ratio(network, faces, 40, CPU) == pytest.approx(1.0, rel=1e-4)


def test_a_run_ends_with_it(pack: FacePack, tmp_path: Path) -> None:
    """The weights are the averaged ones of the state, but for what they expect; the state is left as it was."""
    config = toy_config(faces=32, batch_size=4, validation=4)
    weights, provenance = load_tensors(run(config, pack, tmp_path))
    ratio = float(provenance["expected_error_times"])
    state = load_tensors(tmp_path / "state.safetensors")[0]
    averaged = {name.removeprefix("average."): t for name, t in state.items() if name.startswith("average.")}
    assert averaged
    changed = [name for name, tensor in averaged.items() if not torch.equal(weights[name], tensor)]
    assert changed == ["point_heads.bias"]
    moved = weights["point_heads.bias"] - averaged["point_heads.bias"]
    torch.testing.assert_close(moved[:, -1], torch.full_like(moved[:, -1], math.log(ratio)), rtol=1e-3, atol=1e-3)
    assert not moved[:, :-1].any()

    network = StructuralRelationNetwork(config.model, mean_shape(split_validation(pack, 4)[0])).eval()
    network.load_state_dict(averaged)
    held_out = split_validation(pack, 4)[1]
    assert held_out is not None
    expected = error_ratio(network, FaceTask(config).stream(held_out, None), DRAWS * 4, CPU)
    assert ratio == pytest.approx(expected, abs=1e-4)


def test_without_faces_kept_nothing_is_changed(pack: FacePack, tmp_path: Path) -> None:
    provenance = load_tensors(run(toy_config(faces=8, batch_size=4, validation=0), pack, tmp_path))[1]
    assert "expected_error_times" not in provenance

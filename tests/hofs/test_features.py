"""Features that are kept by place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from srn.hofs.features import FeatureMemory, place_features
from srn.hofs.qnet import pretrained_qnet
from srn.hofs.scenes import Place
from srn.model.network import StructuralRelationNetwork

from .conftest import toy_world


@pytest.mark.parametrize(("frames", "landmarks"), [(16, 29), (4, 13)], ids=["many places", "the same ones again"])
def test_kept_features_are_the_encoders(network: StructuralRelationNetwork, frames: int, landmarks: int) -> None:
    """Whatever has been kept or dropped in between, a place's features are its own."""
    scenes, qnet = toy_world({}).scenes, pretrained_qnet(network)
    memory = FeatureMemory(qnet, scenes, rows=40)
    rng = np.random.default_rng(0)
    for _ in range(30):
        drawn = zip(rng.integers(frames, size=9), rng.integers(landmarks, size=9), strict=True)
        places = [Place(0, int(f), int(k), 0) for f, k in drawn]
        with torch.no_grad():
            expected = place_features(qnet, scenes, places)
        torch.testing.assert_close(memory(places), expected, rtol=2e-3, atol=2e-3)
        assert len(memory) <= 40

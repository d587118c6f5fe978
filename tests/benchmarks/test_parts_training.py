"""The training of the judge of parts: the file says what the network does, and weights count what they should."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from srn.face.geometry import Box
from srn.inference.parts import SIDE, PartNetwork

torch = pytest.importorskip("torch")


def test_the_file_says_what_the_network_does(tmp_path: Path) -> None:
    from train_parts import Judge, export

    torch.manual_seed(0)
    network, rng = Judge(), np.random.default_rng(0)
    parts = rng.integers(0, 256, (6, SIDE, SIDE, 3)).astype(np.uint8)
    images = torch.from_numpy(parts).permute(0, 3, 1, 2).float() / 127.5 - 1
    for _ in range(20):  # batch norms that differ from the identity
        network(images * torch.rand(6, 1, 1, 1) + torch.rand(3, 1, 1))
    with torch.no_grad():
        logits, heat = network.eval()(images)
    export(network, tmp_path / "judge.onnx", parts)

    found, expected = PartNetwork(tmp_path / "judge.onnx", threads=1)(parts), torch.sigmoid(logits).numpy()

    assert heat.shape == (6, 6, 6)
    assert np.ptp(expected) > 1e-3
    np.testing.assert_allclose(found, expected, atol=0.1 * np.ptp(expected))  # it computes in integers
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "judge.onnx")).graph.node]
    assert kinds.count("Conv") == 8
    assert kinds.count("QuantizeLinear") >= 6  # all but the first convolution, on pixels, and the last


def test_a_missed_face_counts_most_and_a_doubtful_part_nothing() -> None:
    from train_parts import Parts

    labels, weights = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], np.float32)
    known = np.array([True, False, False, True])

    weighted = Parts([], labels, weights, known, np.zeros((4, 6, 6), np.uint8)).weighted(6.0, 0.5)

    assert weighted.weights.tolist() == [6, 0.5, 1, 0]


@pytest.mark.parametrize(("scale", "held"), [(1.0, True), (1.6, False)])
def test_a_part_holds_a_face_within_it(scale: float, held: bool) -> None:
    from measure_parts import Proposed

    part = Proposed(np.zeros((SIDE, SIDE, 3), np.uint8), np.array([200.0, 100.0]), scale)

    assert part.holds(Box(170, 60, 210, 130)) is held
    assert not part.holds(Box(140, 60, 210, 130))

"""Scenes on which the proposals are trained, and the file that the training writes and reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from proposal_scenes import CELL, SIDE, Scenes, clutter


def scenes(seed: int) -> Scenes:
    rng = np.random.default_rng(1)
    faces = [(rng.integers(0, 256, (90, 80, 3), dtype=np.uint8), np.array([20.0, 15.0, 60.0, 70.0])) for _ in range(3)]
    fabric = rng.integers(0, 256, (50, 60, 3), dtype=np.uint8)
    return Scenes(faces, faces, [fabric], np.random.default_rng(seed))


def test_scenes_label_the_cells_of_their_faces() -> None:
    made, again = scenes(3), scenes(3)
    positive = 0
    for _ in range(60):
        image, labels, weights = made.scene()
        assert image.shape == (SIDE, SIDE, 3)
        assert image.dtype == np.uint8
        assert labels.shape == weights.shape == (SIDE // CELL, SIDE // CELL)
        assert set(np.unique(weights[labels == 1])) <= {5.0}
        assert set(np.unique(weights[labels == 0])) <= {0.0, 1.0}  # cells beside a face do not count
        positive += int(labels.sum())
        np.testing.assert_array_equal(image, again.scene()[0])
    assert 60 < positive < 0.05 * 60 * labels.size


def test_drawings_have_contrasts_and_many_kinds() -> None:
    drawn = [clutter(np.random.default_rng(seed)) for seed in range(30)]
    assert min(image.std() for image in drawn) > 1
    assert len({image.shape for image in drawn}) > 10


def test_a_written_network_is_read_again(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    pytest.importorskip("onnx")
    from train_proposals import export, load, proposal_network

    torch.manual_seed(0)
    written, read = proposal_network(), proposal_network()
    export(written, tmp_path / "proposals.onnx")
    load(read, tmp_path / "proposals.onnx")
    image = np.random.default_rng(0).uniform(0, 255, (1, 3, 32, 40)).astype(np.float32)
    with torch.no_grad():
        expected = read(torch.from_numpy(image) / 127.5 - 1).numpy()
    (logits,) = ort.InferenceSession(tmp_path / "proposals.onnx").run(["logits"], {"image": image})
    np.testing.assert_allclose(logits, expected, atol=1e-5)

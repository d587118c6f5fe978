"""A head for directions: trained on a frozen network, and its ellipses measured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from measure_ellipses import Found, fitted, likelihood, main, radii, summary
from srn.datasets.pack import pack_faces
from srn.datasets.sample import Sample
from srn.face import ellipse
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image

DIRECTION = np.array([0.6, 0.5])


def drawn_errors(rng: np.random.Generator, faces: int, angle: np.ndarray) -> np.ndarray:
    """(F, 68, 2): errors of the density of `DIRECTION`, b = 0.02, in the frames of faces that lie at these angles."""
    radius, way = rng.gamma(2, 0.02, (faces, 68)), rng.uniform(0, 2 * np.pi, (faces, 68))
    values, vectors = np.linalg.eigh([[1 + DIRECTION[0], DIRECTION[1]], [DIRECTION[1], 1 - DIRECTION[0]]])
    error = np.stack([radius * np.cos(way), radius * np.sin(way)], -1) @ (vectors * np.sqrt(values) @ vectors.T)
    turn = np.stack([np.stack([np.cos(angle), np.sin(angle)], -1), np.stack([-np.sin(angle), np.cos(angle)], -1)], -2)
    return error @ turn


def found(rng: np.random.Generator, faces: int = 300) -> Found:
    angle = rng.normal(0, 0.5, faces)
    direction = ellipse.rotated(np.tile(DIRECTION, (faces, 68, 1)), angle[:, None])
    contour = np.tile([1.0, 0.0], (faces, 68, 1))
    return Found(drawn_errors(rng, faces, angle), np.full((faces, 68), 0.02), direction, angle, contour)


def test_the_likelihood_is_that_of_a_density() -> None:
    """Over the plane it sums to 1, and the gain by the circle is none."""
    step = np.arange(-0.4, 0.4, 0.002)
    plane = np.stack(np.meshgrid(step, step), axis=-1)
    scale = np.full(plane.shape[:2], 0.02)
    density = np.exp(likelihood(plane, scale, np.broadcast_to(DIRECTION, plane.shape)))
    assert density.sum() * 0.002**2 == pytest.approx(1, abs=2e-3)
    e = np.array([[0.03, 0.04]])
    assert radii(e, np.array([0.02]), np.zeros((1, 2)))[0] == pytest.approx(2.5)
    assert likelihood(e, np.array([0.02]), np.zeros((1, 2)))[0] == pytest.approx(-2.5 - np.log(2 * np.pi * 0.02**2))


def test_the_direction_by_landmark_is_found_at_any_scale(rng: np.random.Generator) -> None:
    known = found(rng, 1000)
    for scale in (known.scale, known.scale * 3):
        np.testing.assert_allclose(fitted(known._replace(scale=scale)), np.tile(DIRECTION, (68, 1)), atol=0.12)


def test_a_model_that_is_right_gains_and_is_calibrated(rng: np.random.Generator) -> None:
    known = found(rng)
    values = summary(known, np.tile(DIRECTION, (68, 1)), IBUG_68)
    circle, landmark, network = (values["models"][name] for name in ("circle", "by landmark", "network"))
    assert circle["gain"] == [0, 0, 0]
    assert network["gain"] == pytest.approx(landmark["gain"])
    assert network["gain"][1] > 0.1
    np.testing.assert_allclose(network["inside"], [0.5, 0.9], atol=0.01)
    for part in values["contours"].values():
        assert part["ratio"]["circle"] == pytest.approx(1)
        assert part["ratio"]["network"] == pytest.approx(part["ratio"]["observed"], abs=0.1)


@pytest.mark.usefixtures("one_thread")
def test_a_head_is_trained_and_measured(
    tmp_path: Path, face: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    import train_direction
    from srn.model.checkpoint import load_network, save_network
    from srn.model.config import preset
    from srn.model.network import StructuralRelationNetwork, direction_of

    samples = []
    for seed in range(4):
        path = tmp_path / f"{seed}.png"
        write_image(path, np.random.default_rng(seed).integers(0, 256, (150, 150, 3), dtype=np.uint8))
        samples.append(Sample(path, face * 60 + [75, 75], IBUG_68, "afw"))
    pack_faces(samples)[0].save(tmp_path / "faces.npz")
    config = preset(
        "robust", crop_size=64, face_size=44.0, stem_channels=2, map_channels=(2, 2, 4), landmark_features=4,
        hidden_size=4, region_size=4, component_size=4, blocks=(1, 1, 1), iterations=1,
    )  # fmt: skip
    torch.manual_seed(0)
    network = StructuralRelationNetwork(config, face).eval()
    save_network(tmp_path / "plain.safetensors", network, provenance={"seed": "7"})
    files = [str(tmp_path / name) for name in ("faces.npz", "plain.safetensors", "directed.safetensors")]
    options = f"--initial {files[1]} --out {files[2]} --crops 6 --validation 1 --epochs 1"
    assert train_direction.main([files[0], *options.split()]) == 0
    directed, record = load_network(files[2])
    assert record["seed"] == "7"
    assert record["direction_faces"] == "3"
    assert directed.config.error_direction
    crop = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        for one, other in zip(network(crop), directed(crop), strict=True):
            if one is not None:
                torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert main([files[0], str(tmp_path), "--weights", files[2], "--validation", "2", "--out", str(tmp_path)]) == 0
    assert "300W, validation" in (tmp_path / "ellipses.md").read_text(encoding="utf-8")
    assert main([files[0], str(tmp_path), "--weights", files[1], "--validation", "2"]) == 2
    assert f"the direction of errors, found {tmp_path.name}/plain.safetensors" in capsys.readouterr().err

    # It learns what the features tell: the second half of the crops has other errors.
    head = train_direction.with_head(network).direction_head
    assert head is not None
    rng = np.random.default_rng(0)
    told = torch.tensor(np.repeat([1.0, -1.0], 48))
    error = drawn_errors(rng, 96, np.repeat([0.0, np.pi / 2], 48))
    features, state = told[:, None, None].expand(96, 68, 4).half(), torch.zeros(96, 4).half()
    placed, scale = torch.zeros(96, 68, 2), torch.full((96, 68), 0.03)
    read = train_direction.Read(features, state, placed, torch.tensor(error), scale)
    monkeypatch.setattr("train_direction.PEAK", 0.03)
    train_direction.train_head(head, read, 40, 0)
    some = read.rows(np.array([0, 95]))
    with torch.no_grad():
        answer = direction_of(head(some.relational, some.hidden, some.placed)).mean(dim=1).numpy()
    np.testing.assert_allclose(answer, [DIRECTION, -DIRECTION], atol=0.15)
    assert train_direction.gain(head, read) > 0.1

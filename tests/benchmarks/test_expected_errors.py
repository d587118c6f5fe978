"""Expected errors beside true ones, and a head that learns them from another network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from measure_expected_errors import dependence, main, summary
from srn.datasets.pack import FacePack, pack_faces
from srn.datasets.sample import Sample
from srn.evaluation.cache import file_digest
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image
from srn.model.checkpoint import save_network
from srn.model.export import load_weights
from srn.training.stream import FaceStream
from train_expected_errors import CLEAN, NoFaces, read
from train_expected_errors import main as train


def test_errors_of_the_networks_own_model_are_calibrated(rng: np.random.Generator) -> None:
    expected = np.exp(rng.normal(-4, 0.5, (500, 68)))
    true = expected / 2 * rng.gamma(2, 1, expected.shape)  # a radial exponential: its length is a gamma of shape 2
    _, ratio, confidence, right, error = summary(true, expected, rng)
    low, high = (float(word.strip("()")) for word in ratio.split()[1:4:2])
    assert low < 1 < high
    assert confidence == right
    assert float(error) < 0.01
    assert summary(3 * true, expected, rng)[1].startswith(("2.9", "3.0"))


def test_quarters_go_from_the_least_to_the_most(rng: np.random.Generator) -> None:
    known = rng.permutation(100.0 * np.arange(8))
    assert dependence(known / 100, known) == "0.50, 2.50, 4.50, 6.50"


@pytest.fixture
def packs(tmp_path: Path, face: np.ndarray) -> list[str]:
    """Four faces of noise in a pack, and two in another."""
    samples = []
    for seed in range(4):
        picture = tmp_path / f"{seed}.png"
        write_image(picture, np.random.default_rng(seed).integers(0, 256, (150, 150, 3), dtype=np.uint8))
        samples.append(Sample(picture, face * 60 + [75, 75], IBUG_68, "afw"))
    paths = [tmp_path / "one.npz", tmp_path / "two.npz"]
    for path, faces in zip(paths, (samples, samples[:2]), strict=True):
        pack_faces(faces)[0].save(path)
    return [str(path) for path in paths]


def test_a_run_prints_a_row_for_each_pack_and_condition(
    packs: list[str], tiny_weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*packs, "--weights", str(tiny_weights), "--held-out", "3", "--crops", "2"]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines() if ".npz, " in line]
    assert [row[0].strip("| ") for row in rows[:4]] == [
        f"{p}, {c}" for p in ("one.npz", "two.npz") for c in ("clean", "masked")
    ]
    assert [row[1] for row in rows[:4]] == ["6", "6", "4", "4"]
    assert len(rows) == 8


def test_a_head_learns_what_another_network_expects_at_a_given_level(
    packs: list[str], tiny_weights: Path, tmp_path: Path
) -> None:
    taught, _ = load_weights(tiny_weights)
    assert taught.point_heads is not None
    with torch.no_grad():
        taught.point_heads.bias[::2] += 1.0  # every second point is harder than the others, it thinks
    teacher, out = tmp_path / "teacher.safetensors", tmp_path / "out.safetensors"
    save_network(teacher, taught)
    options = ["--initial", str(tiny_weights), "--level", packs[1], "--level-of", str(tiny_weights), "--out", str(out)]
    assert train([packs[0], "--teacher", str(teacher), *options, "--crops", "64", "--epochs", "60"]) == 0
    (before, _), (after, record) = load_weights(tiny_weights), load_weights(out)
    assert record["expected_error_teacher"] == f"teacher.safetensors@{file_digest(teacher)[:12]}"
    spec, pack = before.config.crop_spec, FacePack.load(packs[1])
    _, one, other = read(before.eval(), after.eval(), FaceStream(pack, spec, CLEAN, 0), 2)
    assert float((one - other).mean()) == pytest.approx(0, abs=0.1)
    gap = (other - one).mean(dim=0)
    assert 0.5 < float(gap[::2].mean() - gap[1::2].mean()) < 1.1  # crops without a face, of noise like the faces, pull
    names = {name for name, value in before.state_dict().items() if not torch.equal(value, after.state_dict()[name])}
    assert names
    assert all(name.startswith("point_heads.") for name in names)
    _, one, other = read(before, after, NoFaces(pack, spec.size, 0), 8)
    assert float((one - other).mean()) == pytest.approx(0, abs=0.2)


def test_crops_are_drawn_once_for_both_networks(packs: list[str], tiny_weights: Path) -> None:
    network, _ = load_weights(tiny_weights)
    crops = NoFaces(FacePack.load(packs[0]), network.config.crop_size, 3)
    drawn = list[int]()

    class Counted(Dataset[tuple[torch.Tensor, ...]]):
        def __getitem__(self, position: int) -> tuple[torch.Tensor, ...]:
            drawn.append(position)
            return crops[position]

    inputs, own, told = read(network.eval(), network, Counted(), 3)
    assert drawn == [0, 1, 2]
    assert torch.equal(own, told)
    assert [len(part) for part in inputs] == [3, 3]


def test_crops_without_a_face_are_the_same_each_time(packs: list[str]) -> None:
    crops = NoFaces(FacePack.load(packs[0]), 64, 3)
    first, again, other = crops[0][0], crops[0][0], crops[1][0]
    assert first.shape == (3, 64, 64)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)

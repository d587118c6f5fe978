"""Flags of hidden points: read, learned from by a head, and measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from measure_visibility import composed, gains, measures
from occlusion_flags import TRAINING, YARDSTICK, read_flags, stacked
from srn.datasets.pack import FacePack, pack_faces
from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.metrics import roc_auc
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image

FACES: dict[str, Any] = {
    "afw/a": {"hidden": [3, 4], "doubtful": [5], "part": TRAINING},
    "afw/b": {"hidden": [], "doubtful": [], "part": TRAINING},
    "afw/c": {"hidden": [60], "doubtful": [], "part": YARDSTICK},
}


def written(folder: Path, faces: object) -> Path:
    path = folder / "flags.json"
    path.write_text(json.dumps({"faces": faces}), encoding="utf-8")
    return path


@pytest.fixture
def pack(tmp_path: Path, face: np.ndarray) -> FacePack:
    """Three packed faces of noise, `afw/a` to `afw/c`."""
    samples = []
    for seed, name in enumerate("abc"):
        picture = tmp_path / f"{name}.png"
        write_image(picture, np.random.default_rng(seed).integers(0, 256, (150, 150, 3), dtype=np.uint8))
        samples.append(Sample(picture, face * 60 + [75, 75], IBUG_68, "afw"))
    return pack_faces(samples)[0]


def test_flags_are_read_and_stacked_by_name(tmp_path: Path) -> None:
    flags = read_flags(written(tmp_path, FACES))
    hidden, doubtful = stacked(flags, ["afw/c", "afw/unknown", "afw/a"])
    assert [np.flatnonzero(row).tolist() for row in hidden] == [[60], [], [3, 4]]
    assert [np.flatnonzero(row).tolist() for row in doubtful] == [[], [], [5]]
    assert {name: face.part for name, face in flags.items()} == {name: face["part"] for name, face in FACES.items()}


@pytest.mark.parametrize(
    "wrong", [{"hidden": [68]}, {"hidden": [3], "doubtful": [3]}, {"part": "other"}, {"hidden": "3"}, None]
)
def test_flags_that_make_no_sense_are_refused(tmp_path: Path, wrong: dict[str, object] | None) -> None:
    entry = None if wrong is None else {"hidden": [], "doubtful": [], "part": TRAINING, **wrong}
    if entry is not None and entry["hidden"] == "3":
        entry["part"] = 3
    with pytest.raises(DataError, match=r"flags\.json"):
        read_flags(written(tmp_path, {"afw/a": entry}))


def test_measures_leave_doubtful_points_out() -> None:
    hidden = np.zeros((2, 68), bool)
    hidden[0, :4] = True
    certain = np.ones((2, 68), bool)
    certain[1, 0] = False
    score = np.full((2, 68), 0.1)
    score[0, :2], score[0, 2:4], score[1, 0] = 0.9, 0.05, 0.99
    recall, precision, auc, _, at_half = measures(score, hidden, certain)
    assert recall == at_half == 0.5
    assert precision == pytest.approx(0.5 * 1 + 0.5 * 4 / 135)
    assert auc == pytest.approx(0.5)


def test_a_gain_is_paired_over_faces_and_seeds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("measure_visibility.RESAMPLES", 40)
    rng = np.random.default_rng(0)
    hidden, certain = rng.random((30, 68)) < 0.2, np.ones((30, 68), bool)
    poor, good = (np.clip(hidden * share + rng.random((2, 30, 68)) * (1 - share), 0, 1) for share in (0.1, 0.4))
    assert set(map(tuple, gains(poor, poor, hidden, certain).values())) == {(0, 0, 0)}  # the same faces and seeds
    value, low, high = gains(good, poor, hidden, certain)["average precision"]
    expected = [np.mean([measures(seed, hidden, certain)[1] for seed in seeds]) for seeds in (good, poor)]
    assert value == pytest.approx(expected[0] - expected[1])
    assert 0 < low < value < high


def test_the_composition_keeps_every_occluded_face() -> None:
    hidden = np.zeros((40, 68), bool)
    hidden[::4, 7] = True
    chosen = composed(hidden)
    assert set(range(0, 40, 4)) <= set(chosen.tolist())
    assert len(chosen) == len(set(chosen.tolist())) == 10 + round(10 * 84 / 147)


@pytest.mark.usefixtures("one_thread")
def test_a_head_learns_what_the_samples_tell(tmp_path: Path, pack: FacePack, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from srn.model.config import preset
    from srn.model.network import StructuralRelationNetwork
    from train_visibility import CLEAN, Learner, Read, read_crops, with_head

    config = preset(
        "robust", crop_size=64, face_size=44.0, stem_channels=2, map_channels=(2, 2, 4), landmark_features=4,
        hidden_size=4, region_size=4, component_size=4, blocks=(1, 1, 1), iterations=1,
    )  # fmt: skip
    torch.manual_seed(0)
    network = with_head(StructuralRelationNetwork(config, np.zeros((68, 2))).eval(), 8)
    assert network.visibility_head is not None
    weight = network.visibility_head.weight
    for anew in (False, True):
        again = with_head(network, 8, anew=anew).visibility_head
        assert again is not None
        assert torch.equal(again.weight, weight) is not anew
    flags = stacked(read_flags(written(tmp_path, FACES)), [str(name) for name in pack.names])
    read = read_crops(network, pack, flags, CLEAN, 12, seed=0, uncovered=0.5)
    assert read.samples.shape == (12, 68, 50)
    hidden = 1 - read.visible
    assert int(hidden.sum()) >= 4 * 3  # four epochs of three hidden points, mirrored or not
    assert int((read.weight == 0).sum()) == 4  # the doubtful one
    assert set(read.weight[read.visible == 1].tolist()) <= {0.0, 0.5}

    samples = torch.randn(32, 68, 50) * 3 + 1
    visible = (samples[..., 7] < 2).float()
    told = Read(samples.half(), torch.zeros(32, 68, 4).half(), torch.zeros(32, 4).half(), visible, torch.ones(32, 68))
    head = network.visibility_head
    assert head is not None
    monkeypatch.setattr("train_visibility.PEAK", 0.03)
    monkeypatch.setattr("train_visibility.BATCH", 4)
    Learner(head, [told], epochs=20, seed=0).fit()
    with torch.no_grad():
        answer = head(samples, torch.zeros(32, 68, 4), torch.zeros(32, 4))
    assert roc_auc(answer.numpy().ravel(), (visible > 0).numpy().ravel()) > 0.95

"""Averages of weights: of several runs, by hand and as a command's work."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from srn.datasets.pack import FacePack, mean_shape
from srn.errors import WeightsError
from srn.face.onnx_file import PINNED
from srn.model.checkpoint import load_network, save_network
from srn.model.network import StructuralRelationNetwork
from srn.training.averaging import average_runs
from srn.training.config import ClipConfig, TrainConfig, tracker_config
from srn.training.stream import split_validation

from .conftest import toy_config


def saved(config: TrainConfig, pack: FacePack, path: Path, seed: int) -> Path:
    torch.manual_seed(seed)
    save_network(path, StructuralRelationNetwork(config.model, mean_shape(pack)), provenance={"seed": str(seed)})
    return path


def test_the_mean_of_runs_by_hand(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config()
    one, two = (saved(config, pack, tmp_path / f"{seed}.safetensors", seed) for seed in (1, 2))

    facts = average_runs(
        [one, two, two], tmp_path / "mean.safetensors", config=config, pack=pack, provenance={"data": "drawn"}
    )

    mean, metadata = load_network(tmp_path / "mean.safetensors")
    a, b = (dict(load_network(path)[0].named_parameters()) for path in (one, two))
    for name, parameter in mean.named_parameters():
        if name != "point_heads.bias":  # calibrated
            torch.testing.assert_close(parameter, (a[name] + 2 * b[name]) / 3)
    named = [f"{path.name}@{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}" for path in (one, two, two)]
    assert (facts["averaged"], facts["seeds"], facts["data"]) == (", ".join(named), "1, 2, 2", "drawn")
    assert (facts["pack"], facts["training_faces"]) == (pack.digest(), "10")
    assert float(facts["expected_error_times"]) > 0
    assert facts.items() <= metadata.items()


def test_the_weights_of_a_name_are_recorded_by_their_file(pack: FacePack, tmp_path: Path) -> None:
    """`robust` names no file in the current folder."""
    facts = average_runs(["robust"], tmp_path / "mean.safetensors", config=toy_config(validation=0), pack=pack)
    assert facts["averaged"] == f"robust.onnx@{PINNED['robust.onnx'][:12]}"


def test_runs_on_other_faces_are_named(pack: FacePack, tmp_path: Path) -> None:
    """The faces that this pack keeps from training may have been trained on there."""
    config, paths = toy_config(), []
    for digest in (pack.digest(), "0123", "00ff"):
        network = StructuralRelationNetwork(config.model, mean_shape(pack))
        paths.append(tmp_path / f"{digest}.safetensors")
        save_network(paths[-1], network, provenance={"pack": digest})
    named = average_runs(paths, tmp_path / "mean.safetensors", config=config, pack=pack)
    assert named["other_packs"] == "00ff, 0123"
    assert "other_packs" not in average_runs(paths[:1], tmp_path / "one.safetensors", config=config, pack=pack)


def test_without_validation_faces_nothing_is_calibrated(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(validation=0)
    one = saved(config, pack, tmp_path / "1.safetensors", 1)

    facts = average_runs([one], tmp_path / "mean.safetensors", config=config, pack=pack)

    assert "expected_error_times" not in facts
    mean, kept = (dict(load_network(path)[0].named_parameters()) for path in (tmp_path / "mean.safetensors", one))
    assert all(torch.equal(mean[name], parameter) for name, parameter in kept.items())


def test_trackers_are_averaged_by_the_rules_of_their_runs(pack: FacePack, tmp_path: Path) -> None:
    """With a carried state nothing is calibrated, and whole videos are set aside."""
    names = np.array([f"{'ab'[k >= 8]}/{k + 1:06d}" for k in range(len(pack))])
    videos = dataclasses.replace(pack, names=names)
    tracker = tracker_config(toy_config().model, clips=ClipConfig(frames=2, videos=True), validation=2)
    one = saved(tracker, pack, tmp_path / "1.safetensors", 1)

    facts = average_runs([one], tmp_path / "mean.safetensors", config=tracker, pack=videos)

    assert "expected_error_times" not in facts
    assert facts["training_faces"] == str(len(split_validation(videos, 2, videos=True)[0]))
    mean, kept = (dict(load_network(path)[0].named_parameters()) for path in (tmp_path / "mean.safetensors", one))
    assert all(torch.equal(mean[name], parameter) for name, parameter in kept.items())


def test_networks_of_another_architecture_have_no_mean(pack: FacePack, tmp_path: Path) -> None:
    one = saved(toy_config(), pack, tmp_path / "1.safetensors", 1)
    other = saved(toy_config(model={"hidden_size": 24}), pack, tmp_path / "2.safetensors", 2)

    with pytest.raises(WeightsError, match=f"{other.name}: expected a network as in .*{one.name}, found another one"):
        average_runs([one, other], tmp_path / "mean.safetensors", config=toy_config(), pack=pack)
    assert not (tmp_path / "mean.safetensors").exists()


def test_a_mean_is_bound_by_the_licences_of_the_runs(pack: FacePack, tmp_path: Path) -> None:
    """It was exported as if nobody had said one."""
    config, paths = toy_config(validation=0), []
    for number, license in enumerate(["MIT", "research", "MIT"]):
        paths.append(tmp_path / f"{number}.safetensors")
        network = StructuralRelationNetwork(config.model, mean_shape(pack))
        save_network(paths[-1], network, provenance={"license": license, "initial": "a.onnx@12"})
    facts = average_runs(paths, tmp_path / "mean.safetensors", config=config, pack=pack)
    assert (facts["license"], facts["initial"]) == ("MIT; research", "a.onnx@12")

"""`srn hofs` and `srn train --hofs`: from faces to an agent, to clips, to a network that learns from them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.pack import FacePack
from srn.datasets.three_hundred_vw import read_300vw
from srn.face.geometry import CropSpec
from srn.face.scheme import IBUG_68
from srn.media.pictures import encode_image
from srn.model.checkpoint import save_network
from srn.model.config import preset
from srn.model.network import StructuralRelationNetwork

Run = Callable[..., Any]


@pytest.fixture
def weights(tmp_path: Path, face: npt.NDArray[np.float64]) -> Path:
    """A small network with random weights."""
    config = preset(
        "robust", crop_size=64, face_size=40.0, iterations=1, landmark_features=8, hidden_size=8, region_size=8,
        component_size=8, stem_channels=8, map_channels=(8, 8, 8), blocks=(1, 1, 1),
    )  # fmt: skip
    save_network(tmp_path / "tiny.safetensors", StructuralRelationNetwork(config, face))
    return tmp_path / "tiny.safetensors"


@pytest.fixture
def pack(tmp_path: Path, face: npt.NDArray[np.float64], rng: np.random.Generator) -> Path:
    """Three faces of noise in a pack."""
    spec = CropSpec(96, 48.0)
    parts = [
        np.frombuffer(encode_image(rng.integers(0, 256, (96, 96, 3), dtype=np.uint8), ".png"), np.uint8)
        for _ in range(3)
    ]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    names = np.array([f"toy/{k}" for k in range(3)])
    landmarks = np.stack([spec.place(face)] * 3).astype(np.float32)
    path = tmp_path / "faces.npz"
    FacePack(IBUG_68, landmarks, names, spec, np.concatenate(parts), offsets).save(path)
    return path


def test_an_agent_and_its_clips_and_a_network_that_learns_from_them(
    srn: Run, tmp_path: Path, pack: Path, weights: Path
) -> None:
    run = tmp_path / "agent"
    options = ("--data", pack, "--weights", weights, "--out", run, "--device", "cpu")
    recipe = ("--transitions", 8, "--frames", 3, "--clips", 5, "--set", "lanes=4", "--set", "train_encoder=false")
    ran = srn("hofs", "train", *options, *recipe)
    assert ran.code == 0, ran
    assert ran.out == f"agent: {run / 'agent.safetensors'}\n"
    assert "8/8" in ran.err

    assert srn("hofs", "train", *options).mistake.startswith(f"{run}: expected an empty or new folder")
    longer = srn("hofs", "train", *options, "--transitions", 12, "--resume")
    assert longer.code == 0, longer
    assert len((run / "log.csv").read_text().splitlines()) == 3
    changed = srn("hofs", "train", *options, "--resume", "--set", "lanes=2").mistake
    assert changed == "--set lanes: expected 4, that of the run that is resumed, found 2"
    other = srn("hofs", "train", *options, "--resume", "--clips", 6).mistake
    assert other == "--clips: expected 5, that of the run that is resumed, found 6"

    made = tmp_path / "hard"
    agent = run / "agent.safetensors"
    ran = srn("hofs", "synthesize", agent, pack, "--out", made, "--clips", 2, "--frames", 3)
    assert ran.code == 0, ran
    assert ran.out == f"2 clips in {made}\n"
    clips, report = read_300vw(made)
    assert [len(clip) for clip in clips] == [3, 3]
    assert not report.problems
    again = srn("hofs", "synthesize", agent, "--data", pack, "--out", made)
    assert again.mistake == f"{made}: expected an empty or new folder, found clips that were already written there"

    masked = srn("hofs", "synthesize", agent, "--videos", made, "--out", tmp_path / "twice", "--clips", 1)
    assert masked.code == 0, masked
    assert masked.out == f"1 clip in {tmp_path / 'twice'}\n"


def test_a_tracker_that_learns_from_an_agent(srn: Run, tmp_path: Path, pack: Path, weights: Path) -> None:
    agent = tmp_path / "agent" / "agent.safetensors"
    ran = srn(
        "hofs", "train", "--data", pack, "--weights", weights, "--out", agent.parent, "--frames", 2, "--set", "lanes=2",
        "--transitions", 2, "--device", "cpu",
    )  # fmt: skip
    assert ran.code == 0, ran
    run = tmp_path / "tracker"
    options = (
        "--clips", "--data", pack, "--out", run, "--workers", 0, "--device", "cpu", "--precision", "float32",
    )  # fmt: skip
    sizes = ("--faces", 8, "--set", "batch_size=4", "--set", "clips.frames=2", "--set", "validation=0")
    share = ("--set", "clips.hard_share=0.75")
    ran = srn("train", *options, *sizes, *share, "--initial", weights, "--hofs", agent)
    assert ran.code == 0, ran
    assert (run / "hofs.safetensors").read_bytes() != b""
    assert json.loads((run / "config.json").read_text())["clips"]["hard_share"] == 0.75
    agent.unlink()  # the run has a copy
    ran = srn("train", *options, "--resume", "--initial", weights, "--faces", 12)
    assert ran.code == 0, ran

    plain = tmp_path / "plain"
    others = ("--clips", "--data", pack, "--out", plain, "--workers", 0, "--device", "cpu", "--initial", weights)
    assert srn("train", *others, *sizes).code == 0
    mistake = srn("train", *others, "--resume", "--hofs", run / "hofs.safetensors").mistake
    assert mistake == "--hofs: expected a run that was started with an agent, found one without"


def test_mistakes(srn: Run, tmp_path: Path, pack: Path, weights: Path) -> None:
    out = tmp_path / "out"
    assert srn("hofs", "train", "--out", out, "--weights", weights).mistake.startswith("DATA: expected")
    recipe = srn("hofs", "train", "--out", out, "--data", pack, "--set", "lanes=0").mistake
    assert recipe == "AgentConfig.lanes: expected a whole number of at least 1 and below 10001, found 0"
    missing = tmp_path / "agent.safetensors"
    both = srn("hofs", "synthesize", missing, pack, "--out", out, "--videos", tmp_path).mistake
    assert both == "clips: expected one of DATA and --videos, found both"
    assert srn("hofs", "synthesize", missing, "--out", out).mistake.endswith("found neither")
    nothing = srn("hofs", "synthesize", missing, "--out", out, "--data", pack).mistake
    assert nothing.startswith(f"{missing}: expected a safetensors file")
    assert srn("train", "--out", out, "--data", pack, "--hofs", missing).mistake.startswith(f"{missing}: expected a")
    assert not out.exists()


@pytest.mark.parametrize("command", [("hofs",), ("hofs", "train"), ("hofs", "synthesize")])
def test_help(srn: Run, command: tuple[str, ...]) -> None:
    ran = srn(*command, "--help")
    assert ran.code == 0
    if len(command) > 1:
        assert "Example" in ran.out

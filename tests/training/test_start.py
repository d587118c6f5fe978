"""Runs from a user's wishes: recipes, resuming, and the occluder that a folder keeps."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from srn.datasets.pack import FacePack
from srn.errors import DataError, InputError, WeightsError
from srn.evaluation.cache import file_digest
from srn.model.checkpoint import load_network, save_network
from srn.model.config import preset
from srn.synthesis.animate import MovingFace
from srn.synthesis.augment import TrainingFace
from srn.synthesis.patterns import OcclusionPatterns
from srn.training.config import TrainConfig, tracker_config, train_config
from srn.training.loop import Schedule
from srn.training.start import HARD_SHARE, recipe, start_run

OPTIONS: dict[str, Any] = {
    "schedule": Schedule(workers=0, device="cpu", precision="float32", tensorboard=False),
    "console": Console(file=io.StringIO()),
}
SMALL = (
    "model.crop_size=64", "model.face_size=44", "model.hidden_size=16", "model.region_size=16",
    "model.component_size=12", "model.stem_channels=4", "model.map_channels=8,8,8", "model.landmark_features=8",
    "batch_size=4", "validation=2",
)  # fmt: skip


class Black:
    """Blackens faces, and counts them."""

    def __init__(self) -> None:
        self.faces = self.clips = 0

    def face(self, face: TrainingFace, rng: np.random.Generator) -> TrainingFace:
        self.faces += 1
        return face._replace(image=np.zeros_like(face.image))

    def __call__(self, clip: MovingFace, rng: np.random.Generator) -> MovingFace:
        self.clips += 1
        return clip

    def keep(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "black").write_text("kept")


@pytest.mark.parametrize(
    ("change", "clips", "expected"),
    [
        ("hard_share=0.3", False, "an agent that occludes"),
        ("clips.hard_share=0.3", True, "an agent that occludes"),
        ("augmentation.masks=0", True, "a run on single faces"),
        ("augment_on=device", True, "a run on single faces"),
        ("augmentation.pattern_file=hidden.npz", False, "augmentation.patterns, the share of the faces"),
    ],
)
def test_a_change_without_effect_is_refused(change: str, clips: bool, expected: str) -> None:
    tracked = preset("robust") if clips else None
    with pytest.raises(InputError, match=rf"--set {change}: expected {expected}.*, found none"):
        recipe(tracked=tracked, changes=[change])
    if "hard_share" in change:
        recipe(tracked=tracked, changes=[change], occluded=True)


def test_recipes_are_those_of_presets_and_tracker() -> None:
    assert recipe() == train_config("robust")
    assert recipe(preset="paper", seed=3, faces=64) == train_config("paper", seed=3, faces=64)
    assert recipe(occluded=True).hard_share == HARD_SHARE
    assert recipe(occluded=True, changes=["hard_share=0.2"]).hard_share == 0.2
    assert recipe(tracked=preset("robust"), seed=3) == tracker_config(preset("robust"), seed=3)
    with pytest.raises(InputError, match="preset: expected none with clips"):
        recipe(preset="robust", tracked=preset("robust"))


def test_the_batch_of_clips_follows_their_length_unless_it_is_given() -> None:
    assert recipe(tracked=preset("robust"), changes=["clips.frames=6"]).batch_size == 60
    assert recipe(tracked=preset("robust"), changes=["clips.frames=100"]).batch_size == 100
    assert recipe(tracked=preset("robust"), changes=["batch_size=12", "clips.frames=6"]).batch_size == 12


def test_a_run_begins_and_is_made_longer(pack: FacePack, tmp_path: Path) -> None:
    weights = start_run(tmp_path, lambda: pack, count=4, changes=SMALL, seed=5, **OPTIONS)
    begun = TrainConfig.load(tmp_path / "config.json")
    assert (begun.faces, begun.seed, begun.model.hidden_size) == (4, 5, 16)

    start_run(
        tmp_path, lambda: pack, count=8, resume=True, changes=SMALL, seed=5, preset="robust", **OPTIONS
    )  # the same command is no mistake

    assert TrainConfig.load(tmp_path / "config.json") == dataclasses.replace(begun, faces=8)
    assert load_network(weights)[1]["faces_seen"] == "8"
    with pytest.raises(InputError, match="--seed: expected 5, that of the run that is resumed, found 6"):
        start_run(tmp_path, lambda: pack, resume=True, seed=6, **OPTIONS)
    with pytest.raises(InputError, match="--preset: expected robust, that of the run that is resumed, found paper"):
        start_run(tmp_path, lambda: pack, resume=True, preset="paper", **OPTIONS)
    with pytest.raises(InputError, match="--clips: expected a run on clips to resume, found one on single faces"):
        start_run(tmp_path, lambda: pack, resume=True, clips=True, **OPTIONS)
    kept = r"--set averaging: expected 0\.999, that of the run that is resumed, found 0\.5"
    with pytest.raises(InputError, match=kept):
        start_run(tmp_path, lambda: pack, resume=True, changes=[*SMALL, "averaging=0.5"], **OPTIONS)


def test_a_wrong_recipe_is_refused_before_the_faces_are_opened(tmp_path: Path) -> None:
    def never() -> FacePack:
        raise AssertionError

    with pytest.raises(InputError, match="a name among"):
        start_run(tmp_path / "run", never, changes=["turned=1"], **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_patterns_that_do_not_fit_leave_no_run_behind(pack: FacePack, cofw_pack: FacePack, tmp_path: Path) -> None:
    file = tmp_path / "patterns.npz"
    changes = [*SMALL, "augmentation.patterns=0.5", f"augmentation.pattern_file={file}"]
    with pytest.raises(DataError, match=r"patterns\.npz: expected occlusion patterns"):
        start_run(tmp_path / "run", lambda: pytest.fail("packed, which takes minutes"), changes=changes, **OPTIONS)
    flagged = dataclasses.replace(pack, occluded=np.ones(pack.landmarks.shape[:2], bool))
    OcclusionPatterns.of_samples(flagged.samples(tmp_path)).save(file)
    with pytest.raises(InputError, match=r"patterns\.npz: expected patterns of cofw29, found of ibug68"):
        start_run(tmp_path / "run", lambda: cofw_pack, count=4, changes=changes, **OPTIONS)
    assert not (tmp_path / "run").exists()


def test_the_network_gets_the_landmarks_of_the_faces(cofw_pack: FacePack, tmp_path: Path) -> None:
    weights = start_run(tmp_path, lambda: cofw_pack, count=4, changes=[*SMALL, "validation=0"], **OPTIONS)
    assert load_network(weights)[0].config.scheme_name == "cofw29"


def test_an_occluder_gets_its_share_and_is_kept(pack: FacePack, tmp_path: Path) -> None:
    black = Black()
    start_run(tmp_path, lambda: pack, count=8, changes=[*SMALL, "hard_share=1"], occluder=black, **OPTIONS)
    assert black.faces >= 8
    assert (tmp_path / "black").read_text() == "kept"
    (tmp_path / "black").unlink()
    start_run(tmp_path, lambda: pack, count=12, occluder=black, resume=True, **OPTIONS)
    assert not (tmp_path / "black").exists()  # a resumed run has it already


def test_a_run_keeps_where_it_came_from(pack: FacePack, tmp_path: Path) -> None:
    """Weights of a resumed run named the pack in its folder as their data, and none told what they began from."""
    first, other = (
        start_run(tmp_path / name, lambda: pack, count=4, changes=SMALL, **OPTIONS, provenance={"data": "300W"})
        for name in ("first", "other")
    )
    assert load_network(first)[1]["initial"] == "random weights"
    licensed = load_network(first)
    save_network(first, licensed[0], provenance={"license": "MIT"})
    tuned: dict[str, Any] = {"count": 4, "changes": SMALL, **OPTIONS, "initial": first}
    weights = start_run(tmp_path / "tuned", lambda: pack, **tuned, provenance={"data": "mine"})
    begun = load_network(weights)[1]
    assert begun["initial"] == f"weights.safetensors@{file_digest(first)[:12]}"
    assert (begun["data"], begun["license"]) == ("mine", "MIT")

    for initial in (None, first):
        start_run(
            tmp_path / "tuned", lambda: pack, count=8, resume=True, initial=initial, **OPTIONS,
            provenance={"data": "faces.npz"},
        )  # fmt: skip
        facts = load_network(weights)[1]
        assert {name: facts[name] for name in ("data", "initial", "license")} == {
            name: begun[name] for name in ("data", "initial", "license")
        }
    with pytest.raises(WeightsError, match=rf"expected a run with initial weights\S+@{file_digest(other)[:12]}, found"):
        start_run(tmp_path / "tuned", lambda: pack, resume=True, initial=other, **OPTIONS)

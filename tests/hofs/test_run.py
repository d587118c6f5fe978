"""Runs of agents: interrupted, resumed, mistaken."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from rich.console import Console

from srn.errors import InputError, WeightsError
from srn.evaluation.run_folder import AGENT_FILE, CONFIG_FILE, LOG_FILE, STATE_FILE
from srn.files import write_json
from srn.hofs.config import AgentConfig
from srn.hofs.learner import Learner
from srn.hofs.run import agent_config, train_agent
from srn.model.checkpoint import load_tensors

from .conftest import WEAKNESS, WeakLocalizer, tiny_network, toy_config, toy_source

Train = Callable[..., Path]


def run(folder: Path, config: AgentConfig | None = None, **options: Any) -> Path:
    source = options.pop("source", toy_source())
    train_agent(
        config or toy_config(), source, options.pop("network", None) or tiny_network(), folder,
        device="cpu", log_every=2, save_every=options.pop("save_every", 4),
        **{"localizer": WeakLocalizer(WEAKNESS), "console": Console(file=io.StringIO()), **options},
    )  # fmt: skip
    return folder


@pytest.fixture
def train(tmp_path: Path) -> Train:
    return lambda name="run", config=None, **options: run(tmp_path / name, config, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing interrupts."""
    return run(tmp_path_factory.mktemp("whole"))


def agents_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_tensors(folder / AGENT_FILE)[0]


@pytest.mark.parametrize(
    ("changes", "real"),
    [
        ({}, False),
        ({"replay": "single-queue", "capacity": 30, "train_encoder": False}, False),
        ({"target_every": 5, "double_q": True, "pretrained": False}, False),
        ({"dropout": 0.5, "loss": "huber", "clip_end": "time-limit", "train_encoder": False}, False),
        ({"transitions": 80, "noise_seeds": 1, "reward": "degradation"}, True),
    ],
    ids=["as published", "single queue, head only", "target network", "dropout", "rewards of a network"],
)
def test_an_interrupted_run_gives_the_same_numbers(
    train: Train, changes: dict[str, Any], real: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(Exception):
        pass

    play = Learner.play

    def until_killed(learner: Learner) -> npt.NDArray[np.float64]:
        if learner.transitions >= 24:  # saved at 16
            raise Killed
        return play(learner)

    config = toy_config(**changes)
    options: dict[str, Any] = {"localizer": None} if real else {}
    whole = train("whole", config, **options)
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "play", until_killed)
        with pytest.raises(Killed):
            train("parts", config, **options)
    parts = train("parts", config, resume=True, **options)

    for name, tensor in agents_of(whole).items():
        assert torch.equal(tensor, agents_of(parts)[name]), name
    assert torch.equal(load_tensors(whole / STATE_FILE)[0]["replay"], load_tensors(parts / STATE_FILE)[0]["replay"])


@pytest.mark.parametrize("at", [0, 8, 16, 40])
def test_ctrl_c_is_saved_with_the_row_that_it_interrupts(
    at: int, train: Train, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play, said = Learner.play, io.StringIO()

    def interrupted(learner: Learner) -> npt.NDArray[np.float64]:
        if learner.transitions == at:
            raise KeyboardInterrupt
        return play(learner)

    def log(folder: Path) -> list[list[str]]:
        with (folder / LOG_FILE).open(newline="") as file:
            return [row[:4] for row in csv.reader(file)]  # without times

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "play", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train("parts", console=Console(file=said), save_every=100)
    assert said.getvalue().endswith(f"saved after {at} of 48 transitions\n")
    parts = train("parts", resume=True)

    for name in (AGENT_FILE, STATE_FILE):
        (tensors, text), (others, other_text) = (load_tensors(folder / name) for folder in (whole, parts))
        assert text == other_text
        assert tensors.keys() == others.keys()
        assert [key for key in tensors if not torch.equal(tensors[key], others[key])] == []
    assert log(whole) == log(parts)


def test_seeds_differ_and_repeat(train: Train) -> None:
    first, again, other = (train(name, toy_config(seed=seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    name = "head.1.weight"
    assert torch.equal(agents_of(first)[name], agents_of(again)[name])
    assert not torch.equal(agents_of(first)[name], agents_of(other)[name])


def test_a_run_made_longer(train: Train, whole: Path) -> None:
    train("parts", toy_config(transitions=20))
    parts = train("parts", resume=True)
    assert torch.equal(agents_of(whole)["head.1.weight"], agents_of(parts)["head.1.weight"])


def test_a_run_is_not_made_shorter_than_it_is(train: Train) -> None:
    """It was "goes on after 30 of 6 transitions", and its recipe said so from then on."""
    recipe = train("parts", toy_config(transitions=20)) / CONFIG_FILE
    before = recipe.read_text()
    with pytest.raises(InputError, match=r"^transitions: expected at least the 20 that the run has played, found 12$"):
        train("parts", toy_config(transitions=12), resume=True)
    assert recipe.read_text() == before


def test_the_log(train: Train) -> None:
    shown = io.StringIO()
    folder = train(console=Console(file=shown))
    with (folder / LOG_FILE).open(newline="") as file:
        logged = list(csv.DictReader(file))
    lines = shown.getvalue().splitlines()
    assert [line.split()[0] for line in lines] == [f"{row['transitions']}/48" for row in logged]
    assert [line.split()[2] for line in lines] == [f"{float(row['reward']):.4f}" for row in logged]
    assert [int(row["transitions"]) for row in logged] == [8, 16, 24, 32, 40, 48]
    assert logged[0]["loss"] != ""  # the warm-up is over after 8
    assert all(0 < float(row["network_share"]) < 1 for row in logged)
    assert all(float(row["transitions_per_s"]) > 0 for row in logged)


def test_progress_counts_what_the_lanes_play(train: Train) -> None:
    """Four lanes play side by side: of 2 transitions 4."""
    shown = io.StringIO()
    folder = train(config=toy_config(transitions=2), console=Console(file=shown))
    train(config=toy_config(transitions=5), resume=True, console=Console(file=shown))
    lines = [line for line in shown.getvalue().splitlines() if not line.startswith("nothing was learned")]
    assert [line.split()[0] for line in lines] == ["4/4", f"{folder}:", "8/8"]
    assert lines[1] == f"{folder}: goes on after 4 of 8 transitions"


def test_a_run_that_ends_before_it_learns_says_so(train: Train) -> None:
    shown = io.StringIO()
    folder = train(config=toy_config(transitions=4), console=Console(file=shown))  # its warm-up takes 8
    assert "nothing was learned: 8 transitions are played before that" in shown.getvalue()
    fresh = load_tensors(folder / STATE_FILE)[0]
    train(config=toy_config(transitions=8), resume=True, console=Console(file=shown))
    assert shown.getvalue().count("nothing was learned") == 1
    assert not torch.equal(agents_of(folder)["head.1.weight"], fresh["qnet.head.1.weight"])


def test_a_change_without_effect_is_refused(tmp_path: Path) -> None:
    for changes in (["capacity=100"], ["replay=single-queue", "replay_clips=5"]):
        with pytest.raises(InputError, match=f"--set {changes[-1]}: expected another replay"):
            agent_config(tmp_path, changes=changes)
    assert agent_config(tmp_path, changes=["replay=single-queue", "capacity=100"]).capacity == 100


def test_a_folder_is_not_written_over(train: Train) -> None:
    train()
    with pytest.raises(InputError, match=r"expected an empty or new folder \(or --resume\)"):
        train()


def test_another_run_is_not_resumed(train: Train) -> None:
    train()
    with pytest.raises(WeightsError, match="expected a run with clips 3 plain clips of 6, found 2 plain clips of 6"):
        train(source=toy_source(clips=3), resume=True)
    with pytest.raises(WeightsError, match="expected a run with seed 1, found 0"):
        train(config=toy_config(seed=1), resume=True)
    with pytest.raises(WeightsError, match="expected a run with network"):
        train(network=tiny_network(1), resume=True)
    with pytest.raises(WeightsError, match="expected a run with qnet"):
        train(config=toy_config(hidden_size=8), resume=True)


def test_a_resumed_run_keeps_its_recipe(tmp_path: Path) -> None:
    new = agent_config(tmp_path, resume=True, transitions=100, seed=3, changes=["lanes=4", "encoder=patches"])
    assert (new.transitions, new.seed, new.lanes, new.encoder) == (100, 3, 4, "patches")
    new.save(tmp_path / CONFIG_FILE)
    assert agent_config(tmp_path, resume=True) == AgentConfig()  # nothing was saved yet
    (tmp_path / STATE_FILE).write_bytes(b"")
    assert agent_config(tmp_path, resume=True) == new
    assert agent_config(tmp_path, resume=True, transitions=200).transitions == 200
    with pytest.raises(InputError, match="expected an empty or new folder"):
        agent_config(tmp_path)
    with pytest.raises(InputError, match="--set lanes: expected 4, that of the run that is resumed, found 8"):
        agent_config(tmp_path, resume=True, changes=["encoder=patches", "lanes=8"])
    assert agent_config(tmp_path, resume=True, changes=["lanes=4"], seed=3) == new
    with pytest.raises(InputError, match="--seed: expected 3, that of the run that is resumed, found 0"):
        agent_config(tmp_path, resume=True, seed=0)


def test_a_resumed_run_keeps_its_clips(tmp_path: Path) -> None:
    new = agent_config(tmp_path, frames=5, clips=40)
    new.save(tmp_path / CONFIG_FILE)
    (tmp_path / STATE_FILE).write_bytes(b"")
    assert (new.frames, new.clips) == (5, 40)
    assert agent_config(tmp_path, resume=True) == agent_config(tmp_path, resume=True, frames=5, clips=40) == new
    with pytest.raises(InputError, match="--frames: expected 5, that of the run that is resumed, found 8"):
        agent_config(tmp_path, resume=True, frames=8)
    with pytest.raises(InputError, match="--clips: expected 40, that of the run that is resumed, found 41"):
        agent_config(tmp_path, resume=True, clips=41)
    # Older files do not say it: the command has to.
    older = {name: value for name, value in new.to_dict().items() if name not in ("frames", "clips")}
    write_json(tmp_path / CONFIG_FILE, older)
    assert agent_config(tmp_path, resume=True, frames=5, clips=40) == new

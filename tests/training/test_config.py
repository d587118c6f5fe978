"""A run's description: recipes, the schedule by hand, the round trip through its file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from srn.errors import InputError
from srn.model.config import preset
from srn.settings import with_settings
from srn.synthesis.config import PAPER_AUGMENTATION, AugmentConfig
from srn.training.config import ClipConfig, TrainConfig, train_config

RUN = TrainConfig(faces=1000, batch_size=10, learning_rate=0.5, warm_up=40, decay_share=0.4)
"""100 steps: 4 of warm-up, then a plateau, the last 40 down to zero."""


def test_steps_are_faces_over_the_batch() -> None:
    assert RUN.steps == 100
    assert dataclasses.replace(RUN, faces=1009).steps == 100
    assert dataclasses.replace(RUN, faces=3).steps == 1


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 0.5 / 4),
        (1, 0.5 * 2 / 4),
        (3, 0.5),
        (4, 0.5),
        (59, 0.5),
        (60, 0.5),
        (61, 0.5 * 39 / 40),
        (80, 0.25),
        (99, 0.5 / 40),
        (100, 0.0),
    ],
)
def test_the_rate_rises_stays_and_falls(step: int, rate: float) -> None:
    assert RUN.rate(step) == pytest.approx(rate, abs=1e-12)


def test_a_run_made_longer_has_the_same_rates_up_to_its_decay() -> None:
    longer = dataclasses.replace(RUN, faces=2000)

    assert [longer.rate(step) for step in range(60)] == [RUN.rate(step) for step in range(60)]
    assert longer.rate(119) == 0.5


def test_without_decay_the_rate_stays_to_the_end() -> None:
    assert dataclasses.replace(RUN, decay_share=0.0).rate(99) == 0.5


def test_a_run_of_decay_only_falls_from_the_start() -> None:
    run = dataclasses.replace(RUN, decay_share=1.0, warm_up=0)

    assert [run.rate(step) for step in (0, 50, 99)] == pytest.approx([0.5, 0.25, 0.005])


def test_a_short_run_warms_up_over_its_first_tenth() -> None:
    run = dataclasses.replace(RUN, warm_up=10_000)  # a hundred steps: ten to warm up, the last forty to fall

    assert [run.rate(step) for step in (0, 4, 9, 10, 60)] == pytest.approx([0.05, 0.25, 0.5, 0.5, 0.5])


@pytest.mark.parametrize(
    "config",
    [
        train_config("robust"),
        train_config("paper", faces=640, seed=7),
        train_config(
            "robust",
            model_changes={"scheme_name": "wflw98", "without": ("d",), "non_local": False},
            augmentation=AugmentConfig(flip=0.25, masks=0.0),
            loss="squared",
            validation=0,
        ),
    ],
    ids=["robust", "paper", "changed"],
)
def test_round_trip(config: TrainConfig, tmp_path: Path) -> None:
    config.save(tmp_path / "run" / "config.json")

    assert TrainConfig.load(tmp_path / "run" / "config.json") == config


def test_the_papers_recipe() -> None:
    """As the authors' release has it: Adam 5e-4, batch 64, 100,000 steps, average of 0.9999, a noise patch on each."""
    paper = train_config("paper")

    assert paper.steps == 100_000
    assert (paper.batch_size, paper.learning_rate, paper.averaging, paper.weight_decay) == (64, 5e-4, 0.9999, 0.0)
    assert paper.augmentation is PAPER_AUGMENTATION
    assert paper.augmentation.noise_patch == 1.0
    assert paper.model == preset("paper")
    assert paper.loss == "distance"


def test_changes_go_where_they_belong() -> None:
    config = train_config("robust", model_changes={"hidden_size": 64}, faces=320)

    assert config.model == preset("robust", hidden_size=64)
    assert config == dataclasses.replace(train_config("robust"), model=config.model, faces=320)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"faces": 0}, "faces: expected a whole number of at least 1, found 0"),
        ({"batch_size": -4}, "batch_size: expected a whole number of at least 1, found -4"),
        ({"decay_share": 1.5}, "decay_share: expected a number from 0 to 1, found 1.5"),
    ],
)
def test_bad_values(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=f"^TrainConfig.{words}$"):
        TrainConfig(**changes)


def edited(path: Path, **changes: Any) -> None:
    values = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({name: v for name, v in values.items() if v is not None}))


@pytest.mark.parametrize(
    "changes",
    [{"optimizer": "sgd"}, {"model": {"preset": "robust"}}, {"model": None}, {"augmentation": {"flips": 0.5}}],
    ids=["unknown entry", "half a model", "no model", "unknown augmentation"],
)
def test_a_file_of_another_version(changes: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    RUN.save(path)
    edited(path, **changes)

    with pytest.raises(InputError, match=f"^{path}: expected a training run's config.json") as caught:
        TrainConfig.load(path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '"text"', "3"])
def test_a_file_that_is_no_description(text: str | None, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    if text is not None:
        path.write_text(text)

    with pytest.raises(InputError, match=f"^{path}: expected a training run's config.json"):
        TrainConfig.load(path)


# --- settings by hand


def test_settings_by_name() -> None:
    config = TrainConfig(clips=ClipConfig())
    changed = with_settings(
        config,
        [
            "weight_decay=0.05", "augmentation.turned=0.2", "loss=squared", "faces=7", "clips.motion.masks=1",
            "clips.videos=true",
        ],
    )  # fmt: skip
    assert changed.clips is not None
    assert config.clips is not None
    assert changed == dataclasses.replace(
        config,
        weight_decay=0.05,
        augmentation=dataclasses.replace(config.augmentation, turned=0.2),
        loss="squared",
        faces=7,
        clips=dataclasses.replace(
            config.clips, videos=True, motion=dataclasses.replace(config.clips.motion, masks=1.0)
        ),
    )  # fmt: skip
    assert isinstance(changed.clips.motion.masks, float)


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("weight_decay", "NAME=VALUE"),
        ("weight_deca=1", "a name among faces, batch_size"),
        ("augmentation=1", "augmentation.*"),
        ("augmentation.turn=1", "a name among flip"),
        ("model.iterations=0", "ModelConfig.iterations: expected a whole number of at least 1"),
        ("clips.frames=3", "a name among faces"),  # a run on single faces has no clips
        ("faces.x=1", "a name among faces"),
        ("faces=1.5", "a whole number of at least 1, found '1.5'"),
        ("balance=much", "a number of at least 0, found 'much'"),
        ("weight_decay=nan", "a number of at least 0, found 'nan'"),
        ("loss=hinge", "TrainConfig.loss: expected distance or squared, found 'hinge'"),
        ("faces=0", "faces: expected a whole number of at least 1"),
    ],
)
def test_settings_that_there_are_not(setting: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        with_settings(TrainConfig(), [setting])
    assert words in str(caught.value)

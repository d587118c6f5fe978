"""Recipes of agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from srn.errors import InputError
from srn.hofs.config import AgentConfig

from .conftest import toy_config


def test_a_description_and_back(tmp_path: Path) -> None:
    config = toy_config(replay="single-queue", encoder="patches", pretrained=False)
    config.save(tmp_path / "config.json")
    assert AgentConfig.load(tmp_path / "config.json") == config
    (tmp_path / "config.json").write_text('{"lanes": 0}')
    with pytest.raises(InputError, match=r"expected an agent's config.json, found AgentConfig: expected a value of"):
        AgentConfig.load(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lanes": 0}, "lanes: expected a whole number of at least 1"),
        ({"discount": 1.1}, "discount: expected a number from 0 to 1"),
        ({"exploration_rate": -0.1}, "exploration_rate: expected a number from 0 to 1"),
        ({"replay": "heap"}, "replay: expected multi-queue or single-queue"),
        ({"loss": "grief"}, "loss: expected squared or huber"),
        ({"dropout": 1.0}, "dropout: expected a number of at least 0 and below 1"),
        ({"clip_end": "cliff"}, "clip_end: expected terminal or time-limit"),
        ({"reward": "pain"}, "reward: expected nme, squared or degradation"),
        ({"warm_up": -1}, "warm_up: expected a whole number of at least 0"),
    ],
)
def test_configs_that_make_no_sense(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AgentConfig(**changes)

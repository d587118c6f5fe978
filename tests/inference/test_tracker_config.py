"""`TrackerConfig`: values are checked, and there is one JSON form."""

from __future__ import annotations

from typing import Any

import pytest

from srn.errors import InputError
from srn.inference.smoothing import SmoothingConfig
from srn.inference.tracker_config import TrackerConfig
from srn.settings import with_settings


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"start": "middle"}, "start"),
        ({"iterations": 0}, "iterations"),
        ({"find_every": 0}, "find_every"),
        ({"max_misses": 0}, "max_misses"),
        ({"keep_confidence": 0.5}, "keep_confidence"),
        ({"least_flow": 1.5}, "least_flow"),
        ({"find_after_change": 0}, "find_after_change"),
        ({"mirror_every": -1}, "mirror_every"),
        ({"smooth": 1}, "smooth"),
        ({"slow_s": 0.0}, "slow_s"),
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=named):
        TrackerConfig(**wrong)


def test_there_and_back() -> None:
    config = TrackerConfig(start="previous", smoothing=SmoothingConfig(beta=3.0))
    assert TrackerConfig.from_dict(config.to_dict()) == config
    assert with_settings(config, ["iterations=2", "smoothing.hold=0.5"]).smoothing.hold == 0.5

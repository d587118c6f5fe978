"""Settings of augmentation and animation: checked at birth, and by their old names in files."""

from __future__ import annotations

import json
from typing import Any

import pytest

from srn.errors import InputError
from srn.synthesis.config import (
    NO_AUGMENTATION,
    NO_MOTION,
    PAPER_AUGMENTATION,
    RANDOM_PATCH_MOTION,
    UNOCCLUDED_MOTION,
    AugmentConfig,
    MotionConfig,
)


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (AugmentConfig, {"flip": 7}),
        (AugmentConfig, {"masks": -0.1}),
        (AugmentConfig, {"rotation_deg": float("nan")}),
        (AugmentConfig, {"noise_patch_size": 0}),
        (AugmentConfig, {"color": "much"}),
        (MotionConfig, {"crop": "loose"}),
        (MotionConfig, {"period": (0.5, 3.0)}),
        (MotionConfig, {"period": (9.0, 3.0)}),
        (MotionConfig, {"shift": -1}),
    ],
)
def test_impossible_values_are_refused(kind: type[AugmentConfig] | type[MotionConfig], values: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"{kind.__name__}.{next(iter(values))}"):
        kind(**values)


@pytest.mark.parametrize("config", [AugmentConfig(second_pass=0.5), PAPER_AUGMENTATION, NO_AUGMENTATION])
def test_augmentation_survives_json(config: AugmentConfig) -> None:
    assert AugmentConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("config", [MotionConfig(), NO_MOTION, UNOCCLUDED_MOTION, RANDOM_PATCH_MOTION])
def test_motion_survives_json(config: MotionConfig) -> None:
    assert MotionConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


def test_files_keep_the_name_second_look() -> None:
    assert AugmentConfig(second_pass=0.5).to_dict()["second_look"] == 0.5


def test_files_from_before_later_settings_are_read() -> None:
    early = {"second_look", "turned", "misfit"}
    values = {name: value for name, value in AugmentConfig().to_dict().items() if name not in early}

    assert AugmentConfig.from_dict(values) == AugmentConfig()

"""A network's description: what the presets are, the round trip through a checkpoint, and bad values."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from srn.errors import InputError, WeightsError
from srn.face.geometry import CropSpec
from srn.face.scheme import WFLW_98
from srn.model.config import HIERARCHIES, PRESETS, ModelConfig, preset


@pytest.mark.parametrize(
    "config",
    [
        preset("paper"),
        preset("robust"),
        preset("robust", scheme_name="cofw29", without=("g", "mu"), map_channels=(8, 16, 24), face_size=99.5),
        preset("paper", non_local=False, recurrence="frame", iterations=5),
    ],
    ids=["paper", "robust", "changed robust", "changed paper"],
)
def test_json_round_trip(config: ModelConfig) -> None:
    text = config.to_json()

    assert ModelConfig.from_json(text) == config
    assert "\n" not in text
    names = {field.name for field in dataclasses.fields(ModelConfig)} - {"crop_size"} | {"frame_size"}
    assert list(json.loads(text)) == sorted(names)


def test_json_of_a_changed_network_is_not_the_same() -> None:
    assert ModelConfig.from_json(preset("robust", iterations=2).to_json()) != preset("robust")


def test_the_paper_preset_is_what_the_paper_says() -> None:
    paper = preset("paper")

    assert (paper.iterations, paper.hidden_size, paper.region_size, paper.component_size) == (3, 512, 512, 256)
    assert (paper.encoder, paper.offsets_per_landmark, paper.without) == ("patches", 1, ())
    assert paper.non_local
    assert not paper.non_local_softmax
    assert not any((paper.local_offsets, paper.coarse_shape, paper.hourglass, paper.point_heads))


def test_presets_know_their_names_and_default_to_robust() -> None:
    assert {"paper", "robust"} <= set(PRESETS)
    assert all(config.preset == name for name, config in PRESETS.items())
    assert ModelConfig() == preset("robust")


def test_a_preset_with_changes_leaves_the_preset_alone() -> None:
    changed = preset("robust", hidden_size=99)

    assert changed.hidden_size == 99
    assert dataclasses.replace(changed, hidden_size=PRESETS["robust"].hidden_size) == PRESETS["robust"]


def test_scheme_and_frame_follow_from_the_values() -> None:
    config = preset("robust", scheme_name="wflw98", crop_size=128, face_size=90.0)

    assert config.scheme is WFLW_98
    assert config.crop_spec == CropSpec(128, 90.0)


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("robust", {"without": ("g", "q")}, ("g, f, d or mu", "found ('g', 'q')")),
        ("robust", {"iterations": 0}, ("iterations", "at least 1", "found 0")),
        ("robust", {"scheme_name": "ibug66"}, ("landmark scheme", "ibug68", "'ibug66'")),
        ("robust", {"crop_size": 100}, ("crop_size", "16", "100")),
        ("robust", {"encoder": "transformer"}, ("encoder", "patches or shared-map", "'transformer'")),
        ("robust", {"recurrence": "none"}, ("recurrence", "iteration or frame", "'none'")),
        ("robust", {"offsets_per_landmark": 3}, ("offsets_per_landmark", "1 or 2", "3")),
        ("paper", {"coarse_shape": True}, ("coarse_shape", "shared-map")),
        ("robust", {"hourglass": True}, ("initial shape", "one of coarse_shape and hourglass", "both")),
        ("paper", {"landmark_features": 64}, ("landmark_features", "256", "64")),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_bad_values_give_one_clear_line(name: str, changes: dict[str, Any], words: tuple[str, ...]) -> None:
    with pytest.raises(InputError) as caught:
        preset(name, **changes)

    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(InputError, match=f"^preset: expected one of {', '.join(PRESETS)}, found 'best'$"):
        preset("best")


def without_entry(name: str) -> str:
    values = json.loads(preset("robust").to_json())
    del values[name]
    return json.dumps(values)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "3",
        "[]",
        "{}",
        without_entry("without"),
        json.dumps({**json.loads(preset("robust").to_json()), "heads": 8}),
        json.dumps({**json.loads(preset("robust").to_json()), "scheme_name": "ibug66"}),
        json.dumps({**json.loads(preset("robust").to_json()), "without": ["q"]}),
        preset("robust").to_json().replace("{", '{"iterations": 2, ', 1),
    ],
    ids=["empty", "no json", "number", "list", "no entries", "one missing", "one too many", "scheme", "part", "twice"],
)
def test_a_description_that_is_none_gives_one_clear_line(text: str) -> None:
    with pytest.raises(
        WeightsError, match=r"^model config: expected a network's description as JSON, found "
    ) as caught:
        ModelConfig.from_json(text)

    assert "\n" not in str(caught.value)


def test_the_parts_that_can_be_left_out_are_those_of_table_7() -> None:
    assert HIERARCHIES == ("g", "f", "d", "mu")


def test_descriptions_from_before_the_choice_of_batch_norm_mean_what_was_built_then() -> None:
    for name, batch_norm in (("paper", False), ("robust", True)):
        values = json.loads(preset(name).to_json())
        assert values.pop("batch_norm") == batch_norm
        assert ModelConfig.from_json(json.dumps(values)) == preset(name)

"""The table of dataset kinds."""

from __future__ import annotations

import pytest

from srn.datasets.kinds import KINDS
from srn.datasets.three_hundred_vw import OFFICIAL_VIDEOS
from srn.datasets.three_hundred_w import FULL_SUBSETS, TRAINING_SUBSETS
from srn.datasets.wflw import ATTRIBUTES


@pytest.mark.parametrize(
    ("kind", "part", "count"),
    [
        ("300w", "train", 3148),
        ("300w", "test", 689),
        ("300w", "Common", 554),
        ("300w", "Challenging", 135),
        ("300w", "Full", 689),
        ("masked-300w", "Full", 689),
        ("masked-300w", "train", None),
        ("300w-private", "test", 600),
        ("300w-private", "Outdoor", 300),
        ("cofw29", "train", 1345),
        ("cofw29", "test", 507),
        ("cofw68", "test", 507),
        ("wflw", "test", 2500),
        ("wflw", "occlusion", 736),
        ("wflw68", "occlusion", None),
        ("300vw", "category 1", 62_846 - 711),  # annotated frames without the excluded ones
        ("300vw", "category 2", 32_872 - 67),
        ("300vw", "category 3", 27_687 - 1349),
        ("masked-300vw", "category 3", 26_338),
        ("300vw", "mine", None),
        ("plain", "test", None),
    ],
)
def test_official_counts_are_those_of_the_papers(kind: str, part: str, count: int | None) -> None:
    assert KINDS[kind].official_count(part) == count


def test_every_subset_with_an_official_count_is_known() -> None:
    assert set(KINDS["300w"].official) == {*TRAINING_SUBSETS, *FULL_SUBSETS}
    assert set(KINDS["300vw"].official) == set(OFFICIAL_VIDEOS)
    assert set(KINDS["wflw"].official) == {"train", "test", *ATTRIBUTES}


def test_a_masked_set_has_the_parts_of_its_source() -> None:
    for kind in KINDS.values():
        if kind.masked_from is not None:
            source = KINDS[kind.masked_from]
            assert kind.groups.items() <= source.groups.items()
            assert (kind.scheme, kind.unions, kind.unit) == (source.scheme, source.unions, source.unit)

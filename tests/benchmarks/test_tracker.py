"""The table of the tracker benchmark."""

from __future__ import annotations

import math

import pytest

from srn.evaluation.video import ClipScore, VideoEvaluation

pytest.importorskip("torch")

import measure_tracker


def test_the_table() -> None:
    score = ClipScore(
        "toy",
        5,
        5,
        0,
        nme=0.0123,
        jitter=0.0,
        flicker=math.nan,
        nme_hidden=math.nan,
        nme_visible=math.nan,
        hidden=0,
        visible=0,
    )
    table = measure_tracker.followers_table([VideoEvaluation("one", (score,), 0.0123, "interocular")])
    header, line, row = table.split("\n")
    assert header.count("|") == line.count("|") == row.count("|")
    assert row == "| one | 0.0 | 0.0 | 1.23 | - | - | 0.00 | - | 12.3 |"

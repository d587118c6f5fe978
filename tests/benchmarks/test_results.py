"""Shared parts of the benchmarks: provenance, tables, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import results


def test_commands_hide_the_folders_of_this_machine() -> None:
    command = results.command_line(["/home/me/srn/benchmarks/measure_weights.py", "/data/faces", "--threads", "1"])

    assert command == "python benchmarks/measure_weights.py faces --threads 1"


def test_commands_can_be_pasted() -> None:
    assert results.command_line(["x.py", "--arms", "no turn"]).endswith("--arms 'no turn'")
    assert results.command_line(["x.py", "w/o OFA", "models/fast.onnx"]).endswith("x.py 'w/o OFA' models/fast.onnx")


def test_a_measurement_tells_command_date_hardware_and_commit() -> None:
    facts = results.provenance(2, ["x.py"])

    assert tuple(facts) == results.PROVENANCE
    assert facts["hardware"].endswith("2 threads")


@pytest.mark.parametrize("rows", [[], [["1", "2"], ["3", "4"]]])
def test_tables_have_a_line_a_row(rows: list[list[str]]) -> None:
    lines = results.markdown_table(("a", "b"), rows).splitlines()

    assert lines[:2] == ["| a | b |", "| --- | --- |"]
    assert len(lines) == 2 + len(rows)


def test_results_are_json_and_markdown(tmp_path: Path) -> None:
    content = {**results.provenance(1, ["x.py"]), "weights": "w", "rows": [1, 2]}
    page = results.markdown_page("Title", content, ["a note"], "a table")

    results.write_results(tmp_path / "new", "name", content, page)

    assert json.loads((tmp_path / "new" / "name.json").read_text(encoding="utf-8")) == content
    text = (tmp_path / "new" / "name.md").read_text(encoding="utf-8")
    assert text.startswith("# Title\n\n- command: python benchmarks/x.py\n")
    assert "- weights: w\n- a note\n\na table\n" in text


def test_a_difference_and_its_interval() -> None:
    rng = np.random.default_rng(0)
    whole = rng.normal(5, 2, (5, 400))  # the faces' own spread cancels in pairs
    gap = rng.normal(0.5, 0.3, (5, 400))
    mean, low, high = results.paired_difference(whole + gap, whole, rng)
    assert mean == pytest.approx(gap.mean())
    # By the normal approximation over faces and seeds.
    spread = np.hypot(gap.mean(axis=0).std() / 20, gap.mean(axis=1).std() / 5**0.5)
    assert (high - low) / 2 == pytest.approx(1.96 * spread, rel=0.5)
    assert low < 0.5 < high

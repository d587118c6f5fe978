"""Every row of the tables of `docs/robustness.md` names tests, and pytest collects them."""

from __future__ import annotations

import ast
import functools
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "robustness.md"
HEADER = "| input | what happens | test |"
MEASURED = "| change |"  # how the header of a table of numbers begins


def rows() -> Iterator[list[str]]:
    """Yield the cells of every row of every table of inputs."""
    is_inside = False
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        is_inside = line == HEADER or (is_inside and line.startswith("|"))
        if is_inside and line != HEADER and set(line) != set("|-"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


@functools.cache
def collected(file: Path) -> frozenset[str]:
    """List what pytest collects of a file: functions `test_*`, and those of classes `Test*`."""
    if not file.is_file() or not file.name.startswith("test_"):
        return frozenset()
    names: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            names.update(f"{node.name}::{part.name}" for part in node.body if isinstance(part, ast.FunctionDef))
    return frozenset(name for name in names if name.split("::")[-1].startswith("test_"))


def test_no_table_of_inputs_escapes() -> None:
    """Rows under another header would be executed by nothing, and no test would say so."""
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    headers = [above for above, line in itertools.pairwise(lines) if re.fullmatch(r"\|(:?-+:?\|)+", line)]
    assert HEADER in headers
    assert [header for header in headers if header != HEADER and not header.startswith(MEASURED)] == []
    assert list(rows())


@pytest.mark.parametrize("row", list(rows()), ids=lambda row: row[0][:60])
def test_each_row_is_executed_by_a_test(row: list[str]) -> None:
    assert len(row) == 3
    assert all(row)
    assert re.fullmatch(r"`[^`]+`(, `[^`]+`)*", row[2]), "tests by their names"
    for name in re.findall(r"`([^`]+)`", row[2]):
        file, _, function = name.partition("::")
        assert function in collected(ROOT / file), f"no such test: {name}"

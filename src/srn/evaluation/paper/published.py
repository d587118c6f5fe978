"""The published numbers of the paper, read from `published.toml` as typed records."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType
from typing import Any

VARIANTS = (
    "full", "without-g", "without-f", "without-d", "without-mu", "without-non-local", "without-occlusion", "hourglass",
    "hofs",
)  # fmt: skip
"""The paper's own networks."""


@dataclass(frozen=True)
class Column:
    """A column of a table: faces and measure.

    Attributes:
        dataset: a name of `KINDS`, or `none`.
        metric: `nme`, `failure-rate`, `recall-at-80-precision` or `frames-per-second`.
        normalizer: one of `metrics.NORMALIZERS`; empty for measures without one.
        unit: `%`, or `1/s`.
    """

    name: str
    label: str
    dataset: str
    subset: str
    metric: str
    unit: str
    normalizer: str = ""


@dataclass(frozen=True)
class Row:
    """A method's published numbers.

    Attributes:
        reference: its number in the paper's list; 0 for the paper's own.
        values: by column name, in the column's unit; empty cells are missing.
        variant: one of `VARIANTS` for the paper's own networks; else empty.
    """

    method: str
    reference: int
    values: Mapping[str, float]
    variant: str = ""


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        source: place in the paper.
        notes: remarks on doubtful numbers.
        ablation: whether its rows are networks of one training budget.
    """

    name: str
    title: str
    source: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    ablation: bool = False

    def row_of(self, variant: str) -> Row | None:
        """Return the paper's own row of a variant."""
        return next((row for row in self.rows if row.variant == variant), None)

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants with a row, in the table's order."""
        return tuple(row.variant for row in self.rows if row.variant)


@dataclass(frozen=True)
class Published:
    """All tables, their source, and the list of references."""

    source: Mapping[str, Any]
    references: Mapping[int, str]
    tables: Mapping[str, Table]

    def citation(self) -> str:
        """Return the citation in one line."""
        return f"{self.source['authors']}: {self.source['title']}, {self.source['venue']} ({self.source['year']})"


def _table(name: str, values: Mapping[str, Any]) -> Table:
    columns = tuple(Column(name=key, **facts) for key, facts in values["columns"].items())
    rows = tuple(Row(**{**facts, "values": MappingProxyType(dict(facts["values"]))}) for facts in values["rows"])
    notes, ablation = tuple(values["notes"]), values.get("ablation", False)
    return Table(name, values["title"], values["source"], columns, rows, notes, ablation)


@cache
def published() -> Published:
    """Read `published.toml`."""
    text = resources.files("srn").joinpath("evaluation", "paper", "published.toml").read_text(encoding="utf-8")
    values = tomllib.loads(text)
    tables = {name: _table(name, facts) for name, facts in values["tables"].items()}
    references = {int(number): text for number, text in values["references"].items()}
    return Published(MappingProxyType(values["source"]), MappingProxyType(references), MappingProxyType(tables))

"""Published and measured numbers as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from srn.evaluation.paper.outcome import Cell, OurRow, Outcome
from srn.evaluation.paper.published import Column, Table, published

CSV_FIELDS = (
    "table", "kind", "method", "reference", "detail", "column", "dataset", "subset", "metric", "normalizer", "unit",
    "value", "low", "high", "faces", "official_faces", "missed", "published", "difference", "reason",
)  # fmt: skip


def cell_text(cell: Cell) -> str:
    """Return a measured number with its interval and numbers of faces, or the reason why it is missing."""
    if cell.interval is None:
        return cell.reason
    text = f"{cell.interval.value:.2f}"
    if np.isfinite([cell.interval.low, cell.interval.high]).all():
        text += f" [{cell.interval.low:.2f}, {cell.interval.high:.2f}]"
    if cell.partial:
        text += f" ({cell.faces} of {cell.official})"
    if cell.missed:
        text += f" ({cell.missed} missed)"
    return text


def difference(table: Table, ours: OurRow, column: Column) -> float | None:
    """Return our number minus that of the paper's row of the same variant; None without both."""
    row, cell = table.row_of(ours.variant), ours.cells[column.name]
    if row is None or cell.value is None or column.name not in row.values:
        return None
    return cell.value - row.values[column.name]


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"


def markdown(outcome: Outcome) -> str:
    """Return a table under a heading: the paper's rows, ours, and the notes."""
    table = outcome.table
    lines = [f"## {table.name.capitalize().replace('Table', 'Table ')}: {table.title}", ""]
    lines.append(_line(["method", *(f"{c.label} ({c.unit})" for c in table.columns)]))
    lines.append(_line(["---", *("---:" for _ in table.columns)]))
    for row in table.rows:
        name = f"{row.method} [{row.reference}]" if row.reference else f"{row.method} (the paper)"
        numbers = [f"{row.values[c.name]:.2f}" if c.name in row.values else "–" for c in table.columns]
        lines.append(_line([name, *numbers]))
    for ours in outcome.rows:
        name = f"**{ours.label}**" + (f"<br>beside {ours.method}; {ours.detail}" if ours.detail else "")
        texts = []
        for column in table.columns:
            gap = difference(table, ours, column)
            text = cell_text(ours.cells[column.name])
            if ours.cells[column.name].value is not None:
                number, space, rest = text.partition(" ")
                text = f"**{number}**{space}{rest}"
            texts.append(text + ("" if gap is None else f"; {gap:+.2f}"))
        lines.append(_line([name, *texts]))
    legend = "In brackets: bootstrap 95 % interval. After the semicolon: ours minus the paper's row of that name."
    notes = [*(f"{line} (On the published numbers.)" for line in table.notes), *outcome.notes]
    lines += ["", legend, "", *(f"- {line}" for line in notes)]
    return "\n".join(lines).rstrip() + "\n"


TITLE = "# The paper's tables, measured again"


def document(outcomes: Sequence[Outcome], facts: Mapping[str, str], extra: Sequence[str] = ()) -> str:
    """Return all tables as one page, with the facts of the measurement before and the figures and references after."""
    source = published()
    head = [TITLE, "", f"Published numbers: {source.citation()}.", ""]
    head += [f"- {name}: {value}" for name, value in facts.items()]
    numbers = sorted({row.reference for outcome in outcomes for row in outcome.table.rows if row.reference})
    references = [f"- [{n}] {source.references[n]}" for n in numbers]
    parts = ["\n".join(head), *(markdown(outcome).rstrip() for outcome in outcomes)]
    if extra:
        parts.append("## Figures\n\n" + "\n".join(f"- {line}" for line in extra))
    if references:
        parts.append("## References, numbered as in the paper\n\n" + "\n".join(references))
    return "\n\n".join(parts) + "\n"


def _records(outcome: Outcome) -> list[dict[str, Any]]:
    """One record per cell, published and ours."""
    table, records = outcome.table, []

    def base(column: Column) -> dict[str, Any]:
        return {
            "table": table.name, "column": column.name, "dataset": column.dataset, "subset": column.subset,
            "metric": column.metric, "normalizer": column.normalizer, "unit": column.unit,
        }  # fmt: skip

    for row in table.rows:
        printed = {"kind": "published", "method": row.method, "reference": row.reference or None}
        cells = [column for column in table.columns if column.name in row.values]
        records += [{**base(column), **printed, "value": row.values[column.name]} for column in cells]
    for ours in outcome.rows:
        row_of = table.row_of(ours.variant)
        for column in table.columns:
            cell = ours.cells[column.name]
            record = {**base(column), "kind": "ours", "method": ours.method, "detail": ours.detail}
            if cell.interval is None:
                record["reason"] = cell.reason
            else:
                low, high = cell.interval.to_list()
                counts = {"faces": cell.faces, "official_faces": cell.official, "missed": cell.missed or None}
                measured = {"low": low, "high": high, **counts}
                record |= {"value": cell.value, **measured}
            if row_of is not None and column.name in row_of.values:
                record |= {"published": row_of.values[column.name], "difference": difference(table, ours, column)}
            records.append({key: value for key, value in record.items() if value is not None})
    return records


def to_csv(outcome: Outcome) -> str:
    """Return one line per cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, CSV_FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_records(outcome))
    return text.getvalue()


def to_json(outcome: Outcome, facts: Mapping[str, str]) -> str:
    """Return the cells with the facts of the measurement."""
    table, notes = outcome.table, [*outcome.table.notes, *outcome.notes]
    head = {"table": table.name, "title": table.title, "source": table.source}
    values = {**head, **facts, "cells": _records(outcome), "notes": notes}
    return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

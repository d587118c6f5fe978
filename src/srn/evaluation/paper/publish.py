"""A folder of results: every table as Markdown, CSV and JSON, curves, figures, and one page with all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from srn.errors import InputError
from srn.evaluation.paper import tabulate
from srn.evaluation.paper.figures import curves, sheets
from srn.evaluation.paper.outcome import Outcome
from srn.evaluation.paper.published import published
from srn.evaluation.paper.reproduce import Reproduction
from srn.evaluation.report.chart_file import write_charts
from srn.files import write_atomically
from srn.media.pictures import write_image

ALL = "all"
CURVES = {"figure7": "table5"}
"""Figures that are the curves of a table."""

SHEETS = {"figure6": ("masked-300w", False), "figure8": ("300vw", True)}
"""Qualitative figures: the dataset, and whether the faces are frames of one video."""

FIGURES = tuple(sorted((*CURVES, *SHEETS)))


def check_targets(names: Sequence[str]) -> list[str]:
    """Return the tables and figures of names, each once; `all` stands for every one.

    Raises:
        InputError: an unknown name.
    """
    known = [*published().tables, *FIGURES]
    for name in names:
        if name not in (*known, ALL):
            raise InputError.at("what to reproduce", f"{ALL}, or some of {', '.join(known)}", repr(name))
    return known if ALL in names else list(dict.fromkeys(names))


def publish(
    work: Reproduction, targets: Sequence[str], out: Path, facts: Mapping[str, str], notes: Sequence[str] = ()
) -> tuple[list[Outcome], list[str]]:
    """Measure tables and figures and write them into a folder.

    Args:
        work: the networks and the faces.
        targets: names of tables and figures, see `check_targets`.
        out: the folder.
        facts: circumstances of the measurement, see `srn.evaluation.provenance.facts`.
        notes: lines about networks that were left out.

    Returns:
        The tables, and a line for each note and figure.

    Raises:
        InputError: a file cannot be written.
    """
    tables = published().tables
    names = dict.fromkeys(CURVES.get(target, target) for target in targets)
    outcomes = {name: work.table(tables[name]) for name in names if name in tables}
    lines = [*notes, *_write_curves(targets, outcomes, out), *_write_sheets(targets, work, out)]
    shown = [outcome for name, outcome in outcomes.items() if name in targets]
    for outcome in shown:
        stem = out / outcome.table.name
        write_atomically(stem.with_suffix(".md"), tabulate.markdown(outcome))
        write_atomically(stem.with_suffix(".csv"), tabulate.to_csv(outcome))
        write_atomically(stem.with_suffix(".json"), tabulate.to_json(outcome, facts))
    write_atomically(out / "README.md", tabulate.document(shown, facts, lines))
    return shown, lines


def _write_curves(targets: Sequence[str], outcomes: Mapping[str, Outcome], out: Path) -> list[str]:
    lines = []
    for name, outcome in outcomes.items():
        figures = [figure for figure, table in CURVES.items() if table == name and figure in targets]
        chart = curves(outcome)
        if chart is None:
            reasons = "; ".join(dict.fromkeys(cell.reason for row in outcome.rows for cell in row.cells.values()))
            lines += [f"{figure}: {reasons}" for figure in figures]
            continue
        for stem in [*([f"{name}_curves"] if name in targets else []), *figures]:
            write_charts(out / f"{stem}.svg", chart)
            lines.append(f"{stem}.svg: cumulative error distributions, {outcome.table.title}")
    return lines


def _write_sheets(targets: Sequence[str], work: Reproduction, out: Path) -> list[str]:
    lines = []
    for figure, (dataset, clips) in SHEETS.items():
        if figure not in targets:
            continue
        drawn, notes = sheets(work, dataset, clips=clips)
        for letter, (label, image) in zip("abcdefgh", drawn.items(), strict=False):
            path = out / f"{figure}{letter}.jpg"
            write_image(path, image, quality=90)
            lines.append(f"{path.name}: predictions, {label}")
        lines += [f"{figure}: {note}" for note in notes]
    return lines

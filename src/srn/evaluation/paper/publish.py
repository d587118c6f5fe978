"""A folder of results: every table as Markdown, CSV and JSON, curves, figures, and one page with all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from srn.datasets.catalogue import Dataset
from srn.datasets.kinds import KINDS
from srn.datasets.sample import sources_of
from srn.errors import InputError
from srn.evaluation.paper import tabulate
from srn.evaluation.paper.outcome import OurRow, Outcome
from srn.evaluation.paper.published import Column, Table, published
from srn.evaluation.paper.reproduce import Reproduction, scheme_of
from srn.evaluation.report.chart_file import write_charts
from srn.evaluation.report.charts import Line, LineChart, Mark
from srn.evaluation.report.evaluation_charts import NORMALIZER_NAMES
from srn.evaluation.report.pictures import draw_result, sheet
from srn.evaluation.results import FAILURE_THRESHOLD
from srn.face import metrics
from srn.face.geometry import ImageArray
from srn.files import write_atomically
from srn.media.pictures import write_image

ALL = "all"
CURVES = {"figure7": "table5"}
"""Figures that are the curves of a table."""

SHEETS = {"figure6": ("masked-300w", False), "figure8": ("300vw", True)}
"""Qualitative figures: the dataset, and whether the faces are frames of one video."""

FIGURES = tuple(sorted((*CURVES, *SHEETS)))

CURVE_END = 0.10
"""End of the horizontal axis, beyond 8 %, so that published failure rates at 8 % can be marked."""

SHEET_FACES = 10


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
        charts = curves(outcome)
        if not charts:
            reasons = "; ".join(dict.fromkeys(cell.reason for row in outcome.rows for cell in row.cells.values()))
            lines += [f"{figure}: {reasons}" for figure in figures]
            continue
        for stem in [*([f"{name}_curves"] if name in targets else []), *figures]:
            write_charts(out / f"{stem}.svg", *charts)
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


def curves(outcome: Outcome) -> list[LineChart]:
    """Draw the cumulative error distributions of a table: a chart for each set and normalizer, a line for each row.

    Of several kinds of boxes the first is drawn. Published failure rates at 8 % are marked as points of the published
    methods' curves. There is no chart where nothing was measured.
    """
    drawn = [row for row in outcome.rows if row.curves]
    drawn = [row for row in drawn if row.init == drawn[0].init]
    columns = [column for column in outcome.table.columns if column.metric in ("nme", "failure-rate")]
    charts = []
    for faces in dict.fromkeys(map(_faces_of, columns)):
        same = [column for column in columns if _faces_of(column) == faces]
        lines = _lines(drawn, [column.name for column in same])
        if lines:
            charts.append(_chart(outcome.table, same, lines))
    return charts


def _faces_of(column: Column) -> tuple[str, str, str]:
    """Tell columns apart whose errors are others, whatever is made of them."""
    return column.dataset, column.subset, column.normalizer


def _lines(rows: Sequence[OurRow], columns: Sequence[str]) -> list[Line]:
    grid = np.linspace(0, CURVE_END, 401)
    lines: dict[str, Line] = {}
    for row in rows:
        part = next((row.curves[name] for name in columns if name in row.curves), None)
        if part is not None:
            without_weights = ", ".join(row.detail.split(", ")[1:])
            name = f"{row.label}, {without_weights} (n = {len(part.results)})"
            lines.setdefault(name, Line(name, grid * 100, metrics.ced(part.errors, grid) * 100))
    return list(lines.values())


def _chart(table: Table, columns: Sequence[Column], lines: Sequence[Line]) -> LineChart:
    first = columns[0]
    return LineChart(
        title=f"{table.title}, {first.label}: cumulative error distributions",
        description="Share of faces up to an error; diamonds are published failure rates at 8 %.",
        x_label=f"{first.label}: NME up to (%), by {NORMALIZER_NAMES[first.normalizer]}",
        y_label="share of faces (%)",
        x_range=(0, CURVE_END * 100),
        y_range=(0, 100),
        lines=lines,
        marks=[
            Mark(row.method, FAILURE_THRESHOLD * 100, 100 - row.values[column.name])
            for column in columns
            for row in table.rows
            if column.metric == "failure-rate" and column.name in row.values
        ],
    )


def sheets(work: Reproduction, dataset: str, *, clips: bool = False) -> tuple[dict[str, ImageArray], list[str]]:
    """Draw a sheet of predictions for each version of a dataset, of faces evenly spread or of its first test video.

    Returns:
        The sheets by label, and the reasons why others are missing.
    """
    found = work.data.sets(dataset)
    if isinstance(found, str):
        return {}, [found]
    scheme = scheme_of(dataset)
    networks = (work.networks_of("hofs", scheme) if clips else []) or work.networks_of("full", scheme)
    if not networks:
        return {}, [f"no weights: full, {scheme.n_points} points"]
    network = networks[0]
    title = KINDS[dataset].title
    drawn: dict[str, ImageArray] = {}
    notes = []
    for faces in found:
        shown = _first_clip(faces) if clips else faces
        if shown is None:
            notes.append(f"no data: {title} test videos")
            continue
        some = replace(shown, label=f"{faces.label} sheet").limited(SHEET_FACES)
        results, sources = work.evaluate(network, some, "gt-box").results, sources_of(some.samples)
        tiles = [draw_result(r, scheme, truth=False, source=sources.get(r.path)) for r in results]
        if any(tile is not None for tile in tiles):
            drawn[faces.label or title] = sheet([tile for tile in tiles if tile is not None])
    return drawn, notes


def _first_clip(faces: Dataset) -> Dataset | None:
    tests = [i for name in faces.parts if faces.kind.official_count(name) for i in faces.parts[name]]
    if not tests:
        return None
    first = faces.samples[tests[0]].subset
    return replace(faces, samples=[faces.samples[i] for i in tests if faces.samples[i].subset == first])

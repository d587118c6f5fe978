"""The paper's figures: cumulative error distributions, and sheets of drawn predictions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from srn.datasets.catalogue import Dataset
from srn.datasets.kinds import KINDS
from srn.evaluation.paper.outcome import Outcome
from srn.evaluation.paper.reproduce import Reproduction, scheme_of
from srn.evaluation.report.charts import Line, LineChart, Mark
from srn.evaluation.report.pictures import draw_result, sheet
from srn.evaluation.results import FAILURE_THRESHOLD
from srn.face import metrics
from srn.face.geometry import ImageArray

CURVE_END = 0.10
"""End of the horizontal axis, beyond 8 %, so that published failure rates at 8 % can be marked."""

SHEET_FACES = 10


def curves(outcome: Outcome) -> LineChart | None:
    """Draw the cumulative error distributions of the measured rows of a table; None without any.

    Of several kinds of boxes the first is drawn. Published failure rates at 8 % are marked as points of the published
    methods' curves.
    """
    drawn = [row for row in outcome.rows if row.curves]
    drawn = [row for row in drawn if row.init == drawn[0].init]
    grid = np.linspace(0, CURVE_END, 401)
    lines: dict[tuple[str, str, str, str], Line] = {}
    for row in drawn:
        for column in outcome.table.columns:
            part = row.curves.get(column.name)
            key = (row.method + row.detail, column.subset, column.dataset, column.normalizer)
            if part is None or column.metric not in ("nme", "failure-rate") or key in lines:
                continue
            without_weights = ", ".join(row.detail.split(", ")[1:])
            which = f"{row.method.removeprefix('ours: ')}, {without_weights}: " if len(drawn) > 1 else ""
            name = f"{which}{column.label} (n = {len(part.results)})"
            lines[key] = Line(name, grid * 100, metrics.ced(part.errors, grid) * 100)
    if not lines:
        return None
    normalizers = dict.fromkeys(column.normalizer for column in outcome.table.columns if column.normalizer)
    marks = [
        Mark(row.method, FAILURE_THRESHOLD * 100, 100 - row.values[column.name])
        for column in outcome.table.columns
        for row in outcome.table.rows
        if column.metric == "failure-rate" and column.name in row.values
    ]
    return LineChart(
        title=f"{outcome.table.title}: cumulative error distributions",
        description="Share of faces up to an error; diamonds are published failure rates at 8 %.",
        x_label=f"NME up to (%), by {', '.join(normalizers)}",
        y_label="share of faces (%)",
        x_range=(0, CURVE_END * 100),
        y_range=(0, 100),
        lines=list(lines.values()),
        marks=marks,
    )


def sheets(work: Reproduction, dataset: str, *, clips: bool = False) -> tuple[dict[str, ImageArray], list[str]]:
    """Draw sheets of predictions, one for each version of a dataset.

    Args:
        work: the networks and the faces.
        dataset: name of the dataset; its faces are taken evenly spread.
        clips: take frames of the first test video instead.

    Returns:
        The sheets by label, and the reasons why others are missing.
    """
    found = work.data.sets(dataset)
    if isinstance(found, str):
        return {}, [found]
    scheme = scheme_of(dataset)
    network = (work.network("hofs", scheme) if clips else None) or work.network("full", scheme)
    if network is None:
        return {}, [f"no weights: full, {scheme.n_points} points"]
    title = KINDS[dataset].title
    drawn: dict[str, ImageArray] = {}
    notes = []
    for faces in found:
        shown = _first_clip(faces) if clips else faces
        if shown is None:
            notes.append(f"no data: {title} test videos")
            continue
        some = replace(shown, label=f"{faces.label} sheet").limited(SHEET_FACES)
        results = work.evaluate(network, some, "gt-box").results
        tiles = [draw_result(r, scheme, truth=False, source=some.sources.get(r.path)) for r in results]
        if any(tile is not None for tile in tiles):
            drawn[faces.label or title] = sheet([tile for tile in tiles if tile is not None])
    return drawn, notes


def _first_clip(faces: Dataset) -> Dataset | None:
    """The frames of a set's first test video."""
    tests = [i for name in faces.parts if faces.kind.official_count(name) for i in faces.parts[name]]
    if not tests:
        return None
    first = faces.samples[tests[0]].subset
    return replace(faces, samples=[faces.samples[i] for i in tests if faces.samples[i].subset == first])

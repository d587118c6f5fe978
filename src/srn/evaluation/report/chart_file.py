"""Files of charts: SVG as on the page; PNG and PDF by Matplotlib (`srn[eval]`)."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from srn.errors import InputError, MissingDependencyError, printable
from srn.evaluation.report.charts import COLORS, DASHES, HEIGHT, LineChart, asset, nice_ticks
from srn.evaluation.report.markup import Markup, element
from srn.files import CHART_FORMATS, write_atomically

SIDE_BY_SIDE = 3
"""Most charts in a row."""


def check_chart(path: str | os.PathLike[str]) -> None:
    """Raise, before any work, what `write_charts` would raise at the end: the format is unknown, or no Matplotlib."""
    suffix = _format_of(path)
    if f".{suffix}" not in CHART_FORMATS:
        raise InputError.at(path, f"a chart ({', '.join(CHART_FORMATS)})", f".{suffix}")
    if suffix != "svg":
        with MissingDependencyError.importing("eval", "plotting"):
            import matplotlib.backend_bases  # noqa: F401


def _format_of(path: str | os.PathLike[str]) -> str:
    return Path(path).suffix.lower().lstrip(".") or "png"


def write_charts(path: str | os.PathLike[str], *charts: LineChart) -> None:
    """Write charts into one file, three side by side; the suffix chooses the format, PNG without one.

    Raises:
        MissingDependencyError: a format other than SVG, without Matplotlib.
        InputError: the file cannot be written.
    """
    suffix = _format_of(path)
    write_atomically(path, _svg_file(charts) if suffix == "svg" else _plotted(charts, suffix))


def _rows(charts: Sequence[LineChart]) -> list[Sequence[LineChart]]:
    return [charts[first : first + SIDE_BY_SIDE] for first in range(0, len(charts), SIDE_BY_SIDE)]


def _svg_file(charts: Sequence[LineChart]) -> bytes:
    parts, width, top = list[Markup](), 0, 0.0
    for row in _rows(charts):
        left, below = 0, top
        for chart in row:
            svg = chart.svg()
            height = float(re.findall(r'viewBox="0 0 \S+ (\S+)"', svg)[0])
            place = f'<svg x="{left}" y="{top:g}" height="{height:g}" width="{chart.width}" '
            parts.append(Markup(svg.replace('width="100%"', "").replace("<svg ", place, 1)))
            left, below = left + chart.width, max(below, top + height)
        width, top = max(width, left), below
    background = element("rect", width="100%", height="100%", fill="var(--paper)")
    whole = element(
        "svg", element("style", Markup(asset("chart.css"))), background, *parts,
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {top:g}",
    )  # fmt: skip
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{whole}\n'.encode()


def _plotted(charts: Sequence[LineChart], file_format: str) -> bytes:
    with MissingDependencyError.importing("eval", "plotting"):
        from matplotlib.figure import Figure
    rows = _rows(charts)
    width = max(sum(chart.width for chart in row) for row in rows)
    figure = Figure(figsize=(width / 100, HEIGHT / 75 * len(rows)), layout="constrained")
    for place, chart in enumerate(charts, 1):
        _plot(figure.add_subplot(len(rows), len(rows[0]), place), chart)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=file_format, dpi=150)
    return buffer.getvalue()


def _plain(name: str) -> str:
    """Return a name for Matplotlib, which would read formulas between dollar signs and hide a leading underscore."""
    text = printable(name).replace("$", r"\$")
    return f" {text}" if text.startswith("_") else text


def _plot(axes: Any, chart: LineChart) -> None:
    colors = dict(re.findall(r"--(\w+): (#\w+)", asset("chart.css").partition("@media")[0]))
    if chart.columns is not None:
        one = chart.columns
        axes.bar(one.x, one.y, width=one.width * 0.92, color=colors["line"], label=_plain(one.name))
    if chart.diagonal:
        axes.plot(chart.x_range, chart.y_range, color=colors["quiet"], linestyle="--", linewidth=1)
    for index, line in enumerate(chart.lines):
        axes.plot(
            line.x, line.y, label=_plain(line.name) or None, color=colors[f"c{index % COLORS}"],
            linestyle=(0, DASHES[index // COLORS % len(DASHES)]), marker="o" if line.markers else None,
            clip_on=not line.markers,
        )  # fmt: skip
    for mark in chart.marks:
        axes.plot(mark.x, mark.y, color=colors["ink"], marker="D", fillstyle="none", linestyle="none")
        axes.annotate(mark.name, (mark.x, mark.y), (6, 0), textcoords="offset points", va="center")
    axes.set(xlim=chart.x_range, ylim=chart.y_range, xlabel=chart.x_label, ylabel=chart.y_label)
    axes.set_xticks(nice_ticks(*chart.x_range, chart.width // 70))
    axes.set_axisbelow(True)
    axes.grid(alpha=0.3)
    if any(line.name for line in chart.lines):
        axes.legend(loc="best", frameon=False)

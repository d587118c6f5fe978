"""Charts as SVG text: sharp at any size, readable by screen readers, coloured by the page's light or dark theme.

They need no package, and a page or file that holds them nothing from outside. Colours are CSS variables (`STYLE`).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from srn.face.geometry import FloatArray

STYLE = """\
:root { --ink: #1c2127; --quiet: #5c6670; --line: #d9dee3; --paper: #ffffff;
  --c0: #1769aa; --c1: #c2410c; --c2: #15803d; --c3: #7c3aed; --c4: #b7791f; --c5: #0e7490; --c6: #be185d; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --quiet: #a3adb8; --line: #343c46; --paper: #15191e;
  --c0: #6bb3f0; --c1: #fb9a62; --c2: #5fce86; --c3: #b79bff; --c4: #e3bd6a; --c5: #5cc8dd; --c6: #f58ab8; } }
.chart text { font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
  fill: var(--quiet); font-variant-numeric: tabular-nums; }
.chart .strong { fill: var(--ink); }
.chart .grid { stroke: var(--line); stroke-width: 1; }
.chart .axis { stroke: var(--quiet); stroke-width: 1; }
.chart .dash { stroke: var(--quiet); stroke-width: 1.5; stroke-dasharray: 4 4; fill: none; }
.chart .whisker { stroke: var(--ink); stroke-width: 1.5; fill: none; }
"""
"""Colours of both themes, and how the parts of a chart look."""

COLORS = 7
WIDTH = 640
_LEFT, _RIGHT, _TOP = 58, 16, 14
_DASHES = ("none", "7 4", "2 3", "9 3 2 3")
"""Line patterns, so that colour is not the only difference once the colours repeat or cannot be told apart."""


@dataclass(frozen=True)
class Line:
    """A named curve; `markers` draws its points too."""

    name: str
    x: FloatArray
    y: FloatArray
    markers: bool = False


@dataclass(frozen=True)
class Mark:
    """A named single point, e.g. a published number."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class Bar:
    """A bar and, where known, the interval around its end."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


def color(index: int) -> str:
    """CSS colour of the `index`-th series."""
    return f"var(--c{index % COLORS})"


def nice_ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers (1, 2, 2.5 or 5 times a power of ten apart) that span [low, high], both ends within."""
    if not high > low:
        return [low]
    rough = (high - low) / max(wanted - 1, 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    return [float(round(v, 10)) + 0.0 for v in np.arange(first, np.floor(high / step + 1e-9) + 1) * step]


def _number(value: float) -> str:
    return f"{value:.10g}"


def _svg(width: float, height: float, title: str, description: str, body: Sequence[str]) -> str:
    return (
        f'<svg class="chart" xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {width:g} {height:g}" '
        f'width="100%"><title>{escape(title)}</title><desc>{escape(description)}</desc>' + "".join(body) + "</svg>"
    )


def standalone(svg: str) -> bytes:
    """A chart as a file of its own: with its style, on a background."""
    style = f'<style>{STYLE}</style><rect width="100%" height="100%" fill="var(--paper)"/>'
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + svg.replace("<title>", f"{style}<title>", 1) + "\n").encode()


def _legend(names: Sequence[str], swatch: Sequence[str], top: float, right: float) -> tuple[list[str], float]:
    """Entries in rows below the plot; returns the parts and where they end."""
    parts, x, y = [], float(_LEFT), top
    for name, mark in zip(names, swatch, strict=True):
        width = 34 + 7.2 * len(name)
        if x > _LEFT and x + width > right:
            x, y = float(_LEFT), y + 20
        parts.append(f'<g transform="translate({x:.0f} {y:.0f})">{mark}')
        parts.append(f'<text class="strong" x="28" y="4">{escape(name)}</text></g>')
        x += width + 14
    return parts, y + 14


def line_chart(
    lines: Sequence[Line],
    *,
    title: str,
    description: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
    marks: Sequence[Mark] = (),
    diagonal: bool = False,
    width: int = WIDTH,
) -> str:
    """Curves over common axes.

    Args:
        lines: the curves.
        title, description: what screen readers say.
        x_label, y_label: of the axes.
        x_range, y_range: what the axes span; curves are cut off at the plot's edge.
        marks: single points, named beside them.
        diagonal: a dashed line from corner to corner, for calibration.
        width: of the drawing; text keeps its size, so that a narrow chart is narrow and not small.
    """
    height, bottom = 330.0, 276.0
    (x0, x1), (y0, y1) = x_range, y_range

    def px(x: float) -> float:
        return _LEFT + (x - x0) / (x1 - x0) * (width - _LEFT - _RIGHT)

    def py(y: float) -> float:
        return bottom - (y - y0) / (y1 - y0) * (bottom - _TOP)

    body = []
    for tick in nice_ticks(y0, y1):
        body.append(f'<line class="grid" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{py(tick):.1f}" y2="{py(tick):.1f}"/>')
        body.append(f'<text x="{_LEFT - 8}" y="{py(tick) + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for tick in nice_ticks(x0, x1, width // 70):
        body.append(f'<line class="axis" x1="{px(tick):.1f}" x2="{px(tick):.1f}" y1="{bottom}" y2="{bottom + 4}"/>')
        body.append(f'<text x="{px(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{_number(tick)}</text>')
    body.append(f'<line class="axis" x1="{_LEFT}" x2="{width - _RIGHT}" y1="{bottom}" y2="{bottom}"/>')
    middle = (_LEFT + width - _RIGHT) / 2
    body.append(f'<text x="{middle}" y="{bottom + 38}" text-anchor="middle">{escape(x_label)}</text>')
    turned = f'transform="rotate(-90 14 {(bottom + _TOP) / 2:.0f})"'
    body.append(f'<text x="14" y="{(bottom + _TOP) / 2:.0f}" text-anchor="middle" {turned}>{escape(y_label)}</text>')
    if diagonal:
        body.append(f'<path class="dash" d="M{px(x0):.1f} {py(y0):.1f}L{px(x1):.1f} {py(y1):.1f}"/>')
    clip = f"clip-{zlib.crc32((title + description).encode())}"
    body.append(
        f'<clipPath id="{clip}"><rect x="{_LEFT}" y="{_TOP - 4}" width="{width - _LEFT - _RIGHT + 4}" '
        f'height="{bottom - _TOP + 6}"/></clipPath>'
    )
    swatches = []
    for index, line in enumerate(lines):
        known = np.isfinite(line.x) & np.isfinite(line.y)
        points = [(px(float(x)), py(float(y))) for x, y in zip(line.x[known], line.y[known], strict=True)]
        dash = _DASHES[index // COLORS % len(_DASHES)]
        look = f'fill="none" stroke="{color(index)}" stroke-width="2.25" stroke-dasharray="{dash}"'
        path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
        if points:
            body.append(f'<path d="{path}" {look} stroke-linejoin="round" clip-path="url(#{clip})"/>')
        if line.markers:
            body += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{color(index)}"/>' for x, y in points]
        swatches.append(f'<line x1="0" x2="22" y1="0" y2="0" {look}/>')
    levels: list[tuple[float, float]] = []
    for mark in sorted(marks, key=lambda m: -m.y):
        x, y = px(mark.x), py(mark.y)
        text = max([y + 4, *(other + 13 for place, other in levels if abs(place - x) < 120)])  # names side by side
        levels.append((x, text))
        body.append(f'<path d="M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z" fill="none" stroke="var(--ink)"/>')
        side = -9 if x > width * 0.7 else 9
        anchor = "end" if side < 0 else "start"
        body.append(f'<text x="{x + side:.1f}" y="{text:.1f}" text-anchor="{anchor}">{escape(mark.name)}</text>')
    if len(lines) > 1 or (lines and lines[0].name):
        entries, end = _legend([line.name for line in lines], swatches, bottom + 62, width - _RIGHT)
        body += entries
        height = end
    return _svg(width, height, title, description, body)


def bar_chart(bars: Sequence[Bar], *, title: str, description: str, unit: str, digits: int = 2) -> str:
    """Bars lying on their side, with their numbers at the end."""
    left, step, thick, top = 150, 30, 16, 8
    bottom = top + step * len(bars)
    finite = [v for bar in bars for v in (bar.value, bar.high) if v is not None and np.isfinite(v)]
    span = max([*finite, 1e-9]) * 1.02

    def px(value: float) -> float:
        return left + value / span * (WIDTH - left - 80)

    body = []
    for tick in nice_ticks(0, span):
        body.append(f'<line class="grid" x1="{px(tick):.1f}" x2="{px(tick):.1f}" y1="{top}" y2="{bottom}"/>')
        body.append(f'<text x="{px(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{_number(tick)}</text>')
    for index, bar in enumerate(bars):
        y = top + step * index + (step - thick) / 2
        body.append(
            f'<text class="strong" x="{left - 10}" y="{y + thick - 4:.1f}" text-anchor="end">{escape(bar.name)}</text>'
        )
        if not np.isfinite(bar.value):
            continue
        width = max(px(bar.value) - left, 0.5)
        body.append(f'<rect x="{left}" y="{y:.1f}" width="{width:.1f}" height="{thick}" rx="2" fill="{color(0)}"/>')
        end = px(bar.value)
        if bar.low is not None and bar.high is not None and np.isfinite([bar.low, bar.high]).all():
            middle, end = y + thick / 2, px(bar.high)
            ends = "".join(f"M{px(v):.1f} {middle - 4:.1f}v8" for v in (bar.low, bar.high))
            body.append(f'<path class="whisker" d="M{px(bar.low):.1f} {middle:.1f}H{px(bar.high):.1f}{ends}"/>')
        body.append(f'<text class="strong" x="{end + 8:.1f}" y="{y + thick - 4:.1f}">{bar.value:.{digits}f}</text>')
    body.append(f'<text x="{(left + WIDTH - 80) / 2}" y="{bottom + 38}" text-anchor="middle">{escape(unit)}</text>')
    return _svg(WIDTH, bottom + 46, title, description, body)

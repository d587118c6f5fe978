"""Charts, described once and drawn as SVG. Colours are the variables of `chart.css`, for light and dark pages."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources

import numpy as np

from srn.evaluation.report.markup import Markup, element, joined
from srn.face.geometry import FloatArray

COLORS = 7
"""Number of colours before they repeat with another line pattern."""

DASHES: tuple[tuple[int, ...], ...] = ((), (7, 4), (2, 3), (9, 3, 2, 3))
"""Line patterns: lengths of dashes and gaps."""

WIDTH = 640
NARROW = 360
"""Width of a drawing for a telephone, where text of 13 pixels stays as large."""
HEIGHT = 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 14, 276
"""Edges of the plot: margins at the left and right, positions of its top and bottom."""


@dataclass(frozen=True)
class Line:
    """A named curve; `markers` draws its points too."""

    name: str
    x: FloatArray
    y: FloatArray
    markers: bool = False


@dataclass(frozen=True)
class Columns:
    """Named vertical bars behind the curves, centred at `x` and `width` wide, in units of the axes."""

    name: str
    x: FloatArray
    y: FloatArray
    width: float


@dataclass(frozen=True)
class Mark:
    """A named single point, e.g. a published number."""

    name: str
    x: float
    y: float


@dataclass(frozen=True)
class LineChart:
    """Curves over common axes.

    Attributes:
        title, description: for screen readers.
        x_range, y_range: ends of the axes; curves are cut off at the plot's edge.
        diagonal: draw a dashed line from corner to corner, for calibration.
        width: width of the drawing; text keeps its size.
    """

    title: str
    description: str
    x_label: str
    y_label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    lines: Sequence[Line]
    columns: Columns | None = None
    marks: Sequence[Mark] = ()
    diagonal: bool = False
    width: int = WIDTH

    def svg(self) -> Markup:
        plot = _Plot(self)
        entries, height = plot.legend()
        return _svg(self.width, height, self.title, self.description, [*plot.axes(), *plot.content(), *entries])


@dataclass(frozen=True)
class Bar:
    """A bar and, if known, the interval around its end."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class BarChart:
    """Horizontal bars with their values at the end. `unit` labels the axis."""

    title: str
    description: str
    unit: str
    bars: Sequence[Bar]
    width: int = WIDTH

    def svg(self) -> Markup:
        left, right = (100, self.width - 60) if self.width <= NARROW else (150, self.width - 80)
        step, thick, top = 30, 16, 8
        bottom = top + step * len(self.bars)
        finite = [v for bar in self.bars for v in (bar.value, bar.high) if v is not None and np.isfinite(v)]
        span = max([*finite, 1e-9]) * 1.02

        def px(value: float) -> float:
            return left + value / span * (right - left)

        body = []
        for tick in nice_ticks(0, span, min(6, self.width // 70)):
            body.append(element("line", class_="grid", x1=px(tick), x2=px(tick), y1=top, y2=bottom))
            body.append(_text(_number(tick), px(tick), bottom + 18))
        for index, bar in enumerate(self.bars):
            y = top + step * index + (step - thick) / 2
            body.append(_text(bar.name, left - 10, y + thick - 4, "end", strong=True))
            if not np.isfinite(bar.value):
                continue
            end = px(bar.value)
            body.append(element("rect", x=left, y=y, width=max(end - left, 0.5), height=thick, rx=2, fill=_color(0)))
            if bar.low is not None and bar.high is not None and np.isfinite([bar.low, bar.high]).all():
                middle, end = y + thick / 2, px(bar.high)
                ends = "".join(f"M{px(v):.1f} {middle - 4:.1f}v8" for v in (bar.low, bar.high))
                body.append(element("path", class_="whisker", d=f"M{px(bar.low):.1f} {middle:.1f}H{end:.1f}{ends}"))
            body.append(_text(f"{bar.value:.2f}", end + 8, y + thick - 4, "start", strong=True))
        body.append(_text(self.unit, (left + right) / 2, bottom + 38))
        return _svg(self.width, bottom + 46, self.title, self.description, body)


class _Plot:
    """The parts of a line chart, in pixels of the drawing."""

    def __init__(self, chart: LineChart) -> None:
        self.chart = chart
        self.right = chart.width - _RIGHT
        (self.x0, self.x1), (self.y0, self.y1) = chart.x_range, chart.y_range

    def px(self, x: float) -> float:
        return _LEFT + (x - self.x0) / (self.x1 - self.x0) * (self.right - _LEFT)

    def py(self, y: float) -> float:
        return _BOTTOM - (y - self.y0) / (self.y1 - self.y0) * (_BOTTOM - _TOP)

    def axes(self) -> list[Markup]:
        parts = []
        for tick in nice_ticks(self.y0, self.y1):
            parts.append(element("line", class_="grid", x1=_LEFT, x2=self.right, y1=self.py(tick), y2=self.py(tick)))
            parts.append(_text(_number(tick), _LEFT - 8, self.py(tick) + 4, "end"))
        for tick in nice_ticks(self.x0, self.x1, self.chart.width // 70):
            x = self.px(tick)
            parts.append(element("line", class_="axis", x1=x, x2=x, y1=_BOTTOM, y2=_BOTTOM + 4))
            parts.append(_text(_number(tick), x, _BOTTOM + 18))
        parts.append(element("line", class_="axis", x1=_LEFT, x2=self.right, y1=_BOTTOM, y2=_BOTTOM))
        parts.append(_text(self.chart.x_label, (_LEFT + self.right) / 2, _BOTTOM + 38))
        middle = (_BOTTOM + _TOP) / 2
        parts.append(_text(self.chart.y_label, 14, middle, transform=f"rotate(-90 14 {middle:.0f})"))
        return parts

    def content(self) -> list[Markup]:
        """Columns, diagonal, curves and marks."""
        chart, parts = self.chart, []
        if chart.columns is not None:
            half = chart.columns.width * 0.46
            for x, y in zip(chart.columns.x.tolist(), chart.columns.y.tolist(), strict=True):
                left, top = self.px(x - half), self.py(y)
                size = {"width": self.px(x + half) - left, "height": _BOTTOM - top}
                parts.append(element("rect", class_="column", x=left, y=top, **size))
        if chart.diagonal:
            ends = f"M{self.px(self.x0):.1f} {self.py(self.y0):.1f}L{self.px(self.x1):.1f} {self.py(self.y1):.1f}"
            parts.append(element("path", class_="dash", d=ends))
        name = f"clip-{zlib.crc32(os.fsencode(f'{chart.title}{chart.description}{chart.width}'))}"
        inner = element("rect", x=_LEFT, y=_TOP - 4, width=self.right - _LEFT + 4, height=_BOTTOM - _TOP + 6)
        parts.append(element("clipPath", inner, id=name))
        for index, line in enumerate(chart.lines):
            known = np.isfinite(line.x) & np.isfinite(line.y)
            points = [
                (self.px(x), self.py(y)) for x, y in zip(line.x[known].tolist(), line.y[known].tolist(), strict=True)
            ]
            if points:
                path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
                parts.append(element("path", d=path, **_stroke(index), clip_path=f"url(#{name})"))
            if line.markers:
                parts += [element("circle", cx=x, cy=y, r=3.5, fill=_color(index)) for x, y in points]
        return parts + self._marks()

    def _marks(self) -> list[Markup]:
        """Diamonds with their names, which are moved down rather than overlap."""
        parts, written = [], list[tuple[float, float]]()
        for mark in sorted(self.chart.marks, key=lambda mark: -mark.y):
            x, y = self.px(mark.x), self.py(mark.y)
            level = max([y + 4, *(above + 13 for place, above in written if abs(place - x) < 120)])
            written.append((x, level))
            diamond = f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"
            parts.append(element("path", d=diamond, fill="none", stroke="var(--ink)"))
            at_the_right = x > self.chart.width * 0.7
            parts.append(_text(mark.name, x - 9 if at_the_right else x + 9, level, "end" if at_the_right else "start"))
        return parts

    def legend(self) -> tuple[list[Markup], float]:
        """Entries in rows below the plot, and the height of the drawing. A single curve without a name has none."""
        entries = [
            (line.name, element("line", x1=0, x2=22, y1=0, y2=0, **_stroke(index)))
            for index, line in enumerate(self.chart.lines)
            if line.name
        ]
        if self.chart.columns is not None:
            square = element("rect", class_="column", x=4, y=-6, width=14, height=12)
            entries.append((self.chart.columns.name, square))
        if not entries:
            return [], HEIGHT
        left = _LEFT if self.chart.width > NARROW else 4
        parts, x, y = [], left, _BOTTOM + 62
        for name, symbol in entries:
            width = round(34 + 7.2 * len(name))
            if x > left and x + width > self.right:
                x, y = left, y + 20
            label = _text(name, 28, 4, "start", strong=True, most=self.chart.width - x - 32)
            parts.append(element("g", symbol, label, transform=f"translate({x} {y})"))
            x += width + 14
        return parts, y + 14


def on_a_page(chart: LineChart | BarChart) -> Markup:
    """Return the drawing twice, for wide pages and for telephones; `page.css` shows one of them."""
    narrow = replace(chart, width=NARROW)
    return joined([element("div", chart.svg(), class_="wide"), element("div", narrow.svg(), class_="narrow")])


def nice_ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Return round numbers within [low, high], 1, 2, 2.5 or 5 times a power of ten apart."""
    if not high > low:
        return [low]
    rough = (high - low) / max(wanted - 1, 1)
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = np.ceil(low / step - 1e-9)
    return [float(round(v, 10)) + 0.0 for v in np.arange(first, np.floor(high / step + 1e-9) + 1) * step]


@cache
def asset(name: str) -> str:
    """Return the text of `chart.css`, `page.css` or `page.html`."""
    return (resources.files("srn") / "evaluation" / "report" / name).read_text(encoding="utf-8")


def _color(index: int) -> str:
    return f"var(--c{index % COLORS})"


def _stroke(index: int) -> dict[str, object]:
    pattern = " ".join(map(str, DASHES[index // COLORS % len(DASHES)])) or None
    return {
        "fill": "none", "stroke": _color(index), "stroke_width": "2.25", "stroke_dasharray": pattern,
        "stroke_linejoin": "round",
    }  # fmt: skip


def _number(value: float) -> str:
    return f"{value:.10g}"


def _text(
    text: str, x: float, y: float, anchor: str = "middle", *, strong: bool = False, transform: str | None = None,
    most: float = math.inf,
) -> Markup:  # fmt: skip
    """Write a text; one that would be wider than `most`, as far as that can be told, is squeezed."""
    place: dict[str, object] = {"x": float(x), "y": float(y), "text_anchor": anchor, "transform": transform}
    if 7.2 * len(text) > most:
        place |= {"textLength": float(most), "lengthAdjust": "spacingAndGlyphs"}
    return element("text", text, class_="strong" if strong else None, **place)


def _svg(width: float, height: float, title: str, description: str, body: Sequence[Markup]) -> Markup:
    return element(
        "svg", element("title", title), element("desc", description), *body,
        class_="chart", xmlns="http://www.w3.org/2000/svg", role="img", viewBox=f"0 0 {width:g} {height:g}",
        width="100%",
    )  # fmt: skip

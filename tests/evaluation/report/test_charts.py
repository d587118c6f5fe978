"""Charts: well-formed, where their numbers say, readable without seeing them."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from srn.evaluation.report.charts import Bar, BarChart, Columns, Line, LineChart, Mark, nice_ticks

NS = "{http://www.w3.org/2000/svg}"


def chart(**changes: object) -> str:
    values: dict[str, object] = {
        "lines": [Line("a & b", np.array([0.0, 5.0, 10.0]), np.array([0.0, 50.0, 100.0]))], "title": "T <1>",
        "description": "said", "x_label": "x", "y_label": "y", "x_range": (0, 10), "y_range": (0, 100),
    }  # fmt: skip
    return LineChart(**{**values, **changes}).svg()  # type: ignore[arg-type]


def points(svg: str) -> list[list[tuple[float, float]]]:
    """Corners of every curve in a chart."""
    paths = [p for p in ElementTree.fromstring(svg).iter(f"{NS}path") if p.get("clip-path")]
    return [[(float(a), float(b)) for a, b in re.findall(r"([\d.]+) ([\d.]+)", p.get("d", ""))] for p in paths]


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [(0, 8, [0, 2, 4, 6, 8]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.8, 1.25, [0.8, 0.9, 1, 1.1, 1.2]), (3, 3, [3])],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    found = nice_ticks(low, high)
    assert found == pytest.approx(ticks)
    assert "-" not in f"{found[0]:g}"  # no minus zero


def test_curves_go_where_their_numbers_say() -> None:
    ((start, middle, end),) = points(chart())
    assert middle[0] == pytest.approx((start[0] + end[0]) / 2, abs=0.1)
    assert middle[1] == pytest.approx((start[1] + end[1]) / 2, abs=0.1)
    assert start[1] > end[1]  # up is less y


def test_gaps_are_left_out() -> None:
    line = Line("a", np.array([0.0, 5.0, 10.0]), np.array([0.0, np.nan, 100.0]))
    assert [len(curve) for curve in points(chart(lines=[line]))] == [2]
    assert points(chart(lines=[Line("a", np.zeros(0), np.zeros(0))])) == []


def test_names_are_said_and_escaped() -> None:
    root = ElementTree.fromstring(chart(marks=[Mark("point", 8, 90)]))
    assert root.get("role") == "img"
    assert (root.findtext(f"{NS}title"), root.findtext(f"{NS}desc")) == ("T <1>", "said")
    texts = [t.text for t in root.iter(f"{NS}text")]
    assert {"a & b", "point", "x", "y"} <= set(texts)


def test_many_names_fit_into_the_drawing() -> None:
    lines = [Line(f"a curve with a long name, number {i}", np.arange(3.0), np.arange(3.0)) for i in range(9)]
    root = ElementTree.fromstring(chart(lines=lines))
    height = float(root.get("viewBox", "").split()[3])
    places = [g.get("transform", "") for g in root.iter(f"{NS}g")]
    assert len(set(places)) == 9
    assert all(float(place.split()[1].rstrip(")")) < height for place in places)


def test_the_same_chart_is_the_same_text() -> None:
    assert chart() == chart()


def test_bars_are_as_long_as_their_numbers() -> None:
    bars = [Bar("nose", 2.0, 1.5, 2.5), Bar("mouth", 4.0), Bar("eyes", float("nan"))]
    root = ElementTree.fromstring(BarChart("t", "d", "%", bars).svg())
    one, two = (float(r.get("width", "")) for r in root.iter(f"{NS}rect"))
    assert two == pytest.approx(2 * one, abs=0.2)
    assert {"2.00", "4.00", "nose", "mouth", "eyes"} <= {t.text for t in root.iter(f"{NS}text")}
    assert len([p for p in root.iter(f"{NS}path") if p.get("class") == "whisker"]) == 1


def test_columns_stand_on_the_axis() -> None:
    columns = Columns("all", np.array([2.5, 7.5]), np.array([100.0, 50.0]), 5.0)
    root = ElementTree.fromstring(chart(columns=columns))
    one, two, _symbol = [rect for rect in root.iter(f"{NS}rect") if rect.get("class") == "column"]
    tops, heights = zip(*((float(r.get("y", "")), float(r.get("height", ""))) for r in (one, two)), strict=True)
    assert heights[0] == pytest.approx(2 * heights[1], abs=0.2)
    assert tops[0] + heights[0] == pytest.approx(tops[1] + heights[1], abs=0.2)
    assert "all" in {t.text for t in root.iter(f"{NS}text")}

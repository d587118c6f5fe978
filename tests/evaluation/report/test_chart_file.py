"""Files of charts: SVG without a package, other formats by Matplotlib, and the curve is the distribution."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from srn.errors import InputError, MissingDependencyError, printable
from srn.evaluation.box_curve import BoxCurve
from srn.evaluation.report.chart_file import check_chart, write_charts
from srn.evaluation.report.charts import LineChart
from srn.evaluation.report.evaluation_charts import box_charts, ced_chart, reliability_chart
from srn.evaluation.results import Evaluation, FaceResult
from srn.media.pictures import read_image


def evaluation(*errors: float) -> Evaluation:
    return Evaluation(
        tuple(FaceResult(Path("a.png"), "one", error, error) for error in errors), "interocular", "gt-box", "w"
    )


@pytest.fixture
def chart() -> LineChart:
    return ced_chart({"half": evaluation(0.02, 0.04, 0.06, np.inf), "all": evaluation(0.01)})


def test_the_picture_shows_something(chart: LineChart, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_charts(tmp_path / "in" / "ced.png", chart)
    picture = read_image(tmp_path / "in" / "ced.png")
    assert picture.shape == (660, 960, 3)
    assert 0.005 < (picture < 200).any(-1).mean() < 0.2


@pytest.mark.parametrize(("name", "start"), [("c.pdf", b"%PDF"), ("c.svg", b"<?xml"), ("c", b"\x89PNG")])
def test_the_suffix_chooses_the_format(chart: LineChart, tmp_path: Path, name: str, start: bytes) -> None:
    pytest.importorskip("matplotlib")
    write_charts(tmp_path / name, chart)
    assert (tmp_path / name).read_bytes().startswith(start)


def test_the_curve_by_hand(chart: LineChart) -> None:
    half, whole = chart.lines
    assert half.name == "half (n = 4, AUC 0.375)"  # (0.06 + 0.04 + 0.02) / 4 / 0.08
    assert whole.name == "all (n = 1, AUC 0.875)"
    for position, share in ((0.0, 0), (1.9, 0), (2.1, 25), (4.1, 50), (7.9, 75)):
        assert np.interp(position, half.x, half.y) == pytest.approx(share, abs=1e-9)
    assert whole.y[-1] == 100
    assert (half.x[0], half.x[-1]) == (0, 8)


def test_matplotlib_draws_what_the_chart_says(
    chart: LineChart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    axes = pytest.importorskip("matplotlib.axes").Axes
    drawn: list[tuple[Any, Any, str]] = []
    original = axes.plot

    def record(self: Any, x: Any, y: Any, *args: Any, label: str, **options: Any) -> Any:
        drawn.append((x, y, label))
        return original(self, x, y, *args, label=label, **options)

    monkeypatch.setattr(axes, "plot", record)
    write_charts(tmp_path / "c.png", chart)
    assert [label for _, _, label in drawn] == [line.name for line in chart.lines]
    for (x, y, _), line in zip(drawn, chart.lines, strict=True):
        np.testing.assert_array_equal((x, y), (line.x, line.y))


def test_an_svg_file_needs_no_package_and_brings_its_style(
    chart: LineChart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    write_charts(tmp_path / "c.svg", chart)
    content = (tmp_path / "c.svg").read_text(encoding="utf-8")
    root = ElementTree.fromstring(content.encode())
    assert "prefers-color-scheme: dark" in (root.findtext("{http://www.w3.org/2000/svg}style") or "")
    assert "http" not in content.replace("http://www.w3.org/2000/svg", "")


def test_without_matplotlib_the_extra_is_named(
    chart: LineChart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"srn\[eval\]"):
        write_charts(tmp_path / "c.png", chart)
    assert not (tmp_path / "c.png").exists()


def test_charts_side_by_side(tmp_path: Path) -> None:
    curve = BoxCurve({0.0: 0.03, 0.1: 0.05}, {0.9: 0.04, 1.1: 0.05}, "interocular", "w")
    left, right = box_charts({"one": curve, "two": curve})
    assert [line.name for line in left.lines] == ["one", "two"]
    np.testing.assert_allclose(right.lines[0].x, [0.9, 1.1])
    assert left.y_range == right.y_range
    write_charts(tmp_path / "b.svg", left, right)
    root = ElementTree.fromstring((tmp_path / "b.svg").read_text(encoding="utf-8"))
    inner = root.findall("{http://www.w3.org/2000/svg}svg")
    assert [one.get("x") for one in inner] == ["0", str(left.width)]


def test_reliability_by_hand() -> None:
    sure, unsure = np.full(4, 0.95, np.float32), np.full(4, 0.55, np.float32)
    near = np.array([True, True, True, False])
    results = tuple(
        FaceResult(Path("a.png"), "one", 0.1, 0.1, confidence=values, near=flags)
        for values, flags in ((sure, near), (unsure, ~near))
    )
    chart = reliability_chart(Evaluation(results, "interocular", "gt-box", "w"), "clean")
    assert chart is not None
    (line,) = chart.lines
    known = np.isfinite(line.y)
    np.testing.assert_allclose(line.y[known], [0.25, 0.75])
    assert line.name == "clean: expected calibration error 0.250"
    assert chart.columns is not None
    assert chart.columns.y.sum() == pytest.approx(1)
    assert reliability_chart(evaluation(0.1)) is None


def test_a_format_is_checked_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    for name in ("a.svg", "a.PNG", "a"):
        check_chart(name)
    with pytest.raises(InputError, match=r"a\.xyz: expected a chart \(.*\.png.*\), found \.xyz"):
        check_chart("a.xyz")
    monkeypatch.setitem(sys.modules, "matplotlib.backend_bases", None)
    check_chart("a.svg")
    with pytest.raises(MissingDependencyError, match=r"srn\[eval\]"):
        check_chart("a.png")


@pytest.mark.parametrize("name", ["<b>&", "$x_{1}$", "_hidden", "a\x1b[31m", "caf\udce9", "[red]"])
@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_names_in_a_chart_are_text(tmp_path: Path, name: str, suffix: str) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"c.{suffix}"
    write_charts(path, ced_chart({name: evaluation(0.01, 0.02)}))
    if suffix == "svg":
        assert printable(name) in "".join(ElementTree.parse(path).getroot().itertext())
    else:
        assert read_image(path).size


def test_three_charts_side_by_side_then_the_next_row(chart: LineChart, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_charts(tmp_path / "four.svg", *[chart] * 4)
    whole = ElementTree.parse(tmp_path / "four.svg").getroot()
    places = [(one.get("x"), one.get("y")) for one in whole if one.tag.endswith("svg")]
    height = places[3][1]
    assert places == [("0", "0"), ("640", "0"), ("1280", "0"), ("0", height)]
    assert whole.get("viewBox") == f"0 0 1920 {2 * float(str(height)):g}"
    write_charts(tmp_path / "four.png", *[chart] * 4)
    assert read_image(tmp_path / "four.png").shape == (2 * 660, 3 * 960, 3)

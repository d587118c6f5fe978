"""The charts of an evaluation: cumulative errors, components, face boxes, reliability of the confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from srn.evaluation.box_curve import BoxCurve
from srn.evaluation.report.charts import Bar, BarChart, Columns, Line, LineChart
from srn.evaluation.results import CONFIDENT_WITHIN, Evaluation, video_numbers
from srn.evaluation.statistics import ratio_intervals
from srn.evaluation.stress import STRESSES, StressPoint
from srn.face import metrics

NORMALIZER_NAMES: Mapping[str, str] = {
    "interocular": "inter-ocular distance",
    "interpupil": "inter-pupil distance",
    "bbox": "size of the face box",
    "bbox-diagonal": "diagonal of the face box",
}


def ced_chart(parts: Mapping[str, Evaluation]) -> LineChart:
    """Draw the cumulative error distribution of each part, up to the threshold of the first."""
    first = next(iter(parts.values()))
    grid = np.linspace(0, first.threshold, 401)
    lines, spoken = [], []
    for name, part in parts.items():
        area, median = metrics.auc(part.errors, first.threshold), float(np.median(part.errors))
        label = f"{name} (n = {len(part.results)}, AUC {area:.3f})"
        lines.append(Line(label, grid * 100, metrics.ced(part.errors, grid) * 100))
        if np.isfinite(median):
            spoken.append(f"{name}: half of the faces below {median:.2%}")
    return LineChart(
        title="Cumulative error distribution",
        description="; ".join(spoken),
        x_label=f"NME up to (%), by {NORMALIZER_NAMES[first.normalizer]}",
        y_label="share of faces (%)",
        x_range=(0, first.threshold * 100),
        y_range=(0, 100),
        lines=lines,
    )


def ced_of(evaluations: Mapping[str, Evaluation]) -> LineChart:
    """Draw the curves of the parts of one evaluation, or those of several evaluations as wholes."""
    first, *others = evaluations.values()
    return ced_chart(evaluations if others else first.parts())


def component_chart(evaluation: Evaluation) -> BarChart | None:
    """Draw the mean error of each facial component with its 95 % interval; None without any."""
    summary, errors = evaluation.component_summary(), evaluation.stacked("point_errors")
    if summary is None or errors is None or evaluation.scheme is None:
        return None
    values = np.stack([errors[0][:, list(evaluation.scheme.components[name])].mean(axis=1) for name in summary])
    found = [result for result in evaluation.results if result.point_errors is not None]
    intervals = ratio_intervals(values, np.ones_like(values), clusters=video_numbers(found))
    bars = [
        Bar(name.replace("_", " "), summary[name]["nme"] * 100, interval.low * 100, interval.high * 100)
        for name, interval in zip(summary, intervals, strict=True)
    ]
    spoken = ", ".join(f"{bar.name} {bar.value:.2f} %" for bar in bars)
    return BarChart("Mean error by facial component", spoken, "NME (%)", bars)


def box_charts(curves: Mapping[str, BoxCurve]) -> tuple[LineChart, LineChart]:
    """Draw mean error against the shift and against the scale of the face box, one line per named curve."""
    top = max(error for curve in curves.values() for error in (*curve.shifts.values(), *curve.scales.values())) * 110

    def chart(title: str, label: str, measured: Mapping[str, Mapping[float, float]], factor: float) -> LineChart:
        lines = [
            Line(name, np.array(list(errors)) * factor, np.array(list(errors.values())) * 100, markers=True)
            for name, errors in measured.items()
        ]
        spoken = [
            f"{line.name} " + ", ".join(f"{x:g}: {y:.2f} %" for x, y in zip(line.x, line.y, strict=True))
            for line in lines
        ]
        ends = np.concatenate([line.x for line in lines])
        limits = (float(ends.min()), float(ends.max()))
        return LineChart(title, "; ".join(spoken), label, "NME (%)", limits, (0, top), lines, width=440)

    shifts = {name: curve.shifts for name, curve in curves.items()}
    scales = {name: curve.scales for name, curve in curves.items()}
    return (
        chart("Error with shifted boxes", "box shifted by (% of its size)", shifts, 100),
        chart("Error with scaled boxes", "box scaled by", scales, 1),
    )


def stress_charts(name: str, points: Sequence[StressPoint]) -> list[LineChart]:
    """Draw error and, unless boxes are the stress, recall of faces under a stress (`STRESSES`) against its values."""
    title, label, _ = STRESSES[name]
    values = np.array([point.value for point in points])

    def chart(kind: str, y_label: str, top: float, lines: Mapping[str, Sequence[float | None]]) -> LineChart:
        drawn = [
            Line(line, values, np.array([np.nan if v is None else v for v in entries]) * 100, markers=True)
            for line, entries in lines.items()
        ]
        spoken = "; ".join(
            f"{line.name} " + ", ".join(f"{x:g}: {y:.1f} %" for x, y in zip(line.x, line.y, strict=True))
            for line in drawn
        )
        limits = (float(values.min()), float(values.max()))
        return LineChart(f"{title}: {kind}", spoken, label, y_label, limits, (0, top), drawn, width=440)

    errors: dict[str, list[float | None]] = {"true box": [p.nme for p in points]}
    if all(point.recall is None for point in points):
        return [chart("error", "NME (%)", min(max(p.nme for p in points) * 110, 30), errors)]
    errors["finder's box"] = [p.nme_found for p in points]
    worst = max(error for entries in errors.values() for error in entries if error is not None)
    recall = chart("faces found", "faces found (%)", 100, {"face finder": [p.recall for p in points]})
    return [recall, chart("error", "NME (%)", min(worst * 110, 30), errors)]


def reliability_chart(evaluation: Evaluation, name: str = "") -> LineChart | None:
    """Draw confidence against the share of points within `CONFIDENT_WITHIN`; None without confidence."""
    stacked = evaluation.stacked("confidence", "near")
    if stacked is None:
        return None
    points = (stacked[0].ravel(), stacked[1].ravel())
    mean, share, count = metrics.reliability(*points)
    error = metrics.expected_calibration_error(*points)
    spoken = [f"confidence {m:.2f}: {s:.2f} of {c} points" for m, s, c in zip(mean, share, count, strict=True) if c]
    label = f"{name}: " * bool(name) + f"expected calibration error {error:.3f}"
    bins = (np.arange(len(count)) + 0.5) / len(count)
    return LineChart(
        title="Reliability of the confidence",
        description="; ".join(spoken),
        x_label="confidence",
        y_label=f"share of points within {CONFIDENT_WITHIN * 100:g} % of the face's size",
        x_range=(0, 1),
        y_range=(0, 1),
        lines=[Line(label, mean, share, markers=True)],
        columns=Columns("share of all points", bins, count / max(count.sum(), 1), 1 / len(count)),
        diagonal=True,
    )

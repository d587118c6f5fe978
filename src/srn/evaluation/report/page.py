"""The report of an evaluation: one HTML page that holds everything, needs nothing from outside and runs no script."""

from __future__ import annotations

import base64
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from html import escape
from importlib import metadata
from pathlib import Path

import numpy as np

from srn.datasets.sample import PictureSource
from srn.evaluation.box_curve import BoxCurve
from srn.evaluation.report import charts, pictures
from srn.evaluation.report.charts import Bar, Line
from srn.evaluation.results import CONFIDENT_WITHIN, Evaluation, FaceResult
from srn.evaluation.speed import Speed
from srn.evaluation.statistics import Interval, ratio_intervals
from srn.face import metrics
from srn.files import write_atomically
from srn.inference.drawing import COMPONENT_COLORS
from srn.media.pictures import encode_image

PAGE = "index.html"
WORST, BEST = 10, 5

INIT_NAMES = {
    "gt-box": "the tight box of the true points",
    "finder": "the face finder's box",
    "bbs": "the dataset's own detector box",
}

_STYLE = """\
:root { color-scheme: light dark; --wash: #f5f7f9; --accent: var(--c0); }
@media (prefers-color-scheme: dark) { :root { --wash: #1c2229; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { max-width: 66rem; margin: 0 auto; padding: 3.5rem 1.5rem 4rem; }
h1 { font-size: 2rem; line-height: 1.2; letter-spacing: -0.02em; margin: 0 0 .4rem; font-weight: 650; text-wrap: balance; }
h2 { font-size: 1.25rem; letter-spacing: -0.01em; margin: 3.5rem 0 .5rem; font-weight: 650; }
h3 { font-size: 1rem; margin: 1.8rem 0 .4rem; font-weight: 600; }
p { max-width: 46rem; margin: .4rem 0 1rem; }
.quiet, figcaption, caption { color: var(--quiet); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: 1px; margin: 2rem 0 0;
  background: var(--line); border: 1px solid var(--line); border-radius: 10px; overflow: hidden; }
.card { background: var(--paper); padding: 1.1rem 1.25rem; }
.card dt { color: var(--quiet); font-size: .875rem; }
.card dd { margin: 0; }
.card .big { font-size: 1.9rem; line-height: 1.3; font-weight: 650; letter-spacing: -0.02em; font-variant-numeric: tabular-nums; }
.card .small { color: var(--quiet); font-size: .875rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .9375rem; }
caption { text-align: left; font-size: .875rem; padding-bottom: .5rem; }
th, td { padding: .5rem .9rem .5rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { font-weight: 600; } thead th { color: var(--quiet); font-weight: 500; font-size: .875rem; }
th:first-child, td:first-child { text-align: left; }
td small { color: var(--quiet); font-size: .8125rem; margin-left: .35rem; }
tr.total th, tr.total td { border-bottom: 0; font-weight: 600; }
figure { margin: 1.25rem 0; } figcaption { font-size: .875rem; margin-top: .4rem; max-width: 46rem; }
.chart { display: block; max-width: 48rem; height: auto; }
.pair { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem 2.5rem; }
.faces { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 1.1rem; padding: 0; margin: 1rem 0; list-style: none; }
.faces img { display: block; width: 100%; height: auto; border-radius: 8px; background: var(--wash); }
.faces figure { margin: 0; } .faces figcaption { font-size: .8125rem; line-height: 1.4; overflow-wrap: anywhere; }
.faces b { color: var(--ink); font-weight: 600; font-variant-numeric: tabular-nums; }
.key { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; font-size: .875rem; color: var(--quiet); padding: 0; margin: .5rem 0; list-style: none; }
.key i { display: inline-block; width: .7em; height: .7em; border-radius: 50%; margin-right: .45em; border: 1px solid var(--line); }
dl.facts { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr; gap: .35rem 1.5rem; font-size: .9375rem; margin: 1rem 0; }
dl.facts dt { color: var(--quiet); } dl.facts dd { margin: 0; overflow-wrap: anywhere; }
code { font: .875em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; background: var(--wash); padding: .15em .4em; border-radius: 4px; }
a { color: var(--accent); } a:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; }
nav { margin-top: 1.5rem; font-size: .9375rem; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; }
@media (max-width: 36rem) { main { padding: 2rem 1rem 3rem; } h1 { font-size: 1.6rem; } dl.facts { grid-template-columns: 1fr; gap: 0; } dl.facts dd { margin-bottom: .6rem; } }
@media print { .faces li, figure, tr { break-inside: avoid; } nav { display: none; } }
"""  # noqa: E501


@dataclass(frozen=True)
class Report:
    """What goes into the page.

    Attributes:
        evaluation: the numbers.
        command: the command line that made it.
        date: when.
        weights_digest: SHA-256 of the weights; None where they are of no file.
        settings: further options by name.
        speed: of the landmarks on this machine; left out where None.
        box_curve: errors with shifted and scaled boxes, and of how many faces; left out where None.
        box_curve_faces: how many faces it was measured on.
        sources: reads pictures that are no files of their own, by the path of the result.
        problems: lines about what could not be read.
    """

    evaluation: Evaluation
    command: str
    date: datetime
    weights_digest: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    speed: Speed | None = None
    box_curve: BoxCurve | None = None
    box_curve_faces: int = 0
    sources: Mapping[Path, PictureSource] = field(default_factory=dict)
    problems: Sequence[str] = ()


def write_report(report: Report, folder: str | os.PathLike[str]) -> Path:
    """Write the page into a folder; returns its path."""
    path = Path(folder) / PAGE
    write_atomically(path, render(report).encode())
    return path


def versions() -> dict[str, str]:
    """What computed the numbers."""
    found = {"Python": platform.python_version()}
    for name in ("srn", "numpy", "onnxruntime", "opencv-python-headless", "torch"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "system": f"{platform.system()} {platform.machine()}"}


def render(report: Report) -> str:
    """The page as text."""
    result = report.evaluation
    sections = [
        ("numbers", "Numbers", _numbers(result)),
        ("curve", "Cumulative errors", _curve(result)),
        ("components", "By facial component", _components(result)),
        ("attributes", "By attribute", _attributes(result)),
        ("hidden", "Seen and hidden points", _visibility(result)),
        ("faces", "Worst and best faces", _faces(result, report.sources)),
        ("boxes", "If the face box is off", _boxes(report)),
        ("confidence", "How far the confidence can be trusted", _confidence(result)),
        ("speed", "Speed", _speed(report.speed)),
        ("origin", "Where this comes from", _origin(report)),
    ]
    shown = [(name, heading, text) for name, heading, text in sections if text]
    contents = " ".join(f'<a href="#{name}">{escape(heading)}</a>' for name, heading, _ in shown)
    title = ", ".join(result.subsets[:4]) + (" and more" if len(result.subsets) > 4 else "")
    body = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-title">\n'
        f'<h2 id="{name}-title">{escape(heading)}</h2>\n{text}\n</section>'
        for name, heading, text in shown
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Landmarks on {escape(title)}</title>
<link rel="icon" href="data:,">
<style>
{charts.STYLE}{_STYLE}</style>
</head>
<body>
<main>
<header>
<h1>Landmarks on {escape(title)}</h1>
<p class="quiet">{escape(result.weights)}, started from {escape(INIT_NAMES[result.init])}, errors divided by the \
{escape(normalizer_name(result.normalizer))}. {escape(report.date.strftime("%d %B %Y, %H:%M"))}</p>
{_cards(result)}
<nav aria-label="Contents">{contents}</nav>
</header>
{body}
</main>
</body>
</html>
"""


def normalizer_name(name: str) -> str:
    """In words."""
    return {
        "interocular": "inter-ocular distance",
        "interpupil": "inter-pupil distance",
        "bbox": "size of the face box",
        "bbox-diagonal": "diagonal of the face box",
    }.get(name, name)


def _percent(value: float, digits: int = 2) -> str:
    return f"{value * 100:.{digits}f}" if np.isfinite(value) else "–"


def _range(interval: Interval, scale: float = 100, digits: int = 2) -> str:
    if not np.isfinite([interval.low, interval.high]).all():
        return ""
    return f"{interval.low * scale:.{digits}f}–{interval.high * scale:.{digits}f}"


def _table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, total: bool = False) -> str:
    """A table; the first cell of a row is its heading. Cells are HTML already, headings are text."""
    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in header)
    made = [f'<th scope="row">{escape(first)}</th>' + "".join(f"<td>{c}</td>" for c in rest) for first, *rest in rows]
    lines = [f"<tr{' class=total' if total and i + 1 == len(made) else ''}>{row}</tr>" for i, row in enumerate(made)]
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _figure(body: str, caption: str = "") -> str:
    return f"<figure>{body}{f'<figcaption>{escape(caption)}</figcaption>' if caption else ''}</figure>"


def _cards(result: Evaluation) -> str:
    intervals = result.intervals()
    cards = [
        ("Mean error (NME)", f"{_percent(intervals.nme.value)} %", f"95 %: {_range(intervals.nme)}"),
        (
            f"Failures above {result.threshold * 100:.3g} %",
            f"{_percent(intervals.failure_rate.value)} %",
            f"95 %: {_range(intervals.failure_rate)}",
        ),
        (
            f"Area under the curve to {result.threshold * 100:.3g} %",
            f"{intervals.auc.value:.3f}",
            f"95 %: {_range(intervals.auc, 1, 3)}",
        ),
        ("Faces", f"{len(result.results)}", f"{result.missed} of them not found"),
    ]
    items = "".join(
        f'<div class="card"><dt>{escape(name)}</dt><dd class="big">{escape(value)}</dd>'
        f'<dd class="small">{escape(note)}</dd></div>'
        for name, value, note in cards
    )
    return f'<dl class="cards">{items}</dl>'


def _with_range(value: str, interval: Interval, scale: float = 100, digits: int = 2) -> str:
    text = _range(interval, scale, digits)
    return f"{value}<small>{text}</small>" if text else value


def _numbers(result: Evaluation) -> str:
    parts = [(name, result.subset(name)) for name in result.subsets]
    if len(parts) > 1:
        parts.append(("all", result))
    rows = []
    for name, part in parts:
        intervals = part.intervals()
        rows.append(
            [
                name,
                str(len(part.results)),
                str(part.missed),
                _with_range(_percent(part.nme), intervals.nme),
                _percent(part.mean_shape_nme),
                _with_range(_percent(intervals.failure_rate.value), intervals.failure_rate),
                _with_range(f"{intervals.auc.value:.3f}", intervals.auc, 1, 3),
            ]
        )
    header = ["set", "faces", "missed", "NME %", "mean shape %", "failures %", "AUC"]
    text = _table("By set, with bootstrap 95 % intervals", header, rows, total=len(parts) > 1)
    text += (
        '<p class="quiet">The mean shape, laid into the same box, is the error without looking at the picture. '
        "A face that was not found is a failure, and is left out of the mean.</p>"
    )
    if result.scheme is not None and all(r.target_landmarks is not None for r in result.results):
        names = list(metrics.NORMALIZERS)
        rows = [[name, *(_percent(part.by(by).nme) for by in names)] for name, part in parts]
        header = ["set", *(normalizer_name(name) for name in names)]
        text += _table("NME % of the same predictions, divided by", header, rows, total=len(parts) > 1)
    return text


def _curve(result: Evaluation) -> str:
    grid = np.linspace(0, result.threshold, 161)
    names = result.subsets
    parts = [(name, result.subset(name)) for name in names] + ([("all", result)] if len(names) > 1 else [])
    lines = [Line(name, grid * 100, metrics.ced(part.errors, grid) * 100) for name, part in parts]
    spoken = "; ".join(
        f"{name}: half of the faces below {_percent(float(np.median(part.errors)))} %" for name, part in parts
    )
    return _figure(
        charts.line_chart(
            lines,
            title="Cumulative error distribution",
            description=spoken,
            x_label="NME up to (%)",
            y_label="share of faces (%)",
            x_range=(0, result.threshold * 100),
            y_range=(0, 100),
        ),
        "How many faces have at most an error. Higher and further left is better.",
    )


def _components(result: Evaluation) -> str:
    summary = result.component_summary()
    if summary is None or result.scheme is None:
        return ""
    errors = np.stack([r.point_errors for r in result.results if r.point_errors is not None])
    values = np.stack([errors[:, list(result.scheme.components[name])].mean(axis=1) for name in summary])
    intervals = ratio_intervals(values, np.ones_like(values))
    bars = [
        Bar(_words(name), summary[name]["nme"] * 100, interval.low * 100, interval.high * 100)
        for name, interval in zip(summary, intervals, strict=True)
    ]
    spoken = ", ".join(f"{bar.name} {bar.value:.2f} %" for bar in bars)
    chart = charts.bar_chart(bars, title="Mean error by facial component", description=spoken, unit="NME (%)")
    text = _figure(chart, "Whiskers are 95 % intervals over faces. Left and right are the picture's.")
    if any("nme_occluded" in values for values in summary.values()):
        rows = [
            [
                _words(name),
                str(v["points"]),
                *(_percent(v.get(k, np.nan)) for k in ("nme", "nme_visible", "nme_occluded")),
            ]
            for name, v in summary.items()
        ]
        text += _table(
            "Seen and hidden points by component", ["component", "points", "NME %", "seen %", "hidden %"], rows
        )
    return text


def _words(name: str) -> str:
    return name.replace("_", " ")


def _attributes(result: Evaluation) -> str:
    rows = []
    for name in result.attributes:
        part = result.with_attribute(name)
        intervals = part.intervals()
        rows.append(
            [
                name,
                str(len(part.results)),
                _with_range(_percent(part.nme), intervals.nme),
                _with_range(_percent(intervals.failure_rate.value), intervals.failure_rate),
                f"{intervals.auc.value:.3f}",
            ]
        )
    if not rows:
        return ""
    header = ["attribute", "faces", "NME %", "failures %", "AUC"]
    return _table("Faces that the dataset marks; a face may have several marks", header, rows)


def _visibility(result: Evaluation) -> str:
    summary = result.visibility_summary()
    if summary is None:
        return ""
    rows = [
        ["NME of seen points", f"{summary['nme_visible']:.2%}"],
        ["NME of hidden points", f"{summary['nme_occluded']:.2%}"],
        ["recall of hidden points at 80 % precision", f"{summary['recall_at_80_precision']:.1%}"],
        ["average precision of the flag", f"{summary['average_precision']:.3f}"],
    ]
    caption = f"{summary['points']} points with annotated occlusion, {summary['occluded_share']:.0%} of them hidden"
    return _table(caption, ["measure", "value"], rows)


def _tile(result: FaceResult, report_scheme: Evaluation, sources: Mapping[Path, PictureSource]) -> str:
    assert report_scheme.scheme is not None
    tile = pictures.draw_result(result, report_scheme.scheme, source=sources.get(result.path))
    if tile is None:
        return ""
    encoded = base64.b64encode(encode_image(tile, ".jpg", 85)).decode()
    error = f"{_percent(result.nme)} %" if np.isfinite(result.nme) else "not found"
    said = f"Face {result.path.stem} of {result.subset} with predicted and true points, error {error}"
    return (
        f'<li><figure><img width="{pictures.TILE}" height="{pictures.TILE}" loading="lazy" alt="{escape(said)}" '
        f'src="data:image/jpeg;base64,{encoded}"><figcaption><b>{escape(error)}</b> '
        f"{escape(result.subset)}/{escape(result.path.stem)}</figcaption></figure></li>"
    )


def _faces(result: Evaluation, sources: Mapping[Path, PictureSource]) -> str:
    drawable = [r for r in result.results if r.target_landmarks is not None]
    if result.scheme is None or not drawable:
        return ""
    ordered = sorted(drawable, key=lambda r: r.nme)
    worst = ordered[::-1][:WORST]
    best = ordered[: min(BEST, len(ordered) - len(worst))]
    named = dict.fromkeys(
        (rgb, _words(n).removeprefix("left ").removeprefix("right ")) for n, rgb in COMPONENT_COLORS.items()
    )
    key = "".join(f'<li><i style="background:rgb{rgb}"></i>{escape(name)}</li>' for rgb, name in named)
    text = (
        "<p>Predicted points in colour, hollow where they are said to be hidden; true points are white dots, joined to "
        "their predictions by lines.</p>"
        f'<ul class="key" aria-label="Colours">{key}<li><i style="background:#fff"></i>truth</li></ul>'
    )
    for title, faces in ((f"The {len(worst)} worst", worst), (f"The {len(best)} best", best)):
        tiles = "".join(_tile(face, result, sources) for face in faces)
        if tiles:
            text += f'<h3>{title}</h3><ul class="faces">{tiles}</ul>'
    return text


def _boxes(report: Report) -> str:
    curve = report.box_curve
    if curve is None:
        return ""
    top = max([*curve.shifts.values(), *curve.scales.values()]) * 110
    made = []
    for title, label, values, factor in (
        ("Error with shifted boxes", "box moved by (% of its side)", curve.shifts, 100.0),
        ("Error with scaled boxes", "box scaled by", curve.scales, 1.0),
    ):
        x, y = np.array(list(values)) * factor, np.array(list(values.values())) * 100
        spoken = ", ".join(f"{a:g}: {b:.2f} %" for a, b in zip(x, y, strict=True))
        chart = charts.line_chart(
            [Line("", x, y, markers=True)],
            title=title,
            description=spoken,
            x_label=label,
            y_label="NME (%)",
            x_range=(float(x.min()), float(x.max())),
            y_range=(0, top),
            width=440,
        )
        made.append(_figure(chart, title))
    note = f"Boxes around the true points of {report.box_curve_faces} faces, moved in a random direction, and scaled."
    return f'<p>{note}</p><div class="pair">{"".join(made)}</div>'


def _confidence(result: Evaluation) -> str:
    points, summary = result.confidence_points(), result.confidence_summary()
    if points is None or summary is None:
        return ""
    mean, share, count = metrics.reliability(*points)
    chart = charts.line_chart(
        [Line("", mean, share, markers=True)],
        title="Reliability of the confidence",
        description="; ".join(
            f"confidence {m:.2f}: {s:.2f} of {c} points" for m, s, c in zip(mean, share, count, strict=True) if c
        ),
        x_label="confidence",
        y_label="share of points that are near enough",
        x_range=(0, 1),
        y_range=(0, 1),
        diagonal=True,
    )
    error = summary["expected_calibration_error"]
    caption = (
        f"A point's confidence is the probability that it is off by less than {CONFIDENT_WITHIN:.0%} of the face's "
        f"size. On the dashed line it says what is so; the mean distance from it is {error:.3f}."
    )
    return _figure(chart, caption)


def _speed(speed: Speed | None) -> str:
    if speed is None:
        return ""
    rows = [
        ["one face at a time", f"{speed.one_face * 1e3:.1f}", f"{1 / speed.one_face:.0f}"],
        [f"{speed.batch_size} faces at once", f"{speed.in_batch * 1e3:.1f}", f"{1 / speed.in_batch:.0f}"],
    ]
    caption = f"{speed.processor}; with the options of this evaluation, without reading pictures and finding faces"
    return _table(caption, ["landmarks", "ms a face", "faces a second"], rows)


def _origin(report: Report) -> str:
    result = report.evaluation
    facts: dict[str, str] = {
        "Command": f"<code>{escape(report.command)}</code>",
        "Weights": escape(result.weights),
        "SHA-256": f"<code>{escape(report.weights_digest)}</code>" if report.weights_digest else "not from a file",
        "Face box": escape(INIT_NAMES[result.init]),
        "Divided by": escape(normalizer_name(result.normalizer)),
        **{name: escape(str(value)) for name, value in report.settings.items()},
        "Date": escape(report.date.isoformat(timespec="seconds")),
        "Versions": escape(", ".join(f"{name} {version}" for name, version in versions().items())),
        "Intervals": "percentiles of 2000 bootstrap resamplings of the faces, seed 0",
    }
    text = "".join(f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items())
    text = f'<dl class="facts">{text}</dl>'
    if report.problems:
        lines = "".join(f"<li>{escape(line)}</li>" for line in report.problems)
        text += f"<h3>Could not be read</h3><ul>{lines}</ul>"
    note = "The faces on this page are the dataset's pictures: its terms say whether they may be shown."
    return text + f'<p class="quiet">{note}</p>'

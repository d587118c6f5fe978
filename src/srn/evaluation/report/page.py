"""The report of an evaluation: one self-contained HTML page without scripts."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from string import Template

import numpy as np

from srn.datasets.sample import PictureSource
from srn.evaluation.box_curve import BoxCurve
from srn.evaluation.provenance import versions_text
from srn.evaluation.report import pictures
from srn.evaluation.report.charts import asset, on_a_page
from srn.evaluation.report.evaluation_charts import (
    NORMALIZER_NAMES,
    box_charts,
    ced_of,
    component_chart,
    reliability_chart,
    stress_charts,
)
from srn.evaluation.report.markup import Markup, element, figure, joined, table
from srn.evaluation.results import (
    CONFIDENT_WITHIN,
    Evaluation,
    FaceResult,
    by_weights,
    compare_evaluations,
    video_numbers,
)
from srn.evaluation.speed import Speed
from srn.evaluation.statistics import Interval
from srn.evaluation.stress import STRESSES, Stress
from srn.face import metrics
from srn.files import write_atomically
from srn.inference.drawing import COMPONENT_COLORS
from srn.media.pictures import encode_image

PAGE = "index.html"
WORST, BEST = 10, 5
COLUMNS = "faces", "missed", "NME %", "mean shape %", "failures %", "AUC"

INIT_NAMES = {
    "gt-box": "the tight box of the true points",
    "finder": "the face finder's box",
    "bbs": "the dataset's own detector box",
    "predictions": "a file of another tool's points",
}


@dataclass(frozen=True)
class Report:
    """The content of the page.

    Attributes:
        other: an evaluation of the same faces that it is compared with.
        weights_digest: SHA-256 of the weights; None for weights that are no file.
        sources: readers of pictures that are no files of their own, by path.
        problems: one line for each unreadable picture.
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
    stress: Stress | None = None
    other: Evaluation | None = None


def write_report(report: Report, folder: str | os.PathLike[str]) -> Path:
    """Write the page into a folder and return its path."""
    path = Path(folder) / PAGE
    write_atomically(path, render(report))
    return path


def render(report: Report) -> str:
    result = report.evaluation
    curves = ced_of(by_weights(result, report.other))
    curve = figure(on_a_page(curves), "Share of faces up to an error. Higher and further left is better.")
    sections = {
        "numbers": ("Numbers", _numbers(result)),
        "compared": ("Compared", _comparison(result, report.other)),
        "curve": ("Cumulative errors", curve),
        "components": ("By facial component", _components(result)),
        "attributes": ("By attribute", _attributes(result)),
        "hidden": ("Visible and occluded points", _visibility(result)),
        "faces": ("Worst and best faces", _faces(result, report.sources)),
        "boxes": ("Inaccurate face boxes", _boxes(report.box_curve, report.box_curve_faces)),
        "stress": ("Small, turned, dark and blurred faces", _stress(report.stress)),
        "confidence": ("Calibration of the confidence", _confidence(result)),
        "speed": ("Speed", _speed(report.speed)),
        "origin": ("Origin", _origin(report)),
    }
    shown = {name: section for name, section in sections.items() if section[1]}
    fields = {
        "sets": ", ".join(result.subsets[:4]) + (" and more" if len(result.subsets) > 4 else ""),
        "style": Markup(asset("chart.css") + asset("page.css")),
        "weights": result.weights,
        "boxes": INIT_NAMES[result.init],
        "normalizer": NORMALIZER_NAMES[result.normalizer],
        "date": report.date.strftime("%d %B %Y, %H:%M"),
        "cards": _cards(result),
        "contents": joined((element("a", heading, href=f"#{name}") for name, (heading, _) in shown.items()), " "),
        "sections": joined((_section(name, *section) for name, section in shown.items()), "\n"),
    }
    return Template(asset("page.html")).substitute({name: joined([value]) for name, value in fields.items()})


def _section(name: str, heading: str, content: Markup) -> Markup:
    title = element("h2", heading, id=f"{name}-title")
    return element("section", title, content, id=name, aria_labelledby=f"{name}-title")


def _number(value: float, scale: float = 100, digits: int = 2) -> str:
    return f"{value * scale:.{digits}f}" if np.isfinite(value) else "–"


def _range(interval: Interval, scale: float = 100, digits: int = 2) -> str:
    if not np.isfinite([interval.low, interval.high]).all():
        return ""
    return f"{interval.low * scale:.{digits}f}–{interval.high * scale:.{digits}f}"


def _with_range(interval: Interval, scale: float = 100, digits: int = 2) -> Markup:
    text = _range(interval, scale, digits)
    return joined([_number(interval.value, scale, digits), *([element("small", text)] if text else [])])


def _units(result: Evaluation) -> str:
    """What the intervals are taken over: the frames of a video are much alike."""
    return "faces" if video_numbers(result.results) is None else "videos"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _cards(result: Evaluation) -> Markup:
    intervals, limit = result.intervals(), f"{result.threshold * 100:.3g} %"
    nme, rate, auc = intervals.nme, intervals.failure_rate, intervals.auc
    cards = [
        ("Mean error (NME)", f"{_number(nme.value)} %", f"95 %: {_range(nme) or '–'}"),
        (f"Failures above {limit}", f"{_number(rate.value)} %", f"95 %: {_range(rate)}"),
        (f"Area under the curve to {limit}", f"{auc.value:.3f}", f"95 %: {_range(auc, 1, 3)}"),
        ("Faces", f"{len(result.results)}", f"{result.missed} of them not found"),
    ]
    items = []
    for name, value, note in cards:
        parts = (element("dt", name), element("dd", value, class_="big"), element("dd", note, class_="small"))
        items.append(element("div", *parts, class_="card"))
    return element("dl", *items, class_="cards")


def _row(name: str, part: Evaluation) -> list[str]:
    intervals = part.intervals()
    errors = [_with_range(intervals.nme), _number(part.mean_shape_nme), _with_range(intervals.failure_rate)]
    return [name, str(len(part.results)), str(part.missed), *errors, _with_range(intervals.auc, 1, 3)]


def _numbers(result: Evaluation) -> Markup:
    parts = result.parts()
    rows = [_row(name, part) for name, part in parts.items()]
    baseline = (
        "mean of the other faces, in the true box," if result.init == "predictions" else "mean shape in the same box"
    )
    note = (
        f"The {baseline} is the error without looking at the picture. "
        "A face that was not found is a failure, and is left out of the mean."
    )
    content = [
        table(
            f"By set, with bootstrap 95 % intervals over {_units(result)}",
            ["set", *COLUMNS],
            rows,
            total=len(parts) > 1,
        ),
        element("p", note, class_="quiet"),
    ]
    if result.scheme is not None and all(r.target_landmarks is not None for r in result.results):
        names = list(metrics.NORMALIZERS)
        by_length = [[name, *(_number(part.by(length).nme) for length in names)] for name, part in parts.items()]
        header = ["set", *(NORMALIZER_NAMES[name] for name in names)]
        content.append(table("NME % of the same predictions, divided by", header, by_length, total=len(parts) > 1))
    return joined(content)


def _comparison(result: Evaluation, other: Evaluation | None) -> Markup:
    if other is None:
        return Markup()
    both = by_weights(result, other)
    rows = [_row(name, one) for name, one in both.items()]
    caption = f"On the same faces, with bootstrap 95 % intervals over {_units(result)}"
    words = f"{' against '.join(both)}, face by face: {compare_evaluations(other, result).text()}."
    return joined([table(caption, ["weights", *COLUMNS], rows), element("p", words, class_="quiet")])


def _components(result: Evaluation) -> Markup:
    chart, summary = component_chart(result), result.component_summary()
    if chart is None or summary is None:
        return Markup()
    content = figure(
        on_a_page(chart), f"Whiskers are 95 % intervals over {_units(result)}. Left and right are the picture's."
    )
    titles = {"nme": "NME %", "along": "along %", "across": "across %", "nme_visible": "visible %"}
    titles |= {"nme_occluded": "occluded %"}
    keys = [key for key in titles if any(key in values for values in summary.values())]
    rows = [
        [_words(name), str(values["points"]), *(_number(values.get(key, np.nan)) for key in keys)]
        for name, values in summary.items()
    ]
    header = ["component", "points", *(titles[key] for key in keys)]
    return joined([content, table("Errors by component; along and across its contours", header, rows)])


def _attributes(result: Evaluation) -> Markup:
    rows = []
    for name in result.attributes:
        part = result.with_attribute(name)
        intervals = part.intervals()
        errors = [_with_range(intervals.nme), _with_range(intervals.failure_rate)]
        rows.append([name, str(len(part.results)), *errors, f"{intervals.auc.value:.3f}"])
    header = ["attribute", "faces", "NME %", "failures %", "AUC"]
    return table("Faces by the dataset's attributes; a face may have several", header, rows) if rows else Markup()


def _visibility(result: Evaluation) -> Markup:
    summary = result.visibility_summary()
    if summary is None:
        return Markup()
    prior = summary["prior"]
    flags = {
        "recall_at_80_precision": "recall of occluded points at 80 % precision",
        "average_precision": "average precision of the flag",
        "roc_auc": "area under its ROC curve",
    }
    rows = [
        ["NME of visible points", f"{summary['nme_visible']:.2%}", "–"],
        ["NME of occluded points", f"{summary['nme_occluded']:.2%}", "–"],
        *([words, f"{summary[key]:.3f}", f"{prior[key]:.3f}"] for key, words in flags.items()),
    ]
    caption = f"{summary['points']} points with annotated occlusion, {summary['occluded_share']:.0%} of them occluded"
    return table(caption, ["measure", "value", "by the landmark alone, without the picture"], rows)


def _faces(result: Evaluation, sources: Mapping[Path, PictureSource]) -> Markup:
    ordered = sorted((r for r in result.results if r.target_landmarks is not None), key=lambda r: r.nme)
    if result.scheme is None or not ordered:
        return Markup()
    worst = ordered[::-1][:WORST]
    best = ordered[: min(BEST, len(ordered) - len(worst))]
    colors = {  # left and right components share a colour
        _words(name).removeprefix("left ").removeprefix("right "): f"rgb{rgb}" for name, rgb in COMPONENT_COLORS.items()
    } | {"truth": "#fff"}
    key = [element("li", element("i", style=f"background:{color}"), name) for name, color in colors.items()]
    note = (
        "Predicted points are coloured, and hollow if predicted to be occluded. "
        "True points are white dots, joined to their predictions by lines."
    )
    content = [element("p", note), element("ul", *key, class_="key", aria_label="Colours")]
    for title, faces in ((f"The {len(worst)} worst", worst), (f"The {len(best)} best", best)):
        tiles = [tile for face in faces if (tile := _tile(face, result, sources))]
        if tiles:
            content += [element("h3", title), element("ul", *tiles, class_="faces")]
    return joined(content)


def _tile(result: FaceResult, evaluation: Evaluation, sources: Mapping[Path, PictureSource]) -> Markup:
    """A drawn face; nothing if its picture cannot be read any more."""
    assert evaluation.scheme is not None
    tile = pictures.draw_result(result, evaluation.scheme, source=sources.get(result.path))
    if tile is None:
        return Markup()
    encoded = base64.b64encode(encode_image(tile, ".jpg", 85)).decode()
    error = f"{_number(result.nme)} %" if np.isfinite(result.nme) else "not found"
    image = element(
        "img", width=pictures.TILE, height=pictures.TILE, loading="lazy", src=f"data:image/jpeg;base64,{encoded}",
        alt=f"Face {result.path.stem} of {result.subset} with predicted and true points, error {error}",
    )  # fmt: skip
    caption = element("figcaption", element("b", error), f" {result.subset}/{result.path.stem}")
    return element("li", element("figure", image, caption))


def _boxes(curve: BoxCurve | None, faces: int) -> Markup:
    if curve is None:
        return Markup()
    charts = [figure(on_a_page(chart), chart.title) for chart in box_charts({"": curve})]
    note = f"The tight boxes of {faces} faces, shifted in a random direction, and scaled."
    return joined([element("p", note), element("div", *charts, class_="pair")])


def _stress(stress: Stress | None) -> Markup:
    if stress is None:
        return Markup()
    content = []
    for name, points in stress.points.items():
        charts = [figure(on_a_page(chart), chart.title) for chart in stress_charts(name, points)]
        rows = [
            [
                f"{p.value:g}",
                str(p.faces),
                *(_number(np.nan if v is None else v) for v in (p.recall, p.nme_found, p.nme)),
            ]
            for p in points
        ]
        header = [STRESSES[name].label, "faces", "found %", "NME % of those", "NME % from the true box"]
        content += [element("div", *charts, class_="pair"), table(STRESSES[name].title, header, rows)]
    return joined(content)


def _confidence(result: Evaluation) -> Markup:
    chart = reliability_chart(result)
    if chart is None:
        return Markup()
    caption = (
        f"A point's confidence is the probability of an error below {CONFIDENT_WITHIN * 100:g} % of the face's size. "
        "A calibrated confidence follows the dashed line; the expected calibration error is the mean distance from it."
    )
    return figure(on_a_page(chart), caption)


def _speed(speed: Speed | None) -> Markup:
    if speed is None:
        return Markup()
    rows = [
        ["one face at a time", f"{speed.one_face * 1e3:.1f}", f"{1 / speed.one_face:.0f}"],
        [f"{speed.batch_size} faces at once", f"{speed.in_batch * 1e3:.1f}", f"{1 / speed.in_batch:.0f}"],
    ]
    load = "" if speed.load is None else f", under a load of {speed.load:.1f}"
    caption = (
        f"{speed.processor}{load}; with the options of this evaluation, without reading pictures and finding faces"
    )
    return table(caption, ["landmarks", "ms per face", "faces per second"], rows)


def _origin(report: Report) -> Markup:
    result, digest = report.evaluation, report.weights_digest
    facts = {
        "Command": element("code", report.command),
        "Weights": result.weights,
        "SHA-256": element("code", digest) if digest else "not from a file",
        "Face box": INIT_NAMES[result.init],
        "Divided by": NORMALIZER_NAMES[result.normalizer],
        **{name: str(value) for name, value in report.settings.items()},
        "Date": report.date.isoformat(timespec="seconds"),
        "Versions": versions_text(),
        "Intervals": "percentiles of 2000 bootstrap resamplings of the faces, seed 0",
    }
    listed = [part for name, value in facts.items() for part in (element("dt", name), element("dd", value))]
    content = [element("dl", *listed, class_="facts")]
    if report.problems:
        lines = [element("li", line) for line in report.problems]
        content += [element("h3", "Unreadable pictures"), element("ul", *lines)]
    note = "The faces on this page are the dataset's pictures: its terms say whether they may be shown."
    return joined([*content, element("p", note, class_="quiet")])

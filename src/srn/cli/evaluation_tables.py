"""What `srn evaluate` prints: tables of errors, and lines about pairs, visibility and confidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from srn.cli import options
from srn.errors import printable
from srn.evaluation.results import Evaluation, compare_evaluations
from srn.evaluation.stress import STRESSES, Stress
from srn.evaluation.timing import load_average
from srn.evaluation.video import VideoEvaluation


def print_errors(title: str, evaluations: Mapping[str, Evaluation]) -> None:
    """Print a row of numbers for each set; where several weights or tools were measured, for each of them, by name."""
    several = len(evaluations) > 1
    first = next(iter(evaluations.values()))
    title = f"{title}, by {first.normalizer}, failures above {first.threshold * 100:g} %"
    columns = ("faces", "missed", "NME %", "mean shape %", "failures %", "AUC")
    table = options.number_table(title, "set", columns)
    for name, whole in evaluations.items():
        for set_name, part in whole.parts().items():
            s = part.summary()
            numbers = (part.nme * 100, part.mean_shape_nme * 100, s["failure_rate"] * 100)
            known = ("–" if v != v else f"{v:.2f}" for v in numbers)
            row = printable(f"{name}, {set_name}" if several else set_name)
            table.add_row(row, str(s["n"]), str(s["missed"]), *known, f"{s['auc']:.3f}")
    options.console.print(table)


def print_pair(first: Evaluation, second: Evaluation) -> None:
    """Print how the second differs from the first, face by face."""
    pair = compare_evaluations(first, second)
    options.say(f"{second.weights} against {first.weights}, NME {first.nme:.2%}: {pair.text()}")


def print_flags(result: Evaluation, name: str = "") -> None:
    """Print what visibility and confidence are worth, where they are known, and which way the outline is off."""
    visibility = result.visibility_summary()
    if visibility is not None:
        prior = visibility["prior"]
        options.say(
            f"{name}occluded points ({visibility['occluded_share']:.0%} of {visibility['points']}): "
            f"recall at 80 % precision {visibility['recall_at_80_precision']:.1%} "
            f"(by the landmark alone, without the picture: {prior['recall_at_80_precision']:.1%}), "
            f"average precision {visibility['average_precision']:.3f} ({prior['average_precision']:.3f}); "
            f"NME of visible points {visibility['nme_visible']:.2%}, "
            f"of occluded points {visibility['nme_occluded']:.2%}"
        )
    outline = result.outline_summary()
    if outline is not None:
        options.say(f"{name}outline: off by {outline['along']:.2%} along itself, {outline['across']:.2%} across")
    confidence = result.confidence_summary()
    if confidence is not None:
        options.say(f"{name}confidence: expected calibration error {confidence['expected_calibration_error']:.3f}")


def print_stress(stress: Stress) -> None:
    for name, points in stress.points.items():
        columns = ("faces", "found %", "NME % of those", "NME % from the true box", "median %")
        table = options.number_table(STRESSES[name].title, STRESSES[name].label, columns)
        for p in points:
            shares = [p.recall, p.nme_found, p.nme, p.median]
            table.add_row(f"{p.value:g}", str(p.faces), *("–" if v is None else f"{v * 100:.2f}" for v in shares))
        options.console.print(table)


def print_videos(title: str, results: Iterable[VideoEvaluation]) -> None:
    """Print a row for each method, and under which load its time was taken."""
    columns = ("missed", "lost", "NME %", "jitter %", "flicker %", "ms a frame")
    table = options.number_table(title, "method", columns)
    timed = False
    for result in results:
        whole = result.summary()
        percent = ["–" if whole[k] is None else f"{whole[k] * 100:.2f}" for k in ("nme", "jitter", "flicker")]
        timed |= whole["ms"] is not None
        ms = "–" if whole["ms"] is None else f"{whole['ms']:.1f}"
        table.add_row(printable(result.method), str(whole["missed"]), str(whole["lost"]), *percent, ms)
    options.console.print(table)
    load = load_average()
    if timed and load is not None:
        options.say(f"ms: median, under a load of {load:.1f} on average in the last minute")


def counted_frames(lengths: Sequence[int]) -> str:
    return f"{options.counted(len(lengths), 'video')}, {options.counted(sum(lengths), 'frame')}"

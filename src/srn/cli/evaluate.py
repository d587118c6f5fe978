"""`srn evaluate`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

from srn.cli import options
from srn.datasets.catalogue import open_faces
from srn.errors import InputError, printable
from srn.evaluation.cache import cached_evaluate, file_digest, weights_digest
from srn.evaluation.followers import standard_followers
from srn.evaluation.outputs import Measured, with_stress, write_outputs
from srn.evaluation.report.chart_file import check_chart
from srn.evaluation.results import FAILURE_THRESHOLD, Initialization, compare_evaluations
from srn.evaluation.stress import STRESSES, Stress
from srn.evaluation.video import evaluate_followers, read_clips, write_video_evaluations
from srn.files import BOX_CURVE, CHART, NUMBERS_JSON
from srn.inference.landmarker import FaceLandmarker

Normalizer = Literal["interocular", "interpupil", "bbox", "bbox-diagonal"]

Folders = Annotated[
    list[Path],
    typer.Argument(help="Folders of pictures with .pts files, or roots of datasets: they stand for their test sets."),
]
Boxes = Annotated[
    Initialization, typer.Option(help="Face box: the annotation's, the face finder's, or the dataset's `bbs`.")
]
ErrorUnit = Annotated[Normalizer, typer.Option(help="Length that errors are divided by.")]
Threshold = Annotated[
    float,
    typer.Option(min=0.001, max=1, help="Larger errors are failures, and the curve's area ends there: 0.08 = 8 %."),
]
Compare = Annotated[
    Path | None,
    typer.Option(help="Other weights, measured on the same faces: mean difference by face, and its interval."),
]
Video = Annotated[
    bool,
    typer.Option("--video", help="The folders hold videos: measure error and jitter of picture model and tracker."),
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", help="File for the numbers, whole and by picture."), NUMBERS_JSON
]
CedFile = Annotated[
    Path | None,
    typer.Option(help="Chart of the cumulative error distributions: `.svg`, others need srn[eval]."),
    CHART,
]
ReliabilityFile = Annotated[
    Path | None,
    typer.Option(help="Chart of the confidence's calibration: `.svg`, others need srn[eval]."),
    CHART,
]
BoxCurveFile = Annotated[
    Path | None,
    typer.Option(help="Also measure shifted and scaled boxes: `.json` for numbers, else a chart as for --ced."),
    BOX_CURVE,
]
ReportFolder = Annotated[
    Path | None,
    typer.Option("--report", help="Folder for a page with all numbers, curves, worst faces, boxes and speed."),
    options.Folder(),
]

UnderStress = Annotated[
    bool,
    typer.Option(
        "--stress", help="Also measure some faces made smaller, turned, darker and blurred, in shifted boxes."
    ),
]


def evaluate(
    folders: Folders,
    init: Boxes = "gt-box",
    normalizer: ErrorUnit = "interocular",
    threshold: Threshold = FAILURE_THRESHOLD,
    compare: Compare = None,
    video: Video = False,
    json_file: JsonFile = None,
    ced: CedFile = None,
    reliability: ReliabilityFile = None,
    box_curve: BoxCurveFile = None,
    stress: UnderStress = False,
    report_folder: ReportFolder = None,
    cache_folder: options.CacheFolder = None,
    no_cache: options.NoCache = False,
    weights: options.Weights = None,
    accuracy: options.Accuracy = "best",
    flip_average: options.Flip = True,
    yunet: options.YuNet = None,
    engine: options.Engine = options.ENGINE,
) -> None:
    """Measure the landmarks of annotated faces.

    Errors are normalized mean errors (NME); failure rate and area under the curve (AUC) are at 8 %. A face that the
    face finder misses is a failure, and is left out of the mean. Unreadable pictures are named and left out of all
    numbers (exit code 1). Results are kept by the hash of weights, faces, options and code.

    Example: `srn evaluate 300W/helen/testset 300W/lfpw/testset --json common.json --report report`

    Example: `srn evaluate 300W/ibug --weights mine.onnx --compare theirs.onnx`
    """
    opened = partial(options.open_landmarker, accuracy=accuracy, flip=flip_average, engine=engine, yunet=yunet)
    if video:
        given = {"--init": init != "gt-box", "--compare": compare, "--ced": ced, "--reliability": reliability}
        _refuse(given | {"--box-curve": box_curve, "--stress": stress, "--report": report_folder})
        _evaluate_videos(folders, opened(weights), normalizer, json_file)
        return
    _check_charts(ced, reliability, box_curve)
    landmarker = opened(weights)
    faces = open_faces(folders, split="test", scheme=landmarker.localizer.scheme)
    measure = partial(
        cached_evaluate, cache=options.open_cache(cache_folder, no_cache), init=init, normalizer=normalizer,
        threshold=threshold, finder="built-in" if yunet is None else file_digest(yunet), tell=options.note,
    )  # fmt: skip
    with options.progress_bar("faces") as progress:
        steps = options.steps_of(progress)
        other = None
        if compare is not None:  # first: a mistake in its name should not cost the other's minutes
            rival, step = opened(compare), steps("evaluating the other", len(faces.samples))
            other, _ = measure(rival, faces.samples, digest=weights_digest(rival, compare), progress=step)
        digest, step = weights_digest(landmarker, weights), steps("evaluating", len(faces.samples))
        result, _ = measure(landmarker, faces.samples, digest=digest, progress=step)
        problems = [*faces.report.problems, *result.problems]
        measured = Measured(result, landmarker, faces.samples, digest, other, problems)
        if stress:
            measured = with_stress(measured, steps)
        files = {"numbers": json_file, "ced": ced, "reliability": reliability, "boxes": box_curve}
        page = write_outputs(measured, steps, **files, report=report_folder)
    _print(measured, page)
    options.exit_if_failed(problems)


def _refuse(given: Mapping[str, object]) -> None:
    for name, value in given.items():
        if value:
            raise InputError.at(name, "no such option with --video", "one")


def _check_charts(ced: Path | None, reliability: Path | None, box_curve: Path | None) -> None:
    """Raise an error before any work if a chart cannot be written in its format."""
    for path in (ced, reliability, None if box_curve is None or box_curve.suffix == ".json" else box_curve):
        if path is not None:
            check_chart(path)


def _print(measured: Measured, page: Path | None) -> None:
    result, other = measured.evaluation, measured.other
    if page is not None:
        options.say(f"report: {page}")
    title = f"{result.weights}, {result.init} boxes, by {result.normalizer}"
    columns = ("faces", "missed", "NME %", "mean shape %", "failures %", "AUC")
    table = options.number_table(title, "set", columns)
    for name, part in result.parts().items():
        s = part.summary()
        numbers = (part.nme * 100, part.mean_shape_nme * 100, s["failure_rate"] * 100)
        table.add_row(printable(name), str(s["n"]), str(s["missed"]), *(f"{v:.2f}" for v in numbers), f"{s['auc']:.3f}")
    options.console.print(table)
    if other is not None:
        pair = compare_evaluations(other, result)
        gap, low, high = (v * 100 for v in (pair.difference.value, pair.difference.low, pair.difference.high))
        options.say(
            f"against {other.weights}, NME {other.nme:.2%}: {gap:+.2f} points on {pair.both_found} faces "
            f"(95 % interval {low:+.2f} to {high:+.2f}, sign-flip p {pair.p_text}); "
            f"better on {pair.share_better:.0%} of the faces, worse on {pair.share_worse:.0%}"
        )
    visibility = result.visibility_summary()
    if visibility is not None:
        prior = visibility["prior"]
        options.console.print(
            f"occluded points ({visibility['occluded_share']:.0%} of {visibility['points']}): "
            f"recall at 80 % precision {visibility['recall_at_80_precision']:.1%} "
            f"(by the landmark alone, without the picture: {prior['recall_at_80_precision']:.1%}), "
            f"average precision {visibility['average_precision']:.3f} ({prior['average_precision']:.3f}); "
            f"NME of visible points {visibility['nme_visible']:.2%}, "
            f"of occluded points {visibility['nme_occluded']:.2%}",
            highlight=False,
        )
    confidence = result.confidence_summary()
    if confidence is not None:
        options.say(f"confidence: expected calibration error {confidence['expected_calibration_error']:.3f}")
    if measured.stress is not None:
        _print_stress(measured.stress)


def _print_stress(stress: Stress) -> None:
    for name, points in stress.points.items():
        columns = ("faces", "found %", "NME % of those", "NME % from the true box", "median %")
        table = options.number_table(STRESSES[name].title, STRESSES[name].label, columns)
        for p in points:
            shares = [p.recall, p.nme_found, p.nme, p.median]
            table.add_row(f"{p.value:g}", str(p.faces), *("–" if v is None else f"{v * 100:.2f}" for v in shares))
        options.console.print(table)


def _evaluate_videos(folders: list[Path], landmarker: FaceLandmarker, normalizer: str, json_file: Path | None) -> None:
    clips, problems = read_clips(folders, landmarker.localizer.scheme)
    with options.progress_bar("clips") as progress:
        step = options.steps_of(progress)("evaluating", len(clips))
        results = evaluate_followers(standard_followers(landmarker), clips, normalizer=normalizer, progress=step)
    if json_file is not None:
        write_video_evaluations(json_file, results, landmarker)
    frames = sum(len(clip) for clip in clips)
    title = f"{landmarker.localizer.name}, {options.counted(len(clips), 'video')}, {frames} frames"
    columns = ("missed", "lost", "NME %", "jitter %", "flicker %", "ms a frame")
    table = options.number_table(title, "method", columns)
    for result in results:
        whole = result.summary()
        percent = ["–" if whole[k] is None else f"{whole[k] * 100:.2f}" for k in ("nme", "jitter", "flicker")]
        table.add_row(result.method, str(whole["missed"]), str(whole["lost"]), *percent, f"{whole['ms']:.1f}")
    options.console.print(table)
    options.exit_if_failed(problems)

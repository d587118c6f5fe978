"""`srn evaluate`."""

from __future__ import annotations

import json
import shlex
import sys
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from srn.cli import options
from srn.datasets.catalogue import read_dataset
from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.evaluation import protocol, results
from srn.evaluation.box_curve import BoxCurve
from srn.evaluation.box_curve import box_curve as measure_box_curve
from srn.evaluation.cache import cached_evaluate, file_digest
from srn.evaluation.report.page import Report, write_report
from srn.evaluation.speed import measure_speed
from srn.evaluation.statistics import PairedComparison
from srn.evaluation.video import Follower, FrameByFrame, TrackerFollower, evaluate_followers
from srn.face.metrics import NORMALIZERS
from srn.files import write_atomically
from srn.inference.landmarker import FaceLandmarker


class Init(StrEnum):
    """Where the face box comes from."""

    GT_BOX = "gt-box"
    FINDER = "finder"
    BBS = "bbs"


Normalizer = StrEnum("Normalizer", {name.upper().replace("-", "_"): name for name in NORMALIZERS})  # type: ignore[misc]


def evaluate(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Folders of pictures with .pts files, or roots of datasets: they stand for their test sets."
        ),
    ],
    init: Annotated[
        Init, typer.Option(help="Face box: the annotation's, the face finder's, or the dataset's `bbs`.")
    ] = Init.GT_BOX,
    normalizer: Annotated[Normalizer, typer.Option(help="What errors are divided by.")] = Normalizer.INTEROCULAR,  # type: ignore[attr-defined]
    threshold: Annotated[
        float,
        typer.Option(
            min=0.001, max=1, help="Errors above it are failures, and the curve's area ends there: 0.08 = 8 %."
        ),
    ] = results.FAILURE_THRESHOLD,
    compare: Annotated[
        Path | None,
        typer.Option(help="Other weights, measured on the same faces: the difference, face by face, and its interval."),
    ] = None,
    video: Annotated[
        bool,
        typer.Option(
            "--video",
            help="The folders hold videos: measure the picture model and the tracker, and how much they shake.",
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="File for the numbers, whole and by picture.")
    ] = None,
    ced: Annotated[
        Path | None, typer.Option(help="Picture of the cumulative error distributions (needs srn[eval]).")
    ] = None,
    reliability: Annotated[
        Path | None, typer.Option(help="Picture of the confidence's calibration (needs srn[eval]).")
    ] = None,
    box_curve: Annotated[
        Path | None,
        typer.Option(help="Also measure shifted and scaled boxes: `.json` for numbers, else a picture (srn[eval])."),
    ] = None,
    report_folder: Annotated[
        Path | None,
        typer.Option("--report", help="Folder for a page with everything: numbers, curves, worst faces, boxes, speed."),
    ] = None,
    cache_folder: options.CacheFolder = None,
    no_cache: options.NoCache = False,
    weights: options.Weights = None,
    passes: options.Passes = 2,
    flip_average: options.Flip = True,
    yunet: options.YuNet = None,
    threads: options.Threads = None,
) -> None:
    """Measure the landmarks of annotated faces.

    Errors are normalized mean errors (NME); the failure rate and the area under the curve (AUC) are at 8 %. A face that
    the face finder misses counts as a failure there, and is left out of the mean. Pictures that cannot be read are
    named and left out of everything (exit code 1).

    What was measured once is kept by the hash of weights, faces, options and code, and not measured again.

    Example: `srn evaluate 300W/helen/testset 300W/lfpw/testset --json common.json --report report`

    Example: `srn evaluate 300W/ibug --weights mine.onnx --compare theirs.onnx`
    """
    if video:
        others = {"--init": init != Init.GT_BOX, "--compare": compare, "--ced": ced, "--reliability": reliability,
                  "--box-curve": box_curve, "--report": report_folder}  # fmt: skip
        for name, given in others.items():
            if given:
                raise InputError.at(name, "no such option with --video", "one")
        _evaluate_videos(folders, str(normalizer.value), weights, passes, flip_average, threads, yunet, json_file)
        return
    landmarker = options.open_landmarker(weights, passes, flip_average, threads, yunet)
    samples, report = protocol.read_test_faces(folders, landmarker.localizer.scheme)
    store = options.open_cache(cache_folder, no_cache)
    digest = options.weights_digest(landmarker, weights)

    def measure(model: FaceLandmarker, its_digest: str | None, title: str) -> results.Evaluation:
        with options.progress_bar("faces") as progress:
            task = progress.add_task(title, total=len(samples))
            found, _ = cached_evaluate(
                model,
                samples,
                cache=store,
                digest=its_digest,
                finder="built-in" if yunet is None else file_digest(yunet),
                init=init.value,
                normalizer=normalizer.value,
                progress=lambda: progress.advance(task),
            )
        return replace(found, threshold=threshold)

    other: results.Evaluation | None = None
    if compare is not None:  # first: a mistake in its name should not cost the other's minutes
        rival = options.open_landmarker(compare, passes, flip_average, threads, yunet)
        other = measure(rival, options.weights_digest(rival, compare), "evaluating the other")
    result = measure(landmarker, digest, "evaluating")
    comparison = None if other is None else results.compare_evaluations(other, result)
    if json_file is not None:
        settings: dict[str, object] = {"passes": passes, "flip_average": flip_average}
        if other is not None and comparison is not None:
            settings["compared_with"] = {"weights": other.weights, **other.summary(), **comparison.to_dict()}
        write_atomically(json_file, (json.dumps(result.to_dict(settings), indent=1) + "\n").encode())
    if ced is not None:
        with options.needs_extra("eval", "--ced"):
            from srn.evaluation.report.plots import plot_ced
        curves = {name: result.subset(name).errors for name in result.subsets}
        if len(curves) > 1:
            curves["all"] = result.errors
        plot_ced(curves, ced, threshold=threshold, label=str(normalizer.value))
    if reliability is not None:
        with options.needs_extra("eval", "--reliability"):
            from srn.evaluation.report.plots import plot_reliability
        points = result.confidence_points()
        if points is None:
            raise InputError.at("--reliability", "weights that say how sure they are", result.weights)
        plot_reliability(*points, reliability, label=", ".join(result.subsets))
    read = {one.path for one in result.results}
    readable = [sample for sample in samples if sample.path in read]
    if box_curve is not None:
        _measure_boxes(landmarker, readable, str(normalizer.value), box_curve)
    if report_folder is not None:
        shown: dict[str, object] = {
            "Looks at each face": passes, "Averaged with the mirrored picture": "yes" if flip_average else "no",
        }  # fmt: skip
        problems = [*report.problems, *result.problems]
        page = _write_report(landmarker, readable, result, digest, shown, problems, report_folder)
        options.console.print(f"report: {page}", highlight=False, markup=False, soft_wrap=True)
    table = Table(title=f"{result.weights}, {init} boxes, by {normalizer}")
    for column in ("set", "faces", "missed", "NME %", "mean shape %", "failures %", "AUC"):
        table.add_column(column, justify="left" if column == "set" else "right")
    rows = [(name, result.subset(name)) for name in result.subsets]
    for name, part in [*rows, ("all", result)] if len(rows) > 1 else rows:
        s = part.summary()
        numbers = (part.nme * 100, part.mean_shape_nme * 100, s["failure_rate"] * 100)
        table.add_row(name, str(s["n"]), str(s["missed"]), *(f"{v:.2f}" for v in numbers), f"{s['auc']:.3f}")
    options.console.print(table)
    if other is not None and comparison is not None:
        _print_comparison(other, comparison)
    visibility = result.visibility_summary()
    if visibility is not None:
        options.console.print(
            f"hidden points ({visibility['occluded_share']:.0%} of {visibility['points']}): "
            f"recall at 80 % precision {visibility['recall_at_80_precision']:.1%}, "
            f"average precision {visibility['average_precision']:.3f}; "
            f"NME of seen points {visibility['nme_visible']:.2%}, of hidden ones {visibility['nme_occluded']:.2%}",
            highlight=False,
        )
    confidence = result.confidence_summary()
    if confidence is not None:
        error = confidence["expected_calibration_error"]
        options.console.print(f"confidence: expected calibration error {error:.3f}", highlight=False)
    problems = [*report.problems, *result.problems]
    for line in problems:
        options.messages.print(f"failed: {line}", highlight=False, markup=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


def _print_comparison(other: results.Evaluation, pair: PairedComparison) -> None:
    gap = pair.difference
    options.console.print(
        f"against {other.weights}, NME {other.nme:.2%}: {gap.value * 100:+.2f} points on {pair.both_found} "
        f"faces (95 % interval {gap.low * 100:+.2f} to {gap.high * 100:+.2f}, sign-flip p {pair.p_text}); "
        f"better on {pair.share_better:.0%} of the faces, worse on {pair.share_worse:.0%}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip


def _evaluate_videos(
    folders: list[Path],
    normalizer: str,
    weights: Path | None,
    passes: int,
    flip: bool,
    threads: int | None,
    yunet: Path | None,
    json_file: Path | None,
) -> None:
    """`--video`: clips one after the other, by the picture model frame by frame and by the tracker."""
    landmarker = options.open_landmarker(weights, passes, flip, threads, yunet)
    clips: list[Clip] = []
    problems: list[str] = []
    for folder in folders:
        dataset = read_dataset(folder, split="test", scheme=landmarker.localizer.scheme)
        problems += dataset.report.problems
        if not dataset.clips:
            raise DataError.at(folder, "videos with points in every frame (300VW's layout)", f"{dataset.kind} pictures")
        clips += dataset.clips
    followers: list[Follower] = [
        FrameByFrame(landmarker, "frame by frame, true boxes"),
        FrameByFrame(landmarker, "frame by frame, face finder", "finder"),
        TrackerFollower(landmarker.tracker, "tracker"),
        TrackerFollower(lambda: landmarker.tracker(smooth=False), "tracker, not smoothed"),
    ]
    with options.progress_bar("clips") as progress:
        task = progress.add_task("evaluating", total=len(clips))
        results = evaluate_followers(followers, clips, normalizer=normalizer, progress=lambda: progress.advance(task))
    if json_file is not None:
        values = {"weights": landmarker.localizer.name, "passes": passes, "flip_average": flip,
                  "methods": [result.to_dict() for result in results]}  # fmt: skip
        write_atomically(json_file, (json.dumps(values, indent=1) + "\n").encode())
    frames = sum(len(clip) for clip in clips)
    table = Table(title=f"{landmarker.localizer.name}, {options.counted(len(clips), 'video')}, {frames} frames")
    for title in ("method", "missed", "lost", "NME %", "jitter %", "flicker %", "ms a frame"):
        table.add_column(title, justify="left" if title == "method" else "right")
    for result in results:
        whole = result.summary()
        percent = ["–" if whole[k] is None else f"{whole[k] * 100:.2f}" for k in ("nme", "jitter", "flicker")]
        table.add_row(result.method, str(whole["missed"]), str(whole["lost"]), *percent, f"{whole['ms']:.1f}")
    options.console.print(table)
    for line in problems:
        options.messages.print(f"failed: {line}", highlight=False, markup=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)


BOX_CURVE_FACES = 60
"""Faces that a report's box curve is measured on, spread evenly: each is localized in 17 boxes."""


def _write_report(
    landmarker: FaceLandmarker,
    samples: list[Sample],
    result: results.Evaluation,
    digest: str | None,
    settings: dict[str, object],
    problems: list[str],
    folder: Path,
) -> Path:
    """The HTML page; measures what only it shows (boxes, speed)."""
    step = max(len(samples) / BOX_CURVE_FACES, 1.0)
    some = [samples[int(index * step)] for index in range(min(len(samples), BOX_CURVE_FACES))]
    curve = _box_curve(landmarker, some, result.normalizer)
    report = Report(
        evaluation=result,
        command=shlex.join(["srn", *sys.argv[1:]]),
        date=datetime.now().astimezone(),
        weights_digest=digest,
        settings=settings,
        speed=measure_speed(landmarker, (samples[0].load(), samples[0].box)),
        box_curve=curve,
        box_curve_faces=len(some),
        sources={sample.path: sample.source for sample in samples if sample.source is not None},
        problems=problems,
    )
    return write_report(report, folder)


def _box_curve(landmarker: FaceLandmarker, samples: list[Sample], normalizer: str) -> BoxCurve:
    with options.progress_bar("faces") as progress:
        task = progress.add_task("shifting boxes", total=len(samples))
        return measure_box_curve(landmarker, samples, normalizer=normalizer, progress=lambda: progress.advance(task))


def _measure_boxes(landmarker: FaceLandmarker, samples: list[Sample], normalizer: str, path: Path) -> None:
    curve = _box_curve(landmarker, samples, normalizer)
    if path.suffix == ".json":
        write_atomically(path, (json.dumps(curve.to_dict(), indent=1) + "\n").encode())
        return
    with options.needs_extra("eval", "--box-curve"):
        from srn.evaluation.report.plots import plot_box_curve
    plot_box_curve({f"{len(samples)} faces": curve}, path)

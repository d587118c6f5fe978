"""`srn evaluate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from srn.cli import options
from srn.cli.evaluation_tables import (
    counted_frames,
    print_errors,
    print_flags,
    print_pair,
    print_stress,
    print_videos,
)
from srn.cli.scoring import check_reports, score_pictures, score_videos
from srn.datasets.catalogue import open_faces
from srn.datasets.sample import Sample
from srn.evaluation.cache import cached_evaluate, file_digest, weights_digest
from srn.evaluation.followers import standard_followers
from srn.evaluation.outputs import Measured, with_stress, write_outputs
from srn.evaluation.report.chart_file import check_chart
from srn.evaluation.results import FAILURE_THRESHOLD, Evaluation, Initialization
from srn.evaluation.video import evaluate_followers, read_clips, write_video_evaluations
from srn.files import BOX_CURVE, CHART, NUMBERS_JSON
from srn.inference import views
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
Theirs = Annotated[
    list[Path] | None,
    typer.Option(
        "--predictions",
        help="Points that another tool found, to measure instead: JSON (of srn, COCO, or points by picture),"
        " JSON Lines, CSV, Parquet, or a folder of .pts files. Repeatable: side by side.",
    ),
]
Accuracy = Annotated[
    views.Accuracy,
    typer.Option(
        "--accuracy", help="As for `srn detect`, which is `balanced` by default; here the best that the weights can do."
    ),
]
Flip = Annotated[
    bool,
    typer.Option(
        "--flip-average/--no-flip-average",
        help="Average with the mirrored picture, at twice the cost; `srn detect` does not by default.",
    ),
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
    typer.Option(help="Chart of the cumulative error distributions: `.svg`; `.png` and `.pdf` need srn[eval]."),
    CHART,
]
ReliabilityFile = Annotated[
    Path | None,
    typer.Option(help="Chart of the confidence's calibration: `.svg`; `.png` and `.pdf` need srn[eval]."),
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
    context: typer.Context,
    folders: Folders,
    init: Boxes = "gt-box",
    normalizer: ErrorUnit = "interocular",
    threshold: Threshold = FAILURE_THRESHOLD,
    predictions: Theirs = None,
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
    fresh: options.Fresh = False,
    weights: options.Weights = None,
    accuracy: Accuracy = "best",
    flip_average: Flip = True,
    yunet: options.YuNet = None,
    engine: options.Engine = options.ENGINE,
) -> None:
    """Measure the landmarks of annotated faces.

    Errors are normalized mean errors (NME); failure rate and area under the curve (AUC) are at `--threshold`. A face
    that the face finder misses is a failure, and is left out of the mean. Unreadable pictures are named and left out of
    all numbers (exit code 1). Results are kept by the hash of weights, faces, options and code, and are said to be
    kept.

    `--init finder --accuracy balanced --no-flip-average` measures what `srn detect` does by default. Another tool's
    `--predictions` are matched to the faces as docs/guide/formats.md says.

    Example: `srn evaluate 300W/helen/testset 300W/lfpw/testset --json common.json --report report`

    Example: `srn evaluate 300W/ibug --weights mine.onnx --compare theirs.onnx`

    Example: `srn evaluate 300W/ibug --predictions theirs.json --predictions others.csv --report report`
    """
    opened = partial(options.open_landmarker, accuracy=accuracy, flip=flip_average, engine=engine, yunet=yunet)
    _refuse_idle(context.params)
    if video:
        _evaluate_videos(folders, opened, weights, predictions or [], normalizer, json_file)
        return
    _check_charts(ced, reliability, box_curve)
    measure = partial(
        cached_evaluate, cache=options.open_cache(cache_folder, no_cache, fresh), init=init, normalizer=normalizer,
        threshold=threshold, finder="built-in" if yunet is None else file_digest(yunet), tell=options.note,
    )  # fmt: skip
    if predictions:
        beside = None if compare is None else partial(_measured_by, opened, compare, measure)
        files = {"numbers": json_file, "ced": ced, "report": report_folder}
        score_pictures(folders, predictions, files, beside, normalizer=normalizer, threshold=threshold)
        return
    files = {"numbers": json_file, "ced": ced, "reliability": reliability, "boxes": box_curve, "report": report_folder}
    _evaluate_pictures(folders, opened, measure, weights, compare, stress, files)


def _refuse_idle(given: Mapping[str, Any]) -> None:
    """Raise `InputError` where options of the command have no effect beside others."""
    boxed = {"--reliability": given["reliability"], "--box-curve": given["box_curve"], "--stress": given["stress"]}
    boxes = {"--init": given["init"] != "gt-box"}
    seen = boxes | {"--accuracy": given["accuracy"] != "best", "--no-flip-average": not given["flip_average"]}
    if given["predictions"]:
        options.refuse(boxed | {"--weights": given["weights"], "--yunet": given["yunet"]}, "--predictions")
        if given["compare"] is None:
            options.refuse(seen, "--predictions, which needs --compare for it")
    if given["video"]:
        drawn = {"--compare": given["compare"], "--ced": given["ced"], "--report": given["report_folder"]}
        kept = {"--threshold": given["threshold"] != FAILURE_THRESHOLD, "--cache": given["cache_folder"]}
        options.refuse(boxed | drawn | kept | boxes, "--video")


Opened = Callable[[Path | None], FaceLandmarker]
Measure = Callable[..., tuple[Evaluation, bool]]


def _measured_by(opened: Opened, weights: Path, measure: Measure, samples: Sequence[Sample]) -> Evaluation:
    """Measure weights beside the predictions of other tools."""
    landmarker = opened(weights)
    with options.progress("faces") as begin:
        step = begin("evaluating", len(samples))
        return measure(landmarker, samples, digest=weights_digest(landmarker, weights), progress=step)[0]


def _evaluate_pictures(
    folders: list[Path], opened: Opened, measure: Measure, weights: Path | None, compare: Path | None, stress: bool,
    files: dict[str, Path | None],
) -> None:  # fmt: skip
    if files["report"] is not None:
        check_reports(files["report"])
    landmarker = opened(weights)
    faces = open_faces(folders, split="test", scheme=landmarker.localizer.scheme)
    with options.progress("faces") as steps:
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
        page = write_outputs(measured, steps, **files)
    _print(measured, page)
    options.exit_if_failed(problems)


def _check_charts(ced: Path | None, reliability: Path | None, box_curve: Path | None) -> None:
    """Raise an error before any work if a chart cannot be written in its format."""
    for path in (ced, reliability, None if box_curve is None or box_curve.suffix == ".json" else box_curve):
        if path is not None:
            check_chart(path)


def _print(measured: Measured, page: Path | None) -> None:
    result = measured.evaluation
    if page is not None:
        options.say(f"report: {page}")
    boxes, evaluations = f"{result.init} boxes", measured.evaluations()
    print_errors(boxes if len(evaluations) > 1 else f"{result.weights}, {boxes}", evaluations)
    if measured.other is not None:
        print_pair(measured.other, result)
    print_flags(result)
    if measured.stress is not None:
        print_stress(measured.stress)


def _evaluate_videos(
    folders: list[Path], opened: Opened, weights: Path | None, predictions: list[Path], normalizer: str,
    json_file: Path | None,
) -> None:  # fmt: skip
    if predictions:
        score_videos(folders, predictions, normalizer=normalizer, numbers=json_file)
        return
    landmarker = opened(weights)
    clips, problems = read_clips(folders, landmarker.localizer.scheme)
    with options.progress("clips") as begin:
        step = begin("evaluating", len(clips))
        results = evaluate_followers(
            standard_followers(landmarker), clips, normalizer=normalizer, progress=step, problems=problems
        )
    if json_file is not None:
        write_video_evaluations(json_file, results, landmarker)
    print_videos(f"{landmarker.localizer.name}, {counted_frames([clip.frames for clip in results[0].clips])}", results)
    options.exit_if_failed(problems)

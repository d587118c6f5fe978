"""`srn evaluate`."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from srn.cli import options
from srn.data.files import write_atomically
from srn.data.sample import Sample
from srn.errors import InputError
from srn.evaluation import protocol
from srn.evaluation.box_curve import box_curve as measure_box_curve
from srn.face.metrics import NORMALIZERS
from srn.inference.landmarker import FaceLandmarker


class Init(StrEnum):
    """Where the face box comes from."""

    GT_BOX = "gt-box"
    FINDER = "finder"
    BBS = "bbs"


Normalizer = StrEnum("Normalizer", {name.upper().replace("-", "_"): name for name in NORMALIZERS})  # type: ignore[misc]


def evaluate(
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of pictures with .pts files; 300W's root stands for its test sets.")
    ],
    init: Annotated[
        Init, typer.Option(help="Face box: the annotation's, the face finder's, or the dataset's `bbs`.")
    ] = Init.GT_BOX,
    normalizer: Annotated[Normalizer, typer.Option(help="What errors are divided by.")] = Normalizer.INTEROCULAR,  # type: ignore[attr-defined]
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

    Example: `srn evaluate 300W/helen/testset 300W/lfpw/testset --json common.json`
    """
    landmarker = options.open_landmarker(weights, passes, flip_average, threads, yunet)
    samples, report = protocol.read_test_faces(folders, landmarker.localizer.scheme)
    with options.progress_bar("faces") as progress:
        task = progress.add_task("evaluating", total=len(samples))
        result = protocol.evaluate(
            landmarker,
            samples,
            init=init.value,
            normalizer=normalizer.value,
            progress=lambda: progress.advance(task),
        )
    if json_file is not None:
        settings = {"passes": passes, "flip_average": flip_average}
        write_atomically(json_file, (json.dumps(result.to_dict(settings), indent=1) + "\n").encode())
    if ced is not None:
        with options.needs_extra("eval", "--ced"):
            from srn.evaluation.plots import plot_ced
        curves = {name: result.subset(name).errors for name in result.subsets}
        if len(curves) > 1:
            curves["all"] = result.errors
        plot_ced(curves, ced, threshold=protocol.FAILURE_THRESHOLD, label=str(normalizer.value))
    if reliability is not None:
        with options.needs_extra("eval", "--reliability"):
            from srn.evaluation.plots import plot_reliability
        points = result.confidence_points()
        if points is None:
            raise InputError.at("--reliability", "weights that say how sure they are", result.weights)
        plot_reliability(*points, reliability, label=", ".join(result.subsets))
    if box_curve is not None:
        read = {one.path for one in result.results}
        _measure_boxes(landmarker, [s for s in samples if s.path in read], str(normalizer.value), box_curve)
    table = Table(title=f"{result.weights}, {init} boxes, by {normalizer}")
    for column in ("set", "faces", "missed", "NME %", "mean shape %", "failures %", "AUC"):
        table.add_column(column, justify="left" if column == "set" else "right")
    rows = [(name, result.subset(name)) for name in result.subsets]
    for name, part in [*rows, ("all", result)] if len(rows) > 1 else rows:
        s = part.summary()
        numbers = (part.nme * 100, part.mean_shape_nme * 100, s["failure_rate"] * 100)
        table.add_row(name, str(s["n"]), str(s["missed"]), *(f"{v:.2f}" for v in numbers), f"{s['auc']:.3f}")
    options.console.print(table)
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


def _measure_boxes(landmarker: FaceLandmarker, samples: list[Sample], normalizer: str, path: Path) -> None:
    with options.progress_bar("faces") as progress:
        task = progress.add_task("shifting boxes", total=len(samples))
        curve = measure_box_curve(landmarker, samples, normalizer=normalizer, progress=lambda: progress.advance(task))
    if path.suffix == ".json":
        write_atomically(path, (json.dumps(curve.to_dict(), indent=1) + "\n").encode())
        return
    with options.needs_extra("eval", "--box-curve"):
        from srn.evaluation.plots import plot_box_curve
    plot_box_curve({f"{len(samples)} faces": curve}, path)

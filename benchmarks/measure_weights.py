"""Measure weights on every set of the model card; write `docs/results/weights.json`, `weights.md` and charts.

    python benchmarks/measure_weights.py DATA [--weights FILE] [--threads 1]

DATA holds `300W`, `masked_300W` and `occluders`. The masked version of 300W's test faces (kind `mixed`, seed 1) is made
in a temporary folder. `srn evaluate` gives each number alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.pack import pack_faces
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import CHALLENGING_SUBSETS, COMMON_SUBSETS
from srn.evaluation.box_curve import BoxCurve, box_curve
from srn.evaluation.protocol import evaluate
from srn.evaluation.report.chart_file import write_charts
from srn.evaluation.report.evaluation_charts import box_charts, ced_chart, reliability_chart
from srn.evaluation.results import ERROR_BINS, Evaluation
from srn.synthesis.augment import occlude
from srn.synthesis.config import NO_AUGMENTATION
from srn.synthesis.masked import mask_samples
from srn.synthesis.occluders import visible_landmarks
from srn.synthesis.wardrobe import MaskWardrobe

COLUMNS = ("set", "faces", "missed", "NME %", "mean shape %", "failures (> 8 %) %", "AUC (8 %)")
NOTES = (
    "accuracy `best` and mirrored averaging, inter-ocular, unless the row says otherwise",
    "missed faces are left out of the means and count as failures",
)
VISIBILITY_NOTE = (
    "Both sets are synthetic. In brackets: a prior that sees no picture, the share of the other faces in which the\n"
    "landmark is hidden. Masks hide the same landmarks on every face, so that the prior alone nearly solves that set."
)
CONFIDENCE_NOTE = (
    "Expected calibration error, and for the faces by their error: mean confidence, observed share of points within\n"
    "3 % of the face's size, and number of faces. The error of a face is not known in use."
)
CLEAN, MASKED, AUTHORS, HALF = (
    "300W, ground-truth box",
    "Masked 300W (ours), ground-truth box",
    "Masked 300W (authors' 30), ground-truth box",
    "300W, every other face behind a drawn occluder, ground-truth box",
)
BOX_CURVE_STEP = 5
"""The box curve is measured on every so-manieth test face."""


def parts(name: str, whole: Evaluation) -> dict[str, Evaluation]:
    """Split 300W into Common, Challenging and Full, by name; another set stays whole."""
    sets = {"Common": COMMON_SUBSETS, "Challenging": CHALLENGING_SUBSETS}
    made = {f"{name}: {key}": whole.subset(*subsets) for key, subsets in sets.items()}
    return {**made, f"{name}: Full": whole} if all(some.results for some in made.values()) else {name: whole}


def row(name: str, summary: Mapping[str, Any]) -> list[str]:
    """Format one line of the table."""
    shares = [summary[key] for key in ("nme", "mean_shape_nme", "failure_rate")]
    percent = ["–" if share is None else f"{share * 100:.2f}" for share in shares]
    return [name, str(summary["n"]), str(summary["missed"]), *percent, f"{summary['auc']:.3f}"]


def masked_version(samples: Sequence[Sample], data: Path, folder: str) -> list[Sample]:
    """Make the masked version of 300W's test faces in a folder."""
    mask_samples(samples, folder, kind="mixed", wardrobe=MaskWardrobe.load(data / "occluders" / "masks"), seed=1)
    return list(open_faces(folder, split="test").samples)


def half_occluded(samples: Sequence[Sample]) -> list[Sample]:
    """Crop the faces and paint an occluder, no mask, over every other one: (240, 240) crops with flags."""
    pack, _ = pack_faces(samples)
    config = dataclasses.replace(NO_AUGMENTATION, occluders=1.0)
    made = []
    for index, sample in enumerate(pack.samples(Path("half-occluded"))):
        rng = np.random.default_rng([1, index])
        image = sample.load().copy()
        covered = np.zeros(image.shape[:2], bool)
        if index % 2:
            covered = occlude(image, sample.landmarks, None, pack.spec.face_size, sample.scheme, config, rng)
        hidden = ~visible_landmarks(covered, sample.landmarks)
        made.append(dataclasses.replace(sample, occluded=hidden, source=partial(np.asarray, image)))
    return made


def evaluations(best: FaceLandmarker, data: Path) -> dict[str, Evaluation]:
    """Measure every set, by its name in the table."""
    localizer = best.localizer
    fast, mirrored = (FaceLandmarker(localizer=localizer, accuracy="fast", flip_average=flip) for flip in (False, True))
    default = FaceLandmarker(localizer=localizer)
    clean = open_faces(data / "300W", split="test").samples
    authors = open_faces(data / "masked_300W" / "ibug", split="test").samples
    with tempfile.TemporaryDirectory() as folder:
        masked = masked_version(clean, data, folder)
        whole = evaluate(best, clean)
        return {
            CLEAN: whole,
            "300W, inter-pupil": whole.by("interpupil"),
            "300W, bbs box, one view, mirrored (the paper's protocol)": evaluate(mirrored, clean, init="bbs"),
            "300W, one view, not mirrored": evaluate(fast, clean),
            "300W, bbs box": evaluate(best, clean, init="bbs"),
            "300W, face finder": evaluate(best, clean, init="finder"),
            "300W, face finder, as `srn detect`": evaluate(default, clean, init="finder"),
            MASKED: evaluate(best, masked),
            "Masked 300W (ours), face finder": evaluate(best, masked, init="finder"),
            "Masked 300W (ours), face finder, as `srn detect`": evaluate(default, masked, init="finder"),
            AUTHORS: evaluate(best, authors),
            "Masked 300W (authors' 30), one view, not mirrored": evaluate(fast, authors),
            "Masked 300W (authors' 30), face finder": evaluate(best, authors, init="finder"),
            HALF: evaluate(best, half_occluded(clean)),
        }


def visibility_table(measured: Mapping[str, Evaluation]) -> tuple[dict[str, Any], str]:
    """Summarize the flag "occluded" on the sets that have it, beside a prior that sees no picture."""
    found = {name: summary for name, one in measured.items() if (summary := one.visibility_summary()) is not None}
    flags = ("recall_at_80_precision", "average_precision", "roc_auc")
    rows = [
        [
            name,
            f"{one['occluded_share']:.0%} of {one['points']:,}",
            *(f"{one[k]:.3f} ({one['prior'][k]:.3f})" for k in flags),
        ]
        for name, one in found.items()
    ]
    columns = ("set", "hidden points", "recall at 80 % precision (prior)", "average precision (prior)", "AUC (prior)")
    return found, markdown_table(columns, rows)


def confidence_table(measured: Mapping[str, Evaluation]) -> tuple[dict[str, Any], str]:
    """Summarize the calibration of the confidence by set and by the error of the face."""
    found = {name: summary for name, one in measured.items() if (summary := one.confidence_summary()) is not None}
    bounds = (0.0, *ERROR_BINS)
    rows = []
    for name, one in found.items():
        bins = {b["error_from"]: f"{b['confidence']:.2f}, {b['observed']:.2f} ({b['faces']})" for b in one["by_error"]}
        rows.append([name, f"{one['expected_calibration_error']:.3f}", *(bins.get(bound, "–") for bound in bounds)])
    return found, markdown_table(("set", "calibration error", *(f"NME from {b:.0%}" for b in bounds)), rows)


def draw(folder: Path, measured: Mapping[str, Evaluation], curves: Mapping[str, BoxCurve]) -> None:
    """Draw the charts of the model card."""
    curves_of = {name.rpartition(": ")[2]: one for name, one in parts(CLEAN, measured[CLEAN]).items()}
    write_charts(folder / "ced.png", ced_chart(curves_of | {"Masked Full (ours)": measured[MASKED]}))
    for name, result in (("clean", measured[CLEAN]), ("masked", measured[MASKED])):
        chart = reliability_chart(result, name)
        if chart is not None:
            write_charts(folder / f"reliability_{name}.png", chart)
    write_charts(folder / "box_curve.png", *box_charts(curves))


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder that holds 300W/, masked_300W/ and occluders/")
    made.add_argument("--weights", type=Path, help="weights to measure (default: the shipped ones)")
    return made


def run(options: argparse.Namespace) -> None:
    """Measure, and write the page."""
    best = FaceLandmarker(options.weights, accuracy="best", flip_average=True, threads=options.threads)
    measured = evaluations(best, options.data)
    table = {key: one.summary() for name, whole in measured.items() for key, one in parts(name, whole).items()}
    clean = open_faces(options.data / "300W", split="test").samples
    models = {"best": best, "fast": FaceLandmarker(localizer=best.localizer, accuracy="fast")}
    curves = {name: box_curve(model, clean[::BOX_CURVE_STEP]) for name, model in models.items()}
    draw(options.out, measured, curves)
    visibility, visibility_rows = visibility_table({name: measured[name] for name in (MASKED, HALF)})
    sets = {key: one for name in (CLEAN, MASKED, AUTHORS, HALF) for key, one in parts(name, measured[name]).items()}
    confidence, confidence_rows = confidence_table(sets)
    content = {
        **provenance(options.threads),
        "weights": best.localizer.name,
        "table": table,
        "visibility": visibility,
        "confidence": confidence,
        "box_curve": {name: curve.to_dict() for name, curve in curves.items()},
    }
    page = markdown_page(
        "The shipped weights, measured", content, NOTES,
        markdown_table(COLUMNS, [row(name, summary) for name, summary in table.items()]),
        "## The flag \"hidden\"", VISIBILITY_NOTE, visibility_rows,
        "## The confidence", CONFIDENCE_NOTE, confidence_rows,
    )  # fmt: skip
    write_results(options.out, "weights", content, page)


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

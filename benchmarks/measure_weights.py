"""Measure weights on every set of the model card; write `docs/results/weights.json`, `weights.md` and charts.

    python benchmarks/measure_weights.py DATA [--weights FILE] [--threads 1]

DATA holds `300W`, `masked_300W` and `occluders`. The masked version of 300W's test faces (kind `mixed`, seed 1) is made
in a temporary folder. `srn evaluate` gives each number alone.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from results import argument_parser, markdown_page, markdown_table, provenance, write_results
from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import CHALLENGING_SUBSETS, COMMON_SUBSETS
from srn.evaluation.box_curve import BoxCurve, box_curve
from srn.evaluation.protocol import evaluate
from srn.evaluation.report.chart_file import write_charts
from srn.evaluation.report.evaluation_charts import box_charts, ced_chart, reliability_chart
from srn.evaluation.results import Evaluation
from srn.synthesis.masked import mask_samples
from srn.synthesis.wardrobe import MaskWardrobe

COLUMNS = ("set", "faces", "missed", "NME %", "mean shape %", "failures (> 8 %) %", "AUC (8 %)")
NOTES = (
    "accuracy `best` and mirrored averaging, inter-ocular, unless the row says otherwise",
    "missed faces are left out of the means and count as failures",
)
BOX_CURVE_STEP = 5
"""The box curve is measured on every so-manieth test face."""


def summaries(name: str, whole: Evaluation) -> dict[str, dict[str, Any]]:
    """Summarize Common, Challenging and Full of 300W; only the whole of another set."""
    sets = {"Common": COMMON_SUBSETS, "Challenging": CHALLENGING_SUBSETS}
    parts = {f"{name} {key}": whole.subset(*subsets) for key, subsets in sets.items()}
    if not all(some.results for some in parts.values()):
        return {name: whole.summary()}
    return {key: some.summary() for key, some in parts.items()} | {f"{name} Full": whole.summary()}


def row(name: str, summary: Mapping[str, Any]) -> list[str]:
    """Format one line of the table."""
    shares = [summary[key] for key in ("nme", "mean_shape_nme", "failure_rate")]
    percent = ["–" if share is None else f"{share * 100:.2f}" for share in shares]
    return [name, str(summary["n"]), str(summary["missed"]), *percent, f"{summary['auc']:.3f}"]


def masked_version(samples: Sequence[Sample], data: Path, folder: str) -> list[Sample]:
    """Make the masked version of 300W's test faces in a folder."""
    mask_samples(samples, folder, kind="mixed", wardrobe=MaskWardrobe.load(data / "occluders" / "masks"), seed=1)
    return list(open_faces(folder, split="test").samples)


def speed(landmarker: FaceLandmarker, sample: Sample, repeats: int = 30) -> dict[str, float]:
    """Measure median milliseconds of a face alone and in a batch of sixteen, in one view."""
    image = sample.load()
    single = FaceLandmarker(localizer=landmarker.localizer, accuracy="fast")
    result = {}
    for count in (1, 16):
        times = []
        for _ in range(repeats):
            begin = time.perf_counter()
            single.detect(image, [sample.box] * count)
            times.append((time.perf_counter() - begin) / count * 1e3)
        result[f"ms_a_face_in_batches_of_{count}"] = round(float(np.median(times[repeats // 6 :])), 2)
    return result


def measure(best: FaceLandmarker, fast: FaceLandmarker, data: Path) -> tuple[dict[str, Any], Evaluation, Evaluation]:
    """Evaluate every set; returns the rows of the table and the results on clean and on masked faces."""
    clean = open_faces(data / "300W", split="test").samples
    authors = open_faces(data / "masked_300W" / "ibug", split="test").samples
    table: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        masked = masked_version(clean, data, folder)
        whole = evaluate(best, clean)
        table |= summaries("300W, ground-truth box:", whole)
        table |= summaries("300W, inter-pupil:", whole.by("interpupil"))
        table |= summaries("300W, one view, not mirrored:", evaluate(fast, clean))
        table |= summaries("300W, bbs box:", evaluate(best, clean, init="bbs"))
        table |= summaries("300W, face finder:", evaluate(best, clean, init="finder"))
        hidden = evaluate(best, masked)
        table |= summaries("Masked 300W (ours), ground-truth box:", hidden)
        table |= summaries("Masked 300W (ours), face finder:", evaluate(best, masked, init="finder"))
        table |= summaries("Masked 300W (authors' 30), ground-truth box", evaluate(best, authors))
        table |= summaries("Masked 300W (authors' 30), one view, not mirrored", evaluate(fast, authors))
        table |= summaries("Masked 300W (authors' 30), face finder", evaluate(best, authors, init="finder"))
    return table, whole, hidden


def draw(folder: Path, whole: Evaluation, hidden: Evaluation, curves: Mapping[str, BoxCurve]) -> None:
    """Draw the charts of the model card."""
    parts = {"Common": whole.subset(*COMMON_SUBSETS), "Challenging": whole.subset(*CHALLENGING_SUBSETS)}
    write_charts(folder / "ced.png", ced_chart(parts | {"Full": whole, "Masked Full (ours)": hidden}))
    for name, result in (("clean", whole), ("masked", hidden)):
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark."""
    options = parser().parse_args(arguments)
    best = FaceLandmarker(options.weights, accuracy="best", flip_average=True, threads=options.threads)
    fast = FaceLandmarker(localizer=best.localizer, accuracy="fast")
    table, whole, hidden = measure(best, fast, options.data)
    clean = open_faces(options.data / "300W", split="test").samples
    models = {"best": best, "fast": fast}
    curves = {name: box_curve(model, clean[::BOX_CURVE_STEP]) for name, model in models.items()}
    draw(options.out, whole, hidden, curves)
    content = {
        **provenance(options.threads),
        "weights": best.localizer.name,
        "table": table,
        "visibility, Masked 300W (ours)": hidden.visibility_summary(),
        "confidence, 300W": whole.confidence_summary(),
        "confidence, Masked 300W (ours)": hidden.confidence_summary(),
        "box_curve": {name: curve.to_dict() for name, curve in curves.items()},
        "speed": speed(best, clean[0]),
    }
    rows = markdown_table(COLUMNS, [row(name, summary) for name, summary in table.items()])
    page = markdown_page("The shipped weights, measured", content, NOTES, rows)
    write_results(options.out, "weights", content, page)
    print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compare the landmarks of all runtimes and precisions on the same faces; write `docs/results/precision.md` and JSON.

    python benchmarks/measure_precision.py DATA [--faces 300] [--split train] [--threads 1]

DATA holds `300W`. The faces are spread evenly over a split of 300W, and viewed once, in their ground-truth box; a
second time with a drawn mask (seed 1). What is not installed, or the processor does not have, is left out with a line.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.sample import Sample
from srn.errors import SrnError
from srn.evaluation.protocol import evaluate
from srn.evaluation.results import Evaluation, compare_evaluations
from srn.evaluation.speed_steps import ARITHMETIC
from srn.inference.runtime import open_localizer
from srn.synthesis.masked import mask_samples

COLUMNS = ("faces", "runtime, precision", "NME %", "difference, points", "95 % interval", "relative %", "largest, px",
           "mean shape %")  # fmt: skip
NOTES = (
    "inter-ocular NME of one view in the ground-truth box, not mirrored; difference to the first row, face by face",
    "largest: the farthest that any landmark moved, in pixels of the crop (160 pixels a side)",
    "mean shape: the mean face in the same box, the trivial answer",
)


def farthest(one: Evaluation, other: Evaluation, samples: Sequence[Sample], face_size: float) -> float:
    """Return the largest distance between landmarks of two evaluations, in crop pixels."""
    scale = [face_size / sample.box.size for sample in samples]
    pairs = zip(one.results, other.results, scale, strict=True)
    apart = [
        float(np.linalg.norm(a.landmarks - b.landmarks, axis=1).max() * size)
        for a, b, size in pairs
        if a.landmarks is not None and b.landmarks is not None
    ]
    return max(apart)


def measure(samples: Sequence[Sample], threads: int, weights: Path | None) -> tuple[list[dict[str, Any]], list[str]]:
    """Evaluate every arithmetic on the same faces; returns a row for each, and lines about those left out."""
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    first: Evaluation | None = None
    for runtime, precision in ARITHMETIC:
        try:
            localizer = open_localizer(weights, threads=threads, runtime=runtime, precision=precision)
        except SrnError as error:
            left_out.append(re.sub(r"\S*/", "", f"{runtime}, {precision}: {error}"))  # files by their names alone
            continue
        found = evaluate(FaceLandmarker(localizer=localizer, accuracy="fast"), samples)
        first = first or found
        pair = compare_evaluations(first, found)
        rows.append(
            {
                "arithmetic": f"{runtime}, {precision}",
                "nme": found.nme,
                "mean_shape_nme": found.summary()["mean_shape_nme"],
                "difference": pair.difference.value,
                "interval": pair.difference.to_list(),
                "relative": pair.difference.value / first.nme,
                "farthest_px": farthest(first, found, samples, localizer.crop_spec.face_size),
            }
        )
    return rows, left_out


def row(name: str, values: Mapping[str, Any]) -> list[str]:
    """Format one line of the table."""
    low, high = (f"{bound * 100:+.4f}" for bound in values["interval"])
    return [
        name, values["arithmetic"], f"{values['nme'] * 100:.3f}", f"{values['difference'] * 100:+.4f}",
        f"{low} to {high}", f"{values['relative'] * 100:+.2f}", f"{values['farthest_px']:.2g}",
        f"{values['mean_shape_nme'] * 100:.2f}",
    ]  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder that holds 300W/")
    made.add_argument("--faces", type=int, default=300, help="number of faces (default: %(default)s)")
    made.add_argument("--split", choices=("train", "test"), default="train", help="default: %(default)s")
    made.add_argument("--weights", type=Path, help="weights to measure (default: the shipped ones)")
    return made


def run(options: argparse.Namespace) -> None:
    """Measure, write and print the page."""
    samples = open_faces(options.data / "300W", split=options.split).limited(options.faces).samples
    with tempfile.TemporaryDirectory() as folder:
        mask_samples(samples, folder, seed=1)
        masked = list(open_faces([Path(folder) / subset for subset in sorted({one.subset for one in samples})]).samples)
        sets = {f"{len(samples)} clean": samples, f"{len(masked)} masked": masked}
        found = {name: measure(faces, options.threads, options.weights) for name, faces in sets.items()}
    left_out = sorted({line for _, lines in found.values() for line in lines})
    rows = [row(name, values) for name, (table, _) in found.items() for values in table]
    table = {name: values for name, (values, _) in found.items()}
    content = {**provenance(options.threads), "split": options.split, "table": table, "left_out": left_out}
    notes = (*NOTES, f"the {options.split} split of 300W", *(f"left out: {line}" for line in left_out))
    page = markdown_page("Runtimes and precisions, compared", content, notes, markdown_table(COLUMNS, rows))
    write_results(options.out, "precision" if options.split == "train" else "precision_test", content, page)


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

"""Measure faces turned in the plane by every 30 degrees: from their own boxes, and as the face finder finds them.

    python benchmarks/measure_turned.py DATA

DATA holds `300W/`. A hundred faces spread over its test sets are cut out with their surroundings and turned, as by
`srn evaluate --stress`, which does the same on any annotated set.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.sample import Sample
from srn.evaluation.protocol import best_match
from srn.evaluation.stress import STRESSES, stressed, surroundings
from srn.face.geometry import Box
from srn.face.metrics import NORMALIZERS, nme

COLUMNS = ("turn (degrees)", "found", "NME % median, found", "NME % median, own box", "worst, own box", "ms a picture")
NOTES = (
    "inter-ocular, accuracy `balanced`, not mirrored; a face that is missed counts as an infinite error",
    "ms: processor time of `detect`, mean",
)


def errors(landmarker: FaceLandmarker, sample: Sample, degrees: float) -> tuple[float, float, float]:
    """Localize a face turned by some degrees: the error as found (infinite if missed), from its box, and the time."""
    image, truth = surroundings(sample)
    face = stressed(truth, image, "turn", degrees)
    assert face is not None
    size = NORMALIZERS["interocular"](face.landmarks, truth.scheme)
    start = time.process_time()
    faces = landmarker.detect(face.image)
    spent = time.process_time() - start
    best = best_match([found.box for found in faces], Box.around(face.landmarks))
    found = np.inf if best is None else nme(faces[best].landmarks, face.landmarks, size)
    (own,) = landmarker.detect(face.image, [face.box])
    return found, nme(own.landmarks, face.landmarks, size), spent


def run(arguments: argparse.Namespace) -> None:
    """Measure, print and write the table."""
    landmarker = FaceLandmarker(threads=arguments.threads)
    split = "train" if arguments.training else "test"
    samples = open_faces(arguments.data / "300W", split=split).limited(arguments.faces).samples
    turns: list[dict[str, Any]] = []
    for degrees in STRESSES["turn"].values:
        table = np.array([errors(landmarker, sample, degrees) for sample in samples])
        found, own, spent = table.T
        turns.append(
            {
                "degrees": degrees,
                "found": int(np.isfinite(found).sum()),
                "missed": [str(s.path.stem) for s, e in zip(samples, found, strict=True) if not np.isfinite(e)],
                "nme_found": float(np.median(found)),
                "nme_own": float(np.median(own)),
                "worst_own": float(own.max()),
                "ms": float(1e3 * spent.mean()),
            }
        )
        print(turns[-1], flush=True)
    rows = [
        [
            f"{one['degrees']:g}",
            f"{one['found']} of {len(samples)}",
            *(f"{100 * one[key]:.2f}" for key in ("nme_found", "nme_own", "worst_own")),
            f"{one['ms']:.0f}",
        ]
        for one in turns
    ]
    content = {**provenance(arguments.threads), "faces": len(samples), "split": split, "turns": turns}
    if not arguments.training:
        page = markdown_page("Faces turned in the plane", content, NOTES, markdown_table(COLUMNS, rows))
        write_results(arguments.out, "turned", content, page)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder that holds 300W/")
    made.add_argument("--faces", type=int, default=100, help="number of faces (default: 100)")
    made.add_argument("--training", action="store_true", help="training faces, to choose by; writes no file")
    return made


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

"""Label faces without points by weights at hand, for training on them (self-training, distillation).

    python benchmarks/label_faces.py FOLDER --labelled LABELLED [--weights robust robust-hg ...] [--tolerance 0.015]

The first network finds and localizes the picture's largest face. Then every network localizes it in the box of these
points, the first one also with that box shifted and made larger, all mirrored as well (averaged). The label is the mean
of the networks' shapes in the face's own box. A face is kept where no shape lies further from the mean of all than the
tolerance, as a mean distance over the inter-ocular distance. The pictures and a `.pts` file each lie in LABELLED then,
ready for `srn data pack --extra`. An interrupted command goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import numpy.typing as npt

from results import argument_parser, program
from srn import Face, FaceLandmarker
from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.metrics import interocular
from srn.face.scheme import LandmarkScheme
from srn.files import write_atomically
from srn.inference.views import Accuracy
from srn.media.pictures import read_image, write_image
from srn.media.pts import write_pts

BATCH = 32
SHIFT, GROWTH = 0.05, 1.08
"""Of the third look's box, in sizes of the box."""
TABLE = "labels.csv"
FIELDS = ("path", "kept", "disagreement", "confidence")

Shape = npt.NDArray[np.floating]


def looks(
    landmarkers: Sequence[FaceLandmarker], images: Sequence[npt.NDArray[np.uint8]]
) -> list[tuple[list[Shape], float]]:
    """Return shapes (N, 2) and the mean confidence for each picture; no shapes without a face.

    The shapes are those of each network in the face's own box, then that of the first network in the moved box.
    """
    first = landmarkers[0].detect_batch(images)
    seen = [max(faces, key=lambda face: face.box.size, default=None) for faces in first]
    here = [number for number, face in enumerate(seen) if face is not None]
    found: list[tuple[list[Shape], float]] = [([], 0.0)] * len(images)
    if not here:
        return found
    some = [images[number] for number in here]
    own = [Box.around(face.landmarks) for face in seen if face is not None]
    moved = [box.adjusted((SHIFT * box.size, -SHIFT * box.size), (GROWTH, GROWTH)) for box in own]
    again = [landmarker.detect_batch(some, boxes=[[box] for box in own]) for landmarker in landmarkers]
    again.append(landmarkers[0].detect_batch(some, boxes=[[box] for box in moved]))
    for row, number in enumerate(here):
        face = again[0][row][0]
        found[number] = ([faces[row][0].landmarks for faces in again], _mean_confidence(face))
    return found


def _mean_confidence(face: Face) -> float:
    return float("nan") if face.confidence is None else float(face.confidence.mean())


def disagreement(shapes: Sequence[Shape], scheme: LandmarkScheme) -> float:
    """Return the largest mean distance of a shape from the mean of all, over the inter-ocular distance."""
    mean = np.mean(shapes, axis=0)
    distances = [np.linalg.norm(shape - mean, axis=1).mean() for shape in shapes]
    return float(max(distances) / interocular(mean, scheme))


def parser() -> argparse.ArgumentParser:
    result = argument_parser(__doc__)
    result.add_argument("folder", type=Path, help="pictures of one face each")
    result.add_argument("--labelled", type=Path, required=True, help="folder of the labelled faces")
    result.add_argument("--weights", nargs="+", default=["robust"], help="names or files (default: robust)")
    result.add_argument(
        "--accuracy", choices=get_args(Accuracy), default="best", help="of every network (default: %(default)s)"
    )
    result.add_argument("--tolerance", type=float, default=0.015)
    return result


def run(options: argparse.Namespace) -> None:
    pictures = sorted(p for p in options.folder.rglob("*") if p.suffix.lower() in (".jpg", ".png", ".webp"))
    if not pictures:
        raise InputError.at(options.folder, "pictures", "none")
    landmarkers = [
        FaceLandmarker(name, accuracy=options.accuracy, flip_average=True, threads=options.threads)
        for name in options.weights
    ]
    scheme = landmarkers[0].localizer.scheme
    for name, other in zip(options.weights, (landmarker.localizer.scheme for landmarker in landmarkers), strict=True):
        if other != scheme:
            raise InputError.at(name, f"points of {scheme.name}, as {options.weights[0]}", other.name)
    table = options.labelled / TABLE
    rows: dict[str, list[str]] = {}
    if table.exists():
        with table.open(newline="") as file:
            rows = {row[0]: row for row in list(csv.reader(file))[1:]}
    missing = [path for path in pictures if str(path.relative_to(options.folder)) not in rows]
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        images = [read_image(path) for path in batch]
        for path, image, (shapes, confidence) in zip(batch, images, looks(landmarkers, images), strict=True):
            name = str(path.relative_to(options.folder))
            differ = disagreement(shapes, scheme) if shapes else np.inf
            kept = differ <= options.tolerance
            if kept:
                target = options.labelled / Path(name).with_suffix(".jpg")
                target.parent.mkdir(parents=True, exist_ok=True)
                write_image(target, image, quality=95)
                write_pts(target.with_suffix(".pts"), np.mean(shapes[: len(landmarkers)], axis=0))
            rows[name] = [name, str(int(kept)), f"{differ:.4f}", f"{confidence:.3f}"]
        lines = [",".join(FIELDS), *(",".join(row) for row in rows.values())]
        write_atomically(table, "\n".join(lines) + "\n")
        if start // BATCH % 20 == 0:
            share = np.mean([row[1] == "1" for row in rows.values()])
            print(f"{len(rows)} of {len(pictures)}, {share:.1%} kept", flush=True)


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

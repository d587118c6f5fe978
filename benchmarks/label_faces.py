"""Label faces without points by the best weights at hand, for training on them (self-training, distillation).

    python benchmarks/label_faces.py FOLDER --out LABELLED [--weights robust] [--tolerance 0.015]

Every picture of one face is localized three times: as it is and mirrored (averaged), with the box that the points
give, and with that box shifted and made larger. A face is kept where the three shapes agree within the tolerance, as a
mean distance over the inter-ocular distance. The pictures and a `.pts` file each lie in LABELLED then, ready for `srn
data pack --extra`. An interrupted command goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from results import argument_parser, program
from srn import Face, FaceLandmarker
from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.metrics import interocular
from srn.files import write_atomically
from srn.media.pictures import read_image, write_image
from srn.media.pts import write_pts

BATCH = 32
SHIFT, GROWTH = 0.05, 1.08
"""Of the third look's box, in sizes of the box."""
TABLE = "labels.csv"
FIELDS = ("path", "kept", "disagreement", "confidence")

Shape = npt.NDArray[np.floating]


def looks(landmarker: FaceLandmarker, images: Sequence[npt.NDArray[np.uint8]]) -> list[tuple[list[Shape], float]]:
    """Return three shapes (N, 2) and the mean confidence for each picture; an empty list without a face."""
    first = landmarker.detect_batch(images)
    seen = [max(faces, key=lambda face: face.box.size, default=None) for faces in first]
    here = [number for number, face in enumerate(seen) if face is not None]
    found: list[tuple[list[Shape], float]] = [([], 0.0)] * len(images)
    if not here:
        return found
    some = [images[number] for number in here]
    own = [Box.around(face.landmarks) for face in seen if face is not None]
    moved = [box.adjusted((SHIFT * box.size, -SHIFT * box.size), (GROWTH, GROWTH)) for box in own]
    again = [landmarker.detect_batch(some, boxes=[[box] for box in boxes]) for boxes in (own, moved)]
    for row, number in enumerate(here):
        face = seen[number]
        assert face is not None
        found[number] = ([face.landmarks, *(faces[row][0].landmarks for faces in again)], _mean_confidence(face))
    return found


def _mean_confidence(face: Face) -> float:
    return float("nan") if face.confidence is None else float(face.confidence.mean())


def disagreement(shapes: Sequence[Shape], landmarker: FaceLandmarker) -> float:
    """Return the largest mean distance of a shape from the mean of all, over the inter-ocular distance."""
    mean = np.mean(shapes, axis=0)
    distances = [np.linalg.norm(shape - mean, axis=1).mean() for shape in shapes]
    return float(max(distances) / interocular(mean, landmarker.localizer.scheme))


def parser() -> argparse.ArgumentParser:
    result = argument_parser(__doc__)
    result.add_argument("folder", type=Path, help="pictures of one face each")
    result.add_argument("--labelled", type=Path, required=True, help="folder of the labelled faces")
    result.add_argument("--weights", default="robust")
    result.add_argument("--tolerance", type=float, default=0.015)
    return result


def run(options: argparse.Namespace) -> None:
    pictures = sorted(p for p in options.folder.rglob("*") if p.suffix.lower() in (".jpg", ".png", ".webp"))
    if not pictures:
        raise InputError.at(options.folder, "pictures", "none")
    landmarker = FaceLandmarker(options.weights, accuracy="best", flip_average=True, threads=options.threads)
    table = options.labelled / TABLE
    rows: dict[str, list[str]] = {}
    if table.exists():
        with table.open(newline="") as file:
            rows = {row[0]: row for row in list(csv.reader(file))[1:]}
    missing = [path for path in pictures if str(path.relative_to(options.folder)) not in rows]
    for start in range(0, len(missing), BATCH):
        batch = missing[start : start + BATCH]
        images = [read_image(path) for path in batch]
        for path, image, (shapes, confidence) in zip(batch, images, looks(landmarker, images), strict=True):
            name = str(path.relative_to(options.folder))
            differ = disagreement(shapes, landmarker) if shapes else np.inf
            kept = differ <= options.tolerance
            if kept:
                target = options.labelled / Path(name).with_suffix(".jpg")
                target.parent.mkdir(parents=True, exist_ok=True)
                write_image(target, image, quality=95)
                write_pts(target.with_suffix(".pts"), np.mean(shapes, axis=0))
            rows[name] = [name, str(int(kept)), f"{differ:.4f}", f"{confidence:.3f}"]
        lines = [",".join(FIELDS), *(",".join(row) for row in rows.values())]
        write_atomically(table, "\n".join(lines) + "\n")
        if start // BATCH % 20 == 0:
            share = np.mean([row[1] == "1" for row in rows.values()])
            print(f"{len(rows)} of {len(pictures)}, {share:.1%} kept", flush=True)


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

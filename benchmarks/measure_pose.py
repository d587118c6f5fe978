"""Measure the head pose against the angles of 300W-LP; write `docs/results/pose.json` and `pose.md`.

    python benchmarks/measure_pose.py DATA

Measured on the photographs of `extra/300W_LP_AFW` from which the 3-D model was not made (`make_head_model.py`): from
their true points, and from those that the weights find in true boxes, with and without a mask drawn on the face. The
weights were trained on all these pictures, so the rows of found points are no test of the weights. How points are
weighted was chosen on the other photographs, with masks; those figures are on the page, too.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from make_head_model import Renderings, read_renderings
from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker, read_image
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.inference.face import Face
from srn.synthesis.occluders import drawn_mask
from srn.uses.pose import HeadPose, angles_of, pose_of_points, rotation_distance, rotation_of

RANGES = ((0, 30), (30, 60), (60, 91))
COLUMNS = ("set", "faces", "yaw", "pitch", "roll", "rotation")
WEIGHTINGS: dict[str, Callable[[Face], npt.NDArray[np.floating] | None]] = {
    "all points alike": lambda face: None,
    "confidence": lambda face: face.confidence,
    "confidence and visibility": lambda face: (
        None if face.confidence is None or face.visibility is None else face.confidence * (0.2 + 0.8 * face.visibility)
    ),
}

Errors = npt.NDArray[np.float64]


def errors_of(rotations: Sequence[npt.NDArray[np.float64]], angles: npt.NDArray[np.float64]) -> Errors:
    """Return the absolute errors (F, 4): of yaw, pitch and roll, and of the whole rotation, in degrees."""
    off = np.abs(np.array([angles_of(rotation) for rotation in rotations]) - angles)
    whole = [rotation_distance(one, rotation_of(*true)) for one, true in zip(rotations, angles, strict=True)]
    return np.column_stack([np.minimum(off, 360 - off), whole])


def found(faces: Renderings, folder: Path, landmarker: FaceLandmarker, *, masked: bool) -> list[Face]:
    """Localize the faces in their true boxes, with a mask drawn over each if wanted."""
    results: list[Face] = []
    for name, points in zip(faces.names, faces.points, strict=True):
        image = read_image(folder / f"{name}.jpg").copy()
        if masked:
            drawn_mask(image, points, IBUG_68, np.random.default_rng(len(results)))
        results.append(landmarker.detect(image, boxes=[Box.around(points)])[0])
    return results


def row(name: str, errors: Errors) -> list[str]:
    """Format one line of the table: mean absolute errors in degrees."""
    return [name, str(len(errors)), *(f"{value:.1f}" for value in errors.mean(axis=0))]


def rotations(poses: Sequence[HeadPose]) -> list[npt.NDArray[np.float64]]:
    """Return the rotations of poses."""
    return [pose.rotation for pose in poses]


def measure(options: argparse.Namespace) -> None:
    """Measure and write the page."""
    cv2.setNumThreads(options.threads)
    folder, everything = options.data / "extra" / "300W_LP_AFW", read_renderings(options.data)
    faces, making = everything.half(made=False), everything.half(made=True)
    landmarker = FaceLandmarker(threads=options.threads)
    still = [np.eye(3)] * len(faces.names)
    measured: dict[str, Errors] = {
        "always 0": errors_of(still, faces.angles),
        "true points": errors_of(rotations([pose_of_points(one) for one in faces.points]), faces.angles),
    }
    for masked in (False, True):
        results = found(faces, folder, landmarker, masked=masked)
        poses = [pose_of_points(face.landmarks, IBUG_68, face.confidence) for face in results]
        measured["found points" + ", a mask drawn" * masked] = errors_of(rotations(poses), faces.angles)
    lines = [row(name, errors) for name, errors in measured.items()]
    for low, high in RANGES:
        inside = (np.abs(faces.angles[:, 0]) >= low) & (np.abs(faces.angles[:, 0]) < high)
        for name in ("always 0", "true points", "found points"):
            lines.append(row(f"{name}, yaw of {low} to {min(high, 90)}", measured[name][inside]))
    chosen: dict[str, Errors] = {}
    results = found(making, folder, landmarker, masked=True)
    for name, weights in WEIGHTINGS.items():
        poses = [pose_of_points(face.landmarks, IBUG_68, weights(face)) for face in results]
        chosen[name] = errors_of(rotations(poses), making.angles)
    facts = provenance(options.threads)
    notes = (
        f"{len(faces.names)} faces of {len({n.split('_')[1] for n in faces.names})} photographs of 300W-LP (AFW) that "
        f"took no part in the 3-D model; {len(making.names)} faces made it",
        "mean absolute errors in degrees; rotation: the angle between the two rotations. Near a yaw of 90 pitch and "
        "roll are not two things, so their errors there say little",
        "the angles are those of the renderings, and the true points come from the same fitted head: not measured ones",
        "the weights were trained on these pictures: the rows of found points are no test of the weights",
    )
    table = markdown_table(COLUMNS, lines)
    weighting = markdown_table(COLUMNS, [row(name, errors) for name, errors in chosen.items()])
    content: dict[str, Any] = {**facts, "errors": {n: e.mean(axis=0).tolist() for n, e in measured.items()},
                               "weighting": {n: e.mean(axis=0).tolist() for n, e in chosen.items()}}  # fmt: skip
    page = markdown_page("Head pose", facts, notes, table, "## Weights of the points",
                         "On the photographs that made the model, with masks drawn:", weighting)  # fmt: skip
    write_results(options.out, "pose", content, page)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder of the data sets")
    return made


main = program(measure, parser)

if __name__ == "__main__":
    sys.exit(main())

"""Make the 3-D model of the 68 points, `src/srn/uses/head.json`, from renderings whose rotation is known.

    python benchmarks/make_head_model.py DATA

DATA holds `extra/300W_LP_AFW`: pictures of AFW turned in depth, with 68 points and the angles of the rendering. Of its
photographs one half makes the model, and the other half measures it (`measure_pose.py`). A rotation R, a scale s and a
shift t make points p = s R S + t of the model S, so S follows by least squares from many faces once R is known; s and t
of each face are fitted in turns with it. Points of the outline lie where the head's outline is seen, not on one place
of the skin: faces weigh less where they misfit (Cauchy), and the model keeps for each point how far it misfits. Both
sides of the model are made alike.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from results import program
from srn.errors import DataError
from srn.face.scheme import IBUG_68
from srn.files import write_json
from srn.media.pts import read_pts
from srn.uses.pose import rotation_of

MODEL = Path(__file__).parents[1] / "src" / "srn" / "uses" / "head.json"
ROUNDS = 40
SOFT = 2.0  # misfit, in those of the point, from which a face weighs less than half

Array = npt.NDArray[np.float64]


class Renderings(NamedTuple):
    """Faces turned in depth: names, points (F, 68, 2) in picture pixels, angles (F, 3): yaw, pitch, roll in degrees."""

    names: list[str]
    points: Array
    angles: Array

    def half(self, *, made: bool) -> Renderings:
        """Return the faces of every other photograph: those that make the model, or those that measure it."""
        photos = ["_".join(name.split("_")[:2]) for name in self.names]
        making = set(sorted(set(photos))[::2])
        rows = [k for k, photo in enumerate(photos) if (photo in making) == made]
        return Renderings([self.names[k] for k in rows], self.points[rows], self.angles[rows])


def read_renderings(data: Path) -> Renderings:
    """Read `extra/300W_LP_AFW`.

    Raises:
        DataError: it is not there.
    """
    folder = data / "extra" / "300W_LP_AFW"
    with DataError.reading(folder / "manifest.csv", "a table of stem, yaw_deg, pitch_deg, roll_deg"):
        with (folder / "manifest.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        angles = np.array([[float(row[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")] for row in rows])
        points = np.array([read_pts(folder / f"{row['stem']}.pts") for row in rows])
    return Renderings([row["stem"] for row in rows], points, angles)


def made(faces: Renderings) -> tuple[Array, Array]:
    """Make the model (68, 3) and the misfit (68,) of its points, both in units of its root mean square width.

    x points to the picture's right, y down, z away from the camera, for a face that looks into the camera.
    """
    turn = np.array([rotation_of(*angles)[:2] for angles in faces.angles])
    points, mirror = faces.points, IBUG_68.mirror
    weights = np.ones(points.shape[:2])
    model = np.zeros((68, 3))
    place = points - points.mean(axis=1, keepdims=True)
    for number in range(ROUNDS):
        seen = np.einsum("fij,nj->fni", turn, model)
        if number:
            share = weights[..., None] / weights.sum(axis=1)[:, None, None]
            middle, target = (share * seen).sum(axis=1), (share * points).sum(axis=1)
            a, b = seen - middle[:, None], points - target[:, None]
            scale = (share * a * b).sum(axis=(1, 2)) / (share * a * a).sum(axis=(1, 2))
            place = b / scale[:, None, None] + middle[:, None]
        else:
            place = place / np.sqrt((place**2).mean(axis=(1, 2)))[:, None, None]
        # All rounds begin with the model that fits best; from the third on, faces that misfit weigh less.
        misfit = np.linalg.norm(seen - place, axis=2)
        spread = np.median(misfit, axis=0)
        spread = (spread + spread[mirror]) / 2
        if number > 2:
            weights = 1 / spread**2 / (1 + (misfit / (SOFT * spread)) ** 2)
        known = np.einsum("fn,fki,fkj->nij", weights, turn, turn)
        model = np.linalg.solve(known, np.einsum("fn,fki,fnk->ni", weights, turn, place)[..., None])[..., 0]
        model = (model + model[mirror] * [-1, 1, 1]) / 2
        model = model - model.mean(axis=0) * [0, 1, 1]
        model = model / np.sqrt((model[:, :2] ** 2).mean())
    return model, spread


def make(options: argparse.Namespace) -> None:
    """Write the model."""
    faces = read_renderings(options.data).half(made=True)
    model, spread = made(faces)
    write_json(
        options.out,
        {
            "points": np.round(model, 4).tolist(),
            "misfit": np.round(spread, 4).tolist(),
            "source": f"{len(faces.names)} renderings of 300W-LP (AFW), benchmarks/make_head_model.py",
            "licence": "LicenseRef-srn-weights: non-commercial research only",
        },
    )
    print(f"{options.out}: {len(faces.names)} faces, median misfit {np.median(spread):.3f}")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("data", type=Path, help="folder of the data sets")
    made.add_argument("--out", type=Path, default=MODEL, help="file of the model (default: that of the package)")
    return made


main = program(make, parser)

if __name__ == "__main__":
    sys.exit(main())

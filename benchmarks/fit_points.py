"""Fit CenterFace's boxes to tight landmark boxes by the five points that it gives; adds `points` to `box_fit.json`.

    python benchmarks/fit_points.py DATA [--step 2]

DATA holds `300W/`, `extra/300W_LP_AFW/` (heads turned by a computer) and `occluders/masks/`. Training faces only:
plain, every fifth one under a drawn mask as well, and the renderings. Each picture is searched in three reductions, so
that faces have about 75 pixels in the search, or 37 to 52 and a closer look. `--step` takes every so-manieth face.

How far the crops of found faces lie off those of the annotated points (`CropGeometry.displacement`) is printed for the
fit of all faces and for the fit by points, each face measured by a fit to the others: the faces in five parts.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from measure_finder import BOX_FIT_FILE, MATCH_IOU, TRAINING_FOLDERS, low_resolution
from results import argument_parser, markdown_table, program, provenance
from srn.errors import SrnError
from srn.face.geometry import Box, CropGeometry, Float64Array, ImageArray
from srn.face.scheme import IBUG_68
from srn.files import write_atomically
from srn.inference.box_fit import MOST, BoxFit, PointFit, features, measured_fits
from srn.inference.face_finder import CenterFaceFinder, FoundFace
from srn.inference.looker import Looker
from srn.inference.runtime import open_localizer
from srn.media.pictures import read_image
from srn.media.pts import read_pts
from srn.synthesis.masks import fit_mask, turned_side
from srn.synthesis.wardrobe import MaskWardrobe

SIZES = (160, 112, 80)
RENDERINGS = "extra/300W_LP_AFW"
MASKED = 5  # every so-manieth face wears a mask as well
PARTS = 5
RIDGE = 1e-3
OPEN, TILTED = 0.15, 15.0  # distance of the inner lips over that of the eyes' outer corners; degrees
MIRROR = [1, 0, 2, 4, 3]  # of the five points
FitOfFace: TypeAlias = Callable[[FoundFace], BoxFit]
GROUPS = ("plain", "mouth open", "tilted", "rendered", "masked")


@dataclass(frozen=True)
class Found:
    """An annotated face: `points` (68, 2), its crop, and what was found of it; `part` is that of its picture."""

    points: Float64Array
    target: CropGeometry
    face: FoundFace
    part: int
    kind: str

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of the printed table to which the face belongs."""
        if self.kind != "plain":
            return (self.kind,)
        opening = (self.points[66, 1] - self.points[62, 1]) / np.linalg.norm(self.points[45] - self.points[36])
        tilted = abs(_angle(self.target)) > math.radians(TILTED)
        return ("plain", *("mouth open",) * bool(opening > OPEN), *("tilted",) * tilted)

    def row(self) -> tuple[Float64Array, Float64Array]:
        """Give the features (11,) and the fit that leads to the target (4,): dx, dy, logarithms of sx and sy."""
        face, given = self.face, self.face.points
        assert given is not None
        cos, sin = math.cos(_angle(self.target)), math.sin(_angle(self.target))
        rotation = np.array([[cos, -sin], [sin, cos]])
        upright = Box.around(self.points @ rotation.T)
        cos, sin = math.cos(face.angle), math.sin(face.angle)
        x, y = np.array([[cos, -sin], [sin, cos]]) @ (upright.center @ rotation - face.box.center)
        sides = (face.box.width, face.box.height)
        width, height = sides if face.turn % 2 == 0 else sides[::-1]
        wanted = [x / width, y / height, math.log(upright.width / width), math.log(upright.height / height)]
        return features(face.box, given, face.turn, face.tilt), np.array(wanted)

    def displacement(self, fit: BoxFit) -> float:
        """Say how far the crop of the found face lies off that of its points."""
        box = fit.apply(self.face.box, self.face.turn, self.face.tilt)
        return self.target.displacement(CropGeometry.from_box(box, self.target.spec, self.face.angle))


def _angle(crop: CropGeometry) -> float:
    return math.atan2(crop.matrix[1, 0], crop.matrix[0, 0])


def masked(image: ImageArray, points: Float64Array, wardrobe: MaskWardrobe, rng: np.random.Generator) -> ImageArray:
    """Paint one of the masks over a face."""
    kind = wardrobe.choices()[int(rng.integers(len(wardrobe.choices())))]
    worn = image.copy()
    fit_mask(worn, points, IBUG_68, wardrobe.template(kind, turned_side(points, IBUG_68), rng))
    return worn


def pictures(data: Path, step: int) -> Iterator[tuple[str, int, ImageArray, Float64Array]]:
    """Yield kind, part, picture and points of every face."""
    omitted, wardrobe = low_resolution(data), MaskWardrobe.load(data / "occluders" / "masks")
    for folder in (*TRAINING_FOLDERS, RENDERINGS):
        stems = [path.with_suffix("") for path in sorted((data / folder).glob("*.pts"))]
        stems = [stem for stem in stems if f"{folder}/{stem.name}" not in omitted][::step]
        if not stems:
            raise SrnError(f"{data / folder}: expected pictures with .pts files, found none")
        for number, stem in enumerate(stems):
            image, points = read_image(stem.with_suffix(".jpg")), read_pts(f"{stem}.pts").astype(np.float64)
            # Neighbours in the list may be pictures of one person: they are left out together.
            part = number * PARTS // len(stems)
            yield "rendered" if folder == RENDERINGS else "plain", part, image, points
            if folder != RENDERINGS and number % MASKED == 0:
                yield "masked", part, masked(image, points, wardrobe, np.random.default_rng([1, number])), points


def observe(data: Path, step: int, threads: int) -> list[Found]:
    """Search every picture in all reductions; faces that are not found, or without points, are left out."""
    finders = [CenterFaceFinder(sizes=(size,), threads=threads) for size in SIZES]
    looker, everyone = Looker(open_localizer(None, threads=threads)), measured_fits()[CenterFaceFinder.name]
    seen = []
    for kind, part, image, points in pictures(data, step):
        target = looker.geometry_of_shape(points)
        for finder in finders:
            found = finder.find(image)
            overlaps = [everyone.apply(f.box, f.turn, f.tilt).iou(Box.around(points)) for f in found]
            best = int(np.argmax(overlaps)) if overlaps else -1
            if best >= 0 and overlaps[best] >= MATCH_IOU and found[best].points is not None:
                seen.append(Found(points, target, found[best], part, kind))
    return seen


def fit_points(seen: Sequence[Found]) -> PointFit:
    """Fit by least squares, mirrored faces beside them; a few steps bound the influence of faces that lie far off."""
    rows = [found.row() for found in seen]
    given, wanted = (np.array(column) for column in zip(*rows, strict=True))
    x, y = given[:, 1:6][:, MIRROR], given[:, 6:][:, MIRROR]
    given = np.vstack([given, np.hstack([given[:, :1], -x, y])])
    wanted = np.vstack([wanted, wanted * [-1, 1, 1, 1]])
    mean, deviation = given.mean(axis=0), np.maximum(given.std(axis=0), 1e-9)
    inputs = np.hstack([np.clip((given - mean) / deviation, -MOST, MOST), np.ones((len(given), 1))])
    ridge = np.diag([RIDGE * len(inputs)] * given.shape[1] + [0.0])

    def solved(influence: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        weighted = inputs * influence[:, None]
        return np.asarray(np.linalg.solve(weighted.T @ inputs + ridge, weighted.T @ target), np.float64)

    weights = np.zeros((inputs.shape[1], 4))
    for column in range(4):
        influence = np.ones(len(inputs))
        for _ in range(6):
            weights[:, column] = solved(influence, wanted[:, column])
            off = np.abs(inputs @ weights[:, column] - wanted[:, column])
            influence = np.minimum(1, 2 * np.median(off) / np.maximum(off, 1e-9))
    return PointFit(mean, deviation, weights)


def displacements(
    seen: Sequence[Found], fit_of: Callable[[Sequence[Found]], Callable[[FoundFace], BoxFit]]
) -> Float64Array:
    """Measure every face (K,) by the fit to the faces of other parts."""
    off = np.zeros(len(seen))
    for part in range(PARTS):
        fit = fit_of([found for found in seen if found.part != part])
        for number, found in enumerate(seen):
            if found.part == part:
                off[number] = found.displacement(fit(found.face))
    return off


def by_points(seen: Sequence[Found]) -> FitOfFace:
    """Give the fit by points of faces."""
    fit, everyone = fit_points(seen), measured_fits()[CenterFaceFinder.name]
    return lambda face: fit.of_face(face.box, face.points or (), face.turn, face.tilt) or everyone


def table(seen: Sequence[Found]) -> str:
    """Compare the mean displacement, and the share above 0.1, of both fits by group."""
    everyone = measured_fits()[CenterFaceFinder.name]
    measured = [displacements(seen, lambda others: lambda face: everyone), displacements(seen, by_points)]
    lines = []
    for group in GROUPS:
        chosen = np.array([group in found.groups for found in seen])
        if chosen.any():
            cells = [f"{off[chosen].mean():.4f}, {(off[chosen] > 0.1).mean():.1%}" for off in measured]
            lines.append([group, str(int(chosen.sum())), *cells])
    return markdown_table(("faces", "found", "one fit: mean, above 0.1", "by points: mean, above 0.1"), lines)


def write_points(path: Path, name: str, fit: PointFit, facts: dict[str, object]) -> None:
    """Add the fit to a finder's entry in a file such as `box_fit.json`."""
    entries = json.loads(path.read_text(encoding="utf-8"))
    numbers = {key: np.round(getattr(fit, key), 5).tolist() for key in ("mean", "deviation", "weights")}
    entries[name]["points"] = {**numbers, **facts}
    write_atomically(path, json.dumps(entries, indent=2) + "\n")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder that holds 300W/, extra/300W_LP_AFW/ and occluders/masks/")
    made.add_argument("--step", type=int, default=1, help="take every so-manieth face (default: all)")
    made.add_argument("--file", type=Path, default=BOX_FIT_FILE, help="file to change (default: the shipped one)")
    return made


def run(options: argparse.Namespace) -> None:
    """Fit, print the table, and store."""
    seen = observe(options.data, options.step, options.threads)
    facts = provenance(options.threads)
    print("; ".join(f"{name}: {value}" for name, value in facts.items()))
    print(table(seen))
    stored: dict[str, object] = {"command": facts["command"], "date": facts["date"], "found": len(seen)}
    write_points(options.file, CenterFaceFinder.name, fit_points(seen), stored)


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

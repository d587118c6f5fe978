"""Measure recall and boxes of a face finder, and fit its boxes to tight landmark boxes.

    python benchmarks/measure_finder.py DATA                     # fit CenterFace on training faces, write box_fit.json
    python benchmarks/measure_finder.py DATA --report            # recall, residuals and time on test pictures
    python benchmarks/measure_finder.py DATA --yunet FILE.onnx   # the same for a YuNet file

DATA holds `300W/` (afw, helen, lfpw, ibug) and, for the report, `masked_300W/ibug/`. The fit uses training faces only,
without the low-resolution pictures of `300W/manifest.csv`, whose annotation is less exact.

The fit alternates two steps until its constants stay. Each annotated face is matched to the found box with the best
overlap after the present fit (IoU >= 0.4). Shift and scale are then medians over the matched faces, which a few wrong
matches do not move.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

import srn.inference
from results import argument_parser, program, provenance
from srn.errors import SrnError
from srn.face.geometry import Box
from srn.files import write_atomically
from srn.inference.box_fit import BoxFit
from srn.inference.face_finder import (
    CENTERFACE_SIZES,
    CenterFaceFinder,
    FaceFinder,
    FoundFace,
    YuNetFinder,
    default_fit,
)
from srn.inference.looker import Looker
from srn.inference.runtime import open_localizer
from srn.media.pictures import read_image
from srn.media.pts import read_pts

TRAINING_FOLDERS = ("300W/afw", "300W/helen/trainset", "300W/lfpw/trainset")
REPORT_FOLDERS = ("300W/helen/testset", "300W/lfpw/testset", "300W/ibug", "masked_300W/ibug")
MATCH_IOU = 0.4
SIDES = ("left", "top", "right", "bottom")
BOX_FIT_FILE = Path(srn.inference.__path__[0]) / "box_fit.json"
HEADER = (
    f"{'faces of':22} {'n':>5}  {'recall':>6}  "
    + "  ".join(f"{side + ' %':>13}" for side in SIDES)
    + f"  {'tilt':>4}  {'off':>4}  {'found':>6}  {'ms':>6}"
)


@dataclass(frozen=True)
class Observation:
    """An annotated face, and all faces found in its picture. `angle` shows it upright, as `FoundFace.angle` does."""

    target: Box
    found: list[FoundFace]
    seconds: float
    angle: float = 0.0

    def match(self, fit: BoxFit) -> FoundFace | None:
        """Give the found face whose box overlaps the target best after the fit; None below `MATCH_IOU`."""
        overlaps = [fit.apply(face.box, face.turn, face.tilt).iou(self.target) for face in self.found]
        best = int(np.argmax(overlaps)) if overlaps else -1
        return self.found[best] if best >= 0 and overlaps[best] >= MATCH_IOU else None


def low_resolution(data: Path) -> set[str]:
    """List the low-resolution pictures of 300W, as `folder/stem` relative to `data`."""
    manifest = data / "300W" / "manifest.csv"
    if not manifest.exists():
        return set()
    with manifest.open(newline="", encoding="utf-8") as file:
        return {f"300W/{row['set']}/{row['stem']}" for row in csv.DictReader(file) if row["kind"] == "lowres"}


def observe(finder: FaceFinder, data: Path, folder: str, step: int) -> list[Observation]:
    """Run the finder over every `step`-th annotated picture of a folder."""
    omitted, looker = low_resolution(data), Looker(open_localizer(None, threads=1))
    stems = [path.with_suffix("") for path in sorted((data / folder).glob("*.pts"))]
    stems = [stem for stem in stems if f"{folder}/{stem.name}" not in omitted][::step]
    if not stems:
        raise SrnError(f"{data / folder}: expected pictures with .pts files, found none")
    observations = []
    for stem in stems:
        picture = next((stem.with_suffix(end) for end in (".jpg", ".png") if stem.with_suffix(end).exists()), None)
        if picture is None:
            raise SrnError(f"{stem}: expected a .jpg or .png beside the .pts file, found none")
        image = read_image(picture)
        start = time.perf_counter()
        found = finder.find(image)
        seconds, points = time.perf_counter() - start, read_pts(f"{stem}.pts")
        (cos, sin), target = looker.geometry_of_shape(points).matrix[:, 0], Box.around(points)
        observations.append(Observation(target, found, seconds, math.atan2(sin, cos)))
    return observations


def fit_boxes(observations: Sequence[Observation]) -> BoxFit:
    """Alternate matching and medians of shift and scale until the fit stays."""
    fit = BoxFit()
    for _ in range(20):
        pairs = [(face.box, seen.target) for seen in observations if (face := seen.match(fit)) is not None]
        if not pairs:
            raise SrnError(f"no face was found with an IoU of at least {MATCH_IOU}: nothing to fit")
        ratios = []
        for box, target in pairs:
            size = np.array([box.width, box.height])
            ratios.append([*((target.center - box.center) / size), target.width / size[0], target.height / size[1]])
        updated = BoxFit(*(round(float(value), 4) for value in np.median(ratios, axis=0)))
        if updated == fit:
            break
        fit = updated
    return fit


def residuals(observations: Sequence[Observation], fit: BoxFit) -> npt.NDArray[np.float64]:
    """Give fitted minus true left, top, right, bottom (K, 4) of K matched faces, over the true width or height."""
    rows = [np.empty((0, 4))]
    for seen in observations:
        face = seen.match(fit)
        if face is not None:
            target = seen.target
            size = np.array([target.width, target.height, target.width, target.height])
            rows.append(((fit.apply(face.box, face.turn, face.tilt).as_array() - target.as_array()) / size)[None])
    return np.concatenate(rows)


def tilts(observations: Sequence[Observation], fit: BoxFit) -> npt.NDArray[np.float64]:
    """Give how far K matched faces lie from upright, and how far off the finder's angle is: degrees (K, 2)."""
    matched = [(seen.angle, face.angle) for seen in observations if (face := seen.match(fit)) is not None]
    true, found = np.array(matched).reshape(-1, 2).T
    return np.abs(np.rad2deg(np.stack([np.angle(np.exp(1j * true)), np.angle(np.exp(1j * (found - true)))], axis=1)))


def statistics(observations: Sequence[Observation], fit: BoxFit) -> dict[str, object]:
    """Summarize recall and residuals for `box_fit.json`."""
    errors = residuals(observations, fit)
    return {
        "faces": len(observations),
        "recall": round(len(errors) / len(observations), 4),
        "residual_mean": dict(zip(SIDES, np.round(errors.mean(axis=0), 4).tolist(), strict=True)),
        "residual_std": dict(zip(SIDES, np.round(errors.std(axis=0), 4).tolist(), strict=True)),
    }


def row(name: str, observations: Sequence[Observation], fit: BoxFit) -> str:
    """Format recall, each side in per cent, median tilt and its error in degrees, faces a picture, milliseconds."""
    errors = residuals(observations, fit) * 100
    sides = "  ".join(f"{mean:+5.1f} +- {std:4.1f}" for mean, std in zip(errors.mean(0), errors.std(0), strict=True))
    milliseconds = 1e3 * float(np.median([seen.seconds for seen in observations]))
    faces = float(np.mean([len(seen.found) for seen in observations]))
    recall = 100 * len(errors) / len(observations)
    tilt, off = np.median(tilts(observations, fit), axis=0)
    return (
        f"{name:22} {len(observations):5}  {recall:6.1f}  {sides}  {tilt:4.1f}  {off:4.1f}"
        f"  {faces:6.2f}  {milliseconds:6.1f}"
    )


def write_fit(path: Path, name: str, fit: BoxFit, facts: dict[str, object]) -> None:
    """Replace one finder's entry in a file such as `box_fit.json`."""
    entries = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    kept = {key: value for key, value in entries.get(name, {}).items() if key == "points"}  # `fit_points.py` makes them
    entries[name] = {**asdict(fit), **facts, **kept}
    write_atomically(path, json.dumps(entries, indent=2) + "\n")


def run(arguments: argparse.Namespace) -> None:
    """Fit and store, or report."""
    finder: FaceFinder
    if arguments.yunet is not None:
        finder = YuNetFinder(arguments.yunet)
    else:
        finder = CenterFaceFinder(sizes=arguments.sizes or CENTERFACE_SIZES, threads=arguments.threads)
    folders = REPORT_FOLDERS if arguments.report else TRAINING_FOLDERS
    seen = {folder: observe(finder, arguments.data, folder, arguments.step) for folder in folders}
    everything = [observation for observations in seen.values() for observation in observations]
    fit = default_fit(finder) if arguments.report else fit_boxes(everything)

    print("; ".join(f"{name}: {value}" for name, value in provenance(arguments.threads).items()))
    print(f"{finder.name}: dx {fit.dx:+.4f}  dy {fit.dy:+.4f}  sx {fit.sx:.4f}  sy {fit.sy:.4f}")
    print(HEADER)
    for folder, observations in seen.items():
        print(row(folder, observations, fit))
    if not arguments.report:
        print(row("all", everything, fit))
        facts: dict[str, object] = {
            "fitted_on": f"300W afw, helen/trainset, lfpw/trainset, {len(everything)} faces (training pictures only)",
            "date": date.today().isoformat(),
            **statistics(everything, fit),
        }
        write_fit(arguments.fit_file, finder.name, fit, facts)
        print(f"wrote {arguments.fit_file}")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder that holds 300W/ and masked_300W/")
    made.add_argument("--report", action="store_true", help="measure test pictures with the stored fit")
    made.add_argument("--yunet", type=Path, metavar="FILE", help="a YuNet ONNX file instead of CenterFace")
    made.add_argument("--sizes", type=int, nargs="+", help="longer sides at which CenterFace runs (default: its own)")
    made.add_argument("--step", type=int, default=1, help="use every STEP-th picture (default: all)")
    made.add_argument("--fit-file", type=Path, default=BOX_FIT_FILE, help="file of the fits (default: the package's)")
    return made


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

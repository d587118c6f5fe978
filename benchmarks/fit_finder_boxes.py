"""Measure how a face finder's boxes lie against the tight landmark boxes, and how well it finds faces.

    python tools/fit_finder_boxes.py DATA                     # fit CenterFace on training faces, write box_fit.json
    python tools/fit_finder_boxes.py DATA --report            # recall, residuals and time on full test pictures
    python tools/fit_finder_boxes.py DATA --yunet FILE.onnx   # the same for a YuNet file

DATA holds `300W/` (afw, helen, lfpw, ibug) and, for the report, `masked_300W/ibug/`. The fit sees training faces only;
pictures whose `kind` in `300W/manifest.csv` is `lowres` are left out, because their annotation is less exact.

The fit: every annotated face is matched to the found face whose box, mapped by the present constants, overlaps its
landmark box best (IoU >= 0.4). Move and scale are then the medians over the matched faces of
(landmark centre - finder centre) / finder side and landmark side / finder side: a few wrong matches do not move them.
Matching and medians are repeated until the constants stay.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

import srn.inference.box_fit as box_fit_module
from srn.errors import SrnError
from srn.face.geometry import Box
from srn.inference.box_fit import BoxFit, default_fit
from srn.inference.face_finder import CENTERFACE_SIZES, CenterFaceFinder, FaceFinder, FoundFace, YuNetFinder
from srn.media.pts import read_pts

TRAINING_FOLDERS = ("300W/afw", "300W/helen/trainset", "300W/lfpw/trainset")
REPORT_FOLDERS = ("300W/helen/testset", "300W/lfpw/testset", "300W/ibug", "masked_300W/ibug")
MATCH_IOU = 0.4
SIDES = ("left", "top", "right", "bottom")
BOX_FIT_FILE = Path(box_fit_module.__file__).with_name("box_fit.json")


@dataclass(frozen=True)
class Observation:
    """One annotated face and all that the finder found in its picture."""

    target: Box
    found: list[FoundFace]
    seconds: float

    def match(self, fit: BoxFit) -> Box | None:
        """The finder's box (own convention) that overlaps the target best after the fit, or None below `MATCH_IOU`."""
        overlaps = [fit.apply(face.box).iou(self.target) for face in self.found]
        best = int(np.argmax(overlaps)) if overlaps else -1
        return self.found[best].box if best >= 0 and overlaps[best] >= MATCH_IOU else None


def left_out(data: Path) -> set[str]:
    """Pictures to leave out, as `folder/stem` relative to `data`."""
    manifest = data / "300W" / "manifest.csv"
    if not manifest.exists():
        return set()
    with manifest.open(newline="", encoding="utf-8") as file:
        return {f"300W/{row['set']}/{row['stem']}" for row in csv.DictReader(file) if row["kind"] == "lowres"}


def observe(finder: FaceFinder, data: Path, folder: str, step: int) -> list[Observation]:
    """Run the finder over every `step`-th annotated picture of a folder."""
    omitted = left_out(data)
    stems = [path.with_suffix("") for path in sorted((data / folder).glob("*.pts"))]
    stems = [stem for stem in stems if f"{folder}/{stem.name}" not in omitted][::step]
    if not stems:
        raise SrnError(f"{data / folder}: expected pictures with .pts files, found none")
    observations = []
    for stem in stems:
        picture = next((stem.with_suffix(end) for end in (".jpg", ".png") if stem.with_suffix(end).exists()), None)
        image = cv2.imread(str(picture), cv2.IMREAD_COLOR_RGB) if picture is not None else None
        if image is None:
            raise SrnError(f"{stem}: expected a readable .jpg or .png beside the .pts file, found none")
        start = time.perf_counter()
        found = finder.find(image.astype(np.uint8, copy=False))
        observations.append(Observation(Box.around(read_pts(f"{stem}.pts")), found, time.perf_counter() - start))
    return observations


def fit_boxes(observations: Sequence[Observation]) -> BoxFit:
    """Medians of move and scale over the matched faces, matched anew until they stay."""
    fit = BoxFit()
    for _ in range(20):
        pairs = [(box, seen.target) for seen in observations if (box := seen.match(fit)) is not None]
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
    """(K, 4) per matched face: fitted minus true left, top, right, bottom, in fractions of the true width or height."""
    rows = [np.empty((0, 4))]
    for seen in observations:
        box = seen.match(fit)
        if box is not None:
            target = seen.target
            size = np.array([target.width, target.height, target.width, target.height])
            rows.append(((fit.apply(box).as_array() - target.as_array()) / size)[None])
    return np.concatenate(rows)


def statistics(observations: Sequence[Observation], fit: BoxFit) -> dict[str, object]:
    """Recall and residuals, rounded, as they are printed and stored."""
    errors = residuals(observations, fit)
    return {
        "faces": len(observations),
        "recall": round(len(errors) / len(observations), 4),
        "residual_mean": dict(zip(SIDES, np.round(errors.mean(axis=0), 4).tolist(), strict=True)),
        "residual_std": dict(zip(SIDES, np.round(errors.std(axis=0), 4).tolist(), strict=True)),
    }


def describe(name: str, observations: Sequence[Observation], fit: BoxFit) -> str:
    """One table row: recall, residual mean and standard deviation of each side in per cent, milliseconds."""
    errors = residuals(observations, fit) * 100
    sides = "  ".join(f"{mean:+5.1f} +- {std:4.1f}" for mean, std in zip(errors.mean(0), errors.std(0), strict=True))
    milliseconds = 1e3 * float(np.median([seen.seconds for seen in observations]))
    faces = float(np.mean([len(seen.found) for seen in observations]))
    recall = 100 * len(errors) / len(observations)
    return f"{name:22} {len(observations):5}  {recall:6.1f}  {sides}  {faces:6.2f}  {milliseconds:6.1f}"


HEADER = (
    f"{'faces of':22} {'n':>5}  {'recall':>6}  "
    + "  ".join(f"{side + ' %':>13}" for side in SIDES)
    + f"  {'found':>6}  {'ms':>6}"
)


def write_fit(name: str, fit: BoxFit, provenance: dict[str, object]) -> None:
    """Replace one finder's entry in `box_fit.json`."""
    entries = json.loads(BOX_FIT_FILE.read_text(encoding="utf-8")) if BOX_FIT_FILE.exists() else {}
    entries[name] = {**asdict(fit), **provenance}
    beside = BOX_FIT_FILE.with_suffix(".json.part")
    beside.write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    os.replace(beside, BOX_FIT_FILE)


def run(arguments: argparse.Namespace) -> None:
    """Fit and store, or report."""
    finder: CenterFaceFinder | YuNetFinder
    if arguments.yunet is not None:
        finder = YuNetFinder(arguments.yunet)
    else:
        finder = CenterFaceFinder(sizes=arguments.sizes or CENTERFACE_SIZES, threads=arguments.threads)
    folders = REPORT_FOLDERS if arguments.report else TRAINING_FOLDERS
    seen = {folder: observe(finder, arguments.data, folder, arguments.step) for folder in folders}
    everything = [observation for observations in seen.values() for observation in observations]
    fit = default_fit(finder) if arguments.report else fit_boxes(everything)

    print(f"{finder.name}: dx {fit.dx:+.4f}  dy {fit.dy:+.4f}  sx {fit.sx:.4f}  sy {fit.sy:.4f}")
    print(HEADER)
    for folder, observations in seen.items():
        print(describe(folder, observations, fit))
    if not arguments.report:
        print(describe("all", everything, fit))
        provenance = {
            "fitted_on": f"300W afw, helen/trainset, lfpw/trainset, {len(everything)} faces (training pictures only)",
            "date": date.today().isoformat(),
            **statistics(everything, fit),
        }
        write_fit(finder.name, fit, provenance)
        print(f"wrote {BOX_FIT_FILE}")


def main() -> int:
    """Read the command line; 2 on a mistake in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder that holds 300W/ and masked_300W/")
    parser.add_argument("--report", action="store_true", help="measure on test pictures with the stored constants")
    parser.add_argument("--yunet", type=Path, metavar="FILE", help="a YuNet ONNX file instead of CenterFace")
    parser.add_argument("--sizes", type=int, nargs="+", help="CenterFace's sizes (default: its own)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: ONNX Runtime chooses)")
    parser.add_argument("--step", type=int, default=1, help="use every so-manieth picture (default: all)")
    try:
        run(parser.parse_args())
    except SrnError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

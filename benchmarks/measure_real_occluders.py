"""Measure weights on people in real masks and sunglasses; write `docs/results/real_occluders.json` and its page.

    python benchmarks/measure_real_occluders.py DATA [--weights robust robust-noise ...]

DATA holds `real_occluders_unlabelled` and `unlabelled_faces/lfw`. The pictures have no points and no flags. Two things
can be told all the same:

- what is hidden: a mask hides the mouth, sunglasses hide the eyes. The share of these points that the network calls
  hidden stands beside the share in other people's faces, where nearly all of them are seen;
- how far the network agrees with itself: the same face in a crop that is shifted, in one that is larger, and mirrored.
  Agreement is not truth: a shape that ignores the picture would agree best, and stands in the table as the baseline.

All weights get the same boxes, those that the shipped weights and the face finder give.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from cut_masks import wearers
from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.errors import InputError
from srn.evaluation.statistics import ratio_intervals
from srn.face.geometry import Box, FloatArray, ImageArray, flip_points
from srn.face.metrics import interocular, roc_auc
from srn.face.scheme import LandmarkScheme
from srn.media.pictures import IMAGE_SUFFIXES, read_image

SETS = {
    "masks": ("real_occluders_unlabelled/masks", "mouth"),
    "sunglasses": ("real_occluders_unlabelled/sunglasses", "eyes"),
    "others (LFW)": ("unlabelled_faces/lfw", None),
}
"""Folder of each set, and the component that is hidden in it."""

SHIFT, GROWTH = 0.06, 1.1
"""Of the two other boxes, in sizes of the box."""
BATCH = 32
RESAMPLES = 1000
NOTES = (
    "no points and no flags: some people wear the mask under the chin, some glasses are clear: 100 % is not to be had",
    "the same boxes for all weights, around the landmarks that the shipped weights give in the face finder's; one view",
    f"disagreement: mean distance of the landmarks in the box from those in a box shifted by {SHIFT:.0%} both ways, in"
    f" one {GROWTH - 1:.0%} larger, and in the mirrored picture, over the inter-ocular distance; what does not look at"
    " the face follows the box, as the mean shape does",
    "AUC: of the mean probability of being hidden, people in masks or glasses against others; 0.5 is chance",
    "others: the shipped weights have learned from faces of LFW (docs/model_card.md), so these are not new to them",
    "95 % intervals by resampling faces",
)


class Seen(NamedTuple):
    """What one network says of F faces: probabilities of being hidden (F, N), and disagreements (F,)."""

    hidden: npt.NDArray[np.float64]
    disagreement: npt.NDArray[np.float64]


class Found(NamedTuple):
    """Pictures of one face each, with their boxes; `missed` pictures held no face."""

    images: list[ImageArray]
    boxes: list[Box]
    missed: int


def find(folder: Path, count: int | None, landmarker: FaceLandmarker, without: Container[str] = ()) -> Found:
    """Find the largest face of each picture of a folder, of `count` pictures evenly spread over it.

    Pictures whose name, less its ending, is in `without` are left out.
    """
    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.stem not in without
    )
    if not paths:
        raise InputError.at(folder, "pictures", "none")
    if count is not None and count < len(paths):
        paths = [paths[i] for i in np.linspace(0, len(paths) - 1, count).round().astype(int)]
    result = Found([], [], 0)
    for path in paths:
        image = read_image(path)
        face = max(landmarker.detect(image), key=lambda face: face.box.size, default=None)
        if face is not None:
            result.images.append(image)
            result.boxes.append(Box.around(face.landmarks))
    return result._replace(missed=len(paths) - len(result.images))


def look(landmarker: FaceLandmarker, found: Found) -> Seen:
    """Look at every face in its box, in two others, and mirrored."""
    hidden, disagreement = [], []
    scheme = landmarker.localizer.scheme
    for start in range(0, len(found.images), BATCH):
        images, boxes = found.images[start : start + BATCH], found.boxes[start : start + BATCH]
        mirrored = [np.ascontiguousarray(image[:, ::-1]) for image in images]
        own, moved, grown, flipped = (
            [faces[0] for faces in landmarker.detect_batch(pictures, boxes=[[box] for box in chosen])]
            for pictures, chosen in (
                (images, boxes),
                (images, [box.adjusted((SHIFT * box.size, SHIFT * box.size)) for box in boxes]),
                (images, [box.adjusted((0, 0), (GROWTH, GROWTH)) for box in boxes]),
                (mirrored, [_mirrored(box, image) for box, image in zip(boxes, images, strict=True)]),
            )
        )
        for image, face, *others, mirror in zip(images, own, moved, grown, flipped, strict=True):
            back = flip_points(mirror.landmarks, image.shape[1], scheme.mirror)
            shapes = [*(other.landmarks for other in others), back]
            hidden.append(np.full(scheme.n_points, np.nan) if face.visibility is None else 1 - face.visibility)
            disagreement.append(disagree(face.landmarks, shapes, scheme))
    return Seen(np.array(hidden), np.array(disagreement))


def disagree(shape: FloatArray, others: Sequence[FloatArray], scheme: LandmarkScheme) -> float:
    """Return the mean distance of shapes (N, 2) from one of them, over its inter-ocular distance."""
    return float(
        np.mean([np.linalg.norm(other - shape, axis=1).mean() for other in others]) / interocular(shape, scheme)
    )


def of_boxes_alone(mean: FloatArray, scheme: LandmarkScheme) -> float:
    """Return the disagreement of a symmetric mean shape (N, 2), in face units, put into the boxes.

    The box's centre is its origin, from which points move away as the box grows; a mirrored box changes nothing.
    """
    shifted, grown = np.hypot(SHIFT, SHIFT), (GROWTH - 1) * np.linalg.norm(mean, axis=1).mean()
    return float((shifted + grown) / 3 / interocular(mean, scheme))


def _mirrored(box: Box, image: ImageArray) -> Box:
    last = image.shape[1] - 1
    return Box(last - box.x1, box.y0, last - box.x0, box.y1)


def interval(values: npt.NDArray[np.float64]) -> list[float]:
    """Return the mean of a value of each face, and its 95 % interval."""
    (mean,) = ratio_intervals(values, np.ones_like(values))
    return [mean.value, mean.low, mean.high]


def told_apart(covered: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> list[float]:
    """Return the AUC of a value of each face for covered faces against others, and its 95 % interval."""
    rng = np.random.default_rng(0)

    def measured(these: npt.NDArray[np.float64], those: npt.NDArray[np.float64]) -> float:
        truth = np.repeat([True, False], [len(these), len(those)])
        return roc_auc(np.concatenate([these, those]), truth)

    drawn = [measured(rng.choice(covered, len(covered)), rng.choice(others, len(others))) for _ in range(RESAMPLES)]
    return [measured(covered, others), *map(float, np.quantile(drawn, (0.025, 0.975)))]


def run(options: argparse.Namespace) -> None:
    finder = FaceLandmarker(threads=options.threads)
    without = wearers(options.without) if options.without else set()
    stems = {path.stem for folder, _ in SETS.values() for path in (options.data / folder).rglob("*")}
    if options.without and not without & stems:
        raise InputError.at("--without", f"templates cut from pictures of {options.data}", str(options.without))
    found = {
        name: find(options.data / folder, options.faces if part else options.others, finder, without)
        for name, (folder, part) in SETS.items()
    }
    scheme = finder.localizer.scheme
    measured: dict[str, dict[str, Any]] = {}
    for weights in options.weights:
        landmarker = FaceLandmarker(weights, accuracy="fast", threads=options.threads)
        seen = {name: look(landmarker, faces) for name, faces in found.items()}
        measured[weights] = {}
        for name, (_, part) in SETS.items():
            values = measured[weights].setdefault(name, {})
            values["disagreement"] = interval(seen[name].disagreement)
            if part is not None:
                points = list(scheme.part(part))
                here, elsewhere = seen[name].hidden[:, points], seen["others (LFW)"].hidden[:, points]
                values["flagged"] = interval((here > 0.5).mean(axis=1))
                values["flagged in others"] = interval((elsewhere > 0.5).mean(axis=1))
                values["AUC"] = told_apart(here.mean(axis=1), elsewhere.mean(axis=1))
        print(weights, measured[weights], flush=True)
    counts = {name: {"faces": len(faces.images), "without a face": faces.missed} for name, faces in found.items()}
    alone = of_boxes_alone(finder.localizer.mean_shape, scheme)
    facts = provenance(options.threads)
    content = {**facts, "pictures": counts, "measures": measured, "disagreement of the mean shape": alone}
    told = "; ".join(
        f"{name}: {c['faces']} faces, none in {c['without a face']} pictures" for name, c in counts.items()
    )
    write_results(options.out, "real_occluders", content, page(facts, measured, alone, told))


def page(facts: Mapping[str, Any], measured: Mapping[str, Any], alone: float, told: str) -> str:
    """Write the page: what is called hidden, and how far the weights agree with themselves."""
    covered = {name: part for name, (_, part) in SETS.items() if part}
    columns = [f"{part} {what}" for part in covered.values() for what in ("called hidden", "of others", "AUC")]
    rows = []
    for weights, sets in measured.items():
        shares = [[_share(sets[name]["flagged"]), _share(sets[name]["flagged in others"]), _number(sets[name]["AUC"])]
                  for name in covered]  # fmt: skip
        rows.append([weights, *(cell for cells in shares for cell in cells)])
    rows.append(["calls every point hidden", *(["100%", "100%", "0.500"] * len(covered))])
    agreement = [
        [weights, *(_share(sets[name]["disagreement"]) for name in SETS)] for weights, sets in measured.items()
    ]
    agreement.append(["mean shape in the box", *([f"{alone:.1%}"] * len(SETS))])
    parts = [
        "## What is called hidden (probability above 0.5)",
        markdown_table(["weights", *columns], rows),
        "## Disagreement under other boxes and mirroring",
        markdown_table(["weights", *SETS], agreement),
    ]
    return markdown_page("People in real masks and sunglasses", facts, (told, *NOTES), *parts)


def _share(values: Sequence[float]) -> str:
    return "{:.1%} ({:.1%}-{:.1%})".format(*values)


def _number(values: Sequence[float]) -> str:
    return "{:.3f} ({:.3f}-{:.3f})".format(*values)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder of the data sets")
    made.add_argument("--weights", nargs="+", default=["robust"], help="names or files (default: the shipped ones)")
    made.add_argument("--faces", type=int, help="pictures of each occluded set (default: all)")
    made.add_argument("--without", type=Path, help="templates that cut_masks.py cut to train with: not their pictures")
    made.add_argument("--others", type=int, default=600, help="pictures of other people (default: %(default)s)")
    return made


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

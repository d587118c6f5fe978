"""Measure what further views of a face give and cost; write `docs/results/views.json`, `views.md` and a chart.

    python benchmarks/measure_views.py PACK DATA [--tests] [--weights FILE] [--threads 1]

PACK is a `srn data pack` of 300W's training faces with the renderings of `300W_LP_AFW`, in the order of the weights'
training. DATA holds `300W`, `masked_300W` and `occluders`. The rule of `balanced` is chosen on validation faces: those
of which no other face or rendering was trained on. `--tests` also measures every accuracy on the test faces. Nothing
is averaged with its mirrored view.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from measure_weights import masked_version
from remembered import RememberedFinder, RememberedLocalizer
from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.pack import FacePack
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import CHALLENGING_SUBSETS, COMMON_SUBSETS, photograph_of
from srn.errors import InputError
from srn.evaluation.protocol import best_match, evaluate
from srn.evaluation.report.chart_file import write_charts
from srn.evaluation.report.charts import Line, LineChart
from srn.face.geometry import Box, Float64Array, ImageArray, similarity, transform_points
from srn.face.localizer import Localizer
from srn.face.metrics import interocular, nme
from srn.inference import views
from srn.inference.face_finder import CenterFaceFinder, FoundFace, LandmarkBoxFinder
from srn.inference.landmarker import DOUBTFUL_SCORE
from srn.inference.runtime import open_localizer
from srn.inference.views import SECOND_PAYS, Accuracy
from srn.synthesis.augment import jittered_box, occlude
from srn.synthesis.config import AugmentConfig
from srn.synthesis.masked import MIXED, masked_picture
from srn.synthesis.wardrobe import MaskWardrobe
from srn.training.config import TrainConfig
from srn.training.stream import split_validation

THRESHOLDS = (0.12, 0.06, 0.04, 0.03, SECOND_PAYS, 0.018, 0.012, 0.006)
DETECTED, OCCLUDED = AugmentConfig(), AugmentConfig(masks=0, occluders=1, noise_patch=0.15)
DARK = 0.04  # share of the brightness
DRAWS = 2  # of what is drawn by chance, for each face
NOTES = (
    "each cell: NME in %, by the inter-ocular distance / views a face; `fast` is one view, `best` at least two",
    "not averaged with mirrored views; quarter turns tried for unsure faces, and views that decide about doubtful boxes"
    " of the face finder, count as views",
)


class Case(NamedTuple):
    """A face to localize; a box of None is the face finder's."""

    condition: str
    image: ImageArray
    landmarks: Float64Array
    box: Box | None
    unit: float


@dataclass(frozen=True)
class Rule:
    """An accuracy, and the threshold of its second view."""

    accuracy: Accuracy
    threshold: float = SECOND_PAYS

    @property
    def name(self) -> str:
        """Its name in the table."""
        if self == Rule("balanced"):
            return f"**balanced: above {self.threshold:g}**"
        return f"second view above {self.threshold:g}" if self.accuracy == "balanced" else self.accuracy


def untrained(pack: FacePack) -> tuple[FacePack, FacePack]:
    """Split a pack into training faces and those validation faces whose photograph shows no other face of the pack."""
    training, validation = split_validation(pack, TrainConfig().validation)
    if validation is None or not len(validation):
        raise InputError.at(pack.where, "a pack with faces to keep from training", f"{len(pack)} faces")
    photographs = [photograph_of(str(name)) for name in pack.names]
    alone = [photographs.count(photograph_of(str(name))) == 1 for name in validation.names]
    return training, validation.subset(np.flatnonzero(alone))


def cases(training: FacePack, faces: FacePack, wardrobe: MaskWardrobe) -> Iterator[Case]:
    """Make the cases of all faces, the same ones in every call."""
    for index, face in enumerate(faces.samples(Path("pack.npz"))):
        rng = np.random.default_rng([7, index])
        image, points, unit = face.load(), face.landmarks, interocular(face.landmarks, face.scheme)

        def shifted(share: float, box: Box = face.box, rng: np.random.Generator = rng) -> Box:
            angle = rng.uniform(0, 2 * np.pi)
            return box.adjusted(np.array([np.cos(angle), np.sin(angle)]) * share * box.size)

        yield Case("true box", image, points, face.box, unit)
        yield Case("face finder", image, points, None, unit)
        for _ in range(DRAWS):
            masked, *_ = masked_picture(face, MIXED, wardrobe, rng)
            yield Case("like bbs", image, points, jittered_box(face.box, DETECTED, rng), unit)
            yield Case("off by 15 %", image, points, shifted(0.15), unit)
            yield Case("off by 30 %", image, points, shifted(0.3), unit)
            yield Case("masked, true box", masked, points, face.box, unit)
            yield Case("masked, face finder", masked, points, None, unit)
            yield Case("masked, off by 15 %", masked, points, shifted(0.15), unit)
            covered, other = image.copy(), training.image(int(rng.integers(len(training))))
            occlude(covered, points, lambda o=other: o, face.box.size, face.scheme, OCCLUDED, rng)  # type: ignore[misc]
            yield Case("occluded, like bbs", covered, points, jittered_box(face.box, DETECTED, rng), unit)
            dark = np.round(image * np.float32(DARK)).astype(np.uint8)
            yield Case("dark, like bbs", dark, points, jittered_box(face.box, DETECTED, rng), unit)
            yield turned(image, points, unit, rng)


def turned(image: ImageArray, points: Float64Array, unit: float, rng: np.random.Generator) -> Case:
    """Make a case of a face rotated by up to 45 degrees."""
    import cv2

    center = points.mean(axis=0)
    turn = similarity(1.0, float(np.deg2rad(rng.uniform(-45, 45))), center, center)
    rotated = cv2.warpAffine(image, turn, image.shape[1::-1], borderMode=cv2.BORDER_REPLICATE).astype(np.uint8)
    moved = transform_points(turn, points)
    return Case("turned, like bbs", rotated, moved, jittered_box(Box.around(moved), DETECTED, rng), unit)


def measure(
    landmarker: FaceLandmarker, counter: RememberedLocalizer, some: Sequence[Case]
) -> dict[str, dict[str, float]]:
    """Measure NME in % and views a face by condition; faces that the finder misses are left out and counted."""
    errors: dict[str, list[float]] = {}
    counts: dict[str, list[int]] = {}
    for case in some:
        counter.views = 0
        box: Box | FoundFace | None = case.box
        if box is None:
            found = landmarker.find(case.image)
            match = best_match([face.box for face in found], Box.around(case.landmarks))
            box = None if match is None else found[match]
        listed = errors.setdefault(case.condition, [])
        if box is not None:
            (face,) = landmarker.detect(case.image, [box])
            listed.append(nme(face.landmarks, case.landmarks, case.unit) * 100)
        counts.setdefault(case.condition, []).append(counter.views)
    return {
        name: {"nme": float(np.mean(values)), "views": float(np.mean(counts[name])), "faces": len(values)}
        for name, values in errors.items()
    }


def rows_of_rules(
    localizer: Localizer, finder: LandmarkBoxFinder, some: Sequence[Case]
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure all rules on validation faces."""
    rules = [Rule("fast"), *(Rule("balanced", threshold) for threshold in THRESHOLDS), Rule("best")]
    counter, rows = RememberedLocalizer(localizer), {}
    default = views.SECOND_PAYS
    for rule in rules:
        views.SECOND_PAYS = rule.threshold  # read at every call
        landmarker = FaceLandmarker(localizer=counter, face_finder=finder, accuracy=rule.accuracy)
        rows[rule.name] = measure(landmarker, counter, some)
        print(rule.name, {name: (round(v["nme"], 3), round(v["views"], 2)) for name, v in rows[rule.name].items()})
    views.SECOND_PAYS = default
    return rows


def rows_of_tests(
    localizer: Localizer, finder: LandmarkBoxFinder, data: Path
) -> dict[str, dict[str, dict[str, float]]]:
    """Measure every accuracy on the test faces, by set."""
    clean = open_faces(data / "300W", split="test").samples
    authors = open_faces(data / "masked_300W" / "ibug", split="test").samples
    counter = RememberedLocalizer(localizer)
    rows: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        masked = masked_version(clean, data, folder)
        sets: Mapping[str, Sequence[Sample]] = {"300W": clean, "our masks": masked, "authors' 30": authors}
        for name, samples in sets.items():
            for init in ("gt-box", "bbs", "finder") if name == "300W" else ("gt-box", "finder"):
                for accuracy in get_args(Accuracy):
                    landmarker = FaceLandmarker(localizer=counter, face_finder=finder, accuracy=accuracy)
                    counter.views = 0
                    whole = evaluate(landmarker, samples, init=init)
                    a_face = counter.views / len(samples)
                    parts = {"Full": whole}
                    if len(samples) > len(authors):
                        groups = {"Common": COMMON_SUBSETS, "Challenging": CHALLENGING_SUBSETS}
                        parts = {part: whole.subset(*some) for part, some in groups.items()} | parts
                    for part, result in parts.items():
                        facts = {"nme": result.nme * 100, "views": a_face, "faces": len(result.results)}
                        rows.setdefault(f"{name}, {init}, {part}", {})[accuracy] = facts
                        print(name, init, part, accuracy, round(facts["nme"], 3), round(a_face, 2), flush=True)
    return rows


def chart(rows: Mapping[str, Mapping[str, Mapping[str, float]]]) -> LineChart:
    """Draw, for each condition, how much worse than `best` each rule is, over its views a face."""
    lines, shown = [], ("true box", "face finder", "like bbs", "off by 15 %", "masked, face finder", "dark, like bbs")
    for name in shown:
        best = rows["best"][name]["nme"]
        x, y = ([row[name][key] for row in rows.values()] for key in ("views", "nme"))
        lines.append(Line(name, np.array(x), np.array(y) - best, markers=True))
    spoken = [f"{line.name}: one view {line.y[0]:+.2f} points" for line in lines]
    top = max(float(line.y.max()) for line in lines) * 1.1
    return LineChart(
        "Error over views", "; ".join(spoken), "views a face", "NME above that of best (points)",
        (1.0, 2.1), (min(0.0, *(float(line.y.min()) for line in lines)), top), lines,
    )  # fmt: skip


def table(rows: Mapping[str, Mapping[str, Mapping[str, float]]], first: str) -> str:
    """Format rows of cells; all rows have the same columns."""
    columns = list(next(iter(rows.values())))
    lines = [
        [name, *(f"{cells[c]['nme']:.2f} / {cells[c]['views']:.2f}" for c in columns)] for name, cells in rows.items()
    ]
    return markdown_table((first, *columns), lines)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("pack", type=Path, help="pack of the training faces")
    made.add_argument("data", type=Path, help="folder that holds 300W/, masked_300W/ and occluders/")
    made.add_argument("--weights", type=Path, help="weights to measure (default: the shipped ones)")
    made.add_argument("--tests", action="store_true", help="also measure the test faces")
    return made


def run(options: argparse.Namespace) -> None:
    """Measure, and write the page."""
    localizer = open_localizer(options.weights, threads=options.threads)
    centerface = CenterFaceFinder(doubtful_threshold=DOUBTFUL_SCORE, threads=options.threads)
    finder = LandmarkBoxFinder(RememberedFinder(centerface))
    training, faces = untrained(FacePack.load(options.pack))
    some = list(cases(training, faces, MaskWardrobe.load(options.data / "occluders" / "masks")))
    rows = rows_of_rules(localizer, finder, some)
    options.out.mkdir(parents=True, exist_ok=True)
    write_charts(options.out / "views.png", chart(rows))
    content: dict[str, Any] = {
        **provenance(options.threads), "weights": localizer.name, "validation_faces": len(faces), "validation": rows,
    }  # fmt: skip
    parts = [f"## {len(faces)} validation faces\n\n![curve](views.png)", table(rows, "rule")]
    if options.tests:
        content["tests"] = rows_of_tests(localizer, finder, options.data)
        parts += ["## Test faces", table(content["tests"], "set")]
    write_results(options.out, "views", content, markdown_page("Views that pay", content, NOTES, *parts))


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

"""Measure the visibility of weights under real occlusion; write `docs/results/visibility.json` and `visibility.md`.

    python benchmarks/measure_visibility.py PACK FLAGS [--weights FILE ...] [--against FILE ...]

PACK is made by `srn data pack 300W --quality 90`, FLAGS by hand (`occlusion_flags.py`). Measured on the faces of the
part `yardstick`, from true boxes, with accuracy `best` and mirrored averaging: all faces with a hidden point, and as
many others as give 147 to 84. Doubtful points count neither way. The prior is the share of faces of the part `training`
in which a point is hidden. With `--against`, which names as many weights (the same seeds of another recipe), the page
also has the mean difference, with an interval by resampling the same faces, and the seeds, for both.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from occlusion_flags import TRAINING, YARDSTICK, Flags, read_flags, stacked
from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.evaluation.protocol import evaluate
from srn.face.metrics import average_precision, expected_calibration_error, recall_at_precision, roc_auc
from srn.face.weights import find_weights
from srn.model.export import load_weights
from srn.model.localizer import TorchLocalizer

CLEAN_SHARE = 84 / 147
"""Faces without a hidden point for each with one, as in the flags that others made of 300W's test faces."""

RESAMPLES = 1000
NAMES = ("recall at 80 % precision", "average precision", "AUC", "calibration error", "recall at 0.5")
NOTES = (
    "300W training faces of the part `yardstick`, whose photographs no visibility head has learned from; the other "
    "weights have seen most of them",
    "95 % intervals by resampling faces; doubtful points count neither way",
)

Scores = npt.NDArray[np.floating]


def measures(hidden_by: Scores, hidden: Flags, certain: Flags) -> npt.NDArray[np.float64]:
    """Return the measures of `NAMES` of probabilities of being hidden (F, 68)."""
    score, truth = hidden_by[certain], hidden[certain]
    return np.array(
        [
            recall_at_precision(score, truth),
            average_precision(score, truth),
            roc_auc(score, truth),
            expected_calibration_error(score, truth),
            float((score[truth] > 0.5).mean()) if truth.any() else np.nan,
        ]
    )


def summary(hidden_by: Scores, hidden: Flags, certain: Flags) -> dict[str, list[float]]:
    """Return each measure with the ends of its interval."""
    rng, faces = np.random.default_rng(0), len(hidden)
    drawn = [
        measures(hidden_by[rows], hidden[rows], certain[rows])
        for rows in (rng.integers(faces, size=faces) for _ in range(RESAMPLES))
    ]
    ends = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    values = measures(hidden_by, hidden, certain)
    return {name: [values[k], *ends[:, k]] for k, name in enumerate(NAMES)}


def gains(
    ours: npt.NDArray[np.floating], theirs: npt.NDArray[np.floating], hidden: Flags, certain: Flags
) -> dict[str, list[float]]:
    """Return the mean of each measure of ours minus theirs, (seeds, F, 68) each, with the ends of its interval."""
    rng, seeds, faces = np.random.default_rng(0), len(ours), len(hidden)

    def difference(pairs: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        scored = [
            [measures(scores[pair][rows], hidden[rows], certain[rows]) for pair in pairs] for scores in (ours, theirs)
        ]
        return np.asarray(np.mean(scored[0], axis=0) - np.mean(scored[1], axis=0))

    drawn = [difference(rng.integers(seeds, size=seeds), rng.integers(faces, size=faces)) for _ in range(RESAMPLES)]
    ends = np.nanquantile(drawn, [0.025, 0.975], axis=0)
    values = difference(np.arange(seeds), np.arange(faces))
    return {name: [values[k], *ends[:, k]] for k, name in enumerate(NAMES)}


def composed(hidden: Flags) -> npt.NDArray[np.int64]:
    """Choose faces (F, 68): all with a hidden point, and evenly spread others."""
    occluded, clean = (np.flatnonzero(some) for some in (hidden.any(axis=1), ~hidden.any(axis=1)))
    count = min(round(len(occluded) * CLEAN_SHARE), len(clean))
    return np.sort(np.concatenate([occluded, clean[np.linspace(0, len(clean) - 1, count).round().astype(int)]]))


def row(name: str, values: Mapping[str, Sequence[float]]) -> list[str]:
    """Format one line of the table."""
    return [name, *(f"{value:.3f} ({low:.3f}-{high:.3f})" for value, low, high in values.values())]


def look(path: str, faces: FacePack, where: Path) -> tuple[Scores, float]:
    """Return the probabilities of being hidden (F, 68) that weights give, and their mean NME."""
    network, _ = load_weights(find_weights(path))
    landmarker = FaceLandmarker(localizer=TorchLocalizer(network), accuracy="best", flip_average=True)
    result = evaluate(landmarker, faces.samples(where))
    seen = [face.visibility for face in result.results]
    if any(visibility is None for visibility in seen):
        raise InputError.at(path, "weights that predict visibility", "others")
    return 1 - np.stack(seen), float(np.mean([face.nme for face in result.results]))  # type: ignore[arg-type]


def measure(options: argparse.Namespace) -> None:
    """Measure all weights and write the page."""
    pack, flags = FacePack.load(options.pack), read_flags(options.flags)
    if options.against and len(options.against) != len(options.weights):
        expected = f"as many as --weights: {len(options.weights)}"
        raise InputError.at("--against", expected, str(len(options.against)))
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    names = [str(name) for name in pack.names]
    chosen, known = ([i for i, name in enumerate(names) if name in flags and flags[name].part == part]
                     for part in (YARDSTICK, TRAINING))  # fmt: skip
    if not chosen or not known:
        raise InputError.at(options.flags, f"flagged faces of {options.pack} in both parts", "none")
    hidden, _ = stacked(flags, [names[i] for i in chosen])
    faces = pack.subset(np.array(chosen)[composed(hidden)])
    hidden, doubtful = stacked(flags, [str(name) for name in faces.names])
    learned, unsure = stacked(flags, [names[i] for i in known])
    prior = np.broadcast_to(learned.sum(axis=0) / np.maximum((~unsure).sum(axis=0), 1), hidden.shape)
    found: dict[str, Any] = {"the prior": summary(prior, hidden, ~doubtful)}
    errors = {"the prior": "–"}
    scores = {}
    for path in dict.fromkeys([*options.weights, *options.against]):
        scores[path], error = look(path, faces, options.pack)
        found[Path(path).name], errors[Path(path).name] = summary(scores[path], hidden, ~doubtful), f"{error:.2%}"
    facts = provenance(options.threads)
    counts = {"faces": len(faces), "occluded faces": int(hidden.any(axis=1).sum()), "hidden": int(hidden.sum()),
              "visible": int((~hidden & ~doubtful).sum()), "doubtful": int(doubtful.sum())}  # fmt: skip
    content: dict[str, Any] = {**facts, "points": counts, "measures": found, "nme": errors}
    parts = list[str]()
    if options.against:
        pairs = [np.stack([scores[path] for path in paths]) for paths in (options.weights, options.against)]
        content["gain"] = gains(pairs[0], pairs[1], hidden, ~doubtful)
        cells = [f"{value:+.3f} ({low:+.3f} to {high:+.3f})" for value, low, high in content["gain"].values()]
        parts = ["Mean difference of --weights and --against:", markdown_table(("", *NAMES), [["gain", *cells]])]
    table = markdown_table(
        ("weights", *NAMES, "NME"), [[*row(name, values), errors[name]] for name, values in found.items()]
    )
    told = ", ".join(f"{name} {count}" for name, count in counts.items())
    write_results(
        options.out, "visibility", content, markdown_page("Real occlusion", facts, (told, *NOTES), table, *parts)
    )


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("pack", type=Path, help="training faces, made by srn data pack")
    made.add_argument("flags", type=Path, help="hand-made flags as JSON")
    made.add_argument("--weights", nargs="+", default=["robust"], metavar="FILE", help="default: the shipped ones")
    made.add_argument("--against", nargs="+", default=[], metavar="FILE", help="the same seeds of another recipe")
    return made


main = program(measure, parser)

if __name__ == "__main__":
    sys.exit(main())

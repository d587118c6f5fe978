"""Measure the ellipses of weights against the true errors; write `docs/results/ellipses.json` and `ellipses.md`.

    python benchmarks/measure_ellipses.py PACK DATA --weights directed.onnx

PACK is made by `srn data pack 300W --quality 90`: its validation faces are measured. DATA holds `300W` (its tests),
`youtube_faces`, `CK_plus` and `WFLW_subset` (its 68 points), which no training has seen; what is missing is left out.
Faces are localized from their true boxes, with accuracy `balanced`.

Three error models are compared, of the same points and expected errors: a circle; one direction for each landmark, in
the face's own frame, fitted on training faces of the pack (`--fitted`); the network's direction.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from results import BOOTSTRAPS, argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.pack import FacePack
from srn.datasets.sample import TEST, Sample
from srn.errors import InputError
from srn.face import ellipse
from srn.face.metrics import contour_directions
from srn.face.scheme import LandmarkScheme
from srn.training.stream import split_validation

Array = npt.NDArray[np.float64]

SETS = {
    "300W, tests": ("300W", None),
    "YouTube Faces": ("youtube_faces", None),
    "CK+": ("CK_plus", None),
    "WFLW": ("WFLW_subset", "wflw68"),
}
PARTS = ("brows", "eyes", "nose", "mouth", "jaw")
MODELS = ("circle", "by landmark", "network")
SHARES = tuple(ellipse.RADII)
BATCH = 16
NOTES = (
    "gain: by how much a model raises the mean log-likelihood of an error over the circle of the same expected error, "
    "with its 95 % interval by a bootstrap over faces; scaled: the same with all expected errors of the set times one "
    "factor, so that their mean is right",
    "inside: share of the errors within the ellipse that should hold 50 % and 90 %, as it is and scaled",
    "along and across the true contour: mean errors in % of the face's size, and their ratio as the ellipses foretell",
    "the frames of CK+ are of eight videos, so that its intervals are too narrow",
)


class Found(NamedTuple):
    """F localized faces of one set, in face units (the size of the true box).

    Attributes:
        error: (F, N, 2) truth minus point.
        scale: (F, N) b, half of the expected error.
        direction: (F, N, 2) of the network.
        angle: (F,) of the line through the found eyes, radians, x to y.
        contour: (F, N, 2) direction of the true contour; NaN for a point on none.
    """

    error: Array
    scale: Array
    direction: Array
    angle: Array
    contour: Array


def localized(landmarker: FaceLandmarker, samples: Sequence[Sample]) -> Found:
    """Localize faces from their true boxes."""
    rows = list[tuple[Array, ...]]()
    for first in range(0, len(samples), BATCH):
        batch = samples[first : first + BATCH]
        found = landmarker.detect_batch([s.load() for s in batch], [[s.box] for s in batch])
        for sample, (face,) in zip(batch, found, strict=True):
            if face.covariance is None:
                raise InputError.at("weights", "a network with the direction of errors", landmarker.localizer.name)
            cov, unit, eyes = face.covariance.astype(np.float64), sample.box.size, face.scheme.eyes
            mean = np.trace(cov, axis1=1, axis2=2) / 2
            direction = np.stack([(cov[:, 0, 0] - cov[:, 1, 1]) / 2, cov[:, 0, 1]], axis=1) / mean[:, None]
            x, y = face.landmarks[list(eyes[1])].mean(axis=0) - face.landmarks[list(eyes[0])].mean(axis=0)
            error = (sample.landmarks - face.landmarks) / unit
            contour = contour_directions(sample.landmarks, sample.scheme)
            rows.append((error, np.sqrt(mean / 3) / unit, direction, np.arctan2(y, x), contour))
    return Found(*(np.stack(column) for column in zip(*rows, strict=True)))


def fitted(found: Found) -> Array:
    """Return the direction (N, 2) of each landmark, in the face's frame, that foretells errors best at any scale.

    It is that of the matrix M of determinant 1 with the least mean of sqrt(e' M^-1 e) / b, found by iteration.
    """
    error = _turned(found.error, -found.angle)
    shape = np.tile(np.eye(2), (error.shape[1], 1, 1))
    outer = error[..., :, None] * error[..., None, :] / found.scale[..., None, None]  # (F, N, 2, 2)
    for _ in range(30):
        length = np.sqrt(np.einsum("fni,nij,fnj->fn", error, np.linalg.inv(shape), error) + 1e-12)
        shape = (outer / length[..., None, None]).mean(axis=0)
        shape /= np.sqrt(np.linalg.det(shape))[:, None, None]
    mean = np.trace(shape, axis1=1, axis2=2) / 2
    return np.stack([(shape[:, 0, 0] - shape[:, 1, 1]) / 2, shape[:, 0, 1]], axis=1) / mean[:, None]


def _turned(vectors: Array, angle: Array) -> Array:
    cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([cos * x - sin * y, sin * x + cos * y], axis=-1)


def radii(error: Array, scale: Array, direction: Array) -> Array:
    """Return sqrt(e' A^-1 e) / b of errors (..., 2)."""
    inverse = np.linalg.inv(ellipse.covariance(2 * scale, direction))
    return np.asarray(np.sqrt(3 * np.einsum("...i,...ij,...j->...", error, inverse, error)))


def likelihood(error: Array, scale: Array, direction: Array) -> Array:
    """Return the log-likelihood (...) of errors (..., 2)."""
    determinant = 1 - np.square(direction).sum(axis=-1)
    return -radii(error, scale, direction) - np.log(2 * np.pi * scale**2) - np.log(determinant) / 2


def summary(found: Found, by_landmark: Array, scheme: LandmarkScheme) -> dict[str, Any]:
    """Return what is measured of a set: by model, and by part of the face."""
    turned = ellipse.rotated(np.broadcast_to(by_landmark, found.direction.shape), found.angle[:, None])
    directions = dict(zip(MODELS, (np.zeros_like(found.direction), turned, found.direction), strict=True))
    factor = float((np.linalg.norm(found.error, axis=-1) / (2 * found.scale)).mean())
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(found.error), size=(BOOTSTRAPS, len(found.error)))

    def interval(faces: Array) -> list[float]:
        low, high = np.quantile(faces[drawn].mean(axis=1), (0.025, 0.975))
        return [float(faces.mean()), float(low), float(high)]

    models, scales = dict[str, Any](), {"gain": found.scale, "gain_scaled": found.scale * factor}
    gains = {
        (name, kind): likelihood(found.error, scale, direction) - likelihood(found.error, scale, directions["circle"])
        for name, direction in directions.items()
        for kind, scale in scales.items()
    }
    for name, direction in directions.items():
        values = dict[str, Any]()
        for kind in scales:
            gain = gains[name, kind]
            values[kind] = interval(gain.mean(axis=1))
            values[f"{kind}_by_part"] = {p: float(gain[:, list(scheme.part(p))].mean()) for p in PARTS}
        radius = radii(found.error, found.scale, direction) / np.sqrt(3)
        for kind, size in (("inside", 1.0), ("inside_scaled", factor)):
            values[kind] = [float((radius <= ellipse.RADII[s] * size).mean()) for s in SHARES]
            within = {p: radius[:, list(scheme.part(p))] for p in PARTS}
            values[f"{kind}_by_part"] = {
                p: [float((r <= ellipse.RADII[s] * size).mean()) for s in SHARES] for p, r in within.items()
            }
        models[name] = values
    more = gains["network", "gain_scaled"] - gains["by landmark", "gain_scaled"]
    return {"faces": len(found.error), "error_over_expected": factor, "models": models,
            "more_than_by_landmark": interval(more.mean(axis=1)),
            "contours": _contours(found, directions, scheme)}  # fmt: skip


def _contours(found: Found, directions: Mapping[str, Array], scheme: LandmarkScheme) -> dict[str, Any]:
    """Return by part the mean errors along and across the contour, and their ratio by each model."""
    across = np.stack([-found.contour[..., 1], found.contour[..., 0]], axis=-1)
    result = dict[str, Any]()
    for part in PARTS:
        points = [k for k in scheme.part(part) if np.isfinite(found.contour[:, k]).all()]
        axes = [axis[:, points] for axis in (found.contour, across)]
        observed = [float(np.abs((found.error[:, points] * axis).sum(axis=-1)).mean()) for axis in axes]
        ratios = {"observed": observed[0] / observed[1]}
        for name, direction in directions.items():
            cov = ellipse.covariance(2 * found.scale[:, points], direction[:, points])
            one, other = (np.sqrt(np.einsum("fni,fnij,fnj->fn", a, cov, a)).mean() for a in axes)
            ratios[name] = float(one / other)
        result[part] = {"along": observed[0], "across": observed[1], "ratio": ratios}
    return result


def measure(options: argparse.Namespace) -> None:
    """Measure all sets and write the page."""
    cv2.setNumThreads(options.threads)
    landmarker = FaceLandmarker(options.weights, threads=options.threads)
    scheme = landmarker.localizer.scheme
    training, validation = split_validation(FacePack.load(options.pack), options.validation)
    assert validation is not None
    some = training.subset(np.linspace(0, len(training) - 1, min(options.fitted, len(training))).round().astype(int))
    by_landmark = fitted(localized(landmarker, some.samples(options.pack)))
    sets = {"300W, validation": validation.samples(options.pack)}
    for name, (folder, kind) in SETS.items():
        if (options.data / folder).is_dir():
            split = TEST if folder == "300W" else None
            sets[name] = open_faces(options.data / folder, split=split, kind=kind).limited(options.most).samples
    results = {name: summary(localized(landmarker, samples), by_landmark, scheme) for name, samples in sets.items()}
    content = {**provenance(options.threads), "weights": landmarker.localizer.name, "sets": results}
    write_results(options.out, options.name, content, page(content))


def page(content: Mapping[str, Any]) -> str:
    """Format the results."""

    def interval(values: Sequence[float]) -> str:
        return "{:+.3f} ({:+.3f} to {:+.3f})".format(*values)

    def percent(values: Sequence[float]) -> str:
        return " / ".join(f"{v * 100:.0f}" for v in values)

    sets: Mapping[str, Any] = content["sets"]
    gains = [
        [name, str(s["faces"]), f"{s['error_over_expected']:.2f}", model, interval(s["models"][model]["gain"]),
         interval(s["models"][model]["gain_scaled"]),
         interval(s["more_than_by_landmark"]) if model == "network" else ""]
        for name, s in sets.items() for model in MODELS[1:]
    ]  # fmt: skip
    inside = [
        [name, model, percent(values["inside"]), percent(values["inside_scaled"]),
         *(percent(values["inside_scaled_by_part"][part]) for part in PARTS)]
        for name, s in sets.items() for model, values in s["models"].items()
    ]  # fmt: skip
    ratios = [
        [name, part, f"{c['along'] * 100:.2f}", f"{c['across'] * 100:.2f}",
         *(f"{c['ratio'][key]:.2f}" for key in ("observed", *MODELS)),
         f"{s['models']['network']['gain_scaled_by_part'][part]:+.3f}"]
        for name, s in sets.items() for part, c in s["contours"].items()
    ]  # fmt: skip
    columns = ["set", "faces", "error / expected", "model", "gain", "gain, scaled", "scaled, over by landmark"]
    return markdown_page(
        "Ellipses", content, NOTES,
        "## Log-likelihood",
        markdown_table(columns, gains),
        "## Share of errors inside, %",
        markdown_table(["set", "model", "50 / 90", "50 / 90, scaled", *(f"{part}, scaled" for part in PARTS)], inside),
        "## Along and across the contours",
        markdown_table(["set", "part", "along %", "across %", "ratio observed", *MODELS, "gain, scaled"], ratios),
    )  # fmt: skip


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("pack", type=Path, help="training faces, made by srn data pack")
    made.add_argument("data", type=Path, help="folder of the data sets")
    made.add_argument("--weights", required=True, help="network with the direction of errors")
    made.add_argument("--validation", type=int, default=96, help="validation faces of the pack (default: 96)")
    made.add_argument("--fitted", type=int, default=600, help="training faces for the model by landmark (default: 600)")
    made.add_argument("--most", type=int, default=400, help="faces of a set, evenly spread (default: 400)")
    made.add_argument("--name", default="ellipses", help="name of the page (default: ellipses)")
    return made


main = program(measure, parser)

if __name__ == "__main__":
    sys.exit(main())

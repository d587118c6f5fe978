"""Choose the constants of the tracker on training faces; write `docs/results/tracker_choice.json` and `.md`.

    python benchmarks/choose_tracker.py DATA [--clips 27] [--frames 40]

DATA holds `300W`, whose *training* pictures are animated: clean, masked and with passing occluders; still, moving and
fast; at 15, 30 and 60 frames a second. In further clips the whole face is hidden for a while by one colour, or by
background of another training picture. Each constant is moved alone around its present value. The rule was fixed
before the first run:

- filters and speed: the criterion is NME + jitter of the smoothed points, both in % of the inter-ocular distance;
- limits at which a face is lost: the share of frames in which a face that shows is not reported, plus the share in
  which one is reported that is wholly hidden;
- a value beats the present one if its mean criterion is lower by at least 1 %, and the 95 % interval of the difference
  (paired bootstrap over clips) lies below zero. It is taken if the interval lies below zero on clips of other training
  faces as well. Otherwise the present value stays. For information, a value that is better by at least 0.5 %, if not
  surely, is measured on the other faces, too.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import cv2
import numpy as np
import numpy.typing as npt

import replayed_tracks
import results
from remembered import RememberedFinder, RememberedLocalizer
from replayed_tracks import Score, Take
from results import markdown_table
from srn import Face, FaceLandmarker, TrackerConfig
from srn.cli.options import progress
from srn.datasets.catalogue import open_faces
from srn.errors import InputError
from srn.inference.face_finder import CenterFaceFinder
from srn.inference.landmarker import DOUBTFUL_SCORE
from srn.inference.runtime import OnnxLocalizer, shipped_weights
from srn.settings import with_settings
from training_takes import SEED, SMALLEST, moving_takes, vanishing_takes

Group = Literal["filter", "flow", "speed", "loss"]
Constants = dict[str, tuple[float, ...]]
Changes = Mapping[str, float]

CONSTANTS: dict[Group, Constants] = {
    "filter": {
        "smoothing.min_cutoff": (0.25, 1.0), "smoothing.beta": (6.0, 12.0, 48.0),
        "smoothing.rigid_beta": (0.0, 1.5, 6.0), "smoothing.shock_beta": (100.0, 200.0, 800.0),
        "smoothing.shock_floor": (0.06, 0.24), "smoothing.speed_cutoff": (0.5, 2.0),
        "smoothing.rigid_speed_cutoff": (2.5, 10.0),
    },
    "flow": {
        "smoothing.carried_cutoff": (1.25, 1.8, 3.5, 5.0), "smoothing.rigid_carried_cutoff": (1.0, 1.4, 2.8, 4.0),
        "smoothing.carried_shock_floor": (0.5, 2.0), "smoothing.least_weight": (0.1, 0.5, 1.0),
        "smoothing.hold": (0.0, 0.35, 1.0), "smoothing.memory_s": (0.25, 1.0), "smoothing.forget_s": (1.0, 4.0),
        "least_flow": (0.15, 0.5), "srn.inference.flow._NEAR": (0.5, 2.0), "srn.inference.flow._OWN": (1.25, 5.0),
        "srn.inference.flow._ENOUGH": (0.15, 0.6), "srn.inference.flow._CONTRAST": (1.0, 4.0),
    },
    "speed": {"srn.inference.tracks._SETTLING_S": (0.025, 0.1)},
    "loss": {
        "keep_confidence": (0.1, 0.15, 0.25), "accept_confidence": (0.2, 0.24, 0.36),
        "found_confidence": (0.05, 0.15, 0.2), "retry_s": (0.25, 1.0), "max_shift": (0.3, 1.2),
        "max_stretch": (1.3, 2.2), "max_misfit": (0.18, 0.35), "max_misses": (1, 4),
    },
}  # fmt: skip
"""The values tried of each constant, by what it belongs to: the One-Euro filter (measured without optical flow, since
it only acts where the flow cannot be trusted), the filter on the flow, the predicted speed, the loss of a face."""

TITLES = {
    "filter": "Filter where there is no optical flow", "flow": "Optical flow, and the filter on it",
    "speed": "Speed of a track", "loss": "Loss of a face",
}  # fmt: skip


@contextlib.contextmanager
def changed(changes: Changes, base: TrackerConfig) -> Iterator[TrackerConfig]:
    """Give the settings with constants changed: those of `TrackerConfig`, and of modules for as long as it lasts."""
    with contextlib.ExitStack() as stack:
        for name, value in changes.items():
            module, _, constant = name.rpartition(".")
            if module.startswith("srn."):
                stack.enter_context(mock.patch.object(importlib.import_module(module), constant, value))
            else:
                base = with_settings(base, [f"{name}={value}"])
        yield base


def present_value(name: str) -> float:
    """Return the present value of a constant."""
    module, _, constant = name.rpartition(".")
    owner: Any = importlib.import_module(module) if module.startswith("srn.") else TrackerConfig()
    return float(attrgetter(constant if module.startswith("srn.") else name)(owner))


class Bench:
    """The takes of one part of the faces with what the present tracker saw in them; measures changes of a constant."""

    def __init__(self, landmarker: FaceLandmarker, moving: list[Take], vanishing: list[Take]) -> None:
        self._landmarker = landmarker
        self.takes: dict[Group, list[Take]] = {
            "filter": moving, "flow": moving, "speed": moving,
            "loss": [take for take in moving if take.kind == "passing"] + vanishing,
        }  # fmt: skip
        self._recorded: list[list[Face | None]] = []

    def measure(self, group: Group, changes: Changes) -> list[Score]:
        """Score every take of a group with some constants changed."""
        takes, base = self.takes[group], TrackerConfig(flow=group != "filter")
        with changed(changes, base) as config:
            if group in ("speed", "loss"):
                return [
                    replayed_tracks.score(replayed_tracks.points_of(self._seen(take, config), take), take)
                    for take in takes
                ]
            pairs = zip(takes, self._recordings(), strict=True)
            return [
                replayed_tracks.score(replayed_tracks.replayed(self._landmarker, take, faces, config), take)
                for take, faces in pairs
            ]

    def _seen(self, take: Take, config: TrackerConfig) -> list[Face | None]:
        return replayed_tracks.seen_faces(self._landmarker.tracker(config=config, frame_rate=take.rate), take)

    def _recordings(self) -> list[list[Face | None]]:
        if not self._recorded:
            self._recorded = [self._seen(take, TrackerConfig(smooth=False)) for take in self.takes["flow"]]
        return self._recorded


def criterion(group: Group, scores: Sequence[Score]) -> npt.NDArray[np.float64]:
    """Return the number (takes,) by which a group's values are chosen; less is better, NaN without a followed frame."""
    if group == "loss":
        return np.array([one.missed + one.false for one in scores])
    return np.array([one.nme + one.jitter for one in scores])


def difference(group: Group, scores: Sequence[Score], present: Sequence[Score]) -> tuple[float, float, float] | None:
    """Return the mean of the criterion's difference to the present settings, and its 95 % interval; None without."""
    one, other = criterion(group, scores), criterion(group, present)
    known = np.isfinite(one) & np.isfinite(other)
    if not known.any():
        return None
    return results.paired_difference(one[None, known], other[None, known], np.random.default_rng(0))


def row(group: Group, changes: Changes, scores: Sequence[Score], present: Sequence[Score]) -> dict[str, Any]:
    """Sum up changed constants as means over the takes, with the difference to the present settings."""
    means = {column: known_mean([asdict(one)[column] for one in scores]) for column in asdict(scores[0])}
    mean = known_mean(criterion(group, scores))
    gap = difference(group, scores, present) if changes else None
    return {"changes": dict(changes), **means, "criterion": mean, "difference": gap}


def known_mean(values: Sequence[float] | npt.NDArray[np.float64]) -> float | None:
    """Average values that may be NaN; None if all are."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else None


def beats(one: dict[str, Any], present: dict[str, Any]) -> bool:
    """Whether a row is better than that of the present values, by the rule above."""
    return gains(one, present, 0.01) and one["difference"][2] < 0


def gains(one: dict[str, Any], present: dict[str, Any], share: float) -> bool:
    """Whether the criterion of a row is lower than that of the present values by a share of it, surely or not."""
    return one["difference"] is not None and bool(one["difference"][0] <= -share * present["criterion"])


def sweep(bench: Bench, group: Group, changes: Sequence[Changes], tick: Callable[[], None]) -> list[dict[str, Any]]:
    """Measure the present values of a group, and each of the changes."""
    present = bench.measure(group, {})
    rows = [row(group, {}, present, present)]
    for change in changes:
        rows.append(row(group, change, bench.measure(group, change), present))
        tick()
    return rows


def to_repeat(rows: Sequence[dict[str, Any]]) -> list[Changes]:
    """Return the best change of each constant that gains 0.5 %, and all together of those that beat the present."""
    better = sorted((one for one in rows[1:] if gains(one, rows[0], 0.005)), key=lambda one: -one["criterion"])
    best = {tuple(one["changes"]): one for one in better}.values()
    surely = [one["changes"] for one in best if beats(one, rows[0])]
    together = [{name: value for one in surely for name, value in one.items()}] if len(surely) > 1 else []
    return [one["changes"] for one in best] + together


def cells(one: dict[str, Any]) -> list[str]:
    """Format a row."""
    formats = {"nme": ".3f", "jitter": ".3f", "lag": ".1f", "missed": ".2f", "false": ".2f", "criterion": ".3f"}
    numbers = ["-" if one[name] is None else f"{one[name]:{form}}" for name, form in formats.items()]
    gap = "" if one["difference"] is None else "{:+.3f} ({:+.3f} to {:+.3f})".format(*one["difference"])
    names = [name.removeprefix("srn.inference.") for name in one["changes"]]
    values = [f"{value:g} (present: {present_value(name):g})" for name, value in one["changes"].items()]
    what = [", ".join(f"`{name}`" for name in names), ", ".join(values)] if names else ["present values", ""]
    return [*what, *numbers, gap]


COLUMNS = ("constant", "value", "NME %", "jitter %", "lag ms", "missed %", "false %", "criterion", "difference (95 %)")


def page(content: dict[str, Any]) -> str:
    """Format the results."""
    notes = [
        f"animated training faces of 300W: {content['moving']} moving ones and {content['vanishing']} that vanish, "
        f"{content['frames']} frames each; as many of other faces for what was better; seed {SEED}",
        "criterion: NME + jitter, or missed + false; less is better. One constant is changed at a time; a value has to"
        " be better by 1 %, the interval of the difference below zero, on these faces and on others",
    ]
    parts = []
    for group, rows in content["groups"].items():
        parts += [f"## {TITLES[group]}", markdown_table(COLUMNS, map(cells, rows))]
        again = content["again"][group]
        beaten = any(beats(one, rows[0]) for one in rows[1:])
        parts.append(f"{'Some values beat' if beaten else 'No value beats'} the present ones.")
        if again:
            parts += ["On other faces, what was better by at least 0.5 %:", markdown_table(COLUMNS, map(cells, again))]
    return results.markdown_page("The tracker's constants, chosen on training faces", content, notes, *parts)


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = results.argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder of the data sets")
    made.add_argument("--clips", type=int, default=27, help="moving faces; vanishing ones are two thirds as many")
    made.add_argument("--frames", type=int, default=40, help="frames of a clip (default: %(default)s)")
    return made


def run(options: argparse.Namespace) -> None:
    """Choose, and write the page."""
    cv2.setNumThreads(options.threads)
    few = max(options.clips * 2 // 3, 1)
    samples = [s for s in open_faces(options.data / "300W", split="train").samples if s.box.size >= SMALLEST]
    if len(samples) < 2 * (options.clips + few):
        raise InputError.at(options.data, f"{2 * (options.clips + few)} training faces", str(len(samples)))
    order = np.random.default_rng(SEED).permutation(len(samples))
    parts = [[samples[k] for k in order[part::2][: options.clips + few]] for part in range(2)]
    localizer = RememberedLocalizer(OnnxLocalizer(shipped_weights(), threads=options.threads))
    finder = RememberedFinder(CenterFaceFinder(threads=options.threads, doubtful_threshold=DOUBTFUL_SCORE))
    landmarker = FaceLandmarker(localizer=localizer, face_finder=finder)

    def bench(part: int) -> Bench:
        moving, vanishing = parts[part][: options.clips], parts[part][options.clips :]
        frames = options.frames
        return Bench(landmarker, moving_takes(moving, frames, part), vanishing_takes(vanishing, frames, part))

    groups: dict[Group, list[dict[str, Any]]] = {}
    with progress("values") as begin:
        first = bench(0)
        for group, constants in CONSTANTS.items():
            changes = [{name: value} for name, values in constants.items() for value in values]
            groups[group] = sweep(first, group, changes, begin(TITLES[group], len(changes)))
        better = {group: to_repeat(rows) for group, rows in groups.items()}
        other = bench(1) if any(better.values()) else first
        again = {group: sweep(other, group, some, lambda: None) if some else [] for group, some in better.items()}
    sizes = {"moving": options.clips, "vanishing": few, "frames": options.frames}
    weights = localizer.name
    content = {**results.provenance(options.threads), "weights": weights, **sizes, "groups": groups, "again": again}
    results.write_results(options.out, "tracker_choice", content, page(content))


main = results.program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

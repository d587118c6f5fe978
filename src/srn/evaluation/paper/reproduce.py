"""The paper's tables, measured again cell by cell."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import cv2
import numpy as np

from srn.datasets.catalogue import Dataset
from srn.datasets.folder import DataFolder
from srn.datasets.kinds import KINDS
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.evaluation.cache import EvaluationCache, cached_evaluate
from srn.evaluation.paper.networks import Network, by_variant
from srn.evaluation.paper.outcome import Cell, OurRow, Outcome
from srn.evaluation.paper.published import Column, Table
from srn.evaluation.provenance import processor
from srn.evaluation.results import Evaluation, Initialization, compare_evaluations
from srn.evaluation.speed import seconds_of_view
from srn.evaluation.statistics import Interval
from srn.face.scheme import LandmarkScheme
from srn.inference.engines import check_choice

Sets = Mapping[str, list[Dataset] | str]
"""The versions of each dataset, or the reason why there is none."""

VIDEO_NOTE = (
    "Each frame of a video is localized alone, as a picture: the state of equation 13 is not carried on. Intervals are "
    "over videos."
)

SAME_BOX = 0.01
"""Pixels: files of boxes have three decimals."""

CHANGED = 30
"""A pixel is masked if a colour differs by more from the unmasked picture; JPEG changes it by less."""


class Reproduction:
    """Measures networks on the available faces.

    Args:
        networks: weights of the tables; several of one variant and landmark scheme have a row each.
        ablations: weights of the ablations' runs, used instead of `networks` in the ablation tables.
        inits: sources of the face boxes; a row for each.
        progress: begins a measurement of a name and a number of faces; the result is called after each face.
        tell: gets a line for each measurement that an earlier run kept.

    Raises:
        InputError: an unknown source of face boxes, or two weights of one name for one row.
    """

    def __init__(
        self,
        data: DataFolder,
        networks: Sequence[Network],
        ablations: Sequence[Network] = (),
        *,
        cache: EvaluationCache | None = None,
        inits: Sequence[str] = ("gt-box",),
        progress: Callable[[str, int], Callable[[], None]] = lambda name, faces: lambda: None,
        tell: Callable[[str], object] = lambda line: None,
    ) -> None:
        self.data, self.cache, self._progress, self._tell = data, cache, progress, tell
        for name in inits:
            check_choice("face boxes", name, Initialization)
        self.inits = tuple(cast(Initialization, name) for name in inits)
        self.networks, self.ablations = by_variant(networks), by_variant(ablations)
        self._evaluations: dict[tuple[int, str, str, str], Evaluation] = {}

    def networks_of(self, variant: str, scheme: LandmarkScheme, *, ablation: bool = False) -> list[Network]:
        """Return the networks that have a row of a variant, in the order in which they were given."""
        key = (variant, scheme.name)
        return (not ablation and self.networks.get(key)) or self.ablations.get(key, [])

    def evaluate(self, network: Network, faces: Dataset, init: Initialization) -> Evaluation:
        """Measure a network on a set, once."""
        key = (id(network), faces.kind.name, faces.label, init)
        if key not in self._evaluations:
            name = f"{faces.kind.title}, {network.variant}, {init}"
            step = self._progress(name, len(faces.samples))
            result, _ = cached_evaluate(
                network.landmarker, faces.samples, cache=self.cache, digest=network.digest, init=init, progress=step,
                tell=lambda line: self._tell(f"{faces.kind.title}, {init} boxes: {line}"),
            )  # fmt: skip
            self._evaluations[key] = result
        return self._evaluations[key]

    def table(self, table: Table) -> Outcome:
        """Measure the rows of a table."""
        names = dict.fromkeys(column.dataset for column in table.columns if column.dataset != "none")
        sets: Sets = {name: self.data.sets(name) for name in names}
        versions = max((len(found) for found in sets.values() if not isinstance(found, str)), default=1)
        inits: Sequence[Initialization] = self.inits if sets else ("gt-box",)
        rows = []
        # The plain network has a row in every table, also where the paper prints only networks derived from it.
        for variant in dict.fromkeys([*table.variants, "full"]):
            made = [
                self._row(table, variant, sets, number, version, init)
                for number in range(self._count(table, variant, names))
                for version in range(versions)
                for init in inits
            ]
            rows += [row for row in made if row.filled] or made[:1]
        notes = self._mask_notes(table, sets)
        for found in sets.values():
            if not isinstance(found, str):
                notes += [VIDEO_NOTE] if any(sample.video for one in found for sample in one.samples) else []
                lines = [line for one in found for line in (*one.report.shortfalls, *one.report.problems)]
                notes += [self.data.relative(line) for line in lines]
        return Outcome(table, tuple(rows), tuple(dict.fromkeys(notes)))

    def _count(self, table: Table, variant: str, datasets: Collection[str]) -> int:
        """Count the rows of a variant: one for each network of the scheme that has the most, and one without any."""
        if not datasets:
            return max(len(self._timed(variant)), 1)
        return max(1, *(len(self.networks_of(variant, scheme_of(d), ablation=table.ablation)) for d in datasets))

    def _row(self, table: Table, variant: str, sets: Sets, number: int, version: int, init: Initialization) -> OurRow:
        published = table.row_of(variant)
        method = "SRN" if published is None else published.method
        cells: dict[str, Cell] = {}
        used: dict[str, None] = {}
        for column in table.columns:
            if column.dataset == "none":
                some = self._timed(variant)
            else:
                some = self.networks_of(variant, scheme_of(column.dataset), ablation=table.ablation)
            network = some[number] if number < len(some) else None
            if network is not None:
                used[network.label] = None
            if column.dataset == "none":
                cells[column.name] = self._speed(network, variant)
                continue
            found = sets[column.dataset]
            faces = found if isinstance(found, str) else found[min(version, len(found) - 1)]
            cells[column.name] = self._measured(network, variant, faces, column, init)
        return OurRow(method, variant, cells, init, tuple(used))

    def _measured(
        self, network: Network | None, variant: str, faces: Dataset | str, column: Column, init: Initialization
    ) -> Cell:
        title, n_points = KINDS[column.dataset].title, scheme_of(column.dataset).n_points
        reasons = []
        if isinstance(faces, str):
            reasons.append(faces)
        elif column.subset not in faces.parts:
            reasons.append(f"no data: {title} {column.subset}")
        if network is None:
            reasons.append(f"no weights: {variant}, {n_points} points")
        if reasons or network is None or isinstance(faces, str):
            return Cell(reason="; ".join(reasons))
        if init == "bbs" and any(sample.detector_box is None for sample in faces.samples):
            return Cell(reason=f"no detector boxes: {title}")
        if init == "bbs" and all(_is_true_box(sample) for sample in faces.samples):
            return Cell(reason=f"no detector boxes, but those of the true points: {title}")
        whole = self.evaluate(network, faces, init)
        wanted = {_face_key(sample.path, sample.landmarks) for sample in faces.part(column.subset)}
        results = tuple(
            r for r in whole.results
            if r.target_landmarks is not None and _face_key(r.path, r.target_landmarks) in wanted
        )  # fmt: skip
        part = replace(whole, results=results, problems=()).by(column.normalizer or whole.normalizer)
        if not part.results:
            return Cell(reason=f"no picture could be read: {title} {column.subset}")
        interval = _measure(part, column.metric)
        if interval is None:
            annotated = any(r.occluded is not None for r in results)
            lacks = "weights that predict visibility" if annotated else "occlusion flags"
            return Cell(reason=f"no {lacks}: {title}")
        details = (network.name, network.detail, faces.label)
        official = faces.kind.official_count(column.subset)
        return Cell(interval, len(part.results), official, part=part, details=details)

    def _timed(self, variant: str) -> list[Network]:
        """Return a variant's networks of the first scheme that has some: speed belongs to no set of faces."""
        return next((some for (name, _), some in self.networks.items() if name == variant), [])

    def _speed(self, network: Network | None, variant: str) -> Cell:
        if network is None:
            return Cell(reason=f"no weights: {variant}")
        details = (f"{network.name}, one view, on {processor()}",)
        return Cell(Interval(1 / seconds_of_view(network.landmarker.localizer), np.nan, np.nan), details=details)

    def _mask_notes(self, table: Table, sets: Sets) -> list[str]:
        """Compare the authors' masks with masks made here, by the same network on the same faces."""
        found = sets.get("masked-300w", "")
        networks = self.networks_of("full", scheme_of("masked-300w"), ablation=table.ablation)
        if isinstance(found, str) or len(found) < 2 or not networks:
            return []
        network = networks[0]
        theirs, ours = found[:2]
        errors = (self.evaluate(network, theirs, "gt-box"), self.evaluate(network, ours, "gt-box"))
        note, clean = _errors_under_masks(*errors, ours.label), self.data.sets("300w")
        covered = None if note is None or isinstance(clean, str) else _covered_points(clean[0], theirs, ours)
        return [line for line in (note, covered) if line is not None]


def scheme_of(dataset: str) -> LandmarkScheme:
    scheme = KINDS[dataset].scheme
    assert scheme is not None, dataset
    return scheme


def _is_true_box(sample: Sample) -> bool:
    """Whether the box that a dataset has beside a face is that of its landmarks, as the authors' of Masked 300W are."""
    box = sample.detector_box
    return box is not None and bool(np.abs(box.as_array() - sample.box.as_array()).max() < SAME_BOX)


def _face_key(path: Path, landmarks: np.ndarray) -> tuple[str, bytes]:
    return path.as_posix(), np.ascontiguousarray(landmarks, np.float64).tobytes()


def _measure(part: Evaluation, metric: str) -> Interval | None:
    """A measure of a set of faces in per cent; None if the set has no occlusion flags or the weights no visibility."""
    if metric == "recall-at-80-precision":
        summary = part.visibility_summary()
        if summary is None:
            return None
        return Interval(float(summary["recall_at_80_precision"]) * 100, np.nan, np.nan)
    intervals = part.intervals()
    chosen = intervals.nme if metric == "nme" else intervals.failure_rate
    return Interval(chosen.value * 100, chosen.low * 100, chosen.high * 100)


def _errors_under_masks(theirs: Evaluation, ours: Evaluation, label: str) -> str | None:
    """Compare a network's errors under the authors' masks and under masks made here; None for fewer than two faces."""
    try:
        pair = compare_evaluations(theirs, ours)
    except InputError:  # no face in common
        return None
    if pair.faces < 2:
        return None
    common = set.intersection(*({(r.subset, r.path.stem) for r in one.results} for one in (theirs, ours)))
    means = [np.mean([r.nme for r in one.results if (r.subset, r.path.stem) in common]) * 100 for one in (theirs, ours)]
    gap, low, high = (v * 100 for v in (pair.difference.value, pair.difference.low, pair.difference.high))
    return (
        f"The same {pair.faces} faces: {means[0]:.2f} % under the authors' masks, {means[1]:.2f} % under {label}; "
        f"difference {gap:+.2f} (95 % interval {low:+.2f} to {high:+.2f}), sign-flip p {pair.p_text}."
    )


def _covered_points(clean: Dataset, theirs: Dataset, ours: Dataset) -> str | None:
    """Compare the shares of each component's points under the masks; None without a face in common."""
    originals, made = ({(s.subset, s.path.stem): s for s in one.samples} for one in (clean, ours))
    covered = []
    for sample in theirs.samples:
        original, ourselves = (faces.get((sample.subset, sample.path.stem)) for faces in (originals, made))
        if original is None or ourselves is None or ourselves.occluded is None:
            continue
        changed = _changed_points(original, sample)
        if changed is not None:
            covered.append((changed, ourselves.occluded))
    if not covered:
        return None
    authors, here = (np.mean(flags, axis=0) for flags in zip(*covered, strict=True))
    texts = [
        f"{name.replace('_', ' ')} {authors[list(points)].mean():.0%} and {here[list(points)].mean():.0%}"
        for name, points in theirs.samples[0].scheme.components.items()
        if points
    ]
    return f"Points covered by the authors' masks and by {ours.label}: {', '.join(texts)}."


def _changed_points(clean: Sample, masked: Sample) -> np.ndarray | None:
    """(N,) whether the picture differs at each point; None for pictures that cannot be read or compared."""
    try:
        before, after = clean.load(), masked.load()
    except DataError:
        return None
    if before.shape != after.shape:
        return None
    changed = (np.abs(before.astype(np.int16) - after).max(axis=2) > CHANGED).astype(np.uint8)
    changed = cv2.medianBlur(changed, 5)  # removes single pixels, which are noise
    x, y = np.clip(np.round(masked.landmarks).astype(int), 0, np.array(changed.shape[::-1]) - 1).T
    return np.asarray(changed[y, x] > 0)

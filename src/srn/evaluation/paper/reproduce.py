"""The paper's tables and figures, measured again: ours beside the published numbers, cell by cell.

A table is data (`published.toml`): its columns say which faces and which measure, its rows which networks. What follows
here is the one loop over them. A cell that cannot be filled says which data or weights it lacks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from srn.datasets.catalogue import Dataset
from srn.datasets.folder import DataFolder
from srn.datasets.kinds import KINDS
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.evaluation.cache import EvaluationCache, cached_evaluate
from srn.evaluation.paper.published import VARIANTS, Column, Table
from srn.evaluation.report.charts import Line, LineChart, Mark
from srn.evaluation.report.pictures import draw_result, sheet
from srn.evaluation.results import FAILURE_THRESHOLD, Evaluation, FaceResult, Initialization, compare_evaluations
from srn.evaluation.speed import measure_speed
from srn.evaluation.statistics import Interval
from srn.face import metrics
from srn.face.geometry import ImageArray
from srn.face.scheme import LandmarkScheme
from srn.inference.landmarker import FaceLandmarker

CURVE_END = 0.10
"""Where the curves' horizontal axis ends; beyond 8 %, so that published failure rates at 8 % can be marked."""

SHEET_FACES = 10


@dataclass(frozen=True)
class Network:
    """Weights to measure.

    Attributes:
        variant: which row of the paper's own they belong to, of `published.VARIANTS`.
        landmarker: with the options of the measurement.
        digest: hash of the weights; None where they are of no file.
        detail: what to say about them, e.g. a training budget.
    """

    variant: str
    landmarker: FaceLandmarker
    digest: str | None = None
    detail: str = ""

    @property
    def scheme(self) -> LandmarkScheme:
        return self.landmarker.localizer.scheme


@dataclass(frozen=True)
class Cell:
    """One number of ours, in its column's unit; or the reason why it is not there.

    Attributes:
        interval: value and 95 % interval; NaN bounds where there is none.
        faces, official: measured on how many faces, and how many the complete set has.
        reason: why there is no number.
    """

    interval: Interval | None = None
    faces: int | None = None
    official: int | None = None
    reason: str = ""

    @property
    def value(self) -> float | None:
        """The number, if there is one."""
        return None if self.interval is None else self.interval.value

    @property
    def partial(self) -> bool:
        """Whether it was measured on a part of the set only: not comparable digit by digit."""
        return self.faces is not None and self.official is not None and self.faces != self.official


@dataclass(frozen=True)
class OurRow:
    """A row of ours: its network, how it was measured, and the cells by column name."""

    method: str
    variant: str
    detail: str
    cells: Mapping[str, Cell]
    curves: Mapping[str, Evaluation] = field(default_factory=dict)
    init: str = ""

    @property
    def filled(self) -> bool:
        """Whether any cell has a number."""
        return any(cell.value is not None for cell in self.cells.values())


@dataclass(frozen=True)
class Outcome:
    """A table with our rows."""

    table: Table
    rows: tuple[OurRow, ...]
    notes: tuple[str, ...] = ()


def variant_of(config: Mapping[str, object]) -> str:
    """Which variant a training run's `config.json` describes.

    Raises:
        InputError: it leaves out several things at once, so that no row of the tables is its.
    """
    model, augmentation = config.get("model"), config.get("augmentation")
    if not isinstance(model, Mapping) or not isinstance(augmentation, Mapping):
        raise InputError.at("config.json", "a training run's model and augmentation", "another file")
    parts = [f"without-{part}" for part in model.get("without", ())]
    if not model.get("non_local", True):
        parts.append("without-non-local")
    if not any(augmentation.get(name, 0) for name in ("noise_patch", "occluders", "masks")):
        parts.append("without-occlusion")
    if model.get("hourglass", False):
        parts.append("hourglass")
    elif str(model.get("preset", "")).startswith("robust") and not model.get("coarse_shape", True):
        parts.append("mean-shape")
    if len(parts) > 1:
        raise InputError.at("config.json", "a run that leaves one thing out", ", ".join(parts))
    return parts[0] if parts else "full"


def find_runs(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Trained variants in a folder of runs: the weights of each by variant, and a line for each folder left out.

    A run is a folder with `config.json` and `weights.onnx` (exported) or `weights.safetensors`.
    """
    found: dict[str, Path] = {}
    notes = []
    for path in sorted(folder.glob("*/config.json")) if folder.is_dir() else []:
        weights = next(
            (w for name in ("weights.onnx", "weights.safetensors") if (w := path.with_name(name)).is_file()), None
        )
        if weights is None:
            notes.append(f"{path.parent}: no weights yet")
            continue
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            variant = str(values.get("variant") or variant_of(values))
        except (ValueError, AttributeError, InputError) as error:
            notes.append(f"{path}: {error}; left out")
            continue
        if variant not in VARIANTS or variant in found:
            reason = "its variant is there already" if variant in found else f"no row for {variant}"
            notes.append(f"{path.parent}: {reason}; left out")
            continue
        found[variant] = weights
    return found, notes


class Reproduction:
    """Measures networks on the faces at hand.

    Args:
        data: the faces.
        networks: weights of the tables, one for each variant and landmark scheme.
        ablations: weights of the ablations' runs, which take the place of `networks` in the ablation tables.
        cache: where results are kept; None measures in any case.
        inits: the face boxes to start from; a row for each.
        progress: told before each measurement what it is and of how many faces; gives what is called after each face.
    """

    def __init__(
        self,
        data: DataFolder,
        networks: Sequence[Network],
        ablations: Sequence[Network] = (),
        *,
        cache: EvaluationCache | None = None,
        inits: Sequence[Initialization] = ("gt-box",),
        progress: Callable[[str, int], Callable[[], None]] | None = None,
    ) -> None:
        self.data, self.cache, self.inits, self._progress = data, cache, tuple(inits), progress
        self.networks, self.ablations = _by_variant(networks), _by_variant(ablations)
        self._evaluations: dict[tuple[int, str, str, str], Evaluation] = {}

    def network(self, variant: str, scheme: LandmarkScheme, *, ablation: bool) -> Network | None:
        """The weights of a cell."""
        key = (variant, scheme.name)
        if ablation:
            return self.ablations.get(key)
        return self.networks.get(key) or self.ablations.get(key)

    def evaluate(self, network: Network, faces: Dataset, init: Initialization) -> Evaluation:
        """Measure a network on a set, once."""
        key = (id(network), faces.kind.name, faces.label, init)
        if key not in self._evaluations:
            name = f"{faces.kind.title}, {network.variant}, {init}"
            step = None if self._progress is None else self._progress(name, len(faces.samples))
            result, _ = cached_evaluate(
                network.landmarker, faces.samples, cache=self.cache, digest=network.digest, init=init, progress=step
            )
            self._evaluations[key] = result
        return self._evaluations[key]

    def table(self, table: Table) -> Outcome:
        """Fill a table with rows of ours."""
        sets = {
            name: self.data.sets(name) for name in dict.fromkeys(c.dataset for c in table.columns) if name != "none"
        }
        versions = max((len(found) for found in sets.values() if not isinstance(found, str)), default=1)
        inits: Sequence[Initialization] = self.inits if sets else ("gt-box",)
        rows = []
        # The plain network has a row in every table, also where the paper prints only what was made of it.
        for variant in dict.fromkeys([*table.variants, "full"]):
            made = [self._row(table, variant, sets, version, init) for version in range(versions) for init in inits]
            rows += [row for row in made if row.filled] or made[:1]
        notes = [*self._masks_agree(table, sets)]
        for found in sets.values():
            if not isinstance(found, str):
                notes += [line.replace(f"{self.data.root}/", "") for one in found for line in _missing(one)]
        return Outcome(table, tuple(rows), tuple(dict.fromkeys(notes)))

    def _row(
        self,
        table: Table,
        variant: str,
        sets: Mapping[str, list[Dataset] | str],
        version: int,
        init: Initialization,
    ) -> OurRow:
        row = table.row_of(variant)
        method = "SRN" if row is None else row.method
        cells, curves, details = {}, {}, []
        for column in table.columns:
            if column.dataset == "none":
                cells[column.name], detail = self._speed_cell(variant)
                details.append(detail)
                continue
            scheme = scheme_of(column.dataset)
            found = sets[column.dataset]
            network = self.network(variant, scheme, ablation=table.ablation)
            faces = None if isinstance(found, str) else found[min(version, len(found) - 1)]
            reasons = []
            if isinstance(found, str):
                reasons.append(found)
            elif faces is not None and column.subset not in faces.parts:
                reasons.append(f"no data: {KINDS[column.dataset].title} {column.subset}")
            if network is None:
                reasons.append(f"no weights: {variant}, {scheme.n_points} points")
            if reasons or faces is None or network is None:
                cells[column.name] = Cell(reason="; ".join(reasons))
                continue
            cells[column.name], part = self._cell(network, faces, column, init)
            if part is not None:
                curves[column.name] = part
                details += [network.landmarker.localizer.name, network.detail, faces.label]
        if curves:
            details.append(f"{init} boxes")
        detail = ", ".join(dict.fromkeys(text for text in details if text))
        return OurRow(f"ours: {method}", variant, detail, cells, curves, init)

    def _cell(
        self, network: Network, faces: Dataset, column: Column, init: Initialization
    ) -> tuple[Cell, Evaluation | None]:
        chosen = faces.part(column.subset)
        title = faces.kind.title
        if init == "bbs" and any(sample.detector_box is None for sample in faces.samples):
            return Cell(reason=f"no detector boxes: {title}"), None
        whole = self.evaluate(network, faces, init)
        wanted = {_face_key(sample.path, sample.landmarks) for sample in chosen}
        results = [r for r in whole.results if r.target_landmarks is not None and _key_of(r) in wanted]
        part = replace(whole, results=tuple(results), problems=()).by(column.normalizer or whole.normalizer)
        if not part.results:
            return Cell(reason=f"no picture could be read: {title} {column.subset}"), None
        interval = _measure(part, column.metric)
        if interval is None:
            lacks = "occlusion flags" if all(r.occluded is None for r in results) else "weights that say what is hidden"
            return Cell(reason=f"no {lacks}: {title}"), None
        return Cell(interval, len(part.results), faces.kind.official_count(column.subset)), part

    def _speed_cell(self, variant: str) -> tuple[Cell, str]:
        network = next((n for (name, _), n in self.networks.items() if name == variant), None)
        if network is None:
            return Cell(reason=f"no weights: {variant}"), ""
        given = network.landmarker
        once = FaceLandmarker(localizer=given.localizer, passes=1, flip_average=False, batch_size=1)
        speed = measure_speed(once)
        value = speed.frames_per_second
        return Cell(Interval(value, np.nan, np.nan)), f"{given.localizer.name}, one look, on {speed.processor}"

    def _masks_agree(self, table: Table, sets: Mapping[str, list[Dataset] | str]) -> Iterable[str]:
        """How closely masks made here and the authors' agree: the same network on the same faces in both."""
        found = sets.get("masked-300w", "")
        if isinstance(found, str) or len(found) < 2:
            return
        network = self.network("full", scheme_of("masked-300w"), ablation=table.ablation)
        if network is None:
            return
        theirs, ours = (self.evaluate(network, one, "gt-box") for one in found[:2])
        try:
            difference = compare_evaluations(theirs, ours)
        except InputError:  # no face in common
            return
        if difference.faces < 2:
            return
        common = {(r.subset, r.path.stem) for r in theirs.results} & {(r.subset, r.path.stem) for r in ours.results}
        means = [
            np.mean([r.nme for r in one.results if (r.subset, r.path.stem) in common]) * 100 for one in (theirs, ours)
        ]
        low, high = (bound * 100 for bound in (difference.difference.low, difference.difference.high))
        yield (
            f"The same {difference.faces} faces: {means[0]:.2f} % under the authors' masks, {means[1]:.2f} % under "
            f"{found[1].label}; difference {difference.difference.value * 100:+.2f} (95 % interval {low:+.2f} to "
            f"{high:+.2f}), sign-flip p {difference.p_text}."
        )
        clean = self.data.sets("300w")
        if not isinstance(clean, str):
            shares = _covered_shares(clean[0].samples, found[0].samples, found[1].samples)
            if shares:
                texts = [f"{name.replace('_', ' ')} {a:.0%} and {b:.0%}" for name, (a, b) in shares.items()]
                yield f"Points covered by the authors' masks and by {found[1].label}: {', '.join(texts)}."

    def qualitative(self, dataset: str, *, clips: bool = False) -> tuple[dict[str, ImageArray], list[str]]:
        """Sheets of drawn predictions: one of each version of a dataset, by label; or why there is none.

        Args:
            dataset: the faces, spread evenly.
            clips: whether the faces are frames of the first video instead.
        """
        found = self.data.sets(dataset)
        if isinstance(found, str):
            return {}, [found]
        scheme = scheme_of(dataset)
        network = self.network("hofs", scheme, ablation=False) if clips else None
        network = network or self.network("full", scheme, ablation=False)
        if network is None:
            return {}, [f"no weights: full, {scheme.n_points} points"]
        sheets, notes = {}, []
        for faces in found:
            if clips:
                tests = [i for name in faces.parts if faces.kind.official_count(name) for i in faces.parts[name]]
                if not tests:
                    notes.append(f"no data: {KINDS[dataset].title} test videos")
                    continue
                first = faces.samples[tests[0]].subset
                samples = [faces.samples[i] for i in tests if faces.samples[i].subset == first]
            else:
                samples = faces.samples
            some = replace(faces, label=f"{faces.label} sheet", samples=samples).limited(SHEET_FACES)
            result = self.evaluate(network, some, "gt-box")
            sources = some.sources
            tiles = [draw_result(r, scheme, truth=False, source=sources.get(r.path)) for r in result.results]
            drawn = [tile for tile in tiles if tile is not None]
            if drawn:
                sheets[faces.label or KINDS[dataset].title] = sheet(drawn)
        return sheets, notes


CHANGED = 30
"""A pixel differs between a picture and its masked version where a colour does by more (JPEG changes it by less)."""


def _covered_shares(
    clean: Sequence[Sample], theirs: Sequence[Sample], ours: Sequence[Sample]
) -> dict[str, tuple[float, float]]:
    """Share of each component's points under masks: by comparison with the unmasked pictures, and ours as known."""
    originals, made = ({(s.subset, s.path.stem): s for s in samples} for samples in (clean, ours))
    covered: list[tuple[np.ndarray, np.ndarray]] = []
    for sample in theirs:
        key = (sample.subset, sample.path.stem)
        if key not in originals or key not in made or made[key].occluded is None:
            continue
        try:
            before, after = originals[key].load(), sample.load()
        except DataError:
            continue
        if before.shape != after.shape:
            continue
        changed = (np.abs(before.astype(np.int16) - after).max(axis=2) > CHANGED).astype(np.uint8)
        changed = cv2.medianBlur(changed, 5)  # single pixels are noise
        x, y = np.clip(np.round(sample.landmarks).astype(int), 0, np.array(changed.shape[::-1]) - 1).T
        covered.append((changed[y, x] > 0, np.asarray(made[key].occluded)))
    if not covered:
        return {}
    shares = [np.mean(flags, axis=0) for flags in zip(*covered, strict=True)]
    components = theirs[0].scheme.components
    return {
        name: (float(shares[0][list(points)].mean()), float(shares[1][list(points)].mean()))
        for name, points in components.items()
        if points
    }


def scheme_of(dataset: str) -> LandmarkScheme:
    """Return the landmark scheme of a column's dataset."""
    scheme = KINDS[dataset].scheme
    assert scheme is not None, dataset
    return scheme


def _missing(dataset: Dataset) -> list[str]:
    return [*dataset.report.shortfalls, *dataset.report.problems]


def _by_variant(networks: Sequence[Network]) -> dict[tuple[str, str], Network]:
    found: dict[tuple[str, str], Network] = {}
    for network in networks:
        key = (network.variant, network.scheme.name)
        if key in found:
            names = f"{found[key].landmarker.localizer.name} and {network.landmarker.localizer.name}"
            raise InputError.at("weights", f"one file of {key[0]} weights for {network.scheme.n_points} points", names)
        found[key] = network
    return found


def _face_key(path: Path, landmarks: np.ndarray) -> tuple[str, bytes]:
    return path.as_posix(), np.ascontiguousarray(landmarks, np.float64).tobytes()


def _key_of(result: FaceResult) -> tuple[str, bytes]:
    assert result.target_landmarks is not None
    return _face_key(result.path, result.target_landmarks)


def _measure(part: Evaluation, metric: str) -> Interval | None:
    """A measure of a set of faces, in the tables' unit (per cent); None where the set or the weights do not tell."""
    if metric == "recall-at-80-precision":
        summary = part.visibility_summary()
        if summary is None:
            return None
        return Interval(float(summary["recall_at_80_precision"]) * 100, np.nan, np.nan)
    intervals = part.intervals()
    chosen = intervals.nme if metric == "nme" else intervals.failure_rate
    return Interval(chosen.value * 100, chosen.low * 100, chosen.high * 100)


def curves(outcome: Outcome) -> LineChart | None:
    """Cumulative error distributions of our rows of a table, as SVG; None without any.

    Of several kinds of boxes the first is drawn. Published failure rates at 8 % are points of the published methods'
    curves and are marked.
    """
    drawn = [row for row in outcome.rows if row.curves]
    drawn = [row for row in drawn if row.init == drawn[0].init]
    lines = []
    grid = np.linspace(0, CURVE_END, 401)
    seen: set[tuple[str, str, str]] = set()
    for row in drawn:
        for column in outcome.table.columns:
            part = row.curves.get(column.name)
            if part is None or column.metric not in ("nme", "failure-rate"):
                continue
            key = (row.method + row.detail, column.subset + column.dataset, column.normalizer)
            if key in seen:
                continue
            seen.add(key)
            which = f"{row.method.removeprefix('ours: ')}, {_short(row.detail)}: " if len(drawn) > 1 else ""
            name = f"{which}{column.label} (n = {len(part.results)})"
            lines.append(Line(name, grid * 100, metrics.ced(part.errors, grid) * 100))
    if not lines:
        return None
    normalizers = dict.fromkeys(c.normalizer for c in outcome.table.columns if c.normalizer)
    rates = [c for c in outcome.table.columns if c.metric == "failure-rate"]
    marks = [
        Mark(row.method, FAILURE_THRESHOLD * 100, 100 - row.values[column.name])
        for column in rates
        for row in outcome.table.rows
        if column.name in row.values
    ]
    return LineChart(
        title=f"{outcome.table.title}: cumulative error distributions",
        description="Share of faces up to an error; diamonds are published failure rates at 8 %.",
        x_label=f"NME up to (%), by {', '.join(normalizers)}",
        y_label="share of faces (%)",
        x_range=(0, CURVE_END * 100),
        y_range=(0, 100),
        lines=lines,
        marks=marks,
    )


def _short(detail: str) -> str:
    """What tells rows of one network apart: everything but the weights' name."""
    return ", ".join(detail.split(", ")[1:])

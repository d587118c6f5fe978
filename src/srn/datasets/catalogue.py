"""`open_faces`: the annotated faces of datasets, own folders and packs, by one call."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from srn.datasets.clip import Clip
from srn.datasets.kinds import KINDS, DatasetKind, Request
from srn.datasets.manifest import MANIFEST
from srn.datasets.pack import PACK_QUALITY, FacePack, pack_faces
from srn.datasets.plain import home_of, is_single_folder, split_of, unknown_annotations
from srn.datasets.report import ReadingReport
from srn.datasets.sample import SPLITS, TEST, TRAIN, Sample
from srn.errors import DataError, InputError
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.files import real_path
from srn.media.listing import unreadable, unreadable_below

AnyPath = str | os.PathLike[str]


@dataclass(frozen=True)
class Dataset:
    """Annotated faces that were opened.

    Attributes:
        kind: its record in `KINDS`; `plain` for packs and for faces of several kinds.
        root: its folder, or the pack's file; of a single folder of pictures, the dataset around it.
        samples: the faces; of clips, every annotated frame, clip after clip.
        report: the findings while reading.
        clips: the videos of a video dataset.
        packed: the pack that the faces come from.
        label: which of several versions of one dataset.
    """

    kind: DatasetKind
    root: Path
    samples: list[Sample]
    report: ReadingReport
    clips: list[Clip] = field(default_factory=list)
    packed: FacePack | None = None
    label: str = ""

    @cached_property
    def parts(self) -> Mapping[str, tuple[int, ...]]:
        """Indices into `samples` by the names of the paper's tables, or by subset. Empty parts are left out."""
        found: dict[str, list[int]] = {name: [] for name in (*self.kind.groups, *self.kind.unions)}
        found |= {name: [] for name in (*self.kind.attributes, *(SPLITS if self.kind is KINDS["plain"] else ()))}
        for index, sample in enumerate(self.samples):
            for name in _parts_of(sample, self.kind):
                found.setdefault(name, []).append(index)
        for name, members in self.kind.unions.items():
            if all(found[member] for member in members):
                found[name] = sorted(index for member in members for index in found[member])
        return {name: tuple(indices) for name, indices in found.items() if indices}

    def part(self, name: str) -> list[Sample]:
        """Return the faces of a part; raise `InputError` where it does not exist or has no face."""
        if name not in self.parts:
            raise InputError.at(self.root, f"one of the parts {', '.join(self.parts) or '(none)'}", repr(name))
        return [self.samples[index] for index in self.parts[name]]

    def limited(self, count: int | None) -> Dataset:
        """Return at most `count` of the faces, evenly spread; all where None."""
        if count is None or count >= len(self.samples):
            return self
        kept = np.linspace(0, len(self.samples) - 1, count).round().astype(int).tolist()
        return dataclasses.replace(self, samples=[self.samples[index] for index in kept])

    def to_pack(
        self, *, quality: int = PACK_QUALITY, progress: Callable[[], None] = lambda: None
    ) -> tuple[FacePack, list[str]]:
        """Return the pack that the faces come from, or else a new one, as `pack_faces` does."""
        if self.packed is not None:
            return self.packed, []
        return pack_faces(self.samples, quality=quality, progress=progress)


def _parts_of(sample: Sample, kind: DatasetKind) -> list[str]:
    """Names of the parts that a face belongs to; its own subset where no group of its dataset contains that."""
    within = f"{sample.subset}/"
    names = [name for name, subsets in kind.groups.items() if any(within.startswith(f"{s}/") for s in subsets)]
    if not names:
        split = split_of(sample.subset) if kind is KINDS["plain"] else None
        return list(dict.fromkeys([split or sample.subset, sample.subset]))
    return names + [name for name in kind.attributes if TEST in names and name in sample.attributes]


def recognize(root: AnyPath, *, own: bool = True) -> str | None:
    """Return the name of a folder's kind (see `KINDS`) by its layout; None where it is no dataset.

    Own annotations count where `own`. A folder that cannot be read raises `DataError`.
    """
    base = Path(root)
    kinds = {name: kind for name, kind in KINDS.items() if own or name != "plain"}
    try:
        return next((name for name, kind in kinds.items() if kind.recognize(base)), None) if base.is_dir() else None
    except OSError as error:
        raise unreadable(error) from error


def datasets_in(folder: Path) -> dict[Path, str]:
    """Return the folders of datasets that a folder holds, with their kinds. Own annotations are no dataset there.

    One that cannot be read raises `DataError`.
    """
    kinds = {path: recognize(path, own=False) for path in sorted(folder.iterdir()) if path.is_dir()}
    return {path: kind for path, kind in kinds.items() if kind is not None}


def open_faces(
    paths: AnyPath | Sequence[AnyPath],
    *,
    split: str | None = None,
    kind: str | None = None,
    scheme: LandmarkScheme | None = None,
    pictures: AnyPath | None = None,
    allow_empty: bool = False,
) -> Dataset:
    """Open annotated faces: datasets as their owners distribute them, own annotations, and packs.

    Where several datasets have a subset of the same name, each gets its dataset's name before it.

    Args:
        paths: a folder of a dataset, a folder of pictures with `.pts` files, or a pack (`.npz`); or several of them.
        split: `train` or `test`; both where None. A single folder of pictures, and a dataset that does not tell the
            splits apart, is taken whole, with a note. So is a pack.
        kind: a name of `KINDS`; recognized by the layout where None.
        scheme: numbering of the landmarks in own annotations and videos, and in a WFLW folder that has lists of
            several. Told by the files where None.
        pictures: COFW's test pictures, for COFW68 (a folder or a `.mat` file); looked for in its folder where None.
        allow_empty: return a dataset without a face, whose report tells the reason, instead of raising `DataError`.

    Raises:
        DataError: a path is no dataset, not one of this kind, or holds no face.
        InputError: unknown kind or split, or a pack together with other faces.
    """
    if kind is not None and kind not in KINDS:
        raise InputError.at("kind of dataset", f"one of {', '.join(KINDS)}", repr(kind))
    if split not in (None, *SPLITS):
        raise InputError.at("split", f"{TRAIN} or {TEST}", repr(split))
    given = [paths] if isinstance(paths, str | os.PathLike) else paths
    places = [real_path(path) for path in given]
    if not places:
        raise InputError.at("faces", "a dataset's folder, or a pack made by 'srn data pack'", "nothing")
    for place in places:
        if place.is_file() and len(places) > 1:
            raise InputError.at(place, "a pack alone, which is complete", "other faces beside it")
    request = Request(SPLITS if split is None else (split,), None if pictures is None else Path(pictures), scheme)
    opened = [_open(place, kind, request, split) for place in places]
    for place, dataset in zip(places, opened, strict=True):
        if not dataset.samples and not allow_empty:
            reason = next(iter([*dataset.report.problems, *reversed(dataset.report.notes)]), "none")
            raise DataError.at(place, "annotated faces with their pictures", reason)
    return opened[0] if len(opened) == 1 else _joined(opened)


def _open(place: Path, name: str | None, request: Request, split: str | None) -> Dataset:
    if place.is_file():
        pack, report = FacePack.load(place), ReadingReport()
        samples = pack.samples(place)
        for sample in samples:
            report.count(sample.subset, 1)
        return Dataset(KINDS["plain"], place, samples, report, packed=pack)
    if name is None:
        name = recognize(place)
        _check_alone(place, name)
        if name == "wflw" and request.scheme is IBUG_68 and KINDS["wflw68"].recognize(place):
            name = "wflw68"  # the folder has lists of both schemes
    if name is None:
        expected = "the folders of 300W, WFLW, COFW or 300VW, or pictures with .pts files, COCO key points or a table"
        found = "no such folder"
        if place.is_dir():
            hints = [reason for reasons in unknown_annotations(place) for reason in reasons]
            found = "; ".join(["none of them", *unreadable_below(place)[:1], *hints[:1]])
        raise DataError.at(place, expected, found)
    kind = KINDS[name]
    try:
        read, report = kind.read(place, request)
    except OSError as error:
        raise unreadable(error) from error
    lost = (f"{problem}; left out" for problem in unreadable_below(place))
    report.problems += [problem for problem in lost if problem not in report.problems]
    clips = [one for one in read if isinstance(one, Clip)]
    samples = [sample for one in read for sample in (one.samples() if isinstance(one, Clip) else [one])]
    if kind is KINDS["plain"] and (twice := len(samples) - len(samples := _once(samples, report))):
        report.problems.append(f"{place}: faces that are annotated twice, point for point: {twice}; taken once")
    root = home_of(place) if kind is KINDS["plain"] else place
    dataset = Dataset(kind, root, samples, report, clips)
    _compare_with_release(dataset)
    return dataset if split is None else _of_split(dataset, place, split)


def _check_alone(place: Path, name: str | None) -> None:
    """Raise `DataError` for a folder that holds datasets: as own annotations, some of their faces would be read.

    `name` is its kind. The manifest of `srn mask` tells a set made of several.
    """
    if name in (None, "plain") and place.is_dir() and not (place / MANIFEST).is_file():
        inside = list[Path]()
        with contextlib.suppress(DataError):  # who reads what is there tells what cannot be read
            inside += datasets_in(place)
        if inside:
            found = f"one that holds {', '.join(path.name for path in inside)}: name what is in it"
            raise DataError.at(place, "the folder of a dataset", found)


def _compare_with_release(dataset: Dataset) -> None:
    """Report every subset and attribute that was read and has another number of faces than the official release."""
    report, kind = dataset.report, dataset.kind
    counts = dict(report.counts)
    if TEST in counts:
        counts |= {name: len(dataset.parts.get(name, ())) for name in kind.attributes}
    for name, official in kind.official.items():
        if name in counts:
            report.compare(dataset.root / name, counts[name], official, kind.unit)


def _of_split(dataset: Dataset, place: Path, split: str) -> Dataset:
    """Keep the faces of one split; all of them where the dataset does not tell them apart."""
    chosen = dataset.parts.get(split, ())
    if len(chosen) == len(dataset.samples):
        return dataset
    notes = dataset.report.notes
    untold = not any(name in dataset.parts for name in SPLITS)
    if untold or (dataset.kind is KINDS["plain"] and is_single_folder(place)):
        told = f"nothing says which faces are to {split} with: all are taken"
        single = f"a single folder of pictures: all its faces are taken to {split} with"
        notes.append(f"{place}: {told if untold else single}")
        return dataset
    notes.append(f"{place}: only the faces to {split} with are taken: {len(chosen)}")
    samples = [dataset.samples[index] for index in chosen]
    subsets = {sample.subset for sample in samples}
    clips = [clip for clip in dataset.clips if clip.subset in subsets]
    return dataclasses.replace(dataset, samples=samples, clips=clips)


def _once(samples: Sequence[Sample], report: ReadingReport) -> list[Sample]:
    """Leave out a face that is in the list already, with the same points in the same picture, and its count."""
    kept: dict[tuple[Path, bytes], Sample] = {}
    for sample in samples:
        if kept.setdefault((sample.path, sample.landmarks.tobytes()), sample) is not sample:
            report.count(sample.subset, -1)
    return list(kept.values())


def _joined(datasets: Sequence[Dataset]) -> Dataset:
    """Join datasets, with the dataset's name before a subset that several of them have."""
    roots: dict[str, set[Path]] = {}
    report, samples = ReadingReport(), []
    for dataset in datasets:
        report.add(dataset.report)
        for sample in dataset.samples:
            roots.setdefault(sample.subset, set()).add(dataset.root)
    for dataset in datasets:
        for sample in dataset.samples:
            several = len(roots[sample.subset]) > 1
            subset = f"{dataset.root.name}/{sample.subset}" if several else sample.subset
            samples.append(dataclasses.replace(sample, subset=subset))
    if not any(dataset.clips for dataset in datasets):
        whole, samples = len(samples), _once(samples, report)
        if whole > len(samples):  # a folder that is named twice, or that lies in another
            report.notes.append(f"faces that stand in two of the folders: {whole - len(samples)}; taken once")
    kind = datasets[0].kind if len({dataset.kind.name for dataset in datasets}) == 1 else KINDS["plain"]
    return Dataset(kind, datasets[0].root, samples, report, [clip for dataset in datasets for clip in dataset.clips])

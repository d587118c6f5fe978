"""The faces that the paper's tables are measured on, as far as a folder of datasets holds them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from srn.datasets.catalogue import Dataset, read_dataset, recognize
from srn.datasets.manifest import read_visible
from srn.datasets.sample import PictureSource, Sample
from srn.errors import DataError
from srn.evaluation.cache import manifest_digest
from srn.face.scheme import COFW_29, IBUG_68, WFLW_98, LandmarkScheme
from srn.synthesis.masked import DRAWN, MaskWardrobe, mask_dataset

OFFICIAL_COUNTS: Mapping[tuple[str, str], int] = {
    ("300w", "Common"): 554,
    ("300w", "Challenging"): 135,
    ("300w", "Full"): 689,
    ("cofw29", "test"): 507,
    ("cofw68", "test"): 507,
    ("wflw", "test"): 2500,
    ("wflw", "occlusion"): 736,
    ("300vw", "category 1"): 62_135,
    ("300vw", "category 2"): 32_805,
    ("300vw", "category 3"): 26_338,
}
"""Faces (of 300VW: frames) of each test set, complete. A masked set has as many as the set it was made from."""

MASKED = {"masked-300w": "300w", "masked-300vw": "300vw"}
"""Masked sets and what they are made from."""

SCHEMES: Mapping[str, LandmarkScheme] = {
    "300w": IBUG_68, "masked-300w": IBUG_68, "cofw68": IBUG_68, "300vw": IBUG_68, "masked-300vw": IBUG_68,
    "cofw29": COFW_29, "wflw": WFLW_98,
}  # fmt: skip

TITLES: Mapping[str, str] = {
    "300w": "300W", "masked-300w": "Masked 300W", "cofw29": "COFW", "cofw68": "COFW68", "wflw": "WFLW",
    "300vw": "300VW", "masked-300vw": "masked 300VW",
}  # fmt: skip


def official_count(dataset: str, subset: str) -> int | None:
    """Faces of a complete test set."""
    return OFFICIAL_COUNTS.get((MASKED.get(dataset, dataset), subset))


@dataclass(frozen=True)
class FaceSet:
    """Faces that fill columns of one dataset.

    Attributes:
        dataset: one of `SCHEMES`.
        label: which of several versions of the dataset; empty where there is one.
        samples: the faces.
        parts: indices into `samples` by the tables' subset names.
        notes: lines to print with the numbers.
    """

    dataset: str
    label: str
    samples: tuple[Sample, ...]
    parts: Mapping[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()

    def subset(self, name: str) -> tuple[int, ...]:
        """Indices of a subset; none where the set does not hold all that it is made of."""
        if name == "Full" and not {"Common", "Challenging"} <= set(self.parts):
            return ()  # Challenging faces alone are not Full
        return self.parts.get(name, ())

    @property
    def sources(self) -> dict[Path, PictureSource]:
        """Readers of pictures that are no files of their own."""
        return {sample.path: sample.source for sample in self.samples if sample.source is not None}

    def limited(self, count: int | None) -> FaceSet:
        """At most `count` faces, spread evenly, for a quick look."""
        if count is None or count >= len(self.samples):
            return self
        kept = np.linspace(0, len(self.samples) - 1, count).round().astype(int).tolist()
        place = {old: new for new, old in enumerate(kept)}
        parts = {name: tuple(place[i] for i in indices if i in place) for name, indices in self.parts.items()}
        parts = {name: indices for name, indices in parts.items() if indices}
        return dataclasses.replace(self, samples=tuple(self.samples[i] for i in kept), parts=parts)


@dataclass
class DataFolder:
    """A folder that holds datasets, each in a folder of its own.

    Attributes:
        root: the folder.
        templates: mask templates for the masked sets made here; drawn masks where None.
        masked: where masked pictures are kept; None makes none.
        kind: kind of mask, see `srn mask`.
        seed: of the masks.
        misfit: how far off the masks lie, see `srn mask`.
        limit: at most so many faces of each dataset.
        progress: called for every face masked.
    """

    root: Path
    templates: Path | None = None
    masked: Path | None = None
    kind: str = DRAWN
    seed: int = 0
    misfit: float = 0.0
    limit: int | None = None
    progress: Callable[[], None] | None = None
    _read: dict[str, Dataset | str] = field(default_factory=dict)
    _made: dict[str, FaceSet | str] = field(default_factory=dict)

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Folder of each kind of dataset; of several the one whose name is the dataset's."""
        if not self.root.is_dir():
            raise DataError.at(
                self.root, "a folder that holds datasets (300W, WFLW, COFW, 300VW, ...)", "no such folder"
            )
        found: dict[str, Path] = {}
        for path in sorted(p for p in self.root.iterdir() if p.is_dir()):
            kind = recognize(path)
            if kind is None or kind == "plain":
                continue
            known = found.get(kind)
            if known is None or _likeness(path, kind) > _likeness(known, kind):
                found[kind] = path
        return found

    def sets(self, dataset: str) -> list[FaceSet] | str:
        """The versions of a dataset that are at hand, or why there is none."""
        found: list[FaceSet] = []
        reasons = []
        title = TITLES[dataset]
        read = self._dataset(dataset)
        if isinstance(read, str):
            reasons.append(read)
        else:
            label = "the authors' pictures" if dataset in MASKED else ""
            found.append(FaceSet(dataset, label, tuple(read.samples), read.parts, tuple(read.report.shortfalls)))
        if dataset in MASKED and self.masked is not None:
            made = self._masked(dataset)
            if isinstance(made, str):
                reasons.append(made)
            else:
                found.append(made)
        if not found:
            return "; ".join(dict.fromkeys(reasons)) or f"no data: {title}"
        return [one.limited(self.limit) for one in found]

    def _dataset(self, dataset: str) -> Dataset | str:
        if dataset not in self._read:
            self._read[dataset] = self._read_now(dataset)
        return self._read[dataset]

    def _read_now(self, dataset: str) -> Dataset | str:
        title = TITLES[dataset]
        folder = self.folders.get(dataset)
        if folder is None:
            return f"no data: {title}"
        pictures = self.folders.get("cofw29") if dataset == "cofw68" else None
        try:
            read = read_dataset(folder, kind=dataset, split="test", pictures=pictures)
        except DataError as error:
            return f"no data: {title} ({error})"
        if not read.samples:
            return f"no data: {title} test pictures"
        return read

    def _masked(self, dataset: str) -> FaceSet | str:
        if dataset not in self._made:
            self._made[dataset] = self._mask_now(dataset)
        return self._made[dataset]

    def _mask_now(self, dataset: str) -> FaceSet | str:
        """The masked version, made now or found where an earlier run left it."""
        base = self._dataset(MASKED[dataset])
        if isinstance(base, str) or self.masked is None:
            return f"no data: {TITLES[MASKED[dataset]]}"
        plain = FaceSet(dataset, "", tuple(base.samples), base.parts).limited(self.limit)
        if not any(official_count(dataset, name) for name in plain.parts):
            return f"no data: {TITLES[MASKED[dataset]]} test set"
        wardrobe = None if self.templates is None else MaskWardrobe.load(self.templates)
        facts = [manifest_digest(plain.samples), self.kind, self.seed, self.misfit, _folder_digest(self.templates)]
        folder = self.masked / hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
        problems: list[str] = []
        if not (folder / "manifest.csv").exists():  # written last
            problems = mask_dataset(
                plain.samples, folder, kind=self.kind, wardrobe=wardrobe, seed=self.seed, misfit=self.misfit,
                progress=self.progress,
            )  # fmt: skip
        visible = read_visible(folder)
        samples: list[Sample] = []
        parts: dict[str, tuple[int, ...]] = {}
        place: dict[int, int] = {}
        for index, sample in enumerate(plain.samples):
            seen = visible.get(f"{sample.subset}/{sample.path.stem}")
            if seen is None:
                continue  # its picture could not be read
            place[index] = len(samples)
            path = folder / sample.subset / f"{sample.path.stem}.jpg"
            samples.append(dataclasses.replace(sample, path=path, source=None, occluded=~seen))
        for name, indices in plain.parts.items():
            kept = tuple(place[i] for i in indices if i in place)
            if kept:
                parts[name] = kept
        label = f"masks made here ({self.kind}, seed {self.seed}{f', misfit {self.misfit:g}' if self.misfit else ''})"
        return FaceSet(dataset, label, tuple(samples), parts, tuple(problems))


def _likeness(folder: Path, kind: str) -> int:
    """How well a folder's name fits a dataset: 2 where it is the name, 1 where it starts with it."""
    name = folder.name.lower().replace("_", "").replace("-", "")
    wanted = kind.replace("-", "")
    names = (wanted, wanted.rstrip("0123456789")) if kind.startswith(("cofw", "wflw")) else (wanted,)
    return 2 if name in names else int(name.startswith(names))


def _folder_digest(folder: Path | None) -> str:
    """Hash over the files of a folder of templates, and of the patterns beside it."""
    digest = hashlib.sha256()
    for place in () if folder is None else (folder, folder.parent / "textures"):
        for path in sorted(place.glob("*")) if place.is_dir() else ():
            if path.is_file():
                digest.update(os.fsencode(path.name) + b"\0" + path.read_bytes())
    return digest.hexdigest()

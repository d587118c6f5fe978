"""Any dataset: what a folder is, and its faces by the names that the paper's tables use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from srn.datasets.clip import Clip
from srn.datasets.cofw import SPLITS, coco_file, mat_file, read_cofw
from srn.datasets.cofw68 import annotation_folder, read_cofw68
from srn.datasets.manifest import read_visible
from srn.datasets.plain import annotation_files, read_plain, split_of
from srn.datasets.report import ReadingReport
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_vw import CATEGORIES, TRAINING, is_clip_folder, read_300vw
from srn.datasets.three_hundred_w import (
    CHALLENGING_SUBSETS,
    COMMON_SUBSETS,
    FULL_SUBSETS,
    OFFICIAL_COUNTS,
    PRIVATE_EXTRACT,
    PRIVATE_SUBSETS,
    TRAINING_SUBSETS,
    private_folder,
    read_300w,
    read_300w_private,
    read_masked_300w,
)
from srn.datasets.wflw import ATTRIBUTES, list_file, read_wflw
from srn.errors import DataError, InputError
from srn.face.scheme import IBUG_68, WFLW_98, LandmarkScheme

TRAIN, TEST = "train", "test"

TITLES: Mapping[str, str] = {
    "300w": "300W",
    "300w-private": "300W, private test set",
    "masked-300w": "Masked 300W",
    "cofw29": "COFW, 29 points",
    "cofw68": "COFW68",
    "wflw": "WFLW, 98 points",
    "wflw68": "WFLW, the 68-point lists",
    "300vw": "300VW, or videos in its layout",
    "plain": "pictures with points of one's own",
}
"""The kinds of dataset, and how they are called."""


@dataclass(frozen=True)
class Dataset:
    """A dataset that was read.

    Attributes:
        kind: one of `TITLES`.
        root: its folder.
        samples: the faces; of clips, every annotated frame, clip after clip.
        report: what was found on the way.
        parts: indices into `samples` by the names of the paper's tables: `train`, `test`; 300W: `Common`,
            `Challenging`, `Full`; WFLW: its six attributes (of test faces); 300VW: `category 1` to `category 3`; else
            the subsets. Parts without a face are not in it.
        clips: the videos, where the dataset is one of videos.
    """

    kind: str
    root: Path
    samples: list[Sample]
    report: ReadingReport
    parts: Mapping[str, tuple[int, ...]]
    clips: list[Clip] = field(default_factory=list)

    def part(self, name: str) -> list[Sample]:
        """The faces of a part.

        Raises:
            InputError: there is no such part, or no face in it.
        """
        if name not in self.parts:
            raise InputError.at(self.root, f"one of the parts {', '.join(self.parts) or '(none)'}", repr(name))
        return [self.samples[index] for index in self.parts[name]]


def recognize(root: str | os.PathLike[str]) -> str | None:
    """What a folder is, by its layout: one of `TITLES`; None where it is no dataset."""
    base = Path(root)
    if not base.is_dir():
        return None
    if any(list_file(base, split).is_file() for split in SPLITS):
        return "wflw"
    if any(list_file(base, split, IBUG_68.n_points).is_file() for split in SPLITS):
        return "wflw68"
    if annotation_folder(base) is not None:
        return "cofw68"
    if any((base / name).is_dir() for name in OFFICIAL_COUNTS):
        try:
            made = bool(read_visible(base))
        except DataError:  # a broken manifest of a masked set: reading it will say so
            made = True
        return "masked-300w" if made or "mask" in base.resolve().name.lower() else "300w"
    if private_folder(base) is not None or (base / PRIVATE_EXTRACT).is_file():
        return "300w-private"
    if any(mat_file(base, split) or coco_file(base, split) for split in SPLITS):
        return "cofw29"
    if any(path.is_dir() and is_clip_folder(path) for path in base.iterdir()):
        return "300vw"
    return "plain" if any(annotation_files(base)) else None


def _parts(samples: list[Sample], groups: Mapping[str, Callable[[Sample], bool]]) -> dict[str, tuple[int, ...]]:
    parts = {name: tuple(i for i, sample in enumerate(samples) if test(sample)) for name, test in groups.items()}
    return {name: indices for name, indices in parts.items() if indices}


def _in(*subsets: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.subset in subsets


def _below(*subsets: str) -> Callable[[Sample], bool]:
    """In a subset or in one below it: `category 1` holds `category 1/114`."""
    return lambda sample: sample.subset.split("/")[0] in subsets


def _marked(attribute: str) -> Callable[[Sample], bool]:
    return lambda sample: sample.subset == TEST and attribute in sample.attributes


_300W_TEST = {
    TEST: _in(*FULL_SUBSETS),
    "Common": _in(*COMMON_SUBSETS),
    "Challenging": _in(*CHALLENGING_SUBSETS),
    "Full": _in(*FULL_SUBSETS),
}


def _groups(kind: str, samples: list[Sample]) -> Mapping[str, Callable[[Sample], bool]]:
    """The parts of a kind of dataset, each as a test."""
    if kind == "300w":
        return {TRAIN: _in(*TRAINING_SUBSETS), **_300W_TEST}
    if kind == "masked-300w":
        return _300W_TEST
    if kind == "300w-private":
        indoor, outdoor = PRIVATE_SUBSETS
        return {TEST: _in(indoor, outdoor), "Indoor": _in(indoor), "Outdoor": _in(outdoor)}
    if kind in ("cofw29", "cofw68"):
        return {TRAIN: _in(TRAIN), TEST: _in(TEST)}
    if kind in ("wflw", "wflw68"):
        return {TRAIN: _in(TRAIN), TEST: _in(TEST), **{name: _marked(name) for name in ATTRIBUTES}}
    subsets = {name: _in(name) for name in dict.fromkeys(sample.subset for sample in samples)}
    if kind == "300vw":
        own = {name: test for name, test in subsets.items() if "/" not in name}  # videos that are not 300VW's
        categories = {name: _below(name) for name in CATEGORIES}
        return {TRAIN: _below(TRAINING), TEST: _below(*CATEGORIES), **categories, **own}
    splits: dict[str, Callable[[Sample], bool]] = {
        split: lambda sample, split=split: split_of(sample.subset) == split  # type: ignore[misc]
        for split in (TRAIN, TEST)
    }
    return {**splits, **subsets}


def _read(
    kind: str, root: Path, splits: Iterable[str], pictures: Path | None, scheme: LandmarkScheme | None
) -> tuple[list[Sample], list[Clip], ReadingReport]:
    wanted = tuple(splits)
    clips: list[Clip] = []
    if kind == "300w":
        subsets = [name for split, names in ((TRAIN, TRAINING_SUBSETS), (TEST, FULL_SUBSETS)) if split in wanted
                   for name in names]  # fmt: skip
        samples, report = read_300w(root, subsets)
    elif kind == "300w-private":
        samples, report = read_300w_private(root)
    elif kind == "masked-300w":
        samples, report = read_masked_300w(root)
    elif kind == "cofw29":
        samples, report = read_cofw(root, wanted)
    elif kind == "cofw68":
        samples, report = read_cofw68(root, pictures)
    elif kind in ("wflw", "wflw68"):
        samples, report = read_wflw(root, wanted, n_points=(WFLW_98 if kind == "wflw" else IBUG_68).n_points)
    elif kind == "300vw":
        parts = [*((TRAINING,) if TRAIN in wanted else ()), *(CATEGORIES if TEST in wanted else ())]
        clips, report = read_300vw(root, parts, scheme=scheme or IBUG_68)
        samples = [sample for clip in clips for sample in clip.samples()]
    else:
        samples, report = read_plain(root, scheme)
    return samples, clips, report


def read_dataset(
    root: str | os.PathLike[str],
    *,
    kind: str | None = None,
    split: str | None = None,
    pictures: str | os.PathLike[str] | None = None,
    scheme: LandmarkScheme | None = None,
) -> Dataset:
    """Read a dataset as its owners distribute it, or one's own annotations.

    Args:
        root: its folder.
        kind: one of `TITLES`; recognized by the layout where None.
        split: `train` or `test`; both where None. A dataset of one's own, or of videos that are not 300VW's, whose
            subsets are not called so is read whole, with a note.
        pictures: COFW's test pictures, for COFW68 (a folder or a `.mat` file); looked for in `root` where None.
        scheme: what the points of one's own data are; as `scheme.toml` or their number says where None.

    Returns:
        The dataset. It may be without a face where the report says why, e.g. COFW68 without its pictures.

    Raises:
        DataError: the folder is no dataset, or not one of this kind.
        InputError: no such kind or split.
    """
    base = Path(root)
    if kind is not None and kind not in TITLES:
        raise InputError.at("kind of dataset", f"one of {', '.join(TITLES)}", repr(kind))
    if split not in (None, TRAIN, TEST):
        raise InputError.at("split", f"{TRAIN} or {TEST}", repr(split))
    found = kind or recognize(base)
    if found is None:
        expected = "the folders of 300W, WFLW, COFW or 300VW, or pictures with .pts files, COCO key points or a table"
        raise DataError.at(base, expected, "none of them" if base.is_dir() else "no such folder")
    splits = SPLITS if split is None else (split,)
    samples, clips, report = _read(found, base, splits, None if pictures is None else Path(pictures), scheme)
    parts = _parts(samples, _groups(found, samples))
    if split is not None and len(parts.get(split, ())) < len(samples):
        if TRAIN not in parts and TEST not in parts:
            report.notes.append(f"{base}: nothing says which faces are to {split} with: all are taken")
        else:
            chosen = set(parts.get(split, ()))
            samples = [sample for index, sample in enumerate(samples) if index in chosen]
            subsets = {sample.subset for sample in samples}
            clips = [clip for clip in clips if clip.subset in subsets]
            report.notes.append(f"{base}: only the faces to {split} with are taken: {len(samples)}")
            parts = _parts(samples, _groups(found, samples))
    return Dataset(found, base, samples, report, parts, clips)

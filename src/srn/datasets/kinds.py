"""The kinds of dataset in one table: title, scheme, parts, official counts, layout and reader of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from srn.datasets import cofw, cofw68, plain, three_hundred_vw, three_hundred_w, wflw
from srn.datasets.clip import Clip
from srn.datasets.report import ReadingReport
from srn.datasets.sample import TEST, TRAIN, Sample
from srn.datasets.three_hundred_vw import CATEGORIES
from srn.datasets.three_hundred_w import CHALLENGING_SUBSETS, COMMON_SUBSETS, FULL_SUBSETS, PRIVATE_SUBSETS
from srn.face.scheme import COFW_29, IBUG_68, WFLW_98, LandmarkScheme

Subsets = Mapping[str, Sequence[str]]
Found = tuple[Sequence[Sample] | Sequence[Clip], ReadingReport]


@dataclass(frozen=True)
class Request:
    """The faces to read of a dataset: of both or one split; `pictures` and `scheme` as for `open_faces`."""

    splits: Sequence[str]
    pictures: Path | None = None
    scheme: LandmarkScheme | None = None


@dataclass(frozen=True)
class DatasetKind:
    """One kind of dataset.

    Attributes:
        name: its key in `KINDS` and the value of `--kind`.
        title: its name in tables and reports.
        scheme: numbering of its landmarks; None where the files tell it.
        recognize: whether a folder has its layout.
        read: reads the samples, or the clips of a video dataset.
        groups: the subsets of each part.
        unions: parts that exist only where all the parts they consist of do.
        attributes: attributes whose test faces form a part.
        official: faces (of videos: frames) of each subset or attribute in the complete release.
        masked_from: the kind of dataset that it is the masked version of.
        unit: noun of the counts.
    """

    name: str
    title: str
    scheme: LandmarkScheme | None
    recognize: Callable[[Path], bool]
    read: Callable[[Path, Request], Found]
    groups: Subsets = field(default_factory=dict)
    unions: Subsets = field(default_factory=dict)
    attributes: Sequence[str] = ()
    official: Mapping[str, int] = field(default_factory=dict)
    masked_from: str | None = None
    unit: str = "faces"

    def official_count(self, part: str) -> int | None:
        """Return the faces of a complete part; None where no official number is known."""
        if part in self.official:
            return self.official[part]
        members = [name for name in self.unions.get(part) or self.groups.get(part, ()) if name != part]
        counts = [self.official_count(name) for name in members]
        return sum(n for n in counts if n is not None) if counts and None not in counts else None


_300W_TEST: Subsets = {TEST: FULL_SUBSETS, "Common": COMMON_SUBSETS, "Challenging": CHALLENGING_SUBSETS}
_300W_TEST_COUNTS = {"helen/testset": 330, "lfpw/testset": 224, "ibug": 135}
_300W_UNIONS: Subsets = {"Full": ("Common", "Challenging")}
_300W_SPLITS = {TRAIN: three_hundred_w.TRAINING_SUBSETS, TEST: FULL_SUBSETS}
_300VW_SPLITS: Subsets = {TRAIN: (TRAIN,), TEST: CATEGORIES}
_SPLITS: Subsets = {TRAIN: (TRAIN,), TEST: (TEST,)}
_WFLW_COUNTS = {TRAIN: 7500, TEST: 2500}
_WFLW_ATTRIBUTE_COUNTS = {
    "pose": 326, "expression": 314, "illumination": 698, "make-up": 206, "occlusion": 736, "blur": 773,
}  # fmt: skip


def _subsets(request: Request, splits: Subsets) -> list[str]:
    return [name for split, names in splits.items() if split in request.splits for name in names]


def _masked_subsets(root: Path, request: Request) -> list[str]:
    """Return the folders of 300W; those of training faces, which the authors' set lacks, only where they exist."""
    names = _subsets(request, _300W_SPLITS)
    return [name for name in names if name in FULL_SUBSETS or (root / name).is_dir()]


def _read_300vw(root: Path, request: Request) -> Found:
    parts = _subsets(request, _300VW_SPLITS)
    return three_hundred_vw.read_300vw(root, parts, scheme=request.scheme or IBUG_68)


def _wflw(name: str, title: str, scheme: LandmarkScheme, official: Mapping[str, int]) -> DatasetKind:
    return DatasetKind(
        name, title, scheme,
        recognize=lambda root: wflw.has_lists(root, scheme),
        read=lambda root, request: wflw.read_wflw(root, request.splits, scheme=scheme),
        groups=_SPLITS,
        attributes=wflw.ATTRIBUTES,
        official=official,
    )  # fmt: skip


_300VW = DatasetKind(
    "300vw", "300VW", IBUG_68,
    recognize=three_hundred_vw.is_300vw,
    read=_read_300vw,
    groups={**_300VW_SPLITS, **{name: (name,) for name in CATEGORIES}},
    official={TRAIN: 95_192, "category 1": 62_135, "category 2": 32_805, "category 3": 26_338},
    unit="frames",
)  # fmt: skip
_ALL = (
    DatasetKind(
        "300w", "300W", IBUG_68,
        recognize=lambda root: three_hundred_w.is_300w(root) and not three_hundred_w.is_masked(root),
        read=lambda root, request: three_hundred_w.read_300w(root, _subsets(request, _300W_SPLITS)),
        groups={TRAIN: three_hundred_w.TRAINING_SUBSETS, **_300W_TEST},
        unions=_300W_UNIONS,
        official={"afw": 337, "helen/trainset": 2000, "lfpw/trainset": 811, **_300W_TEST_COUNTS},
    ),
    DatasetKind(
        "300w-private", "300W, private test set", IBUG_68,
        recognize=three_hundred_w.is_private,
        read=lambda root, _: three_hundred_w.read_300w_private(root),
        groups={TEST: PRIVATE_SUBSETS, "Indoor": PRIVATE_SUBSETS[:1], "Outdoor": PRIVATE_SUBSETS[1:]},
        official=dict.fromkeys(PRIVATE_SUBSETS, 300),
    ),
    DatasetKind(
        "masked-300w", "Masked 300W", IBUG_68,
        recognize=lambda root: three_hundred_w.is_300w(root) and three_hundred_w.is_masked(root),
        read=lambda root, request: three_hundred_w.read_masked_300w(root, _masked_subsets(root, request)),
        groups={TRAIN: three_hundred_w.TRAINING_SUBSETS, **_300W_TEST},
        unions=_300W_UNIONS,
        official=_300W_TEST_COUNTS,
        masked_from="300w",
    ),
    DatasetKind(
        "cofw68", "COFW68", IBUG_68,
        recognize=lambda root: cofw68.annotation_folder(root) is not None,
        read=lambda root, request: cofw68.read_cofw68(root, request.pictures),
        groups={TEST: (TEST,)},
        official={TEST: 507},
    ),
    DatasetKind(
        "cofw29", "COFW", COFW_29,
        recognize=cofw.is_cofw,
        read=lambda root, request: cofw.read_cofw(root, request.splits),
        groups=_SPLITS,
        official={TRAIN: 1345, TEST: 507},
    ),
    _wflw("wflw", "WFLW", WFLW_98, {**_WFLW_COUNTS, **_WFLW_ATTRIBUTE_COUNTS}),
    _wflw("wflw68", "WFLW, 68-point lists", IBUG_68, _WFLW_COUNTS),
    _300VW,
    # Its layout is that of 300VW.
    replace(_300VW, name="masked-300vw", title="masked 300VW", recognize=lambda _: False, masked_from="300vw"),
    DatasetKind(
        "plain", "annotated pictures", None,
        recognize=lambda root: any(plain.annotation_files(root)),
        read=lambda root, request: plain.read_plain(root, request.scheme),
    ),
)  # fmt: skip
KINDS: Mapping[str, DatasetKind] = {kind.name: kind for kind in _ALL}
"""Every kind of dataset by its name, in the order in which a folder is compared with their layouts."""

"""`DataFolder`: a folder that holds several datasets, each in a folder of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from srn.datasets.catalogue import Dataset, datasets_in, open_faces, recognize
from srn.datasets.kinds import KINDS, DatasetKind
from srn.datasets.sample import TEST
from srn.errors import DataError


@dataclass
class DataFolder:
    """The test sets in a folder that holds datasets.

    Attributes:
        root: that folder.
        limit: number of faces to keep of each dataset, evenly spread; all where None.
        mask: makes the masked version of a dataset (`srn.synthesis.masked.MaskedVersions`); none is made where None.
    """

    root: Path
    limit: int | None = None
    mask: Callable[[Dataset], Dataset] | None = None
    _opened: dict[str, Dataset | str] = field(default_factory=dict)
    _masked: dict[str, Dataset] = field(default_factory=dict)

    @cached_property
    def folders(self) -> dict[str, Path]:
        """Folder of each kind of dataset; of several, the one named like the dataset."""
        expected = "a folder that holds datasets (300W, WFLW, COFW, 300VW, ...)"
        if not self.root.is_dir():
            raise DataError.at(self.root, expected, "no such folder")
        found: dict[str, Path] = {}
        for path, kind in datasets_in(self.root).items():
            known = found.setdefault(kind, path)
            if _likeness(path, kind) > _likeness(known, kind):
                found[kind] = path
        itself = None if found else recognize(self.root, own=False)
        if itself is not None:
            raise DataError.at(self.root, expected, f"{KINDS[itself].title} itself: name the folder around it")
        return found

    def sets(self, name: str) -> list[Dataset] | str:
        """Return the versions of a test set (a key of `KINDS`), or the reason why there is none.

        A masked set has two versions: the authors' pictures, and masks made here.
        """
        kind = KINDS[name]
        opened = self._open(name)
        found = [] if isinstance(opened, str) else [opened]
        reasons = [opened] if isinstance(opened, str) else []
        if kind.masked_from is not None and self.mask is not None:
            base = self._open(kind.masked_from)
            if isinstance(base, str):
                reasons.append(base)
            elif not any(kind.official_count(part) for part in base.limited(self.limit).parts):
                reasons.append(f"no data: {KINDS[kind.masked_from].title} test set")
            else:
                if name not in self._masked:
                    self._masked[name] = self.mask(base.limited(self.limit))
                found.append(self._masked[name])
        if not found:
            return "; ".join(dict.fromkeys(reasons))
        return [dataset.limited(self.limit) for dataset in found]

    def relative(self, message: str) -> str:
        """Take the path of the folder out of a message, as given and as resolved: results name no machine."""
        for root in (self.root.resolve(), self.root):
            message = message.replace(f"{root}/", "")
        return message

    def _open(self, name: str) -> Dataset | str:
        """Open a dataset, once; return the reason where there is none."""
        if name not in self._opened:
            self._opened[name] = self._read(KINDS[name])
        return self._opened[name]

    def _read(self, kind: DatasetKind) -> Dataset | str:
        if kind.name not in self.folders:
            return f"no data: {kind.title}"
        pictures = self.folders.get("cofw29") if kind.name == "cofw68" else None
        try:
            dataset = open_faces(self.folders[kind.name], kind=kind.name, split=TEST, pictures=pictures)
        except DataError as error:
            return f"no data: {kind.title} ({self.relative(str(error))})"
        return replace(dataset, label="the authors' pictures" if kind.masked_from is not None else "")


def _likeness(folder: Path, kind: str) -> int:
    """Return 2 where a folder has the name of a dataset, 1 where its name starts with it, else 0."""
    name = folder.name.lower().replace("_", "").replace("-", "")
    wanted = kind.replace("-", "")
    names = (wanted, wanted.rstrip("0123456789")) if kind.startswith(("cofw", "wflw")) else (wanted,)
    return 2 if name in names else int(name.startswith(names))

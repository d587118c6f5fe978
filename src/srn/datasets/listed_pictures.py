"""Where the pictures lie that a COCO file or a table names."""

from __future__ import annotations

import os
import re
from functools import cached_property
from pathlib import Path

from srn.datasets.sample import SPLITS
from srn.errors import DataError
from srn.files import real_path
from srn.media.listing import existing

ANNOTATIONS = "annotations"
"""A folder of annotation files beside those of the pictures."""
_SPLIT = "|".join((*SPLITS, "val"))


class ListedPictures:
    """Finds the pictures that a file of annotations names.

    They are looked for in `places`: beside the file, in `images` there, and in `images` beside its folder. A bare name
    that is in none of them is looked for in the folders of the splits, as COCO has them: `train2017` beside
    `annotations/person_keypoints_train2017.json`. The name of the file tells which folder it is, or at least which
    split; where it tells no split, every folder counts. `doubt` is the error of a name that several folders have.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.places = (file.parent, file.parent / "images", file.parent.parent / "images")
        self.doubt: DataError | None = None

    @cached_property
    def _of_splits(self) -> list[Path]:
        """The folders that bare names are looked for in."""
        homes = [*self.places, *([self._file.parent.parent] if self._file.parent.name == ANNOTATIONS else [])]
        folders = [Path(entry.path) for home in homes if home.is_dir() for entry in os.scandir(home) if entry.is_dir()]
        folders = sorted(f for f in folders if not f.name.startswith(".") and f.name not in (ANNOTATIONS, "images"))
        stem = _words(self._file.stem)
        told = [folder for folder in folders if f"-{_words(folder.name)}-" in f"-{stem}-"]
        begins = [found[0] for part in stem.split("-") if (found := re.match(f"(?:{_SPLIT})+", part))]  # `trainval`
        splits = tuple(word for begin in begins for word in re.findall(_SPLIT, begin))
        return told or [folder for folder in folders if not splits or _words(folder.name).startswith(splits)]

    def find(self, name: str) -> tuple[Path, str]:
        """Return where a picture lies, or is missing, and its name with the folder of its split, if that tells it.

        Raises:
            DataError: it may be one of several.
        """
        near = [existing(place, name) for place in self.places]
        beside = next((file for file in near if file.exists()), None)
        if beside is not None or "/" in name.replace("\\", "/"):
            return beside or near[0], name
        far = [file for folder in self._of_splits if (file := existing(folder, name)).exists()]
        if len({real_path(file) for file in far}) > 1:
            found = f"{name} in {' and in '.join(str(file.parent) for file in far)}"
            self.doubt = DataError.at(self._file, "a name that tells the folder of its pictures", found)
            raise self.doubt
        return (far[0], f"{far[0].parent.name}/{name}") if far else (near[0], name)


def _words(name: str) -> str:
    """Return the words of a name in small letters with `-` between them."""
    return "-".join(re.findall(r"[^\W_]+", name.lower()))

"""`MaskWardrobe`: mask templates and cloth patterns read from a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from srn.datasets.report import check_inside
from srn.errors import DataError, InputError
from srn.face.geometry import ImageArray
from srn.media.limits import check_pixels, read_limited
from srn.media.number_text import number_in
from srn.media.picture_header import stated_size
from srn.media.pictures import IMAGE_SUFFIXES, read_image
from srn.media.tables import read_rows
from srn.synthesis.masks import MaskTemplate, patterned

KEY_POINT_NAMES = ("left_top", "mid_top", "right_top", "left_bottom", "mid_bottom", "right_bottom")
PATTERNED = "patterned"
SIDES = ("front", "left", "right")


@dataclass(frozen=True)
class MaskWardrobe:
    """Mask templates by kind and side, and cloth patterns.

    Attributes:
        kinds: for each kind, its templates for faces seen from the `front` and turned `left` and `right`.
        textures: patterns (H, W, 3) uint8 RGB by name.
    """

    kinds: dict[str, dict[str, MaskTemplate]]
    textures: dict[str, ImageArray]

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> MaskWardrobe:
        """Read templates: PNGs with alpha, and `key_points.csv` (file, then x and y of six points).

        A column `skin` is the light of the wearer's skin of masks that were cut from photographs (`MaskTemplate`).
        `NAME_left.png` and `NAME_right.png` are the side versions of `NAME.png`. Patterns are read from the folder
        `textures` beside it.

        Raises:
            DataError: the folder or a file in it is missing or broken.
        """
        directory = Path(folder)
        table = directory / "key_points.csv"
        rows = read_rows(table, "a table of the templates' key points")
        kinds: dict[str, dict[str, MaskTemplate]] = {}
        for number, row in enumerate(rows, 2):
            template = _read_template(directory, row, f"{table}: line {number}")
            base, _, side = template.name.rpartition("_")
            kind, side = (base, side) if side in SIDES[1:] else (template.name, SIDES[0])
            kinds.setdefault(kind, {})[side] = template
        textures = {
            path.stem: read_image(path)
            for path in sorted((directory.parent / "textures").glob("*"))
            if path.suffix.lower() in IMAGE_SUFFIXES
        }
        if not kinds:
            raise DataError.at(table, "at least one template", "none")
        return cls(kinds, textures)

    def choices(self) -> tuple[str, ...]:
        """Return the kinds that `template` accepts, with `patterned` where there are patterns."""
        return (*sorted(self.kinds), *((PATTERNED,) if self.textures else ()))

    def check(self, kind: str) -> None:
        """Raise `InputError` unless `template` accepts a kind."""
        if kind not in self.choices():
            raise InputError.at("mask kind", f"one of {', '.join(self.choices())}", repr(kind))

    def template(self, kind: str, side: str, rng: np.random.Generator) -> MaskTemplate:
        """Return the template of a kind for one of `SIDES`; `patterned` is a surgical or cloth one in a random pattern.

        Raises:
            InputError: unknown kind.
        """
        if kind == PATTERNED and self.textures:
            bases = [name for name in sorted(self.kinds) if name in {"surgical", "cloth"}] or sorted(self.kinds)
            base = self.template(bases[int(rng.integers(len(bases)))], side, rng)
            texture = sorted(self.textures)[int(rng.integers(len(self.textures)))]
            return patterned(base, self.textures[texture], f"{base.name}+{texture}")
        self.check(kind)
        views = self.kinds[kind]
        return views.get(side) or views.get(SIDES[0]) or next(iter(views.values()))


def _read_template(directory: Path, row: dict[str, str], where: str) -> MaskTemplate:
    with DataError.reading(where, "a file name and six points x, y"):
        file = directory / check_inside(row["file"], where)
        points = np.array([[number_in(row[f"{point}_{axis}"]) for axis in "xy"] for point in KEY_POINT_NAMES])
        skin = number_in(row["skin"]) if row.get("skin") else None
        if not np.isfinite([*points.flat, skin or 0]).all():
            raise ValueError("numbers that are not finite")
    with DataError.reading(file, "a PNG with alpha"):
        content = read_limited(file)
        size = stated_size(content)
        if size is None:
            raise ValueError("no picture")
        check_pixels(file, *size)
        picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
        raise DataError.at(file, "a PNG with alpha", "a picture that cannot be decoded" if picture is None else "none")
    deep = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA)
    image = (deep // (1 if deep.dtype == np.uint8 else 257)).astype(np.uint8)  # of 16 bits, the upper ones
    return MaskTemplate(file.stem, image, points, skin)

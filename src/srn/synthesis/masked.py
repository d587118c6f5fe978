"""Masked versions of annotated sets, made as the paper makes Masked 300W: masks laid over, the points unchanged."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.errors import DataError, InputError
from srn.face.geometry import ImageArray
from srn.files import write_csv
from srn.media.pictures import IMAGE_SUFFIXES, read_image, write_image
from srn.media.pts import write_pts
from srn.synthesis.masks import MaskTemplate, fit_mask, patterned, turned_side
from srn.synthesis.occluders import drawn_mask, misfitted, visible_landmarks

KEY_POINT_NAMES = ("left_top", "mid_top", "right_top", "left_bottom", "mid_bottom", "right_bottom")
DRAWN = "drawn"
PATTERNED = "patterned"
MIXED = "mixed"
SIDES = ("front", "left", "right")


@dataclass(frozen=True)
class MaskWardrobe:
    """Mask templates by kind and side, and cloth patterns.

    Attributes:
        kinds: for each kind, its template seen from the `front`, and for faces turned `left` and `right`.
        textures: patterns (H, W, 3) uint8 RGB by name.
    """

    kinds: dict[str, dict[str, MaskTemplate]]
    textures: dict[str, ImageArray]

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> MaskWardrobe:
        """Read templates: PNGs with alpha and `key_points.csv` (file, then x and y of six points) in a folder.

        `NAME_left.png` and `NAME_right.png` are the side views of `NAME.png`. Patterns are looked for in the folder
        `textures` beside it.

        Raises:
            DataError: the folder or a file in it is missing or broken.
        """
        directory = Path(folder)
        table = directory / "key_points.csv"
        try:
            rows = list(csv.DictReader(io.StringIO(table.read_text(encoding="utf-8"))))
        except OSError as error:
            raise DataError.at(table, "a table of the templates' key points", error.strerror or "an error") from error
        kinds: dict[str, dict[str, MaskTemplate]] = {}
        for number, row in enumerate(rows, 2):
            try:
                name = Path(row["file"]).stem
                points = np.array([[float(row[f"{point}_{axis}"]) for axis in "xy"] for point in KEY_POINT_NAMES])
            except (KeyError, ValueError, TypeError) as error:
                raise DataError.at(f"{table}: line {number}", "a file name and six points x, y", str(error)) from error
            picture = cv2.imread(str(directory / row["file"]), cv2.IMREAD_UNCHANGED)
            if picture is None or picture.ndim != 3 or picture.shape[2] != 4:
                raise DataError.at(directory / row["file"], "a PNG with alpha", "none")
            image = cv2.cvtColor(picture, cv2.COLOR_BGRA2RGBA).astype(np.uint8, copy=False)
            base, _, side = name.rpartition("_")
            kind, view = (base, side) if side in SIDES[1:] else (name, SIDES[0])
            kinds.setdefault(kind, {})[view] = MaskTemplate(name, image, points)
        textures = {
            path.stem: read_image(path)
            for path in sorted((directory.parent / "textures").glob("*"))
            if path.suffix.lower() in IMAGE_SUFFIXES
        }
        if not kinds:
            raise DataError.at(table, "at least one template", "none")
        return cls(kinds, textures)

    def choices(self) -> tuple[str, ...]:
        """What `template` can be asked for: the kinds, and `patterned` where there are patterns."""
        return (*sorted(self.kinds), *((PATTERNED,) if self.textures else ()))

    def template(self, kind: str, side: str, rng: np.random.Generator) -> MaskTemplate:
        """The template of a kind that suits a turned face; `patterned` is a surgical or cloth one in a random pattern.

        Raises:
            InputError: no such kind.
        """
        if kind == PATTERNED and self.textures:
            bases = [name for name in sorted(self.kinds) if name in {"surgical", "cloth"}] or sorted(self.kinds)
            base = self.template(bases[int(rng.integers(len(bases)))], side, rng)
            texture = sorted(self.textures)[int(rng.integers(len(self.textures)))]
            return patterned(base, self.textures[texture], f"{base.name}+{texture}")
        if kind not in self.kinds:
            raise InputError.at("mask kind", f"one of {', '.join(self.choices())}", repr(kind))
        views = self.kinds[kind]
        return views.get(side) or views.get(SIDES[0]) or next(iter(views.values()))


def masked_picture(
    sample: Sample, kind: str, wardrobe: MaskWardrobe | None, rng: np.random.Generator, misfit: float = 0.0
) -> tuple[ImageArray, np.ndarray[tuple[int], np.dtype[np.bool_]], str]:
    """One masked picture.

    Args:
        sample: the face.
        kind: a kind of the wardrobe, `mixed` (any of them), or `drawn` (no template needed).
        wardrobe: templates; not needed for `drawn`.
        rng: the only source of chance.
        misfit: how far off the points are that the mask is fitted through (`misfitted`); 0: the true points. The
            authors' masks follow points that a detector found.

    Returns:
        The picture, which landmarks can still be seen (N,), and the mask's name.
    """
    image = np.array(sample.load())
    shape = misfitted(sample.landmarks, misfit, rng.spawn(1)[0]) if misfit else sample.landmarks
    if kind == DRAWN:
        covered = drawn_mask(image, shape, sample.scheme, rng)
        return image, visible_landmarks(covered, sample.landmarks), DRAWN
    if wardrobe is None:
        raise InputError.at("--templates", f"a folder of mask templates for the kind {kind!r}", "none")
    if kind == MIXED:
        choices = wardrobe.choices()
        kind = choices[int(rng.integers(len(choices)))]
    template = wardrobe.template(kind, turned_side(shape, sample.scheme), rng)
    covered = fit_mask(image, shape, sample.scheme, template)
    return image, visible_landmarks(covered, sample.landmarks), template.name


CLIP_MANIFEST = "masks.csv"


def mask_clips(
    clips: Sequence[Clip],
    out: str | os.PathLike[str],
    *,
    kind: str = DRAWN,
    wardrobe: MaskWardrobe | None = None,
    seed: int = 0,
    misfit: float = 0.0,
    progress: Callable[[], None] | None = None,
) -> list[str]:
    """Write the masked version of videos in 300VW's extracted layout: `OUT/<id>/imgs/*.jpg` and `OUT/<id>/annot/*.pts`.

    A person wears one mask for the whole clip, chosen by the seed and the clip's name alone; only the view of it
    follows the turning head. Each clip ends with its `masks.csv` (frame, mask, kind, seed, misfit, visible): a
    clip that has one for the same kind, seed and misfit is finished and is not made again, so a long job can be
    stopped and gone on with.

    Args:
        clips: the annotated videos.
        out: folder for the masked ones.
        kind, wardrobe, misfit: as in `masked_picture`.
        seed: of all masks.
        progress: called after each frame.

    Returns:
        One line for each frame that could not be read.
    """
    problems: list[str] = []
    for clip in clips:
        folder = Path(out) / clip.name
        manifest = folder / CLIP_MANIFEST
        if _is_finished(manifest, len(clip), kind, seed, misfit):
            for _ in range(len(clip)):
                if progress is not None:
                    progress()
            continue
        rows: list[list[object]] = []
        for sample, number in zip(clip.samples(), clip.numbers.tolist(), strict=True):
            rng = np.random.default_rng([seed, *clip.name.encode()])  # anew for each frame: the same mask again
            try:
                image, visible, mask = masked_picture(sample, kind, wardrobe, rng, misfit)
            except DataError as error:
                problems.append(f"{error}; left out")
                continue
            finally:
                if progress is not None:
                    progress()
            write_image(folder / "imgs" / f"{number:06d}.jpg", image, quality=95)
            write_pts(folder / "annot" / f"{number:06d}.pts", sample.landmarks)
            rows.append([f"{number:06d}", mask, kind, seed, misfit, _flags(visible)])
        write_csv(manifest, [("frame", "mask", "kind", "seed", "misfit", "visible"), *rows])
    return problems


def _is_finished(manifest: Path, frames: int, kind: str, seed: int, misfit: float) -> bool:
    try:
        rows = list(csv.DictReader(io.StringIO(manifest.read_text(encoding="utf-8"))))
    except OSError:
        return False
    return len(rows) == frames and all(
        (row.get("kind"), row.get("seed"), row.get("misfit")) == (kind, str(seed), str(misfit)) for row in rows
    )


def _flags(visible: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> str:
    return "".join("1" if v else "0" for v in visible)


def mask_dataset(
    samples: Sequence[Sample],
    out: str | os.PathLike[str],
    *,
    kind: str = DRAWN,
    wardrobe: MaskWardrobe | None = None,
    seed: int = 0,
    misfit: float = 0.0,
    progress: Callable[[], None] | None = None,
) -> list[str]:
    """Write the masked version of annotated faces: `OUT/<subset>/<stem>.jpg` and `.pts`, and `OUT/manifest.csv`.

    The mask of a face depends on the seed and the face's name alone, so that a part of a set gets the masks that the
    whole set gets, and a second run writes the same bytes.

    Returns:
        One line for each picture that could not be read.
    """
    folder = Path(out)
    rows: list[list[object]] = []
    taken: dict[str, int] = {}
    problems: list[str] = []
    for sample in samples:
        name = f"{sample.subset}/{sample.path.stem}"
        taken[name] = taken.get(name, 0) + 1
        if taken[name] > 1:  # a further face of one picture
            name = f"{name}_{taken[name]}"
        rng = np.random.default_rng([seed, *name.encode()])
        try:
            image, visible, mask = masked_picture(sample, kind, wardrobe, rng, misfit)
        except DataError as error:
            problems.append(f"{error}; left out")
            continue
        finally:
            if progress is not None:
                progress()
        target = folder / name
        write_image(target.with_name(f"{target.name}.jpg"), image, quality=95)
        write_pts(target.with_name(f"{target.name}.pts"), sample.landmarks)
        rows.append([sample.subset, target.name, mask, seed, misfit, _flags(visible)])
    write_csv(folder / "manifest.csv", [("subset", "stem", "mask", "seed", "misfit", "visible"), *rows])
    return problems

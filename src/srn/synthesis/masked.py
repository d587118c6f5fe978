"""Masked versions of annotated sets, made like Masked 300W: masks are painted over faces, the points stay."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.datasets.catalogue import Dataset
from srn.datasets.clip import Clip
from srn.datasets.digests import files_digest, manifest_digest
from srn.datasets.kinds import KINDS
from srn.datasets.manifest import CLIP_MANIFEST, MANIFEST, read_visible
from srn.datasets.report import ReadingReport
from srn.datasets.sample import Sample
from srn.datasets.scheme_file import SCHEME_FILE, write_scheme
from srn.datasets.writing import AnnotationWriter, frame_name
from srn.errors import InputError
from srn.face.geometry import ImageArray
from srn.face.scheme import BUILT_IN
from srn.files import held_folder, opened_text, writing_to
from srn.synthesis.masks import fit_mask, turned_side
from srn.synthesis.occluders import drawn_mask, misfitted, visible_landmarks
from srn.synthesis.wardrobe import MaskWardrobe

DRAWN, MIXED = "drawn", "mixed"
_COLUMNS, _CLIP_COLUMNS = ("subset", "stem", "mask", "seed", "misfit"), ("frame", "mask", "kind", "seed", "misfit")


def masked_picture(
    sample: Sample, kind: str, wardrobe: MaskWardrobe | None, rng: np.random.Generator, misfit: float = 0.0
) -> tuple[ImageArray, npt.NDArray[np.bool_], str]:
    """Paint a mask over a face.

    Args:
        sample: the face.
        kind: a kind of the wardrobe, `mixed` (any of them), or `drawn` (no template needed).
        wardrobe: templates; not needed for `drawn`.
        rng: the only source of chance.
        misfit: error of the points that the mask is fitted to (`misfitted`); 0: the true points. The authors' masks
            follow detected points.

    Returns:
        The picture, the landmarks that stay visible (N,), and the mask's name.
    """
    image = np.array(sample.load())
    shape = misfitted(sample.landmarks, misfit, rng.spawn(1)[0]) if misfit else sample.landmarks
    if kind == DRAWN:
        covered, name = drawn_mask(image, shape, sample.scheme, rng), DRAWN
    else:
        wardrobe = _templates(kind, wardrobe)
        if kind == MIXED:
            choices = wardrobe.choices()
            kind = choices[int(rng.integers(len(choices)))]
        template = wardrobe.template(kind, turned_side(shape, sample.scheme), rng)
        covered, name = fit_mask(image, shape, sample.scheme, template), template.name
    visible = visible_landmarks(covered, sample.landmarks)
    if sample.occluded is not None:  # behind a hand, say
        visible &= ~sample.occluded
    return image, visible, name


def _templates(kind: str, wardrobe: MaskWardrobe | None) -> MaskWardrobe:
    if wardrobe is None:
        raise InputError.at("--templates", f"a folder of mask templates for the kind {kind!r}", "none")
    return wardrobe


def _check_kind(kind: str, wardrobe: MaskWardrobe | None) -> None:
    """Raise `InputError`, before anything is written, where a kind of masks cannot be painted on any picture."""
    if kind != DRAWN:
        templates = _templates(kind, wardrobe)
        if kind != MIXED:
            templates.check(kind)


@contextlib.contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Turn an error of the block, which masks one picture, into a problem."""
    try:
        yield
    except InputError as error:
        problems.append(f"{error}; left out")


def mask_samples(
    samples: Sequence[Sample],
    out: str | os.PathLike[str],
    *,
    kind: str = DRAWN,
    wardrobe: MaskWardrobe | None = None,
    seed: int = 0,
    misfit: float = 0.0,
    progress: Callable[[], None] = lambda: None,
) -> list[str]:
    """Write the masked version of annotated faces: `OUT/<subset>/<stem>.jpg` and `.pts`, and `OUT/manifest.csv`.

    Landmarks that are not of a built-in scheme get their `scheme.toml`.

    The mask of a face depends on the seed and the face's name alone, or that of its video: a person wears one mask. A
    part of a set therefore gets the same masks as the whole, and a second run writes the same bytes.

    `kind`, `wardrobe` and `misfit` are as in `masked_picture`; `progress` is called after each face.

    Returns:
        One line for each picture that could not be read.
    """
    _check_kind(kind, wardrobe)
    folder = Path(out)
    problems, names = list[str](), _names(samples)
    own = next((sample.scheme for sample in samples if sample.scheme.name not in BUILT_IN), None)
    written = [MANIFEST, *(f"{name}{suffix}" for name in names for suffix in (".jpg", ".pts"))]
    written += [] if own is None else [SCHEME_FILE]
    others = () if _is_table(folder / MANIFEST, _COLUMNS) else written
    with held_folder(folder, "a masked set", others, stays=False):
        writer = _new_table(folder / MANIFEST, _COLUMNS)
        if own is not None:
            write_scheme(folder / SCHEME_FILE, own)
        for sample, name in zip(samples, names, strict=True):
            rng = np.random.default_rng([seed, *os.fsencode(sample.video or name)])
            with _noting(problems):
                image, visible, mask = masked_picture(sample, kind, wardrobe, rng, misfit)
                row = (sample.subset, (folder / name).name, mask, seed, misfit)
                writer.picture(folder / name, image, sample.landmarks, visible, row)
            progress()
        writer.write_table()
    return problems


def _names(samples: Sequence[Sample]) -> list[str]:
    """Return `<subset>/<stem>` of each face; further faces of a picture are numbered, without the names of others."""
    firsts = [f"{sample.subset}/{sample.path.stem}" for sample in samples]
    pictures, names = set(firsts), dict[str, None]()  # in order
    for first in firsts:
        name, number = first, 1
        while name in names or (number > 1 and name in pictures):
            number += 1
            name = f"{first}_{number}"
        names[name] = None
    return list(names)


def mask_clips(
    clips: Sequence[Clip],
    out: str | os.PathLike[str],
    *,
    kind: str = DRAWN,
    wardrobe: MaskWardrobe | None = None,
    seed: int = 0,
    misfit: float = 0.0,
    progress: Callable[[], None] = lambda: None,
) -> list[str]:
    """Write the masked version of videos in 300VW's extracted layout: `OUT/<id>/imgs/*.jpg` and `OUT/<id>/annot/*.pts`.

    A person wears one mask for the whole clip, chosen by the seed and the clip's name alone; only its side follows the
    turning head. Each clip ends with its `masks.csv` (frame, mask, kind, seed, misfit, visible). A clip that has one
    for the same kind, seed and misfit is finished and is skipped, so that an interrupted job can be continued. The
    arguments are those of `mask_samples`.

    Returns:
        One line for each frame that could not be read.
    """
    _check_kind(kind, wardrobe)
    names = [clip.name for clip in clips]
    is_ours = any(_is_table(Path(out, name, CLIP_MANIFEST), _CLIP_COLUMNS) for name in names)
    with held_folder(Path(out), "masked clips", () if is_ours else names, stays=False):
        return _mask_clips(clips, Path(out), kind, wardrobe, seed, misfit, progress)


def _mask_clips(
    clips: Sequence[Clip], out: Path, kind: str, wardrobe: MaskWardrobe | None, seed: int, misfit: float,
    progress: Callable[[], None],
) -> list[str]:  # fmt: skip
    problems: list[str] = []
    for clip in clips:
        folder = out / clip.name
        if _is_finished(folder / CLIP_MANIFEST, len(clip), kind, seed, misfit):
            for _ in range(len(clip)):
                progress()
            continue
        writer = _new_table(folder / CLIP_MANIFEST, _CLIP_COLUMNS)
        for sample, number in zip(clip.samples(), clip.numbers.tolist(), strict=True):
            rng = np.random.default_rng([seed, *os.fsencode(clip.name)])  # anew for each frame: the same mask again
            with _noting(problems):
                image, visible, mask = masked_picture(sample, kind, wardrobe, rng, misfit)
                row = (frame_name(number), mask, kind, seed, misfit)
                writer.frame(folder, number, image, sample.landmarks, visible, row)
            progress()
        writer.write_table()
    return problems


def _new_table(path: Path, columns: Sequence[str]) -> AnnotationWriter:
    """Begin a table, which is written at the end. An older one goes before its pictures are replaced.

    So a set with a table is whole, whenever the process was killed.
    """
    with writing_to(path):
        path.unlink(missing_ok=True)
    return AnnotationWriter(path, columns)


def _is_table(path: Path, columns: Sequence[str]) -> bool:
    """Whether a table is there that this module wrote: sets of older versions have no lock."""
    with contextlib.suppress(OSError):
        return path.read_bytes().startswith(",".join(columns).encode())
    return False


def _is_finished(manifest: Path, frames: int, kind: str, seed: int, misfit: float) -> bool:
    try:
        rows = list(csv.DictReader(opened_text(manifest)))
    except OSError:
        return False
    return len(rows) == frames and all(
        (row.get("kind"), row.get("seed"), row.get("misfit")) == (kind, str(seed), str(misfit)) for row in rows
    )


@dataclass(frozen=True)
class MaskedVersions:
    """Makes masked versions of datasets and keeps them; a version that an earlier run made is read instead.

    Attributes:
        folder: parent of the masked sets; each is named by the hash of its faces, templates, options, and of the code
            that paints.
        templates: folder of mask templates; not needed for drawn masks.
        kind, seed, misfit: as in `mask_samples`.
        progress: begins masking, by a name and a number of faces; the result is called after each.
    """

    folder: Path
    templates: Path | None = None
    kind: str = DRAWN
    seed: int = 0
    misfit: float = 0.0
    progress: Callable[[str, int], Callable[[], None]] = lambda name, faces: lambda: None

    def __call__(self, dataset: Dataset) -> Dataset:
        """Return the masked version of a dataset; its report tells which pictures could not be read."""
        faces, templates = manifest_digest(dataset.samples), _folder_digest(self.templates)
        facts = [faces, self.kind, self.seed, self.misfit, templates, _code_digest()]
        out = self.folder / hashlib.sha256(repr(facts).encode()).hexdigest()[:24]
        report = ReadingReport()
        if not (out / MANIFEST).exists():  # written last
            wardrobe = None if self.templates is None else MaskWardrobe.load(self.templates)
            report.problems += mask_samples(
                dataset.samples, out, kind=self.kind, wardrobe=wardrobe, seed=self.seed, misfit=self.misfit,
                progress=self.progress("masking", len(dataset.samples)),
            )  # fmt: skip
        visible = read_visible(out)
        samples = [
            replace(sample, path=out / f"{key}.jpg", source=None, occluded=~visible[key])
            for sample in dataset.samples
            if (key := f"{sample.subset}/{sample.path.stem}") in visible  # else its picture could not be read
        ]
        label = f"masks made here ({self.kind}, seed {self.seed}{f', misfit {self.misfit:g}' if self.misfit else ''})"
        kind = next(kind for kind in KINDS.values() if kind.masked_from == dataset.kind.name)
        return Dataset(kind, out, samples, report, label=label)


def _code_digest() -> str:
    """Return a hash of the code that masks are painted with."""
    root = Path(__file__).parents[1]
    return files_digest(root, (path for room in ("synthesis", "face") for path in (root / room).glob("*.py")))


def _folder_digest(folder: Path | None) -> str:
    """Return a hash of the files in a folder of templates, and of the patterns beside it."""
    if folder is None:
        return ""
    root = folder.parent
    return files_digest(
        root, (path for place in (folder, root / "textures") for path in place.glob("*") if path.is_file())
    )

"""`srn data`: look at a dataset, pack it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.datasets.catalogue import TEST, TITLES, TRAIN, Dataset, read_dataset
from srn.datasets.duplicates import duplicates, scan
from srn.datasets.pack import PACK_QUALITY, FacePack, pack_faces
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import read_annotated_folder
from srn.errors import InputError

app = typer.Typer(help="Look at a dataset, pack it for training.", no_args_is_help=True)


def load_faces(
    data: Path | None,
    extra: list[Path],
    keep: Path | None = None,
    *,
    reuse: bool = False,
    split: str = TRAIN,
    quality: int = PACK_QUALITY,
) -> tuple[FacePack, list[str]]:
    """The training faces of a pack or of a dataset's root and further folders; `keep` stores and finds the packed copy.

    `split`: the faces of the dataset to take; `quality`: of the JPEGs in a new pack.

    Returns:
        The faces, and a line for each that could not be used.
    """
    if data is not None and data.is_file():
        if extra:
            raise InputError.at("--extra", "a folder as --data: a pack is complete", str(data))
        return FacePack.load(data), []
    if reuse and keep is not None and keep.exists():
        return FacePack.load(keep), []
    if data is None:
        raise InputError.at("--data", "300W's root, or a pack made by 'srn data pack'", "nothing")
    dataset = read_dataset(data, split=split)
    samples, report = list(dataset.samples), dataset.report
    for folder in extra:
        samples += read_annotated_folder(folder, report)
    for line in report.lines():
        options.messages.print(line, highlight=False, markup=False, soft_wrap=True)
    with options.progress_bar("faces") as progress:
        task = progress.add_task("packing", total=len(samples))
        pack, problems = pack_faces(
            samples, quality=quality, progress=lambda done, _: progress.update(task, completed=done)
        )
    for line in problems:
        options.messages.print(line, highlight=False, markup=False, soft_wrap=True)
    if keep is not None:
        pack.save(keep)
    return pack, [*report.problems, *problems]


class Split(StrEnum):
    """Which faces of a dataset to take."""

    TRAIN = TRAIN
    TEST = TEST


@app.command("pack")
def pack(
    data: Annotated[Path, typer.Argument(help="300W's root, or that of another dataset.")],
    out: Annotated[Path, typer.Option(help="The pack (.npz).")],
    extra: Annotated[
        list[Path] | None, typer.Option(help="Further folders of pictures with .pts files. Repeatable.")
    ] = None,
    split: Annotated[
        Split, typer.Option(help="Faces to take. Who trains on test faces has none left to measure with.")
    ] = Split.TRAIN,
    quality: Annotated[
        int, typer.Option(min=50, max=100, help="JPEG quality of the packed faces; 90 makes a pack a third larger.")
    ] = PACK_QUALITY,
) -> None:
    """Pack the training faces into one small file that trains anywhere.

    Example: `srn data pack 300W --out faces.npz`
    """
    faces, problems = load_faces(data, extra or [], split=split.value, quality=quality)
    faces.save(out)
    size = out.stat().st_size / 1e6
    options.console.print(
        f"{len(faces)} faces in {out}, {size:.1f} MB, digest {faces.digest()}",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if problems:
        raise typer.Exit(1)


_SHOWN = 20
"""Lines of one sort that are printed without `--all`."""

Kind = StrEnum("Kind", {name.upper().replace("-", "_"): name for name in TITLES})  # type: ignore[misc]


def _print(lines: list[str], everything: bool) -> None:
    for line in lines if everything else lines[:_SHOWN]:
        options.console.print(line, highlight=False, markup=False, soft_wrap=True)
    if not everything and len(lines) > _SHOWN:
        options.console.print(f"... and {len(lines) - _SHOWN} more lines like these (--all)", highlight=False)


def _to_look_at(dataset: Dataset) -> tuple[list[Sample], list[str]]:
    """The faces whose pictures are worth reading, each with its split: all of them, of a clip its first frame."""
    of_split = {index: split for split in (TRAIN, TEST) for index in dataset.parts.get(split, ())}
    if dataset.clips:
        starts = [sum(len(clip) for clip in dataset.clips[:k]) for k in range(len(dataset.clips))]
    else:
        starts = list(range(len(dataset.samples)))
    return [dataset.samples[index] for index in starts], [of_split.get(index, "") for index in starts]


def _look(dataset: Dataset) -> tuple[list[str], list[str]]:
    """Lines about the pictures themselves, and those about pictures that do not decode."""
    samples, splits = _to_look_at(dataset)
    with options.progress_bar("faces") as progress:
        task = progress.add_task("reading pictures", total=len(samples))
        found = scan(samples, progress=lambda: progress.advance(task))
    lines = []
    if found.outside.any():
        faces = int((found.outside > 0).sum())
        lines.append(f"{int(found.outside.sum())} points of {faces} faces lie outside their picture")
    first, second = ([i for i, name in enumerate(splits) if name == split] for split in (TEST, TRAIN))
    if first and second:
        pairs = list(duplicates(found, first, second))
        exact = sum(pair.exact for pair in pairs)
        lines.append(f"in training and test both: {exact} the same picture, {len(pairs) - exact} nearly the same")
        for pair in pairs:
            how = "the same picture" if pair.exact else f"nearly the same ({pair.similarity:.3f})"
            lines.append(f"{samples[pair.first].path} and {samples[pair.second].path}: {how}")
    return lines, list(found.problems)


@app.command("check")
def check(
    data: Annotated[Path, typer.Argument(help="A dataset's root, or a folder of annotated pictures.")],
    kind: Annotated[Kind | None, typer.Option(help="What it is; recognized by its layout if left out.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="COFW's test pictures, for COFW68: a folder or a .mat file.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Do not read the pictures, only look for their files.")
    ] = False,
    everything: Annotated[bool, typer.Option("--all", help="Print every line, however many.")] = False,
) -> None:
    """Say what of a dataset is there: counts, splits, missing, broken, pictures in training and test both.

    Knows 300W (also masked, and the private test set), COFW, COFW68, WFLW, 300VW, and plain folders of pictures with
    .pts files, COCO key points or a CSV table. Of videos only the first frame is read. Exits 1 where something is
    broken; what is only missing or doubled is told and nothing more.

    Example: `srn data check 300W`
    """
    with options.messages.status("reading annotations"):
        dataset = read_dataset(data, kind=None if kind is None else kind.value, pictures=pictures)
    report = dataset.report
    total, *_ = report.lines()
    clips = f"{len(dataset.clips)} videos, " if dataset.clips else ""
    print_line = options.console.print
    print_line(f"{TITLES[dataset.kind]}: {clips}{total}", highlight=False, markup=False, soft_wrap=True)
    subsets = set(report.counts)
    parts = [f"{name} {len(indices)}" for name, indices in dataset.parts.items() if name not in subsets]
    if parts:
        print_line(f"parts: {', '.join(parts)}", highlight=False, markup=False, soft_wrap=True)
    known = [sample.occluded for sample in dataset.samples if sample.occluded is not None]
    if known:
        share = sum(int(flags.sum()) for flags in known) / sum(len(flags) for flags in known)
        print_line(f"hidden points are marked in {len(known)} faces: {share:.1%} of their points", highlight=False)
    boxes = sum(sample.detector_box is not None for sample in dataset.samples)
    if boxes:
        print_line(f"face boxes beside the points: {boxes}", highlight=False)
    _print(report.notes, everything)
    _print(report.shortfalls, everything)
    lines, broken = ([], []) if quick else _look(dataset)
    _print(lines, everything)
    _print([*report.problems, *broken], everything)
    if report.problems or broken:
        raise typer.Exit(1)

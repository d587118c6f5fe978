"""`srn data`: validate a dataset or pack it for training."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.cli.command import command
from srn.datasets.catalogue import open_faces
from srn.datasets.kinds import KINDS
from srn.datasets.pack import PACK_QUALITY, FacePack
from srn.datasets.sample import TRAIN, Split
from srn.datasets.validation import validate
from srn.errors import InputError
from srn.files import PACK

app = typer.Typer(help="Validate a dataset or pack it for training.", no_args_is_help=True)

SHOWN_LINES = 20
"""Lines of one sort that are printed without `--all`."""


def load_faces(
    data: Sequence[Path],
    keep: Path | None = None,
    *,
    reuse: bool = False,
    hold: Callable[[Path], AbstractContextManager[object]] = nullcontext,
    split: Split = TRAIN,
    quality: int = PACK_QUALITY,
) -> tuple[FacePack, list[str]]:
    """Open faces (a pack, or datasets) and pack them; print the report on standard error, with a progress bar.

    A new pack is stored at `keep`, in a folder that `hold` holds; `reuse` loads the one that is there. Returns the
    faces, and a line for each one that cannot be used.
    """
    if reuse and keep is not None:
        if keep.exists():
            if data:  # which may be other faces by now
                options.note(f"{keep}: the faces of the run, as it began, are used")
            return FacePack.load(keep), []
        if not data:  # a pack is not copied
            raise InputError.at("DATA", f"the pack that the run in {keep.parent} began with", "nothing")
    dataset = open_faces(options.joined_data(data), split=split)
    if dataset.packed is not None:
        return dataset.packed, []
    for line in dataset.report.lines():
        options.say(line, options.messages)
    with options.progress("faces") as begin:
        pack, problems = dataset.to_pack(quality=quality, progress=begin("packing", len(dataset.samples)))
    for line in problems:
        options.say(line, options.messages)
    if keep is not None:
        with hold(keep.parent):
            pack.save(keep)
    return pack, [*dataset.report.problems, *problems]


@app.command("pack")
@command
def pack(
    data: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA", help="Roots of datasets, folders of annotated pictures; their faces are joined."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The pack (.npz)."), PACK],
    extra: options.OldExtra = None,
    split: Annotated[
        Split, typer.Option(help="Faces to take. A model trained on test faces cannot be evaluated on them.")
    ] = TRAIN,
    quality: Annotated[
        int, typer.Option(min=50, max=100, help="JPEG quality of the packed faces; 90 makes a pack a third larger.")
    ] = PACK_QUALITY,
) -> None:
    """Pack the training faces into one small file that trains anywhere.

    Example: `srn data pack 300W --out faces.npz`
    """
    faces, problems = load_faces(options.joined_data(data, extra=extra), split=split, quality=quality)
    faces.save(out)
    size = out.stat().st_size / 1e6
    options.say(f"{len(faces)} faces in {out}, {size:.1f} MB, digest {faces.digest()}")
    if problems:
        raise typer.Exit(1)


@app.command("check")
@command
def check(
    data: Annotated[Path, typer.Argument(help="Root of a dataset, a folder of annotated pictures, or a pack.")],
    kind: Annotated[
        str | None,
        typer.Option(help=f"Its kind, recognized by the layout if left out: {', '.join(KINDS)}.", metavar="KIND"),
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="COFW's test pictures, for COFW68: a folder or a .mat file.")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Look for the pictures without reading them.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Print all lines of long lists.")] = False,
) -> None:
    """Validate a dataset: counts, splits, missing and broken files, pictures in training and test both.

    Reads 300W (also masked, and the private test set), COFW, COFW68, WFLW, 300VW, and folders of pictures with .pts
    files, COCO key points or a CSV table. Of a video only the first frame is read. The exit code is 1 where something
    is broken; missing and duplicate pictures are only listed.

    Example: `srn data check 300W`
    """
    with options.messages.status("reading annotations"):
        dataset = open_faces(data, kind=kind, pictures=pictures, allow_empty=True)
    with options.progress("faces") as begin:
        step = begin("reading pictures", len(dataset.clips or dataset.samples))
        found = validate(dataset, read_pictures=not quick, progress=step)
    for lines in (found.summary, found.notes, found.shortfalls, found.pictures, found.problems):
        shown = lines if everything else lines[:SHOWN_LINES]
        for line in shown:
            options.say(line)
        if len(shown) < len(lines):
            options.say(f"... and {len(lines) - len(shown)} more lines like these (--all)")
    if found.problems:
        raise typer.Exit(1)

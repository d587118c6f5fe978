"""`srn data`: look at a dataset, pack it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.data.pack import FacePack, pack_faces
from srn.data.three_hundred_w import FULL_SUBSETS, TRAINING_SUBSETS, read_300w, read_annotated_folder
from srn.errors import InputError

app = typer.Typer(help="Look at a dataset, pack it for training.", no_args_is_help=True)


def load_faces(
    data: Path | None, extra: list[Path], keep: Path | None = None, *, reuse: bool = False
) -> tuple[FacePack, list[str]]:
    """The training faces of a pack or of 300W's root and further folders; `keep` stores and finds the packed copy.

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
    samples, report = read_300w(data)
    for folder in extra:
        samples += read_annotated_folder(folder, report)
    for line in report.lines():
        options.messages.print(line, highlight=False, markup=False, soft_wrap=True)
    with options.progress_bar("faces") as progress:
        task = progress.add_task("packing", total=len(samples))
        pack, problems = pack_faces(samples, progress=lambda done, _: progress.update(task, completed=done))
    for line in problems:
        options.messages.print(line, highlight=False, markup=False, soft_wrap=True)
    if keep is not None:
        pack.save(keep)
    return pack, [*report.problems, *problems]


@app.command("pack")
def pack(
    data: Annotated[Path, typer.Argument(help="300W's root.")],
    out: Annotated[Path, typer.Option(help="The pack (.npz).")],
    extra: Annotated[
        list[Path] | None, typer.Option(help="Further folders of pictures with .pts files. Repeatable.")
    ] = None,
) -> None:
    """Pack the training faces into one small file that trains anywhere.

    Example: `srn data pack 300W --out faces.npz`
    """
    faces, problems = load_faces(data, extra or [])
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


@app.command("check")
def check(data: Annotated[Path, typer.Argument(help="300W's root.")]) -> None:
    """Say what of 300W is there: counts, missing, broken.

    Example: `srn data check 300W`
    """
    _, report = read_300w(data, (*TRAINING_SUBSETS, *FULL_SUBSETS))
    for line in report.lines():
        options.console.print(line, highlight=False, markup=False, soft_wrap=True)
    if report.problems:
        raise typer.Exit(1)

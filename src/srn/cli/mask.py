"""`srn mask`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.data.masked import DRAWN, MaskWardrobe, mask_dataset
from srn.evaluation.protocol import read_test_faces
from srn.face.scheme import scheme_by_name


def mask(
    dataset: Annotated[
        Path, typer.Argument(help="Folder of pictures with .pts files; 300W's root stands for its test sets.")
    ],
    out: Annotated[Path, typer.Argument(help="Folder for the masked pictures, their points and the manifest.")],
    kind: Annotated[
        str, typer.Option(help="`drawn` needs no template; a template's name, `patterned`, or `mixed`.")
    ] = DRAWN,
    templates: Annotated[
        Path | None, typer.Option(help="Folder of mask PNGs with `key_points.csv`; patterns in `textures` beside it.")
    ] = None,
    scheme: Annotated[str, typer.Option(help="Landmark scheme of the .pts files.")] = "ibug68",
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
) -> None:
    """Put masks on the faces of an annotated set; the points stay as they are.

    Example: `srn mask 300W/ibug masked/ibug --kind surgical_blue --templates occluders/masks`
    """
    samples, report = read_test_faces([dataset], scheme_by_name(scheme))
    wardrobe = None if templates is None else MaskWardrobe.load(templates)
    with options.progress_bar("faces") as progress:
        task = progress.add_task("masking", total=len(samples))
        problems = mask_dataset(
            samples, out, kind=kind, wardrobe=wardrobe, seed=seed, progress=lambda: progress.advance(task)
        )
    options.console.print(f"{len(samples) - len(problems)} masked faces in {out}", highlight=False, markup=False)
    failed = [*report.problems, *problems]
    for line in failed:
        options.messages.print(f"failed: {line}", highlight=False, markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)

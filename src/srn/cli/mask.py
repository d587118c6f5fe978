"""`srn mask`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.datasets.three_hundred_vw import is_clip_folder, read_300vw
from srn.evaluation.protocol import read_test_faces
from srn.face.scheme import scheme_by_name
from srn.synthesis.masked import DRAWN, MaskWardrobe, mask_clips, mask_dataset


def mask(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="Folder of pictures with .pts files (a dataset's root stands for its test sets), or of videos in"
            " 300VW's layout."
        ),
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
    misfit: Annotated[
        float,
        typer.Option(
            min=0, max=0.3, help="How far off masks lie, in face sides: 0.04 for those of a detector's points."
        ),
    ] = 0.0,
) -> None:
    """Put masks on the faces of an annotated set; the points stay as they are.

    In a video a person wears one mask throughout. A clip that is finished is not made again.

    Example: `srn mask 300W/ibug masked/ibug --kind surgical_blue --templates occluders/masks`
    """
    wardrobe = None if templates is None else MaskWardrobe.load(templates)
    points = scheme_by_name(scheme)
    if dataset.is_dir() and any(is_clip_folder(folder) for folder in dataset.iterdir()):
        clips, report = read_300vw(dataset, scheme=points)
        count, noun = sum(len(clip) for clip in clips), "masked frame"
        make = functools.partial(mask_clips, clips)
    else:
        samples, report = read_test_faces([dataset], points)
        count, noun = len(samples), "masked face"
        make = functools.partial(mask_dataset, samples)
    with options.progress_bar("faces") as progress:
        task = progress.add_task("masking", total=count)
        problems = make(
            out, kind=kind, wardrobe=wardrobe, seed=seed, misfit=misfit, progress=lambda: progress.advance(task)
        )
    made = options.counted(count - len(problems), noun)
    options.console.print(f"{made} in {out}", highlight=False, markup=False, soft_wrap=True)
    failed = [*report.problems, *problems]
    for line in failed:
        options.messages.print(f"failed: {line}", highlight=False, markup=False, soft_wrap=True)
    if failed:
        raise typer.Exit(1)

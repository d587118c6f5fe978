"""`srn mask`."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.datasets.catalogue import open_faces, recognize
from srn.datasets.sample import TEST, Split
from srn.errors import InputError
from srn.face.scheme import scheme_by_name
from srn.files import Output, check_outputs
from srn.synthesis.masked import DRAWN, mask_clips, mask_samples
from srn.synthesis.wardrobe import MaskWardrobe


def mask(
    words: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA",
            help="Folder of pictures with .pts files (of a dataset: --split), or of videos in 300VW's layout.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the masked pictures, their points and the manifest. Needed."),
        options.Folder(apart=True),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            help="`drawn` (needs no template); or, with --templates, a template's name (of MaskTheFace's: `surgical`,"
            " `surgical_blue`, `surgical_green`, `cloth`, `N95`, `KN95`, `gas`), `patterned` (a template in a cloth"
            " pattern), `mixed` (any of them, by face)."
        ),
    ] = DRAWN,
    templates: Annotated[
        Path | None, typer.Option(help="Folder of mask PNGs with `key_points.csv`; patterns in `textures` beside it.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Faces of a dataset's root to take.")] = TEST,
    scheme: Annotated[
        str | None, typer.Option(help="Landmark scheme of the .pts files; told by the files if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    misfit: Annotated[
        float,
        typer.Option(
            min=0, max=0.3, help="Misplacement of the masks, in face sizes; 0.04 matches masks fitted to found points."
        ),
    ] = 0.0,
) -> None:
    """Paint masks over the faces of an annotated set; the points stay as they are.

    In a video a person wears one mask throughout. Finished clips are skipped.

    Example: `srn mask 300W/ibug --out masked/ibug --kind surgical_blue --templates occluders/masks`
    """
    dataset, *folders = [*words, *([] if out is None else [out])]  # OUT used to be an argument: old command lines go on
    if not folders:
        raise InputError.at("--out", "a folder for the masked pictures", "none")
    if len(folders) > 1:
        raise InputError.at("DATA", "one folder of annotated faces", ", ".join(map(str, words)))
    folder = folders[0]
    check_outputs([Output("OUT", folder, apart=True)], [dataset])
    wardrobe = None if templates is None else MaskWardrobe.load(templates)
    videos = recognize(dataset) == "300vw"
    numbering = None if scheme is None else scheme_by_name(scheme)
    faces = open_faces(dataset, split=None if videos else split, scheme=numbering)
    make = functools.partial(mask_clips, faces.clips) if faces.clips else functools.partial(mask_samples, faces.samples)
    with options.progress("faces") as begin:
        step = begin("masking", len(faces.samples))
        problems = make(folder, kind=kind, wardrobe=wardrobe, seed=seed, misfit=misfit, progress=step)
    noun = "masked frame" if faces.clips else "masked face"
    options.say(f"{options.counted(len(faces.samples) - len(problems), noun)} in {folder}")
    options.exit_if_failed([*faces.report.problems, *problems])

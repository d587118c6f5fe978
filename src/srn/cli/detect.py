"""`srn detect`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.errors import DataError
from srn.inference.batch import DetectionWriter, ResultFormat, detect_pictures
from srn.media.boxes import boxes_of, read_boxes
from srn.media.pictures import pictures_in


def detect(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures (with the folders inside).")],
    out: Annotated[Path | None, typer.Option(help="Folder for pictures with the landmarks drawn on them.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all faces as one JSON object.")] = None,
    output_format: Annotated[
        ResultFormat,
        typer.Option("--format", help="Written to --out: `pts`: a file per face; `csv`, `coco`: a file for all."),
    ] = "json",
    boxes: Annotated[
        Path | None, typer.Option(help="Own face boxes: JSON or CSV of x0, y0, x1, y1 (brows to chin) by picture.")
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Draw pictures into --out.")] = True,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out faces with a lower score.")] = 0.0,
    weights: options.Weights = None,
    passes: options.Passes = 2,
    flip_average: options.Flip = False,
    yunet: options.YuNet = None,
    threads: options.Threads = None,
) -> None:
    """Find faces and their landmarks in pictures.

    Without --json, --out and --format the JSON goes to the standard output.

    Example: `srn detect holiday/ portrait.jpg --out drawn --json faces.json`
    """
    pictures = pictures_in(paths)
    json_to = json_file or (sys.stdout if out is None else None)
    writer = DetectionWriter(pictures, out, output_format, overlay=overlay, json_to=json_to)
    own_boxes = None if boxes is None else read_boxes(boxes)
    if own_boxes is not None and not any(boxes_of(picture.path, own_boxes) for picture in pictures):
        options.say(f"{boxes}: names none of the pictures", options.messages)
    landmarker = options.open_landmarker(weights, passes, flip_average, threads, yunet)
    failed: list[str] = []
    with writer, options.progress_bar("pictures") as progress:
        for found in progress.track(
            detect_pictures(landmarker, pictures, own_boxes, min_score=min_score),
            len(pictures),
            description="detecting",
        ):
            if isinstance(found, DataError):
                failed.append(str(found))
            else:
                writer.add(found)
    faces = sum(len(record["faces"]) for record in writer.records)
    summary = f"{options.counted(faces, 'face')} in {options.counted(len(writer.records), 'picture')}"
    options.say(summary + (f", drawn in {out}" if out is not None and overlay else ""), options.messages)
    options.exit_if_failed(failed)

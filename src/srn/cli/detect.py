"""`srn detect`."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from srn.cli import options
from srn.errors import DataError, InputError
from srn.face.geometry import ImageArray
from srn.files import write_atomically
from srn.inference.drawing import draw_faces
from srn.media.boxes import boxes_of, read_boxes
from srn.media.pictures import IMAGE_SUFFIXES, read_image, write_image
from srn.media.pts import write_pts

PICTURES_AT_ONCE = 8


class Format(StrEnum):
    """What the points are written as."""

    JSON = "json"
    PTS = "pts"
    CSV = "csv"


OVERLAY_SUFFIX = "_landmarks"


def _is_overlay(path: Path, siblings: set[Path]) -> bool:
    """Whether a picture is what an earlier run drew of one beside it."""
    if not path.stem.endswith(OVERLAY_SUFFIX):
        return False
    source = path.with_name(path.stem.removesuffix(OVERLAY_SUFFIX))
    return any(source.with_name(source.name + suffix) in siblings for suffix in IMAGE_SUFFIXES)


def pictures_in(paths: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Every picture of files and folders: its path, and the relative path that its results get.

    Raises:
        DataError: a path does not exist, or a folder holds no picture.
    """
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            siblings = {p.with_suffix(p.suffix.lower()) for p in inside}
            inside = [p for p in inside if not _is_overlay(p, siblings)]
            if not inside:
                raise DataError.at(path, "a folder with pictures", "none")
            yield from ((picture, picture.relative_to(path)) for picture in inside)
        elif path.exists():
            yield path, Path(path.name)
        else:
            raise DataError.at(path, "a picture or a folder", "no such file")


def _unique_stems(pictures: list[tuple[Path, Path]]) -> list[tuple[Path, Path]]:
    """Result paths without suffix, made unique: `a.jpg` and `a.png` must not write over each other."""
    taken: set[Path] = set()
    named = []
    for picture, relative in pictures:
        stem, number = relative.with_suffix(""), 1
        while stem in taken:
            number += 1
            stem = relative.with_name(f"{relative.stem}_{number}")
        taken.add(stem)
        named.append((picture, stem))
    return named


def _point_files(stem: Path, stems: set[Path]) -> Iterator[Path]:
    """Names for one picture's faces: `<stem>.pts`, `<stem>_2.pts`, ..., leaving out those of other pictures."""
    yield stem.with_name(f"{stem.name}.pts")
    for number in itertools.count(2):
        further = stem.with_name(f"{stem.name}_{number}")
        if further not in stems:
            yield further.with_name(f"{further.name}.pts")


def _csv_rows(entry: dict[str, Any]) -> Iterator[list[Any]]:
    for number, face in enumerate(entry["faces"]):
        for index, (x, y) in enumerate(face["landmarks"]):
            flags = ["" if face[name] is None else face[name][index] for name in ("visibility", "confidence")]
            yield [entry["path"], number, index, x, y, *flags]


def detect(
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures (with the folders inside).")],
    out: Annotated[Path | None, typer.Option(help="Folder for pictures with the points drawn on them.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for all faces as one JSON object.")] = None,
    output_format: Annotated[
        Format, typer.Option("--format", help="`pts`: one file a face, `csv`: one table, both in --out.")
    ] = Format.JSON,
    boxes: Annotated[
        Path | None, typer.Option(help="Own face boxes: JSON or CSV of x0, y0, x1, y1 (brows to chin) by picture.")
    ] = None,
    overlay: Annotated[bool, typer.Option(help="Draw pictures into --out.")] = True,
    min_score: Annotated[float, typer.Option(min=0, max=1, help="Leave out faces found with less than this.")] = 0.0,
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
    if output_format is not Format.JSON and out is None:
        raise InputError.at(f"--format {output_format}", "--out DIR to write into", "none")
    pictures = _unique_stems(list(pictures_in(paths)))
    stems = {stem for _, stem in pictures}
    if output_format is Format.PTS and out is not None:
        for picture, stem in pictures:
            if (out / stem).parent.resolve() == picture.parent.resolve():
                # The .pts files beside a dataset's pictures are its annotation.
                raise InputError.at("--out", "another folder than the pictures' own, for .pts files", str(out))
    own_boxes = None if boxes is None else read_boxes(boxes)
    if own_boxes is not None and not any(boxes_of(picture, own_boxes) for picture, _ in pictures):
        options.messages.print(f"{boxes}: names none of the pictures", highlight=False, markup=False, soft_wrap=True)
    landmarker = options.open_landmarker(weights, passes, flip_average, threads, yunet)
    entries: list[dict[str, Any]] = []
    failed: list[str] = []
    faces_found = 0
    try:
        with options.progress_bar("pictures") as progress:
            task = progress.add_task("detecting", total=len(pictures))
            for first in range(0, len(pictures), PICTURES_AT_ONCE):
                loaded: list[tuple[Path, Path, ImageArray]] = []
                for picture, stem in pictures[first : first + PICTURES_AT_ONCE]:
                    try:
                        loaded.append((picture, stem, read_image(picture)))
                    except DataError as error:
                        failed.append(str(error))
                given = None if own_boxes is None else [boxes_of(picture, own_boxes) for picture, _, _ in loaded]
                batch = landmarker.detect_batch([image for _, _, image in loaded], given)
                for (picture, stem, image), found in zip(loaded, batch, strict=True):
                    faces = [face for face in found if face.score >= min_score]
                    faces_found += len(faces)
                    height, width = image.shape[:2]
                    entries.append(
                        {"path": str(picture), "width": width, "height": height, "faces": [f.to_dict() for f in faces]}
                    )
                    if out is not None and overlay:
                        write_image(out / f"{stem}{OVERLAY_SUFFIX}.jpg", draw_faces(image, faces))
                    if out is not None and output_format is Format.PTS:
                        for name, face in zip(_point_files(stem, stems), faces, strict=False):
                            write_pts(out / name, face.landmarks)
                progress.advance(task, len(pictures[first : first + PICTURES_AT_ONCE]))
    finally:  # an interrupted run keeps what it had
        _write_tables(entries, out, json_file, output_format)
    options.messages.print(
        f"{options.counted(faces_found, 'face')} in {options.counted(len(entries), 'picture')}"
        + (f", drawn in {out}" if out is not None and overlay else ""),
        highlight=False,
        markup=False,
        soft_wrap=True,
    )
    if failed:
        for line in failed:
            options.messages.print(f"failed: {line}", highlight=False, markup=False, soft_wrap=True)
        raise typer.Exit(1)


def _write_tables(
    entries: list[dict[str, Any]], out: Path | None, json_file: Path | None, output_format: Format
) -> None:
    text = json.dumps({"images": entries}, separators=(",", ":"))
    if json_file is not None:
        write_atomically(json_file, text.encode())
    elif output_format is Format.JSON and out is None:
        print(text)
    if output_format is Format.CSV and out is not None:
        table = io.StringIO()
        writer = csv.writer(table, lineterminator=os.linesep)
        writer.writerow(["path", "face", "point", "x", "y", "visibility", "confidence"])
        for entry in entries:
            writer.writerows(_csv_rows(entry))
        write_atomically(out / "landmarks.csv", table.getvalue().encode())

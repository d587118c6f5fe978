"""`srn detect`."""

from __future__ import annotations

import contextlib
import functools
import sys
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TextIO

import typer

from srn.cli import options
from srn.cli.command import finishing
from srn.errors import DataError, InputError, noting
from srn.files import FACES_JSON, SHEET, STANDARD_OUTPUT, is_standard_output
from srn.inference.batch import Choice, Detection, detect_pictures
from srn.inference.face import DOUBTFUL_CONFIDENCE
from srn.inference.picture_files import DetectionWriter, Overlay, Rendered, ResultFormat, Written
from srn.inference.ray_engine import check_ray, detect_on_ray
from srn.media.boxes import PictureBoxes, boxes_of
from srn.media.listing import Listing, pictures_in
from srn.uses.sheet import ContactSheet

Out = Annotated[
    Path | None, typer.Option(help="Folder for pictures with the landmarks drawn on them."), options.Folder()
]
JsonFile = Annotated[
    Path | None,
    typer.Option("--json", help="File for all faces as one JSON object; `-`: standard output."),
    FACES_JSON,
]
JsonlFile = Annotated[
    Path | None,
    typer.Option("--jsonl", help="Instead of --json: a JSON line for each picture, at once; `-`: standard output."),
    FACES_JSON,
]
Format = Annotated[
    ResultFormat,
    typer.Option(
        "--format",
        help="Also written to --out: `pts`: a file per face; `csv`, `coco`, `parquet` (srn[pandas]): a file for all."
        " `json`: see --json.",
    ),
]
Sheet = Annotated[
    Path | None, typer.Option(help="Contact sheet (.png) of all faces of this run, the least confident first."), SHEET
]
Boxes = Annotated[
    Path | None, typer.Option(help="Own face boxes: JSON or CSV of x0, y0, x1, y1 (brows to chin) by picture.")
]
MinScore = Annotated[float, typer.Option(min=0, max=1, help="Leave out faces with a lower score.")]
MinConfidence = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help=f"Leave out faces with a lower mean confidence. Default: {DOUBTFUL_CONFIDENCE}; with --boxes none.",
    ),
]
All = Annotated[bool, typer.Option("--all", help="Keep faces of any confidence.")]
Resume = Annotated[
    bool,
    typer.Option("--resume", help="Go on with a run that was killed or interrupted, with the same options and files."),
]


def _check_machines(machines: str) -> str:
    if machines == "ray":
        check_ray()  # before the journal of an earlier run is replaced
    return machines


Machines = Annotated[
    Literal["local", "ray"],
    typer.Option(
        "--engine",
        callback=_check_machines,
        help="`local`: this process. `ray`: workers on many machines (docs/many_machines.md).",
    ),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Number of workers of --engine ray; as many as there are cores if left out.")
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Name pictures without a face, and files left out.")]

FREE = {"sheet", "force", "resume", "verbose", "machines", "workers", "threads"}
"""Options that change nothing in the result: a run may go on with others."""


def detect(
    context: typer.Context,
    paths: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures (with the folders inside).")],
    out: Out = None,
    json_file: JsonFile = None,
    jsonl_file: JsonlFile = None,
    output_format: Format = "json",
    boxes: Boxes = None,
    sheet: Sheet = None,
    overlay: Annotated[bool, typer.Option(help="Draw pictures into --out.")] = True,
    ellipses: options.Ellipses = False,
    min_score: MinScore = 0.0,
    min_confidence: MinConfidence = None,
    keep_all: All = False,
    smallest: options.Smallest = None,
    max_faces: options.MaxFaces = None,
    largest: options.Largest = False,
    weights: options.Weights = None,
    accuracy: options.Accuracy = "balanced",
    flip_average: options.Flip = False,
    yunet: options.YuNet = None,
    engine: options.Engine = options.ENGINE,
    force: options.Force = False,
    resume: Resume = False,
    machines: Machines = "local",
    workers: Workers = None,
    verbose: Verbose = False,
) -> None:
    """Find faces and their landmarks in pictures.

    Without --json, --jsonl and --out the JSON goes to the standard output, as with `--json -`. After Ctrl-C it holds
    the pictures so far, and `"partial": true`. HEIC pictures need `pip install 'srn[heic]'`.

    Example: `srn detect holiday/ portrait.jpg --out drawn --json faces.json`
    """
    _refuse_idle(context.params)
    listing, contacts = pictures_in(paths, drawn=out), _contacts(sheet, resume=resume, machines=machines)
    writer = DetectionWriter(
        listing.pictures, out, output_format, overlay=_drawing(out, overlay=overlay, ellipses=ellipses),
        json_to=_json_target(context, json_file, jsonl_file, out), lines=jsonl_file is not None,
        inputs=[path for path in (boxes, weights, yunet) if path is not None], force=force,
    )  # fmt: skip
    own_boxes = None if boxes is None else boxes_of(boxes, [picture.path for picture in listing.pictures])
    choice = Choice(own_boxes, min_score, _least_confidence(min_confidence, keep_all=keep_all))
    most = 1 if largest else max_faces
    opened = functools.partial(options.open_landmarker, weights, accuracy, flip_average, engine, yunet, smallest, most)
    landmarker = options.telling(opened(), ellipses=ellipses)
    done = _finished(writer, listing, _same(context, landmarker.localizer.name, own_boxes), resume=resume)
    _tell_left_out(listing, boxes, own_boxes, verbose=verbose)
    finish = _finishing(writer, contacts)
    if machines == "local":
        batches = detect_pictures(landmarker, listing.pictures, choice, finish, finished=done, tell=options.note)
    else:
        found = detect_on_ray(
            opened, listing.pictures, choice, overlay=writer.overlay, finished=done, workers=workers,
            threads=engine.threads or 1, tell=options.note,
        )  # fmt: skip
        batches = ([writer.write(one) if isinstance(one, Rendered) else one for one in batch] for batch in found)
    _write(writer, batches, listing, out if overlay else None, verbose=verbose, contacts=contacts)


def _refuse_idle(given: Mapping[str, Any]) -> None:
    """Raise `InputError` where options of the command have no effect beside others."""
    if given["boxes"] is not None:
        names = ("smallest", "max_faces", "largest", "yunet")
        idle = {f"--{name.replace('_', '-')}": given[name] for name in names}
        options.refuse(idle, "--boxes, which says where the faces are")
    if given["largest"]:
        options.refuse({"--max-faces": given["max_faces"]}, "--largest")
    if given["machines"] == "local":
        options.refuse({"--workers": given["workers"]}, "--engine local")


def _drawing(out: Path | None, *, overlay: bool, ellipses: bool) -> Overlay:
    if ellipses and not (overlay and out):
        raise InputError.at("--ellipses", "--out beside it, and overlays", "--no-overlay" if out else "no --out")
    return "ellipses" if ellipses else overlay


def _finished(writer: DetectionWriter, listing: Listing, same: dict[str, Any], *, resume: bool) -> Container[Path]:
    """Keep a journal of the run; tell and return what the run that is to `resume` has finished."""
    found = writer.keep_journal(same, resume=resume)
    if resume:
        done = f"{writer.pictures} of {len(listing.pictures)} pictures are done"
        options.note("no run was left there: a new one begins" if found is None else done)
        if writer.changed:
            options.note(f"changed since, and looked at again: {options.some(writer.changed)}")
    return found or ()


def _least_confidence(given: float | None, *, keep_all: bool) -> float | None:
    if keep_all and given:
        raise InputError.at("--all", "no --min-confidence beside it", f"{given:g}")
    return 0 if keep_all else given


def _contacts(sheet: Path | None, *, resume: bool, machines: str) -> ContactSheet | None:
    if sheet is not None and (resume or machines != "local"):
        raise InputError.at("--sheet", "a run of this machine from its beginning", "--resume or --engine")
    return None if sheet is None else ContactSheet(sheet)


def _finishing(writer: DetectionWriter, contacts: ContactSheet | None) -> Callable[[Detection], Written]:
    def finish(found: Detection) -> Written:
        if contacts is not None:
            contacts.add(found)
        return writer.finish(found)

    return finish


def _json_target(
    context: typer.Context, json_file: Path | None, jsonl_file: Path | None, out: Path | None
) -> Path | TextIO | None:
    if json_file is not None and jsonl_file is not None:
        raise InputError.at("--jsonl", "no --json beside it", str(json_file))
    target = json_file or jsonl_file or (STANDARD_OUTPUT if out is None else None)
    if target is None or not is_standard_output(target) or context.params["machines"] == "local":
        return target
    results = sys.stdout  # where Ray would print its own lines between them, as of a worker that died
    context.with_resource(contextlib.redirect_stdout(sys.stderr))
    return results


def _same(context: typer.Context, weights: str, boxes: PictureBoxes | None) -> dict[str, Any]:
    """Return the options that a run and the one that goes on with it must share, by name."""

    def plain(value: Any) -> Any:
        if isinstance(value, list):
            return [str(one) for one in value]
        return str(value) if isinstance(value, Path) else value

    names = {parameter.name: parameter.opts[0] for parameter in context.command.params}
    given = {names[name]: plain(value) for name, value in context.params.items() if name not in FREE}
    if boxes is not None:
        given["--boxes"] += f" ({boxes.digest()})"
    return {**given, "--weights": weights}


def _write(
    writer: DetectionWriter, batches: Iterator[list[Written | DataError]], listing: Listing, drawn: Path | None,
    *, verbose: bool, contacts: ContactSheet | None = None,
) -> None:  # fmt: skip
    """Write all batches, tell the outcome, and exit with its code unless it is success."""
    failed = listing.problems
    try:
        with writer, finishing(), options.progress("pictures") as begin:
            step = begin("", len(listing.pictures), writer.pictures)
            for batch in batches:
                failed += [str(one) for one in batch if isinstance(one, DataError)]
                read = [one for one in batch if not isinstance(one, DataError)]
                writer.add(read)
                step(len(batch))
                for one in read if verbose else ():
                    if not one.record["faces"]:
                        reason = "only doubtful faces" if one.record.get("left_out") else "no face"
                        options.note(f"{reason}: {one.picture.path}")
    except BaseException:  # interrupted: what was found so far
        if contacts is not None and contacts.faces:
            unwritten = list[str]()
            with noting(unwritten):
                contacts.write()
            for line in unwritten:
                options.note(f"failed: {line}")
        raise
    if contacts is not None:
        with noting(failed):
            contacts.write()
    options.note(_summary(writer, drawn))
    if writer.stale:
        options.note(f"points of an earlier run stay: {options.some(sorted(writer.stale))}")
    options.exit_if_failed([*failed, *writer.problems])


def _summary(writer: DetectionWriter, drawn: Path | None) -> str:
    parts = [f"{options.counted(writer.faces, 'face')} in {options.counted(writer.pictures, 'picture')}"]
    parts += [f"drawn in {drawn}"] * (drawn is not None)
    parts += [f"{writer.left_out} doubtful left out: --all shows them"] * (writer.left_out > 0)
    return ", ".join(parts)


def _tell_left_out(listing: Listing, file: Path | None, boxes: PictureBoxes | None, *, verbose: bool) -> None:
    """Name files and boxes that are not used; with `verbose` all of them."""
    left_out: dict[str, Sequence[object]] = {"of a format that is not read": listing.unread}
    if verbose:
        left_out["no picture"] = listing.others
    most = None if verbose else 5
    if boxes is not None:
        pictures = [picture.path for picture in listing.pictures]
        left_out[f"not in {file}"] = [path for path in pictures if boxes.key_of(path) is None]
        left_out[f"in {file}, but not among the pictures"] = boxes.unused(pictures)
    for reason, names in left_out.items():
        if names:
            options.note(f"{reason}: {options.some(names, most)}")

"""`srn track`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, TextIO

import typer

from srn.cli import options
from srn.errors import DataError, InputError
from srn.files import growing_file
from srn.inference.drawing import TrackPainter
from srn.inference.tracker import FaceTracker
from srn.media.ffmpeg import quiet
from srn.media.video_reading import VideoReader, open_video
from srn.media.video_writing import VideoWriter


class StartShape(StrEnum):
    """Where the cascade starts in each frame."""

    MEAN = "mean"
    PREVIOUS = "previous"


INTERRUPTED = 130
"""Exit code of a run that was stopped with Ctrl-C."""


@dataclass
class _Done:
    """How many frames a run has written, and the numbers of the faces in them."""

    frames: int = 0
    numbers: set[int] = field(default_factory=set)


def _source(video: str) -> str | int:
    """A path, or a camera's number where the text is a number and no such file is there."""
    return int(video) if video.isdecimal() and not Path(video).exists() else video


@contextlib.contextmanager
def _lines_to(json_file: Path | None, wanted: bool) -> Iterator[TextIO | None]:
    """Where the lines go: a file, which gets its name at the end, the standard output, or nowhere."""
    if json_file is not None:
        with growing_file(json_file) as beside, beside.open("w", encoding="utf-8") as stream:
            yield stream
    else:
        yield sys.stdout if wanted else None


def track(
    video: Annotated[str, typer.Argument(help="A video file, or a camera by its number (0, 1, ...).")],
    out: Annotated[
        Path | None, typer.Option(help="Video to write with the points drawn on it: .mp4, .mov, .mkv, .avi, .webm.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="File for the faces: a JSON object a line.")] = None,
    smooth: Annotated[bool, typer.Option(help="Smooth the points over time and hold hidden ones.")] = True,
    start: Annotated[
        StartShape,
        typer.Option(help="Where each frame starts: as in a picture, or from the face's shape in the frame before."),
    ] = StartShape.MEAN,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Take the shape after so many iterations; all if left out.")
    ] = None,
    find_every: Annotated[int, typer.Option(min=1, help="Ask the face finder at least every so many frames.")] = 30,
    trace: Annotated[float, typer.Option(min=0, help="Seconds of the way of each face that are drawn.")] = 1.0,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after so many frames.")] = None,
    weights: options.Weights = None,
    passes: options.Passes = 2,
    flip_average: options.Flip = False,
    yunet: options.YuNet = None,
    threads: options.Threads = None,
) -> None:
    """Follow faces and their landmarks through a video.

    Without --json and --out the lines go to the standard output. Ctrl-C keeps what is done: a video that plays, whole
    lines. Sound and exact times are kept where PyAV is installed (`pip install 'srn[video]'`).

    Example: `srn track clip.mp4 --out overlay.mp4 --json points.jsonl`
    """
    quiet()
    source = _source(video)
    for option, path in (("--out", out), ("--json", json_file)):
        if path is not None and isinstance(source, str) and path.resolve() == Path(source).resolve():
            raise InputError.at(option, "another file than the video itself", str(path))
    landmarker = options.open_landmarker(weights, passes, flip_average, threads, yunet)
    reader = open_video(source)
    tracker = landmarker.tracker(
        smooth=smooth, start=start.value, iterations=iterations, find_every=find_every, frame_rate=reader.frame_rate
    )
    writer = None
    if out is not None:
        sound = source if isinstance(source, str) else None
        writer = VideoWriter(out, reader.frame_rate, reader.time_base, sound_from=sound)
    done, broken, interrupted = _Done(), None, False
    with contextlib.closing(reader), _lines_to(json_file, out is None) as lines, writer or contextlib.nullcontext():
        try:
            _follow(reader, tracker, writer, lines, TrackPainter(trace), frames, done)
            if writer is not None and (frames is None or done.frames < frames):
                writer.complete()
        except KeyboardInterrupt:
            interrupted = True
        except DataError as error:  # the video's end is missing; what was read of it is kept
            broken = str(error)
    _tell(f"{options.counted(len(done.numbers), 'face')} in {options.counted(done.frames, 'frame')}")
    if writer is not None and writer.sound_lost:
        _tell(f"{out}: without sound: {writer.sound_lost}")
    if broken is not None:
        _tell(f"failed: {broken}")
        raise typer.Exit(1)
    if interrupted:
        _tell("interrupted; what was done until then is kept")
        # A camera has no end of its own: to stop it is how one is done.
        raise typer.Exit(0 if isinstance(source, int) else INTERRUPTED)


def _follow(
    reader: VideoReader,
    tracker: FaceTracker,
    writer: VideoWriter | None,
    lines: TextIO | None,
    painter: TrackPainter,
    limit: int | None,
    done: _Done,
) -> None:
    """Run the video through the tracker, noting in `done` how far it is: it may be interrupted anywhere."""
    length = reader.length
    total = limit if length is None else min(length, limit or length)
    with options.progress_bar("frames") as progress:
        task = progress.add_task("tracking", total=total)
        for frame in reader:
            faces = tracker.update(frame.image, frame.time_s)
            if lines is not None:
                entry = {
                    "frame": frame.number,
                    "time_s": round(frame.time_s, 6),
                    "faces": [face.to_dict() for face in faces],
                }
                lines.write(json.dumps(entry, separators=(",", ":")) + "\n")
                lines.flush()
            if writer is not None:
                writer.write(painter.draw(frame.image, faces, frame.time_s), frame.time_s)
            done.frames += 1
            done.numbers |= {face.track_id for face in faces if face.track_id is not None}
            progress.advance(task)
            if limit is not None and frame.number + 1 >= limit:
                return


def _tell(line: str) -> None:
    options.messages.print(line, highlight=False, markup=False, soft_wrap=True)

"""`srn track`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer

from srn.cli import options
from srn.cli.command import INTERRUPTED, finishing
from srn.errors import InputError, noting
from srn.files import CHART, FACES_LINES, STANDARD_OUTPUT, VIDEO
from srn.inference.drawing import TrackPainter
from srn.inference.landmarker import FaceLandmarker
from srn.inference.video import LEAST_FRAMES_SEEN, TrackedVideo, track_video
from srn.media.ffmpeg import quiet
from srn.media.results import Record, json_lines
from srn.media.video_reading import open_video
from srn.media.video_writing import VideoWriter
from srn.uses.osc import OscSender
from srn.uses.plot import TrackChart
from srn.uses.window import Window
from srn.uses.wire import UdpSender

Source = Annotated[
    str, typer.Argument(help="A video file, a camera (0, /dev/video0), a pipe, - (standard input), an address.")
]
Out = Annotated[
    Path | None, typer.Option(help="Video to write with the landmarks drawn: .mp4, .mov, .mkv, .avi, .webm."), VIDEO
]
JsonFile = Annotated[
    Path | None, typer.Option("--json", "--jsonl", help="File for the faces: a JSON object a line."), FACES_LINES
]
Plot = Annotated[
    Path | None,
    typer.Option(help="Chart of confidence, visibility, eyes, mouth and head pose over time: .png, .svg, .pdf."),
    CHART,
]
Show = Annotated[bool, typer.Option("--show", help="Show the frames in a window; `q` ends it.")]
Udp = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Send each frame's faces as JSON by UDP; :PORT is this machine."),
]

Osc = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Send each frame's faces as Open Sound Control; :PORT is this machine."),
]

Start = Annotated[
    Literal["mean", "previous"],
    typer.Option(
        help="First shape in each frame: `mean`: the network's own, as in a picture; `previous`: the frame before's."
    ),
]

Trace = Annotated[
    float | None, typer.Option(min=0, max=1e6, help="Seconds of the trace behind each face; 1 if left out.")
]


def _source(video: str) -> str | int:
    """Return a path, or the number of a camera if the text is a number and no such file exists."""
    return int(video) if video.isdecimal() and not Path(video).exists() else video


def track(
    video: Source,
    out: Out = None,
    json_file: JsonFile = None,
    plot: Plot = None,
    show: Show = False,
    udp: Udp = None,
    osc: Osc = None,
    smooth: Annotated[bool, typer.Option(help="Smooth the landmarks over time and hold hidden ones.")] = True,
    start: Start = "mean",
    iterations: Annotated[int | None, typer.Option(min=1, help="Stop the cascade early; all if left out.")] = None,
    find_every: Annotated[int, typer.Option(min=1, help="Longest interval of the face finder, in frames.")] = 30,
    ellipses: options.Ellipses = False,
    trace: Trace = None,
    frames: Annotated[int | None, typer.Option(min=1, help="Stop after this many frames.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Open an address (rtsp://..., http://...).")] = False,
    weights: options.Weights = None,
    accuracy: options.Accuracy = "balanced",
    flip_average: options.Flip = False,
    yunet: options.YuNet = None,
    engine: options.Engine = options.ENGINE,
) -> None:
    """Track faces and their landmarks through a video.

    Where no output is named, the lines go to the standard output, as with `--json -`. Ctrl-C and SIGTERM keep the
    finished part: a video that plays, whole lines. Sound and exact times are kept where PyAV is installed
    (`pip install 'srn[video]'`).

    Example: `srn track clip.mp4 --out overlay.mp4 --json points.jsonl`
    """
    quiet()
    source = _source(video)
    sound = source if isinstance(source, str) and os.path.isfile(source) else None
    if not (out or show):
        _refuse_drawing({"--ellipses": ellipses, "--trace": trace is not None})
    opened = options.open_landmarker(weights, accuracy, flip_average, engine, yunet)
    landmarker = options.telling(opened, ellipses=ellipses)
    senders, chart = _further(landmarker, udp, osc, plot)
    reader = open_video(source, live=live)
    stream_sound = "it is copied from files alone" if sound is None and reader.has_sound else None
    tracker = landmarker.tracker(
        smooth=smooth, start=start, iterations=iterations, find_every=find_every, frame_rate=reader.frame_rate
    )
    writer = None if out is None else VideoWriter.like(reader, out, sound_from=sound)
    window, done = Window(writer) if show else None, TrackedVideo()
    target = json_file or (None if out or plot or show or udp or osc else STANDARD_OUTPUT)
    try:
        with contextlib.ExitStack() as stack, finishing(), options.progress("frames") as begin:
            stack.enter_context(contextlib.closing(reader))
            sinks = [stack.enter_context(json_lines(target)), *(one.take for one in (*senders, chart) if one)]
            _ = [stack.enter_context(one) for one in (writer, *senders, window) if one is not None]
            done = track_video(
                reader, tracker, write_record=_to_all(sinks), writer=window or writer, limit=frames,
                painter=TrackPainter(1.0 if trace is None else trace, ellipses=ellipses),
                progress=begin("tracking", min(filter(None, (reader.length, frames)), default=None)),
            )  # fmt: skip
    except InputError as error:  # the outputs cannot be completed
        done.problem = done.problem or str(error)
    done.interrupted &= not (window and window.closed)  # closing it is the way to end
    _report(done, chart, writer, senders, stream_sound, camera=sound is None)


def _refuse_drawing(given: Mapping[str, bool]) -> None:
    """Raise `InputError` where one of these options is given: nothing is drawn."""
    for name, is_given in given.items():
        if is_given:
            raise InputError.at(name, "--out or --show beside it", "neither")


def _further(
    landmarker: FaceLandmarker, udp: str | None, osc: str | None, plot: Path | None
) -> tuple[list[UdpSender], TrackChart | None]:
    """Open what takes the records beside the file of lines."""
    if udp is None and osc is None and plot is None:
        return [], None
    scheme = landmarker.localizer.scheme
    wanted = ((UdpSender, udp), (OscSender, osc))
    senders = [kind(address, scheme) for kind, address in wanted if address is not None]
    return senders, None if plot is None else TrackChart(plot, scheme)


def _to_all(sinks: Sequence[Callable[[Record], None]]) -> Callable[[Record], None]:
    def write(record: Record) -> None:
        for sink in sinks:
            sink(record)

    return write


def _report(
    done: TrackedVideo,
    chart: TrackChart | None,
    writer: VideoWriter | None,
    senders: Sequence[UdpSender],
    stream_sound: str | None,
    *,
    camera: bool,
) -> None:
    """Draw the chart, print the outcome, and exit with its code unless it is success.

    `stream_sound` says why sound of the source is in no video, if it is not a file's.
    """
    problems = [] if done.problem is None else [done.problem]
    if chart is not None:
        with noting(problems):
            chart.write()  # also of what was seen before another output failed
    counts = f"{options.counted(done.people, 'face')} in {options.counted(done.frames, 'frame')}"
    if done.frames_seen and not done.people:  # nor is that nobody: a frame every minute holds each for one of them
        counts += f"; {len(done.frames_seen)} seen in fewer than {LEAST_FRAMES_SEEN} frames"
    options.say(counts, options.messages)
    video = writer if writer is not None and writer.is_written else None
    if len(done.sizes) > 1:
        sizes = ", ".join(f"{width} x {height}" for height, width in list(done.sizes)[:5])
        line = f"frames of {len(done.sizes)} sizes ({sizes}): points are pixels of their own frame"
        options.say(line if video is None else f"{line}, {video.path} has the first size", options.messages)
    if video is not None and (silent := video.sound_lost or stream_sound):
        options.say(f"{video.path}: without sound: {silent}", options.messages)
    for sender in senders:
        if sender.lost:
            name, lost = "--osc" if isinstance(sender, OscSender) else "--udp", options.counted(sender.lost, "datagram")
            options.say(f"{name}: {lost} could not be sent: does a program listen there?", options.messages)
    options.exit_if_failed(problems)
    if done.interrupted:
        kept = "; the finished part is kept" if done.frames else " before the first frame"
        options.say(f"interrupted{kept}", options.messages)
        raise typer.Exit(0 if camera else INTERRUPTED)  # Ctrl-C is the way to stop a camera

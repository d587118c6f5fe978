"""Track the faces of a video and write them down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from srn.errors import InputError
from srn.files import interruptions_held
from srn.inference.drawing import TrackPainter
from srn.inference.face import Faces
from srn.inference.tracker import FaceTracker
from srn.media.results import Record, frame_record
from srn.media.video_reading import TimedFrame, VideoReader
from srn.media.video_writing import FrameSink, VideoWriter

LEAST_FRAMES_SEEN = 5  # in a video, for a face to be counted


@dataclass
class TrackedVideo:
    """Outcome of `track_video`."""

    frames: int = 0
    frames_seen: Counter[int] = field(default_factory=Counter)  # by track number, without predicted faces
    problem: str | None = None  # why the video ended early
    interrupted: bool = False  # by Ctrl-C
    sizes: dict[tuple[int, int], None] = field(default_factory=dict)  # (height, width) of frames, in their order

    @property
    def people(self) -> int:
        """Number of faces seen for more than a moment: a false find is no person."""
        return sum(count >= min(LEAST_FRAMES_SEEN, self.frames) for count in self.frames_seen.values())


def track_video(
    reader: VideoReader,
    tracker: FaceTracker,
    *,
    write_record: Callable[[Record], None] = lambda record: None,
    writer: FrameSink | None = None,
    painter: TrackPainter | None = None,
    limit: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> TrackedVideo:
    """Track the faces of a video from the first frame to the last. A broken or interrupted video keeps its frames.

    Args:
        write_record: takes the record of each frame (`srn.media.results`).
        writer: an open video, or a window, that gets the frames with their faces drawn.
        painter: draws the faces for the writer; one with a trace of a second if None.
        limit: largest number of frames; all if None.
        progress: called after each frame.
    """
    done = TrackedVideo()
    try:
        with _Drawing(painter or TrackPainter(), writer) as drawing:
            for frame in reader:
                faces = tracker.update(frame.image, frame.time_s)
                size = frame.image.shape[:2]
                done.sizes.setdefault(size)
                is_first = size == next(iter(done.sizes))
                records = [face.to_dict() for face in faces]
                write_record(frame_record(frame.number, frame.time_s, records, None if is_first else size))
                drawing.take(frame, faces)
                done.frames += 1
                done.frames_seen.update(f.track_id for f in faces if f.track_id is not None and f.state == "seen")
                progress()
                if limit is not None and done.frames >= limit:
                    return done
            drawing.complete()
    except KeyboardInterrupt:
        done.interrupted = True
    except InputError as error:  # the end of the video is missing, or the disk is full
        done.problem = str(error)
    return done


class _Drawing:
    """Draws the faces of frames and writes them. Into a file that happens in a thread, beside the tracking of the next.

    Use as a context. An error of the thread is raised with the next frame, or at the end.
    """

    def __init__(self, painter: TrackPainter, writer: FrameSink | None) -> None:
        self._painter, self._writer = painter, writer
        # A window belongs to the thread that opened it.
        self._pool = ThreadPoolExecutor(1) if isinstance(writer, VideoWriter) else None
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def take(self, frame: TimedFrame, faces: Faces) -> None:
        """Draw the faces of the next frame, and write it."""
        if self._pool is None:
            self._write(frame, faces)
            return
        self._settle()
        with interruptions_held():
            self._last = self._pool.submit(self._write, frame, faces)

    def complete(self) -> None:
        """Declare the last frame the end of the video."""
        self._settle()
        if self._writer is not None:
            self._writer.complete()

    def _write(self, frame: TimedFrame, faces: Faces) -> None:
        if self._writer is not None:
            drawn = self._painter.draw(frame.image, faces, frame.time_s)
            self._writer.write(drawn, frame.time_s, frame.pixel_aspect)

    def _settle(self) -> None:
        """Wait for the frame before, and raise its error."""
        if self._last is not None:
            self._last.result()
            self._last = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            with interruptions_held():  # the file is closed next
                self._pool.shutdown()
        if kind is None:
            self._settle()

"""Track the faces of a video and write them down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from srn.errors import InputError
from srn.inference.drawing import TrackPainter
from srn.inference.tracker import FaceTracker
from srn.media.results import Record, frame_record
from srn.media.video_reading import VideoReader
from srn.media.video_writing import FrameSink

LEAST_FRAMES_SEEN = 5  # in a video, for a face to be counted


@dataclass
class TrackedVideo:
    """Outcome of `track_video`."""

    frames: int = 0
    frames_seen: Counter[int] = field(default_factory=Counter)  # by track number, without predicted faces
    problem: str | None = None  # why the video ended early
    interrupted: bool = False  # by Ctrl-C

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
    trace_s: float = 1.0,
    limit: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> TrackedVideo:
    """Track the faces of a video from the first frame to the last. A broken or interrupted video keeps its frames.

    Args:
        write_record: takes the record of each frame (`srn.media.results`).
        writer: an open video, or a window, that gets the frames with their faces drawn.
        trace_s: length of the trace drawn behind each face, in seconds.
        limit: largest number of frames; all if None.
        progress: called after each frame.
    """
    painter, done = TrackPainter(trace_s), TrackedVideo()
    try:
        for frame in reader:
            faces = tracker.update(frame.image, frame.time_s)
            write_record(frame_record(frame.number, frame.time_s, [face.to_dict() for face in faces]))
            if writer is not None:
                writer.write(painter.draw(frame.image, faces, frame.time_s), frame.time_s, frame.pixel_aspect)
            done.frames += 1
            done.frames_seen.update(f.track_id for f in faces if f.track_id is not None and f.state == "seen")
            progress()
            if limit is not None and done.frames >= limit:
                return done
        if writer is not None:
            writer.complete()
    except KeyboardInterrupt:
        done.interrupted = True
    except InputError as error:  # the end of the video is missing, or the disk is full
        done.problem = str(error)
    return done

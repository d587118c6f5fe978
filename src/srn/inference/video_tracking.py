"""Track the faces of a whole video, and write them down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from srn.errors import DataError
from srn.inference.drawing import TrackPainter
from srn.inference.tracker import FaceTracker
from srn.media.results import Record, frame_record
from srn.media.video_reading import VideoReader
from srn.media.video_writing import VideoWriter


@dataclass
class TrackedVideo:
    """Outcome of `track_video`."""

    frames: int = 0
    track_ids: set[int] = field(default_factory=set)
    problem: str | None = None  # why the video ended early
    interrupted: bool = False  # by Ctrl-C


def track_video(
    reader: VideoReader,
    tracker: FaceTracker,
    *,
    write_record: Callable[[Record], None] = lambda record: None,
    writer: VideoWriter | None = None,
    trace_s: float = 1.0,
    limit: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> TrackedVideo:
    """Track the faces of a video from the first frame to the last. A broken or interrupted video keeps its frames.

    Args:
        reader: the video.
        tracker: a fresh tracker.
        write_record: takes the record of each frame (`srn.media.results`).
        writer: an open video that gets the frames with their faces drawn.
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
                writer.write(painter.draw(frame.image, faces, frame.time_s), frame.time_s)
            done.frames += 1
            done.track_ids |= {face.track_id for face in faces if face.track_id is not None}
            progress()
            if limit is not None and done.frames >= limit:
                return done
        if writer is not None:
            writer.complete()
    except KeyboardInterrupt:
        done.interrupted = True
    except DataError as error:  # the end of the video is missing
        done.problem = str(error)
    return done

"""Cover the faces of videos: what is found in one frame is covered in the frames around it as well.

In pictures, `cover_faces` covers what `cautious_landmarker` finds. A video adds time. A face that is found in one frame
and missed in the next is covered there, too, with a margin that grows with the time between: every frame is written
`SPREAD_S` late, so that a face which comes into view is covered before it is found.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from srn.errors import InputError
from srn.face.geometry import Box, ImageArray
from srn.inference.engines import Device, Precision, Runtime
from srn.inference.face import Face
from srn.inference.face_finder import CenterFaceFinder
from srn.inference.found_boxes import FoundFace
from srn.inference.landmarker import DOUBTFUL_SCORE, FaceLandmarker
from srn.inference.tracks import TrackerConfig
from srn.inference.views import Accuracy
from srn.media.video_reading import TimedFrame, VideoReader
from srn.media.video_writing import VideoWriter
from srn.uses.cover import Cover, Region, cover_regions, region_of, region_of_box

LOW_SCORE = 0.15
"""Lowest score of a found face; `srn detect` wants 0.4. More is covered than faces, and fewer faces are missed."""

SPREAD_S = 0.5
"""Seconds before and after a find in which a face is covered though it is not found."""

_SPREAD_S = SPREAD_S + 1e-6  # times are sums of fractions
DRIFT = 1.0  # face sizes a second by which the margin of such a face grows
STILL = 0.1  # its margin in face sizes at once
LARGEST_WAIT = 384 << 20  # bytes of frames that wait; fewer frames of a large video are covered ahead

TRACKING = TrackerConfig(
    find_every=5, find_when_empty=1, find_after_change=1, keep_confidence=0.1, accept_confidence=0.15,
    found_confidence=0.05,
)  # fmt: skip
"""The tracker's settings: the finder runs often, and a face is given up late."""


class CautiousFinder:
    """Finds faces at low scores, in a picture of 640 pixels beside the small one of the built-in finder.

    Where even that shows no certain face, the built-in finder's own search is made as well, with turned pictures and
    doubtful faces, which `FaceLandmarker` believes or not. Boxes are in the convention of `CenterFaceFinder`.
    """

    name = CenterFaceFinder.name

    def __init__(self, *, smallest: float | None = None, threads: int | None = None, device: Device = "cpu") -> None:
        self._low = CenterFaceFinder(
            sizes=(160, 640), threshold=LOW_SCORE, smallest=smallest, threads=threads, device=device
        )
        self._usual = CenterFaceFinder(
            smallest=smallest, doubtful_threshold=DOUBTFUL_SCORE, threads=threads, device=device
        )

    def find(self, image: ImageArray) -> list[FoundFace]:
        """Find the faces of a picture (H, W, 3) uint8 RGB, best score first."""
        found = self._low.find(image)
        if not any(face.score >= self._usual.threshold for face in found):
            found = sorted([*found, *self._usual.find(image)], key=lambda face: -face.score)
        return found


def cautious_landmarker(
    weights: str | os.PathLike[str] | None = None,
    *,
    smallest: float | None = None,
    accuracy: Accuracy = "balanced",
    threads: int | None = None,
    device: Device = "cpu",
    runtime: Runtime = "onnxruntime",
    precision: Precision = "float32",
) -> FaceLandmarker:
    """Make a `FaceLandmarker` that misses as few faces as it can, and finds some where there are none.

    The arguments are those of `FaceLandmarker`.
    """
    finder = CautiousFinder(smallest=smallest, threads=threads, device=device)
    return FaceLandmarker(
        weights, face_finder=finder, accuracy=accuracy, threads=threads, device=device, runtime=runtime,
        precision=precision,
    )  # fmt: skip


class _Known(NamedTuple):
    """What is known of the faces of a frame: by the number of their track, and boxes that no track has."""

    time_s: float
    faces: dict[int, Face]
    boxes: list[Box]


@dataclass
class CoveredVideo:
    """Outcome of `cover_video`."""

    frames: int = 0
    tracks: set[int] = field(default_factory=set)
    bare_frames: int = 0  # in which nothing was covered
    problem: str | None = None  # why the video ended early
    interrupted: bool = False  # by Ctrl-C


class VideoCover:
    """Covers the frames of one video, in order. Frames come back `SPREAD_S` late.

    Args:
        landmarker: finds the faces, such as that of `cautious_landmarker`.
        cover: what is covered, and how.
        frame_rate: frames a second.
    """

    def __init__(self, landmarker: FaceLandmarker, cover: Cover | None = None, *, frame_rate: float = 30.0) -> None:
        self.cover = Cover() if cover is None else cover
        self._tracker = landmarker.tracker(config=TRACKING, frame_rate=frame_rate)
        self._waiting: deque[tuple[TimedFrame, _Known]] = deque()
        self._past: deque[_Known] = deque()
        self.tracks: set[int] = set()
        self.bare_frames = 0

    def push(self, frame: TimedFrame) -> Iterator[TimedFrame]:
        """Take the next frame, and yield those that are covered."""
        faces = {f.track_id: f for f in self._tracker.update(frame.image, frame.time_s) if f.track_id is not None}
        # A find that became no track, because its landmarks convinced nobody, is covered all the same.
        loose = [f.box for f in self._tracker.found if all(f.box.iou(face.box) < 0.4 for face in faces.values())]
        self.tracks |= set(faces)
        self._waiting.append((frame, _Known(frame.time_s, faces, loose)))
        most = max(LARGEST_WAIT // max(frame.image.nbytes, 1), 1)
        while self._waiting and (len(self._waiting) > most or frame.time_s - self._waiting[0][0].time_s > _SPREAD_S):
            yield self._covered()

    def finish(self) -> Iterator[TimedFrame]:
        """Yield the frames that still wait, at the end of the video."""
        while self._waiting:
            yield self._covered()

    def _covered(self) -> TimedFrame:
        frame, known = self._waiting.popleft()
        while self._past and known.time_s - self._past[0].time_s > _SPREAD_S:
            self._past.popleft()
        around = [*self._past, *(later for _, later in self._waiting if later.time_s - known.time_s <= _SPREAD_S)]
        regions = self._regions(known, around)
        self._past.append(known)
        self.bare_frames += not regions
        return frame._replace(image=cover_regions(frame.image, regions, self.cover.style))

    def _regions(self, known: _Known, around: Sequence[_Known]) -> list[Region]:
        """Return what is covered in a frame: its own faces, and of the frames around it those that it lacks."""
        regions = [region_of(face, self.cover) for face in known.faces.values()]
        regions += [region_of_box(box, self.cover) for box in known.boxes]
        seen = {number for number, face in known.faces.items() if face.state == "seen"}
        nearest: dict[int, tuple[float, Face]] = {}
        for other in around:
            away = abs(other.time_s - known.time_s)
            for number, face in other.faces.items():
                # A face that is only predicted here is covered where it was seen last and will be seen next, too.
                if number not in seen and face.state == "seen" and away < nearest.get(number, (float("inf"),))[0]:
                    nearest[number] = away, face
            regions += [region_of_box(box, self.cover, extra=STILL + DRIFT * away) for box in other.boxes]
        return regions + [region_of(face, self.cover, extra=STILL + DRIFT * away) for away, face in nearest.values()]


def cover_video(
    reader: VideoReader,
    landmarker: FaceLandmarker,
    writer: VideoWriter,
    cover: Cover | None = None,
    *,
    progress: Callable[[], None] = lambda: None,
) -> CoveredVideo:
    """Cover the faces of a video, frame by frame. A broken or interrupted video keeps its finished frames.

    No frame is written before it is covered.

    Args:
        reader: the video.
        writer: an open video that gets the frames.
        progress: called for each frame that is read.
    """
    covered, done = VideoCover(landmarker, cover, frame_rate=reader.frame_rate), CoveredVideo()

    def written(frames: Iterator[TimedFrame]) -> None:
        for frame in frames:
            writer.write(frame.image, frame.time_s, frame.pixel_aspect)
            done.frames += 1

    try:
        try:
            for frame in reader:
                written(covered.push(frame))
                progress()
        except InputError as error:  # the end of the video is missing
            done.problem = str(error)
        written(covered.finish())
        if done.problem is None:
            writer.complete()
    except KeyboardInterrupt:
        done.interrupted = True
    except InputError as error:  # the disk is full
        done.problem = done.problem or str(error)
    done.tracks, done.bare_frames = covered.tracks, covered.bare_frames
    return done

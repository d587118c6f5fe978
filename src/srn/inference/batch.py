"""Detect the faces of picture files, track those of a video, and write them down."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TextIO

from srn.errors import DataError, InputError, SrnError, first_line
from srn.face.geometry import ImageArray
from srn.files import FACES_CSV, FACES_JSON, OVERLAY, POINTS, FileKind, Output, check_outputs
from srn.inference.drawing import TrackPainter, draw_faces
from srn.inference.face import Faces
from srn.inference.landmarker import FaceLandmarker
from srn.inference.tracker import FaceTracker
from srn.media.boxes import PictureBoxes
from srn.media.listing import OVERLAY_SUFFIX, PictureFile, point_files
from srn.media.pictures import read_image, write_image
from srn.media.pts import write_pts
from srn.media.results import (
    Record,
    frame_record,
    json_lines,
    picture_record,
    write_pictures_coco,
    write_pictures_csv,
    write_pictures_json,
)
from srn.media.video_reading import VideoReader
from srn.media.video_writing import VideoWriter

PICTURES_AT_ONCE = 8
LEAST_FRAMES_SEEN = 5  # in a video, for a face to be counted

ResultFormat = Literal["json", "pts", "csv", "coco"]


class Detection(NamedTuple):
    """The faces of a picture file, in pixels of `image` (H, W, 3) uint8 RGB; `left_out` more had a low confidence."""

    picture: PictureFile
    image: ImageArray
    faces: Faces
    left_out: int = 0


def detect_pictures(
    landmarker: FaceLandmarker,
    pictures: Sequence[PictureFile],
    boxes: PictureBoxes | None = None,
    *,
    min_score: float = 0.0,
    min_confidence: float | None = None,
) -> Iterator[Detection | DataError]:
    """Detect the faces of picture files, a few pictures at a time.

    Args:
        boxes: the user's own face boxes, instead of the face finder's.
        min_score: lowest score of a face.
        min_confidence: lowest mean confidence of a face. If None, doubtful ones (`Face.is_doubtful`) of the face
            finder are left out, and those of the user's boxes are kept.

    Yields:
        For each picture its faces, or the error where it cannot be read or processed.
    """
    for first in range(0, len(pictures), PICTURES_AT_ONCE):
        loaded: list[tuple[PictureFile, ImageArray]] = []
        for picture in pictures[first : first + PICTURES_AT_ONCE]:
            try:
                loaded.append((picture, read_image(picture.path)))
            except DataError as error:
                yield error
        for found in _detect(landmarker, loaded, boxes):
            if not isinstance(found, Detection):
                yield found
                continue
            faces = kept = found.faces.above(score=min_score)
            if min_confidence:
                kept = faces.above(confidence=min_confidence)
            elif min_confidence is None and boxes is None:
                kept = Faces(face for face in faces if not face.is_doubtful)
            yield found._replace(faces=kept, left_out=len(faces) - len(kept))


def _detect(
    landmarker: FaceLandmarker, loaded: Sequence[tuple[PictureFile, ImageArray]], boxes: PictureBoxes | None
) -> list[Detection | DataError]:
    """Detect the faces of a few pictures. If that fails, the pictures are tried one by one: most are not to blame."""
    given = None if boxes is None else [boxes[picture.path] for picture, _ in loaded]
    try:
        batch = landmarker.detect_batch([image for _, image in loaded], given)
    except Exception as error:  # of OpenCV, of ONNX Runtime, out of memory
        if len(loaded) > 1:
            return [found for one in loaded for found in _detect(landmarker, [one], boxes)]
        return [DataError.at(loaded[0][0].path, "a picture that can be processed", first_line(error))]
    return [Detection(picture, image, faces) for (picture, image), faces in zip(loaded, batch, strict=True)]


class DetectionWriter:
    """Write detections to files: `.pts` and overlays one by one, tables at the end, also of an interrupted run.

    What cannot be written is a line in `problems`; everything else is written nevertheless.

    Args:
        out: folder for everything but `json_to`; None writes none of it.
        kind: format of the landmarks in `out`; "json" writes none there.
        overlay: whether pictures with their faces drawn are written to `out`.
        json_to: file or stream for the JSON object of all pictures. A file `.jsonl` gets the object of each picture as
            a line, at once.
        inputs: further files that are read and may not be replaced.
        force: whether files of another kind may be replaced.

    Raises:
        InputError: `kind` needs a folder, `.pts` files would go beside their pictures, or an output would destroy an
            input or a file of another kind.
    """

    def __init__(
        self,
        pictures: Sequence[PictureFile],
        out: str | os.PathLike[str] | None,
        kind: ResultFormat = "json",
        *,
        overlay: bool = True,
        json_to: Path | TextIO | None = None,
        inputs: Sequence[Path] = (),
        force: bool = False,
    ) -> None:
        self._pictures, self._out, self._kind = pictures, None if out is None else Path(out), kind
        self._overlay, self._json_to = overlay, json_to
        self._as_lines = isinstance(json_to, Path) and json_to.suffix == ".jsonl"
        self._lines = json_lines(json_to if self._as_lines else None)
        self.records: list[dict[str, Any]] = []  # of the pictures so far (`srn.media.results`)
        self.problems: list[str] = []
        if kind != "json" and self._out is None:
            raise InputError.at(f"--format {kind}", "--out DIR to write into", "none")
        if kind == "json" and not overlay and json_to is None:
            raise InputError.at("--no-overlay", "--json or --format beside it, or nothing is written", "neither")
        if kind == "pts" and self._out is not None:
            for picture in pictures:
                if (self._out / picture.stem).parent.resolve() == picture.path.parent.resolve():
                    # The .pts files beside a dataset's pictures are its annotation.
                    raise InputError.at("--out", "another folder than the pictures' own, for .pts files", str(out))
        check_outputs(self._outputs(), [*(picture.path for picture in pictures), *inputs], force=force)

    def _outputs(self) -> Iterator[Output]:
        """Yield the paths to check. A file in `out` that is not there yet can destroy nothing."""
        if isinstance(self._json_to, Path):
            yield Output("--json", self._json_to, FACES_JSON)
        if self._out is None:
            return
        yield Output("--out", self._out)
        if self._kind in ("csv", "coco"):
            yield Output("--format", self._table, FACES_CSV if self._kind == "csv" else FACES_JSON)
        inside: list[tuple[Path, FileKind]] = []
        for picture in self._pictures:
            if self._overlay:
                inside.append((self._overlay_of(picture), OVERLAY))
            if self._kind == "pts":
                inside.append((self._out / f"{picture.stem}.pts", POINTS))
        yield from (Output(f"--out, {path.name}", path, kind) for path, kind in inside if os.path.lexists(path))

    @property
    def _table(self) -> Path:
        return Path(self._out or "", "landmarks.csv" if self._kind == "csv" else "landmarks.json")

    def _overlay_of(self, picture: PictureFile) -> Path:
        return Path(self._out or "", f"{picture.stem}{OVERLAY_SUFFIX}.jpg")

    def __enter__(self) -> Self:
        self._write_line = self._lines.__enter__()
        return self

    def add(self, detection: Detection) -> None:
        """Record a detection and write its own files."""
        picture, image, faces, left_out = detection
        record = picture_record(picture.path, image.shape[:2], faces.to_dict())
        self.records.append({**record, "left_out": left_out} if left_out else record)
        with self._noting():
            self._write_line(self.records[-1])
        if self._out is None:
            return
        if self._overlay:
            with self._noting(picture):
                write_image(self._overlay_of(picture), draw_faces(image, faces))
        if self._kind == "pts":
            for name, face in zip(point_files(picture, self._pictures), faces, strict=False):
                with self._noting(picture):
                    write_pts(self._out / name, face.landmarks)

    @contextlib.contextmanager
    def _noting(self, picture: PictureFile | None = None) -> Iterator[None]:
        """Turn an error of the block into a problem."""
        try:
            yield
        except SrnError as error:
            self.problems.append(str(error) if picture is None else f"{picture.path}: {error}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        partial = error is not None
        with self._noting():
            self._lines.__exit__(None, None, None)
        with self._noting():
            if self._json_to is not None and not self._as_lines:
                write_pictures_json(self._json_to, self.records, partial=partial)
        with self._noting():
            if self._out is not None and self._kind == "csv":
                write_pictures_csv(self._table, self.records)
            if self._out is not None and self._kind == "coco":
                write_pictures_coco(self._table, self.records, partial=partial)


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
    writer: VideoWriter | None = None,
    trace_s: float = 1.0,
    limit: int | None = None,
    progress: Callable[[], None] = lambda: None,
) -> TrackedVideo:
    """Track the faces of a video from the first frame to the last. A broken or interrupted video keeps its frames.

    Args:
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

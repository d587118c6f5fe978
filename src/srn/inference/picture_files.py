"""Write the faces of pictures to files: overlays and `.pts` one by one, a journal as they come, tables at the end."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self, TextIO

from srn.errors import InputError, SrnError, noting
from srn.face.geometry import Float64Array
from srn.files import (
    FACES_CSV,
    FACES_JSON,
    FACES_PARQUET,
    OVERLAY,
    POINTS,
    FileKind,
    Output,
    check_outputs,
    is_standard_output,
    write_atomically,
)
from srn.inference.batch import Detection
from srn.inference.drawing import draw_faces
from srn.media.journal import Entry, Journal, journal_beside, stamp_of
from srn.media.listing import OVERLAY_SUFFIX, PictureFile, point_files
from srn.media.pictures import encode_image
from srn.media.pts import write_pts
from srn.media.results import (
    Record,
    check_parquet,
    compact,
    json_lines,
    picture_record,
    write_pictures_coco,
    write_pictures_csv,
    write_pictures_json,
    write_pictures_lines,
    write_pictures_parquet,
)

ResultFormat = Literal["json", "pts", "csv", "coco", "parquet"]
Overlay = bool | Literal["ellipses"]
"""Whether faces are drawn on their picture, and their points' ellipses with them (`draw_faces`)."""


TABLES: Mapping[ResultFormat, tuple[str, FileKind]] = {
    "csv": ("landmarks.csv", FACES_CSV),
    "coco": ("landmarks.json", FACES_JSON),
    "parquet": ("landmarks.parquet", FACES_PARQUET),
}
"""The formats that are one file for all pictures: its name in the folder, and its kind."""


class Rendered(NamedTuple):
    """What is written of a picture: its record, the overlay as a JPEG file, and the landmarks of each face (N, 2)."""

    picture: PictureFile
    record: Record
    overlay: bytes | None
    shapes: list[Float64Array]
    problem: str | None = None  # why there is no overlay
    stamp: tuple[int, int] | None = None  # of the file (`stamp_of`)


def render(found: Detection, *, overlay: Overlay) -> Rendered:
    """Make the record of a detection, and its overlay if that is wanted."""
    picture, image, faces = found.picture, found.image, found.faces
    record = picture_record(picture.path, image.shape[:2], faces.to_dict(), pictures=found.pictures)
    if found.left_out:
        record["left_out"] = found.left_out
    drawn, problem = None, None
    if overlay:
        try:
            marked = draw_faces(image, faces, ellipses=overlay == "ellipses")
            drawn = encode_image(marked, ".jpg", profile=found.profile) + OVERLAY.end
        except SrnError as error:
            problem = f"{picture.path}: {error}"
    return Rendered(picture, record, drawn, [face.landmarks for face in faces], problem, found.stamp)


class Written(NamedTuple):
    """A picture whose own files are written, except for those that the problems name."""

    picture: PictureFile
    record: Record
    problems: list[str]
    stamp: tuple[int, int] | None = None


class DetectionWriter:
    """Write detections to files: `.pts` and overlays one by one, tables at the end, also of an interrupted run.

    What cannot be written is a line in `problems`; everything else is written nevertheless. A journal beside the other
    files holds what is finished, until the run is.

    Args:
        out: folder for everything but `json_to`; None writes none of it.
        kind: format of the landmarks in `out`; "json" writes none there.
        overlay: whether pictures with their faces drawn are written to `out`.
        json_to: file or stream for the JSON object of all pictures. With `lines`, and always a file `.jsonl`, gets the
            object of each picture as a line instead.
        inputs: further files that are read and may not be replaced.
        force: whether files of another kind may be replaced.

    Attributes:
        changed: pictures that the run which goes on had finished, and whose files have changed since.
        stale: `.pts` files of earlier runs where one for a further face of a picture would be.

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
        overlay: Overlay = True,
        json_to: Path | TextIO | None = None,
        lines: bool = False,
        inputs: Sequence[Path] = (),
        force: bool = False,
    ) -> None:
        self._out, self._kind, self._json_to = None if out is None else Path(out), kind, json_to
        self.overlay: Overlay = overlay if out is not None else False
        self._place = {picture.stem: number for number, picture in enumerate(pictures)}
        self._pictures = pictures
        self._as_lines = lines or (isinstance(json_to, Path) and json_to.suffix == ".jsonl")
        # A pipe has a reader, who gets each line at once.
        self._live = self._as_lines and (_is_open(json_to) or not isinstance(json_to, Path))
        self._lines: dict[int, str] = {}  # the record of each picture so far, as JSON, by its place
        self._journal: Journal | None = None
        self._write_line: Callable[[Record], None] | None = None
        self._whole = True  # whether every file of a picture could be written
        self.faces = self.left_out = 0
        self.problems: list[str] = []
        self.changed: list[Path] = []
        self.stale: list[Path] = []
        if kind != "json" and self._out is None:
            raise InputError.at(f"--format {kind}", "--out DIR to write into", "none")
        if kind == "json" and not overlay and json_to is None:
            raise InputError.at("--no-overlay", "--json or --format beside it, or nothing is written", "neither")
        if kind == "parquet":
            check_parquet()
        if kind == "pts" and self._out is not None:
            for picture in pictures:
                if (self._out / picture.stem).parent.resolve() == picture.path.parent.resolve():
                    # The .pts files beside a dataset's pictures are its annotation.
                    raise InputError.at("--out", "another folder than the pictures' own, for .pts files", str(out))
        check_outputs(self._outputs(), [*(picture.path for picture in pictures), *inputs], force=force)

    def _outputs(self) -> Iterator[Output]:
        """Yield the paths to check. A file in `out` that is not there yet can destroy nothing but a new `--json`."""
        if isinstance(self._json_to, Path):
            yield Output("--json", self._json_to, FACES_JSON)
        if self._out is None:
            return
        yield Output("--out", self._out)
        if self._kind in TABLES:
            yield Output("--format", self._table, TABLES[self._kind][1])
        inside: list[tuple[Path, FileKind]] = []
        for picture in self._pictures:
            if self.overlay:
                inside.append((self._overlay_of(picture), OVERLAY))
        if self._kind == "pts":
            inside += [(path, POINTS) for path in self._out.rglob("*.pts") if self._may_write(path)]
        json_name = self._json_to.name if isinstance(self._json_to, Path) else None
        for path, kind in inside:
            if os.path.lexists(path) or path.name == json_name:
                yield Output(f"--out, {path.name}", path, kind)

    def _may_write(self, path: Path) -> bool:
        """Whether a file in `out` has the name of a first or further face's points (`point_files`)."""
        stem = path.relative_to(self._out or "").with_suffix("")
        return stem in self._place or stem.with_name(re.sub(r"_\d+$", "", stem.name) or stem.name) in self._place

    @property
    def _table(self) -> Path:
        return Path(self._out or "", TABLES[self._kind][0])

    def _overlay_of(self, picture: PictureFile) -> Path:
        return Path(self._out or "", f"{picture.stem}{OVERLAY_SUFFIX}.jpg")

    @property
    def pictures(self) -> int:
        """How many pictures have been detected."""
        return len(self._lines)

    def keep_journal(self, options: Mapping[str, Any], *, resume: bool) -> set[Path] | None:
        """Keep a journal from now on, where the run writes files.

        Args:
            options: of the run, by their names on the command line; a run that goes on must have the same.
            resume: whether the run that was left there goes on.

        Returns:
            The stems of the pictures that it has finished; None where a new run begins.

        Raises:
            InputError: as `Journal`; or there is no file to go on with.
        """
        place: Path | None = None
        if isinstance(self._json_to, Path) and not self._live and not is_standard_output(self._json_to):
            place = self._json_to
        elif self._out is not None:
            place = self._out / "landmarks"
        if place is None:
            if resume:
                raise InputError.at("--resume", "--json FILE or --out DIR of the run that goes on", "neither")
            return None
        self._journal = Journal(journal_beside(place), options, resume=resume)
        if self._journal.left is None:
            return None
        known = {str(picture.stem): picture for picture in self._pictures}
        finished: set[Path] = set()
        latest = {entry.name: entry for entry in self._journal.left}  # a picture that had changed stands there twice
        for name, record, whole, stamp in latest.values():
            picture = known.get(name)
            if whole and picture is not None and record.get("path") == str(picture.path):
                if stamp is not None and stamp != stamp_of(picture.path):
                    self.changed.append(picture.path)
                    continue
                self._count(picture, record)
                finished.add(picture.stem)
        return finished

    def __enter__(self) -> Self:
        self._streamed = json_lines(self._json_to if self._live else None)
        self._write_line = self._streamed.__enter__()
        return self

    def write(self, rendered: Rendered) -> Written:
        """Write the own files of a picture. Threads may call this side by side."""
        picture, problems = rendered.picture, [] if rendered.problem is None else [rendered.problem]
        if self._out is not None:
            if rendered.overlay is not None:
                with noting(problems, picture.path):
                    write_atomically(self._overlay_of(picture), rendered.overlay)
            if self._kind == "pts":
                names = point_files(picture, self._place)
                for shape in rendered.shapes:
                    with noting(problems, picture.path):
                        write_pts(self._out / next(names), shape, signed=True)
                further = self._out / next(names)
                if os.path.lexists(further):  # of a face that is no more, or of a picture that is not of this run
                    self.stale.append(further)
        return Written(picture, rendered.record, problems, rendered.stamp)

    def finish(self, found: Detection) -> Written:
        """Render a detection and write its own files."""
        return self.write(render(found, overlay=self.overlay))

    def add(self, batch: Iterable[Written]) -> None:
        """Take a batch of pictures into the tables and the journal, and note what is missing.

        Raises:
            InputError: outside of the context.
        """
        if self._write_line is None:
            raise InputError.at(type(self).__name__, "one opened with 'with'", "a closed one")
        entries: list[Entry] = []
        for one in batch:
            self.problems += one.problems
            self._whole &= not one.problems
            self._count(one.picture, one.record)
            entries.append(Entry(str(one.picture.stem), one.record, not one.problems, one.stamp))
            try:
                self._write_line(one.record)
            except InputError as error:  # no line after one that is missing
                self.problems.append(str(error))
                self._write_line = lambda record: None
        if self._journal is not None and entries:
            try:
                self._journal.append(entries)
            except InputError as error:
                self.problems.append(str(error))
                self._journal.close(finished=False)
                self._journal = None

    def _count(self, picture: PictureFile, record: Record) -> None:
        self._lines[self._place[picture.stem]] = compact(record)
        self.faces += len(record["faces"])
        self.left_out += record.get("left_out", 0)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        partial, problems = error is not None, list[str]()
        lines = [line for _, line in sorted(self._lines.items())]
        records = (json.loads(line) for line in lines)
        self._write_line = None
        with noting(problems):
            self._streamed.__exit__(None, None, None)
        begun = bool(lines) or not partial  # else files of an earlier run are kept
        with noting(problems):
            if isinstance(self._json_to, Path) and self._as_lines:
                if begun and not self._live:
                    write_pictures_lines(self._json_to, lines)
            elif self._json_to is not None and not self._as_lines and (begun or not _exists(self._json_to)):
                write_pictures_json(self._json_to, lines, partial=partial)
        with noting(problems):
            if self._out is not None and (begun or not self._table.exists()):
                if self._kind == "csv":
                    write_pictures_csv(self._table, records)
                if self._kind == "coco":
                    write_pictures_coco(self._table, records, partial=partial)
                if self._kind == "parquet":
                    write_pictures_parquet(self._table, records)
        if self._journal is not None:
            self._journal.close(finished=not partial and self._whole and not problems)
        self.problems += problems


def _exists(target: object) -> bool:
    """Whether a target is a regular file that is there already."""
    return isinstance(target, Path) and target.is_file()


def _is_open(target: object) -> bool:
    """Whether a path is the standard output, a pipe or a device: something that is read while it is written."""
    place = str(target)
    return is_standard_output(place) or (os.path.exists(place) and not os.path.isfile(place))

"""`srn anonymize`."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from srn.cli import options
from srn.cli.command import INTERRUPTED, finishing
from srn.errors import DataError, InputError
from srn.files import COVERED, OVERLAY, VIDEO, Output, check_outputs, real_path, write_atomically, writing_to
from srn.inference.batch import Choice, Detection, detect_pictures
from srn.inference.landmarker import FaceLandmarker
from srn.media.ffmpeg import find_pyav, quiet
from srn.media.listing import Listing, PictureFile, is_remains, is_shadow, pictures_in, same_file
from srn.media.picture_count import is_of_pictures
from srn.media.pictures import IMAGE_SUFFIXES, encode_image
from srn.media.video_reading import head_of, is_video, open_video
from srn.media.video_writing import CODECS, FOURCC, VideoWriter
from srn.uses.anonymize import CoveredVideo, cautious_landmarker, cover_video
from srn.uses.cover import Cover, Style, Target, cover_faces

Out = Annotated[Path, typer.Option(help="Folder for the covered pictures and videos."), options.Folder(apart=True)]
Margin = Annotated[float, typer.Option(min=0, max=5, help="Further margin around a face, as a share of its size.")]

VIDEO_SUFFIXES = frozenset(
    {*CODECS, ".m2ts", ".mts", ".ts", ".3gp", ".asf", ".flv", ".mpeg", ".mpg", ".mxf", ".ogv", ".vob", ".wmv"}
)  # fmt: skip
"""Of files in a folder that are named where they are no video: whoever put them there may think that they were covered.
Other files are videos by their content alone."""
SOUND_SUFFIXES = frozenset({".m4a", ".m4b", ".mka", ".oga", ".opus", ".weba", ".wma"})
ANIMATION = "save an animation as a video (.mp4), and all of it is covered"
SUFFIX = "_covered"  # end of the stem of what is written


class _Work(NamedTuple):
    """What is to be covered: the pictures, the videos with the files they become, and folders that cannot be read."""

    pictures: list[PictureFile]
    videos: list[tuple[Path, Path]]
    listing: Listing


def anonymize(
    paths: Annotated[
        list[Path], typer.Argument(help="Pictures, videos, or folders of both (with the folders inside).")
    ],
    out: Out,
    cover: Annotated[
        Target,
        typer.Option("--cover", help="`face`: forehead to chin. `eyes`: a band over the eyes where they are sure."),
    ] = "face",
    style: Annotated[
        Style,
        typer.Option("--style", help="`pixelate`: six blocks across a face; `blur`; `fill`: one colour, the safest."),
    ] = "pixelate",
    margin: Margin = 0.0,
    sound: Annotated[bool, typer.Option(help="Keep the sound of videos: voices are not changed.")] = True,
    smallest: options.Smallest = None,
    weights: options.Weights = None,
    accuracy: options.Accuracy = "balanced",
    engine: options.Engine = options.ENGINE,
) -> None:
    """Cover the faces, or the eyes, of pictures and videos.

    Doubt covers more: faces of low scores are covered, too, and in a video half a second before and after they are
    found. Pictures are written without metadata (EXIF, place, thumbnail), but for the profile of their colours, as
    `NAME_covered.jpg`, or `.png`; of an animation or of several pages the first alone. No program finds every face:
    look at the results. Pictures and videos in which nothing was found are named.

    Example: `srn anonymize holiday/ clip.mp4 --out covered`
    """
    quiet()
    work = _work(paths, out)
    targets = [*(_place(out, picture) for picture in work.pictures), *(target for _, target in work.videos)]
    outputs = [Output(f"--out, {one.name}", one, _KINDS.get(one.suffix, _VIDEO)) for one in targets if _exists(one)]
    outputs.append(Output("--out", out, apart=True))
    inputs = [*(picture.path for picture in work.pictures), *(source for source, _ in work.videos)]
    check_outputs(outputs, inputs)
    chosen = Cover(cover, style, margin)
    landmarker = cautious_landmarker(weights, smallest=smallest, accuracy=accuracy, **engine._asdict())
    problems = [*work.listing.problems, *_cover_pictures(landmarker, work.pictures, out, chosen)]
    for source, target in work.videos:
        last = target == work.videos[-1][1]
        problems += _cover_one_video(landmarker, source, target, chosen, sound=sound, last=last)
    if work.listing.unread:
        options.note(f"of a format that is not read, and not covered: {options.some(work.listing.unread)}")
    links = [path for path in work.listing.others if os.path.isdir(path)]
    if links:
        options.note(f"links to folders, which are not followed, and not covered: {options.some(links, None)}")
    options.exit_if_failed(problems)


# The names follow from those of the inputs, so nothing is forced.
_KINDS = {".jpg": OVERLAY._replace(is_named=False), ".png": COVERED._replace(is_named=False)}
_VIDEO = VIDEO._replace(is_named=False)


def _exists(path: Path) -> bool:
    """Whether there is a file of that name already. One whose name is too long fails alone, when it is written."""
    try:
        return os.path.lexists(path)
    except OSError:
        return False


def _work(paths: Sequence[Path], out: Path) -> _Work:
    """Sort the given files and those of the folders into pictures and videos, each once, but for what lies in `out`.

    Raises:
        DataError: a path does not exist, or all of them hold neither.
    """
    suffixes = FOURCC if find_pyav() is None else CODECS
    videos: list[tuple[Path, Path]] = []
    listed: set[str] = set()
    taken: set[str] = set()

    def add_video(source: Path, name: Path) -> None:
        if (place := os.path.abspath(source)) in listed:  # named twice, or beside the folder that holds it
            return
        listed.add(place)
        suffix = name.suffix.lower() if name.suffix.lower() in suffixes else ".mp4"
        stem, number = name.with_suffix(""), 1
        while same_file(target := out / f"{stem}{SUFFIX}{suffix}") in taken:
            number += 1
            stem = name.with_name(f"{name.stem}_{number}")
        taken.add(same_file(target))
        videos.append((source, target))

    files = [path for path in paths if not _is_video(path)]
    for path in (path for path in paths if path not in files):
        add_video(path, Path(path.name))
    listing = pictures_in(files, every=True)
    pictures = [picture for picture in listing.pictures if not _below(picture.path, out)]
    empty: list[DataError] = []
    for folder in (path for path in files if path.is_dir()):
        held = any(line.startswith((f"{folder}:", f"{folder}{os.sep}")) for line in listing.problems)
        held |= any(picture.path.is_relative_to(folder) for picture in pictures)
        left_out = False
        for file in sorted(folder.rglob("*")):
            if is_shadow(file) or is_remains(file):
                continue
            if _below(file, out):
                left_out |= not file.is_dir()
                continue
            if file.suffix.lower() not in SOUND_SUFFIXES and _is_video(file):
                add_video(file, file.relative_to(folder))
                held = True
            elif file.suffix.lower() in VIDEO_SUFFIXES and not file.is_dir():
                problem = DataError.at(file, "a video that can be read", "none by its first bytes")
                listing.problems.append(str(problem))
                held = True
        if not held:
            found = "only those of --out" if left_out else "none"
            empty.append(DataError.at(folder, "pictures or videos to cover", found))
    if empty and not (pictures or videos or listing.problems):
        raise empty[0]
    listing.problems.extend(map(str, empty))
    pictures = [picture for picture in pictures if os.path.abspath(picture.path) not in listed]  # videos by that name
    return _Work(pictures, videos, listing)


def _is_video(path: Path) -> bool:
    """Whether a file is a video, whatever its name says. An animation is one unless it has the name of a picture."""
    with contextlib.suppress(OSError):
        named_picture = path.suffix.lower() in IMAGE_SUFFIXES
        return path.is_file() and is_video(path) and not (named_picture and is_of_pictures(head_of(path)))
    return False


def _below(path: Path, folder: Path) -> bool:
    return real_path(path).is_relative_to(real_path(folder))


def _place(out: Path, picture: PictureFile) -> Path:
    return out / f"{picture.stem}{SUFFIX}{'.png' if picture.path.suffix.lower() == '.png' else '.jpg'}"


def _cover_pictures(landmarker: FaceLandmarker, pictures: Sequence[PictureFile], out: Path, cover: Cover) -> list[str]:
    """Cover and write pictures, tell the outcome, and return what failed."""
    problems: list[str] = []
    bare: list[Path] = []
    faces = 0

    def finish(found: Detection) -> tuple[Path, int] | InputError:
        place = _place(out, found.picture)
        try:
            covered = encode_image(cover_faces(found.image, found.faces, cover), place.suffix, profile=found.profile)
            write_atomically(place, covered + _KINDS[place.suffix].end)
        except InputError as error:  # the disk is full, or a side is too long for a JPEG
            return InputError(f"{found.picture.path}: {error}")
        return found.picture.path, len(found.faces)

    if not pictures:
        return problems
    everything = Choice(min_confidence=0)
    with options.progress("pictures") as begin:
        step = begin("", len(pictures))
        for batch in detect_pictures(landmarker, pictures, everything, finish, tell=options.note, animation=ANIMATION):
            for one in batch:
                if isinstance(one, InputError):
                    problems.append(str(one))
                    continue
                faces += one[1]
                bare += [one[0]] * (not one[1])
            step(len(batch))
    whole = len(pictures) - len(problems)
    options.note(f"{options.counted(faces, 'place')} covered in {options.counted(whole, 'picture')}")
    if bare:
        options.note(f"nothing found, nothing covered: {options.some(bare, None)}")
    return problems


def _cover_one_video(
    landmarker: FaceLandmarker, source: Path, target: Path, cover: Cover, *, sound: bool, last: bool
) -> list[str]:
    """Cover and write a video, tell the outcome, and return what failed."""
    reader = None
    try:
        reader = open_video(source)
        with writing_to(target):
            writer = VideoWriter.like(reader, target, sound_from=source if sound else None)
    except InputError as error:
        if reader is not None:
            reader.close()
        return [str(error)]
    done = CoveredVideo()
    ending = finishing() if last else contextlib.nullcontext()  # after it nothing can be interrupted any more
    try:
        with contextlib.closing(reader), writer, ending, options.progress("frames") as begin:
            done = cover_video(reader, landmarker, writer, cover, progress=begin("covering", reader.length))
    except InputError as error:  # the file cannot be completed
        done.problem = done.problem or str(error)
    if writer.is_written:
        _tell_covered(target, done, writer.sound_lost)
    if done.interrupted:
        problem = "" if done.problem is None else f": {done.problem}"
        kept = f"the finished part of {target} is kept" if writer.is_written else f"nothing of {target} is kept"
        options.note(f"interrupted; {kept}{problem}")
        raise typer.Exit(INTERRUPTED)
    return [] if done.problem is None else [done.problem]


def _tell_covered(target: Path, done: CoveredVideo, sound_lost: str | None) -> None:
    options.note(f"{target}: {options.counted(len(done.tracks), 'face')} in {options.counted(done.frames, 'frame')}")
    if done.bare_frames:
        options.note(f"{target}: nothing covered in {options.counted(done.bare_frames, 'frame')}")
    if sound_lost:
        options.note(f"{target}: without sound: {sound_lost}")

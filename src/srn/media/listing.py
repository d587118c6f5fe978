"""List the pictures of files and folders, and name the files of their results."""

from __future__ import annotations

import contextlib
import itertools
import os
import unicodedata
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from srn.errors import DataError, first_line
from srn.files import HEAD_BYTES, SHEET, real_path
from srn.media.pictures import IMAGE_SUFFIXES

OVERLAY_SUFFIX = "_landmarks"  # end of the stem of a picture on which landmarks are drawn

# Pictures of formats that cannot be read: named, because a user may think that they were.
UNREAD_SUFFIXES = frozenset(
    {
        ".arw", ".cr2", ".cr3", ".dng", ".eps", ".exr", ".hdr", ".jxl", ".nef", ".orf", ".pcx", ".psd", ".raf",
        ".rw2", ".svg", ".tga", ".xcf",
    }
)  # fmt: skip


class PictureFile(NamedTuple):
    """A picture of a run. `stem` is the relative path of its results, without suffix; no other picture has it."""

    path: Path
    stem: Path


class Listing(NamedTuple):
    """The pictures of files and folders, and everything else in the folders.

    Attributes:
        pictures: in the order of the paths, those of a folder sorted.
        problems: one line for each folder that cannot be read.
        unread: pictures of formats that cannot be read.
        others: other files, overlays of earlier runs, and links to folders, which are not followed.
    """

    pictures: list[PictureFile]
    problems: list[str]
    unread: list[Path]
    others: list[Path]


def pictures_in(paths: Iterable[Path], *, every: bool = False, drawn: Path | None = None) -> Listing:
    """List the pictures of files and folders (with the folders inside), each once.

    Overlays and contact sheets of earlier runs are left out, unless every picture is wanted.
    Shadow files of macOS (`._a.jpg`) and remains of interrupted runs are passed over.

    Args:
        every: whether those are pictures as well, and folders may contain none, but videos (`srn anonymize`).
        drawn: a folder for overlays. Where it lies inside another one that is listed, those in it are left out.

    Raises:
        DataError: a path does not exist, or a folder contains no picture.
    """
    listing = Listing([], [], [], [])
    taken: set[str] = set()
    listed: set[str] = set()
    for path in paths:
        if os.path.isdir(path):  # unlike Path's, it takes any name
            inside = _walk(path, listing, drawn, every=every)
            if not inside and not every:
                found = listing.problems[-1].rpartition("found ")[2] if listing.problems else "none"
                raise DataError.at(path, "a folder with pictures", found)
            relative = [(picture, picture.relative_to(path)) for picture in inside]
        elif os.path.lexists(path):
            relative = [(path, Path(path.name))]
        else:
            expected = "a picture, a video or a folder" if every else "a picture or a folder"
            raise DataError.at(path, expected, why_missing(path))
        for picture, name in relative:
            if (place := os.path.abspath(picture)) in listed:  # named twice, or beside the folder that holds it
                continue
            listed.add(place)
            stem, number = name.with_suffix(""), 1
            while same_file(stem) in taken:  # `a.jpg` and `a.png` must not overwrite each other's results
                number += 1
                stem = name.with_name(f"{name.stem}_{number}")
            taken.add(same_file(stem))
            listing.pictures.append(PictureFile(picture, stem))
    return listing


def existing(folder: Path, name: str) -> Path:
    """Return the file of a name in a list beside it, as it is there; `folder / name` where there is none.

    Lists of other systems have other separators, and accents composed or decomposed.
    """
    slashed = name.replace("\\", "/")
    forms = [name, slashed, *(unicodedata.normalize(form, slashed) for form in ("NFC", "NFD"))]
    return next((folder / form for form in forms if os.path.lexists(folder / form)), folder / name)


def same_file(path: Path) -> str:
    """Return a text that is the same for names of which Windows and macOS make one file: `A.jpg` and `a.jpg`."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _walk(root: Path, listing: Listing, drawn: Path | None, *, every: bool) -> list[Path]:
    """Return the pictures below a folder, sorted; note everything else in the listing."""
    apart = None if drawn is None or drawn.resolve() == root.resolve() else drawn.resolve()
    files: list[Path] = []
    for folder, names, inside in os.walk(root, onerror=lambda error: listing.problems.append(str(unreadable(error)))):
        files += (Path(folder, name) for name in inside)
        listing.others.extend(link for name in names if (link := Path(folder, name)).is_symlink())
    files = sorted(file for file in files if not (is_shadow(file) or is_remains(file)))
    pictures = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    siblings = {file.with_suffix(file.suffix.lower()) for file in pictures}
    overlays = {f for f in pictures if not every and (_is_overlay(f, siblings, apart) or _is_sheet(f))}
    listing.unread.extend(file for file in files if file.suffix.lower() in UNREAD_SUFFIXES)
    listing.others.extend(
        file for file in files if file in overlays or file.suffix.lower() not in IMAGE_SUFFIXES | UNREAD_SUFFIXES
    )
    return [file for file in pictures if file not in overlays]


def why_missing(path: Path) -> str:
    """Say why a path is not there: no such file, or a folder on the way into which nobody may look."""
    try:
        os.lstat(path)
    except PermissionError as error:
        return first_line(error)
    except (OSError, ValueError):  # such as a name that no file can have
        pass
    return "no such file"


def unreadable(error: OSError) -> DataError:
    """Return the error that names a folder which cannot be read."""
    return DataError.at(error.filename, "a folder that can be read", first_line(error))


def unreadable_below(root: Path) -> list[str]:
    """Return a line for each folder below `root`, or `root` itself, that cannot be read."""
    problems: list[str] = []
    for _ in os.walk(root, onerror=lambda error: problems.append(str(unreadable(error)))):
        pass
    return problems


def is_remains(path: Path) -> bool:
    """Whether a killed process left this unfinished file (`srn.files`)."""
    return path.name.startswith(".") and ".partial" in path.suffixes[-2:-1]


def is_shadow(path: Path) -> bool:
    """Whether a file holds what macOS notes about the file beside it: it is neither picture nor annotation."""
    return path.name.startswith("._")


def _is_overlay(path: Path, siblings: set[Path], apart: Path | None) -> bool:
    """Whether an earlier run drew this picture from one beside it, or into a folder apart."""
    if not path.stem.endswith(OVERLAY_SUFFIX):
        return False
    if apart is not None and path.suffix == ".jpg" and real_path(path).is_relative_to(apart):
        return True
    source = path.with_name(path.stem.removesuffix(OVERLAY_SUFFIX))
    return any(source.with_name(source.name + suffix) in siblings for suffix in IMAGE_SUFFIXES)


def _is_sheet(path: Path) -> bool:
    """Whether an earlier run drew the faces of other pictures on this one."""
    if path.suffix.lower() != ".png" or not path.is_file():  # a pipe may have no end
        return False
    with contextlib.suppress(OSError), path.open("rb") as file:
        return SHEET.head.match(file.read(HEAD_BYTES)) is not None
    return False


def point_files(picture: PictureFile, stems: Container[Path]) -> Iterator[Path]:
    """Yield relative names for the faces of a picture: `<stem>.pts`, `<stem>_2.pts`, ..., skipping all `stems`."""
    stem = picture.stem
    yield stem.with_name(f"{stem.name}.pts")
    for number in itertools.count(2):
        further = stem.with_name(f"{stem.name}_{number}")
        if further not in stems:
            yield further.with_name(f"{further.name}.pts")

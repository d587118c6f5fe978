"""Find, read and write pictures: any format that OpenCV knows <-> (H, W, 3) uint8 RGB, upright."""

from __future__ import annotations

import contextlib
import itertools
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import DataError
from srn.files import write_atomically
from srn.media.limits import check_pixels
from srn.media.picture_header import stated_size

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".jp2"})

OVERLAY_SUFFIX = "_landmarks"  # end of the stem of a picture on which landmarks are drawn

# As stored, with alpha channel and all bits, but upright: IMREAD_UNCHANGED would ignore the EXIF orientation. No file
# is opened here, so GDAL itself never takes part.
_AS_STORED = cv2.IMREAD_LOAD_GDAL


def decode_image(content: bytes, name: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Decode an encoded picture to (H, W, 3) uint8 RGB; `name` is its name in error messages.

    The EXIF orientation is applied, grey becomes RGB and 16 bits become 8. In every format transparent pixels are laid
    over white: the colour stored below full transparency is arbitrary and often black.

    Raises:
        DataError: `content` is not a picture, ends early, or has more pixels than the limit (`srn.media.limits`).
    """
    size, image = stated_size(content), None
    if size is not None:
        check_pixels(name, *size)
        flags = cv2.IMREAD_COLOR if content[:2] == b"\xff\xd8" else _AS_STORED  # a JPEG has no transparency
        with contextlib.suppress(cv2.error):
            image = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        found = f"{len(content)} bytes that do not decode to one" if image is None else f"values of {image.dtype}"
        raise DataError.at(name, "a picture (JPEG, PNG, WebP, ...)", found)
    # LibTIFF multiplies colours of 8 bits by their opacity.
    return opaque_rgb(image, multiplied=content[:2] in (b"II", b"MM") and image.dtype == np.uint8)


def opaque_rgb(image: npt.NDArray[Any], *, multiplied: bool = False) -> npt.NDArray[np.uint8]:
    """Convert grey (H, W), BGR or BGRA of 8 or 16 bits to (H, W, 3) uint8 RGB, composited over white.

    With `multiplied` the colours are already multiplied by their opacity.
    """
    color = (image >> 8 if image.dtype == np.uint16 else image).astype(np.uint8, copy=False)
    if image.ndim == 2:
        return cv2.cvtColor(color, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    rgb = cv2.cvtColor(color[:, :, :3], cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    if image.shape[2] == 3:
        return rgb
    alpha = image[:, :, 3:].astype(np.float32) / np.iinfo(image.dtype).max
    shown = rgb if multiplied else rgb * alpha
    return np.round(np.minimum(shown + 255 * (1 - alpha), 255)).astype(np.uint8)


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read a picture file as `decode_image` does.

    Raises:
        DataError: the file is missing, is a device or a pipe, or is not a picture.
    """
    expected = "a readable picture file"
    with DataError.reading(path, expected):
        if not Path(path).is_dir() and not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError.at(path, expected, "a device or a pipe")
        content = Path(path).read_bytes()
    return decode_image(content, path)


def encode_image(image: npt.NDArray[np.uint8], suffix: str, quality: int = 92) -> bytes:
    """Encode a picture (H, W, 3) uint8 RGB in the format of a file suffix; `quality` is that of a JPEG, 0 to 100.

    Raises:
        DataError: OpenCV cannot write that format.
    """
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix.lower() in {".jpg", ".jpeg"} else []
    try:
        done, buffer = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    except cv2.error:
        done = False
    if not done:
        raise DataError.at(f"picture file {suffix!r}", "a format that OpenCV can write (.jpg, .png, ...)", "another")
    return buffer.tobytes()


def write_image(path: str | os.PathLike[str], image: npt.NDArray[np.uint8], quality: int = 92) -> None:
    """Write a picture (H, W, 3) uint8 RGB; the suffix of the file chooses the format, PNG where it has none."""
    write_atomically(path, encode_image(image, Path(path).suffix or ".png", quality))


class PictureFile(NamedTuple):
    """A picture of a run. `stem` is the relative path of its results, without suffix; no other picture has it."""

    path: Path
    stem: Path


def pictures_in(paths: Iterable[Path]) -> list[PictureFile]:
    """List the pictures of files and folders (with the folders inside), without overlays of earlier runs.

    Raises:
        DataError: a path does not exist, or a folder contains no picture.
    """
    pictures: list[PictureFile] = []
    taken: set[Path] = set()
    for path, relative in _files_of(paths):
        stem, number = relative.with_suffix(""), 1
        while stem in taken:  # `a.jpg` and `a.png` must not overwrite each other's results
            number += 1
            stem = relative.with_name(f"{relative.stem}_{number}")
        taken.add(stem)
        pictures.append(PictureFile(path, stem))
    return pictures


def _files_of(paths: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Yield every picture with its path relative to the folder it was found in."""
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file())
            siblings = {p.with_suffix(p.suffix.lower()) for p in inside}
            inside = [p for p in inside if not _is_overlay(p, siblings)]
            if not inside:
                raise DataError.at(path, "a folder with pictures", "none")
            yield from ((picture, picture.relative_to(path)) for picture in inside)
        elif path.exists():
            yield path, Path(path.name)
        else:
            raise DataError.at(path, "a picture or a folder", "no such file")


def _is_overlay(path: Path, siblings: set[Path]) -> bool:
    """Whether an earlier run drew this picture from one beside it."""
    if not path.stem.endswith(OVERLAY_SUFFIX):
        return False
    source = path.with_name(path.stem.removesuffix(OVERLAY_SUFFIX))
    return any(source.with_name(source.name + suffix) in siblings for suffix in IMAGE_SUFFIXES)


def point_files(picture: PictureFile, pictures: Sequence[PictureFile]) -> Iterator[Path]:
    """Yield relative names for the faces of a picture: `<stem>.pts`, `<stem>_2.pts`, ..., skipping other pictures'."""
    stem, stems = picture.stem, {other.stem for other in pictures}
    yield stem.with_name(f"{stem.name}.pts")
    for number in itertools.count(2):
        further = stem.with_name(f"{stem.name}_{number}")
        if further not in stems:
            yield further.with_name(f"{further.name}.pts")

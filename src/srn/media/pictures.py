"""Read and write pictures: any format that OpenCV knows, and HEIC, <-> (H, W, 3) uint8 RGB, upright."""

from __future__ import annotations

import contextlib
import os
import re
import stat
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import DataError, InputError, shown
from srn.files import VIDEO, write_atomically
from srn.media.limits import check_pixels, limit, read_limited
from srn.media.picture_count import SEQUENCES, STILLS, stated_count, told_count
from srn.media.picture_header import (
    is_iso_media,
    stated_profile,
    stated_size,
    stated_turn,
    stated_white,
    transparent_grey,
)
from srn.media.tiff_header import TiffFacts, tiff_facts

IMAGE_SUFFIXES = frozenset(
    {
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".webp", ".gif", ".avif", ".heic", ".heif",
        ".mpo", ".tif", ".tiff", ".pbm", ".pgm", ".ppm", ".pnm", ".jp2",
    }
)  # fmt: skip

# As stored, with alpha channel and all bits, but upright: IMREAD_UNCHANGED would ignore the EXIF orientation. No file
# is opened here, so GDAL itself never takes part.
_AS_STORED = cv2.IMREAD_LOAD_GDAL

_STRIP = 256  # rows
LARGEST_PIXEL = 9  # bytes in a file: four channels of 16 bits, and what a format adds

_HEIC_BRANDS = (STILLS | SEQUENCES) - {b"avif", b"avis"}

# An ICC profile (ICC.1:2022, 7.2) for RGB: in print, colours are CMYK, and decoded to RGB they need another one.
_RGB_PROFILE = re.compile(rb".{16}RGB .{16}acsp", re.DOTALL)
_PROFILED = {".jpg", ".jpeg", ".png", ".webp"}  # in which OpenCV writes profiles

_LARGEST_SIDES = {".jpg": 65500, ".jpeg": 65500, ".webp": 16383}  # that a format can store


class Picture(NamedTuple):
    """A decoded picture.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        profile: the ICC profile of its colours, as phones write it; None where the file has none for RGB.
    """

    image: npt.NDArray[np.uint8]
    profile: bytes | None


def decode_image(content: bytes, name: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Decode an encoded picture to (H, W, 3) uint8 RGB, as `decode_picture` does."""
    return decode_picture(content, name).image


def decode_picture(content: bytes, name: str | os.PathLike[str]) -> Picture:
    """Decode an encoded picture; `name` is its name in error messages.

    The EXIF orientation is applied, grey becomes RGB and 16 bits become 8. In every format transparent pixels are laid
    over white: the colour stored below full transparency is arbitrary and often black. Colours stay those of the
    file's profile.

    Raises:
        DataError: `content` is not a picture, ends early, or has more pixels than the limit (`srn.media.limits`).
        MemoryError: the picture does not fit into what is left of the memory.
    """
    size, tiff = stated_size(content), tiff_facts(content)
    image, profile = (None, None) if size is None else _decode(content, name, size, tiff.fault)
    if image is None and is_iso_media(content) and content[8:12] in _HEIC_BRANDS:
        image, profile = _decode_heic(content, name, known_size=size is not None)
    if image is None or image.dtype not in (np.uint8, np.uint16):
        found = f"{len(content)} bytes that do not decode to one" if image is None else f"values of {image.dtype}"
        if image is None and VIDEO.head.match(content) and content[8:12] not in _HEIC_BRANDS | {b"avif"}:
            found = "a video: see srn track"
        raise DataError.at(name, "a picture (JPEG, PNG, WebP, ...)", found)
    image = _as_stated(image, content, tiff)
    profile = profile or tiff.profile or stated_profile(content)  # OpenCV reads neither TIFF's nor AVIF's
    if profile is not None and not _RGB_PROFILE.match(profile):
        profile = None
    if image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8:
        for top in range(0, len(image), _STRIP):  # in place: a second copy of a large picture takes much memory
            strip = image[top : top + _STRIP]
            strip[:] = cv2.cvtColor(strip, cv2.COLOR_BGR2RGB)
        return Picture(image.astype(np.uint8, copy=False), profile)
    return Picture(opaque_rgb(image, multiplied=tiff.is_multiplied), profile)


_Stored = tuple[npt.NDArray[Any] | None, bytes | None]
"""Grey, BGR or BGRA as a decoder gives it, upright, and the profile of its colours; None for what there is not."""


def _decode(content: bytes, name: str | os.PathLike[str], size: tuple[int, int], fault: str | None) -> _Stored:
    """Decode a picture of a known size by OpenCV, unless it has a fault."""
    check_pixels(name, *size)
    if fault is not None:
        raise DataError.at(name, "a picture that OpenCV reads: save it as PNG", fault)
    flags = cv2.IMREAD_COLOR if content[:2] == b"\xff\xd8" else _AS_STORED  # a JPEG has no transparency
    if is_avif := is_iso_media(content):  # of these OpenCV reads no other
        flags |= cv2.IMREAD_IGNORE_ORIENTATION  # it has its own, which OpenCV does not read
    if content[:2] in (b"P1", b"P2", b"P3"):
        content += b"\n"  # OpenCV looks beyond the last number
    try:
        # By name: OpenCV 4 and 5 have the arguments in different orders. Their types leave out the None of a failure.
        decoded: Any = cv2.imdecodeWithMetadata(np.frombuffer(content, np.uint8), flags=flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise MemoryError(f"{name}: no memory for {size[0]} x {size[1]} pixels") from error
        return None, None
    image, kinds, parts = decoded
    if image is not None and is_avif:
        quarters, mirrored = stated_turn(content)
        image = np.rot90(image, quarters)
        image = np.ascontiguousarray(image if mirrored is None else np.flip(image, mirrored))
    profiles = [np.asarray(part) for kind, part in zip(kinds, parts, strict=True) if kind == cv2.IMAGE_METADATA_ICCP]
    return image, profiles[0].tobytes() if profiles else None


def _as_stated(image: npt.NDArray[Any], content: bytes, tiff: TiffFacts) -> npt.NDArray[Any]:
    """Mend what OpenCV leaves: white that is not the largest number, negatives, what is transparent and what is not."""
    if (white := stated_white(content)) is not None:
        largest = 255 if image.dtype == np.uint8 else 65535
        image = np.minimum(np.round(np.arange(largest + 1) * (largest / white)), largest).astype(image.dtype)[image]
    if image.dtype == np.uint16 and tiff.is_negative:
        image = 65535 - image
    if (grey := transparent_grey(content)) is not None and image.ndim == 2:
        image[image == grey] = np.iinfo(image.dtype).max
    if image.ndim == 3 and image.shape[2] == 4 and tiff.has_unknown_channel:
        image = np.ascontiguousarray(image[:, :, :3])
    return image


def _decode_heic(content: bytes, name: str | os.PathLike[str], *, known_size: bool) -> _Stored:
    """Decode a HEIC picture by an optional package; nothing if its size is not known."""
    try:
        import pillow_heif
    except ImportError as error:
        hint = "a picture that OpenCV can read, or pillow-heif: pip install 'srn[heic]'"
        raise DataError.at(name, hint, "a HEIC picture without pillow-heif") from error
    if not known_size:
        return None, None
    with DataError.reading(name, "a HEIC picture"):
        picture = pillow_heif.open_heif(content, convert_hdr_to_8bit=True)
        pixels = np.asarray(picture)  # its memory: older versions free that with the picture
        image = cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR)
        return image, picture.info.get("icc_profile")


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
    for top in range(0, len(image), _STRIP):  # floating-point numbers take much memory
        strip = rgb[top : top + _STRIP]
        alpha = image[top : top + _STRIP, :, 3:].astype(np.float32) / np.iinfo(image.dtype).max
        shown = strip if multiplied else strip * alpha
        strip[:] = np.round(np.minimum(shown + 255 * (1 - alpha), 255))
    return rgb


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read a picture file as `decode_image` does; of an animation or of several pages the first picture.

    Warns:
        UserWarning: the file holds further pictures.

    Raises:
        InputError: it is no path.
        DataError: the file is missing, is a device or a pipe, or is not a picture.
        MemoryError: as in `decode_image`.
    """
    if not isinstance(path, str | os.PathLike):
        raise InputError.at("picture", "the path of a file", shown(path))
    content = read_encoded(path)
    image = decode_image(content, path)
    if (count := stated_count(content)) > 1:
        warnings.warn(told_count(count, path), stacklevel=2)
    return image


def read_encoded(path: str | os.PathLike[str]) -> bytes:
    """Read a picture file without decoding it.

    Raises:
        DataError: the file is missing, or is a device or a pipe.
    """
    expected = "a readable picture file"
    with DataError.reading(path, expected):
        if not Path(path).is_dir() and not stat.S_ISREG(os.stat(path).st_mode):
            raise DataError.at(path, expected, "a device or a pipe")
        return read_limited(path, least=LARGEST_PIXEL * limit("SRN_MAX_PIXELS"))


def decoded_bytes(content: bytes) -> int:
    """Return the bytes that an encoded picture takes as (H, W, 3) uint8; 0 if its header does not state a size."""
    size = stated_size(content)
    return 0 if size is None else 3 * size[0] * size[1]


def encode_image(
    image: npt.NDArray[np.uint8], suffix: str, quality: int = 92, *, profile: bytes | None = None
) -> bytes:
    """Encode a picture (H, W, 3) uint8 RGB in the format of a file suffix.

    `quality` is that of a JPEG, 0 to 100. A JPEG, a PNG and a WebP get the `profile` of the colours (`Picture`) unless
    it is damaged.

    Raises:
        DataError: OpenCV cannot write that format, or the picture is too large for it.
    """
    largest, side = _LARGEST_SIDES.get(suffix.lower()), max(image.shape[:2])
    if largest is not None and side > largest:
        raise DataError.at(f"picture file {suffix!r}", f"sides of at most {largest} pixels", str(side))
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix.lower() in {".jpg", ".jpeg"} else []
    pixels, done = cv2.cvtColor(image, cv2.COLOR_RGB2BGR), False
    if profile is not None and suffix.lower() in _PROFILED:
        kept = [cv2.IMAGE_METADATA_ICCP], [np.frombuffer(profile, np.uint8)]
        done, buffer = cv2.imencodeWithMetadata(suffix, pixels, *kept, options)  # a PNG is not for a damaged profile
    if not done:
        with contextlib.suppress(cv2.error):
            done, buffer = cv2.imencode(suffix, pixels, options)
    if not done:
        raise DataError.at(f"picture file {suffix!r}", "a format that OpenCV can write (.jpg, .png, ...)", "another")
    return buffer.tobytes()


def write_image(path: str | os.PathLike[str], image: npt.NDArray[np.uint8], quality: int = 92) -> None:
    """Write a picture (H, W, 3) uint8 RGB; the suffix of the file chooses the format, PNG where it has none."""
    write_atomically(path, encode_image(image, Path(path).suffix or ".png", quality))

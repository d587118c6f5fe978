"""Read and write pictures: any format that OpenCV knows <-> (H, W, 3) uint8 RGB, upright."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from srn.errors import DataError
from srn.files import write_atomically

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".pgm", ".ppm", ".jp2"})

# As stored, with alpha channel and all bits, but upright: IMREAD_UNCHANGED would ignore the EXIF orientation. No file
# is opened here, so GDAL itself never takes part.
_WITH_ALPHA = cv2.IMREAD_LOAD_GDAL


def decode_image(content: bytes, name: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Decode an encoded picture to (H, W, 3) uint8 RGB; `name` is its name in error messages.

    The EXIF orientation is applied, grey becomes RGB and 16 bits become 8. Transparent pixels are laid over white: the
    colour stored below full transparency is arbitrary and often black.

    Raises:
        DataError: `content` is not a picture.
    """
    may_have_alpha = content[:4] == b"\x89PNG" or content[8:12] == b"WEBP"
    flags = _WITH_ALPHA if may_have_alpha else cv2.IMREAD_COLOR
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), flags) if content else None
    except cv2.error:  # e.g. a header that promises more pixels than OpenCV takes
        image = None
    if image is None:
        raise DataError.at(name, "a picture (JPEG, PNG, WebP, ...)", f"{len(content)} bytes that do not decode to one")
    return opaque_rgb(image)


def opaque_rgb(image: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Convert grey (H, W), BGR or BGRA of 8 or 16 bits to (H, W, 3) uint8 RGB, composited over white."""
    color = (image >> 8 if image.dtype == np.uint16 else image).astype(np.uint8, copy=False)
    if image.ndim == 2:
        return cv2.cvtColor(color, cv2.COLOR_GRAY2RGB).astype(np.uint8, copy=False)
    rgb = cv2.cvtColor(color[:, :, :3], cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    if image.shape[2] == 3:
        return rgb
    alpha = image[:, :, 3:].astype(np.float32) / np.iinfo(image.dtype).max
    return np.round(rgb * alpha + 255 * (1 - alpha)).astype(np.uint8)


def read_image(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read a picture file as `decode_image` does.

    Raises:
        DataError: the file is missing or is not a picture.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise DataError.at(path, "a readable picture file", error.strerror or "an error") from error
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

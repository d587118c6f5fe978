"""Reading pictures: any format that OpenCV knows -> (H, W, 3) uint8 RGB, upright."""

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


def decode_image(content: bytes, name: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Decode an encoded picture to (H, W, 3) uint8 RGB.

    EXIF orientation is applied, grey becomes RGB, 16 bits become 8, and transparent pixels are laid over white
    (the colour hidden below full transparency is arbitrary and often black).

    Raises:
        DataError: `content` is not a picture; `name` is what the message calls it.
    """
    buffer = np.frombuffer(content, np.uint8)
    try:
        image = cv2.imdecode(buffer, cv2.IMREAD_COLOR) if len(buffer) else None
    except cv2.error:  # e.g. a header that promises more pixels than OpenCV takes
        image = None
    if image is None:
        raise DataError.at(name, "a picture (JPEG, PNG, WebP, ...)", f"{len(content)} bytes that do not decode to one")
    if content[:4] == b"\x89PNG" or content[8:12] == b"WEBP":  # the formats that carry an alpha channel
        raw = cv2.imdecode(buffer, cv2.IMREAD_UNCHANGED)
        if raw is not None and raw.ndim == 3 and raw.shape[2] == 4:
            raw = _upright_as(image, raw)
            alpha = raw[:, :, 3:].astype(np.float32) / (65535 if raw.dtype == np.uint16 else 255)
            image = np.round(image * alpha + 255 * (1 - alpha)).astype(np.uint8)
    rgb: npt.NDArray[np.uint8] = cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    return rgb


def _upright_as(image: npt.NDArray[Any], raw: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`raw` (h, w, 4), which OpenCV gives as it is stored, turned as EXIF data turned `image` (H, W, 3)."""
    for turns in range(4):
        for flip in (1, -1):
            turned = np.rot90(raw, turns)[:, ::flip]
            if turned.shape[:2] == image.shape[:2]:
                color = turned[:, :, :3] >> (8 if raw.dtype == np.uint16 else 0)
                if np.abs(color.astype(np.int16) - image).max() <= 1:  # 16 bits may be rounded or cut off
                    return turned
    return np.full((*image.shape[:2], 4), np.iinfo(raw.dtype).max, raw.dtype)  # not the same picture: opaque


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
    """Encode (H, W, 3) uint8 RGB in the format that `suffix` (`.jpg`, `.png`, ...) names."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if suffix.lower() in {".jpg", ".jpeg"} else []
    try:
        done, buffer = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), options)
    except cv2.error:
        done = False
    if not done:
        raise DataError.at(f"picture file {suffix!r}", "a format that OpenCV can write (.jpg, .png, ...)", "another")
    return buffer.tobytes()


def write_image(path: str | os.PathLike[str], image: npt.NDArray[np.uint8], quality: int = 92) -> None:
    """Write (H, W, 3) uint8 RGB; the format follows the file's suffix."""
    write_atomically(path, encode_image(image, Path(path).suffix or ".png", quality))

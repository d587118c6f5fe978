"""TIFF pictures that OpenCV reads otherwise than they are, without a word."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import DataError
from srn.media.pictures import decode_image

Picture = npt.NDArray[np.uint8]


@pytest.fixture
def noise(rng: np.random.Generator) -> Picture:
    return rng.integers(0, 256, (12, 20, 4), dtype=np.uint8)


def tiff(pixels: npt.NDArray[np.unsignedinteger[Any]], **tags: int) -> bytes:
    """A TIFF picture without compression, of one strip or of a plane for each colour, its header first."""
    height, width, channels = pixels.shape
    planes = channels if tags.get("planes") == 2 else 1
    data = (pixels.transpose(2, 0, 1) if planes > 1 else pixels).tobytes()
    values = {256: [width], 257: [height], 258: [8 * pixels.itemsize] * channels, 259: [tags.get("compression", 1)],
              262: [2], 273: [0] * planes, 277: [channels], 278: [height], 279: [len(data) // planes] * planes,
              284: [tags.get("planes", 1)]} | ({338: [tags["extra"]]} if "extra" in tags else {})  # fmt: skip
    behind = 8 + 2 + 12 * len(values) + 4
    begin = behind + sum(4 * len(value) for value in values.values())
    values[273] = [begin + plane * len(data) // planes for plane in range(planes)]
    entries, rest = b"", b""
    for tag, value in values.items():
        packed = struct.pack(f"<{len(value)}I", *value)
        entries += struct.pack("<HHI", tag, 4, len(value))
        entries += packed if len(value) == 1 else struct.pack("<I", behind + len(rest))
        rest += packed if len(value) > 1 else b""
    header = b"II*\0" + struct.pack("<IH", 8, len(values)) + entries + bytes(4) + rest
    return header.ljust(begin, b"\0") + data


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_the_fourth_channel_of_a_tiff_is_what_it_is_called(noise: Picture, kind: type[np.unsignedinteger[Any]]) -> None:
    """0: not told, so no opacity; 1: an opacity that the colours are multiplied by; 2: one that they are not."""
    scale = np.iinfo(kind).max // 255
    alpha = noise[..., 3:] / 255
    straight = noise[..., :3] * alpha + 255 * (1 - alpha)
    multiplied = noise.copy()
    multiplied[..., :3] = np.round(noise[..., :3] * alpha)
    for extra, picture, expected in ((0, noise, noise[..., :3]), (1, multiplied, straight), (2, noise, straight)):
        content = tiff(picture.astype(kind) * kind(scale), extra=extra)
        np.testing.assert_allclose(decode_image(content, "picture"), expected, atol=2)


def test_planes_of_a_tiff(noise: Picture) -> None:
    """OpenCV takes planes of 16 bits for rows of pixels, and misses no plane of 8 bits that is not there."""
    color = np.ascontiguousarray(noise[..., :3])
    whole = tiff(color, planes=2)
    np.testing.assert_array_equal(decode_image(whole, "planes"), color)
    with pytest.raises(DataError, match=r"^cut: .* do not decode to one$"):
        decode_image(whole[:-100], "cut")
    with pytest.raises(DataError, match=r"^deep: .* save it as PNG, found .* a plane of 16 bits for each colour$"):
        decode_image(tiff(color.astype(np.uint16), planes=2), "deep")


@pytest.mark.parametrize("compression", [34712, 34892, 50002])
def test_a_compression_that_opencv_does_not_know_is_named(noise: Picture, compression: int) -> None:
    """JPEG 2000, that of DNG, and JPEG XL, as TIFF calls them: OpenCV returns black."""
    with pytest.raises(DataError, match=f"save it as PNG, found a TIFF picture of compression {compression}$"):
        decode_image(tiff(noise[..., :3], compression=compression), "black.tif")

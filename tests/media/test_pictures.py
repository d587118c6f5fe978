"""Reading pictures: orientations, channels, depths, transparency, and files that are none."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageCms, features  # comes with Matplotlib: pictures written by somebody else than OpenCV

from srn.errors import DataError, InputError
from srn.media.picture_header import stated_size
from srn.media.pictures import (
    IMAGE_SUFFIXES,
    decode_image,
    decode_picture,
    encode_image,
    read_image,
    write_image,
)

Picture = npt.NDArray[np.uint8]

# How a stored picture is shown, by its EXIF orientation (CIPA DC-008, tag 0x0112).
ORIENTATIONS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a.swapaxes(0, 1)[:, ::-1],
    7: lambda a: a.swapaxes(0, 1)[::-1, ::-1],
    8: lambda a: a.swapaxes(0, 1)[::-1],
}


def stored(array: npt.NDArray[np.integer], kind: str, orientation: int | None = None, **options: object) -> bytes:
    stream = io.BytesIO()
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(array).save(stream, kind, exif=exif, **options)
    return stream.getvalue()


def over_white(rgba: npt.NDArray[np.integer], top: float = 255) -> npt.NDArray[np.float64]:
    """By the definition: color * alpha + white * (1 - alpha)."""
    alpha = rgba[..., 3:] / top
    return rgba[..., :3] * (255 / top) * alpha + 255 * (1 - alpha)


@pytest.fixture
def noise(rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    return rng.integers(0, 256, (12, 20, 4), dtype=np.uint8)


@pytest.mark.parametrize("kind", ["JPEG", "AVIF"])  # Pillow turns the EXIF orientation into AVIF's own
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_orientation_of_a_photo(orientation: int, kind: str) -> None:
    if not cv2.haveImageWriter(f".{kind.lower()}"):  # built with its reader, which is asked about files alone
        pytest.skip(f"this OpenCV reads no {kind}")
    blocks = np.zeros((2, 3, 3), np.uint8)
    blocks[0, 0], blocks[0, 2], blocks[1, 0] = (250, 20, 20), (20, 250, 20), (20, 20, 250)
    photo = blocks.repeat(16, axis=0).repeat(16, axis=1)
    decoded = decode_image(
        stored(photo, kind, orientation, quality=98, subsampling="4:4:4" if kind == "AVIF" else 0), "photo"
    )
    expected = ORIENTATIONS[orientation](photo)
    assert decoded.shape == expected.shape
    assert np.abs(decoded.astype(int) - expected).max() < 12


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("size", [(12, 20), (12, 12)], ids=["oblong", "square"])
def test_exif_orientation_turns_transparency_along(noise: Picture, orientation: int, size: tuple[int, int]) -> None:
    picture = np.ascontiguousarray(noise[: size[0], : size[1]])
    decoded = decode_image(stored(picture, "PNG", orientation), "picture")
    expected = over_white(ORIENTATIONS[orientation](picture))
    assert decoded.shape == expected.shape
    np.testing.assert_allclose(decoded, expected, atol=0.51)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
     ("JPEG2000", {"irreversible": False})],
)  # fmt: skip
def test_transparent_pixels_lie_over_white(noise: Picture, kind: str, options: dict[str, Any]) -> None:
    noise[0, :5, 3], noise[1, :5, 3] = 0, 255
    decoded = decode_image(stored(noise, kind, **options), "picture")
    np.testing.assert_allclose(decoded, over_white(noise), atol=1.01 if kind == "TIFF" else 0.51)
    assert (decoded[0, :5] == 255).all()
    np.testing.assert_array_equal(decoded[1, :5], noise[1, :5, :3])


@pytest.mark.parametrize("kind", ["BMP", "GIF", "AVIF"])
def test_transparent_pixels_of_further_formats_are_white(kind: str) -> None:
    rgba = np.full((24, 32, 4), (200, 30, 40, 255), np.uint8)
    rgba[:, :16] = 0
    code = cv2.imencode(".bmp", rgba)[1].tobytes() if kind == "BMP" else stored(rgba, kind)
    if not cv2.haveImageWriter(f".{kind.lower()}"):
        pytest.skip(f"this OpenCV reads no {kind}")
    assert (decode_image(code, "picture")[:, :12] >= 253).all()


def test_grey_with_transparency(noise: Picture) -> None:
    pair = np.ascontiguousarray(noise[..., :2])
    expected = over_white(pair[..., [0, 0, 0, 1]])
    np.testing.assert_allclose(decode_image(stored(pair, "PNG"), "picture"), expected, atol=0.51)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_colors_keep_their_order_and_values(noise: Picture, kind: str) -> None:
    color = np.ascontiguousarray(noise[..., :3])
    options = {"lossless": True} if kind == "WEBP" else {}
    np.testing.assert_array_equal(decode_image(stored(color, kind, **options), "picture"), color)


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF"])
def test_grey_becomes_three_equal_channels(noise: Picture, kind: str) -> None:
    grey = np.ascontiguousarray(noise[..., 0])
    decoded = decode_image(stored(grey, kind), "picture")
    np.testing.assert_array_equal(decoded, np.repeat(grey[..., None], 3, axis=2))


def test_black_and_white_of_one_bit(noise: Picture) -> None:
    stream = io.BytesIO()
    Image.fromarray(noise[..., 0] > 127).save(stream, "PNG")
    expected = np.where(noise[..., :1] > 127, 255, 0).repeat(3, axis=2)
    np.testing.assert_array_equal(decode_image(stream.getvalue(), "picture"), expected)


def test_palette(noise: Picture) -> None:
    colors = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)
    indices = noise[..., 0] % 4
    image = Image.fromarray(indices).convert("P")
    image.putpalette(colors.ravel().tolist())
    plain, transparent = io.BytesIO(), io.BytesIO()
    image.save(plain, "PNG")
    image.save(transparent, "PNG", transparency=0)
    np.testing.assert_array_equal(decode_image(plain.getvalue(), "picture"), colors[indices])
    colors[0] = 255
    np.testing.assert_array_equal(decode_image(transparent.getvalue(), "picture"), colors[indices])


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bits_become_eight(rng: np.random.Generator, suffix: str, channels: int) -> None:
    deep = rng.integers(0, 65536, (12, 20, channels), dtype=np.uint16)
    decoded = decode_image(cv2.imencode(suffix, deep)[1].tobytes(), "picture")
    assert decoded.dtype == np.uint8
    np.testing.assert_allclose(decoded[..., ::-1], np.broadcast_to(deep / 257, decoded.shape), atol=1)


@pytest.mark.parametrize("bits", [10, 12])
def test_avif_of_more_than_eight_bits(bits: int) -> None:
    if not cv2.haveImageWriter(".avif"):
        pytest.skip("this OpenCV writes no AVIF")
    grey = np.linspace(0, 255, 64).astype(np.uint16)[None, :, None].repeat(32, 0).repeat(3, 2)
    options = [cv2.IMWRITE_AVIF_QUALITY, 100, cv2.IMWRITE_AVIF_DEPTH, bits]
    content = cv2.imencode(".avif", grey << (bits - 8), options)[1].tobytes()
    assert np.abs(decode_image(content, "deep").astype(int) - grey).max() < 4


@pytest.mark.parametrize("bits", [10, 12])
def test_jpeg_2000_of_more_than_eight_bits(bits: int) -> None:
    """OpenCV writes 16 bits; with another depth in the header the same numbers count from another middle."""
    grey = np.linspace(0, 255, 64).astype(np.uint16)[None].repeat(32, 0)
    deep = (1 << 15) - (1 << (bits - 1)) + (grey << (bits - 8))
    content = bytearray(cv2.imencode(".jp2", deep, [cv2.IMWRITE_JPEG2000_COMPRESSION_X1000, 1000])[1].tobytes())
    depth = content.index(b"\xff\x4f\xff\x51") + 42
    header = content.index(b"ihdr") + 14
    assert content[depth] == content[header] == 15
    content[depth] = content[header] = bits - 1
    assert np.abs(decode_image(bytes(content), "deep")[..., 0].astype(int) - grey).max() < 3


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_zero_may_be_white_in_a_tiff(rng: np.random.Generator, kind: type[np.unsignedinteger[Any]]) -> None:
    grey = rng.integers(0, np.iinfo(kind).max, (12, 20), dtype=kind, endpoint=True)
    content = cv2.imencode(".tiff", grey)[1].tobytes()
    entry = struct.pack("<HHI", 262, 3, 1)  # what the numbers mean: one value of 16 bits
    assert content.count(entry + b"\1") == 1  # 0 is black
    negative = content.replace(entry + b"\1", entry + b"\0")
    np.testing.assert_array_equal(decode_image(negative, "picture"), 255 - decode_image(content, "picture"))


def test_sixteen_bits_with_transparency(rng: np.random.Generator) -> None:
    deep = rng.integers(0, 65536, (12, 20, 4), dtype=np.uint16)
    decoded = decode_image(cv2.imencode(".png", deep)[1].tobytes(), "picture")
    np.testing.assert_allclose(decoded[..., ::-1], over_white(deep, 65535), atol=1.6)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        stored(np.zeros((64, 64, 3), np.uint8), "JPEG")[:100],
        stored(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8), "PNG")[:5000],
    ],
    ids=["empty", "text", "cut off JPEG", "cut off PNG"],
)
def test_what_is_no_picture_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert str(caught.value) == (
        f"{path}: expected a picture (JPEG, PNG, WebP, ...), found {len(content)} bytes that do not decode to one"
    )


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.png: expected a readable picture file, found No such file"):
        read_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="expected a readable picture file, found Is a directory"):
        read_image(tmp_path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_no_picture_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    for path in (tmp_path / "a.jpg", Path("/dev/zero")):
        with pytest.raises(DataError, match="expected a readable picture file, found a device or a pipe"):
            read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "JPEG2000", "PPM", "GIF", "AVIF"])
def test_the_limit_is_checked_before_decoding(kind: str, noise: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    content = stored(np.ascontiguousarray(noise[..., :3]), kind)
    assert stated_size(content) == (20, 12)
    monkeypatch.setenv("SRN_MAX_PIXELS", "239")
    monkeypatch.setattr(cv2, "imdecodeWithMetadata", None)
    with pytest.raises(DataError, match=r"^big: expected a picture of at most .* \(SRN_MAX_PIXELS .* found 20 x 12$"):
        decode_image(content, "big")


def test_a_bomb_is_refused_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(stored(np.zeros((8, 8, 3), np.uint8), "PNG"))
    content[16:24] = (16000).to_bytes(4, "big") * 2
    with pytest.raises(DataError, match=r"at most 200 million pixels.* found 16000 x 16000"):
        decode_image(bytes(content), "bomb.png")
    monkeypatch.setenv("SRN_MAX_PIXELS", "300000000")
    with pytest.raises(DataError, match="do not decode"):  # the header alone is no picture
        decode_image(bytes(content), "bomb.png")
    monkeypatch.setenv("SRN_MAX_PIXELS", "many")
    with pytest.raises(InputError, match="SRN_MAX_PIXELS: expected a whole number above 0, found 'many'"):
        decode_image(bytes(content), "bomb.png")


def test_a_chunk_that_claims_memory_is_refused_before_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    content = stored(np.zeros((8, 8, 3), np.uint8), "PNG")
    place = content.index(b"IDAT") - 4
    monkeypatch.setattr(cv2, "imdecodeWithMetadata", None)
    with pytest.raises(DataError, match="do not decode"):
        decode_image(content[:place] + b"\xe0\0\0\0" + content[place + 4 :], "bomb.png")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "JPEG2000", "PPM", "GIF", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.7, 0.95])
def test_truncated_pictures_are_named(kind: str, share: float, noise: Picture) -> None:
    content = stored(np.ascontiguousarray(noise[..., :3].repeat(4, 0).repeat(4, 1)), kind)
    with pytest.raises(DataError, match="do not decode to one"):
        decode_image(content[: int(len(content) * share)], "cut")


def test_a_jpeg_needs_its_end_whatever_opencv_says(noise: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenCV before 4.12 fills the missing rest with grey; a thumbnail's end inside the header is not the picture's."""
    color = np.ascontiguousarray(noise[..., :3])
    thumbnail = stored(color, "JPEG")
    whole = stored(color, "JPEG", comment=thumbnail, progressive=True)
    monkeypatch.setattr(cv2, "imdecodeWithMetadata", lambda *_, **__: (color, (), ()))
    assert decode_image(whole + b"behind the end", "whole").shape == color.shape
    with pytest.raises(DataError, match="do not decode"):
        decode_image(whole[:-2], "cut")


@pytest.mark.parametrize("name", ["Gesicht äöü ß.png", "顔.png", "visage 😀 .PNG"])
def test_any_file_name(tmp_path: Path, noise: Picture, name: str) -> None:
    color = np.ascontiguousarray(noise[..., :3])
    write_image(tmp_path / name, color)
    np.testing.assert_array_equal(read_image(tmp_path / name), color)


def test_jpeg_quality_counts(tmp_path: Path, noise: Picture) -> None:
    smooth = cv2.resize(noise[..., :3], (160, 96), interpolation=cv2.INTER_CUBIC).astype(np.uint8)
    sizes, errors = [], []
    for quality in (30, 60, 95):
        path = tmp_path / f"{quality}.jpg"
        write_image(path, smooth, quality)
        sizes.append(path.stat().st_size)
        errors.append(np.abs(read_image(path).astype(int) - smooth).mean())
    assert sizes == sorted(sizes)
    assert errors == sorted(errors, reverse=True)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_the_profile_of_the_colours_is_read(noise: Picture, kind: str) -> None:
    """OpenCV reads those of the first three."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    content = stored(noise[..., :3], kind, icc_profile=SRGB)
    assert decode_picture(content, "a").profile == SRGB
    assert decode_picture(stored(noise[..., :3], kind), "a").profile is None


@pytest.mark.parametrize("length", [0, 1, 1 << 31])
def test_a_profile_of_another_length_costs_no_tiff(noise: Picture, length: int) -> None:
    content = bytearray(stored(noise[..., :3], "TIFF", icc_profile=SRGB))
    struct.pack_into("<I", content, content.index(struct.pack("<HH", 34675, 7)) + 4, length)
    image, profile = decode_picture(bytes(content), "a")
    assert (np.array_equal(image, noise[..., :3]), profile) == (True, None)


@pytest.mark.parametrize("suffix", [".jpg", ".PNG", ".webp"])
def test_the_profile_of_the_colours_is_written(noise: Picture, suffix: str) -> None:
    image = noise[..., :3].copy()
    written = encode_image(image, suffix, profile=SRGB)
    assert Image.open(io.BytesIO(written)).info["icc_profile"] == SRGB
    plain = encode_image(image, suffix)
    assert "icc_profile" not in Image.open(io.BytesIO(plain)).info
    assert np.array_equal(decode_image(written, "a"), decode_image(plain, "a"))


def test_the_profile_of_a_print_does_not_suit_its_rgb(noise: Picture) -> None:
    stream = io.BytesIO()
    profile = SRGB.replace(b"RGB ", b"CMYK", 1)
    Image.fromarray(noise[..., :3]).convert("CMYK").save(stream, "JPEG", icc_profile=profile)
    assert Image.open(stream).info["icc_profile"] == profile
    assert decode_picture(stream.getvalue(), "a").profile is None


@pytest.mark.parametrize("end", [0, 4, -9, 200])  # a profile tells the second in which it was made: not in a name
def test_a_damaged_profile_costs_no_picture(noise: Picture, end: int) -> None:
    written = encode_image(noise[..., :3], ".png", profile=SRGB[:end])
    assert np.array_equal(decode_image(written, "a"), noise[..., :3])


def test_a_format_that_cannot_be_written() -> None:
    with pytest.raises(DataError, match=r"'\.xyz': expected a format that OpenCV can write"):
        encode_image(np.zeros((4, 4, 3), np.uint8), ".xyz")


@pytest.mark.parametrize("suffix", [".gif", ".avif", ".jpe", ".jfif", ".pnm", ".mpo", ".apng"])
def test_further_suffixes_of_pictures(tmp_path: Path, noise: Picture, suffix: str) -> None:
    encoded = {".jpe": ".jpg", ".jfif": ".jpg", ".mpo": ".jpg", ".pnm": ".ppm", ".apng": ".png"}.get(suffix, suffix)
    path = tmp_path / f"a{suffix}"
    try:
        path.write_bytes(encode_image(noise[..., :3], encoded))
    except DataError:
        pytest.skip(f"this OpenCV writes no {encoded}")
    assert suffix in IMAGE_SUFFIXES
    assert read_image(path).shape == noise.shape[:2] + (3,)


def test_heic_without_its_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DataError, match=r"a\.heic: expected .* pip install 'srn\[heic\]', found a HEIC picture"):
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.heic")


def test_heic_with_its_package() -> None:
    heif = pytest.importorskip("pillow_heif")
    stream = io.BytesIO()
    plain = np.tile(np.array([200, 100, 50], np.uint8), (64, 96, 1))
    picture = heif.from_bytes("RGB", (96, 64), plain.tobytes())
    picture.info["icc_profile"] = SRGB
    picture.save(stream)
    decoded, profile = decode_picture(stream.getvalue(), "a.heic")
    assert profile == SRGB
    assert decoded.shape == plain.shape
    assert np.abs(decoded.astype(int) - plain).max() < 6


def test_a_side_that_a_format_cannot_store() -> None:
    with pytest.raises(DataError, match="sides of at most 65500 pixels, found 65501"):
        encode_image(np.zeros((1, 65501, 3), np.uint8), ".jpg")


@pytest.mark.parametrize("head", [b"\0\0\0\x18ftypisom", b"\x1aE\xdf\xa3", b"RIFF\0\0\0\0AVI "])
def test_a_video_is_called_one(head: bytes) -> None:
    with pytest.raises(DataError, match=r"a\.mp4: expected a picture .* found a video: see srn track$"):
        decode_image(head + bytes(100), "a.mp4")


@pytest.mark.parametrize("white", [1, 100, 255, 1000, 65535])
@pytest.mark.parametrize("text", [False, True], ids=["bytes", "text"])
def test_white_is_what_a_pnm_picture_says(white: int, text: bool) -> None:
    """OpenCV takes 100 of 100 for a dark grey."""
    values = np.array([0, white // 2, white]).astype(">u2" if white > 255 else np.uint8)
    head = f"{'P2' if text else 'P5'}\n# made by hand\n3 1\n{white}\n".encode()
    content = head + (" ".join(map(str, values.tolist())).encode() if text else values.tobytes())
    np.testing.assert_allclose(decode_image(content, "a.pgm")[0, :, 1], values / white * 255, atol=1.1)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_transparent_grey_of_a_png_is_white(depth: int) -> None:
    """As in every other format (OpenCV leaves it)."""
    top = (1 << depth) - 1
    greys = [0, top, top // 2, 0, 0, 0, 0, 0]
    bits = "".join(f"{grey:0{depth}b}" for grey in greys)
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    chunks = {
        b"IHDR": struct.pack(">IIBBBBB", len(greys), 1, depth, 0, 0, 0, 0),
        b"tRNS": struct.pack(">H", 0),
        b"IDAT": zlib.compress(row),
        b"IEND": b"",
    }
    content = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks.items()
    )
    expected = [255 if grey == 0 else grey * 255 / top for grey in greys]
    np.testing.assert_allclose(decode_image(content, "a.png")[0, :, 0], expected, atol=1)

"""How many pictures a file states, against what Pillow wrote into it; what it costs; and how it is told."""

from __future__ import annotations

import struct
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from srn.errors import DataError
from srn.media.picture_count import MOST_PARTS, is_still, stated_count, told_count
from srn.media.picture_header import stated_size
from srn.media.pictures import encode_image, read_image
from srn.media.video_reading import PyAvReader, open_video

Image = pytest.importorskip("PIL.Image", reason="Pillow makes the test files")
features = pytest.importorskip("PIL.features")

SIZE = (96, 64)
MANY = 200_000
ENDLESS = {
    "short blocks of a GIF": (b"GIF89a" + b"\0" * 7 + b"\x21\xf9" + b"\x01\0" * MANY, 1),
    "long blocks of a GIF": (b"GIF89a" + b"\0" * 7 + b"\x2c" + b"\0" * 10 + (b"\xff" * 256) * (MANY // 4), 1),
    "pictures of a GIF": (b"GIF89a" + b"\0" * 7 + (b"\x2c" + b"\0" * 11) * MANY, MOST_PARTS),
    "frames of a WebP": (b"RIFF\0\0\0\0WEBP" + b"ANMF\0\0\0\0" * MANY, MOST_PARTS),
    "frames of a PNG": (b"\x89PNG\r\n\x1a\n\0\0\0\0acTL\0\0\0\0" + b"\0\0\0\0fcTL\0\0\0\0" * MANY, MOST_PARTS - 1),
    "entries of a TIFF": (b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 12 * 65535 + b"\x08\0\0\0", 1),
    "a circle of pages": (b"II*\0\x08\0\0\0" + b"\0\0\x08\0\0\0", 1),
    "a page beyond all files": (b"II+\0\x08\0\0\0" + b"\xff" * 8 + b"\0" * 100, 1),
    "samples that an AVIF has no bytes for": (b"\0\0\0\x14ftypavis\0\0\0\0avisstsz" + b"\0" * 8 + b"\xff" * 4, 1),
    "tracks of an AVIF": (b"\0\0\0\x14ftypavis\0\0\0\0avis" + b"stsz\0\0\0\0\0\0\0\0\0\0\0\x05" * MANY, 5),
}


def animation(path: Path, count: int, **options: Any) -> Path:
    if path.suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow writes no AVIF")
    pictures = [Image.fromarray(np.full((*SIZE[::-1], 3), 40 + 30 * k, np.uint8)) for k in range(count)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **options)
    return path


@pytest.mark.parametrize("count", [1, 2, 6])
@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif", ".tif"])
def test_the_count_is_that_of_the_writer(tmp_path: Path, suffix: str, count: int) -> None:
    content = animation(tmp_path / f"a{suffix}", count).read_bytes()
    assert stated_count(content) == count
    assert stated_size(content) == SIZE
    assert 1 <= stated_count(content[: len(content) // 2]) <= count  # cut off


def test_a_picture_that_is_no_part_of_its_animation_counts(tmp_path: Path) -> None:
    assert stated_count(animation(tmp_path / "a.png", 4, default_image=True).read_bytes()) == 4


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tiff", ".bmp", ".ppm"])
def test_single_pictures(suffix: str) -> None:
    assert stated_count(encode_image(np.zeros((20, 30, 3), np.uint8), suffix)) == 1


def test_what_a_telephone_puts_behind_a_picture_is_no_further_one(tmp_path: Path) -> None:
    animation(tmp_path / "a.mpo", 2)
    (tmp_path / "a.mpo").rename(tmp_path / "a.jpg")
    assert stated_count((tmp_path / "a.jpg").read_bytes()) == 1
    read_image(tmp_path / "a.jpg")  # without a warning, which would be an error


def test_thumbnails_and_masks_of_a_tiff_are_no_pages(tmp_path: Path) -> None:
    content = animation(tmp_path / "a.tif", 3).read_bytes()
    place, pages = struct.unpack_from("<I", content, 4)[0], bytearray(content)
    for kind in (0, 1, 4):  # NewSubfileType of each page, in the place of its first entry
        struct.pack_into("<HHII", pages, place + 2, 254, 4, 1, kind)
        place = struct.unpack_from("<I", pages, place + 2 + 12 * struct.unpack_from("<H", pages, place)[0])[0]
    assert stated_count(bytes(pages)) == 1


@pytest.mark.parametrize(("content", "count"), ENDLESS.values(), ids=ENDLESS)
def test_the_cost_is_bounded(content: bytes, count: int) -> None:
    begin = time.process_time()
    assert stated_count(content) == count
    assert time.process_time() - begin < 5


@pytest.mark.parametrize("suffix", [".gif", ".png", ".webp", ".avif", ".tif"])
def test_a_file_of_several_pictures_is_told_once_and_its_first_is_read(tmp_path: Path, suffix: str) -> None:
    path = animation(tmp_path / f"a{suffix}", 3)
    with pytest.warns(UserWarning, match=r"a\.\w+: holds 3 pictures, and only the first is read: ") as told:
        assert abs(int(read_image(path)[5, 5, 0]) - 40) < 3
    assert [str(one.message) for one in told] == [told_count(3, path)]
    assert ("srn track" in told_count(3, path)) == (suffix != ".tif")


@pytest.mark.parametrize("suffix", [".gif", ".png", ".avif"])
def test_the_animations_that_are_said_to_be_read_as_videos_are(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("av")
    reader = open_video(animation(tmp_path / f"a{suffix}", 4, duration=100))
    assert isinstance(reader, PyAvReader)
    frames = list(reader)
    reader.close()
    assert [round((int(frame.image[5, 5, 0]) - 40) / 30) for frame in frames] == [0, 1, 2, 3]
    np.testing.assert_allclose([frame.time_s for frame in frames], [0, 0.1, 0.2, 0.3], atol=1e-3)


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_an_animation_that_is_cut_off_gives_what_it_has_and_one_line(tmp_path: Path, suffix: str) -> None:
    pytest.importorskip("av")
    path = animation(tmp_path / f"a{suffix}", 4)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    reader, frames = open_video(path), list[int]()
    with pytest.raises(DataError, match=r"a\.\w+: expected an animation with its end, found [123] frames: .* cut off$"):
        frames.extend(frame.number for frame in reader)
    reader.close()
    assert frames == list(range(len(frames)))
    assert len(frames) in (1, 2, 3)  # FFmpeg's versions differ


def test_frames_of_an_animation_lie_over_white(tmp_path: Path) -> None:
    pytest.importorskip("av")
    pixels = np.zeros((64, 96, 4), np.uint8)
    pixels[10:40, 10:40] = (200, 30, 30, 255)
    pictures = [Image.fromarray(np.roll(pixels, k, axis=1)) for k in (0, 20)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], disposal=2)
    with pytest.warns(UserWarning, match="holds 2"):
        first = read_image(tmp_path / "a.gif")
    reader = open_video(tmp_path / "a.gif")
    images = [frame.image for frame in reader]
    reader.close()
    np.testing.assert_array_equal(images[0], first)
    assert images[1][60, 90].tolist() == images[1][20, 12].tolist() == [255, 255, 255]


def test_an_animated_webp_is_no_video_that_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found an animated WebP, which FFmpeg does not read: save it as a GIF"):
        open_video(animation(tmp_path / "a.webp", 3))
    cv2.imwrite(str(tmp_path / "b.webp"), np.zeros((20, 30, 3), np.uint8))
    with pytest.raises(DataError, match="found a picture: see srn detect"):
        open_video(tmp_path / "b.webp")


def test_a_still_of_a_format_that_is_stored_as_a_video_is_a_picture(tmp_path: Path) -> None:
    """It was tracked as a video of one frame."""
    single, several = (animation(tmp_path / f"{count}.avif", count).read_bytes() for count in (1, 3))
    (tmp_path / "a.heic").write_bytes(single.replace(b"avif", b"heic"))
    for path in (tmp_path / "1.avif", tmp_path / "a.heic"):
        with pytest.raises(DataError, match="found a picture: see srn detect"):
            open_video(path)
    assert [is_still(content[:400]) for content in (single, several, b"\0\0\0\x14ftypisom", b"")] == [
        True,
        *[False] * 3,
    ]

"""The size in a picture's header: what it costs to read, whatever the bytes are."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

from srn.media.picture_header import stated_size

FRAME = b"\xc0\0\x0b\x08\0\x01\0\x01\x01\x01\x01\0"
HUGE = 2_000_000

ENDLESS = {
    "fill bytes of a JPEG": b"\xff\xd8\xff" + b"\xff" * 60_000,
    "segments of a JPEG": b"\xff\xd8" + b"\xff\xfe\0\2" * (HUGE // 4),
    "frames of a JPEG": b"\xff\xd8" + b"\xff" + (FRAME + b"\xff") * 100_001 + b"\xd9",
    "sizes of an AVIF": b"\0\0\0\x10ftypavif" + b"ispe" * (HUGE // 4),
    "sizes of a JPEG 2000": b"\xff\x4f\xff\x51" * (HUGE // 4),
    "spaces of a PNM": b"P6" + b" " * HUGE,
    "comments of a PNM": b"P6" + b"#\n" * (HUGE // 2),
    "chunks of a PNG": b"\x89PNG\r\n\x1a\n" + b"\0" * HUGE,
    "a directory beyond all files": b"II+\0\x08\0\0\0" + b"\xff" * 100,
}


@pytest.mark.parametrize("content", ENDLESS.values(), ids=ENDLESS)
def test_the_cost_grows_no_faster_than_the_file(content: bytes) -> None:
    """These are no pictures. One pass takes a fraction of a second; one from every byte took minutes."""
    begin = time.process_time()
    assert stated_size(content) is None
    assert time.process_time() - begin < 5


def test_fill_bytes_and_data_before_a_marker() -> None:
    """A JPEG may hold any number of FF before a marker, and FF 00 and restarts in its data."""
    encoded = cv2.imencode(".jpg", np.zeros((30, 50, 3), np.uint8))[1].tobytes()
    filled = b"\xff\xd8" + b"\xff" * 1000 + b"\xfe\0\4\xff\0" + b"\xff" * 9 + encoded[3:]
    data = b"\xff\0\xff\xff\0\xff\xd3\0" * 1000
    assert stated_size(filled) == (50, 30)
    assert stated_size(filled[:-2] + data + b"\xff\xff\xd9") == (50, 30)
    assert stated_size(filled[:-2] + data) is None  # no end


@pytest.mark.parametrize(("scans", "size"), [(1, (50, 30)), (500, (50, 30)), (501, None)])
def test_a_jpeg_of_more_scans_than_any_encoder_writes_is_refused(scans: int, size: tuple[int, int] | None) -> None:
    """A file of a few kilobytes would keep the decoder busy for minutes."""
    encoded = cv2.imencode(".jpg", np.zeros((30, 50, 3), np.uint8))[1].tobytes()
    begin = encoded.index(b"\xff\xda")
    assert stated_size(encoded[:begin] + encoded[begin:-2] * scans + encoded[-2:]) == size


def test_the_largest_of_many_sizes_counts() -> None:
    """A later frame of a JPEG may be larger than the first."""
    small, large = (FRAME.replace(b"\0\x01\0\x01", size) for size in (b"\0\x01\0\x02", b"\x01\0\x01\0"))
    assert stated_size(b"\xff\xd8\xff" + small + b"\xff" + large + b"\xff\xd9") == (256, 256)

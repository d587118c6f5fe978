"""Pictures in every form that is accepted give the same array; everything else is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image  # comes with Matplotlib

from srn.errors import DataError, InputError
from srn.inference.inputs import Channels, as_image
from srn.media.pictures import read_image, write_image

Picture = npt.NDArray[np.uint8]


@pytest.fixture
def picture(rng: np.random.Generator) -> Picture:
    return rng.integers(0, 256, (5, 7, 3), dtype=np.uint8)


def with_alpha(picture: Picture, alpha: int) -> Picture:
    return np.dstack([picture, np.full(picture.shape[:2], alpha, np.uint8)])


def test_rgb_is_handed_through(picture: Picture) -> None:
    assert as_image(picture) is picture


def test_channel_orders(picture: Picture) -> None:
    np.testing.assert_array_equal(as_image(picture[:, :, ::-1], "BGR"), picture)
    np.testing.assert_array_equal(as_image(with_alpha(picture, 255), "RGBA"), picture)
    np.testing.assert_array_equal(as_image(with_alpha(picture[:, :, ::-1], 255), "BGRA"), picture)
    np.testing.assert_array_equal(as_image(picture[:, :, 0], "GREY"), picture[:, :, :1].repeat(3, axis=2))


@pytest.mark.parametrize("channels", ["RGBA", "BGRA"])
def test_transparent_pixels_are_white(picture: Picture, channels: Channels) -> None:
    assert (as_image(with_alpha(picture, 0), channels) == 255).all()
    half = as_image(with_alpha(picture, 51), channels).astype(float)  # 51 / 255 = 1 / 5
    color = picture if channels == "RGBA" else picture[:, :, ::-1]
    np.testing.assert_allclose(half, color / 5 + 255 * 4 / 5, atol=0.51)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_floats_from_0_to_1_where_said(picture: Picture, kind: type[np.floating]) -> None:
    np.testing.assert_array_equal(as_image((picture / 255).astype(kind), unit_range=True), picture)
    grey = (picture[:, :, 0] / 255).astype(kind)
    np.testing.assert_array_equal(as_image(grey, "GREY", unit_range=True)[:, :, 1], picture[:, :, 0])


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (
            np.zeros((8, 8), np.uint8),
            {},
            r"\(H, W, 3\) of uint8 in \[0, 255\], channels='RGB', found \(8, 8\) of uint8",
        ),
        (
            np.zeros((8, 8, 4), np.uint8),
            {},
            r"\(H, W, 3\) of .*, channels='RGB', found \(8, 8, 4\) of uint8",
        ),
        (np.zeros((8, 8, 3), np.float32), {}, r"found \(8, 8, 3\) of float32"),
        (np.zeros((8, 8, 3), np.uint16), {}, r"found \(8, 8, 3\) of uint16"),
        (np.zeros((0, 8, 3), np.uint8), {}, r"found \(0, 8, 3\)"),
        ([[0]], {}, "a path or a PIL image, found list"),
        (None, {}, "found NoneType"),
        (
            np.zeros((8, 8, 3), np.uint8),
            {"channels": "GREY"},
            r"array \(H, W\) of uint8 .*, channels='GREY', found",
        ),
        (
            np.zeros((8, 8, 3), np.uint8),
            {"channels": "BGRA"},
            r"array \(H, W, 4\) of .*, channels='BGRA', found",
        ),
        (np.zeros((8, 8, 3), np.uint8), {"channels": "HSV"}, "channels: expected one of RGB, BGR, RGBA, BGRA, GREY"),
        (
            np.zeros((8, 8, 3), np.uint8),
            {"unit_range": True},
            r"of floats in \[0, 1\] for unit_range=True, .* of uint8",
        ),
        (
            np.full((8, 8, 3), 1.5),
            {"unit_range": True},
            r"floats in \[0, 1\] for .*, found values from 1\.5 to 1\.5",
        ),
        (np.full((8, 8, 3), np.nan), {"unit_range": True}, "found values from nan to nan"),
        ("picture.png", {"channels": "BGR"}, "channels and unit_range for arrays only"),
    ],
)
def test_anything_else_is_refused(image: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        as_image(image, **options)


def test_paths(picture: Picture, tmp_path: Path) -> None:
    write_image(tmp_path / "picture.png", picture)
    np.testing.assert_array_equal(as_image(tmp_path / "picture.png"), picture)
    np.testing.assert_array_equal(as_image(str(tmp_path / "picture.png")), picture)
    with pytest.raises(DataError, match="absent"):
        as_image(tmp_path / "absent.png")


class TestPil:
    @pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK"])
    def test_modes(self, picture: Picture, mode: str) -> None:
        pil = Image.fromarray(picture).convert(mode)
        np.testing.assert_array_equal(as_image(pil), np.asarray(pil.convert("RGB")))

    def test_transparent_pixels_are_white(self, picture: Picture) -> None:
        assert (as_image(Image.fromarray(with_alpha(picture, 0))) == 255).all()

    def test_16_bits(self) -> None:
        pil = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
        np.testing.assert_array_equal(as_image(pil)[0, :, 0], [0, 0x80, 0xFF])

    def test_floats_are_refused(self) -> None:
        with pytest.raises(InputError, match="mode 'F'"):
            as_image(Image.fromarray(np.zeros((3, 3), np.float32)))

    def test_a_file_that_is_broken_or_closed_is_named(self, picture: Picture, tmp_path: Path) -> None:
        """PIL reads the pixels late: what it raises then was a foreign error."""
        write_image(tmp_path / "cut.png", picture)
        content = (tmp_path / "cut.png").read_bytes()
        (tmp_path / "cut.png").write_bytes(content[: len(content) - 40])
        message = r"cut\.png: expected a PIL image whose pixels can be read, found "
        with Image.open(tmp_path / "cut.png") as pil, pytest.raises(InputError, match=message):
            as_image(pil)
        closed = Image.fromarray(picture)
        closed.close()
        with pytest.raises(InputError, match=r"^picture: expected a PIL image .*, found .*closed"):
            as_image(closed)

    def test_the_limit_of_pixels(self, picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SRN_MAX_PIXELS", "10")
        with pytest.raises(DataError, match="picture: expected a picture of at most 1e-05 million pixels"):
            as_image(Image.fromarray(picture))

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_upright_as_from_a_file(self, picture: Picture, orientation: int, tmp_path: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
        with Image.open(tmp_path / "turned.png") as pil:
            np.testing.assert_array_equal(as_image(pil), read_image(tmp_path / "turned.png"))

"""Convert a user's picture, in any supported form, to the array that the networks take; check what a finder returns."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, Literal, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from srn.errors import InputError, check_count, check_number, is_finite, printable, shown
from srn.face.geometry import Box, ImageArray
from srn.inference.engines import check_choice
from srn.inference.found_boxes import FoundFace
from srn.media.limits import check_pixels
from srn.media.pictures import opaque_rgb, read_image

Channels: TypeAlias = Literal["RGB", "BGR", "RGBA", "BGRA", "GREY"]
"""Channel order of an array. GREY is (H, W), the others are (H, W, 3) or (H, W, 4)."""

LEAST_SMALLEST = 8.0
"""Pixels: the smallest face that may be asked for. The proposals of an enlarged picture are no better."""


class PilImage(Protocol):
    """A `PIL.Image.Image`, described without importing PIL."""

    def getexif(self) -> Any: ...

    def convert(self, mode: str) -> Any: ...


ImageInput: TypeAlias = npt.NDArray[Any] | str | os.PathLike[str] | PilImage
"""A picture as an array, as the path of a file, or as a PIL image."""


def as_image(image: ImageInput, channels: Channels = "RGB", *, unit_range: bool = False) -> ImageArray:
    """Convert a picture to an array (H, W, 3) of uint8, RGB.

    Args:
        image: an array, the path of a file, or a PIL image. EXIF orientation is applied to files and PIL images.
        channels: channel order of an array. Transparent pixels (RGBA, BGRA, PIL) are composited over white.
        unit_range: whether an array holds floats in [0, 1] rather than uint8. Floats are never accepted unannounced,
            because a range of 0 to 1 and one of 0 to 255 cannot be told apart safely.

    Returns:
        (H, W, 3) uint8 RGB. An array that is already in this form is returned itself, not copied.

    Raises:
        InputError: the array's shape, type or range differs from the stated one, or an option does not apply.
        DataError: the file is missing or is not a picture.

    Examples:
        >>> import numpy as np
        >>> as_image(np.zeros((4, 6), np.uint8), channels="GREY").shape
        (4, 6, 3)
        >>> as_image(np.ones((4, 6, 3)), unit_range=True)[0, 0].tolist()
        [255, 255, 255]
    """
    check_choice("channels", channels, Channels)
    check_flag("unit_range", unit_range)
    if isinstance(image, np.ndarray):
        return _from_array(image, channels, unit_range)
    pil = sys.modules.get("PIL.Image")  # whoever has a PIL image has imported PIL
    is_pil = pil is not None and isinstance(image, pil.Image)
    if not is_pil and not isinstance(image, str | os.PathLike):
        raise InputError.at("picture", _expected("RGB", False) + ", a path or a PIL image", type(image).__name__)
    if channels != "RGB" or unit_range:
        found = f"channels={channels!r}, unit_range={unit_range} with a {'PIL image' if is_pil else 'path'}"
        raise InputError.at("picture", "channels and unit_range for arrays only", found)
    return _from_pil(image) if is_pil else read_image(image)  # type: ignore[arg-type]


def listed(name: str, values: Any, expected: str) -> list[Any]:
    """Return the items of any iterable as a list; text, bytes and mappings are none, and raise `InputError`."""
    is_one = isinstance(values, str | bytes | os.PathLike | Mapping) or getattr(values, "shape", None) == ()
    if is_one or not isinstance(values, Iterable):
        raise InputError.at(name, expected, shown(values))
    return list(values)


def box_list(name: str, values: Any) -> list[Any]:
    """Return the items of a list of face boxes; a single box in its place raises `InputError`."""
    expected = "a list of face boxes, each x0, y0, x1, y1"
    boxes = listed(name, values, expected)
    if len(boxes) == 4 and all(isinstance(value, Real) for value in boxes):
        raise InputError.at(name, expected, f"a single box: {shown(tuple(boxes))}")
    return boxes


def picture_list(images: Any, channels: Channels) -> list[Any]:
    """Return the items of a list of pictures; a single picture in its place raises `InputError`."""
    is_one = isinstance(images, np.ndarray) and images.ndim < (3 if channels == "GREY" else 4)
    if isinstance(images, str | os.PathLike) or is_one or hasattr(images, "getexif"):
        is_path = isinstance(images, str | os.PathLike)
        found = f"one path: {printable(os.fspath(images))}" if is_path else f"one picture: {shown(images)}"
        raise InputError.at("pictures", "a list of pictures", found)
    return listed("pictures", images, "a list of pictures")


def check_flag(name: str, value: Any) -> None:
    """Raise `InputError` unless a value is true or false: text and lists would always be true."""
    if not isinstance(value, bool | np.bool_):
        raise InputError.at(name, "True or False", shown(value))


def found_by(finder: Any, image: ImageArray) -> list[FoundFace]:
    """Return the faces that a finder, which may be the user's own, finds in a picture (H, W, 3) uint8 RGB.

    Raises:
        InputError: it returns something else.
    """
    found = finder.find(image)
    faces = list(found) if isinstance(found, Iterable) and not isinstance(found, str) else [found]
    for face in faces:
        fits = isinstance(face, FoundFace) and isinstance(face.box, Box)
        if not (fits and isinstance(face.turn, Integral) and is_finite(face.score) and is_finite(face.tilt)):
            expected = "a list of FoundFace, each with a Box and a score, its turn a whole number, its tilt a number"
            raise InputError.at(f"{type(finder).__name__}.find", expected, repr(face)[:100])
    return faces


def _expected(channels: Channels, unit_range: bool) -> str:
    shape = "(H, W)" if channels == "GREY" else f"(H, W, {len(channels)})"
    values = "floats in [0, 1] for unit_range=True" if unit_range else "uint8 in [0, 255]"
    return f"an array {shape} of {values}, channels={channels!r}"


def _from_array(image: npt.NDArray[Any], channels: Channels, unit_range: bool) -> ImageArray:
    shape_fits = image.ndim == 2 if channels == "GREY" else image.ndim == 3 and image.shape[2] == len(channels)
    kind_fits = np.issubdtype(image.dtype, np.floating) if unit_range else image.dtype == np.uint8
    if not (shape_fits and kind_fits and image.size):
        raise InputError.at("picture", _expected(channels, unit_range), f"{image.shape} of {image.dtype}")
    if unit_range:
        low, high = float(image.min()), float(image.max())
        if not (low >= 0 and high <= 1):
            raise InputError.at("picture", _expected(channels, unit_range), f"values from {low:g} to {high:g}")
        image = np.round(image * 255).astype(np.uint8)
    if channels == "RGB":
        return image
    return opaque_rgb(image[:, :, [2, 1, 0, 3]] if channels == "RGBA" else image)


def _from_pil(image: Any) -> ImageArray:
    from PIL import ImageOps

    where = getattr(image, "filename", "") or "picture"
    check_pixels(where, *image.size)
    with InputError.reading(where, "a PIL image whose pixels can be read"):  # its file is read only now
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            return opaque_rgb(np.asarray(upright).astype(np.uint16))
        if upright.mode in ("I", "F"):
            raise InputError.at(where, "a PIL image of 8 or 16 bits a channel", f"mode {upright.mode!r}")
        return _from_array(np.asarray(upright.convert("RGBA")), "RGBA", False)


def is_finder(value: Any) -> bool:
    """Whether a value can find faces: text has a `find`, too, and a class would need an object of it."""
    return callable(getattr(value, "find", None)) and not isinstance(value, str | bytes | type)


def checked_sizes(sizes: Any) -> tuple[int, ...]:
    """Return sizes to which `CenterFaceFinder` can reduce a picture, ascending; else raise `InputError`."""
    name, expected = "face finder's sizes", "one or more sizes of at least 32 pixels"
    listing = listed(name, sizes, expected)
    if not listing:
        raise InputError.at(name, expected, "none")
    for size in listing:
        check_number(name, size, expected, least=32)
    return tuple(sorted(set(listing)))


def check_search(smallest: float | None, max_faces: int | None) -> None:
    """Raise `InputError` unless these options of `CenterFaceFinder` are in range."""
    if smallest is not None:
        check_number("smallest face", smallest, f"at least {LEAST_SMALLEST:g} pixels", least=LEAST_SMALLEST)
    if max_faces is not None:
        check_count("max_faces", max_faces)


def check_fractions(**values: float | None) -> None:
    """Raise `InputError` unless each option of a face finder is a number from 0 to 1, or None."""
    for name, value in values.items():
        if value is not None:
            check_number(f"face finder's {name}", value, "a number from 0 to 1", least=0, most=1)

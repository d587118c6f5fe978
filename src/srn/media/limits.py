"""Limits on the memory that a file may claim. They are checked before anything is decoded."""

from __future__ import annotations

import os

from srn.errors import DataError, InputError

_DEFAULTS = {
    "SRN_MAX_PIXELS": 200_000_000,  # of a picture or a frame; the largest cameras of telephones reach it
    "SRN_MAX_BYTES": 1 << 30,  # of the arrays that a compressed file unfolds to
}


LARGEST_COORDINATE = 1e6
"""Of a picture's pixels, in either direction: no box and no point of a file lies farther out."""


def limit(variable: str) -> int:
    """Return a limit: the value of its environment variable, else its default.

    Raises:
        InputError: the variable is not a whole number above 0.
    """
    text = os.environ.get(variable, "")
    if not text:
        return _DEFAULTS[variable]
    if not text.isdecimal() or not int(text):
        raise InputError.at(variable, "a whole number above 0", repr(text))
    return int(text)


def check_pixels(where: str | os.PathLike[str], width: int, height: int) -> None:
    """Raise `DataError` where a picture has more pixels than the limit."""
    if width * height > limit("SRN_MAX_PIXELS"):
        millions = f"{limit('SRN_MAX_PIXELS') / 1e6:g} million pixels (SRN_MAX_PIXELS sets the limit)"
        raise DataError.at(where, f"a picture of at most {millions}", f"{width} x {height}")


def check_bytes(where: str | os.PathLike[str], size: int, least: int = 0) -> None:
    """Raise `DataError` where arrays take more bytes than both the limit and `least`."""
    if size > max(limit("SRN_MAX_BYTES"), least):
        allowed = f"{limit('SRN_MAX_BYTES')} bytes (SRN_MAX_BYTES sets the limit)"
        raise DataError.at(where, f"arrays of at most {allowed}", f"{size} bytes")


def check_file(path: str | os.PathLike[str], least: int = 0) -> None:
    """Raise `DataError` where a file, which is read whole, is larger than both the limit and `least`.

    A file with holes takes no place on a disk, and all of it in memory.
    """
    size, most = os.stat(path).st_size, max(limit("SRN_MAX_BYTES"), least)
    if size > most:
        raise DataError.at(path, f"a file of at most {most} bytes (SRN_MAX_BYTES sets the limit)", f"{size}")


def read_limited(path: str | os.PathLike[str], least: int = 0) -> bytes:
    """Read a whole file that `check_file` allows."""
    check_file(path, least)
    with open(path, "rb") as file:
        return file.read()

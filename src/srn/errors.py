"""The error tree: everything the user can put right raises a subclass of `SrnError` with one clear line."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

# Control characters, changes of direction, and bytes of names that are not UTF-8.
_UNPRINTABLE = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069\\ud800-\\udfff]")


def printable(text: str) -> str:
    """Return one line of text in which everything that could act on a terminal or page is escaped, such as `\\x1b`."""
    return _UNPRINTABLE.sub(lambda found: _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    byte = code - 0xDC00 if 0xDC80 <= code <= 0xDCFF else code  # a byte that is no UTF-8, as `os.fsdecode` gives it
    return f"\\x{byte:02x}" if byte < 0x100 else f"\\u{code:04x}"


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Raise `InputError` unless a value is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise InputError.at(name, f"a whole number of at least {least}", repr(value))


def is_finite(value: Any) -> bool:
    """Whether a value is one number, of Python or NumPy, that is finite as a `float`."""
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:  # a whole number of 400 digits
        return False


def check_number(
    name: str, value: Any, expected: str = "a number", *, least: float = -math.inf, most: float = math.inf
) -> None:
    """Raise `InputError` unless a value is one finite number, of Python or NumPy, from `least` to `most`."""
    if type(value) is bool or not is_finite(value) or not least <= value <= most:
        raise InputError.at(name, expected, shown(value))


def shown(value: Any) -> str:
    """Describe what was found in place of an argument, in one line."""
    if hasattr(value, "shape") and hasattr(value, "dtype") and value.shape:
        return f"an array {tuple(value.shape)} of {value.dtype}"
    try:
        text = printable(repr(value))
    except Exception:  # of an object of the user's, or of a number of 5,000 digits
        text = f"a value of type {type(value).__name__}"
    return text if len(text) <= 100 else f"{text[:97]}..."


def with_causes(error: BaseException) -> list[BaseException]:
    """List an error and all those of which it came, or on whose way out it came up."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one not in found:
            found.append(one)
            waiting += [one.__cause__, one.__context__]
    return found


def is_interruption(error: BaseException) -> bool:
    """Tell whether an error is Ctrl-C or SIGTERM, or came up while one of them was on its way out.

    A clean-up that is interrupted fails in its own way: `zipfile` cannot close an archive in the midst of an array.
    """
    return any(isinstance(one, KeyboardInterrupt) for one in with_causes(error))


def let_interruption_pass(error: Exception) -> None:
    """Raise `KeyboardInterrupt` where an error hides one: whoever handles all exceptions would not see it."""
    if is_interruption(error):
        raise KeyboardInterrupt from error


class SrnError(Exception):
    """Base of all errors that `srn` raises on purpose."""


class InputError(SrnError):
    """Something the user handed in (a file, an option, an array) is not what was expected."""

    @classmethod
    def at(cls, where: str | PathLike[str], expected: str, found: str) -> Self:
        """Build the one-line message: where it went wrong, what was expected, what was found."""
        return cls(f"{where}: expected {expected}, found {found}")

    @classmethod
    @contextmanager
    def reading(cls, where: str | PathLike[str], expected: str) -> Iterator[None]:
        """Turn any exception of the block, which parses a file, into this error.

        Parsers raise anything when bytes are broken, so that no list of exceptions would be complete. This error
        itself passes unchanged, since it names the place already; so do those of a missing package or a wrong program,
        and an interruption.
        """
        try:
            yield
        except (cls, MissingDependencyError, ImportError, NameError):
            raise
        except Exception as error:
            let_interruption_pass(error)
            raise cls.at(where, expected, first_line(error)) from error


class DataError(InputError):
    """A dataset, annotation or picture file is missing or broken."""


class WeightsError(InputError):
    """A weights or checkpoint file is missing, broken, or does not fit the network asked for."""


class MissingDependencyError(SrnError):
    """An optional dependency is needed for this call; the message names the extra to install."""

    @classmethod
    def for_extra(cls, package: str, extra: str, what: str) -> MissingDependencyError:
        return cls(f"{what} needs {package}; install it with: pip install 'srn[{extra}]'")

    @classmethod
    @contextmanager
    def importing(cls, extra: str, what: str) -> Iterator[None]:
        """Turn the `ImportError` of an optional package into this error. One of `srn` itself is a mistake of ours."""
        try:
            yield
        except ImportError as error:
            if not error.name or error.name.startswith("srn"):
                raise
            raise cls.for_extra(error.name, extra, what) from error


# What `float` and `int` say to programmers; the word itself tells the user more.
_NO_NUMBER = re.compile("(?:could not convert string to float|invalid literal for int\\(\\) with base 10): (.*)")


@contextmanager
def noting(problems: list[str], where: str | PathLike[str] | None = None) -> Iterator[None]:
    """Turn an error of ours in the block into a problem, which says `where` it is unless the error does."""
    try:
        yield
    except SrnError as error:
        problems.append(str(error) if where is None else f"{where}: {error}")


def first_line(error: Exception) -> str:
    """Return the first line of an exception's message in a user's words: only what was found, and where."""
    text = getattr(error, "strerror", None) or str(error).strip()
    if isinstance(error, MemoryError):
        text = text or "too little memory"
    elif isinstance(error, KeyError):
        text = f"no {text}"
    elif isinstance(error, json.JSONDecodeError):
        text = f"a mistake in line {error.lineno}, column {error.colno}"
    elif isinstance(error, RecursionError):
        text = "too many brackets within brackets"
    elif isinstance(error, ValueError) and text.startswith("Exceeds the limit ("):
        text = "a whole number of more than 4,300 digits"
    elif isinstance(error, ValueError):
        text = _NO_NUMBER.sub(r"\1", text)
    return str(text).splitlines()[0][:200] if text else type(error).__name__


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether memory ended: in Python or NumPy, OpenCV, ONNX Runtime, or PyTorch on any device."""
    words = (
        "out of memory", "not enough memory", "can't allocate memory", "Failed to allocate memory", "bad_alloc",
        "bad allocation", "Insufficient memory",
    )  # fmt: skip
    return isinstance(error, MemoryError) or any(some in str(error) for some in words)

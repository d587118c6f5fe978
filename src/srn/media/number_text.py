"""Read numbers from the text of tables and `.pts` files, as every tool reads them."""

from __future__ import annotations

from typing import Any


def number_in(value: Any) -> float:
    """Return the number that a value is, or that its text says; `ValueError` where it says none.

    Python alone takes `1_0` for ten, and the digits of other scripts for its own.
    """
    return float(_plain(value))


def whole_number_in(value: Any) -> int:
    """Return the whole number that a value is, or that its text says, as `number_in` does."""
    plain = _plain(value)
    found = int(plain)
    if not isinstance(plain, str) and found != plain:
        raise ValueError(str(plain))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, str) and ("_" in value or not value.isascii()):
        raise ValueError(repr(value))
    return value

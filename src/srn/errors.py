"""The error tree: everything the user can put right raises a subclass of `SrnError` with one clear line."""

from __future__ import annotations

from os import PathLike
from typing import Self


class SrnError(Exception):
    """Base of all errors that `srn` raises on purpose."""


class InputError(SrnError):
    """Something the user handed in (a file, an option, an array) is not what was expected."""

    @classmethod
    def at(cls, where: str | PathLike[str], expected: str, found: str) -> Self:
        """Build the one-line message: where it went wrong, what was expected, what was found."""
        return cls(f"{where}: expected {expected}, found {found}")


class DataError(InputError):
    """A dataset, annotation or picture file is missing or broken."""


class WeightsError(InputError):
    """A weights or checkpoint file is missing, broken, or does not fit the network asked for."""


class MissingDependencyError(SrnError):
    """An optional dependency is needed for this call; the message names the extra to install."""

    @classmethod
    def for_extra(cls, package: str, extra: str, what: str) -> MissingDependencyError:
        return cls(f"{what} needs {package}; install it with: pip install 'srn[{extra}]'")

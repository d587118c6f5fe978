"""Pages that are written into a folder of the user's under a common name."""

from __future__ import annotations

import contextlib
from pathlib import Path

from srn.errors import InputError

_HEAD_BYTES = 1024


def check_page(option: str, page: Path, mark: str) -> None:
    """Raise `InputError`, before any work, where a file of that name is there that the program did not write.

    Args:
        option: names the folder in the message.
        mark: what stands in the beginning of the program's own page, which is replaced.
    """
    expected = f"a folder without another {page.name}"
    if page.is_dir():
        raise InputError.at(option, expected, f"{page}, a folder")
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), page.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        if head and mark.encode() not in head:
            raise InputError.at(option, expected, str(page))

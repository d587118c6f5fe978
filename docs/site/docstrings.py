"""Docstrings here describe several parameters at once where one sentence fits them all: `smallest, max_faces: ...`.

The pages have a row for each parameter, so such an entry is repeated for each of its names before it is parsed.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

_ENTRY = re.compile(r"^( +)(\w+(?:, \w+)+): ")


class SplitNames(griffe.Extension):
    """Splits entries of several names."""

    def on_object(self, *, obj: griffe.Object, loader: Any, **_: Any) -> None:
        if obj.docstring is not None:
            obj.docstring.value = split_names(obj.docstring.value)


def split_names(text: str) -> str:
    """Repeat each entry that has several names, with the lines that belong to it, for each of them."""
    lines, done = text.splitlines(), []
    while lines:
        line = lines.pop(0)
        found = _ENTRY.match(line)
        if found is None:
            done.append(line)
            continue
        indent, more = found[1], []
        while lines and lines[0].startswith(indent + " "):
            more.append(lines.pop(0))
        for name in found[2].split(", "):
            done += [f"{indent}{name}: {line[found.end() :]}", *more]
    return "\n".join(done)

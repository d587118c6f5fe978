"""What the measuring tools share: which commit was measured, and a result as JSON and as a Markdown table."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from srn.files import write_atomically


def commit() -> str:
    """The short name of the commit in the working directory; empty outside a repository."""
    run = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return run.stdout.strip()


def markdown(
    title: str,
    content: Mapping[str, Any],
    about: Sequence[str],
    notes: Iterable[str],
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
) -> str:
    """A page of one table: the title, `about` of the content and notes as a list, the rows."""
    lines = [
        f"# {title}",
        "",
        *(f"- {name}: {content[name]}" for name in about),
        *(f"- {note}" for note in notes),
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def write_results(folder: Path, name: str, content: Mapping[str, Any], page: str) -> None:
    """Write `content` as NAME.json and `page` as NAME.md, each beside its place and then renamed."""
    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / f"{name}.json", (json.dumps(content, indent=1) + "\n").encode())
    write_atomically(folder / f"{name}.md", page.encode())

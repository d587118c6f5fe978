"""Hooks of the documentation site: the pages of the commands, and links that leave the site.

MkDocs calls the functions named `on_...` while it builds. The pages of the commands are made from the command line
itself, so that there is one place where an option is described.
"""

from __future__ import annotations

import posixpath
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import get_plugin_logger
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

from srn.cli import main

_log = get_plugin_logger("srn")

CLI = "reference/cli"
"""Folder of the pages of the commands."""

RESULTS = "results"
"""Folder of the pages of measured numbers."""

GUIDES = "guide"
"""Folder of the guides: those that the navigation does not name come last."""

_FENCE = re.compile(r"^(`{3,}).*?^\1`*[ \t]*$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_MARKS = re.compile(r"^(```(?:python|sh)) [\w -]+$", re.MULTILINE)
_WORDS = re.compile(r"<code>[^<]*</code>")  # within a line: those of a block hold marks of their own
_OPTION = re.compile(r"(?<![\w-])--?\w[\w-]*")  # a browser would break it behind a hyphen
_EXAMPLE = re.compile(r"^Example: `([^`]+)`$", re.MULTILINE)


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put a page for each command, every page of results, and guides that it does not name into the navigation."""
    pages = sorted(path.relative_to(config.docs_dir).as_posix() for path in Path(config.docs_dir).rglob("*.md"))
    named = set(_named(config.nav))
    folders = {
        CLI: [path for path, _ in _pages()],
        RESULTS: ["reference/results.md", *(page for page in pages if page.startswith(f"{RESULTS}/"))],
        GUIDES: [page for page in pages if page.startswith(f"{GUIDES}/") and page not in named],
    }
    config.nav = _expanded(config.nav, folders)
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the commands."""
    for path, text in _pages():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Take the marks of the tests off the fences, and the links off files that are no pages: their path is printed."""
    markdown = _MARKS.sub(r"\1", markdown)
    folder = posixpath.dirname(page.file.src_uri)

    def checked(match: re.Match[str]) -> str:
        words, target = match[1], match[2]
        if "://" in target or target.startswith(("mailto:", "/")):
            return match[0]
        place = posixpath.normpath(posixpath.join("docs", folder, target))
        if place.startswith("docs/"):
            found = files.get_file_from_path(place.removeprefix("docs/"))
            return (
                match[0]
                if found is not None and found.inclusion is not InclusionLevel.EXCLUDED
                else f"{words} (`{place}`)"
            )
        return f"`{place}`" if words.strip("`") == place else f"{words} (`{place}`)"

    parts, start = [], 0
    for block in _FENCE.finditer(markdown):
        parts += [_LINK.sub(checked, markdown[start : block.start()]), block[0]]
        start = block.end()
    return "".join([*parts, _LINK.sub(checked, markdown[start:])])


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Warn of a fence that was printed as text, and keep the options of commands in one piece."""
    if re.search(r"<p>\s*```", html):
        _log.warning("%s: a fenced block that Markdown does not take for one", page.file.src_uri)
    return _WORDS.sub(lambda code: _OPTION.sub(r'<span class="option">\g<0></span>', code[0]), html)


def _named(entry: Any) -> Iterator[str]:
    """Yield the paths of a navigation of lists, titles and paths."""
    if isinstance(entry, str):
        yield entry
    for inner in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from _named(inner)


def _expanded(entry: Any, folders: dict[str, list[str]]) -> Any:
    """Replace the names of folders by their pages, in a navigation of lists, titles and paths."""
    if isinstance(entry, list):
        parts = [folders.get(one, [one]) if isinstance(one, str) else [_expanded(one, folders)] for one in entry]
        return [one for part in parts for one in part]
    if isinstance(entry, dict):
        return {title: _expanded(inner, folders) for title, inner in entry.items()}
    return folders.get(entry, entry)


def _pages() -> Iterator[tuple[str, str]]:
    """Yield path and Markdown of the page of each command, and of the list of them all."""
    root = typer.main.get_command(main.command_line())
    names = list(root.commands)  # type: ignore[attr-defined]
    listed = "\n".join(f"- [`srn {name}`]({name}.md): {main.COMMANDS[name]}" for name in names)
    head = "# Commands\n\nMade from the command line itself: each page is the text of `srn COMMAND --help`.\n\n"
    codes = "\n\nExit codes: 0 success, 1 some files failed, 2 the user's mistake, 70 a mistake of srn, 130 stopped.\n"
    yield f"{CLI}/index.md", head + listed + codes
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        yield f"{CLI}/{name}.md", _described(command, f"srn {name}", 1)


def _described(command: Any, name: str, level: int) -> str:
    """Describe a command, and those of its group, as Markdown."""
    context = command.context_class(command, info_name=name)
    text = _EXAMPLE.sub(r"```sh\n\1\n```", textwrap.dedent(command.help or ""))
    lines = [f"{'#' * level} {name}", text]
    inner = getattr(command, "commands", {})
    if not inner:
        usage = " ".join([name, *command.collect_usage_pieces(context)]).replace("{", "").replace("}", "")
        lines.append(f"```console\n$ {usage}\n```")
    for kind, title in (("argument", "Arguments"), ("option", "Options")):
        records = [one.get_help_record(context) for one in command.params if one.param_type_name == kind]
        records = [record for record in records if record]
        if records and not inner:
            lines.append(f"{'#' * (level + 1)} {title}")
            lines += [f"`{left}`\n:   {right.replace('|', chr(92) + '|')}" for left, right in records]
    lines += [_described(one, f"{name} {word}", level + 1) for word, one in inner.items()]
    return "\n\n".join(lines) + "\n"

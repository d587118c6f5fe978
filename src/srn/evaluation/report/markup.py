"""HTML and SVG elements. Text is escaped; only `Markup` is taken as it is."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from srn.errors import printable

EMPTY_ELEMENTS = {"img", "circle", "line", "path", "rect"}


class Markup(str):
    """Text that is HTML or SVG already."""


def _escaped(text: str) -> str:
    return escape(printable(text))


def joined(parts: Iterable[str], separator: str = "") -> Markup:
    """Join parts and escape those that are no `Markup`."""
    return Markup(separator.join(part if isinstance(part, Markup) else _escaped(part) for part in parts))


def element(tag: str, *children: str, **attributes: object) -> Markup:
    """Build an element.

    Args:
        attributes: those that are None are left out. `class_` is `class`, `text_anchor` is `text-anchor`. Floats are
            written with one digit, enough for a position in pixels.
    """
    opened = tag
    for name, value in attributes.items():
        if value is not None:
            text = f"{value:.1f}" if isinstance(value, float) else _escaped(str(value))
            opened += f' {name.rstrip("_").replace("_", "-")}="{text}"'
    return Markup(f"<{opened}/>" if tag in EMPTY_ELEMENTS else f"<{opened}>{joined(children)}</{tag}>")


def table(caption: str, header: Iterable[str], rows: Iterable[Iterable[str]], *, total: bool = False) -> Markup:
    """Build a table; `total` says that the last row is the total.

    On a telephone each row is a list of its cells, which name their columns, so that nothing is cut off.
    """
    cells, columns = [list(row) for row in rows], list(header)
    body = [
        element(
            "tr", element("th", first, scope="row"),
            *(element("td", cell, data_label=name) for name, cell in zip(columns[1:], rest, strict=True)),
            class_="total" if total and index == len(cells) - 1 else None,
        )
        for index, (first, *rest) in enumerate(cells)
    ]  # fmt: skip
    head = element("tr", *(element("th", text, scope="col") for text in columns))
    whole = element("table", element("caption", caption), element("thead", head), element("tbody", *body))
    return element("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)


def figure(content: Markup, caption: str = "") -> Markup:
    return element("figure", content, *([element("figcaption", caption)] if caption else []))

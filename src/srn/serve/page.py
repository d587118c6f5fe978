"""The documentation page of the service: its own interface description as one page, without anything from elsewhere."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 50rem; padding: 0 1rem; color: #1b1f24 }
code, pre { background: #f3f4f6; border-radius: 4px; padding: .1rem .3rem; overflow-wrap: anywhere }
pre { padding: .8rem; overflow-x: auto }
table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid #d0d7de; padding: .4rem .6rem .4rem 0; vertical-align: top }
td code { white-space: nowrap }
@media (max-width: 36rem) { td { display: block; border: 0; padding: 0 } td:first-child { padding-top: .8rem } }
@media (prefers-color-scheme: dark) {
 body { background: #0d1117; color: #e6edf3 } code, pre { background: #21262d } td { border-color: #30363d }
 a { color: #7ab7ff }
}
"""

_EXAMPLE = """curl --data-binary @portrait.jpg http://127.0.0.1:8000/detect
curl -F file=@portrait.jpg 'http://127.0.0.1:8000/detect?accuracy=best'"""


def documentation(schema: Mapping[str, Any]) -> str:
    """Return an OpenAPI description as an HTML page."""
    parts = [_route(path, verb, what) for path, verbs in schema["paths"].items() for verb, what in verbs.items()]
    info = schema["info"]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        '<link rel="icon" href="data:,">'
        f"<title>{html.escape(info['title'])}</title><style>{_STYLE}</style>"
        f"<h1>{html.escape(info['title'])} {html.escape(info['version'])}</h1><p>{_marked(info['description'])}</p>"
        f"<pre>{html.escape(_EXAMPLE)}</pre>{''.join(parts)}"
        '<p>For programs: <a href="openapi.json">openapi.json</a>. Errors are <code>{"error": "reason"}</code>: '
        "401 token, 408 slow body, 413 too large, 415 no picture, 422 a wrong value, 429 and 503 busy.</p></html>"
    )


def _marked(text: str) -> str:
    """Escape a text; what stands between backticks is code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text))


def _route(path: str, verb: str, what: Mapping[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(one['name'])}</code></td><td>{_marked(one.get('description', ''))}</td>"
        f"<td>{html.escape(_default(one))}</td></tr>"
        for one in what.get("parameters", [])
    )
    text = " ".join([f"{what['summary']}.", what.get("requestBody", {}).get("description", "")])
    return f"<h2><code>{verb.upper()} {html.escape(path)}</code></h2><p>{_marked(text)}</p><table>{rows}</table>"


def _default(parameter: Mapping[str, Any]) -> str:
    schema = parameter["schema"]
    choices = ", ".join(map(str, schema.get("enum", [])))
    default = f"default {schema['default']}" if schema.get("default") is not None else ""
    return "; ".join(part for part in (choices, default) if part)

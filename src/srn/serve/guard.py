"""Who may ask a service of this machine: programs of this machine, and pages that came from the service itself."""

from __future__ import annotations

import re
from collections.abc import Iterable

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from srn.errors import shown

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]")
"""What a browser may call a service of this machine. Other names are those of a page that was rebound to it."""


def refusal(status: int, reason: str) -> JSONResponse:
    """Answer `{"error": reason}`, with the header that the status asks for."""
    headers = {401: {"WWW-Authenticate": "Bearer"}, 429: {"Retry-After": "1"}, 503: {"Retry-After": "5"}}
    return JSONResponse({"error": reason}, status, headers=headers.get(status))


class KnownHosts:
    """Refuses requests to other names of this machine, and those of other sites' pages.

    A page's own name may be bound to this machine (DNS rebinding); without that, any page may still send what needs no
    answer.
    """

    def __init__(self, app: ASGIApp, hosts: Iterable[str]) -> None:
        self.app, self.hosts = app, frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            refused = self._refused(headers.get("host", ""), headers.get("origin"))
            if refused is not None:
                await refused(scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _refused(self, name: str, origin: str | None) -> JSONResponse | None:
        if re.sub(r":\d*$", "", name).lower() not in self.hosts:
            return refusal(421, f"host: expected {' or '.join(sorted(self.hosts))}, found {shown(name)}")
        if origin is not None and origin.partition("://")[2] != name:
            return refusal(403, f"a request of another site: expected http://{name}, found {shown(origin)}")
        return None

"""Run an application on a socket until it is ended."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import logging
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn
from fastapi import FastAPI
from starlette.datastructures import State
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from srn.errors import InputError, first_line
from srn.serve.guard import LOOPBACK_HOSTS, refusal

GRACE = 30
"""Seconds in which requests in progress are finished once the service is told to end."""

BACKLOG = 2048

LINGER = 30.0
"""Seconds in which the rest of a request is taken that was answered before its end."""

PATIENCE = 60.0
"""Seconds for a request to begin on a connection, for its header to arrive, and for a further part of an answer to be
taken; then the connection is closed."""

SPARE_FILES = 256
"""Files of a process that are no connections; half of all files where it may open few."""


def most_files() -> int:
    """Return how many files this process may have open where it takes a further connection."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return sys.maxsize
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if files == resource.RLIM_INFINITY else max(files // 2, files - SPARE_FILES)


class Listening(socket.socket):
    """Closes the connections that are too many as it accepts them.

    Where the files of a process end, asyncio prints thousands of lines a second, and the next request has none either.
    """

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if connection.fileno() >= most_files():  # systems give the lowest free number
            connection.close()
            raise ConnectionAbortedError("too many open files")
        return connection, address


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> set[str]:
    """Return by which names a service that listens on an address of this machine alone may be called."""
    return {*LOOPBACK_HOSTS, f"[{host}]" if ":" in host else host}


def listening(host: str, port: int) -> socket.socket:
    """Open the socket of a service; port 0 takes a free one.

    Raises:
        InputError: the address is not one of this machine, or the port is taken.
    """
    opened = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named, asyncio sends an answer's last part at once; otherwise it waits 40 ms for a receipt.
        opened = Listening(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(BACKLOG)  # who comes before the service is ready waits
    except (OSError, OverflowError, ValueError) as error:  # the last one of a name that no host can have
        if opened is not None:
            opened.close()
        found = f"{host}:{port}: {first_line(error)}"
        raise InputError.at("--host and --port", "a free port of this machine", found) from error
    return opened


def url_of(opened: socket.socket) -> str:
    """Return the address of a socket for a browser."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class Impatient(H11Protocol):
    """Closes connections on which nothing goes on.

    A client that never ends its header, or never takes its answer, would hold one for ever.
    """

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._check = self.loop.call_later(PATIENCE, self._close_if_quiet, None, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        self._check.cancel()
        super().connection_lost(exc)

    def _close_if_quiet(self, last: object, held: int) -> None:
        """Close the connection if it was quiet the last time as well, and no request and no byte went in between.

        Args:
            last: the request after which it was quiet the last time.
            held: bytes that the client had not taken then.
        """
        asked = vars(self)["cycle"]  # the last request; None before the first
        quiet = asked is None or asked.response_complete
        waiting = self.transport.get_write_buffer_size()
        if waiting and waiting == held:
            self.transport.abort()  # closing would wait for the client
        elif quiet and not waiting and asked is last:
            self.transport.close()
        else:
            self._check = self.loop.call_later(PATIENCE, self._close_if_quiet, asked if quiet else self, waiting)


class Lingering:
    """Takes the rest of a request that is answered before its end, such as one that is too large.

    Many clients read the answer once they have sent everything. A connection that is closed before that takes the
    answer with it, and they say that there is no service.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        whole, answered = scope["type"] != "http", False

        async def heard() -> Message:
            nonlocal whole
            message = await receive()
            whole = whole or not message.get("more_body", False)  # a client that has gone sends no more, either
            return message

        async def said(message: Message) -> None:
            nonlocal answered
            answered = not whole and message["type"] == "http.response.body" and not message.get("more_body", False)
            await send({**message, "more_body": True} if answered else message)

        await self.app(scope, heard, said)
        if answered:
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LINGER):
                        while not whole:
                            await heard()
            finally:
                await send({"type": "http.response.body"})


class Ending:
    """Answers the requests that the end of the service breaks off; else uvicorn prints a traceback for each.

    Answers in its last seconds tell that their connection is closed; else clients lose what they ask next on it.
    """

    def __init__(self, app: ASGIApp, state: State) -> None:
        """The application, and the state that holds `ending`."""
        self.app, self.state = app, state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            if self.state.ending and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except asyncio.CancelledError:
            if not begun and scope["type"] == "http":
                await refusal(503, "the service has ended: come again")(scope, receive, send)


class Server(uvicorn.Server):
    """Serves an application until a signal ends it. `app.state.ending` says so to answers that would go on for long."""

    def __init__(self, app: FastAPI) -> None:
        """Without lines for what strangers send, and without WebSockets."""
        logging.getLogger("python_multipart").setLevel(logging.ERROR)
        config = uvicorn.Config(
            Ending(Lingering(app), app.state), http=Impatient, ws="none", log_level="error", access_log=False,
            timeout_graceful_shutdown=GRACE, server_header=False, timeout_keep_alive=30, backlog=BACKLOG,
        )  # fmt: skip
        super().__init__(config)
        self._app = app
        app.state.ending = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.ending = True
        super().handle_exit(sig, frame)


def run(app: FastAPI, opened: socket.socket, ready: Callable[[], object] = lambda: None) -> None:
    """Serve until Ctrl-C or SIGTERM; requests in progress are finished first.

    Args:
        ready: called just before requests are taken.
    """
    server = Server(app)
    ready()
    with contextlib.suppress(KeyboardInterrupt):  # how it is ended
        server.run(sockets=[opened])

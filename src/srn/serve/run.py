"""Run an application on a socket until it is ended."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable

import uvicorn
from fastapi import FastAPI

from srn.errors import InputError

GRACE = 30
"""Seconds in which requests in progress are finished once the service is told to end."""


BACKLOG = 2048


def is_loopback(host: str) -> bool:
    """Tell whether a host is this machine alone."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def listening(host: str, port: int) -> socket.socket:
    """Open the socket of a service; port 0 takes a free one.

    Raises:
        InputError: the address is not one of this machine, or the port is taken.
    """
    opened = None
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        # With the protocol named, asyncio sends an answer's last part at once; otherwise it waits 40 ms for a receipt.
        opened = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((host, port))
        opened.listen(BACKLOG)  # who comes before the service is ready waits
    except (OSError, OverflowError) as error:
        if opened is not None:
            opened.close()
        raise InputError.at("--host and --port", "a free port of this machine", f"{host}:{port}: {error}") from error
    return opened


def url_of(opened: socket.socket) -> str:
    """Return the address of a socket for a browser."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(app: FastAPI, opened: socket.socket, ready: Callable[[], object] = lambda: None) -> None:
    """Serve until Ctrl-C or SIGTERM; requests in progress are finished first.

    Args:
        ready: called just before requests are taken.
    """
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE, server_header=False,
        timeout_keep_alive=30, backlog=BACKLOG,
    )  # fmt: skip
    ready()
    with contextlib.suppress(KeyboardInterrupt):  # how it is ended
        uvicorn.Server(config).run(sockets=[opened])

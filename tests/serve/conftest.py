"""A real server on a free port of this machine, and a client of the standard library."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

import pytest

pytest.importorskip("fastapi", reason="the service needs FastAPI: pip install 'srn[serve]'")

from fastapi import FastAPI

from srn.serve.run import Server, listening


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The reason of a refusal, which says nothing else."""
        values = self.json()
        assert set(values) == {"error"}
        return str(values["error"])


class Client(NamedTuple):
    port: int

    def ask(
        self, verb: str, path: str, content: bytes | Iterable[bytes] | None = None,
        query: Mapping[str, Any] | None = None, headers: Mapping[str, str] | None = None,
    ) -> Answer:  # fmt: skip
        target = f"{path}?{urlencode(query, doseq=True)}" if query else path
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            connection.request(verb, target, content, dict(headers or {}))
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())

    def get(self, path: str, **more: Any) -> Answer:
        return self.ask("GET", path, **more)

    def post(self, path: str, content: bytes | Iterable[bytes] | None = None, **more: Any) -> Answer:
        return self.ask("POST", path, content, **more)

    def form(self, path: str, name: str, content: bytes, filename: str | None = "a.png") -> Answer:
        """Send a form of one field, a file where it has a name."""
        file = "" if filename is None else f'; filename="{filename}"'
        head = f'--B\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'.encode()
        headers = {"Content-Type": "multipart/form-data; boundary=B"}
        return self.post(path, head + content + b"\r\n--B--\r\n", headers=headers)


@contextlib.contextmanager
def served(app: FastAPI) -> Iterator[Client]:
    """Run an application in a thread for the block."""
    opened = listening("127.0.0.1", 0)
    server = Server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.005)
        yield Client(opened.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join()
        opened.close()


Serve = Callable[[FastAPI], Client]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with contextlib.ExitStack() as running:
        yield lambda app: running.enter_context(served(app))

"""How the service listens: names, addresses, connections on which nothing is asked."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the service needs FastAPI: pip install 'srn[serve]'")

from fastapi import FastAPI, Response

from srn import FaceLandmarker
from srn.errors import InputError
from srn.media.pictures import encode_image
from srn.serve import run
from srn.serve.app import make_app
from srn.serve.run import is_loopback, listening, names_of

from .conftest import Serve


def test_addresses_of_this_machine_alone() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.8.9.1", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.168.1.4", "localhost.example")))


def test_a_service_may_be_called_by_its_address() -> None:
    assert names_of("127.0.0.2") == {"127.0.0.1", "127.0.0.2", "localhost", "[::1]"}
    assert names_of("::1") == {"127.0.0.1", "localhost", "[::1]"}


@pytest.mark.parametrize("host", ["a" * 70 + ".example", "a..b", "a\0b"])
def test_an_address_that_is_not_this_machines(host: str) -> None:
    with pytest.raises(InputError, match="--host and --port: expected a free port of this machine, found"):
        listening(host, 0)


def test_a_connection_on_which_nothing_is_asked_is_closed(
    robust_weights: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose header never ends; a request that takes long keeps its connection."""
    monkeypatch.setattr(run, "PATIENCE", 0.2)
    client = serve(make_app(FaceLandmarker(robust_weights, threads=1)))
    content = encode_image(np.zeros((40, 50, 3), np.uint8), ".png")
    head = b"POST /detect HTTP/1.1\r\nHost: localhost\r\n"
    for begin in (b"", head):
        with socket.create_connection(("127.0.0.1", client.port), timeout=30) as silent:
            silent.sendall(begin)
            assert silent.recv(100) == b""
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as slow:
        slow.sendall(head + b"Content-Length: %d\r\n\r\n" % len(content))
        for part in (content[:20], content[20:]):
            slow.settimeout(0.5)
            with pytest.raises(TimeoutError):
                slow.recv(100)
            slow.sendall(part)
        slow.settimeout(30)
        received = b"".join(iter(lambda: slow.recv(1000), b""))  # to its end, once it is quiet
        assert received.startswith(b"HTTP/1.1 200 ")
        assert received.endswith(b'"faces":[]}')


def test_a_client_that_never_takes_its_answer_is_left(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its connection would stay for ever, with the answer in memory; one that takes it slowly gets all of it."""
    monkeypatch.setattr(run, "PATIENCE", 0.1)
    left, lost = threading.Event(), run.Impatient.connection_lost

    def noted(self: run.Impatient, exc: Exception | None) -> None:
        lost(self, exc)
        left.set()

    monkeypatch.setattr(run.Impatient, "connection_lost", noted)
    app, size = FastAPI(), 30_000_000

    @app.get("/long")
    async def long() -> Response:
        return Response(bytes(size))

    client = serve(app)
    question = b"GET /long HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as slow:
        slow.sendall(question)
        taken = 0
        while taken < size:
            time.sleep(0.05)
            part = slow.recv(2_000_000)
            assert part
            taken += len(part)
    assert left.wait(30)
    left.clear()
    with socket.create_connection(("127.0.0.1", client.port), timeout=30) as never:
        never.sendall(question)
        assert left.wait(30)


def test_connections_leave_files_for_the_rest(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Where files end, asyncio prints thousands of lines a second."""
    client = serve(FastAPI())
    address = ("127.0.0.1", client.port)
    with contextlib.ExitStack() as opened:
        first = opened.enter_context(contextlib.closing(HTTPConnection(*address, timeout=30)))

        def asked() -> int:
            first.request("GET", "/openapi.json")
            answer = first.getresponse()
            answer.read()
            return answer.status

        assert asked() == 200
        most = first.sock.fileno() + 8  # the clients' own files count, too
        monkeypatch.setattr(run, "most_files", lambda: most)
        many = [opened.enter_context(socket.create_connection(address, timeout=30)) for _ in range(10)]
        assert many[-1].recv(1) == b""
        assert asked() == 200
    assert capfd.readouterr() == ("", "")


QUESTION = b"POST /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"


def test_a_client_that_sends_everything_before_it_reads_gets_its_refusal(serve: Serve) -> None:
    """Its connection was reset while it sent, and the reason was lost."""
    size = 20_000_000
    with socket.create_connection(("127.0.0.1", serve(FastAPI()).port), timeout=30) as sender:
        sender.sendall(QUESTION % size + bytes(size))
        received = b"".join(iter(lambda: sender.recv(1000), b""))
    assert received.startswith(b"HTTP/1.1 404 ")
    assert received.endswith(b'{"detail":"Not Found"}')


def test_nobody_waits_for_ever_for_the_rest_of_a_request(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "LINGER", 0.2)
    with socket.create_connection(("127.0.0.1", serve(FastAPI()).port), timeout=30) as sender:
        sender.sendall(QUESTION % 1000 + bytes(10))
        received = b"".join(iter(lambda: sender.recv(1000), b""))
    assert received.endswith(b'{"detail":"Not Found"}')


@contextlib.contextmanager
def running(application: FastAPI) -> Iterator[tuple[run.Server, HTTPConnection]]:
    """A server that may be ended, and a connection to it; waits for its end."""
    opened = listening("127.0.0.1", 0)
    server = run.Server(application)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    with (
        contextlib.closing(HTTPConnection("127.0.0.1", opened.getsockname()[1], timeout=30)) as asked,
        contextlib.closing(opened),
    ):
        yield server, asked
        thread.join(30)


def test_an_answer_after_the_signal_tells_that_its_connection_is_closed() -> None:
    """A client that keeps its connection asked again on it, and the request was lost."""
    application, begun, release = FastAPI(), threading.Event(), threading.Event()

    @application.post("/held")
    def held() -> None:
        begun.set()
        release.wait(20)

    with running(application) as (server, asked):
        asked.request("POST", "/held", bytes(10))
        assert begun.wait(20)
        server.handle_exit(signal.SIGTERM, None)
        release.set()
        answer = asked.getresponse()
        assert (answer.status, answer.read(), answer.getheader("connection")) == (200, b"null", "close")


@pytest.mark.parametrize("signals", [1, 2])
def test_what_the_end_breaks_off_is_told_without_a_traceback(
    robust_weights: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], signals: int
) -> None:
    """The first signal gives requests in progress some time, the second one none."""
    monkeypatch.setattr(run, "GRACE", 0.2 if signals == 1 else 20)
    application, begun = make_app(FaceLandmarker(robust_weights, threads=1)), threading.Event()

    @application.get("/long")
    async def long() -> None:
        begun.set()
        await asyncio.sleep(60)

    with running(application) as (server, asked):
        asked.request("GET", "/long")
        assert begun.wait(20)
        for _ in range(signals):
            server.handle_exit(signal.SIGINT, None)
        answer = asked.getresponse()
        assert (answer.status, answer.read()) == (503, b'{"error":"the service has ended: come again"}')
    assert application.state.ending
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(("files", "most"), [(1024, 768), (20_000, 19_744), (300, 150)])
def test_most_files_may_be_connections(files: int, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(resource, "getrlimit", lambda what: (files, files))
    assert run.most_files() == most
    monkeypatch.setattr(resource, "getrlimit", lambda what: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert run.most_files() > 1_000_000

"""What `/metrics` tells, in Prometheus' text format."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """The counters of one application; several in a process do not share them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("srn_requests", "Requests for faces by status.", ["status"], registry=self.registry)
        self.seconds = Histogram(
            "srn_request_seconds", "From a request's first byte to its answer.", buckets=SECONDS, registry=self.registry
        )
        self.faces = Counter("srn_faces", "Faces that were returned.", registry=self.registry)
        self.batch = Histogram(
            "srn_batch_pictures", "Pictures that were detected together.", buckets=(1, 2, 4, 8, 16),
            registry=self.registry,
        )  # fmt: skip
        self.taken = Gauge("srn_requests_in_progress", "Requests that are being worked on.", registry=self.registry)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class Counted:
    """Counts the requests to a path by the status of their answer, whether the route gives it or a check before it."""

    def __init__(self, app: ASGIApp, path: str, metrics: Metrics) -> None:
        self.app, self.path, self.metrics = app, path, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != self.path:
            await self.app(scope, receive, send)
            return
        begin, status = time.perf_counter(), 500  # where an error of ours ends it

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self.app(scope, receive, noted)
        finally:
            self.metrics.requests.labels(str(status)).inc()
            self.metrics.seconds.observe(time.perf_counter() - begin)

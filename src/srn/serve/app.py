"""The application: `POST /detect` takes a picture and returns its faces as `srn detect --json` does."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterator, Sequence
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, PlainTextResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

import srn
from srn.errors import DataError, InputError, SrnError, first_line, is_out_of_memory, shown
from srn.face.geometry import ImageArray
from srn.inference.batch import Choice
from srn.inference.face import Faces
from srn.inference.face_boxes import as_box
from srn.inference.landmarker import FaceLandmarker
from srn.inference.views import Accuracy
from srn.media.picture_count import stated_count
from srn.media.pictures import decode_image, decoded_bytes
from srn.media.results import compact, picture_record
from srn.serve.body import CLIENT_GONE, Upload, gone, read_upload
from srn.serve.guard import LOOPBACK_HOSTS, KnownHosts, refusal
from srn.serve.limits import Limits, Refused
from srn.serve.metrics import Counted, Metrics
from srn.serve.page import documentation
from srn.serve.pool import DetectionPool, Wish

NO_MEMORY = "no memory left for this picture: come again"
MOST_PATH = 200  # characters of an unknown path that are told

DETECT = "/detect"

MOST_BOXES = 256
"""Face boxes of a request at most: many of them hold up everybody else."""


Detected = tuple[ImageArray, Faces]


class Asked(BaseModel, extra="forbid"):
    """What a request for faces asks in its query. A word that is none of these is refused: it may be a misspelt one."""

    accuracy: Accuracy = Field("balanced", description="Views of each face: see `srn detect --help`.")
    min_confidence: float | None = Field(
        None, ge=0, le=1, description="Lowest mean confidence; doubtful faces are left out without it."
    )
    min_score: float = Field(0.0, ge=0, le=1, description="Lowest score of the face finder.")
    box: list[str] | None = Field(
        None, max_length=MOST_BOXES, description="A face box x0,y0,x1,y1 instead of the finder's. Repeatable."
    )


class Service:
    """What the routes share: the pool, the limits, the counters, and the state of what is in progress."""

    def __init__(self, landmarker: FaceLandmarker, limits: Limits, token: str | None) -> None:
        if token is not None and (not token or re.search(r"[\s\x00-\x1f]", token)):
            raise InputError.at("token", "one word", "none" if not token.strip() else "spaces or line ends in it")
        self.landmarker, self.limits, self._token = landmarker, limits, token
        self.metrics = Metrics()
        self.pool = DetectionPool(landmarker, self.metrics.batch.observe)
        self.started = time.monotonic()
        self._requests, self._bytes = 0, 0

    def check_token(self, request: Request) -> None:
        """Refuse a request without the token, where there is one; the time does not tell how much of it was right."""
        if self._token is None:
            return
        header = request.headers.get("authorization", "").encode("latin-1")  # the bytes that came
        scheme, _, given = header.partition(b" ")
        if scheme.lower() != b"bearer" or not hmac.compare_digest(given, self._token.encode()):
            raise Refused(401, "expected the header 'Authorization: Bearer TOKEN' with the service's token")

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Take a place in the queue for the block."""
        if self._requests >= self.limits.queue:
            raise Refused(429, f"{self.limits.queue} requests are in progress, the most at a time: come again")
        self._requests += 1
        self.metrics.taken.inc()
        try:
            yield
        finally:
            self._requests -= 1
            self.metrics.taken.dec()

    @contextlib.contextmanager
    def memory(self) -> Iterator[Callable[[int], None]]:
        """Give what takes further bytes of memory for the block. A single request always has enough."""
        mine = 0

        def take(size: int) -> None:
            nonlocal mine
            if self._bytes > mine and self._bytes + size > self.limits.memory * 1e6:
                raise Refused(429, f"the pictures in progress take {self.limits.memory:g} MB, the most: come again")
            self._bytes += size
            mine += size

        try:
            yield take
        finally:
            self._bytes -= mine

    @contextlib.asynccontextmanager
    async def upload(self, request: Request) -> AsyncIterator[Upload]:
        """Read what a request sends: a picture, as a rule. It has its place and its memory until the block ends.

        Raises:
            Refused: the token is missing, the limits are exceeded, or nothing is sent.
        """
        self.check_token(request)
        with self.place(), self.memory() as take:
            upload = await read_upload(request, self.limits, take)
            size = await run_in_threadpool(decoded_bytes, upload.content)
            pixels, most = size // 3, self.limits.megapixels * 1e6
            if pixels > most:
                raise Refused(413, f"{upload.name}: expected at most {most:.0f} pixels, found {pixels}")
            take(size)
            yield upload

    async def faces(
        self, request: Request, upload: Upload, accuracy: Accuracy, choice: Choice, boxes: Sequence[Any] | None
    ) -> Any:
        """Return the record of a picture: see `picture_record`.

        Raises:
            Refused: the picture is none, or takes too long, or its sender has gone.
        """
        image, found = await self._in_time(request, upload, accuracy, boxes)
        kept, left_out = choice.kept(found, boxed=boxes is not None)
        self.metrics.faces.inc(len(kept))
        count = await run_in_threadpool(stated_count, upload.content)
        record = picture_record(upload.path, image.shape[:2], kept.to_dict(), pictures=count)
        if left_out:
            record["left_out"] = left_out
        if boxes is None and len(found) == self.landmarker.max_faces:  # there may be more
            record["max_faces"] = self.landmarker.max_faces
        return record

    async def _detected(self, upload: Upload, accuracy: Accuracy, boxes: Sequence[Any] | None) -> Detected:
        image = await self._decoded(upload)
        return image, await asyncio.wrap_future(self.pool.submit(Wish(image, accuracy, boxes)))

    async def _decoded(self, upload: Upload) -> ImageArray:
        """Decode a picture in a thread. Nothing ends a thread: once nobody waits any more, its memory stays taken."""
        decoding = asyncio.ensure_future(run_in_threadpool(decode_image, upload.content, upload.name))
        try:
            return await asyncio.shield(decoding)
        except asyncio.CancelledError:
            size = len(upload.content) + decoded_bytes(upload.content)
            self._bytes += size

            def ended(done: asyncio.Future[ImageArray]) -> None:
                self._bytes -= size
                done.cancelled() or done.exception()  # nobody else asks for it, and asyncio would print it

            decoding.add_done_callback(ended)
            raise
        except DataError as error:
            raise Refused(415, str(error)) from error

    async def _in_time(
        self, request: Request, upload: Upload, accuracy: Accuracy, boxes: Sequence[Any] | None
    ) -> Detected:
        """Wait for the faces of a picture. Where its sender goes before it is begun, it is never begun."""
        answer = asyncio.ensure_future(self._detected(upload, accuracy, boxes))
        left = asyncio.ensure_future(gone(request))
        either: set[asyncio.Future[Any]] = {answer, left}
        try:
            async with asyncio.timeout(self.limits.seconds):
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise Refused(400, CLIENT_GONE)
            return answer.result()
        except TimeoutError as error:
            raise Refused(503, f"no answer within {self.limits.seconds:g} seconds: come again") from error
        except Exception as error:
            if is_out_of_memory(error) and not isinstance(error, Refused):  # which may quote a name
                raise Refused(503, NO_MEMORY) from error
            raise
        finally:
            left.cancel()
            answer.cancel()


def make_app(
    landmarker: FaceLandmarker,
    limits: Limits | None = None,
    token: str | None = None,
    hosts: Collection[str] | None = LOOPBACK_HOSTS,
) -> FastAPI:
    """Make the application.

    Args:
        landmarker: finds the faces; the service alone uses it from now on.
        limits: of requests.
        token: what `Authorization: Bearer ...` has to hold; None asks for nothing.
        hosts: names by which the service may be called; None for any.
    """
    service = Service(landmarker, limits or Limits(), token)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            yield
        except asyncio.CancelledError:  # a second Ctrl-C ends it at once
            return
        await run_in_threadpool(service.pool.close)

    app = FastAPI(
        title="srn", version=srn.__version__, lifespan=lifespan, docs_url=None, redoc_url=None, redirect_slashes=False,
        description="Facial landmarks that hold under occlusion. Points are pixels of the picture, x then y, from 0.",
    )  # fmt: skip
    app.state.service = service
    if hosts is not None:
        app.add_middleware(KnownHosts, hosts=hosts)
    app.add_middleware(Counted, path=DETECT, metrics=service.metrics)  # around the other: it counts its refusals
    _handle_errors(app)
    _add_routes(app, service)
    return app


def _handle_errors(app: FastAPI) -> None:
    """Answer every error with `{"error": reason}`."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> Response:
        return refusal(error.status, error.reason)

    @app.exception_handler(SrnError)
    async def mistaken(request: Request, error: SrnError) -> Response:
        return refusal(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return refusal(422, f"{first['loc'][-1]}: {first['msg']}, found {shown(first.get('input'))}")

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        answer = refusal(error.status_code, f"{request.method} {request.url.path[:MOST_PATH]}: {error.detail}")
        answer.headers.update(error.headers or {})  # which verbs are allowed
        return answer

    @app.exception_handler(Exception)
    async def broken(request: Request, error: Exception) -> Response:
        return refusal(500, f"{type(error).__name__}: {first_line(error)}")


def _add_routes(app: FastAPI, service: Service) -> None:
    @app.post(DETECT, summary="Find the faces of a picture", openapi_extra=_BODY, responses=_REFUSALS)
    async def detect(request: Request, asked: Annotated[Asked, Query()]) -> Response:
        async with service.upload(request) as upload:
            boxes = None if asked.box is None else [as_box(text.split(",")) for text in asked.box]  # type: ignore[arg-type]
            choice = Choice(None, asked.min_score, asked.min_confidence)
            record = await service.faces(request, upload, asked.accuracy, choice, boxes)
        return Response(compact(record), media_type="application/json")

    @app.head("/health", include_in_schema=False)  # as monitors ask
    @app.get("/health", summary="Whether the service answers, and with which weights")
    async def health() -> dict[str, Any]:
        return {
            "status": "ok",
            "version": srn.__version__,
            "weights": service.landmarker.localizer.name,
            "waiting": len(service.pool),
            "seconds": round(time.monotonic() - service.started, 1),
        }

    @app.get("/metrics", summary="Counters in Prometheus' text format", response_class=PlainTextResponse)
    async def metrics(request: Request) -> Response:
        service.check_token(request)
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(documentation(app.openapi()))


_BODY = {
    "requestBody": {
        "required": True,
        "description": "The bytes of a picture (JPEG, PNG, WebP, ...), or a form with the field `file`.",
        "content": {
            "image/*": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}}
            },
        },
    }
}
_REFUSAL = {
    "description": "The reason.",
    "content": {
        "application/json": {
            "schema": {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
        }
    },
}
_REFUSALS: dict[int | str, dict[str, Any]] = {"4XX": _REFUSAL, "5XX": _REFUSAL}

"""The page in the browser, and what it asks of the machine beside `POST /detect`: other weights, files, video."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import srn
from srn.errors import InputError, SrnError, first_line
from srn.face.localizer import Localizer
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.face.weights import NETWORKS
from srn.inference.drawing import COMPONENT_COLORS
from srn.inference.face import Faces
from srn.inference.landmarker import FaceLandmarker
from srn.inference.tracker import FaceTracker
from srn.inference.views import Accuracy
from srn.media.pictures import decode_image
from srn.media.pts import format_pts
from srn.media.results import (
    compact,
    frame_record,
    picture_record,
    pictures_coco,
    pictures_csv,
    pictures_json,
)
from srn.media.video_reading import open_video
from srn.media.video_writing import CODECS
from srn.serve.app import NO_MEMORY, Service, make_app
from srn.serve.body import Upload, receive
from srn.serve.limits import Limits, Refused
from srn.settings import parsed_json

VIDEO_MEGABYTES, VIDEO_FRAMES = 200.0, 3_000
"""Of a video that the page sends; longer ones are for `srn track`."""
VIDEOS = 2
"""Videos that are tracked at a time."""
MOST_NAME = 200  # characters of a file's name
SESSIONS = 4
"""Cameras that are tracked at a time; the one that was quiet for longest makes place."""

FILES = {
    "index.html": "text/html", "page.css": "text/css", "icon.svg": "image/svg+xml",
    **{f"{name}.js": "text/javascript" for name in ("page", "draw", "occlude", "video", "stage")},
}  # fmt: skip
"""The page's files: no other path is ever opened."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:;"
    " object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


class PageHeaders:
    """Adds the headers that hold a page in its own site to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


class Lines(StreamingResponse):
    """Sends lines as they come, and ends what makes them when the client has gone or has them all."""

    def __init__(self, lines: Generator[str, None, None], held: contextlib.ExitStack) -> None:
        super().__init__(lines, media_type="application/jsonl")
        self._lines, self._held = lines, held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._held:
            try:
                await super().__call__(scope, receive, send)
            finally:
                with contextlib.suppress(ValueError):  # broken off within a line, at the end of the program
                    await run_in_threadpool(self._lines.close)


class Desk:
    """What the page's routes share: landmarkers by weights, and the trackers of cameras."""

    def __init__(
        self, service: Service, open_weights: Callable[[str], FaceLandmarker], example: Path | None = None
    ) -> None:
        self.service, self.example, self._open_weights = service, example, open_weights
        self._others: dict[str, FaceLandmarker] = {}
        self._videos = 0
        self._trackers: OrderedDict[str, tuple[FaceTracker, threading.Lock]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def localizer(self) -> Localizer:
        return self.service.landmarker.localizer

    def info(self) -> dict[str, Any]:
        """Describe the weights, the scheme and the limits to the page."""
        limits, comparable = self.service.limits, self.localizer.scheme is IBUG_68  # the points of all other weights
        return {
            "version": srn.__version__,
            "weights": self.localizer.name,
            "others": [one.name for one in NETWORKS if comparable and one.path() is not None],
            "example": self.example is not None,
            "scheme": scheme_record(self.localizer.scheme),
            "limits": {"megabytes": limits.megabytes, "video_megabytes": VIDEO_MEGABYTES, "frames": VIDEO_FRAMES},
        }

    def other(self, weights: str) -> FaceLandmarker:
        """Open weights of the catalogue, once; raise `InputError` for any other name."""
        if weights not in {one.name for one in NETWORKS}:
            raise InputError.at("weights", f"one of {', '.join(one.name for one in NETWORKS)}", repr(weights))
        with self._lock:
            if weights not in self._others:
                self._others[weights] = self._open_weights(weights)
            return self._others[weights]

    def detect_by(self, weights: str, upload: Upload, accuracy: Accuracy) -> Any:
        """Return the record of a picture by other weights, doubtful faces among it: the page hides them."""
        landmarker, image = self.other(weights), decode_image(upload.content, upload.name)
        faces = self.service.landmarker.find(image)  # the same faces side by side
        with self._lock:
            landmarker.accuracy = accuracy
            (found,) = landmarker.detect_batch([image], [faces])
        return {**picture_record(upload.path, image.shape[:2], found.to_dict()), "weights": landmarker.localizer.name}

    def frame(self, session: str, upload: Upload, time_s: float) -> Any:
        """Track the faces of a camera's next frame; each session has a tracker of its own."""
        image = decode_image(upload.content, "frame")
        with self._lock:
            if session not in self._trackers:
                while len(self._trackers) >= SESSIONS:
                    self._trackers.popitem(last=False)
                self._trackers[session] = self.service.landmarker.tracker(), threading.Lock()
            self._trackers.move_to_end(session)
            tracker, busy = self._trackers[session]
        with busy:
            faces = tracker.update(image, time_s)
        return frame_record(0, time_s, faces.to_dict(), image.shape[:2])

    @contextlib.contextmanager
    def video_file(self, name: str) -> Iterator[Path]:
        """Give a file for a video that the page sends, until the block ends."""
        if self._videos >= VIDEOS:
            raise Refused(429, f"{VIDEOS} videos are being tracked, the most at a time: come again")
        suffix = Path(name).suffix.lower()
        self._videos += 1
        try:
            with tempfile.TemporaryDirectory(prefix="srn-") as folder:
                yield Path(folder) / f"video{suffix if suffix in CODECS else '.mp4'}"
        finally:
            self._videos -= 1

    def video_lines(self, path: Path, name: str, ending: Callable[[], bool]) -> Generator[str, None, None]:
        """Track a video; yield a line of JSON for its size, for each frame, and for its end or its error.

        Args:
            path: the file.
            name: what its sender calls it.
            ending: tells whether the program is to end, and nobody waits for the rest.
        """
        try:
            with contextlib.closing(open_video(path)) as reader:
                yield compact({"frame_rate": reader.frame_rate, "length": reader.length}) + "\n"
                tracker = self.service.landmarker.tracker(frame_rate=reader.frame_rate)
                for number, frame in enumerate(reader):
                    if number >= VIDEO_FRAMES:
                        yield compact({"error": f"the first {VIDEO_FRAMES} frames; srn track takes all of them"}) + "\n"
                        break
                    if ending():
                        yield compact({"error": "srn ui has ended"}) + "\n"
                        break
                    faces = tracker.update(frame.image, frame.time_s)
                    yield compact(frame_record(number, frame.time_s, faces.to_dict())) + "\n"
        except Exception as error:  # after the first line there is no other way to tell it
            yield compact({"error": first_line(error).replace(str(path), name)}) + "\n"
        yield compact({"done": True}) + "\n"


def scheme_record(scheme: LandmarkScheme) -> dict[str, Any]:
    """Describe a scheme to the page: components, colours, contours, eye corners."""
    return {
        "name": scheme.name,
        "components": {name: list(points) for name, points in scheme.components.items()},
        "colors": {name: "#{:02x}{:02x}{:02x}".format(*color) for name, color in COMPONENT_COLORS.items()},
        "contours": [[name, list(points), closed] for name, points, closed in scheme.contours],
        "eye_corners": list(scheme.eye_corners),
    }


def exported(content: bytes, kind: str, scheme: LandmarkScheme) -> bytes:
    """Return the file that `srn detect` writes of a picture, from its record as JSON. Nothing is written on the way.

    Raises:
        InputError: an unknown kind, or no record.
    """
    with InputError.reading("record", "a picture's record as /detect returns it"):
        record = parsed_json(content)
        faces = Faces.from_dict(record["faces"], scheme)
        size = int(record["height"]), int(record["width"])
        name = str(record["path"]).encode().decode()  # no half of a character, which no file holds
        clean = picture_record(Path(name), size, faces.to_dict())
    if kind == "json":
        text = pictures_json([compact(clean)])
    elif kind == "csv":
        text = pictures_csv([clean])
    elif kind == "coco":
        text = pictures_coco([clean])
    elif kind == "pts" and (biggest := faces.biggest()) is not None:
        text = format_pts(biggest.landmarks)
    else:
        expected = "json, csv, coco, or pts of a picture with a face"
        raise InputError.at("format", expected, f"{kind} and {len(faces)} faces")
    return text.encode()


def make_page(
    landmarker: FaceLandmarker,
    open_weights: Callable[[str], FaceLandmarker],
    limits: Limits,
    example: Path | None = None,
) -> FastAPI:
    """Make the application: the service for this machine, with the page on it.

    Args:
        landmarker: finds the faces.
        open_weights: opens other weights of the catalogue, for pictures side by side.
        limits: of requests.
        example: a JPEG file that the page offers to those who have no picture at hand.
    """
    app = make_app(landmarker, limits)
    desk = Desk(app.state.service, open_weights, example)
    app.add_middleware(PageHeaders)
    _add_files(app)
    _add_questions(app, desk)
    return app


def _add_files(app: FastAPI) -> None:
    folder = resources.files("srn.ui") / "page"

    def file_route(name: str, kind: str) -> None:
        content = (folder / name).read_bytes()
        path = "/" if name == "index.html" else f"/{name}"

        @app.get(path, include_in_schema=False)
        async def file() -> Response:
            return Response(content, media_type=kind)

    for name, kind in FILES.items():
        file_route(name, kind)


def _add_questions(app: FastAPI, desk: Desk) -> None:
    limits = desk.service.limits

    if desk.example is not None:
        picture = desk.example.read_bytes()

        @app.get("/example.jpg", include_in_schema=False)
        async def example() -> Response:
            return Response(picture, media_type="image/jpeg")

    @app.get("/page/info", include_in_schema=False)
    async def info() -> dict[str, Any]:
        return desk.info()

    @app.post("/page/detect", include_in_schema=False)
    async def detect(request: Request, weights: str, accuracy: Accuracy = "balanced") -> Response:
        async with desk.service.upload(request) as upload:
            return await _answer(lambda: compact(desk.detect_by(weights, upload, accuracy)))

    @app.post("/page/frame", include_in_schema=False)
    async def frame(request: Request, session: str, time_s: Annotated[float, Query(ge=0, lt=1e9)]) -> Response:
        async with desk.service.upload(request) as upload:
            return await _answer(lambda: compact(desk.frame(session[:64], upload, time_s)))

    @app.post("/page/video", include_in_schema=False)
    async def video(request: Request, name: str = "video.mp4") -> Response:
        name = Path(name.replace("\\", "/")).name[:MOST_NAME]
        with contextlib.ExitStack() as held:
            try:
                path = held.enter_context(desk.video_file(name))
                with path.open("wb") as file:
                    await receive(request, Limits(megabytes=VIDEO_MEGABYTES, seconds=limits.seconds), file.write)
            except OSError as error:  # the disk is full
                raise Refused(503, f"no place for the video: {first_line(error)}") from error
            return Lines(desk.video_lines(path, name, lambda: app.state.ending), held.pop_all())

    @app.post("/page/export", include_in_schema=False)
    async def export(request: Request, kind: str) -> Response:
        async with desk.service.upload(request) as upload:
            work = partial(exported, upload.content, kind, desk.localizer.scheme)
            return await _answer(work, media_type="application/octet-stream")


async def _answer(work: Callable[[], str | bytes], media_type: str = "application/json") -> Response:
    """Answer with what a function returns, computed in a thread.

    Raises:
        Refused: it cannot be done: the reason is the user's, or memory has ended.
    """
    try:
        return Response(await run_in_threadpool(work), media_type=media_type)
    except SrnError as error:
        raise Refused(422, str(error)) from error
    except MemoryError as error:
        raise Refused(503, NO_MEMORY) from error

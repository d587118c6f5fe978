"""The page in the browser, and what it asks of the machine beside `POST /detect`: other weights, files, video."""

from __future__ import annotations

import json
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import srn
from srn.errors import InputError, SrnError
from srn.face.localizer import Localizer
from srn.face.scheme import LandmarkScheme
from srn.face.weights import CATALOGUE
from srn.inference.batch import Choice
from srn.inference.drawing import COMPONENT_COLORS
from srn.inference.face import Faces
from srn.inference.landmarker import FaceLandmarker
from srn.inference.tracker import FaceTracker
from srn.inference.views import Accuracy
from srn.media.pictures import decode_image
from srn.media.pts import write_pts
from srn.media.results import (
    compact,
    frame_record,
    picture_record,
    write_pictures_coco,
    write_pictures_csv,
    write_pictures_json,
)  # fmt: skip
from srn.media.video_reading import open_video
from srn.serve.app import Service, make_app
from srn.serve.body import Upload, read_upload
from srn.serve.limits import Limits, Refused

VIDEO_MEGABYTES, VIDEO_FRAMES = 200.0, 3_000
"""Of a video that the page sends; longer ones are for `srn track`."""
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
    "Cache-Control": "no-cache",
}


class OwnPage:
    """Refuses what another site's page sends, and adds the headers that hold a page in its own site."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin")
        if origin is not None and origin.partition("://")[2] != headers.get("host"):
            answer = Response(compact({"error": f"a request of another site, {origin}"}), 403)
            await answer(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        await self.app(scope, receive, with_headers)


class Desk:
    """What the page's routes share: landmarkers by weights, and the trackers of cameras."""

    def __init__(self, service: Service, open_weights: Callable[[str], FaceLandmarker]) -> None:
        self.service, self._open_weights = service, open_weights
        self._others: dict[str, FaceLandmarker] = {}
        self._trackers: OrderedDict[str, tuple[FaceTracker, threading.Lock]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def localizer(self) -> Localizer:
        return self.service.landmarker.localizer

    def info(self) -> dict[str, Any]:
        """Describe the weights, the scheme and the limits to the page."""
        limits = self.service.limits
        here = [one.name for one in CATALOGUE if one.path() is not None]
        return {
            "version": srn.__version__,
            "weights": self.localizer.name,
            "others": here,
            "scheme": scheme_record(self.localizer.scheme),
            "limits": {"megabytes": limits.megabytes, "video_megabytes": VIDEO_MEGABYTES, "frames": VIDEO_FRAMES},
        }

    def other(self, weights: str) -> FaceLandmarker:
        """Open weights of the catalogue, once; raise `InputError` for any other name."""
        if weights not in {one.name for one in CATALOGUE}:
            raise InputError.at("weights", f"one of {', '.join(one.name for one in CATALOGUE)}", repr(weights))
        with self._lock:
            if weights not in self._others:
                self._others[weights] = self._open_weights(weights)
            return self._others[weights]

    def detect_by(self, weights: str, upload: Upload, accuracy: Accuracy, min_confidence: float | None) -> Any:
        """Return the record of a picture by other weights."""
        landmarker, image = self.other(weights), decode_image(upload.content, upload.name)
        boxes = [found.box for found in self.service.landmarker.find(image)]  # the same faces side by side
        with self._lock:
            landmarker.accuracy = accuracy
            (found,) = landmarker.detect_batch([image], [boxes])
        kept, _ = Choice(None, 0.0, min_confidence).kept(found)
        return {**picture_record(upload.path, image.shape[:2], kept.to_dict()), "weights": landmarker.localizer.name}

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
        height, width = image.shape[:2]
        return {**frame_record(0, time_s, faces.to_dict()), "width": width, "height": height}

    def video_lines(self, content: bytes, name: str) -> Iterator[str]:
        """Track a video; yield a line of JSON for its size, for each frame, and for its end or its error."""
        with tempfile.TemporaryDirectory(prefix="srn-") as folder:
            path = Path(folder) / f"video{Path(name).suffix.lower() or '.mp4'}"
            path.write_bytes(content)
            try:
                reader = open_video(path)
                yield compact({"frame_rate": reader.frame_rate, "length": reader.length}) + "\n"
                tracker = self.service.landmarker.tracker(frame_rate=reader.frame_rate)
                for number, frame in enumerate(reader):
                    if number >= VIDEO_FRAMES:
                        yield compact({"error": f"the first {VIDEO_FRAMES} frames; srn track takes all of them"}) + "\n"
                        break
                    faces = tracker.update(frame.image, frame.time_s)
                    yield compact(frame_record(number, frame.time_s, faces.to_dict())) + "\n"
                reader.close()
            except SrnError as error:
                yield compact({"error": str(error).replace(str(path), name)}) + "\n"
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


def exported(record: Mapping[str, Any], kind: str, scheme: LandmarkScheme) -> bytes:
    """Write a picture's record by the package's own writers, and return the file.

    Raises:
        InputError: an unknown kind, or no record.
    """
    try:
        faces = Faces.from_dict(record["faces"], scheme)
        clean = picture_record(
            Path(str(record["path"])), (int(record["height"]), int(record["width"])), faces.to_dict()
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError.at("record", "a picture's record as /detect returns it", str(error)) from error
    with tempfile.TemporaryDirectory(prefix="srn-") as folder:
        path = Path(folder) / "faces"
        if kind == "json":
            write_pictures_json(path, [compact(clean)])
        elif kind == "csv":
            write_pictures_csv(path, [clean])
        elif kind == "coco":
            write_pictures_coco(path, [{**clean, "path": Path(folder) / clean["path"]}])
        elif kind == "pts" and faces:
            write_pts(path, max(faces, key=lambda face: face.box.size).landmarks)
        else:
            expected = "json, csv, coco, or pts of a picture with a face"
            raise InputError.at("format", expected, f"{kind} and {len(faces)} faces")
        return path.read_bytes()


def make_page(landmarker: FaceLandmarker, open_weights: Callable[[str], FaceLandmarker], limits: Limits) -> FastAPI:
    """Make the application: the service for this machine, with the page on it.

    Args:
        landmarker: finds the faces.
        open_weights: opens other weights of the catalogue, for pictures side by side.
        limits: of requests.
    """
    app = make_app(landmarker, limits)
    desk = Desk(app.state.service, open_weights)
    app.add_middleware(OwnPage)
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

    @app.get("/page/info", include_in_schema=False)
    async def info() -> dict[str, Any]:
        return desk.info()

    @app.post("/page/detect", include_in_schema=False)
    async def detect(
        request: Request, weights: str, accuracy: Accuracy = "balanced",
        min_confidence: Annotated[float | None, Query(ge=0, le=1)] = None,
    ) -> Response:  # fmt: skip
        upload = await read_upload(request, limits)
        desk.service.check_pixels(upload)
        return await _answer(lambda: desk.detect_by(weights, upload, accuracy, min_confidence))

    @app.post("/page/frame", include_in_schema=False)
    async def frame(request: Request, session: str, time_s: Annotated[float, Query(ge=0, lt=1e9)]) -> Response:
        upload = await read_upload(request, limits)
        desk.service.check_pixels(upload)
        return await _answer(lambda: desk.frame(session[:64], upload, time_s))

    @app.post("/page/video", include_in_schema=False)
    async def video(request: Request, name: str = "video.mp4") -> Response:
        upload = await read_upload(request, Limits(megabytes=VIDEO_MEGABYTES, seconds=limits.seconds))
        lines = desk.video_lines(upload.content, Path(name.replace("\\", "/")).name)
        return StreamingResponse(lines, media_type="application/jsonl")

    @app.post("/page/export", include_in_schema=False)
    async def export(request: Request, kind: str) -> Response:
        upload = await read_upload(request, limits)
        try:
            content = exported(json.loads(upload.content), kind, desk.localizer.scheme)
        except (ValueError, SrnError) as error:
            raise Refused(422, str(error)) from error
        return Response(content, media_type="application/octet-stream")


async def _answer(work: Callable[[], Any]) -> Response:
    """Answer with what a function returns, computed in a thread."""
    try:
        return Response(compact(await run_in_threadpool(work)), media_type="application/json")
    except SrnError as error:
        raise Refused(422, str(error)) from error

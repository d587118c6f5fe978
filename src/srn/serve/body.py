"""The body of a request: the picture itself, or a form with a file, read within the limits."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Callable
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from srn.errors import first_line, shown
from srn.serve.limits import Limits, Refused

FIELD = "file"
CLIENT_GONE = "the client has gone"
FORM_OVERHEAD = 10_000  # bytes of a form beside its file


class Upload(NamedTuple):
    """An encoded picture, and the name that its sender gave it: a label, never a path that is opened."""

    content: bytes
    name: str

    @property
    def path(self) -> Path:
        return Path(self.name)


async def read_upload(request: Request, limits: Limits, take: Callable[[int], object] = lambda size: None) -> Upload:
    """Read a request's picture.

    Args:
        take: called with the bytes of each part before it is kept.

    Raises:
        Refused: the body is too large (413), too slow (408), empty or a form without the file (422).
    """
    form = request.headers.get("content-type", "").lower().startswith("multipart/form-data")
    parts: list[bytes] = []

    def keep(part: bytes) -> None:
        take(len(part))
        parts.append(part)

    await receive(request, limits, keep, extra=FORM_OVERHEAD if form else 0)
    body = b"".join(parts)
    upload = await _file(request, body) if form else Upload(body, "picture")
    if not upload.content:
        raise Refused(422, "expected a picture as the body, or a form with the field 'file', found nothing")
    return upload


async def receive(request: Request, limits: Limits, keep: Callable[[bytes], object], *, extra: int = 0) -> None:
    """Give each part of a request's body to `keep`, as it arrives.

    Args:
        extra: bytes above the limit that are no part of a file.

    Raises:
        Refused: the body is too large (413), too slow (408), or its sender has gone (400).
    """
    most = int(limits.megabytes * 1e6) + extra
    try:
        async with asyncio.timeout(limits.seconds):
            await _receive(request, most, limits, keep)
    except TimeoutError as error:
        raise Refused(408, f"the body did not arrive within {limits.seconds:g} seconds") from error
    except ClientDisconnect as error:
        raise Refused(400, CLIENT_GONE) from error


async def gone(request: Request) -> None:
    """Wait until the sender of a request, whose body was read, closes the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _receive(request: Request, most: int, limits: Limits, keep: Callable[[bytes], object]) -> None:
    announced = request.headers.get("content-length", "0")
    if announced.isdecimal() and int(announced) > most:
        raise Refused(413, f"expected at most {limits.megabytes:g} MB, found {int(announced) / 1e6:g} MB")
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise Refused(413, f"expected at most {limits.megabytes:g} MB, found more")
        keep(part)


def _hint(body: bytes) -> str:
    """Tell of a name as HTTP's own headers have it: in a form it is none (RFC 7578, 4.2)."""
    return "; filename*=, which it has, names no file of a form" if b"filename*" in body[:FORM_OVERHEAD] else ""


class _InMemory(MultiPartParser):
    """Keeps files in memory, where the body is already: the service writes nothing, and faces stay off the disk."""

    spool_max_size = sys.maxsize


async def _file(request: Request, body: bytes) -> Upload:
    """Take the file out of a form."""

    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await _InMemory(request.headers, whole(), max_files=1, max_fields=4).parse()
    except (MultiPartException, ValueError) as error:
        found = getattr(error, "message", None) or first_line(error)
        raise Refused(422, f"expected a form with one file, found {found}") from error
    try:
        return await _only_file(form, body)
    finally:
        await form.close()


async def _only_file(form: FormData, body: bytes) -> Upload:
    """Read the file of a form, which has nothing beside it."""
    given = form.get(FIELD)
    if not isinstance(given, UploadFile):
        found = f"the fields {shown(sorted(form))}" if form else "none"
        found = found if given is None else f"text in it: its part has no filename{_hint(body)}"
        raise Refused(422, f"expected a form with a file in the field {FIELD!r}, found {found}")
    if others := sorted(form.keys() - {FIELD}):
        found = f"{shown(others)} beside it; accuracy, box and the like belong into the query of the address"
        raise Refused(422, f"expected a form with the field {FIELD!r} alone, found {found}")
    content = await given.read()
    # Browsers send names; old ones and scripts send whole paths of both systems.
    name = PurePosixPath((given.filename or "").replace("\\", "/")).name
    return Upload(content, name or "picture")

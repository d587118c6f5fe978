"""FFmpeg through PyAV, an optional package (extra `video`)."""

from __future__ import annotations

import os
from types import ModuleType


def find_pyav() -> ModuleType | None:
    """Return the module `av`; None where PyAV is not installed."""
    try:
        import av
    except ImportError:
        return None
    return av


def quiet() -> None:
    """Silence FFmpeg's messages about broken files, which a `DataError` reports in one line. For programs only."""
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    av = find_pyav()
    if av is not None:
        av.logging.set_level(av.logging.PANIC)


def local_file(path: str | os.PathLike[str]) -> str:
    """Return the name under which FFmpeg opens a file as a file: in `12:30.mp4` it would see a protocol."""
    return os.path.abspath(path)


def short(error: Exception) -> str:
    """Return the first line of an FFmpeg error, without its numbers and file names."""
    text = getattr(error, "strerror", None) or str(error).strip() or type(error).__name__
    return str(text).splitlines()[0]

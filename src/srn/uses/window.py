"""A window that shows the frames of a video while they are tracked, where OpenCV and the machine have windows."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from fractions import Fraction
from types import TracebackType
from typing import Self

import cv2

from srn.errors import MissingDependencyError
from srn.face.geometry import ImageArray
from srn.media.video_writing import FrameSink

TITLE = "srn: q ends"
_END_KEYS = (ord("q"), 27)  # Escape
_LONGEST_WAIT = 1.0  # seconds between two frames of a file

_BROWSER = "`srn ui` shows pictures, videos and the camera in a browser instead"
_EXCHANGE = (
    "or exchange OpenCV, never two of them side by side: pip uninstall -y opencv-python-headless && pip install "
    "opencv-python"
)


def why_no_window(
    environment: Mapping[str, str] = os.environ, platform: str = sys.platform, build: str | None = None
) -> str | None:
    """Return why no window can be shown, and what to do; None where one can.

    Args:
        environment: the environment's variables.
        platform: as `sys.platform`.
        build: what OpenCV says of itself (`cv2.getBuildInformation()`).
    """
    gui = re.search(r"^\s*GUI:\s*(\S+)", cv2.getBuildInformation() if build is None else build, re.MULTILINE)
    if gui is None or gui[1] == "NONE":
        return f"this OpenCV (opencv-python-headless) has no windows; {_BROWSER}, {_EXCHANGE}"
    has_display = environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")
    if platform.startswith("linux") and not has_display:
        return f"this terminal has no display; {_BROWSER}"
    return None


class Window:
    """Shows frames, at the pace of their times, until the window is closed or `q` or Escape is pressed.

    Use as a context. It stands in the place of a video writer, and hands the frames on to `writer` if there is one. As
    a user ends it, it raises `KeyboardInterrupt`, as Ctrl-C does; `closed` tells the two apart.

    Raises:
        MissingDependencyError: no window can be shown; the message says what to do.
    """

    def __init__(self, writer: FrameSink | None = None) -> None:
        reason = why_no_window()
        if reason is not None:
            raise MissingDependencyError(f"--show needs a window: {reason}")
        self._writer, self.closed = writer, False
        self._begin: float | None = None
        cv2.namedWindow(TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)

    def write(self, image: ImageArray, time_s: float, pixel_aspect: Fraction = Fraction(1)) -> None:
        """Show a frame (H, W, 3) uint8 RGB."""
        if self._writer is not None:
            self._writer.write(image, time_s, pixel_aspect)
        now = time.monotonic()
        self._begin = now - time_s if self._begin is None else self._begin
        wait = min(max(self._begin + time_s - now, 0.0), _LONGEST_WAIT)
        cv2.imshow(TITLE, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        key = cv2.waitKey(max(round(wait * 1000), 1))
        if key & 0xFF in _END_KEYS or cv2.getWindowProperty(TITLE, cv2.WND_PROP_VISIBLE) < 1:
            self.closed = True
            raise KeyboardInterrupt

    def complete(self) -> None:
        """Note the end of the video."""
        if self._writer is not None:
            self._writer.complete()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cv2.destroyAllWindows()

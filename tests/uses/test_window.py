"""The preview window: told apart from what has none, and ended as a user ends it."""

from __future__ import annotations

import time
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import pytest

from srn.errors import MissingDependencyError
from srn.uses.window import Window, why_no_window

QT = "  GUI:                           QT5\n    QT:   YES (ver 5.15)"


@pytest.mark.parametrize(
    ("environment", "platform", "build", "reason"),
    [
        (
            {"DISPLAY": ":0"},
            "linux",
            "  GUI:                           NONE\n",
            "opencv-python-headless) has no windows",
        ),
        ({"DISPLAY": ":0"}, "linux", "nothing of the kind", "has no windows"),
        ({}, "linux", QT, "no display"),
        ({"DISPLAY": ":0"}, "linux", QT, None),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", QT, None),
        ({}, "darwin", "  GUI:                           COCOA\n", None),
        ({}, "win32", "  GUI:                           WIN32UI\n", None),
    ],
)
def test_where_there_are_windows(environment: dict[str, str], platform: str, build: str, reason: str | None) -> None:
    found = why_no_window(environment, platform, build)
    assert found is None if reason is None else reason in str(found)
    assert reason is None or "`srn ui`" in str(found)


def test_the_headless_opencv_is_named() -> None:
    """The package depends on it, so it is what the tests run with."""
    with pytest.raises(MissingDependencyError) as caught:
        Window()
    assert str(caught.value).startswith("--show needs a window: this OpenCV (opencv-python-headless) has no windows")
    assert "\n" not in str(caught.value)


class Screen:
    """OpenCV's windows, as far as they are used."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, keys: list[int], visible: bool = True) -> None:
        self.shown: list[Any] = []
        self.waits: list[int] = []
        self._keys = keys
        monkeypatch.setattr("srn.uses.window.why_no_window", lambda: None)
        monkeypatch.setattr(cv2, "namedWindow", lambda *arguments: None)
        monkeypatch.setattr(cv2, "imshow", lambda title, image: self.shown.append(image))
        monkeypatch.setattr(cv2, "waitKey", self._wait)
        monkeypatch.setattr(cv2, "getWindowProperty", lambda *arguments: 1.0 if visible else 0.0)
        monkeypatch.setattr(cv2, "destroyAllWindows", lambda: self.shown.append("closed"))

    def _wait(self, milliseconds: int) -> int:
        self.waits.append(milliseconds)
        return self._keys.pop(0) if self._keys else -1


def test_frames_are_shown_at_their_pace_and_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen(monkeypatch, [])
    handed: list[tuple[float, Fraction]] = []

    class Sink:
        def write(self, image: Any, time_s: float, pixel_aspect: Fraction = Fraction(1)) -> None:
            handed.append((time_s, pixel_aspect))

        def complete(self) -> None:
            handed.append((-1.0, Fraction(0)))

    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    red = np.zeros((4, 6, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    with Window(Sink()) as window:
        for time_s in (5.0, 5.04, 9.0):
            window.write(red, time_s, Fraction(4, 3))
        window.complete()

    assert [image[0, 0].tolist() for image in screen.shown[:3]] == [[0, 0, 255]] * 3  # BGR
    assert screen.shown[3:] == ["closed"]
    assert screen.waits == [1, 40, 1000]
    assert handed == [(5.0, Fraction(4, 3)), (5.04, Fraction(4, 3)), (9.0, Fraction(4, 3)), (-1.0, Fraction(0))]
    assert not window.closed


@pytest.mark.parametrize(("keys", "visible"), [([ord("q")], True), ([27], True), ([], False)])
def test_a_user_ends_it(monkeypatch: pytest.MonkeyPatch, keys: list[int], visible: bool) -> None:
    Screen(monkeypatch, keys, visible)
    with Window() as window, pytest.raises(KeyboardInterrupt):
        window.write(np.zeros((4, 6, 3), np.uint8), 0.0)
    assert window.closed

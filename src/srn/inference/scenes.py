"""Detect cuts and changes in a video at little cost, and decide by them when the face finder runs."""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from srn.errors import InputError
from srn.face.geometry import Box, ImageArray
from srn.face.localizer import Float32Array

WIDTH, HEIGHT = 32, 24  # of a thumbnail, pixels
MOST_SCENES = 4  # that are remembered beside the present one


@dataclass(frozen=True, eq=False)
class FrameSignature:
    """A compact description of a frame."""

    thumbnail: Float32Array  # (24, 32, 3) in [0, 1]: the frame, reduced and blurred
    colors: Float32Array  # (512,) square roots of the shares of 8 x 8 x 8 colours

    @classmethod
    def of(cls, image: ImageArray) -> FrameSignature:
        step = max(1, min(image.shape[:2]) // 96)
        part = np.ascontiguousarray(image[::step, ::step])
        small = cv2.GaussianBlur(cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), (0, 0), 1)
        counts = cv2.calcHist([part], [0, 1, 2], None, [8, 8, 8], [0, 256] * 3).ravel()
        return cls(small.astype(np.float32) / np.float32(255), np.sqrt(counts / counts.sum()).astype(np.float32))

    @functools.cached_property
    def layout(self) -> Float32Array:
        """The thumbnail without its mean colour."""
        return np.asarray(self.thumbnail - self.thumbnail.mean(axis=(0, 1)), np.float32)

    @functools.cached_property
    def details(self) -> Float32Array:
        """The thumbnail without the overall brightness, which changes with the exposure."""
        return np.asarray(self.thumbnail - np.median(self.thumbnail.reshape(-1, 3), axis=0), np.float32)


def agreement(one: FrameSignature, other: FrameSignature) -> tuple[float, float]:
    """Measure the similarity of two frames, as (layout, colours).

    Layout is the correlation of the thumbnails in [-1, 1], independent of light and exposure. Colours is the
    Bhattacharyya coefficient in [0, 1], independent of motion.
    """
    a, b = one.layout, other.layout
    # The constant keeps the noise of two blank frames from making them differ.
    power = float((a * a).sum() + 1e-3) * float((b * b).sum() + 1e-3)
    return (float((a * b).sum()) + 1e-3) / power**0.5, float(one.colors @ other.colors)


def is_cut(one: FrameSignature, other: FrameSignature) -> bool:
    """Whether two consecutive frames show different scenes."""
    layout, colors = agreement(one, other)
    return (layout < 0.72 and colors < 0.88) or (layout < 0.2 and colors < 0.95)


@dataclass
class _Scene:
    number: int
    frame: FrameSignature
    time_s: float


class SceneMemory:
    """Number the scenes of a video, from 0.

    A scene that comes back within `memory_s` seconds gets its old number, so that tracks survive a flash of light or a
    cut away and back. The last `MOST_SCENES` are remembered.
    """

    def __init__(self, memory_s: float = 4.0) -> None:
        self.memory_s = memory_s
        self._past: deque[_Scene] = deque(maxlen=MOST_SCENES)
        self._now: _Scene | None = None
        self._count = 0

    @property
    def number(self) -> int:
        """Number of the scene of the last frame; -1 before the first."""
        return -1 if self._now is None else self._now.number

    def update(self, frame: FrameSignature, time_s: float) -> bool:
        """Take the next frame; returns whether a scene begins or comes back with it."""
        if self._now is not None and not is_cut(self._now.frame, frame):
            self._now.frame, self._now.time_s = frame, time_s
            return False
        if self._now is not None:
            self._past.append(self._now)
        known = [s for s in self._past if time_s - s.time_s <= self.memory_s and not is_cut(s.frame, frame)]
        if known:
            self._now = known[-1]
            self._past.remove(self._now)
            self._now.frame, self._now.time_s = frame, time_s
        else:
            self._now = _Scene(self._count, frame, time_s)
            self._count += 1
        return True


def changed_outside(one: FrameSignature, other: FrameSignature, boxes: list[Box], size: tuple[int, int]) -> float:
    """Measure the share of a scene that has changed away from known faces, as where a new face appears.

    The boxes, in picture pixels, are excluded with a margin of half their size. `size` is (width, height).
    """
    away = np.ones((HEIGHT, WIDTH), bool)
    scale = np.array([WIDTH / size[0], HEIGHT / size[1]])
    for box in boxes:
        low, high = ((box.center + side * box.size) * scale for side in (-1, 1))
        x0, y0 = np.maximum(np.floor(low), 0).astype(int)
        x1, y1 = np.maximum(np.ceil(high), 0).astype(int)
        away[y0:y1, x0:x1] = False
    return float((np.abs(one.details - other.details) > 0.12).any(axis=2)[away].sum() / away.size)


class FinderSchedule:
    """Decide when to run the face finder, which costs as much as viewing ten faces.

    The finder runs in the first frame, after an alarm (a cut, a weak face), and then at intervals. While a face is lost
    or weak, they are 1, 2, 4, ... frames, up to `when_empty`. For `every` frames after an alarm or a loss, each change
    of the picture makes a run due while a face is lost or none is there: what hid it may pass. At other times a change
    away from the faces does so `after_change` frames after the last run. Whenever such a run shows no new face, as with
    a moving camera, the next change has to wait twice as long.

    Args:
        every: largest interval, frames.
        when_empty: largest interval while there is no face, or one is lost or weak.
        after_change: smallest interval after a change.

    Raises:
        InputError: an interval is below 1.
    """

    def __init__(self, every: int = 30, when_empty: int = 5, after_change: int = 8) -> None:
        intervals = {"find_every": every, "find_when_empty": when_empty, "find_after_change": after_change}
        for name, frames in intervals.items():
            if frames < 1:
                raise InputError.at(name, "at least 1 frame", str(frames))
        self.every, self.when_empty, self.after_change = every, when_empty, after_change
        self.runs = 0
        self._age = 0  # frames since the last run
        self._doubt_interval = 0  # interval while a face is lost or weak
        self._change_interval = after_change  # interval after a change
        self._by_change = False  # whether a change made the last run due
        self._last: FrameSignature | None = None  # frame of the last run
        self._alarm = True
        self._eager = every  # frames in which every change makes a run due while a face is lost or none is there

    def alarm(self) -> None:
        """Make a run due in the next frame, after a cut."""
        self._alarm, self._doubt_interval, self._eager = True, 1, self.every

    def doubt(self) -> None:
        """Start the intervals anew, after the loss of a face."""
        self._doubt_interval, self._eager = 1, self.every

    def ran(self, frame: FrameSignature) -> None:
        """Note a run in this frame, which was not due."""
        self.runs += 1
        self._alarm, self._by_change, self._age, self._last = False, False, 0, frame

    def due(self, frame: FrameSignature, faces: Sequence[Box], doubtful: int, size: tuple[int, int]) -> bool:
        """Whether to run the finder in this frame of `size` (width, height), which is then taken as done.

        `faces` are the boxes of the followed faces, in picture pixels. `doubtful` faces are lost or weak.
        """
        self._age += 1
        limit = self.every if faces else min(self.every, self.when_empty)
        if doubtful:
            limit = min(limit, self._doubt_interval)
        due = self._alarm or self._last is None or self._age >= limit
        self._by_change = False
        eager = self._eager > 0 and (doubtful > 0 or not faces)
        self._eager -= 1
        late = self._age >= self._change_interval
        if not due and (eager or late) and self._last is not None:
            due = changed_outside(self._last, frame, list(faces), size) > 0.02
            self._by_change = due and late
        if due:
            by_change = self._by_change
            self.ran(frame)
            self._by_change = by_change
            self._doubt_interval = min(2 * max(self._doubt_interval, 1), self.every, self.when_empty)
        return due

    def learn(self, new_face: bool) -> None:
        """Adapt the interval after a change to whether the run showed a new face."""
        if new_face:
            self._change_interval = self.after_change
        elif self._by_change:
            self._change_interval = min(2 * self._change_interval, max(self.every, self.after_change))

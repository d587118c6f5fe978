"""`FinderSchedule`: decide in which frames a tracker runs the face finder."""

from __future__ import annotations

from collections.abc import Sequence

from srn.errors import InputError
from srn.face.geometry import Box
from srn.inference.scenes import FrameSignature, changed_outside


class FinderSchedule:
    """Decide when to run the face finder, which costs as much as viewing ten faces.

    The finder runs in the first frame, after an alarm (a cut, a lost face), and then at intervals. While a face is lost
    or weak, they are 2, 4, 8, ... frames. A change in the picture away from the faces also makes a run due. Whenever
    such a run shows no new face, as with a moving camera, the next change has to wait twice as long.

    Args:
        every: largest interval, frames.
        when_empty: largest interval while there is no face.
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

    def alarm(self) -> None:
        """Make a run due in the next frame, after a cut or the loss of a face."""
        self._alarm, self._doubt_interval = True, 1

    def due(self, frame: FrameSignature, faces: Sequence[Box], doubtful: int, size: tuple[int, int]) -> bool:
        """Whether to run the finder in this frame, which is then taken as done.

        Args:
            faces: boxes of the followed faces, picture pixels.
            doubtful: number of this scene's faces that are lost or weak.
            size: (width, height) of the frame, pixels.
        """
        self._age += 1
        limit = self.every if faces else min(self.every, self.when_empty)
        if doubtful:
            limit = min(limit, self._doubt_interval)
        due = self._alarm or self._last is None or self._age >= limit
        self._by_change = False
        if not due and self._age >= self._change_interval and self._last is not None:
            due = self._by_change = changed_outside(self._last, frame, list(faces), size) > 0.02
        if due:
            self.runs += 1
            self._doubt_interval = min(2 * max(self._doubt_interval, 1), self.every)
            self._alarm, self._age, self._last = False, 0, frame
        return due

    def learn(self, new_face: bool) -> None:
        """Adapt the interval after a change to whether the run showed a new face."""
        if new_face:
            self._change_interval = self.after_change
        elif self._by_change:
            self._change_interval = min(2 * self._change_interval, max(self.every, self.after_change))

"""When a tracker asks the face finder."""

from __future__ import annotations

from collections.abc import Sequence

from srn.errors import InputError
from srn.face.geometry import Box
from srn.inference.scenes import Look, changed_outside


class FinderSchedule:
    """When to ask the face finder, which costs as much as ten faces: at first, and then as seldom as will do.

    Every `every` frames; every `when_empty` while there is no face; at once after a cut and after a face was
    lost or its confidence fell, then, while that lasts, after 2, 4, 8, ... frames; and `look_again` frames after the
    last time at the earliest where the picture has changed away from the faces, twice as long each time that this has
    shown nothing new (a moving camera changes everything).
    """

    def __init__(self, every: int = 30, when_empty: int = 5, look_again: int = 8) -> None:
        for name, frames in (("find_every", every), ("find_when_empty", when_empty), ("look_again", look_again)):
            if frames < 1:
                raise InputError.at(name, "at least 1 frame", str(frames))
        self.every, self.when_empty, self.look_again = every, when_empty, look_again
        self.runs = 0
        """How often the finder was asked."""
        self._age = 0  # frames since then
        self._gap = 0  # frames to wait for while a face is in doubt
        self._patience = look_again  # frames that a change has to wait
        self._by_change = False  # whether a change was the reason
        self._look: Look | None = None  # what the picture looked like then
        self._alarm = True

    def alarm(self) -> None:
        """Something happened (a cut, a loss): ask in the next frame, and often after that."""
        self._alarm, self._gap = True, 1

    def due(self, look: Look, faces: Sequence[Box], doubtful: int, size: tuple[int, int]) -> bool:
        """Whether to ask in this frame.

        Args:
            look: this frame.
            faces: boxes of the faces that are followed well.
            doubtful: how many of this scene's faces are waited for, or followed with little confidence.
            size: (width, height) of the frame.
        """
        self._age += 1
        limit = self.every if faces else min(self.every, self.when_empty)
        if doubtful:
            limit = min(limit, self._gap)
        due = self._alarm or self._look is None or self._age >= limit
        self._by_change = False
        if not due and self._age >= self._patience and self._look is not None:
            due = self._by_change = changed_outside(self._look, look, list(faces), size) > 0.02
        if due:
            self.runs += 1
            self._gap = min(2 * max(self._gap, 1), self.every)
            self._alarm, self._age, self._look = False, 0, look
        return due

    def learn(self, news: bool) -> None:
        """Tell whether the run that was due showed a face that was not known."""
        if news:
            self._patience = self.look_again
        elif self._by_change:
            self._patience = min(2 * self._patience, max(self.every, self.look_again))

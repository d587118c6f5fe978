"""Eyes and mouth: how far they are open, and blinks in a video.

The eye aspect ratio is that of Soukupova and Cech (*Real-Time Eye Blink Detection using Facial Landmarks*, CVWW 2016,
equation 1): with the corners p1, p4 and the lids p2, p3 above p6, p5, EAR = (|p2 p6| + |p3 p5|) / (2 |p1 p4|). A head
that turns shows its eyes narrower and so seemingly wider open. `openness` multiplies the ratio by the share of the
eye's width that is seen in the head's pose, known from the 3-D model (`srn.uses.pose`). It says nothing of the gaze.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from srn.errors import InputError, check_number
from srn.face.geometry import FloatArray
from srn.inference.face import Face
from srn.uses.points import INNER_LIPS, LEFT_EYE, RIGHT_EYE, Opening, check_scheme
from srn.uses.pose import HeadPose, head_model, head_pose

EyeState = Literal["open", "closed", "unsure"]

CLOSED_RATIO, OPEN_RATIO = 0.08, 0.315
"""Eye aspect ratios of openness 0 and 1: the 2nd percentile and the median of the 3,148 training faces of 300W."""

CLOSED, OPEN = 0.35, 0.55
"""Openness below which an eye's state is `closed`, and above which it is `open`."""

LEAST_CONFIDENCE = 0.5
"""Mean confidence of an eye's points below which its state is `unsure`."""


def aspect_ratio(landmarks: FloatArray, opening: Opening) -> float:
    """Return the mean height of an opening over its width, from points (N, 2); 0 where it has no width.

    For an eye this is the eye aspect ratio of Soukupova and Cech.
    """
    first, last = (landmarks[corner] for corner in opening.corners)
    width = float(np.linalg.norm(last - first))
    heights = [np.linalg.norm(landmarks[upper] - landmarks[lower]) for upper, lower in opening.pairs]
    return float(np.mean(heights)) / width if width > 0 else 0.0


def seen_share(pose: HeadPose, opening: Opening) -> float:
    """Return the share of an opening's width that is seen when the head is turned so, in [0, 1]."""
    first, last = (head_model().points[corner] for corner in opening.corners)
    across = last - first
    return float(np.linalg.norm(pose.rotation[:2] @ across) / np.linalg.norm(across))


@dataclass(frozen=True)
class Openness:
    """Eyes and mouth of a face. Left and right are the picture's.

    Attributes:
        left_ratio, right_ratio: eye aspect ratios, corrected for the head's pose.
        left_eye, right_eye: openness in [0, 1]: 0 closed, 1 as open as the median eye or wider.
        left_state, right_state: `open` or `closed`; `unsure` in between, and where the points are in doubt.
        mouth: height of the gap between the lips over its width, corrected for the head's pose; 0 closed.
    """

    left_ratio: float
    right_ratio: float
    left_eye: float
    right_eye: float
    left_state: EyeState
    right_state: EyeState
    mouth: float


def openness(face: Face, pose: HeadPose | None = None) -> Openness:
    """Measure how far eyes and mouth are open; `pose` is that of `head_pose` if None.

    Raises:
        InputError: the face has another scheme than the 68 points.
    """
    check_scheme(face.scheme, "openness")
    pose = head_pose(face) if pose is None else pose
    points = face.landmarks
    left, right, mouth = (
        aspect_ratio(points, opening) * seen_share(pose, opening) for opening in (LEFT_EYE, RIGHT_EYE, INNER_LIPS)
    )
    eyes = [float(np.clip((ratio - CLOSED_RATIO) / (OPEN_RATIO - CLOSED_RATIO), 0, 1)) for ratio in (left, right)]
    states = [
        _state(value, _confidence(face, opening)) for value, opening in zip(eyes, (LEFT_EYE, RIGHT_EYE), strict=True)
    ]
    return Openness(left, right, eyes[0], eyes[1], states[0], states[1], mouth)


def _confidence(face: Face, opening: Opening) -> float:
    """Return the mean confidence of an opening's points; 1 where the weights predict none."""
    indices = [*opening.corners, *(index for pair in opening.pairs for index in pair)]
    return 1.0 if face.confidence is None else float(face.confidence[indices].mean())


def _state(value: float, confidence: float) -> EyeState:
    if confidence < LEAST_CONFIDENCE or CLOSED <= value <= OPEN:
        return "unsure"
    return "open" if value > OPEN else "closed"


class Blink(NamedTuple):
    """A blink: when the eyes began to close, were closed most, and opened again (seconds); and how far they closed.

    `depth` is the fall of the eye aspect ratio as a share of the open eyes': 1 for an eye that is shut.
    """

    begin_s: float
    closed_s: float
    end_s: float
    depth: float

    @property
    def duration_s(self) -> float:
        """From the beginning to the opening, in seconds."""
        return self.end_s - self.begin_s


class BlinkDetector:
    """Finds the blinks of one person: give it each frame in order, and it returns a blink once that is over.

    A blink is a fall of the eye aspect ratio and a rise after it, each of at least `fall` times the open eyes' ratio,
    within a short time. So narrow eyes blink as well, two blinks in a row are two, and eyes that stay closed are none.
    The open eyes' ratio is the 80th percentile of the last seconds.

    Args:
        fall: least fall and rise, as a share of the open eyes' ratio.
        longest_s: longest blink, in seconds.
        memory_s: seconds from which the open eyes' ratio is taken.

    Raises:
        InputError: `fall` is not between 0 and 1, or a time is not positive.
    """

    def __init__(self, *, fall: float = 0.3, longest_s: float = 0.8, memory_s: float = 10.0) -> None:
        above_0, below_1 = math.nextafter(0, 1), math.nextafter(1, 0)
        check_number("BlinkDetector's fall", fall, "a share between 0 and 1", least=above_0, most=below_1)
        for name, seconds in (("longest_s", longest_s), ("memory_s", memory_s)):
            check_number(f"BlinkDetector's {name}", seconds, "seconds above 0", least=above_0)
        self.fall, self.longest_s, self.memory_s = fall, longest_s, memory_s
        self._past: deque[tuple[float, float]] = deque()  # time and ratio of the last `memory_s`
        self._recent: deque[tuple[float, float]] = deque()  # since the last blink, of the last `longest_s`
        self._begun: float | None = None  # when the blink that is under way began
        self._high = 0.0  # the ratio from which it fell
        self._lowest = (0.0, 0.0)  # its least ratio, and when

    @property
    def open_ratio(self) -> float | None:
        """The open eyes' ratio; None before the first frame."""
        return float(np.percentile([ratio for _, ratio in self._past], 80)) if self._past else None

    def update(self, time_s: float, ratio: float | None) -> Blink | None:
        """Take the next frame.

        Args:
            time_s: its time in seconds, not before the last one's.
            ratio: the mean of both eyes' aspect ratios; None where the face is not seen. A blink that is under way is
                then forgotten.

        Returns:
            The blink that ends with this frame, or None.

        Raises:
            InputError: the time runs back.
        """
        if self._past and time_s < self._past[-1][0]:
            raise InputError.at("time of a frame", f"seconds from {self._past[-1][0]:g} on", f"{time_s:g}")
        if ratio is None:
            self._begun = None
            self._recent.clear()
            return None
        for times, length in ((self._past, self.memory_s), (self._recent, self.longest_s)):
            times.append((time_s, ratio))
            while time_s - times[0][0] > length:
                times.popleft()
        least = self.fall * (self.open_ratio or 0.0)
        if self._begun is None:
            self._high = max(value for _, value in self._recent)
            if self._high - ratio > least:
                self._begun = max(time for time, value in self._recent if value >= self._high - least / 2)
                self._lowest = (ratio, time_s)
            return None
        self._lowest = min(self._lowest, (ratio, time_s))
        blink = None
        if ratio - self._lowest[0] > least:
            depth = (self._high - self._lowest[0]) / (self.open_ratio or 1.0)
            blink = Blink(self._begun, self._lowest[1], time_s, depth)
        if blink is not None or time_s - self._begun > self.longest_s:
            self._begun, self._recent = None, deque([(time_s, ratio)])
        return blink

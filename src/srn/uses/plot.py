"""Draw what a tracked video says of each face over time: confidence, visibility, eyes, mouth and head pose."""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srn.errors import InputError, MissingDependencyError
from srn.face.scheme import IBUG_68, LandmarkScheme
from srn.files import CHART_FORMATS, write_atomically
from srn.inference.drawing import track_color
from srn.inference.face import Face
from srn.inference.video import LEAST_FRAMES_SEEN
from srn.media.results import Record
from srn.uses.openness import Blink, BlinkDetector, openness
from srn.uses.pose import head_pose

POINTS_ONLY = ("confidence", "visible")
WITH_POSE = ("eyes", "mouth", "yaw", "pitch", "roll")

_LABELS = {
    "confidence": "confidence", "visible": "visible\npoints", "eyes": "eyes open", "mouth": "mouth open",
    "yaw": "yaw (°)", "pitch": "pitch (°)", "roll": "roll (°)",
}  # fmt: skip
_RANGES = {"confidence": (0, 1), "visible": (0, 1), "eyes": (0, 1)}
_MOST_NAMED = 10  # faces in the legend
_DARKER = 0.72  # a track's colour is made for dark pictures
_NOTHING = float("nan")


@dataclass
class _Person:
    """One face over time: values by panel, NaN where it is not seen."""

    frame: int = 0  # the last one with the face, counted from 1
    times: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    blinks: list[Blink] = field(default_factory=list)
    detector: BlinkDetector = field(default_factory=BlinkDetector)


class TrackChart:
    """Gathers the records of a video's frames, and draws them: a panel for each measure, a colour for each face.

    Args:
        path: the file that `write` writes; its suffix chooses the format (.png, .svg, .pdf), PNG where it has none.
        scheme: numbering of the landmarks. Only the 68 points have eyes, mouth and pose.

    Raises:
        MissingDependencyError: Matplotlib is not installed (extra `eval`).
        InputError: the format is unknown.
    """

    def __init__(self, path: str | os.PathLike[str], scheme: LandmarkScheme = IBUG_68) -> None:
        self.path, self.scheme, self._format = Path(path), scheme, _format_of(path)
        self.panels = (*POINTS_ONLY, *WITH_POSE) if scheme is IBUG_68 else POINTS_ONLY
        self._people: dict[int, _Person] = {}
        self._seen: Counter[int] = Counter()
        self._frames = 0

    def take(self, record: Record) -> None:
        """Take the record of the next frame (`srn.media.results.frame_record`)."""
        self._frames += 1
        for values in record["faces"]:
            face = Face.from_dict(values, self.scheme)
            number = 0 if face.track_id is None else face.track_id
            self._seen[number] += face.state == "seen"
            person = self._people.setdefault(number, _Person())
            absent = person.frame and self._frames - person.frame > 1
            if absent and record["time_s"] - person.times[-1] > 1:  # a line does not cross a long absence
                self._append(person, person.times[-1], {})
            person.frame = self._frames
            self._append(person, record["time_s"], self._measured(face, person, record["time_s"]))

    def _append(self, person: _Person, time_s: float, measured: dict[str, float]) -> None:
        person.times.append(time_s)
        for panel in self.panels:
            person.values.setdefault(panel, []).append(measured.get(panel, _NOTHING))

    def _measured(self, face: Face, person: _Person, time_s: float) -> dict[str, float]:
        measured = {} if face.mean_confidence is None else {"confidence": face.mean_confidence}
        if face.state != "seen":
            person.detector.update(time_s, None)
            return measured
        if face.visibility is not None:
            measured["visible"] = float((face.visibility >= 0.5).mean())
        if self.scheme is not IBUG_68:
            return measured
        pose = head_pose(face)
        opened = openness(face, pose)
        blink = person.detector.update(time_s, (opened.left_ratio + opened.right_ratio) / 2)
        person.blinks += [] if blink is None else [blink]
        return {
            **measured,
            "eyes": (opened.left_eye + opened.right_eye) / 2,
            "mouth": opened.mouth,
            "yaw": pose.yaw,
            "pitch": pose.pitch,
            "roll": pose.roll,
        }

    @property
    def blinks(self) -> dict[int, list[Blink]]:
        """The blinks of each face so far, by the number of its track."""
        return {number: list(person.blinks) for number, person in self._people.items()}

    def write(self) -> None:
        """Draw the chart into the file. A face that was seen in fewer than five frames is left out.

        Raises:
            InputError: the file cannot be written.
        """
        from matplotlib.figure import Figure

        figure = Figure(figsize=(11, 1.35 * len(self.panels) + 0.8), layout="constrained")
        axes = figure.subplots(len(self.panels), 1, sharex=True, squeeze=False)[:, 0]
        least = min(LEAST_FRAMES_SEEN, self._frames)
        people = {n: p for n, p in sorted(self._people.items()) if self._seen[n] >= least}
        for panel, place in zip(self.panels, axes, strict=True):
            self._draw(place, panel, people)
        axes[-1].set_xlabel("time (s)")
        if people:
            handles, labels = axes[0].get_legend_handles_labels()
            labels = labels[:_MOST_NAMED]
            if len(people) > _MOST_NAMED:
                labels[-1] += f" and {len(people) - _MOST_NAMED} more"
            figure.legend(handles[: len(labels)], labels, loc="outside upper left", ncols=5, frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=self._format, dpi=110)
        write_atomically(self.path, buffer.getvalue())

    def _draw(self, axes: Any, panel: str, people: dict[int, _Person]) -> None:
        for number, person in people.items():
            color = [channel / 255 * _DARKER for channel in track_color(number)]
            label = f"face {number}"
            if panel == self.panels[0] and person.blinks:
                label += f", {len(person.blinks)} blink{'s' if len(person.blinks) > 1 else ''}"
            axes.plot(person.times, person.values[panel], color=color, linewidth=1, label=label)
            if panel == "eyes" and person.blinks:
                moments = [blink.closed_s for blink in person.blinks]
                axes.plot(moments, [0.03] * len(moments), color=color, marker="^", markersize=4, linestyle="none")
        axes.set_ylabel(_LABELS[panel], fontsize=9)
        if panel in _RANGES:
            low, high = _RANGES[panel]
            axes.set_ylim(low - 0.03, high + 0.03)
        elif panel == "mouth":
            axes.set_ylim(bottom=0)
        else:
            axes.axhline(0, color="0.6", linewidth=0.8)
        axes.grid(alpha=0.3)
        axes.margins(x=0.01)


def _format_of(path: str | os.PathLike[str]) -> str:
    suffix = Path(path).suffix.lower() or ".png"
    if suffix not in CHART_FORMATS:
        raise InputError.at(path, f"a chart ({', '.join(CHART_FORMATS)})", suffix)
    with MissingDependencyError.importing("eval", "plotting"):
        import matplotlib.backend_bases  # noqa: F401
    return suffix.lstrip(".")

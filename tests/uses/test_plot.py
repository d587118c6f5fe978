"""The chart of a track: what it gathers, and that it is a picture with a line for each face."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68
from srn.files import CHART
from srn.inference.drawing import track_color
from srn.inference.face import Face
from srn.media.pictures import read_image
from srn.media.results import frame_record
from srn.uses.plot import TrackChart
from srn.uses.pose import head_model, rotation_of

Shape = npt.NDArray[np.float64]


def frame(number: int, people: dict[int, float], *, closed: bool = False, state: Any = "seen") -> dict[str, Any]:
    """A frame of faces with the yaw of each, ten frames a second."""
    faces = []
    for track, yaw in people.items():
        points = head_model().points.copy()
        if closed:
            points[[37, 38, 43, 44]] = points[[41, 40, 47, 46]]
        shape = 50 * points @ rotation_of(yaw, 0, 0)[:2].T + 150
        sure = np.full(68, 0.8, np.float32)
        faces.append(Face(shape, sure, sure, Box.around(shape), 0.9, IBUG_68, track, state=state).to_dict())
    return frame_record(number, number / 10, faces)


def test_two_people_and_a_blink(tmp_path: Path) -> None:
    chart = TrackChart(tmp_path / "chart.png")
    for k in range(40):
        chart.take(frame(k, {1: -20.0, 2: 30.0 - k}, closed=k == 20))
    chart.write()

    assert {number: len(blinks) for number, blinks in chart.blinks.items()} == {1: 1, 2: 1}
    assert chart.blinks[1][0].closed_s == pytest.approx(2.0)
    content = (tmp_path / "chart.png").read_bytes()
    assert CHART.head.match(content[:256])  # a later run may replace it
    image = read_image(tmp_path / "chart.png").astype(int)
    for number in (1, 2):
        color = np.array(track_color(number)) * 0.72
        assert (np.abs(image - color).max(axis=2) < 25).sum() > 300, number


def test_a_predicted_face_has_no_eyes(tmp_path: Path) -> None:
    chart = TrackChart(tmp_path / "chart.svg")
    for k in range(20):
        chart.take(frame(k, {1: 0.0}, closed=k in (10, 11), state="predicted" if k in (10, 11) else "seen"))
    assert chart.blinks == {1: []}


def test_a_false_find_is_left_out(tmp_path: Path) -> None:
    chart = TrackChart(tmp_path / "chart.svg")
    for k in range(10):
        chart.take(frame(k, {1: 0.0, 2: 0.0} if k < 2 else {1: 0.0}))
    chart.write()
    drawn = (tmp_path / "chart.svg").read_text()
    assert "face 1" in drawn
    assert "face 2" not in drawn


def colored(path: Path) -> int:
    """Pixels of the lines: everything else is grey."""
    return int((np.ptp(read_image(path).astype(int), axis=2) > 20).sum())


def test_frames_far_apart_have_lines_and_a_long_absence_has_none(tmp_path: Path) -> None:
    """A time lapse has a frame every few seconds: each was taken for an absence, and the chart was empty."""
    lapse, gone = TrackChart(tmp_path / "lapse.png"), TrackChart(tmp_path / "gone.png")
    for k in range(24):
        lapse.take({**frame(k, {1: 0.0}), "time_s": 5.0 * k})
        gone.take(frame(k, {1: 0.0} if k < 6 or k >= 18 else {}))
    lapse.write()
    gone.write()
    assert colored(tmp_path / "lapse.png") > 1.5 * colored(tmp_path / "gone.png") > 1000


def test_no_face_at_all(tmp_path: Path) -> None:
    chart = TrackChart(tmp_path / "empty.png")
    chart.take(frame_record(0, 0.0, []))
    chart.write()
    assert read_image(tmp_path / "empty.png").shape[2] == 3


def test_other_schemes_have_two_panels(tmp_path: Path) -> None:
    chart = TrackChart(tmp_path / "chart.png", COFW_29)
    shape = np.random.default_rng(0).uniform(0, 90, (29, 2))
    face = Face(shape, np.ones(29, np.float32), np.ones(29, np.float32), Box.around(shape), 0.9, COFW_29, 1)
    for k in range(6):
        chart.take(frame_record(k, k / 10, [face.to_dict()]))
    chart.write()
    assert chart.panels == ("confidence", "visible")


def test_an_unknown_format(tmp_path: Path) -> None:
    """Among them are those that Matplotlib knows, but a second run would take for a photograph, or needs TeX for."""
    for suffix in (".docx", ".jpg", ".raw", ".pgf", ".svgz"):
        with pytest.raises(InputError, match=rf"chart{suffix}: expected a chart \(.png, .svg, .pdf\), found {suffix}"):
            TrackChart(tmp_path / f"chart{suffix}")

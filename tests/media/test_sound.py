"""The sound of a video, on the clock of its frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from srn.media.sound import opened_sound, sound_packets
from srn.media.video_reading import open_video
from srn.media.video_writing import VideoWriter

from .conftest import frames_of, make, number_of

pytest.importorskip("av", reason="PyAV (the extra `video`) makes the test videos")


def moments_of(path: Path) -> list[float]:
    source = opened_sound(path)
    assert source is not None
    with source:
        return [float(p.pts * p.time_base) for p in sound_packets(source) if p.pts is not None]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_the_sound_of_recordings_that_were_joined_goes_on_with_their_pictures(tmp_path: Path, suffix: str) -> None:
    """The clock of each begins anew: `cat a.ts b.ts > all.ts`. No video was left, for times that run back."""
    one = make(tmp_path / "one.ts", 30, time_base=Fraction(1, 90000), sound="aac", sound_s=0.5)
    joined, path = tmp_path / "all.ts", tmp_path / f"b{suffix}"
    joined.write_bytes(one.read_bytes() * 3)
    with VideoWriter(path, 30.0, sound_from=joined) as out:
        for frame in open_video(joined):
            out.write(frame.image, frame.time_s)
        out.complete()
    assert out.sound_lost is None
    alone, moments = np.array(moments_of(one)), np.array(moments_of(path))
    assert np.diff(moments).min() > 0
    assert np.diff(moments).max() < 0.03  # seconds: without a hole
    assert len(moments) < 3 * len(alone)  # it outlasts the pictures of each
    starts = [frame.time_s for frame in frames_of(open_video(path)) if number_of(frame.image) == 0]
    assert len(starts) == 3
    assert moments[-1] - starts[2] == pytest.approx(alone[-1] - starts[0], abs=0.03)


def test_sound_that_begins_anew_without_pictures_goes_on(tmp_path: Path) -> None:
    one = make(tmp_path / "one.ts", 30, time_base=Fraction(1, 90000), sound="aac")
    two = make(tmp_path / "two.ts", [1.2], time_base=Fraction(1, 90000), sound="aac")  # its sound begins at 0
    joined = tmp_path / "all.ts"
    joined.write_bytes(one.read_bytes() + two.read_bytes())
    moments = np.array(moments_of(joined))
    assert np.diff(moments).min() > 0
    assert moments[-1] == pytest.approx(29 / 30 + 1.2, abs=0.15)

"""Track the faces of a video, and write it with their landmarks, numbers and traces.

python examples/video.py clip.mp4 --out overlay.mp4

`srn track` does this and more; the loop here is the place for your own code.
"""

from __future__ import annotations

import argparse
import contextlib
from pathlib import Path

from srn import FaceLandmarker, SrnError, TrackPainter
from srn.media.video_reading import open_video
from srn.media.video_writing import VideoWriter


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("video")
    parser.add_argument("--out", default="overlay.mp4", type=Path)
    given = parser.parse_args(words)

    reader = open_video(given.video)
    tracker = FaceLandmarker().tracker(frame_rate=reader.frame_rate)
    painter = TrackPainter(trace_s=0.5)
    seen: set[int] = set()
    with contextlib.closing(reader), VideoWriter(given.out, reader.frame_rate, reader.time_base) as writer:
        for frame in reader:
            faces = tracker.update(frame.image, frame.time_s)  # <- your own code goes below this line
            seen |= {face.track_id for face in faces if face.track_id is not None}
            writer.write(painter.draw(frame.image, faces, frame.time_s), frame.time_s, frame.pixel_aspect)
        writer.complete()
    print(f"{len(seen)} tracked, drawn in {given.out}")


if __name__ == "__main__":
    try:
        main()
    except SrnError as error:  # such as a broken video
        raise SystemExit(str(error)) from None

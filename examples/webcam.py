"""Track the faces before a camera, live: in a window where OpenCV has one, else as a line of text for each frame.

python examples/webcam.py            # the first camera; q or Ctrl-C ends it
python examples/webcam.py clip.mp4   # a video instead

The wheel that srn depends on, opencv-python-headless, has no windows. For one, replace it:
pip uninstall opencv-python-headless, then pip install opencv-python.
"""

from __future__ import annotations

import argparse
import contextlib

import cv2

from srn import FaceLandmarker, SrnError, TrackPainter
from srn.media.video_reading import open_video


def has_windows() -> bool:
    """Whether this OpenCV can open a window here."""
    try:
        cv2.namedWindow("srn")
    except cv2.error:
        return False
    return True


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", nargs="?", default="0", help="number of a camera, or a video")
    given = parser.parse_args(words)

    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)  # a missing camera is told below, in one line
    reader = open_video(int(given.source) if given.source.isdecimal() else given.source)
    tracker, painter, window = FaceLandmarker().tracker(), TrackPainter(), has_windows()
    with contextlib.closing(reader), contextlib.suppress(KeyboardInterrupt):
        for frame in reader:
            faces = tracker.update(frame.image, frame.time_s)
            if window:
                cv2.imshow("srn", painter.draw(frame.image, faces, frame.time_s)[..., ::-1])
                if cv2.waitKey(1) & 0xFF == ord("q"):
                    break
            else:
                states = [f"face {face.track_id} {face.state} {face.mean_confidence or 0:.2f}" for face in faces]
                print(f"{frame.time_s:.2f} s: {', '.join(states) or 'no face'}")


if __name__ == "__main__":
    try:
        main()
    except SrnError as error:  # such as no camera
        raise SystemExit(str(error)) from None

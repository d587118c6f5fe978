"""Make `docs/images/hopper.mp4` and `docs/images/hopper_frames.jpg`: a portrait brought to life, hidden, and followed.

    python tools/make_video_demo.py

The portrait is Rear Admiral Grace Hopper, a public-domain photograph of the U.S. Navy that ships with Matplotlib. Her
head turns, nods and shifts (`srn.synthesis.animate`), things pass in front of her face
(`srn.synthesis.covered_clips`), and the tracker, as anyone would use it, follows. The sheet
shows every fifteenth frame.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from matplotlib.cbook import get_sample_data

from srn import FaceLandmarker
from srn.datasets.sample import Sample
from srn.face.geometry import ImageArray
from srn.inference.track_overlay import TrackPainter
from srn.media.pictures import read_image, write_image
from srn.media.video import VideoWriter
from srn.synthesis.animate import MotionConfig, animate_picture
from srn.synthesis.covered_clips import passed_clip

OUT = Path(__file__).parents[1] / "docs" / "images"
FRAMES, RATE, COLUMNS = 150, 30, 5
MOTION = MotionConfig(
    flip=0, rotation_deg=0, still=0, period=(50, 80), turn_deg=12, light=0, grey=0, compression=0, masks=0,
    sunglasses=0, occluders=0,
)  # fmt: skip


class _Cut:
    """The middle of the portrait, as a `PictureSource`."""

    def load(self) -> ImageArray:
        return read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))[20:420, 20:500]


def main() -> None:
    landmarker = FaceLandmarker(flip_average=True)
    (face,) = landmarker.detect(_Cut().load())
    still = Sample(Path("grace_hopper.jpg"), face.landmarks, face.scheme, "portrait", source=_Cut())
    alive = animate_picture(still, MOTION, np.random.default_rng(0), FRAMES)
    clip = passed_clip(alive, np.random.default_rng(0), lambda: np.ascontiguousarray(_Cut().load()[::-1]))
    tracker, painter = FaceLandmarker().tracker(frame_rate=RATE), TrackPainter()
    shown = []
    with VideoWriter(OUT / "hopper.mp4", RATE) as video:
        for number in range(FRAMES):
            time_s = number / RATE
            frame = clip.frame(number)
            drawn = painter.draw(frame, tracker.update(frame, time_s), time_s)
            video.write(drawn, time_s)
            if number % 15 == 7:
                shown.append(drawn)
        video.complete()
    rows = [np.concatenate(shown[i : i + COLUMNS], axis=1) for i in range(0, len(shown), COLUMNS)]
    sheet = cv2.resize(np.concatenate(rows), (0, 0), fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    write_image(OUT / "hopper_frames.jpg", sheet.astype(np.uint8, copy=False), quality=85)
    print(OUT / "hopper.mp4", f"{(OUT / 'hopper.mp4').stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()

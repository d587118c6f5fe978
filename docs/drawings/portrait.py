"""Draw the portrait of the README, hidden in three ways, and the tracked video of `docs/video.md`.

    python docs/drawings/portrait.py

Writes `hopper.jpg`, `hopper.mp4` and `hopper_frames.jpg` into `docs/images`. The portrait is Rear Admiral Grace Hopper,
a public-domain photograph of the U.S. Navy that comes with Matplotlib; every point is what the shipped weights say,
drawn anew when they change.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from faces import portrait
from srn import FaceLandmarker, draw_faces
from srn.inference.drawing import TrackPainter
from srn.media.pictures import write_image
from srn.media.video_writing import VideoWriter
from srn.synthesis.animated_face import random_animation
from srn.synthesis.config import MotionConfig
from srn.synthesis.occluders import drawn_mask, fingers, sunglasses

OUT = Path(__file__).parents[1] / "images"
FRAMES, RATE, SHOWN_EVERY, COLUMNS = 150, 30, 15, 5
MOTION = MotionConfig(
    flip=0, rotation_deg=0, still=0, period=(50, 80), turn_deg=12, light=0, grey=0, compression=0, masks=0,
    sunglasses=0, occluders=1,
)  # fmt: skip


def draw_hidden(landmarker: FaceLandmarker) -> None:
    """One portrait plain, with a mask, with sunglasses and behind fingers, side by side."""
    plain = np.ascontiguousarray(portrait("hopper")[90:450, 60:460])
    (face,) = landmarker.detect(plain)
    masked, shaded, behind = plain.copy(), plain.copy(), plain.copy()
    drawn_mask(masked, face.landmarks, face.scheme, np.random.default_rng(2))
    sunglasses(shaded, face.landmarks, face.scheme, np.random.default_rng(6))
    fingers(behind, face.landmarks[54], 130, np.random.default_rng(2))
    tiles = [draw_faces(one, landmarker.detect(one), boxes=False) for one in (plain, masked, shaded, behind)]
    write_image(OUT / "hopper.jpg", np.concatenate(tiles, axis=1), quality=88)


def draw_video(landmarker: FaceLandmarker) -> None:
    """The portrait turns and moves, things pass before it, and the tracker follows."""
    still = np.ascontiguousarray(portrait("hopper")[20:420, 20:500])
    size = (still.shape[1], still.shape[0])
    (face,) = landmarker.detect(still)
    shapes = np.repeat(face.landmarks[None], FRAMES, axis=0)
    alive = random_animation([still], shapes, face.scheme, MOTION, np.random.default_rng(0), lambda: still[::-1])
    tracker, painter, shown = landmarker.tracker(frame_rate=RATE), TrackPainter(), []
    with VideoWriter(OUT / "hopper.mp4", RATE) as video:
        for number in range(FRAMES):
            frame, time_s = alive.render(number, np.eye(2, 3), size), number / RATE
            drawn = painter.draw(frame, tracker.update(frame, time_s), time_s)
            video.write(drawn, time_s)
            if number % SHOWN_EVERY == SHOWN_EVERY // 2:
                shown.append(drawn)
        video.complete()
    rows = [np.concatenate(shown[i : i + COLUMNS], axis=1) for i in range(0, len(shown), COLUMNS)]
    sheet = cv2.resize(np.concatenate(rows), (0, 0), fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    write_image(OUT / "hopper_frames.jpg", sheet.astype(np.uint8, copy=False), quality=85)


def main() -> None:
    landmarker = FaceLandmarker(threads=1)
    draw_hidden(landmarker)
    draw_video(landmarker)


if __name__ == "__main__":
    main()

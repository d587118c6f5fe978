"""Find the faces of one picture, print what is known of each, and draw them.

python examples/photo.py portrait.jpg --out drawn.jpg
"""

from __future__ import annotations

import argparse

import cv2
import numpy as np

from srn import FaceLandmarker, SrnError, draw_faces, read_image


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture")
    parser.add_argument("--out", default="drawn.jpg")
    given = parser.parse_args(words)

    image = read_image(given.picture)  # (H, W, 3) uint8 RGB, upright
    faces = FaceLandmarker().detect(image).above(confidence=0.25)
    for number, face in enumerate(faces, 1):
        x, y = face.part("nose").mean(axis=0)
        hidden = 0 if face.visibility is None else int(np.sum(face.visibility < 0.5))
        sure = face.mean_confidence or 0.0
        print(f"face {number}: nose at ({x:.0f}, {y:.0f}), {hidden} of 68 points hidden, confidence {sure:.2f}")
    cv2.imwrite(given.out, draw_faces(image, faces)[..., ::-1])  # OpenCV writes BGR
    print(f"{len(faces)} found, drawn in {given.out}")


if __name__ == "__main__":
    try:
        main()
    except SrnError as error:  # such as a broken picture
        raise SystemExit(str(error)) from None

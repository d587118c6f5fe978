"""Tell how each head of a picture is turned, and draw its axes.

python examples/pose.py portrait.jpg --out pose.jpg
"""

from __future__ import annotations

import argparse

import cv2

from srn import FaceLandmarker, SrnError, read_image
from srn.uses.pose import draw_pose, head_pose


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture")
    parser.add_argument("--out", default="pose.jpg")
    given = parser.parse_args(words)

    image = drawn = read_image(given.picture)
    for number, face in enumerate(FaceLandmarker().detect(image), 1):
        pose = head_pose(face)
        print(f"face {number}: yaw {pose.yaw:z.0f}, pitch {pose.pitch:z.0f}, roll {pose.roll:z.0f} degrees")
        drawn = draw_pose(drawn, face, pose)
    cv2.imwrite(given.out, drawn[..., ::-1])


if __name__ == "__main__":
    try:
        main()
    except SrnError as error:  # such as a broken picture
        raise SystemExit(str(error)) from None

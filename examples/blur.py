"""Cover every face of a picture, more of it where the landmarks are in doubt.

python examples/blur.py portrait.jpg --out covered.jpg --target eyes --style fill

`srn anonymize` does this for folders and videos. Faces that are not found are not covered: look at what comes out.
"""

from __future__ import annotations

import argparse

import cv2

from srn import SrnError, read_image
from srn.uses.anonymize import cautious_landmarker
from srn.uses.cover import Cover, cover_faces


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture")
    parser.add_argument("--out", default="covered.jpg")
    parser.add_argument("--target", choices=["face", "eyes"], default="face")
    parser.add_argument("--style", choices=["pixelate", "blur", "fill"], default="pixelate")
    given = parser.parse_args(words)

    image = read_image(given.picture)
    faces = cautious_landmarker().detect(image)  # rather a face too many: doubtful ones are covered, too
    covered = cover_faces(image, faces, Cover(target=given.target, style=given.style))
    cv2.imwrite(given.out, covered[..., ::-1])
    print(f"{len(faces)} covered in {given.out}")


if __name__ == "__main__":
    try:
        main()
    except SrnError as error:  # such as a broken picture
        raise SystemExit(str(error)) from None

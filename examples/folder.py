"""Go through a folder in batches and write one row for each face.

python examples/folder.py holiday --out table.csv

`srn detect holiday --format csv --out .` writes every landmark; this shows how to make a table of your own.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from srn import FaceLandmarker, SrnError

PICTURES = {".jpg", ".jpeg", ".png", ".webp"}


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", default="table.csv")
    given = parser.parse_args(words)

    paths = sorted(path for path in given.folder.rglob("*") if path.suffix.lower() in PICTURES)
    landmarker = FaceLandmarker()
    with open(given.out, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["picture", "face", "score", "confidence", "visible", "eyes_x", "eyes_y"])
        for first in range(0, len(paths), 16):
            some = paths[first : first + 16]
            for path, faces in zip(some, landmarker.detect_batch(some), strict=True):
                for number, face in enumerate(faces, 1):
                    x, y = face.part("eyes").mean(axis=0)
                    visible = "" if face.visibility is None else int((face.visibility >= 0.5).sum())
                    confidence = f"{face.mean_confidence or 0:.3f}"
                    table.writerow(
                        [path.name, number, f"{face.score:.3f}", confidence, visible, f"{x:.1f}", f"{y:.1f}"]
                    )
    print(f"{len(paths)} pictures, table in {given.out}")


if __name__ == "__main__":
    try:
        main()
    except SrnError as error:  # such as a broken picture
        raise SystemExit(str(error)) from None

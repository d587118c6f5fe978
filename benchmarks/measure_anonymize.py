"""Measure how well annotated faces are covered; write `docs/results/anonymize.json` and `anonymize.md`.

    python benchmarks/measure_anonymize.py DATA

DATA holds `300W` (its test faces), `WFLW_subset`, `extra/dlib_faces` and the videos `CK_plus`. Each picture is covered
with one colour as `srn anonymize` does it, and every pixel in the hull of a face's true points is looked at: it has
that colour, or the face is not fully covered. Beside it stands the same cover over the faces that `srn detect` keeps.
Covering nothing covers no face; covering everything covers all. No setting was chosen on these faces.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from results import argument_parser, exit_code, markdown_page, markdown_table, provenance, write_results
from srn import FaceLandmarker, Faces
from srn.datasets.catalogue import open_faces
from srn.datasets.clip import Clip
from srn.face.geometry import FloatArray, ImageArray
from srn.media.video_reading import TimedFrame
from srn.uses.anonymize import VideoCover, cautious_landmarker
from srn.uses.cover import FILL, Cover, cover_faces

COVER = Cover(style="fill")
SETS = {
    "300W Common": ("300W", ("Common",)),
    "300W Challenging": ("300W", ("Challenging",)),
    "WFLW (68 points)": ("WFLW_subset", ()),
    "dlib's group photos": ("extra/dlib_faces", ()),
}
COLUMNS = ("set", "faces", "way", "fully covered", "95 % covered", "not found", "picture covered")


class Covered(NamedTuple):
    """A face: the share of its area that is covered, and the share of the picture."""

    face: float
    picture: float


def covered(image: ImageArray, landmarks: FloatArray) -> Covered:
    """Look at the pixels of a covered picture (H, W, 3) inside the hull of true landmarks (N, 2)."""
    hull = cv2.convexHull(np.round(landmarks).astype(np.int32))
    inside = np.zeros(image.shape[:2], np.uint8)
    cv2.fillConvexPoly(inside, hull, 1)
    painted = (image == np.array(FILL, np.uint8)).all(axis=2)
    return Covered(float(painted[inside > 0].mean()), float(painted.mean()))


def row(name: str, way: str, faces: Sequence[Covered]) -> list[str]:
    """Format one line of the table."""
    shares = np.array([face.face for face in faces])
    fully, mostly, lost = (shares == 1).sum(), (shares >= 0.95).sum(), (shares < 0.05).sum()
    part = np.mean([face.picture for face in faces])
    ratio = [f"{count / len(shares):.1%} ({count})" for count in (fully, mostly)]
    return [name, str(len(shares)), way, *ratio, str(lost), f"{part:.0%}"]


def frames_of(clip: Clip) -> Iterator[TimedFrame]:
    """Yield the annotated frames of a clip as those of a video of 30 frames a second."""
    for index, number in enumerate(clip.numbers.tolist()):
        yield TimedFrame(index, index / 30, clip.frames.read(number))


def of_clip(clip: Clip, landmarker: FaceLandmarker) -> list[Covered]:
    """Cover a clip as a video."""
    cover = VideoCover(landmarker, COVER)
    frames = [done for frame in frames_of(clip) for done in cover.push(frame)] + list(cover.finish())
    return [covered(frame.image, shape) for frame, shape in zip(frames, clip.landmarks, strict=True)]


def of_pictures(
    pictures: Sequence[tuple[ImageArray, npt.NDArray[np.float64]]], landmarker: FaceLandmarker, *, all_faces: bool
) -> list[Covered]:
    """Cover pictures, each with an annotated face; `all_faces` keeps doubtful ones."""
    found = []
    for image, landmarks in pictures:
        faces = landmarker.detect(image)
        kept = faces if all_faces else Faces(face for face in faces if not face.is_doubtful)
        found.append(covered(cover_faces(image, kept, COVER), landmarks))
    return found


def measure(options: argparse.Namespace) -> None:
    """Measure and write the page."""
    cv2.setNumThreads(options.threads)
    cautious, usual = cautious_landmarker(threads=options.threads), FaceLandmarker(threads=options.threads)
    measured: dict[tuple[str, str], list[Covered]] = {}
    for name, (folder, parts) in SETS.items():
        dataset = open_faces(options.data / folder, kind="wflw68" if folder.startswith("WFLW") else None)
        samples = [sample for part in parts for sample in dataset.part(part)] if parts else dataset.samples
        step = max(len(samples) // options.most, 1) if options.most else 1
        for sample in samples[::step]:
            one = [(sample.load(), sample.landmarks)]
            measured.setdefault((name, "`srn anonymize`"), []).extend(of_pictures(one, cautious, all_faces=True))
            measured.setdefault((name, "faces of `srn detect`"), []).extend(of_pictures(one, usual, all_faces=False))
        print(name, flush=True)
    clips = open_faces(options.data / "CK_plus").clips
    measured["CK+ videos", "`srn anonymize`"] = [face for clip in clips for face in of_clip(clip, cautious)]
    lines = [row(name, way, faces) for (name, way), faces in measured.items()]
    facts = provenance(options.threads)
    notes = (
        "one picture or frame for each annotated face; a face is its points' hull: without forehead and hair",
        "not found: less than 5 % of the face is covered. Covering nothing covers no face, covering everything all",
        "picture covered: mean share of the whole picture, with other faces in it and false finds",
        "shipped weights; no setting was chosen on these faces",
    )
    table = markdown_table(COLUMNS, lines)
    content = {
        **facts,
        "shares": {f"{n}, {w}": [round(f.face, 4) for f in faces] for (n, w), faces in measured.items()},
    }
    write_results(options.out, "anonymize", content, markdown_page("Covered faces", facts, notes, table))
    print(table)


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder of the data sets")
    made.add_argument("--most", type=int, help="largest number of faces of a set, evenly spread (default: all)")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; 2 on the user's mistake."""
    return exit_code(measure, parser().parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())

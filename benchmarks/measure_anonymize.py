"""Measure how well annotated faces are covered; write `docs/results/anonymize.json` and `anonymize.md`.

    python benchmarks/measure_anonymize.py DATA
    python benchmarks/measure_anonymize.py DATA --cover eyes

DATA holds `300W` (its test faces), `WFLW_subset`, `extra/dlib_faces` and the videos `CK_plus`. Each picture is covered
with one colour as `srn anonymize` does it, and every pixel in the hull of a face's true points is looked at: it has
that colour, or the face is not fully covered. Beside it stands the same cover over the faces that `srn detect` keeps.
Covering nothing covers no face; covering everything covers all. No setting was chosen on these faces.

With `--cover eyes` it writes `anonymize_eyes`: the share of the eyes' points of 300W's test faces, clean and masked
(kind `mixed`, seed 1, made anew from `occluders/masks`), and of the authors' masked faces, that are covered with all
that lies within 0.1 of the distance of the outer eye corners.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from measure_weights import masked_version
from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import FaceLandmarker, Faces
from srn.datasets.catalogue import open_faces
from srn.datasets.clip import Clip
from srn.datasets.sample import Sample
from srn.face.geometry import FloatArray, ImageArray
from srn.face.scheme import IBUG_68
from srn.media.video_reading import TimedFrame
from srn.uses.anonymize import VideoCover, cautious_landmarker
from srn.uses.cover import FILL, Cover, cover_faces

COVER, EYES = Cover(style="fill"), Cover("eyes", style="fill")
SETS = {
    "300W Common": ("300W", ("Common",)),
    "300W Challenging": ("300W", ("Challenging",)),
    "WFLW (68 points)": ("WFLW_subset", ()),
    "dlib's group photos": ("extra/dlib_faces", ()),
}
COLUMNS = ("set", "faces", "way", "fully covered", "95 % covered", "not found", "picture covered")
EYE_COLUMNS = (
    "set",
    "faces",
    "way",
    "eye points covered",
    "all 12 covered",
    "fewer than 6",
    "face covered",
    "picture covered",
)
EYE_MARGIN = 0.1
"""Radius around a point of the eyes that has to be covered, in distances of the outer eye corners."""


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


def eyes_covered(image: ImageArray, landmarks: FloatArray) -> float:
    """Return the share of the 12 eye points whose surroundings, where they are in the picture, are covered."""
    corners = landmarks[list(IBUG_68.eye_corners)]
    radius = EYE_MARGIN * float(np.hypot(*(corners[1] - corners[0])))
    shares = []
    for x, y in landmarks[list(IBUG_68.part("eyes"))]:
        (left, top), (right, bottom) = (np.round([x + r, y + r]).astype(int) for r in (-radius, radius))
        top, left = max(top, 0), max(left, 0)
        near = image[top : bottom + 1, left : right + 1]
        rows, columns = np.mgrid[top : top + near.shape[0], left : left + near.shape[1]]
        painted = (near == np.array(FILL, np.uint8)).all(axis=2)
        shares.append(painted[np.hypot(columns - x, rows - y) <= radius].all())
    return float(np.mean(shares))


def row(name: str, way: str, faces: Sequence[Covered]) -> list[str]:
    """Format one line of the table."""
    shares = np.array([face.face for face in faces])
    fully, mostly, lost = (shares == 1).sum(), (shares >= 0.95).sum(), (shares < 0.05).sum()
    part = np.mean([face.picture for face in faces])
    ratio = [f"{count / len(shares):.1%} ({count})" for count in (fully, mostly)]
    return [name, str(len(shares)), way, *ratio, str(lost), f"{part:.0%}"]


def eye_row(name: str, way: str, faces: Sequence[tuple[float, Covered]]) -> list[str]:
    """Format one line of the table of eyes."""
    points = np.array([share for share, _ in faces])
    whole, few = int((points == 1).sum()), int((points < 0.5).sum())
    face, picture = np.mean([found for _, found in faces], axis=0)
    ratio = f"{whole / len(points):.1%} ({whole})"
    return [name, str(len(points)), way, f"{points.mean():.1%}", ratio, str(few), f"{face:.0%}", f"{picture:.0%}"]


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


def evenly(samples: Sequence[Sample], most: int | None) -> list[Sample]:
    """Return about `most` samples, evenly spread, or all."""
    return list(samples[:: max(len(samples) // most, 1) if most else 1])


def of_eyes(sample: Sample, cautious: FaceLandmarker, usual: FaceLandmarker) -> dict[str, tuple[float, Covered]]:
    """Cover the eyes in an annotated picture, by each way."""
    image = sample.load()
    found = cautious.detect(image)
    sure = [face for face in usual.detect(image) if not face.is_doubtful]
    covers = {
        "`srn anonymize --cover eyes`": cover_faces(image, found, EYES),
        "eyes of `srn detect`'s faces": cover_faces(image, sure, EYES),
        "`srn anonymize`, the whole face": cover_faces(image, found, COVER),
    }
    return {
        way: (eyes_covered(done, sample.landmarks), covered(done, sample.landmarks)) for way, done in covers.items()
    }


def measure_eyes(options: argparse.Namespace, cautious: FaceLandmarker, usual: FaceLandmarker) -> None:
    """Measure the eyes and write their page."""
    dataset = open_faces(options.data / "300W")
    parts = {part: evenly(dataset.part(part), options.most) for part in ("Common", "Challenging")}
    measured: dict[tuple[str, str], list[tuple[float, Covered]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        sets = {f"300W {part}": samples for part, samples in parts.items()}
        for part, samples in parts.items():
            sets[f"{part}, masked (ours)"] = masked_version(samples, options.data, f"{folder}/{part}")
        sets["authors' masked"] = open_faces(options.data / "masked_300W" / "ibug", split="test").samples
        for name, samples in sets.items():
            for sample in samples:
                for way, result in of_eyes(sample, cautious, usual).items():
                    measured.setdefault((name, way), []).append(result)
            print(name, flush=True)
    facts = provenance(options.threads)
    notes = (
        f"covered: all within {EYE_MARGIN:g} of the distance of the outer eye corners from a true point of the eyes",
        "face, picture covered: mean share of the face's hull, and of the picture, that is covered",
        "covering nothing covers no point, covering everything all",
        "shipped weights; no setting was chosen on these faces",
    )
    table = markdown_table(EYE_COLUMNS, [eye_row(name, way, faces) for (name, way), faces in measured.items()])
    shares = {f"{name}, {way}": [round(share, 4) for share, _ in faces] for (name, way), faces in measured.items()}
    page = markdown_page("Covered eyes", facts, notes, table)
    write_results(options.out, "anonymize_eyes", {**facts, "shares": shares}, page)


def measure(options: argparse.Namespace) -> None:
    """Measure and write the page."""
    cv2.setNumThreads(options.threads)
    cautious, usual = cautious_landmarker(threads=options.threads), FaceLandmarker(threads=options.threads)
    if options.cover == "eyes":
        measure_eyes(options, cautious, usual)
        return
    measured: dict[tuple[str, str], list[Covered]] = {}
    for name, (folder, parts) in SETS.items():
        dataset = open_faces(options.data / folder, kind="wflw68" if folder.startswith("WFLW") else None)
        samples = [sample for part in parts for sample in dataset.part(part)] if parts else dataset.samples
        for sample in evenly(samples, options.most):
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


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder of the data sets")
    made.add_argument("--cover", choices=("face", "eyes"), default="face", help="what is covered and measured")
    made.add_argument("--most", type=int, help="largest number of faces of a set, evenly spread (default: all)")
    return made


main = program(measure, parser)

if __name__ == "__main__":
    sys.exit(main())

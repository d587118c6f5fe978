"""Measure the face finder on small faces, in crowds, under masks, turned, and on pictures without a face.

    python benchmarks/measure_small_faces.py DATA

DATA holds `unlabelled_faces/lfw` (none of its pictures is a test picture), `real_occluders_unlabelled/masks` and
`300W/`. Scenes are made of faces of one height, forehead to chin, at random places on an enlarged strip of a training
picture beside its face. Heights are those of the built-in finder's box in the whole picture, so they are exact to a few
per cent; people in real masks are those who are found there. Pictures without a face are parts of the 300W test
pictures beside the annotated face; bystanders are left in, so the faces found there are an upper limit of the false
ones.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from results import argument_parser, program, provenance
from srn.errors import SrnError
from srn.face.geometry import Box, ImageArray
from srn.inference.face_finder import CenterFaceFinder, FoundFace
from srn.media.pictures import read_image
from srn.media.pts import read_pts

SIZES = ((640, 480), (1600, 1200), (4000, 3000))  # width, height
HEIGHTS = (16, 20, 24, 32, 48, 72)
CELL = 1.7  # side of the place of a face in a scene, in heights of the face
LFW, REAL_MASKS = "unlabelled_faces/lfw", "real_occluders_unlabelled/masks"
KINDS: dict[str, dict[str, bool]] = {
    "plain": {}, "masked": {"mask": True}, "behind a large face": {"front": True}, "in real masks": {},
}  # fmt: skip
FIRST, EVERY = 1, 12  # the proposal network was trained on every third face of LFW, from the first on: on none of these


def single_faces(
    data: Path, finder: CenterFaceFinder, count: int, folder: str = LFW, first: int = FIRST, every: int = EVERY
) -> list[tuple[ImageArray, Box]]:
    """Read pictures of a folder that show one sure face, with its box."""
    faces = []
    for path in sorted((data / folder).glob("*.webp"))[first::every]:
        image = read_image(path)
        found = finder.find(image)
        if len(found) == 1 and found[0].score > 0.6:
            faces.append((image, found[0].box))
        if len(faces) == count:
            return faces
    raise SrnError(f"{data}: expected {count} pictures with one face in {folder}, found {len(faces)}")


def cut_close(image: ImageArray, box: Box) -> tuple[ImageArray, Box]:
    """Cut a picture to the surroundings of its face that have room in a scene."""
    reach = 0.5 * CELL * box.height
    (x0, y0), (x1, y1) = np.maximum(box.center - reach, 0).astype(int), (box.center + reach).astype(int)
    return np.ascontiguousarray(image[y0:y1, x0:x1]), Box(*(box.as_array() - [x0, y0, x0, y0]))


def masked(image: ImageArray, box: Box, rng: np.random.Generator) -> ImageArray:
    """Cover the lower half of a face by a plain mask."""
    out = image.copy()
    top, bottom = int(box.y0 + rng.uniform(0.5, 0.6) * box.height), int(box.y1) + 1
    color = np.array([[190, 210, 225], [235, 235, 235], [40, 40, 45]][int(rng.integers(3))], np.uint8)
    out[top:bottom, max(int(box.x0), 0) : int(box.x1) + 1] = color
    return out


def scene(
    faces: Sequence[tuple[ImageArray, Box]],
    background: ImageArray,
    size: tuple[int, int],
    height: int,
    rng: np.random.Generator,
    *,
    most: int = 40,
    mask: bool = False,
    front: bool = False,
) -> tuple[ImageArray, list[Box]]:
    """Place up to `most` faces in a background of `size` (width, height), behind a large one if `front`."""
    image = cv2.resize(background, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
    cell = int(CELL * height)
    places = rng.permutation((size[0] // cell) * (size[1] // cell))[:most]
    boxes = []
    for place in places.tolist():
        picture, box = faces[int(rng.integers(len(faces)))]
        scale = height / box.height
        shown = masked(picture, box, rng) if mask else picture
        small = cv2.resize(shown, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)[:cell, :cell]
        y, x = place // (size[0] // cell) * cell, place % (size[0] // cell) * cell
        image[y : y + small.shape[0], x : x + small.shape[1]] = small
        boxes.append(Box(*((box.as_array() + 0.5) * scale - 0.5 + np.array([x, y, x, y]))))
    if front:
        picture, box = faces[0]
        scale = 0.5 * size[1] / box.height
        large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)[: size[1]]
        x = (size[0] - large.shape[1]) // 2
        image[size[1] - large.shape[0] :, x : x + large.shape[1]] = large
        seen = [not (x <= b.center[0] <= x + large.shape[1] and b.y1 > size[1] - large.shape[0]) for b in boxes]
        boxes = [b for b, visible in zip(boxes, seen, strict=True) if visible]
    return image, boxes


def recalled(found: Sequence[FoundFace], boxes: Sequence[Box]) -> int:
    return sum(any(face.box.iou(box) >= 0.4 for face in found if not face.doubtful) for box in boxes)


def crowds(data: Path, finder: CenterFaceFinder, scenes: int, kinds: Sequence[str], most: int) -> Iterator[str]:
    """Yield the table of recall by the size of the picture and of the faces."""
    plain = single_faces(data, finder, 120)
    real = (
        [cut_close(*face) for face in single_faces(data, finder, 100, REAL_MASKS)] if "in real masks" in kinds else []
    )
    backgrounds = list(beside_faces(data, ("lfpw/trainset", "helen/trainset"), 29, least=60))
    yield "| picture | faces | " + " | ".join(f"{height} px" for height in HEIGHTS) + " | ms |"
    yield "|---" * (len(HEIGHTS) + 3) + "|"
    for size in SIZES:
        for name in kinds:
            faces = real if name == "in real masks" else plain
            cells, spent = [], []
            for height in HEIGHTS:
                rng, hits, total = np.random.default_rng(height), 0, 0
                for number in range(scenes):
                    background = backgrounds[(number * 31 + height) % len(backgrounds)]
                    image, boxes = scene(faces, background, size, height, rng, most=most, **KINDS[name])
                    start = time.process_time()
                    found = finder.find(image)
                    spent.append(time.process_time() - start)
                    hits, total = hits + recalled(found, boxes), total + len(boxes)
                cells.append(f"{100 * hits / total:.1f}")
            yield f"| {size[0]} x {size[1]} | {name} | {' | '.join(cells)} | {1e3 * np.median(spent):.0f} |"


def beside_faces(data: Path, folders: Sequence[str], step: int, *, least: int) -> Iterator[ImageArray]:
    """Yield the part of every `step`-th 300W picture beside the annotated face, to its wider side.

    Narrower parts than `least` pixels are left out.
    """
    for folder in folders:
        for path in sorted((data / "300W" / folder).glob("*.pts"))[::step]:
            image, box = read_image(path.with_suffix(".jpg")), Box.around(read_pts(path))
            left, right = int(box.x0 - 0.3 * box.width), int(box.x1 + 0.3 * box.width)
            part = image[:, : max(left, 0)] if left > image.shape[1] - right else image[:, max(right, 0) :]
            if part.shape[1] >= least:
                yield np.ascontiguousarray(part)


def run(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    finder = CenterFaceFinder(threads=arguments.threads)
    print("; ".join(f"{name}: {value}" for name, value in provenance(arguments.threads).items()))
    for line in crowds(arguments.data, finder, arguments.scenes, arguments.kinds, arguments.faces):
        print(line, flush=True)
    pictures, found, spent = 0, 0, 0.0
    for image in beside_faces(arguments.data, ("helen/testset", "lfpw/testset", "ibug"), 1, least=100):
        start = time.process_time()
        found += sum(not face.doubtful for face in finder.find(image))
        pictures, spent = pictures + 1, spent + time.process_time() - start
    print(f"beside faces: {pictures} pictures, {found} faces found, {1e3 * spent / max(pictures, 1):.0f} ms a picture")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder that holds unlabelled_faces/ and 300W/")
    made.add_argument("--scenes", type=int, default=6, help="scenes of each kind (default: 6)")
    made.add_argument("--faces", type=int, default=40, help="faces of a scene, at most (default: 40)")
    made.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS], help="kinds of scenes (default: all)")
    return made


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

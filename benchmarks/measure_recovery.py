"""Measure recovery, cost and memory of the tracker; write `docs/results/tracking.json` and `tracking.md`.

    python benchmarks/measure_recovery.py [--long 600]

It needs no data set. A public-domain portrait (Grace Hopper, sample data of Matplotlib) moves through synthetic scenes,
so the truth is known in every frame. Costs are processor time, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import functools
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.cbook import get_sample_data

from results import argument_parser, markdown_page, markdown_table, program, provenance, write_results
from srn import Box, FaceLandmarker, FaceTracker
from srn.face.geometry import similarity, transform_points
from srn.inference.face import Face, Faces
from srn.inference.face_finder import CenterFaceFinder, FoundFace
from srn.media.pictures import read_image

WIDTH, HEIGHT, RATE = 640, 480, 30
RIGHT = 0.04
"""A face counts as right if the mean error of its points is below this share of its size."""

Picture = npt.NDArray[np.uint8]
Shape = npt.NDArray[np.float64]
Scene = Callable[[int], tuple[Picture, dict[str, Shape]]]
"""Number of a frame -> the frame, and the true points of each face in it, by name."""


class Portrait:
    """The head of the portrait, to be pasted into frames."""

    def __init__(self) -> None:
        self.image = read_image(get_sample_data("grace_hopper.jpg", asfileobj=False))
        (found,) = FaceLandmarker(flip_average=True, threads=1).detect(self.image)
        self.points, self.scheme = found.landmarks, found.scheme
        y, x = np.mgrid[: self.image.shape[0], : self.image.shape[1]]
        inside = ((x - 262) / 120) ** 2 + ((y - 215) / 165) ** 2 < 1
        self.alpha = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 4)

    def paste(self, canvas: Picture, x: float, y: float, side: float, angle: float, mirrored: bool = False) -> Shape:
        """Paste the head with its centre at (x, y); returns its true points."""
        image, alpha, points = self.image, self.alpha, self.points
        if mirrored:
            image, alpha = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(alpha[:, ::-1])
            points = points[self.scheme.mirror] * [-1, 1] + [image.shape[1] - 1, 0]
        box = Box.around(points)
        matrix = similarity(side / box.size, angle, box.center, np.array([x, y]))
        # Only the part of the frame that the head can reach.
        x0, y0 = (max(int(v - 1.6 * side), 0) for v in (x, y))
        window = canvas[y0 : int(y + 1.6 * side), x0 : int(x + 1.6 * side)]
        local, size = matrix - [[0, 0, x0], [0, 0, y0]], (window.shape[1], window.shape[0])
        head = cv2.warpAffine(image, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(alpha, local, size)[..., None]
        window[:] = np.round(window * (1 - cover) + head * cover).astype(np.uint8)
        return transform_points(matrix, points)


def background(seed: int) -> Picture:
    """Draw soft blotches."""
    return _background(seed).copy()


@functools.cache
def _background(seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    small = rng.uniform(40, 215, (6, 8, 3))
    return np.clip(cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


@functools.cache
def grain(number: int) -> npt.NDArray[np.int16]:
    return np.random.default_rng(number).normal(0, 4, (HEIGHT, WIDTH, 3)).astype(np.int16)


def noisy(canvas: Picture, k: int) -> Picture:
    return np.clip(canvas + grain(k % 7), 0, 255).astype(np.uint8)


def nodding(portrait: Portrait, canvas: Picture, k: int, x: float = 320, y: float = 240, side: float = 150) -> Shape:
    """Paste a head that moves around (x, y) at up to its own size a second."""
    t = k / RATE
    return portrait.paste(
        canvas, x + 0.25 * side * np.sin(3.1 * t), y + 0.1 * side * np.sin(2.3 * t), side, 0.12 * np.sin(1.9 * t)
    )


def hidden(portrait: Portrait, begin: int, frames: int) -> Scene:
    """Make a scene of one face that is covered completely for some frames."""

    def scene(k: int) -> tuple[Picture, dict[str, Shape]]:
        canvas = background(1)
        points = nodding(portrait, canvas, k)
        if begin <= k < begin + frames:
            (x0, y0), (x1, y1) = points.min(axis=0).astype(int) - 45, points.max(axis=0).astype(int) + 45
            canvas[max(y0 - 60, 0) : y1, max(x0, 0) : x1] = (96, 84, 70)
        return noisy(canvas, k), {"A": points}

    return scene


def cut(portrait: Portrait, at: int) -> Scene:
    """Make a scene that cuts to another background with another face elsewhere."""

    def scene(k: int) -> tuple[Picture, dict[str, Shape]]:
        canvas = background(1 if k < at else 2)
        if k < at:
            return noisy(canvas, k), {"A": nodding(portrait, canvas, k)}
        points = portrait.paste(canvas, 430, 250 + 0.4 * (k - at), 120, -0.1, mirrored=True)
        return noisy(canvas, k), {"B": points}

    return scene


def crossing(portrait: Portrait, speed: float) -> Scene:
    """Make a scene of two faces that pass each other, A in front of B, each at `speed` face sizes a second."""

    def scene(k: int) -> tuple[Picture, dict[str, Shape]]:
        canvas = background(3)
        way = speed * 110 * k / RATE
        back = portrait.paste(canvas, 520 - way, 245, 100, 0.05, mirrored=True)
        front = portrait.paste(canvas, 120 + way, 235, 115, -0.05)
        return noisy(canvas, k), {"A": front, "B": back}

    return scene


def rows_of(portrait: Portrait, faces: int) -> Scene:
    """Make a scene of several faces side by side."""

    def scene(k: int) -> tuple[Picture, dict[str, Shape]]:
        canvas = background(4)
        side = 150 if faces == 1 else 62
        places = [(WIDTH * (i + 1) / (faces + 1), 200 + 60 * (i % 2)) for i in range(faces)]
        truth = {str(i): nodding(portrait, canvas, k + 17 * i, *place, side) for i, place in enumerate(places)}
        return noisy(canvas, k), truth

    return scene


def right(faces: Faces, truth: Shape) -> Face | None:
    """Give the face with visible points that is right, or None."""
    side = Box.around(truth).size
    for face in faces:
        seen = face.visibility is None or bool(face.visibility.any())
        if seen and np.linalg.norm(face.landmarks - truth, axis=1).mean() < RIGHT * side:
            return face
    return None


def follow(tracker: FaceTracker, scene: Scene, frames: int) -> Iterator[tuple[int, Faces, dict[str, Shape]]]:
    for k in range(frames):
        image, truth = scene(k)
        yield k, tracker.update(image, k / RATE), truth


def until_right(landmarker: FaceLandmarker, scene: Scene, event: int, name: str, frames: int) -> tuple[int, set[int]]:
    """Count the frames from `event` until the face `name` is right; also give all track ids it had while right."""
    first, numbers = -1, set()
    for k, faces, truth in follow(landmarker.tracker(), scene, frames):
        found = right(faces, truth[name]) if name in truth else None
        if found is not None and found.track_id is not None:
            numbers.add(found.track_id)
            if k >= event and first < 0:
                first = k - event
    return first, numbers


def recovery(landmarker: FaceLandmarker, portrait: Portrait) -> list[list[str]]:
    """Rows of the first table: event, frames until right again, whether the track id was kept."""
    rows = []
    for frames in (10, 30, 60):
        wait, numbers = until_right(landmarker, hidden(portrait, 30, frames), 30 + frames, "A", 30 + frames + 10)
        rows.append([f"face completely hidden for {frames} frames", str(wait), "yes" if len(numbers) == 1 else "no"])
    wait, _ = until_right(landmarker, cut(portrait, 40), 40, "B", 60)
    rows.append(["cut to another scene and face", str(wait), "a new one, as it should be"])
    for speed in (1.0, 2.0):
        last = int(400 / (speed * 110) * RATE)
        apart = int((200 + 110) / (speed * 110) * RATE)  # from here on nothing of B is behind A
        results = [until_right(landmarker, crossing(portrait, speed), apart, name, last) for name in ("A", "B")]
        kept = all(len(numbers) == 1 for _, numbers in results) and results[0][1] != results[1][1]
        event = f"two faces cross at {2 * speed:g} sizes a second relative to each other: the one behind"
        rows.append([event, str(results[1][0]), "both" if kept else "no"])
    return rows


@dataclass
class TimedFinder:
    """The built-in face finder with the processor time that it takes."""

    finder: CenterFaceFinder = field(default_factory=lambda: CenterFaceFinder(threads=1))
    seconds: float = 0.0
    runs: int = 0

    @property
    def name(self) -> str:
        """Name of the finder, by which the fit of its boxes is chosen."""
        return self.finder.name

    def find(self, image: Picture) -> list[FoundFace]:
        """Find the faces and add to the time."""
        begin = time.process_time()
        try:
            return self.finder.find(image)
        finally:
            self.seconds += time.process_time() - begin
            self.runs += 1


@dataclass(frozen=True)
class Cost:
    """Processor milliseconds a frame, the part of the face finder, and how often it ran."""

    faces: int
    total_ms: float
    finder_ms: float
    finder_runs: int

    def row(self) -> list[str]:
        """Cells of the second table."""
        numbers = [f"{self.total_ms:.1f}", f"{self.finder_ms:.1f}", str(self.finder_runs)]
        return [str(self.faces), *numbers, f"{1000 / self.total_ms:.0f}"]


def cost(landmarker: FaceLandmarker, portrait: Portrait, faces: int, frames: int = 61) -> Cost:
    """Measure the cost of a frame with some faces; `frames` counts the first frame, which is not measured."""
    scene = rows_of(portrait, faces)
    pictures = [scene(k)[0] for k in range(frames)]
    finder = TimedFinder()
    tracker = FaceLandmarker(localizer=landmarker.localizer, face_finder=finder).tracker()
    tracker.update(pictures[0], 0.0)  # loads the finder
    finder.seconds, finder.runs = 0.0, 0
    begin = time.process_time()
    told = [len(tracker.update(image, k / RATE)) for k, image in enumerate(pictures[1:], 1)]
    total = time.process_time() - begin
    if set(told) != {faces}:
        raise RuntimeError(f"expected {faces} faces in every frame, found {sorted(set(told))}")
    count = max(frames - 1, 1)
    return Cost(faces, total / count * 1e3, finder.seconds / count * 1e3, finder.runs)


def memory(landmarker: FaceLandmarker, portrait: Portrait, frames: int) -> list[tuple[int, float]]:
    """Measure the peak memory of the process, as (frame, MB), along a long clip of changing scenes."""
    tracker, marks = landmarker.tracker(), []
    scenes = [hidden(portrait, 15, 5), cut(portrait, 25)]
    for k in range(frames):
        image, _ = scenes[(k // 50) % 2](k % 50)
        tracker.update(image, k / RATE)
        if k + 1 in {frames // 6, frames // 2, frames}:
            marks.append((k + 1, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    return marks


def page(content: dict[str, Any], events: Sequence[Sequence[str]], costs: Sequence[Cost]) -> str:
    """Format the results."""
    notes = [
        f"a public-domain portrait in synthetic scenes, {WIDTH} x {HEIGHT} at {RATE} frames a second",
        f"right: mean point error below {RIGHT:.0%} of the face size; 0 frames: right in the first one possible",
    ]
    marks = "; ".join(f"{peak:.0f} MB after {frame} frames" for frame, peak in content["peak_memory_mb"])
    columns = ("faces", "processor ms a frame", "of that the face finder", "its runs", "frames a second")
    return markdown_page(
        "Recovery, cost and memory of the tracker",
        content,
        notes,
        markdown_table(("event", "frames until right again", "track id kept"), events),
        markdown_table(columns, [one.row() for one in costs]),
        f"Peak memory of the process over a long clip of changing scenes: {marks}.",
    )


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("--long", type=int, default=600, help="frames of the long clip (default: %(default)s)")
    return made


def run(options: argparse.Namespace) -> None:
    """Measure, and write the page."""
    portrait, landmarker = Portrait(), FaceLandmarker(threads=options.threads)
    events = recovery(landmarker, portrait)
    costs = [cost(landmarker, portrait, faces) for faces in (1, 5)]
    content = {
        **provenance(options.threads),
        "weights": landmarker.localizer.name,
        "recovery": events,
        "cost": [vars(one) for one in costs],
        "peak_memory_mb": memory(landmarker, portrait, options.long),
    }
    write_results(options.out, "tracking", content, page(content, events, costs))


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

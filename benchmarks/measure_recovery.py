"""Measure how the tracker recovers, what it costs and how much memory it needs; write `docs/results/tracking.md`.

    python tools/measure_recovery.py [--long 600]

Needs no data set: a public-domain portrait (Grace Hopper, Matplotlib's sample data) is brought to life, so the truth is
known in every frame. Costs are seconds of processor time in one thread, which other work on the machine hardly changes.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import os
import platform
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from matplotlib.cbook import get_sample_data

from srn import Box, FaceLandmarker, FaceTracker
from srn.face.geometry import similarity, transform_points
from srn.inference.face import Face
from srn.media.pictures import read_image

OUT = Path(__file__).parents[1] / "docs" / "results" / "tracking.md"
WIDTH, HEIGHT, RATE = 640, 480, 30
RIGHT = 0.04
"""A face is right where its points are off by less than this share of its side, on average."""

Picture = npt.NDArray[np.uint8]
Shape = npt.NDArray[np.float64]
Scene = Callable[[int], tuple[Picture, dict[str, Shape]]]
"""Frame number -> the frame, and the true points of each face that is there, by name."""


class Portrait:
    """The head of the portrait as something to be laid into pictures."""

    def __init__(self) -> None:
        self.image = read_image(get_sample_data("grace_hopper.jpg", asfileobj=False))
        (found,) = FaceLandmarker(flip_average=True, threads=1).detect(self.image)
        self.points, self.scheme = found.landmarks, found.scheme
        y, x = np.mgrid[: self.image.shape[0], : self.image.shape[1]]
        inside = ((x - 262) / 120) ** 2 + ((y - 215) / 165) ** 2 < 1
        self.alpha = cv2.GaussianBlur(inside.astype(np.float32), (0, 0), 4)

    def lay(self, canvas: Picture, x: float, y: float, side: float, angle: float, mirrored: bool = False) -> Shape:
        """Draw the head with its middle at (x, y); returns its true points."""
        image, alpha, points = self.image, self.alpha, self.points
        if mirrored:
            image, alpha = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(alpha[:, ::-1])
            points = points[self.scheme.mirror] * [-1, 1] + [image.shape[1] - 1, 0]
        box = Box.around(points)
        matrix = similarity(side / box.size, angle, box.center, np.array([x, y]))
        # Only the part of the picture that the head can reach.
        x0, y0 = (max(int(v - 1.6 * side), 0) for v in (x, y))
        window = canvas[y0 : int(y + 1.6 * side), x0 : int(x + 1.6 * side)]
        local, size = matrix - [[0, 0, x0], [0, 0, y0]], (window.shape[1], window.shape[0])
        head = cv2.warpAffine(image, local, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        cover = cv2.warpAffine(alpha, local, size)[..., None]
        window[:] = np.round(window * (1 - cover) + head * cover).astype(np.uint8)
        return transform_points(matrix, points)


def background(seed: int) -> Picture:
    """Soft blotches."""
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
    """A head that moves about (x, y) at up to one face side a second."""
    t = k / RATE
    return portrait.lay(
        canvas, x + 0.25 * side * np.sin(3.1 * t), y + 0.1 * side * np.sin(2.3 * t), side, 0.12 * np.sin(1.9 * t)
    )


def hidden(portrait: Portrait, begin: int, frames: int) -> Scene:
    """One face, covered whole by a plane for some frames."""

    def scene(k: int) -> tuple[Picture, dict[str, Shape]]:
        canvas = background(1)
        points = nodding(portrait, canvas, k)
        if begin <= k < begin + frames:
            (x0, y0), (x1, y1) = points.min(axis=0).astype(int) - 45, points.max(axis=0).astype(int) + 45
            canvas[max(y0 - 60, 0) : y1, max(x0, 0) : x1] = (96, 84, 70)
        return noisy(canvas, k), {"A": points}

    return scene


def cut(portrait: Portrait, at: int) -> Scene:
    """A cut to another scene, in which another face is at another place."""

    def scene(k: int) -> tuple[Picture, dict[str, Shape]]:
        canvas = background(1 if k < at else 2)
        if k < at:
            return noisy(canvas, k), {"A": nodding(portrait, canvas, k)}
        points = portrait.lay(canvas, 430, 250 + 0.4 * (k - at), 120, -0.1, mirrored=True)
        return noisy(canvas, k), {"B": points}

    return scene


def crossing(portrait: Portrait, speed: float) -> Scene:
    """Two faces pass each other, A in front of B, each at `speed` face sides a second."""

    def scene(k: int) -> tuple[Picture, dict[str, Shape]]:
        canvas = background(3)
        way = speed * 110 * k / RATE
        back = portrait.lay(canvas, 520 - way, 245, 100, 0.05, mirrored=True)
        front = portrait.lay(canvas, 120 + way, 235, 115, -0.05)
        return noisy(canvas, k), {"A": front, "B": back}

    return scene


def rows_of(portrait: Portrait, faces: int) -> Scene:
    """Some faces side by side."""

    def scene(k: int) -> tuple[Picture, dict[str, Shape]]:
        canvas = background(4)
        side = 150 if faces == 1 else 62
        places = [(WIDTH * (i + 1) / (faces + 1), 200 + 60 * (i % 2)) for i in range(faces)]
        truth = {str(i): nodding(portrait, canvas, k + 17 * i, *place, side) for i, place in enumerate(places)}
        return noisy(canvas, k), truth

    return scene


def right(faces: list[Face], truth: Shape) -> Face | None:
    """The face told at a true place with visible points, or None."""
    side = Box.around(truth).size
    for face in faces:
        seen = face.visibility is None or bool(face.visibility.any())
        if seen and np.linalg.norm(face.landmarks - truth, axis=1).mean() < RIGHT * side:
            return face
    return None


def follow(tracker: FaceTracker, scene: Scene, frames: int) -> Iterator[tuple[int, list[Face], dict[str, Shape]]]:
    for k in range(frames):
        image, truth = scene(k)
        yield k, tracker.update(image, k / RATE), truth


def until_right(landmarker: FaceLandmarker, scene: Scene, event: int, name: str, frames: int) -> tuple[int, set[int]]:
    """Frames from `event` until the face `name` is right, and all numbers that it ever had while it was."""
    first, numbers = -1, set()
    for k, faces, truth in follow(landmarker.tracker(), scene, frames):
        found = right(faces, truth[name]) if name in truth else None
        if found is not None and found.track_id is not None:
            numbers.add(found.track_id)
            if k >= event and first < 0:
                first = k - event
    return first, numbers


def recovery(landmarker: FaceLandmarker, portrait: Portrait) -> list[str]:
    lines = ["| event | frames until right again | number kept |", "|---|---|---|"]
    for frames in (10, 30, 60):
        wait, numbers = until_right(landmarker, hidden(portrait, 30, frames), 30 + frames, "A", 30 + frames + 10)
        lines.append(f"| face hidden whole for {frames} frames | {wait} | {'yes' if len(numbers) == 1 else 'no'} |")
    wait, _ = until_right(landmarker, cut(portrait, 40), 40, "B", 60)
    lines.append(f"| cut to another scene and face | {wait} | a new one, as it should be |")
    for speed in (1.0, 2.0):
        last = int(400 / (speed * 110) * RATE)
        apart = int((200 + 110) / (speed * 110) * RATE)  # from here on nothing of B is behind A
        results = [until_right(landmarker, crossing(portrait, speed), apart, name, last) for name in ("A", "B")]
        kept = all(len(numbers) == 1 for _, numbers in results) and results[0][1] != results[1][1]
        lines.append(
            f"| two faces cross at {2 * speed:g} sides a second to each other: the one behind | {results[1][0]} |"
            f" {'both' if kept else 'no'} |"
        )
    return lines


def cost(landmarker: FaceLandmarker, portrait: Portrait, faces: int, frames: int = 61) -> tuple[float, float, int]:
    """Processor milliseconds a frame, those of the finder among them, and how often it ran."""
    scene = rows_of(portrait, faces)
    pictures = [scene(k)[0] for k in range(frames)]
    tracker, find, spent = landmarker.tracker(), landmarker.find, [0.0]
    tracker.update(pictures[0], 0.0)  # loads the finder

    def timed(image: Picture) -> list[tuple[Box, float]]:
        begin = time.process_time()
        try:
            return find(image)
        finally:
            spent[0] += time.process_time() - begin

    landmarker.find = timed  # type: ignore[method-assign]
    try:
        runs, begin = tracker.schedule.runs, time.process_time()
        told = [len(tracker.update(image, k / RATE)) for k, image in enumerate(pictures[1:], 1)]
        total = time.process_time() - begin
    finally:
        landmarker.find = find  # type: ignore[method-assign]
    assert set(told) == {faces}, sorted(set(told))
    return total / (frames - 1) * 1e3, spent[0] / (frames - 1) * 1e3, tracker.schedule.runs - runs


def memory(landmarker: FaceLandmarker, portrait: Portrait, frames: int) -> list[tuple[int, float]]:
    """(frame, peak memory of the process in MB) along a long clip of changing scenes."""
    tracker, marks = landmarker.tracker(), []
    scenes = [hidden(portrait, 15, 5), cut(portrait, 25)]
    for k in range(frames):
        image, _ = scenes[(k // 50) % 2](k % 50)
        tracker.update(image, k / RATE)
        if k + 1 in {frames // 6, frames // 2, frames}:
            marks.append((k + 1, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024))
    return marks


def main() -> None:
    parser = argparse.ArgumentParser(description="Recovery, cost and memory of the tracker.")
    parser.add_argument("--long", type=int, default=600, help="frames of the long clip")
    arguments = parser.parse_args()
    portrait, landmarker = Portrait(), FaceLandmarker(threads=1)
    lines = [
        "# Recovery, cost and memory of the tracker",
        "",
        f"`python tools/measure_recovery.py --long {arguments.long}`, {datetime.date.today()}, "
        f"{os.cpu_count()} cores, {platform.machine()}; weights {landmarker.localizer.name}.",
        "A public-domain portrait brought to life, 640 x 480 at 30 frames a second; a face is right where its points",
        f"are off by less than {RIGHT:.0%} of its side. 0 frames: right in the first frame in which it can be.",
        "",
        *recovery(landmarker, portrait),
        "",
        "| faces | processor ms a frame, one thread | of that the finder | its runs in 60 frames | frames a second |",
        "|---|---|---|---|---|",
    ]
    for faces in (1, 5):
        total, finder, runs = cost(landmarker, portrait, faces)
        lines.append(f"| {faces} | {total:.1f} | {finder:.1f} | {runs} | {1000 / total:.0f} |")
    marks = "; ".join(
        f"{peak:.0f} MB after {frame} frames" for frame, peak in memory(landmarker, portrait, arguments.long)
    )
    lines += ["", f"Peak memory of the process over a long clip of changing scenes: {marks}.", ""]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()

"""The steps of `srn benchmark`: from a picture to landmarks, in parts and as a whole."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import get_args

import cv2
import numpy as np

from srn.errors import InputError, SrnError
from srn.evaluation.arithmetic import product_step
from srn.evaluation.timing import Step
from srn.face.geometry import Box, ImageArray
from srn.face.localizer import Localizer
from srn.inference.cores import thread_count
from srn.inference.engines import Device, Precision, Runtime
from srn.inference.landmarker import FaceLandmarker
from srn.inference.runtime import open_localizer
from srn.inference.tracker import FaceTracker
from srn.inference.views import Accuracy
from srn.media.pictures import read_image

BATCHES = (1, 2, 4, 8, 16, 32, 64)
QUICK_BATCHES = (1, 16)
DEVICE_BATCHES = (128, 256)  # also, where there is a GPU to fill
FRAME_SIZE = (640, 480)  # width and height of the frames of tracking
CYCLE = 30  # frames after which their motion begins again
HEAD = 1.1  # half side of the part of the picture that is tracked, in sizes of the face box
PLACES: Mapping[str, tuple[int, Sequence[tuple[int, int]]]] = {
    "one face": (360, [(320, 240)]),
    "five faces": (190, [(110, 120), (320, 120), (530, 120), (215, 350), (425, 350)]),
}  # side of each copy of the head, and its centre, in pixels of a frame


ARITHMETIC: Sequence[tuple[Runtime, Precision]] = (
    ("onnxruntime", "float32"),
    ("onnxruntime", "int8"),
    ("openvino", "float32"),
    ("openvino", "bf16"),
)


ACCURACY: Accuracy = "balanced"  # the default


def portrait() -> Path:
    """Return the path of the portrait that the package ships (`licenses/portrait.txt`)."""
    return Path(str(resources.files("srn.evaluation") / "portrait.jpg"))


@dataclass
class Bench:
    """The steps for one picture and one file of weights.

    Args:
        picture: a picture with a face; the shipped portrait if None.
        weights: as in `FaceLandmarker`.
        threads: threads of every step but those that compare threads; all usable cores if None.
        device: as in `FaceLandmarker`; the comparisons of runtimes, precisions and threads are those of the CPU.
        quick: leave out the parts that take long.

    Attributes:
        left_out: what cannot be measured here, and why.

    Raises:
        DataError: the picture cannot be read.
        InputError: there is no face in it.
    """

    picture: Path | None = None
    weights: str | os.PathLike[str] | None = None
    threads: int | None = None
    device: Device = "cpu"
    quick: bool = False
    left_out: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        where = self.picture or portrait()
        self.image = read_image(where)
        self.threads = thread_count(self.threads)
        self.landmarker = FaceLandmarker(self.weights, threads=self.threads, device=self.device)
        found = self.landmarker.find(self.image)
        if not found:
            raise InputError.at(where, "a picture with a face", "no face in it")
        self.box = found[0].box
        self.geometry = self.landmarker.looker.geometry_of_box(self.box)
        self.crop = self.geometry.crop(self.image)

    @property
    def localizer(self) -> Localizer:
        return self.landmarker.localizer

    def steps(self) -> list[Step]:
        """Return all steps, group by group."""
        batches = QUICK_BATCHES if self.quick else BATCHES if self.device == "cpu" else (*BATCHES, *DEVICE_BATCHES)
        on_cpu = self.device == "cpu"
        return [
            product_step(threads=self.threads, device=self.device),
            *self.of_picture("picture", self.landmarker),
            *(self.view("batch", f"{n} at once", self.localizer, n, None if n == 1 else "1 at once") for n in batches),
            *(self._of_arithmetic() if on_cpu else []),
            *([] if self.quick else self._of_accuracy()),
            *(self._of_threads() if on_cpu and not self.quick else []),
            *self.of_tracking("tracking", self.landmarker),
            *(self._of_tracked_arithmetic() if on_cpu and not self.quick else []),
        ]

    def of_picture(self, group: str, landmarker: FaceLandmarker) -> list[Step]:
        """Return the way from a picture to its landmarks: its parts, and the whole."""
        image, box, geometry, crop = self.image, self.box, self.geometry, self.crop
        return [
            Step(group, "face finder", lambda: landmarker.find(image), unit="picture"),
            Step(group, "crop", lambda: geometry.crop(image)),
            Step(group, "view", lambda: landmarker.localizer(crop[None])),
            Step(group, "landmarks in a box", lambda: landmarker.detect(image, [box])),
            Step(group, "end to end", lambda: landmarker.detect(image), unit="picture"),
        ]

    def view(self, group: str, name: str, localizer: Localizer, count: int, reference: str | None = None) -> Step:
        """Return a run of the network on `count` crops."""
        crops = np.repeat(self.crop[None], count, axis=0)
        return Step(group, name, lambda: localizer(crops), count, reference=reference)

    def against(self, group: str, names: tuple[str, str], other: str | os.PathLike[str]) -> Iterator[Step]:
        """Pair these weights with another file: a face alone, and sixteen at once."""
        pair = (self.localizer, open_localizer(other, threads=self.threads, device=self.device))
        for count in (1, 16):
            own, compared = (f"{name}, {count} at once" for name in names)
            yield self.view(group, own, pair[0], count)
            yield self.view(group, compared, pair[1], count, own)

    @functools.cached_property
    def _arithmetic(self) -> dict[str, Localizer]:
        """The weights in the runtimes and precisions that are installed and that the processor has, by name."""
        opened = {}
        for runtime, precision in ARITHMETIC:
            name = f"{runtime}, {precision}"
            try:
                opened[name] = open_localizer(self.weights, threads=self.threads, runtime=runtime, precision=precision)
            except SrnError as error:
                self.left_out.append(f"{name}: {error}")
        return opened

    def _of_arithmetic(self) -> Iterator[Step]:
        """Compare runtimes and precisions."""
        first: str | None = None
        for name, localizer in self._arithmetic.items():
            for count in (1, 16):
                reference = None if first is None else f"{first}, {count} at once"
                yield self.view("runtime and precision", f"{name}, {count} at once", localizer, count, reference)
            first = first or name

    def _of_tracked_arithmetic(self) -> Iterator[Step]:
        """Track one face in the runtimes and precisions that are not the default."""
        first = next(iter(PLACES))
        for name, localizer in list(self._arithmetic.items())[1:]:
            landmarker = FaceLandmarker(localizer=localizer, threads=self.threads)
            for step in self.of_tracking("tracking", landmarker, places=[first]):
                yield replace(step, name=f"{step.name}, {name}", reference=step.name)

    def _of_accuracy(self) -> Iterator[Step]:
        """Compare numbers of views of a face, from picture to landmarks."""
        for accuracy in get_args(Accuracy):
            landmarker = FaceLandmarker(self.weights, accuracy=accuracy, threads=self.threads, device=self.device)
            reference = None if accuracy == ACCURACY else ACCURACY
            run = functools.partial(landmarker.detect, self.image)
            yield Step("accuracy, end to end", accuracy, run, unit="picture", reference=reference)

    def _of_threads(self) -> Iterator[Step]:
        """Compare numbers of threads of the networks: 1, 2, 4 ... and all usable cores."""
        cores = thread_count(None)
        powers = {2**k for k in range(cores.bit_length()) if 2**k <= cores}
        for threads in sorted(powers | {cores}):
            landmarker = FaceLandmarker(self.weights, threads=threads)
            for step in self._shared_by_threads(landmarker):
                names = [f"{n} thread{'s' if n > 1 else ''}, {step.name}" for n in (threads, 1)]
                yield replace(step, name=names[0], reference=None if threads == 1 else names[1])

    def _shared_by_threads(self, landmarker: FaceLandmarker) -> Iterator[Step]:
        """Return what the threads of a landmarker share: a face, sixteen at once, a picture, a frame."""
        for count in (1, 16):
            yield self.view("threads", f"{count} at once", landmarker.localizer, count)
        yield Step("threads", "end to end", lambda: landmarker.detect(self.image), unit="picture")
        yield from self.of_tracking("threads", landmarker, places=[next(iter(PLACES))])

    def of_tracking(self, group: str, landmarker: FaceLandmarker, places: Iterable[str] = PLACES) -> Iterator[Step]:
        """Track one and five faces through `CYCLE` frames that repeat."""
        for name in places:
            run = functools.partial(_follow, landmarker.tracker(), self.frames(name))
            yield Step(group, f"{name}, 640 x 480", run, CYCLE, "frame")

    def frames(self, places: str) -> list[ImageArray]:
        """Make frames in which the head moves around one or more places (`PLACES`)."""
        side, centers = PLACES[places]
        half = HEAD * self.box.size
        corners = Box(*(self.box.center - half), *(self.box.center + half))
        scale = side / corners.width
        frames = []
        for turn in 2 * np.pi * np.arange(CYCLE) / CYCLE:
            frame = np.full((FRAME_SIZE[1], FRAME_SIZE[0], 3), self.image.mean(axis=(0, 1)), np.uint8)
            for number, center in enumerate(centers):
                middle = np.array(center) + 8 * np.array([np.cos(turn + number), np.sin(turn + number)])
                offset = middle - scale * self.box.center
                place = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
                moved = cv2.warpAffine(self.image, place, FRAME_SIZE, flags=cv2.INTER_LINEAR)
                x0, y0 = np.clip(np.round(middle - side / 2).astype(int), 0, FRAME_SIZE)
                x1, y1 = np.clip(np.round(middle + side / 2).astype(int), 0, FRAME_SIZE)
                frame[y0:y1, x0:x1] = moved[y0:y1, x0:x1]
            frames.append(frame)
        return frames


def _follow(tracker: FaceTracker, frames: Sequence[ImageArray]) -> None:
    for frame in frames:
        tracker.update(frame)

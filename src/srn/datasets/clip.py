"""`Clip`: a video with landmarks, its frames decoded on demand."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from srn.datasets.sample import Sample
from srn.errors import DataError
from srn.face.geometry import ImageArray
from srn.face.scheme import LandmarkScheme
from srn.media.pictures import IMAGE_SUFFIXES, read_image
from srn.media.video_reading import open_capture


class FrameSource(Protocol):
    """Frames of a video by their number, counted from 1 as in 300VW."""

    @property
    def path(self) -> Path:
        """The video file or the folder of frames."""
        ...

    def read(self, number: int) -> ImageArray:
        """Return one frame, (H, W, 3) uint8 RGB; raise `DataError` where it cannot be read."""
        ...


class FrameFolder:
    """Frames as numbered pictures, `000001.jpg` or `.png`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with DataError.reading(path, "a folder of numbered frames"):
            entries = sorted(path.iterdir())
        self._frames = {int(p.stem): p for p in entries if p.suffix.lower() in IMAGE_SUFFIXES and p.stem.isdecimal()}
        self.numbers = tuple(sorted(self._frames))

    def frame_path(self, number: int) -> Path:
        """Return the picture file of a frame."""
        return self._frames.get(number, self.path / f"{number:06d}.jpg")

    def read(self, number: int) -> ImageArray:
        return read_image(self.frame_path(number))


class VideoFile:
    """Frames of a video file, decoded by OpenCV.

    Frames are counted by decoding from the start, since seeking is inexact in videos with B-frames or broken indices.
    Reading in rising order decodes every frame once; going back starts over.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._capture: cv2.VideoCapture | None = None
        self._next = 1  # number of the next frame of the capture

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_capture": None, "_next": 1}  # an open decoder cannot be pickled

    def length(self) -> int:
        """Return the number of frames that the file declares."""
        capture = open_capture(self.path)
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        return count

    def close(self) -> None:
        """Release the decoder; the next `read` starts a new one."""
        if self._capture is not None:
            self._capture.release()
            self._capture, self._next = None, 1

    def read(self, number: int) -> ImageArray:
        if number < self._next:
            self.close()
        if self._capture is None:
            self._capture = open_capture(self.path)
        while self._next <= number:
            if not self._capture.grab():
                last = self._next - 1
                self.close()
                raise DataError.at(self.path, f"frame {number}", f"a video that ends with frame {last}")
            self._next += 1
        got, frame = self._capture.retrieve()
        if not got or frame is None:
            self.close()
            raise DataError.at(self.path, f"frame {number}", "a frame that does not decode")
        return cv2.cvtColor(frame, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


@dataclass(frozen=True)
class Clip:
    """A video of one annotated face.

    Attributes:
        name: the video's name in its dataset.
        frames: reader of the frames.
        numbers: (T,) number of each annotated frame; rising, and with gaps where frames have no landmarks.
        landmarks: (T, N, 2) frame pixels, 0-based.
        scheme: numbering of the landmarks.
        subset: its part of the dataset.
        excluded: numbers of annotated frames that the dataset's protocol excludes; they are not in `numbers`.
        occluded: (T, N) bool where occlusion is annotated.
    """

    name: str
    frames: FrameSource
    numbers: npt.NDArray[np.int64]
    landmarks: npt.NDArray[np.float64]
    scheme: LandmarkScheme
    subset: str
    excluded: tuple[int, ...] = ()
    occluded: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        if self.landmarks.shape != (len(self.numbers), self.scheme.n_points, 2):
            expected = f"landmarks ({len(self.numbers)}, {self.scheme.n_points}, 2)"
            raise DataError.at(self.frames.path, expected, str(self.landmarks.shape))
        if (np.diff(self.numbers) <= 0).any():
            raise DataError.at(self.frames.path, "rising frame numbers", "a frame after a later one")

    def __len__(self) -> int:
        return len(self.numbers)

    def frame(self, index: int) -> ImageArray:
        """Return the `index`-th annotated frame, (H, W, 3) uint8 RGB."""
        return self.frames.read(int(self.numbers[index]))

    def __iter__(self) -> Iterator[tuple[ImageArray, npt.NDArray[np.float64]]]:
        """Yield the frames in order, each with its landmarks (N, 2), decoded one at a time."""
        try:
            for index in range(len(self)):
                yield self.frame(index), self.landmarks[index]
        finally:
            if isinstance(self.frames, VideoFile):
                self.frames.close()

    def samples(self) -> list[Sample]:
        """Return every annotated frame as a sample, in order."""
        made = []
        for index, number in enumerate(self.numbers.tolist()):
            sample = Sample(
                self.frames.path / f"{number:06d}",
                self.landmarks[index],
                self.scheme,
                self.subset,
                occluded=None if self.occluded is None else self.occluded[index],
                source=partial(self.frames.read, number),
                video=f"{self.subset}/{self.name}",
            )
            if isinstance(self.frames, FrameFolder):
                sample = replace(sample, path=self.frames.frame_path(number), source=None)
            made.append(sample)
        return made

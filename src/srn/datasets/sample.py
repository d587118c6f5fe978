"""`Sample`: one annotated face in one picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from srn.errors import DataError
from srn.face.geometry import Box, ImageArray
from srn.face.scheme import LandmarkScheme
from srn.media.pictures import read_image

Split = Literal["train", "test"]
TRAIN: Final = "train"
TEST: Final = "test"
SPLITS = (TRAIN, TEST)

PictureSource = Callable[[], ImageArray]
"""Returns a picture (H, W, 3) uint8 RGB that is no file of its own; raises `DataError` where it cannot be read."""


@dataclass(frozen=True)
class Sample:
    """An annotated face.

    Attributes:
        path: the picture; of a picture inside another file, that file and the picture's number in it.
        landmarks: (N, 2) picture pixels, 0-based.
        scheme: numbering of the landmarks.
        subset: its part of the dataset, e.g. `helen/testset`.
        detector_box: detected face box of the dataset, picture pixels.
        occluded: (N,) bool where the dataset annotates occlusion.
        attributes: attributes that the dataset gives the face (WFLW: `pose`, `occlusion`, ...).
        source: reader of a picture inside another file.
        video: the video that the picture is a frame of; frames of one video are much alike.
    """

    path: Path
    landmarks: npt.NDArray[np.float64]
    scheme: LandmarkScheme
    subset: str
    detector_box: Box | None = None
    occluded: npt.NDArray[np.bool_] | None = None
    attributes: frozenset[str] = frozenset()
    source: PictureSource | None = None
    video: str | None = None

    def __post_init__(self) -> None:
        if self.landmarks.shape != (self.scheme.n_points, 2):
            raise DataError.at(self.path, f"landmarks ({self.scheme.n_points}, 2)", str(self.landmarks.shape))

    @property
    def box(self) -> Box:
        """The tight box of the landmarks, which is the ground-truth box of the protocols."""
        return Box.around(self.landmarks)

    def load(self, picture: ImageArray | None = None) -> ImageArray:
        """Return the picture, (H, W, 3) uint8 RGB; `picture` is it, where it was loaded with another of its faces.

        Raises:
            DataError: it cannot be read, or the face lies outside it.
        """
        if picture is None:
            picture = read_image(self.path) if self.source is None else self.source()
        self.check_box(self.box, picture)
        return picture

    def check_box(self, box: Box, picture: ImageArray) -> None:
        """Raise `DataError` where a box of the face lies outside its picture, or is of a senseless size."""
        height, width = picture.shape[:2]
        if not box.is_in(width, height):
            found = f"one at ({', '.join(f'{value:g}' for value in box.as_array())})"
            raise DataError.at(self.path, f"a face in the picture of {width} x {height} pixels", found)


def sources_of(samples: Iterable[Sample]) -> dict[Path, PictureSource]:
    """Return the readers of the pictures that are no files of their own."""
    return {sample.path: sample.source for sample in samples if sample.source is not None}

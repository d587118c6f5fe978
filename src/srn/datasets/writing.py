"""Writer of annotated sets: pictures, `.pts` files, and a table with a row for each picture."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.face.geometry import FloatArray, ImageArray
from srn.files import write_csv
from srn.media.pictures import write_image
from srn.media.pts import write_pts

JPEG_QUALITY = 95


class AnnotationWriter:
    """Writes annotated pictures or frames, and their table.

    Args:
        table: file of the table.
        columns: its columns; the first ones name the picture, the last is `visible`.
    """

    def __init__(self, table: str | os.PathLike[str], columns: Sequence[str]) -> None:
        self.table, self.columns = Path(table), (*columns, "visible")
        self._rows: list[Sequence[object]] = []

    def picture(
        self,
        stem: Path,
        image: ImageArray,
        landmarks: FloatArray,
        visible: npt.NDArray[np.bool_],
        row: Sequence[object],
    ) -> None:
        """Write `STEM.jpg` and `STEM.pts`.

        Args:
            stem: path of the picture without its suffix.
            image: (H, W, 3) uint8 RGB.
            landmarks: (N, 2) picture pixels, 0-based.
            visible: (N,) which landmarks can be seen.
            row: the table's values, but for `visible`.
        """
        self._write(stem.with_name(f"{stem.name}.jpg"), stem.with_name(f"{stem.name}.pts"), image, landmarks)
        self._add(row, visible)

    def frame(
        self,
        clip: Path,
        number: int,
        image: ImageArray,
        landmarks: FloatArray,
        visible: npt.NDArray[np.bool_],
        row: Sequence[object],
    ) -> None:
        """Write a frame of a video in 300VW's extracted layout: `CLIP/imgs/000001.jpg` and `CLIP/annot/000001.pts`.

        Args:
            clip: folder of the video.
            number: number of the frame, from 1.
            image, landmarks, visible, row: as in `picture`.
        """
        name = frame_name(number)
        self._write(clip / "imgs" / f"{name}.jpg", clip / "annot" / f"{name}.pts", image, landmarks)
        self._add(row, visible)

    def write_table(self) -> None:
        """Write the table of everything written so far."""
        write_csv(self.table, [self.columns, *self._rows])

    def _write(self, picture: Path, points: Path, image: ImageArray, landmarks: FloatArray) -> None:
        write_image(picture, image, quality=JPEG_QUALITY)
        write_pts(points, landmarks)

    def _add(self, row: Sequence[object], visible: npt.NDArray[np.bool_]) -> None:
        self._rows.append([*row, "".join("1" if seen else "0" for seen in visible)])


def frame_name(number: int) -> str:
    """Return the file stem of a frame, e.g. `000001`."""
    return f"{number:06d}"

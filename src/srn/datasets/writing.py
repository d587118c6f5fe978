"""Writer of annotated sets: pictures, `.pts` files, and a table with a row for each picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.face.geometry import FloatArray, ImageArray
from srn.files import csv_text, write_atomically
from srn.media.pictures import write_image
from srn.media.pts import write_pts


class AnnotationWriter:
    """Writes annotated pictures or frames, and their table: the given columns, then `visible`."""

    def __init__(self, table: Path, columns: Sequence[str]) -> None:
        self._table = table
        self._rows: list[Sequence[object]] = [(*columns, "visible")]

    def picture(
        self,
        stem: Path,
        image: ImageArray,
        landmarks: FloatArray,
        visible: npt.NDArray[np.bool_],
        row: Sequence[object],
        points: Path | None = None,
    ) -> None:
        """Write a picture and its `.pts` file.

        Args:
            stem: path of the picture without its suffix.
            image: (H, W, 3) uint8 RGB.
            landmarks: (N, 2) picture pixels, 0-based.
            visible: (N,) which landmarks are visible.
            row: values of the table's columns.
            points: path of the `.pts` file without its suffix; beside the picture where None.
        """
        write_image(f"{stem}.jpg", image, quality=95)
        write_pts(f"{points or stem}.pts", landmarks)
        self._rows.append((*row, "".join("1" if seen else "0" for seen in visible)))

    def frame(
        self,
        clip: Path,
        number: int,
        image: ImageArray,
        landmarks: FloatArray,
        visible: npt.NDArray[np.bool_],
        row: Sequence[object],
    ) -> None:
        """Write a frame, numbered from 1, as `CLIP/imgs/000001.jpg` and `CLIP/annot/000001.pts` (300VW's layout)."""
        name = frame_name(number)
        self.picture(clip / "imgs" / name, image, landmarks, visible, row, points=clip / "annot" / name)

    def write_table(self) -> None:
        """Write the table of everything written so far."""
        write_atomically(self._table, csv_text(self._rows))


def frame_name(number: int) -> str:
    """Return the file stem of a frame, e.g. `000001`."""
    return f"{number:06d}"

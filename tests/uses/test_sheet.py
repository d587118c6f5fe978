"""The contact sheet: the least confident first, no more than fit, and known as the program's own file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68
from srn.files import SHEET, Output, check_outputs
from srn.inference.batch import Detection
from srn.inference.face import Face, Faces
from srn.media.listing import PictureFile
from srn.media.pictures import read_image, write_image
from srn.uses.sheet import COLUMNS, LABEL, TILE, ContactSheet


def found(face: npt.NDArray[np.float64], value: int, *confidences: float | None) -> Detection:
    """A picture of one grey with faces of these confidences."""
    shape = face * 60 + [80, 80]
    faces = [
        Face(shape, None, None if sure is None else np.full(68, sure, np.float32), Box.around(shape), 0.9, IBUG_68)
        for sure in confidences
    ]
    path = Path(f"{value}.jpg")
    return Detection(PictureFile(path, Path(path.stem)), np.full((160, 160, 3), value, np.uint8), Faces(faces))


def greys(sheet: ContactSheet, count: int) -> list[int]:
    """The grey in a corner of each tile, in order."""
    image = sheet.image()
    columns = image.shape[1] // TILE
    places = [(30 + k // columns * (TILE + LABEL) + 3, k % columns * TILE + 3) for k in range(count)]
    return [int(image[y, x, 0]) for y, x in places]


def test_least_confident_first(face: npt.NDArray[np.float64], tmp_path: Path) -> None:
    sheet = ContactSheet(tmp_path / "sheet.png")
    for value, sure in ((40, 0.9), (60, 0.2), (80, None), (100, 0.5)):
        sheet.add(found(face, value, sure))
    sheet.add(found(face, 120))
    assert greys(sheet, 4) == [60, 100, 40, 80]
    assert sheet.image().shape == (30 + TILE + LABEL, 4 * TILE, 3)


def test_the_most_confident_are_left_out(face: npt.NDArray[np.float64], tmp_path: Path) -> None:
    sheet = ContactSheet(tmp_path / "sheet.png", most=3)
    for value in (200, 50, 150, 100, 250):
        sheet.add(found(face, value, value / 256))
    assert greys(sheet, 3) == [50, 100, 150]
    assert sheet.faces == 5


def test_rows(face: npt.NDArray[np.float64], tmp_path: Path) -> None:
    sheet = ContactSheet(tmp_path / "sheet.png")
    sheet.add(found(face, 90, *np.linspace(0.4, 0.9, COLUMNS + 1).tolist()))
    assert sheet.image().shape == (30 + 2 * (TILE + LABEL), COLUMNS * TILE, 3)
    assert ContactSheet(tmp_path / "empty.png").image().shape[1] == 3 * TILE


def test_its_file_is_known_from_a_photograph(face: npt.NDArray[np.float64], tmp_path: Path) -> None:
    place = tmp_path / "sheet.png"
    sheet = ContactSheet(place)
    sheet.add(found(face, 90, 0.5))
    sheet.write()

    np.testing.assert_array_equal(read_image(place), sheet.image())
    assert SHEET.head.match(place.read_bytes())
    check_outputs([Output("--sheet", place, SHEET)], [])
    write_image(place, sheet.image())
    with pytest.raises(InputError, match="a contact sheet"):
        check_outputs([Output("--sheet", place, SHEET)], [])


def test_mistakes() -> None:
    with pytest.raises(InputError, match=r"expected a picture file .png, found .jpg"):
        ContactSheet("sheet.jpg")
    with pytest.raises(InputError, match="room for at least 1 face"):
        ContactSheet("sheet.png", 0)

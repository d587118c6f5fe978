"""Listing the pictures of a run and naming their results."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from srn.errors import DataError
from srn.media.picture_files import PictureFile, pictures_in, point_files


def made(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def stems(pictures: list[PictureFile]) -> list[str]:
    return [picture.stem.as_posix() for picture in pictures]


def test_folders_are_searched_in_order_and_named_relative_to_themselves(tmp_path: Path) -> None:
    folder = made(tmp_path / "x", "b.JPG", "a.png", "in/c.webp", "notes.txt")
    single = made(tmp_path, "z.tif") / "z.tif"
    pictures = pictures_in([single, folder])
    assert [picture.path for picture in pictures] == [single, folder / "a.png", folder / "b.JPG", folder / "in/c.webp"]
    assert stems(pictures) == ["z", "a", "b", "in/c"]


def test_stems_are_unique(tmp_path: Path) -> None:
    made(tmp_path, "a.bmp", "a.png", "a_2.png", "in/a.png")
    assert stems(pictures_in([tmp_path])) == ["a", "a_2", "a_2_2", "in/a"]
    assert stems(pictures_in([tmp_path / "a.bmp", tmp_path / "in" / "a.png"])) == ["a", "a_2"]


def test_overlays_of_an_earlier_run_are_left_out(tmp_path: Path) -> None:
    made(tmp_path, "a.jpg", "a_landmarks.jpg", "tall_landmarks.png")
    # The first is an overlay of a.jpg; the last is a picture of that name, for there is no "tall" beside it.
    assert stems(pictures_in([tmp_path])) == ["a", "tall_landmarks"]


def test_missing_paths_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jpg: expected a picture or a folder, found no such file"):
        pictures_in([tmp_path / "none.jpg"])
    with pytest.raises(DataError, match="expected a folder with pictures, found none"):
        pictures_in([tmp_path])


def test_point_files_avoid_the_names_of_other_pictures() -> None:
    pictures = [PictureFile(Path(f"{name}.png"), Path("in") / name) for name in ("a", "a_2", "b")]
    first = [name.as_posix() for name in itertools.islice(point_files(pictures[0], pictures), 3)]
    assert first == ["in/a.pts", "in/a_3.pts", "in/a_4.pts"]
    assert next(point_files(pictures[1], pictures)).as_posix() == "in/a_2.pts"

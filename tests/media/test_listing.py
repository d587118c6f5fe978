"""Listing the pictures of a run, and naming their results."""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Any

import pytest

from srn.errors import DataError
from srn.media.listing import PictureFile, pictures_in, point_files
from srn.media.result_reading import read_results
from srn.uses.sheet import ContactSheet


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
    pictures = pictures_in([single, folder]).pictures
    assert [picture.path for picture in pictures] == [single, folder / "a.png", folder / "b.JPG", folder / "in/c.webp"]
    assert stems(pictures) == ["z", "a", "b", "in/c"]


def test_stems_are_unique(tmp_path: Path) -> None:
    made(tmp_path, "a.bmp", "a.png", "a_2.png", "in/a.png")
    assert stems(pictures_in([tmp_path]).pictures) == ["a", "a_2", "a_2_2", "in/a"]
    assert stems(pictures_in([tmp_path / "a.bmp", tmp_path / "in" / "a.png"]).pictures) == ["a", "a_2"]


def test_names_that_are_one_file_elsewhere_are_told_apart(tmp_path: Path) -> None:
    """Windows and macOS write `A.pts` and `a.pts`, or one accent in two forms, into one file."""
    for folder, name in (("1", "A.jpg"), ("2", "a.png"), ("3", "\u00e9.png"), ("4", "e\u0301.png")):
        made(tmp_path / folder, name)
    found = stems(pictures_in([tmp_path / folder for folder in "1234"]).pictures)
    assert found == ["A", "a_2", "\u00e9", "e\u0301_2"]


def test_overlays_of_an_earlier_run_are_left_out(tmp_path: Path) -> None:
    made(tmp_path, "a.jpg", "a_landmarks.jpg", "tall_landmarks.png")
    # The first is an overlay of a.jpg; the last is a picture of that name, for there is no "tall" beside it.
    assert stems(pictures_in([tmp_path]).pictures) == ["a", "tall_landmarks"]


def test_overlays_in_a_folder_inside_are_left_out(tmp_path: Path) -> None:
    """`srn detect . --out drawn` may be repeated; a picture that is named so stays one."""
    made(tmp_path, "a.jpg", "b_landmarks.jpg", "drawn/a_landmarks.jpg", "drawn/c.jpg", "drawn/in/a_landmarks.jpg")
    assert stems(pictures_in([tmp_path], drawn=tmp_path / "drawn").pictures) == ["a", "b_landmarks", "drawn/c"]
    whole = ["a", "b_landmarks", "drawn/a_landmarks", "drawn/c", "drawn/in/a_landmarks"]
    for drawn in (None, tmp_path, tmp_path / "elsewhere"):
        assert stems(pictures_in([tmp_path], drawn=drawn).pictures) == whole


def test_contact_sheets_of_earlier_runs_are_left_out(tmp_path: Path) -> None:
    """`srn detect . --sheet sheet.png` may be repeated: the sheet holds no picture of its own."""
    made(tmp_path, "a.png")
    ContactSheet(tmp_path / "sheet.png").write()
    listing = pictures_in([tmp_path])
    assert (stems(listing.pictures), listing.others) == (["a"], [tmp_path / "sheet.png"])
    assert stems(pictures_in([tmp_path / "sheet.png"]).pictures) == ["sheet"]  # by its name
    assert stems(pictures_in([tmp_path], every=True).pictures) == ["a", "sheet"]


def test_missing_paths_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.jpg: expected a picture or a folder, found no such file"):
        pictures_in([tmp_path / "none.jpg"])
    with pytest.raises(DataError, match="expected a folder with pictures, found none"):
        pictures_in([tmp_path])


def test_point_files_avoid_the_names_of_other_pictures() -> None:
    pictures = [PictureFile(Path(f"{name}.png"), Path("in") / name) for name in ("a", "a_2", "b")]
    stems = {picture.stem for picture in pictures}
    first = [name.as_posix() for name in itertools.islice(point_files(pictures[0], stems), 3)]
    assert first == ["in/a.pts", "in/a_3.pts", "in/a_4.pts"]
    assert next(point_files(pictures[1], stems)).as_posix() == "in/a_2.pts"


def test_every_format_that_can_be_read_is_listed(tmp_path: Path) -> None:
    names = ["a.jpg", "b.AVIF", "c.gif", "d.jfif", "e.JPE", "f.heic", "g.pnm", "h.MPO", "i.apng"]
    listing = pictures_in([made(tmp_path, *names, "j.CR2", "k.psd", "notes.txt")])
    assert [picture.path.name for picture in listing.pictures] == names
    assert [path.name for path in listing.unread] == ["j.CR2", "k.psd"]
    assert [path.name for path in listing.others] == ["notes.txt"]


def test_shadow_files_and_remains_are_passed_over(tmp_path: Path) -> None:
    listing = pictures_in([made(tmp_path, "a.jpg", "._a.jpg", ".a.0f0f.partial.jpg", "b.partial.jpg", "in/._b.txt")])
    assert stems(listing.pictures) == ["a", "b.partial"]  # the second is the user's own
    assert listing.others == []


def test_a_broken_link_a_pipe_and_a_link_to_a_folder(tmp_path: Path) -> None:
    """The first two are pictures that cannot be read; the last is not followed, and is told with `--verbose`."""
    made(tmp_path / "set", "a.jpg")
    (tmp_path / "set" / "b.jpg").symlink_to("nowhere")
    os.mkfifo(tmp_path / "set" / "c.jpg")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    listing = pictures_in([tmp_path / "set"])
    assert stems(listing.pictures) == ["a", "b", "c"]
    assert listing.others == [tmp_path / "set" / "loop"]


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a subfolder that cannot be read, also for root, whom no permission stops."""
    made(tmp_path, "a.jpg", "locked/b.jpg")
    scandir = os.scandir

    def forbidding(path: Any) -> Any:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", forbidding)
    return tmp_path / "locked"


def test_an_unreadable_folder_is_named(locked: Path) -> None:
    listing = pictures_in([locked.parent])
    assert stems(listing.pictures) == ["a"]
    assert listing.problems == [f"{locked}: expected a folder that can be read, found Permission denied"]
    with pytest.raises(DataError, match="locked: expected a folder with pictures, found Permission denied"):
        pictures_in([locked])


def test_a_file_in_a_folder_into_which_nobody_may_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be there: 'no such file' sends its owner looking for a mistake in its name."""
    lstat = os.lstat

    def forbidding(path: Any) -> Any:
        if Path(path).parent.name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return lstat(path)

    monkeypatch.setattr(os, "lstat", forbidding)
    hidden = tmp_path / "locked" / "faces.json"
    with pytest.raises(DataError, match="json: expected a picture or a folder, found Permission denied"):
        pictures_in([hidden])
    with pytest.raises(DataError, match=r"json: expected predictions: .*, found Permission denied"):
        read_results(hidden)


def test_a_name_that_no_file_system_takes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such file"):
        pictures_in([tmp_path / ("x" * 300)])


def test_a_picture_that_is_named_twice_is_listed_once(tmp_path: Path) -> None:
    """Also by its folder: its faces would count twice."""
    made(tmp_path, "a.jpg", "b.jpg")
    listed = pictures_in([tmp_path / "b.jpg", tmp_path, tmp_path / "." / "a.jpg", tmp_path / "b.jpg"])
    assert [(p.path.name, str(p.stem)) for p in listed.pictures] == [("b.jpg", "b"), ("a.jpg", "a")]

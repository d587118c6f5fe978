"""Folders of pictures with `.pts` files: nothing is dropped without a line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.pts_folder import read_pts_folder
from srn.datasets.report import ReadingReport
from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29
from srn.media.pictures import write_image
from srn.media.pts import write_pts

Shape = npt.NDArray[np.float64]
PIXELS = np.zeros((8, 8, 3), np.uint8)


def put(folder: Path, stem: str, shape: Shape, suffix: str = ".jpg") -> None:
    write_image(folder / f"{stem}{suffix}", PIXELS)
    write_pts(folder / f"{stem}.pts", shape)


@pytest.fixture
def messy(tmp_path: Path, face: Shape) -> Path:
    """A folder with two good faces and one of each kind of trouble."""
    folder = tmp_path / "afw"
    put(folder, "good", face * 100 + 50)
    put(folder, "also_good", face * 60 + 40, ".PNG")
    put(folder, "twice", face)
    write_image(folder / "twice.png", PIXELS)
    write_image(folder / "no_points.jpg", PIXELS)
    write_pts(folder / "no_picture.pts", face)
    put(folder, "broken", face)
    (folder / "broken.pts").write_text("version: 1\nn_points: 68\n{\n1 2\n}\n")
    put(folder, "other_scheme", face[:29])
    put(folder, "one_line", face * [1, 0] + 5)
    put(folder, "empty", face)
    (folder / "empty.jpg").write_bytes(b"")
    put(folder, "bad_box", face * 80 + 70)
    (tmp_path / "bbs" / "afw").mkdir(parents=True)
    (tmp_path / "bbs" / "afw" / "bad_box.pts").write_text("no box")
    write_pts(tmp_path / "bbs" / "afw" / "good.pts", np.array([[1.0, 2], [1, 90], [80, 90], [80, 2]]))
    (folder / "readme.txt").write_text("not a picture")
    put(folder / "inside", "not_entered", face)
    return folder


def test_a_messy_folder_word_for_word(messy: Path, face: Shape) -> None:
    report = ReadingReport()
    samples = read_pts_folder(messy, report)
    assert [sample.path.name for sample in samples] == ["also_good.PNG", "bad_box.jpg", "good.jpg", "twice.jpg"]
    assert {sample.subset for sample in samples} == {"afw"}
    np.testing.assert_allclose(samples[2].landmarks, face * 100 + 50, atol=1e-3)
    assert [sample.detector_box for sample in samples] == [None, None, Box(1, 2, 80, 90), None]
    assert report.counts == {"afw": 4}
    assert [problem.replace(str(messy.parent), "") for problem in report.problems] == [
        "/afw/twice.png: a second picture with the name of twice.jpg; left out",
        "/bbs/afw/bad_box.pts: expected 'n_points: N' and a block of '{ x y ... }', found other text",
        "/afw/broken.pts: expected 68 points, as n_points says, found 2 numbers; left out",
        "/afw/empty.jpg: expected a picture, found an empty file; left out",
        "/afw/no_picture.pts: no picture beside it; left out",
        "/afw/no_points.jpg: no no_points.pts beside it; left out",
        "/afw/one_line.pts: expected points with a width and a height, found all in one line; left out",
        "/afw/other_scheme.pts: expected 68 points, found 29; left out",
    ]


def test_every_file_is_a_face_or_in_the_report(messy: Path) -> None:
    report = ReadingReport()
    used = {sample.path.name for sample in read_pts_folder(messy, report)}
    for path in messy.iterdir():
        if path.suffix.lower() in {".jpg", ".png"}:
            told = any(path.stem in problem for problem in report.problems)
            assert (path.name in used) or told, path.name


def test_another_scheme(tmp_path: Path, face: Shape) -> None:
    put(tmp_path / "x", "a", face[:29])
    (sample,) = read_pts_folder(tmp_path / "x", ReadingReport(), scheme=COFW_29)
    assert sample.scheme is COFW_29


def test_upper_case_suffixes(tmp_path: Path, face: Shape) -> None:
    put(tmp_path / "x", "a", face * 9, ".JPG")
    (tmp_path / "x" / "a.pts").rename(tmp_path / "x" / "a.PTS")
    report = ReadingReport()
    assert len(read_pts_folder(tmp_path / "x", report)) == 1
    assert report.problems == []


def test_folders_of_one_name_add_up(tmp_path: Path, face: Shape) -> None:
    report = ReadingReport()
    for place in ("one", "two"):
        put(tmp_path / place / "x", "a", face)
        read_pts_folder(tmp_path / place / "x", report)
    assert report.lines() == ["2 faces: x 2"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere: expected a folder of pictures with \.pts files, found no such"):
        read_pts_folder(tmp_path / "nowhere", ReadingReport())


def test_a_folder_with_its_own_boxes_is_a_subset_named_like_itself(tmp_path: Path, face: Shape) -> None:
    put(tmp_path / "mine", "a", face * 9)
    write_pts(tmp_path / "mine" / "bbs" / "a.pts", np.array([[1.0, 2], [1, 9], [8, 9], [8, 2]]))
    (sample,) = read_pts_folder(tmp_path / "mine", ReadingReport(), root=tmp_path / "mine")
    assert (sample.subset, sample.detector_box) == ("mine", Box(1, 2, 8, 9))


def test_shadow_files_of_macos_are_passed_over(tmp_path: Path, face: Shape) -> None:
    put(tmp_path / "x", "a", face * 9)
    for name in ("._a.jpg", "._a.pts", "._b.png"):
        (tmp_path / "x" / name).write_bytes(b"\0\5\x16\7")
    report = ReadingReport()
    assert len(read_pts_folder(tmp_path / "x", report)) == 1
    assert report.problems == []

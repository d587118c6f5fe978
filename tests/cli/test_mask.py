"""`srn mask`: pictures and videos in, the same with masks out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.datasets.catalogue import open_faces
from srn.media.pictures import write_image
from srn.media.pts import write_pts

from .conftest import coordinate_file


@pytest.fixture
def shape(face: np.ndarray) -> np.ndarray:
    """(68, 2): a face in the middle of a picture of 200 pixels."""
    return face * 100 + 100


def write_face(stem: Path, shape: np.ndarray) -> None:
    write_image(stem.with_suffix(".png"), np.full((200, 200, 3), 128, np.uint8))
    write_pts(stem.with_suffix(".pts"), shape)


def test_pictures(srn: Any, tmp_path: Path, shape: np.ndarray) -> None:
    for name in ("a", "b"):
        write_face(tmp_path / "faces" / name, shape)

    ran = srn("mask", tmp_path / "faces", tmp_path / "out", "--seed", 2)  # as before

    assert (ran.code, ran.out.strip()) == (0, f"2 masked faces in {tmp_path / 'out'}")
    assert {p.name for p in (tmp_path / "out").rglob("*.*")} == {"a.jpg", "a.pts", "b.jpg", "b.pts", "manifest.csv"}


def test_points_of_ones_own(srn: Any, tmp_path: Path, shape: np.ndarray) -> None:
    """A set of an own scheme is masked, and what is written can be read: it was taken for 68 points."""
    write_face(tmp_path / "own" / "test" / "a", shape[[36, 45, 30, 48, 54, 8]])
    (tmp_path / "own" / "scheme.toml").write_text(
        'name = "masked6"\nn_points = 6\neye_corners = [0, 1]\neyes = [[0], [1]]\nmirror_pairs = [[0, 1], [3, 4]]\n'
        "[components]\neyes = [0, 1]\nnose = [2]\nmouth = [3, 4]\nleft_cheek = [5]\n"
    )

    ran = srn("mask", tmp_path / "own", "--out", tmp_path / "out")

    assert ran.out.strip() == f"1 masked face in {tmp_path / 'out'}", ran.err
    faces = open_faces(tmp_path / "out")
    assert [sample.scheme.name for sample in faces.samples] == ["masked6"]
    assert faces.samples[0].occluded is not None


def test_videos_and_a_broken_frame(srn: Any, tmp_path: Path, shape: np.ndarray) -> None:
    clip = tmp_path / "videos" / "first"
    for number in (1, 2):
        write_image(clip / "imgs" / f"{number:06d}.png", np.full((200, 200, 3), 128, np.uint8))
        write_pts(clip / "annot" / f"{number:06d}.pts", shape)
    (clip / "imgs" / "000002.png").write_bytes(b"no picture")

    ran = srn("mask", tmp_path / "videos", "--out", tmp_path / "out")

    assert ran.code == 1
    assert ran.out.strip() == f"1 masked frame in {tmp_path / 'out'}"
    assert "000002.png" in ran.err
    assert [p.name for p in (tmp_path / "out" / "first" / "imgs").iterdir()] == ["000001.jpg"]


def test_a_kind_that_needs_templates_asks_for_them(srn: Any, tmp_path: Path, shape: np.ndarray) -> None:
    write_face(tmp_path / "faces" / "a", shape)

    ran = srn("mask", tmp_path / "faces", "--out", tmp_path / "out", "--kind", "surgical")

    assert ran.code == 2
    assert "--templates" in ran.err


def test_names_that_are_not_utf_8_work_from_pictures_to_the_report(
    srn: Any, knowing: Any, tmp_path: Path, truths: dict[int, np.ndarray]
) -> None:
    stem = tmp_path / "faces" / os.fsdecode(b"<b>caf\xe9")
    coordinate_file(stem.with_suffix(".png"))
    write_pts(stem.with_suffix(".pts"), truths[0])

    assert srn("mask", tmp_path / "faces", "--out", tmp_path / "out").code == 0
    assert (tmp_path / "out" / "faces" / f"{stem.name}.jpg").is_file()
    assert b"<b>caf\xe9" in (tmp_path / "out" / "manifest.csv").read_bytes()
    assert srn("data", "check", tmp_path / "out").code == 0
    outputs = ("--report", tmp_path / "r", "--json", tmp_path / "e.json", "--ced", tmp_path / "c.svg")
    assert srn("evaluate", tmp_path / "faces", "--no-cache", "--accuracy", "fast", *outputs).code == 0
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert r"&lt;b&gt;caf\xe9" in page
    assert "<b>caf" not in page


def test_one_folder_is_wanted(srn: Any, tmp_path: Path, shape: np.ndarray) -> None:
    write_face(tmp_path / "faces" / "a", shape)
    wanted = "--out: expected a folder for the masked pictures, found none"
    assert srn("mask", tmp_path / "faces").mistake == wanted
    several = [tmp_path / "faces", tmp_path / "a"]
    found = ", ".join(map(str, several))
    assert srn("mask", *several, "--out", tmp_path / "b").mistake == (
        f"DATA: expected one folder of annotated faces, found {found}"
    )


def test_the_help_lists_the_kinds(srn: Any) -> None:
    words = srn("mask", "--help").out
    assert all(kind in words for kind in ("drawn", "mixed", "patterned", "surgical_blue", "KN95"))
    assert "[OUT]" not in words


@pytest.mark.parametrize(("split", "expected"), [("train", "afw"), ("test", "ibug"), (None, "ibug")])
def test_a_part_of_a_dataset(srn: Any, tmp_path: Path, shape: np.ndarray, split: str | None, expected: str) -> None:
    for subset in ("afw", "ibug"):
        write_face(tmp_path / "300W" / subset / "one", shape)

    ran = srn("mask", tmp_path / "300W", "--out", tmp_path / "out", *(["--split", split] if split else []))

    assert ran.code == 0
    assert [path.parent.name for path in (tmp_path / "out").rglob("*.pts")] == [expected]

"""WFLW: replicas of its lists, and the real part of its test split."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.catalogue import open_faces
from srn.datasets.wflw import ATTRIBUTES, list_file, read_wflw
from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68, WFLW_98
from srn.media.pictures import write_image

Shape = npt.NDArray[np.float64]


def line(shape: Shape, name: str, flags: str = "0 0 0 0 0 0", box: str = "1 2 30 40") -> str:
    return " ".join(f"{v:.6f}" for v in shape.ravel()) + f" {box} {flags} {name}\n"


@pytest.fixture
def shape(rng: np.random.Generator) -> Shape:
    return rng.uniform(5, 60, (98, 2))


@pytest.fixture
def root(tmp_path: Path, shape: Shape) -> Path:
    for name in ("0--Parade/a b.jpg", "1--Handshaking/c.jpg"):
        write_image(tmp_path / "WFLW_images" / name, np.zeros((9, 9, 3), np.uint8))
    for split, lines in {
        "train": [line(shape, "0--Parade/a b.jpg"), line(shape + 1, "0--Parade/a b.jpg", "0 1 0 0 0 1")],
        "test": [line(shape + 2, "1--Handshaking/c.jpg", "1 0 0 1 1 0")],
    }.items():
        path = list_file(tmp_path, split)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines))
    return tmp_path


def test_both_lists(root: Path, shape: Shape) -> None:
    samples, report = read_wflw(root)
    assert [sample.subset for sample in samples] == ["train", "train", "test"]
    for k, sample in enumerate(samples):
        np.testing.assert_allclose(sample.landmarks, shape + k, atol=1e-6)
        assert (sample.scheme, sample.detector_box) == (WFLW_98, Box(1, 2, 30, 40))
        assert sample.load().shape == (9, 9, 3)
    assert [sorted(sample.attributes) for sample in samples] == [
        [],
        ["blur", "expression"],
        ["make-up", "occlusion", "pose"],
    ]
    assert report.counts == {"train": 2, "test": 1}
    assert report.problems == []
    assert f"{root / 'occlusion'}: 1 faces, the official release has 736" in open_faces(root).report.shortfalls


def test_one_split(root: Path) -> None:
    samples, report = read_wflw(root, ["test"])
    assert len(samples) == 1
    assert report.counts == {"test": 1}


@pytest.mark.parametrize("name", ["a\u2028b.jpg", "a\rb.jpg", os.fsdecode(b"caf\xe9.jpg")])
def test_only_lines_end_at_line_ends(root: Path, shape: Shape, name: str) -> None:
    write_image(root / "WFLW_images" / name, np.zeros((9, 9, 3), np.uint8))
    content = line(shape, name).replace("\n", "\r\n") + line(shape, name)
    list_file(root, "test").write_bytes(os.fsencode(content))
    samples, report = read_wflw(root, ["test"])
    assert [sample.path.name for sample in samples] == [name, name]
    assert report.problems == []


def test_every_broken_line_has_a_line(root: Path, shape: Shape) -> None:
    good = line(shape, "1--Handshaking/c.jpg")
    file = list_file(root, "test")
    broken = [
        good.replace(" 0 0 0 0 0 0 ", " 0 0 0 0 0 2 "),
        " ".join(good.split()[:-1]) + "\n",
        "x" + good,
        "\n",
        line(shape, "1--Handshaking/gone.jpg"),
        line(shape * [0, 1], "1--Handshaking/c.jpg"),
        line(shape, "1--Handshaking/c.jpg", box="5 5 5 9"),
    ]
    file.write_text("".join(broken))
    samples, report = read_wflw(root, ["test"])
    assert [sample.detector_box for sample in samples] == [None]
    starts = [f"{file}: line 1: expected 196 coordinates, 4 of a box, 6 flags 0 or 1, and a name, found 207 words"]
    starts += [f"{file}: line 2: expected 196 coordinates", f"{file}: line 3: expected 196 coordinates"]
    starts += [f"{root / 'WFLW_images' / '1--Handshaking/gone.jpg'}: expected a picture, found No such file"]
    starts += [f"{file}: line 6: expected points with a width", f"{file}: line 7: face box: expected finite x0 < x1"]
    assert len(report.problems) == len(starts)
    for problem, start in zip(report.problems, starts, strict=True):
        assert problem.startswith(start)


def test_the_official_subset_lists_are_compared(root: Path, shape: Shape) -> None:
    place = root / "WFLW_annotations" / "list_98pt_test"
    place.mkdir()
    entry = " ".join(f"{v:.6f}" for v in (shape + 2).ravel()) + " 1--Handshaking/c.jpg\n"
    for name in ("largepose", "makeup", "occlusion"):
        (place / f"list_98pt_test_{name}.txt").write_text(entry)
    assert read_wflw(root)[1].notes == []
    (place / "list_98pt_test_occlusion.txt").write_text("")
    (place / "list_98pt_test_blur.txt").write_text(entry + "1 2 c.jpg\n")
    _, report = read_wflw(root)
    assert report.notes == [
        f"{place / 'list_98pt_test_occlusion.txt'}: 0 faces without the flag occlusion, 1 with it are not listed",
        f"{place / 'list_98pt_test_blur.txt'}: 1 faces without the flag blur, 0 with it are not listed",
    ]
    assert report.problems == [
        f"{place / 'list_98pt_test_blur.txt'}: line 2: expected 196 coordinates and a name, found 3 words"
    ]


def test_no_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected WFLW's lists \(WFLW_annotations/list_98pt_.*\), found none of them"):
        read_wflw(tmp_path)
    with pytest.raises(DataError, match=r"expected WFLW's lists \(WFLW_annotations/list_29pt_.*\), found none of them"):
        read_wflw(tmp_path, scheme=COFW_29)


def test_the_real_part(shared_data: Path) -> None:
    root = shared_data / "WFLW_subset"
    samples, report = read_wflw(root)
    assert report.counts == {"train": 0, "test": 155}
    assert report.problems == []
    # The first line, cut by hand; and the flags counted column by column.
    rows = [row.split() for row in list_file(root, "test").read_text().splitlines()]
    first = samples[0]
    assert first.landmarks[0].tolist() == [float(rows[0][0]), float(rows[0][1])]
    assert first.landmarks[97].tolist() == [140.2287, 205.3317]
    assert first.detector_box == Box(80, 164, 154, 280)
    assert first.attributes == {"illumination", "make-up"}
    assert first.path == root / "WFLW_images" / "12--Group/12_Group_Group_12_Group_Group_12_153.jpg"
    for column, attribute in enumerate(ATTRIBUTES):
        count = sum(row[200 + column] == "1" for row in rows)
        assert sum(attribute in sample.attributes for sample in samples) == count
    assert sum("occlusion" in sample.attributes for sample in samples) == 44


def test_the_real_68_points(shared_data: Path) -> None:
    root = shared_data / "WFLW_subset"
    samples, report = read_wflw(root, scheme=IBUG_68)
    assert len(samples) == 208
    assert report.problems == []
    assert {sample.scheme for sample in samples} == {IBUG_68}
    # Where both lists have a face, the outline's every second point is the 68 points' one.
    outlines = {(sample.path, *sample.landmarks[0].round(2)): sample.landmarks[:33:2] for sample in read_wflw(root)[0]}
    both = [sample for sample in samples if (sample.path, *sample.landmarks[0].round(2)) in outlines]
    assert len(both) > 140
    for sample in both:
        outline = outlines[(sample.path, *sample.landmarks[0].round(2))]
        np.testing.assert_allclose(sample.landmarks[:17], outline, atol=1e-3)

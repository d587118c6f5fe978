"""Pictures that stand in two parts of a dataset."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import read_300w
from srn.datasets.validation import NEAR, Duplicate, duplicates, scan
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image

Shape = npt.NDArray[np.float64]
Picture = npt.NDArray[np.uint8]


def someone(rng: np.random.Generator) -> Picture:
    """(200, 160, 3): smooth random shades, another for every call."""
    small = rng.integers(0, 256, (10, 8, 3), dtype=np.uint8)
    return cv2.resize(small, (160, 200), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def sample(path: Path, image: Picture, shape: Shape, quality: int = 92) -> Sample:
    write_image(path, image, quality)
    return Sample(path, shape, IBUG_68, "x")


def test_the_same_the_nearly_same_and_others(tmp_path: Path, rng: np.random.Generator, face: Shape) -> None:
    shape = face * 90 + [80, 100]
    first, second, third = someone(rng), someone(rng), someone(rng)
    half = cv2.resize(second[10:, 4:], None, fx=0.5, fy=0.5).astype(np.uint8)
    samples = [
        sample(tmp_path / "0.png", first, shape),
        sample(tmp_path / "1.png", second, shape),
        sample(tmp_path / "2.png", first, shape),
        # Half the size, cut at the border, compressed, annotated by somebody else.
        sample(tmp_path / "3.jpg", half, (shape - [4, 10]) / 2 + 0.7, 60),
        sample(tmp_path / "4.png", third, shape),
    ]
    steps: list[int] = []
    scanned = scan(samples, progress=lambda: steps.append(1))
    assert len(steps) == 5
    assert scanned.problems == ()
    same, near = duplicates(scanned, [0, 1], [2, 3, 4])
    assert same == Duplicate(0, 2, True, pytest.approx(1, abs=1e-5))  # type: ignore[arg-type]
    assert (near.first, near.second, near.exact) == (1, 3, False)
    assert NEAR < near.similarity < 1
    assert list(duplicates(scanned, [0, 1], [2, 3, 4], near=2.0)) == [same]
    assert [(pair.first, pair.second) for pair in duplicates(scanned, range(5), range(5))] == [
        (0, 2), (1, 3), (2, 0), (3, 1),
    ]  # fmt: skip


def test_two_faces_of_one_group_photograph(tmp_path: Path, rng: np.random.Generator, face: Shape) -> None:
    image = someone(rng)
    left = sample(tmp_path / "a.png", image, face * 40 + [40, 60])
    right = sample(tmp_path / "b.png", image, face * 40 + [110, 140])
    (pair,) = duplicates(scan([left, right]), [0], [1])
    assert pair.exact
    assert pair.similarity < NEAR


def test_pictures_that_do_not_decode(tmp_path: Path, rng: np.random.Generator, face: Shape) -> None:
    good = sample(tmp_path / "a.png", someone(rng), face * 40 + [40, 60])
    (tmp_path / "b.png").write_bytes(b"broken")
    (tmp_path / "c.png").write_bytes(b"broken")
    scanned = scan([good, replace(good, path=tmp_path / "b.png"), replace(good, path=tmp_path / "c.png")])
    assert [problem.split(": ")[0] for problem in scanned.problems] == [
        str(tmp_path / "b.png"),
        str(tmp_path / "c.png"),
    ]
    assert scanned.digests[1:] == ("", "")
    assert list(duplicates(scanned, [1], [0, 2])) == []  # nothing is known of them


def test_a_face_outside_its_picture_is_named_beside_one_inside(
    tmp_path: Path, rng: np.random.Generator, face: Shape
) -> None:
    inside = sample(tmp_path / "a.png", someone(rng), face * 40 + [40, 60])
    scanned = scan([replace(inside, landmarks=inside.landmarks + 1e9), inside])
    (problem,) = scanned.problems
    assert problem.startswith(f"{tmp_path / 'a.png'}: expected a face in the picture of 160 x 200 pixels, found one at")
    assert [bool(digest) for digest in scanned.digests] == [False, True]


def test_faces_of_one_picture_read_it_once(tmp_path: Path, rng: np.random.Generator, face: Shape) -> None:
    first = sample(tmp_path / "a.png", someone(rng), face * 40 + [40, 60])
    reads = []

    def source() -> Picture:
        reads.append(1)
        return np.zeros((90, 90, 3), np.uint8)

    twice = [replace(first, source=source), replace(first, source=source)]
    scanned = scan(twice)
    assert len(reads) == 1
    assert not scanned.thumbnails.any()  # of one colour: like nothing else
    assert scanned.digests[0] == scanned.digests[1]


def test_points_outside_are_counted(tmp_path: Path, rng: np.random.Generator, face: Shape) -> None:
    shape = face * 40 + [80, 100]
    shape[:3] = [[-0.6, 50], [159.6, 50], [-0.4, 50]]
    shape[3] = [159.4, 199.4]
    assert scan([sample(tmp_path / "a.png", someone(rng), shape)]).outside.tolist() == [2]


def test_the_known_pairs_of_the_real_set(shared_data: Path) -> None:
    """The data's description names these two pairs inside the test sets; four between the splits were taken out."""
    samples, _ = read_300w(shared_data / "300W", ("helen/testset", "lfpw/testset"))
    names = ["image_0232", "image_0238", "3203334240_1", "3238436027_1"]
    few = [s for s in samples if s.path.stem in names or s.path.stem.endswith(("5_1", "7_1"))][:90]
    few = few + [s for s in samples if s.path.stem in names and s not in few]
    pairs = duplicates(scan(few), range(len(few)), range(len(few)))
    found = {(few[p.first].path.stem, few[p.second].path.stem) for p in pairs if p.first < p.second}
    assert found == {("image_0232", "image_0238"), ("3203334240_1", "3238436027_1")}

"""300W's layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.catalogue import open_faces
from srn.datasets.kinds import KINDS
from srn.datasets.three_hundred_w import FULL_SUBSETS, TRAINING_SUBSETS, photograph_of, read_300w
from srn.errors import DataError
from srn.media.pictures import write_image
from srn.media.pts import write_pts

Shape = npt.NDArray[np.float64]


def put(folder: Path, stem: str, shape: Shape) -> None:
    write_image(folder / f"{stem}.jpg", np.zeros((8, 8, 3), np.uint8))
    write_pts(folder / f"{stem}.pts", shape)


def test_root_with_some_subsets(tmp_path: Path, face: Shape) -> None:
    root = tmp_path
    for stem in "abcd":
        put(root / "afw", stem, face)
    put(root / "helen" / "trainset", "h", face)
    (root / "afw" / "broken.pts").write_text("broken")
    dataset = open_faces(root, split="train")
    samples, report = dataset.samples, dataset.report
    assert [sample.subset for sample in samples] == ["afw"] * 4 + ["helen/trainset"]
    assert report.counts == {"afw": 4, "helen/trainset": 1, "lfpw/trainset": 0}
    assert report.shortfalls == [
        f"{root / 'afw'}: 4 faces, the official release has 337",
        f"{root / 'helen/trainset'}: 1 faces, the official release has 2000",
        f"{root / 'lfpw/trainset'}: 0 faces, the official release has 811",
    ]
    assert report.lines()[0] == "5 faces: afw 4, helen/trainset 1, lfpw/trainset 0"
    assert len(report.lines()) == 1 + 3 + 1


def test_a_root_without_any_subset_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_300w(tmp_path, FULL_SUBSETS)
    assert str(caught.value) == (
        f"{tmp_path}: expected the folders of 300W (helen/testset, lfpw/testset, ibug) with pictures and .pts files, "
        "found none of them"
    )


def test_the_real_300w(shared_data: Path) -> None:
    root = shared_data / "300W"
    dataset = open_faces(root, split="train")
    training, report, official = dataset.samples, dataset.report, KINDS["300w"].official
    # What the data's own description says is here (../shared/data/README.md).
    assert len(training) == 3056
    assert report.counts["afw"] == 337
    assert [line.split(": ")[1] for line in report.shortfalls] == [
        f"{report.counts[name]} faces, the official release has {official[name]}"
        for name in ("helen/trainset", "lfpw/trainset")
    ]
    missing = sum(official[name] - report.counts[name] for name in TRAINING_SUBSETS)
    assert missing == 3148 - 3056
    dataset = open_faces(root, split="test")
    tests, report = dataset.samples, dataset.report
    assert report.counts == {"helen/testset": 330, "lfpw/testset": 224, "ibug": 135}
    assert report.shortfalls == []
    assert report.problems == []
    # "All delivered faces have a box; its IoU with the tight one is 0.90 in the median."
    overlaps = [sample.detector_box.iou(sample.box) for sample in tests if sample.detector_box is not None]
    assert len(overlaps) == 689
    assert np.median(overlaps) == pytest.approx(0.90, abs=0.02)


@pytest.mark.parametrize(
    ("name", "photograph"),
    [
        ("afw/1051618982_1", "afw/1051618982"),
        ("afw/1051618982_2", "afw/1051618982"),
        ("300W_LP_AFW/AFW_1051618982_1_11", "afw/1051618982"),
        ("helen/trainset/100032540_1", "helen/100032540"),
        ("300W_LP/HELEN_100032540_1_3", "helen/100032540"),
        ("lfpw/trainset/image_0001", "lfpw/image_0001"),
        ("300W_LP/LFPW_image_train_0001_2", "lfpw/image_0001"),
        ("ibug/image_003_1", "ibug/image_003"),
        ("300W/helen/trainset/100032540_1", "helen/100032540"),  # of a pack of several roots
        ("masked/helen/trainset/100032540_1", "helen/100032540"),
        ("own/person_1", "own/person_1"),
        ("x", "x"),
    ],
)
def test_faces_and_renderings_of_one_photograph(name: str, photograph: str) -> None:
    assert photograph_of(name) == photograph

"""Any dataset: what a folder is, and the parts that the paper's tables name."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.catalogue import open_faces, recognize
from srn.datasets.kinds import KINDS
from srn.datasets.sample import SPLITS, sources_of
from srn.datasets.three_hundred_w import read_300w, read_300w_private, read_masked_300w
from srn.errors import DataError, InputError
from srn.face.geometry import Box
from srn.face.scheme import IBUG_68, WFLW_98
from srn.media.pictures import write_image
from srn.media.pts import write_pts

Shape = npt.NDArray[np.float64]


def put(root: Path, shape: Shape, *names: str) -> None:
    for name in names:
        write_image(root / f"{name}.png", np.zeros((8, 8, 3), np.uint8))
        write_pts(root / f"{name}.pts", shape * 9 + 9)


# --- what a folder is


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("300W", "300w"),
        ("masked_300W", "masked-300w"),
        ("WFLW_subset", "wflw"),
        ("COFW68_annotations", "cofw68"),
        ("CK_plus", "300vw"),
        ("samples/300VW", "300vw"),
        ("samples/COFW29", "cofw29"),
        ("samples/300W_private_test", "300w-private"),
        ("samples/WFLW", "plain"),
        ("extra/dlib_faces", "plain"),
        ("300W/ibug", "plain"),
        ("occluders", None),
        ("real_masked_unlabelled", None),
    ],
)
def test_real_folders_are_recognized(shared_data: Path, folder: str, kind: str | None) -> None:
    assert recognize(shared_data / folder) == kind


def test_a_folder_around_datasets_is_none(tmp_path: Path, face: Shape) -> None:
    """Of 300W in it, HELEN and LFPW alone told a split: the others were passed over without a word."""
    put(tmp_path / "300W" / "helen" / "testset", face, "a")
    put(tmp_path / "300W" / "ibug", face, "b")
    (tmp_path / "COFW").mkdir()
    (tmp_path / "COFW" / "COFW_test_color.mat").touch()
    message = f"{tmp_path}: expected the folder of a dataset, found one that holds 300W, COFW: name what is in it"
    with pytest.raises(DataError, match=f"^{re.escape(message)}$"):
        open_faces(tmp_path, split="test")
    assert len(open_faces(tmp_path, kind="plain").samples) == 2
    (tmp_path / "manifest.csv").write_text("subset,stem,mask,seed,visible\n")  # `srn mask` made it of several
    assert len(open_faces(tmp_path).samples) == 2
    for name in ("manifest.csv", "300W/helen/testset/a.pts", "300W/ibug/b.pts"):
        (tmp_path / name).unlink()
    with pytest.raises(DataError, match="found one that holds 300W, COFW"):
        open_faces(tmp_path)


def test_what_is_no_dataset(tmp_path: Path) -> None:
    assert recognize(tmp_path) is None
    with pytest.raises(DataError, match=r"expected the folders of 300W, WFLW, COFW or 300VW, .* found none of them"):
        open_faces(tmp_path)
    with pytest.raises(DataError, match="found no such folder"):
        open_faces(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"kind of dataset: expected one of 300w, 300w-private, .*, found '300v'"):
        open_faces(tmp_path, kind="300v")
    with pytest.raises(InputError, match="split: expected train or test, found 'val'"):
        open_faces(tmp_path, split="val")


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_names_what_it_misses(tmp_path: Path, kind: str) -> None:
    with pytest.raises(DataError) as caught:
        open_faces(tmp_path, kind=kind)
    assert str(caught.value).startswith(f"{tmp_path}: expected ")


# --- parts


def test_parts_of_300w(tmp_path: Path, face: Shape) -> None:
    put(tmp_path, face, "afw/a", "helen/trainset/b", "helen/testset/c", "lfpw/testset/d", "ibug/e")
    dataset = open_faces(tmp_path)
    assert dataset.kind.name == "300w"
    by_part = {name: [s.path.stem for s in dataset.part(name)] for name in dataset.parts}
    assert by_part == {
        "train": ["a", "b"],
        "test": ["c", "d", "e"],
        "Common": ["c", "d"],
        "Challenging": ["e"],
        "Full": ["c", "d", "e"],
    }
    assert [s.path.stem for s in open_faces(tmp_path, split="train").samples] == ["a", "b"]
    test = open_faces(tmp_path, split="test")
    assert [s.path.stem for s in test.part("Challenging")] == ["e"]
    assert "afw" not in test.report.counts
    with pytest.raises(InputError, match="expected one of the parts test, Common, Challenging, Full, found 'train'"):
        test.part("train")


def test_a_masked_set_is_known_by_its_name_or_its_manifest(tmp_path: Path, face: Shape) -> None:
    put(tmp_path / "Masked 300W", face, "ibug/e")
    put(tmp_path / "mine", face, "ibug/e", "helen/testset/c")
    (tmp_path / "mine" / "manifest.csv").write_text(f"subset,stem,visible\nibug,e,{'01' * 34}\n")
    assert recognize(tmp_path / "Masked 300W") == "masked-300w"
    dataset = open_faces(tmp_path / "mine")
    assert dataset.kind.name == "masked-300w"
    assert {name: len(indices) for name, indices in dataset.parts.items()} == {
        "test": 2, "Common": 1, "Challenging": 1, "Full": 2,
    }  # fmt: skip
    (challenging,) = dataset.part("Challenging")
    assert challenging.occluded is not None
    assert challenging.occluded.tolist() == [True, False] * 34
    assert dataset.part("Common")[0].occluded is None


def test_a_masked_set_may_hold_training_faces(tmp_path: Path, face: Shape) -> None:
    for subset in ("afw", "ibug"):
        put(tmp_path / "masked", face, f"{subset}/a")
    (tmp_path / "masked" / "manifest.csv").write_text("subset,stem,visible\n")
    subsets = {split: [s.subset for s in open_faces(tmp_path / "masked", split=split).samples] for split in SPLITS}
    assert subsets == {"train": ["afw"], "test": ["ibug"]}


@pytest.mark.parametrize("place", ["", "300W"])
def test_the_private_test_set(tmp_path: Path, face: Shape, place: str) -> None:
    put(tmp_path / place, face, "01_Indoor/indoor_001", "01_Indoor/indoor_002", "02_Outdoor/outdoor_001")
    dataset = open_faces(tmp_path)
    assert dataset.kind.name == "300w-private"
    assert {name: len(indices) for name, indices in dataset.parts.items()} == {"test": 3, "Indoor": 2, "Outdoor": 1}
    assert dataset.report.counts == {"01_Indoor": 2, "02_Outdoor": 1}
    assert all(line.endswith("faces, the official release has 300") for line in dataset.report.shortfalls)


def test_parts_of_300vw(tmp_path: Path, face: Shape) -> None:
    for video in ("001", "114", "410", "mine"):
        put(tmp_path / video / "imgs", face, "000001", "000002")
        (tmp_path / video / "imgs").rename(tmp_path / video / "both")
        for folder, suffix in (("imgs", ".png"), ("annot", ".pts")):
            (tmp_path / video / folder).mkdir()
            for path in (tmp_path / video / "both").glob(f"*{suffix}"):
                path.rename(tmp_path / video / folder / path.name)
    dataset = open_faces(tmp_path)
    assert [clip.name for clip in dataset.clips] == ["001", "114", "410", "mine"]
    assert {name: list(indices) for name, indices in dataset.parts.items()} == {
        "train": [0, 1], "test": [2, 3, 4, 5], "category 1": [2, 3], "category 3": [4, 5], "mine": [6, 7],
    }  # fmt: skip
    test = open_faces(tmp_path, split="test")
    assert [clip.name for clip in test.clips] == ["114", "410"]
    assert len(test.samples) == 4
    assert test.report.notes[-1] == f"{tmp_path}: only the faces to test with are taken: 4"


def test_parts_of_ones_own(tmp_path: Path, face: Shape) -> None:
    put(tmp_path / "split", face, "train/a", "test_easy/b", "test_hard/c")
    put(tmp_path / "whole", face, "x/a", "y/b")
    dataset = open_faces(tmp_path / "split")
    assert {name: len(indices) for name, indices in dataset.parts.items()} == {
        "train": 1, "test": 2, "test_easy": 1, "test_hard": 1,
    }  # fmt: skip
    assert [s.path.stem for s in open_faces(tmp_path / "split", split="test").samples] == ["b", "c"]
    whole = open_faces(tmp_path / "whole", split="train")
    assert len(whole.samples) == 2
    assert whole.report.notes == [f"{tmp_path / 'whole'}: nothing says which faces are to train with: all are taken"]


# --- the faces of several paths


@pytest.fixture
def partly_boxed(tmp_path: Path, face: Shape) -> Path:
    """300W's layout, with boxes for two of the faces."""
    put(tmp_path / "300W", face, "helen/testset/a", "helen/trainset/b", "lfpw/testset/c", "ibug/d", "afw/e")
    corners = np.array([[1.0, 1], [1, 7], [7, 7], [7, 1]])
    write_pts(tmp_path / "300W" / "bbs" / "helen" / "testset" / "a.pts", corners)
    write_pts(tmp_path / "300W" / "bbs" / "ibug" / "d.pts", corners + 1)
    return tmp_path / "300W"


def test_the_root_stands_for_the_test_sets(partly_boxed: Path) -> None:
    dataset = open_faces(partly_boxed, split="test")
    assert [sample.subset for sample in dataset.samples] == ["helen/testset", "lfpw/testset", "ibug"]
    assert [sample.path.stem for sample in dataset.samples] == ["a", "c", "d"]
    assert [sample.detector_box for sample in dataset.samples] == [Box(1, 1, 7, 7), None, Box(2, 2, 8, 8)]
    assert dataset.report.problems == []


@pytest.mark.parametrize("folder", ["ibug", "helen/testset"])
def test_a_folder_finds_the_boxes_above_it(partly_boxed: Path, folder: str) -> None:
    (sample,) = open_faces(partly_boxed / folder, split="test").samples
    assert sample.subset == folder
    assert sample.detector_box is not None


def test_a_single_folder_is_taken_whole(partly_boxed: Path) -> None:
    dataset = open_faces(partly_boxed / "helen" / "trainset", split="test")
    assert [sample.path.stem for sample in dataset.samples] == ["b"]
    (note,) = dataset.report.notes
    assert note.endswith("a single folder of pictures: all its faces are taken to test with")


def test_several_folders(tmp_path: Path, face: Shape) -> None:
    put(tmp_path, face, "mine/a", "yours/b")
    dataset = open_faces([tmp_path / "mine", tmp_path / "yours"], split="test")
    assert [(sample.subset, sample.path.name) for sample in dataset.samples] == [("mine", "a.png"), ("yours", "b.png")]
    assert dataset.report.counts == {"mine": 1, "yours": 1}
    assert dataset.kind.name == "plain"


def test_subsets_of_one_name_are_told_apart(tmp_path: Path, face: Shape) -> None:
    put(tmp_path / "300W", face, "ibug/a", "helen/testset/b")
    put(tmp_path / "masked", face, "ibug/a")
    subsets = ["helen/testset", "300W/ibug", "masked/ibug"]
    joined = open_faces([tmp_path / "300W", tmp_path / "masked"], split="test")
    assert [sample.subset for sample in joined.samples] == subsets
    assert joined.kind.name == "plain"
    write_pts(tmp_path / "300W" / "bbs" / "ibug" / "a.pts", np.array([[1.0, 1], [1, 7], [7, 7], [7, 1]]))
    (tmp_path / "masked" / "manifest.csv").write_text("subset,stem,visible\n")
    joined = open_faces([tmp_path / "300W" / "ibug", tmp_path / "masked" / "ibug"], split="test")
    assert [sample.subset for sample in joined.samples] == subsets[1:]


def test_a_relative_folder(partly_boxed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(partly_boxed / "ibug")
    (sample,) = open_faces(Path(".")).samples
    assert sample.subset == "ibug"


def test_folders_without_faces_are_named(partly_boxed: Path, tmp_path: Path, face: Shape) -> None:
    with pytest.raises(DataError, match=r"nowhere: expected the folders of 300W.*, found no such folder"):
        open_faces([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: expected the folders of 300W.*, found none of them"):
        open_faces([partly_boxed, tmp_path / "empty"])
    put(tmp_path / "broken", face, "a")
    (tmp_path / "broken" / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"broken: expected annotated faces with their pictures, found .*an empty file"):
        open_faces(tmp_path / "broken")
    assert len(open_faces(tmp_path / "broken", allow_empty=True).report.problems) == 1
    with pytest.raises(InputError, match=r"faces: expected a dataset's folder, or a pack .*, found nothing"):
        open_faces([])


def test_own_annotations_in_one_file_are_test_faces_too(shared_data: Path) -> None:
    """COCO key points of 98 points, four faces in two pictures."""
    samples = open_faces(shared_data / "samples" / "WFLW", split="test", scheme=WFLW_98).samples
    assert [sample.landmarks.shape for sample in samples] == [(98, 2)] * 4
    assert len({sample.path for sample in samples}) == 2


# --- packs


def test_a_pack_is_opened_like_a_dataset(tmp_path: Path, face: Shape) -> None:
    put(tmp_path / "300W", face, "afw/a", "helen/trainset/b")
    pack, problems = open_faces(tmp_path / "300W", split="train").to_pack()
    assert problems == []
    pack.save(tmp_path / "faces.npz")
    opened = open_faces(tmp_path / "faces.npz", split="train")
    assert [sample.subset for sample in opened.samples] == ["afw", "helen/trainset"]
    assert opened.report.counts == {"afw": 1, "helen/trainset": 1}
    for index, sample in enumerate(opened.samples):
        np.testing.assert_array_equal(sample.load(), pack.image(index))
        np.testing.assert_array_equal(sample.landmarks, pack.landmarks[index])
    assert len(sources_of(opened.samples)) == 2
    same, problems = opened.to_pack()
    assert (same.digest(), problems) == (pack.digest(), [])
    with pytest.raises(InputError, match="expected a pack alone, which is complete, found other faces beside it"):
        open_faces([tmp_path / "faces.npz", tmp_path / "300W"])


# --- the real sets


def test_the_real_300w_against_an_independent_copy_of_its_points(shared_data: Path) -> None:
    root = shared_data / "300W"
    dataset = open_faces(root, split="test")
    assert {name: len(indices) for name, indices in dataset.parts.items()} == {
        "test": 689, "Common": 554, "Challenging": 135, "Full": 689,
    }  # fmt: skip
    with np.load(root / "all_landmarks_original_pixels.npz") as archive:
        names = {str(name).rpartition(".")[0]: index for index, name in enumerate(archive["names"])}
        points = archive["points"].astype(float)
    rows = [row.split(",") for row in (root / "manifest.csv").read_text().splitlines()[1:]]
    boxes = {f"{row[0]}/{row[1]}": [float(v) for v in row[5:11]] for row in rows}
    compared = 0
    for sample in dataset.samples:
        name = f"{sample.subset}/{sample.path.stem}"
        x0, y0, _, _, *scale = boxes[name]
        # The description's map from original to delivered pixels, both counted from 1.
        expected = (points[names[name]] - 1 - [x0, y0] + 0.5) * scale + 0.5
        assert np.abs(sample.landmarks + 1 - expected).max() < 0.6 * max(scale) + 0.02  # those are whole pixels
        compared += 1
    assert compared == 689


def test_the_real_masked_set(shared_data: Path) -> None:
    samples, report = read_masked_300w(shared_data / "masked_300W")
    assert report.counts == {"helen/testset": 0, "lfpw/testset": 0, "ibug": 30}
    assert report.problems == []
    plain = {s.path.stem: s for s in read_300w(shared_data / "300W", ("ibug",))[0]}
    for sample in samples:
        assert sample.detector_box is not None
        assert sample.detector_box.iou(sample.box) > 0.99  # the authors' boxes are those of the true points
        if sample.load().shape == plain[sample.path.stem].load().shape:
            np.testing.assert_allclose(sample.landmarks, plain[sample.path.stem].landmarks, atol=1.0)


def test_the_real_private_sample(shared_data: Path) -> None:
    root = shared_data / "samples" / "300W_private_test"
    samples, report = read_300w_private(root)
    assert report.counts == {"01_Indoor": 2, "02_Outdoor": 0}
    assert [(s.path.name, s.scheme, s.detector_box) for s in samples] == [
        ("indoor_029.png", IBUG_68, None),
        ("indoor_020.png", IBUG_68, None),
    ]
    assert samples[0].landmarks[0].tolist() == pytest.approx([267, 397.882])  # 268, 398.882 in the 1-based file


def test_the_real_wflw_part(shared_data: Path) -> None:
    dataset = open_faces(shared_data / "WFLW_subset")
    assert len(dataset.part("occlusion")) == 44
    assert {s.scheme for s in dataset.samples} == {WFLW_98}
    assert "train" not in dataset.parts
    assert len(open_faces(shared_data / "WFLW_subset", kind="wflw68").part("test")) == 208


def test_the_real_cofw68_needs_pictures(shared_data: Path) -> None:
    root = shared_data / "COFW68_annotations"
    assert open_faces(root, allow_empty=True).samples == []
    assert len(open_faces(root, pictures=shared_data / "samples" / "COFW29").part("test")) == 2


def test_the_scheme_chooses_among_the_lists_of_wflw(shared_data: Path) -> None:
    root = shared_data / "WFLW_subset"
    assert open_faces(root, scheme=IBUG_68).kind.name == "wflw68"
    assert open_faces(root, scheme=WFLW_98).kind.name == "wflw"
    assert open_faces(root, kind="wflw", scheme=IBUG_68).kind.name == "wflw"


@pytest.mark.parametrize("layout", ["300W", "plain", "coco"])
def test_unreadable_folders_are_named(
    tmp_path: Path, face: Shape, monkeypatch: pytest.MonkeyPatch, layout: str
) -> None:
    root = tmp_path / "set"
    put(root, face, *(("helen/testset/a", "ibug/b") if layout == "300W" else ("one/a", "two/locked/b")))
    if layout == "coco":
        points = np.c_[face * 9 + 9, np.full(68, 2)].ravel().tolist()
        images = [{"id": 1, "file_name": "one/a.png"}]
        annotations = [{"image_id": 1, "keypoints": points}]
        (root / "faces.json").write_text(json.dumps({"images": images, "annotations": annotations}))
        (root / "one" / "a.pts").unlink()
    locked = root / "ibug" if layout == "300W" else root / "two" / "locked"
    for name in ("scandir", "listdir"):  # root may read everything, so it is pretended
        real = getattr(os, name)

        def forbidding(path: Any = ".", real: Any = real) -> Any:
            if Path(path) == locked:
                raise PermissionError(13, "Permission denied", str(path))
            return real(path)

        monkeypatch.setattr(os, name, forbidding)
    found = open_faces(root)
    assert [sample.path.name for sample in found.samples] == ["a.png"]
    assert found.report.problems == [f"{locked}: expected a folder that can be read, found Permission denied; left out"]
    with pytest.raises(DataError, match=f"{locked}: expected .*found .*Permission denied"):
        open_faces(locked)

"""COFW's 29 points and COFW68: replicas of the official `.mat` files, and what there is of the real data.

The official COFW files were not at hand. The replica is what MATLAB 7.3 writes for them, by how others read them: a
512-byte block before the HDF5 file, cells as references into `#refs#`, every array with its axes reversed.
"""

from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.catalogue import open_faces
from srn.datasets.cofw import read_cofw, read_mat_picture
from srn.datasets.cofw68 import read_annotations, read_cofw68
from srn.datasets.matlab import read_mat5
from srn.errors import DataError, MissingDependencyError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68
from srn.media.pictures import read_image, write_image

h5py = pytest.importorskip("h5py", reason="the .mat files of COFW need srn[eval]")

Picture = npt.NDArray[np.uint8]
Faces = tuple[list[Picture], npt.NDArray[np.float64], npt.NDArray[np.float64]]
SUFFIX = {"train": "Tr", "test": "T"}


def write_mat(
    path: Path,
    split: str,
    pictures: list[Picture],
    phis: npt.NDArray[np.float64],
    boxes: npt.NDArray[np.float64] | None,
) -> Path:
    """A version 7.3 file with `pictures` (H, W) or (H, W, 3), `phis` (F, 87) and `boxes` (F, 4)."""
    with h5py.File(path, "w", userblock_size=512) as file:
        refs = file.create_group("#refs#")
        cells = file.create_dataset(f"Is{SUFFIX[split]}", (1, len(pictures)), dtype=h5py.ref_dtype)
        cells.attrs["MATLAB_class"] = np.bytes_("cell")
        for index, picture in enumerate(pictures):
            stored = refs.create_dataset(f"r{index:04x}", data=picture.T, compression="gzip")  # axes reversed
            stored.attrs["MATLAB_class"] = np.bytes_("uint8")
            cells[0, index] = stored.ref
        file.create_dataset(f"phis{SUFFIX[split]}", data=phis.T)
        if boxes is not None:
            file.create_dataset(f"bboxes{SUFFIX[split]}", data=boxes.T)
    with path.open("r+b") as stream:
        stream.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(116) + bytes(8) + b"\x00\x02IM")
    return path


@pytest.fixture
def faces(rng: np.random.Generator) -> tuple[list[Picture], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """A colour and a grey picture, no side as long as another, and their annotations in MATLAB's numbers."""
    pictures = [rng.integers(0, 256, (40, 30, 3), dtype=np.uint8), rng.integers(0, 256, (20, 50), dtype=np.uint8)]
    phis = np.concatenate([rng.uniform(1, 30, (2, 58)), rng.integers(0, 2, (2, 29))], axis=1)
    return pictures, phis, np.array([[3.0, 4, 10, 12], [1, 1, 20, 18]])


@pytest.mark.parametrize("split", ["train", "test"])
def test_the_official_file(tmp_path: Path, faces: Faces, split: str) -> None:
    pictures, phis, boxes = faces
    write_mat(tmp_path / f"COFW_{split}_color.mat", split, pictures, phis, boxes)
    samples, report = read_cofw(tmp_path)
    assert [sample.path for sample in samples] == [tmp_path / f"COFW_{split}_color.mat" / f"000{k}" for k in (1, 2)]
    for sample, picture, row in zip(samples, pictures, phis, strict=True):
        np.testing.assert_allclose(sample.landmarks[:, 0], row[:29] - 1)
        np.testing.assert_allclose(sample.landmarks[:, 1], row[29:58] - 1)
        assert sample.occluded is not None
        assert sample.occluded.tolist() == (row[58:] == 1).tolist()
        assert (sample.scheme, sample.subset) == (COFW_29, split)
        expected = picture if picture.ndim == 3 else np.stack([picture] * 3, axis=-1)
        np.testing.assert_array_equal(sample.load(), expected)
        assert sample.load().flags.c_contiguous
    assert [sample.detector_box for sample in samples] == [Box(2, 3, 12, 15), Box(0, 0, 20, 18)]
    assert report.counts == {"train": 2 * (split == "train"), "test": 2 * (split == "test")}
    assert report.problems == []
    assert len(open_faces(tmp_path).report.shortfalls) == 2


def test_pictures_travel_to_other_processes(tmp_path: Path, faces: Faces) -> None:
    write_mat(tmp_path / "COFW_test.mat", "test", *faces)
    samples, _ = read_cofw(tmp_path, ["test"])
    copy = pickle.loads(pickle.dumps(samples[0]))
    np.testing.assert_array_equal(copy.load(), faces[0][0])


def test_color_is_preferred_and_said(tmp_path: Path, faces: Faces) -> None:
    for name in ("COFW_test.mat", "COFW_test_color.mat"):
        write_mat(tmp_path / name, "test", *faces)
    samples, report = read_cofw(tmp_path, ["test"])
    assert {sample.path.parent.name for sample in samples} == {"COFW_test_color.mat"}
    assert report.notes == [
        f"{tmp_path / 'COFW_test.mat'}: not read: COFW_test_color.mat has the same pictures in colour"
    ]


def test_broken_faces_have_a_line(tmp_path: Path, faces: Faces) -> None:
    pictures, phis, boxes = faces
    phis[0, 3] = np.nan
    boxes[1, 2] = 0
    file = write_mat(tmp_path / "COFW_test.mat", "test", pictures, phis, boxes)
    samples, report = read_cofw(tmp_path, ["test"])
    assert [(sample.path.name, sample.detector_box) for sample in samples] == [("0002", None)]
    assert report.problems == [
        f"{file}: phisT, face 1: expected finite coordinates, found nan; left out",
        f"{file}: bboxesT, face 2: expected a box: x, y, width > 0, height > 0, found 1.0 1.0 0.0 18.0",
    ]
    write_mat(file, "test", pictures, phis[1:].repeat(2, axis=0), None)
    samples, _ = read_cofw(tmp_path, ["test"])
    assert [sample.detector_box for sample in samples] == [None, None]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text", "found another version of .mat file"),
        (b"MATLAB 5.0 MAT-file".ljust(126) + b"IM", "found another version of .mat file"),
        (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n" + bytes(64), "expected a MATLAB version 7.3 file"),
    ],
    ids=["text", "level 5", "cut off"],
)
def test_what_is_no_such_file_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "COFW_test.mat").write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_cofw(tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'COFW_test.mat'}: ")
    assert message in str(caught.value)


def test_another_layout_is_named(tmp_path: Path, faces: Faces) -> None:
    file = write_mat(tmp_path / "COFW_test.mat", "train", *faces)
    with pytest.raises(DataError, match=r"expected the variables IsT, phisT and bboxesT, found no IsT and no phisT"):
        read_cofw(tmp_path)
    write_mat(file, "test", faces[0], faces[1][:1], faces[2])
    with pytest.raises(DataError, match=r"phisT: expected \(2, 87\), as there are 2 pictures, found \(1, 87\)"):
        read_cofw(tmp_path)
    write_mat(file, "test", [np.zeros((4, 5)), np.zeros((3, 4, 2), np.uint8)], *faces[1:])  # type: ignore[list-item]
    samples, _ = read_cofw(tmp_path)
    with pytest.raises(DataError, match=r"IsT, picture 1: expected uint8 pixels .* found float64 \(4, 5\)"):
        samples[0].load()
    with pytest.raises(DataError, match=r"IsT, picture 2: expected one or three channels, found 2"):
        samples[1].load()
    with pytest.raises(DataError, match=r"COFW_test\.mat: expected a MATLAB version 7\.3 file"):
        read_mat_picture(file, "IsT", 9)


def test_no_cofw_at_all(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected COFW_train_color\.mat, .*, found none of them"):
        read_cofw(tmp_path)


def test_without_h5py(tmp_path: Path, faces: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mat(tmp_path / "COFW_test.mat", "test", *faces)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(MissingDependencyError, match=r"needs h5py; install it with: pip install 'srn\[eval\]'"):
        read_cofw(tmp_path)


def test_the_real_extracted_pictures(shared_data: Path) -> None:
    root = shared_data / "samples" / "COFW29"
    samples, report = read_cofw(root)
    content = json.loads((root / "test_cofw.json").read_text())
    assert report.counts == {"train": 0, "test": 2}
    assert report.problems == []
    for sample, raw in zip(samples, content["annotations"], strict=True):
        assert sample.landmarks[8].tolist() == raw["keypoints"][24:26]
        assert sample.occluded is not None
        assert sample.occluded.sum() == raw["keypoints"][2::3].count(1.0)
        height, width, _ = sample.load().shape
        assert (sample.landmarks > 0).all()
        assert (sample.landmarks < [width, height]).all()


# --- COFW68


def test_the_real_annotations_without_pictures(shared_data: Path) -> None:
    root = shared_data / "COFW68_annotations"
    samples, report = read_cofw68(root)
    assert samples == []
    assert report.problems == [
        f"{root}: expected COFW's test pictures (COFW_test_color.mat, COFW_test.mat, or extracted ones), found none; "
        "its 507 annotations are left out"
    ]


def test_the_real_annotations_joined_with_real_pictures(shared_data: Path) -> None:
    root, pictures = shared_data / "COFW68_annotations", shared_data / "samples" / "COFW29"
    samples, report = read_cofw68(root, pictures)
    assert [sample.path.name for sample in samples] == ["001766.jpg", "001805.jpg"]  # test faces 421 and 460
    assert report.shortfalls == [f"{pictures}: 505 of 507 annotated faces have no picture there"]
    assert report.problems == []
    few = {sample.path.name: sample for sample in read_cofw(pictures)[0]}
    for sample, number in zip(samples, (421, 460), strict=True):
        raw = read_mat5(root / "test_annotations" / f"{number}_points.mat")
        np.testing.assert_array_equal(sample.landmarks, raw["Points"] - 1.0)  # type: ignore[operator]
        assert sample.occluded is not None
        assert sample.occluded.tolist() == raw["Occ"].ravel().tolist()
        # The join is right: somebody else's 29 points of the same picture lie where these 68 do.
        other = few[sample.path.name]
        for ours, theirs in ((36, 8), (45, 9), (48, 22), (54, 23), (8, 28)):
            distance = np.linalg.norm(sample.landmarks[ours] - other.landmarks[theirs])
            assert distance < 0.08 * sample.box.size, (number, ours)
        assert sample.detector_box is not None
        assert sample.detector_box.iou(sample.box) > 0.5


def test_all_real_annotations_with_a_picture_each(shared_data: Path, tmp_path: Path, faces: Faces) -> None:
    """Every annotation file reads: each gets a place in a replica of COFW's file."""
    _, phis, _ = faces
    grey = np.zeros((99, 150), np.uint8)
    file = write_mat(tmp_path / "COFW_test.mat", "test", [grey] * 507, phis[:1].repeat(507, axis=0), None)
    samples, report = read_cofw68(shared_data / "COFW68_annotations", file)
    assert len(samples) == 507
    assert (report.problems, report.shortfalls) == ([], [])
    assert all(sample.detector_box is not None for sample in samples)
    overlaps = [s.detector_box.iou(s.box) for s in samples if s.detector_box is not None]
    assert np.median(overlaps) > 0.7  # boxes like those of 300W
    hidden = np.mean([sample.occluded for sample in samples])
    assert hidden == pytest.approx(0.23, abs=0.03)  # "the average occlusion is over 23 %" (of the 29 points)
    assert samples[0].load().shape == (99, 150, 3)


def test_pictures_beside_the_annotations(shared_data: Path, tmp_path: Path) -> None:
    """The layout of the authors' page, `COFW68_Data`; extracted pictures may also be called by the face's number."""
    source = shared_data / "COFW68_annotations"
    home = tmp_path / "COFW68_Data"
    (home / "test_annotations").mkdir(parents=True)
    for number in (1, 2, 3):
        shutil.copy(source / "test_annotations" / f"{number}_points.mat", home / "test_annotations")
    (home / "test_annotations" / "2_points.mat").write_bytes(b"broken")
    for number in (1, 2):
        write_image(home / f"{number}.png", np.full((90, 90, 3), number, np.uint8))
    samples, report = read_cofw68(tmp_path)
    assert [(s.path.name, s.detector_box, s.scheme) for s in samples] == [("1.png", None, IBUG_68)]
    np.testing.assert_array_equal(samples[0].load(), read_image(home / "1.png"))
    assert len(report.problems) == 1
    assert report.problems[0].startswith(f"{home / 'test_annotations' / '2_points.mat'}: expected a MATLAB level-5")
    assert f"{home}: 1 of 3 annotated faces have no picture there" in report.shortfalls

    with pytest.raises(DataError, match=r"2_points\.mat: expected a MATLAB level-5"):
        read_annotations(tmp_path)
    (home / "test_annotations" / "2_points.mat").unlink()
    alone = read_annotations(tmp_path)  # which need no picture
    assert [sample.path.name for sample in alone] == ["1_points.mat", "3_points.mat"]
    np.testing.assert_array_equal(alone[0].landmarks, samples[0].landmarks)
    np.testing.assert_array_equal(alone[0].occluded, samples[0].occluded)


def test_no_annotations(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected 'test_annotations' with <number>_points\.mat files, found none"):
        read_cofw68(tmp_path)
    with pytest.raises(DataError, match=r"expected 'test_annotations'"):
        read_annotations(tmp_path)


def test_arrays_in_other_files_are_refused(tmp_path: Path, faces: Faces) -> None:
    """Links and external storage of HDF5 lead to any file of the machine."""
    write_mat(tmp_path / "other.mat", "test", *faces)
    for kind in ("link", "storage"):
        (tmp_path / kind).mkdir()
        path = write_mat(tmp_path / kind / "COFW_test.mat", "test", *faces)
        with h5py.File(path, "r+") as file:
            del file["phisT"]
            if kind == "link":
                file["phisT"] = h5py.ExternalLink(tmp_path / "other.mat", "phisT")
            else:
                file.create_dataset("phisT", (87, 4), "f8", external=[(tmp_path / "other.mat", 0, 87 * 4 * 8)])
        with pytest.raises(DataError, match=r"COFW_test\.mat: expected an array phisT in the file itself"):
            read_cofw(tmp_path / kind, ["test"])


def test_an_array_above_the_limit(tmp_path: Path, faces: Faces, monkeypatch: pytest.MonkeyPatch) -> None:
    write_mat(tmp_path / "COFW_test.mat", "test", *faces)
    monkeypatch.setenv("SRN_MAX_BYTES", "100")
    with pytest.raises(DataError, match="expected arrays of at most 100 bytes"):
        read_cofw(tmp_path, ["test"])

"""People's own data: pictures with `.pts` files, COCO key points, tables."""

from __future__ import annotations

import json
import os
import unicodedata
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.catalogue import open_faces
from srn.datasets.coco import read_coco
from srn.datasets.plain import read_plain, read_table, split_of
from srn.datasets.report import ReadingReport
from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68, WFLW_98
from srn.media.pictures import encode_image, write_image
from srn.media.pts import write_pts

Form = Literal["NFC", "NFD"]
Shape = npt.NDArray[np.float64]
PIXELS = np.zeros((8, 8, 3), np.uint8)

SCHEME = """
name = "plain-three"
n_points = 3
eye_corners = [0, 1]
eyes = [[0], [1]]
mirror_pairs = [[0, 1]]
[components]
eyes = [0, 1]
nose = [2]
"""


def put(folder: Path, stem: str, shape: Shape) -> None:
    write_image(folder / f"{stem}.png", PIXELS)
    write_pts(folder / f"{stem}.pts", shape)


@pytest.mark.parametrize(
    ("subset", "split"),
    [
        ("train", "train"),
        ("helen/trainset", "train"),
        ("my_test", "test"),
        ("TESTING/a", "test"),
        ("contest", None),
        ("constrained", None),
        ("", None),
    ],
)
def test_names_of_splits(subset: str, split: str | None) -> None:
    assert split_of(subset) == split


def test_folders_of_pictures_and_points(tmp_path: Path, face: Shape) -> None:
    put(tmp_path / "train", "a", face * 9)
    put(tmp_path / "test" / "hard", "b", face * 9)
    (tmp_path / "bbs" / "train").mkdir(parents=True)
    write_pts(tmp_path / "bbs" / "train" / "a.pts", np.array([[1.0, 2], [1, 9], [8, 9], [8, 2]]))
    (tmp_path / "manifest.csv").write_text(f"subset,stem,mask,seed,visible\ntrain,a,drawn,0,{'0' * 60}{'1' * 8}\n")
    write_image(tmp_path / "other" / "c.png", PIXELS)
    (tmp_path / "other" / "loop.png").symlink_to("loop.png")
    samples, report = read_plain(tmp_path)
    assert [(s.subset, s.path.name, s.detector_box) for s in samples] == [
        ("test/hard", "b.png", None),
        ("train", "a.png", Box(1, 2, 8, 9)),
    ]
    assert samples[0].scheme is IBUG_68
    assert samples[0].occluded is None
    assert samples[1].occluded is not None
    assert samples[1].occluded.tolist() == [True] * 60 + [False] * 8
    assert report.notes == [f"{tmp_path}: 2 pictures without an annotation, the first {tmp_path / 'other' / 'c.png'}"]


def test_one_folder_alone_is_a_subset_of_the_dataset_around_it(
    tmp_path: Path, face: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "set" / "helen" / "testset", "a", face * 9)
    write_pts(tmp_path / "set" / "bbs/helen/testset/a.pts", np.array([[1.0, 2], [1, 9], [8, 9], [8, 2]]))
    for folder in (tmp_path / "set" / "helen" / "testset", Path()):
        monkeypatch.chdir(tmp_path / "set" / "helen" / "testset")
        (sample,) = read_plain(folder)[0]
        assert (sample.subset, sample.detector_box) == ("helen/testset", Box(1, 2, 8, 9))
    put(tmp_path / "lonely", "a", face * 9)
    assert read_plain(tmp_path / "lonely")[0][0].subset == "lonely"


@pytest.mark.parametrize(("points", "scheme"), [(68, IBUG_68), (98, WFLW_98), (29, COFW_29)])
def test_known_numbers_of_points_need_no_scheme(
    tmp_path: Path, rng: np.random.Generator, points: int, scheme: object
) -> None:
    put(tmp_path, "a", rng.uniform(1, 7, (points, 2)))
    (sample,) = read_plain(tmp_path)[0]
    assert sample.scheme is scheme


def test_points_of_ones_own(tmp_path: Path) -> None:
    shape = np.array([[1.0, 2], [6, 2], [3.5, 5]])
    put(tmp_path / "x", "a", shape)
    write_image(tmp_path / "images" / "b.png", PIXELS)
    keypoints = np.column_stack([shape, [2, 1, 2]]).ravel().tolist()
    content = {"images": [{"id": 1, "file_name": "b.png"}], "annotations": [{"image_id": 1, "keypoints": keypoints}]}
    (tmp_path / "train.json").write_text(json.dumps(content))
    (tmp_path / "test.csv").write_text("picture,x0,y0,x1,y1,x2,y2\nimages/b.png,1,2,6,2,3.5,5\n")
    with pytest.raises(DataError, match=r"expected scheme\.toml, which says what the points are, .* found 3 points"):
        read_plain(tmp_path)
    (tmp_path / "scheme.toml").write_text(SCHEME)
    samples, report = read_plain(tmp_path)
    assert [sample.subset for sample in samples] == ["x", "train", "test"]
    assert {sample.scheme.name for sample in samples} == {"plain-three"}
    for sample in samples:
        np.testing.assert_allclose(sample.landmarks, shape, atol=1e-3)
    assert samples[1].occluded is not None
    assert samples[1].occluded.tolist() == [False, True, False]
    assert (report.problems, report.notes) == ([], [])


def test_a_table_with_subsets_and_hidden_points(tmp_path: Path, face: Shape) -> None:
    write_image(tmp_path / "a.png", PIXELS)
    columns = [f"{axis}{i}" for i in range(68) for axis in "xy"]
    hidden = [f"hidden{i}" for i in range(68)]
    header = ["subset", *hidden, "picture", *columns]  # in any order
    good = ["mine", "1", *["0"] * 67, "a.png", *(f"{v:.4f}" for v in (face * 9).ravel())]
    rows = [header, good, [], ["mine", *good[1:69], "gone.png", *good[70:]], [*good[:-1], "x"], good[:80]]
    rows.append([*good[:70], *["5"] * 136])
    path = tmp_path / "faces.csv"
    path.write_text("\ufeff" + "\n".join(",".join(row) for row in rows), encoding="utf-8")
    report = ReadingReport()
    (sample,) = read_table(path, IBUG_68, report)
    np.testing.assert_allclose(sample.landmarks, face * 9, atol=1e-4)
    assert sample.subset == "mine"
    assert sample.occluded is not None
    assert np.flatnonzero(sample.occluded).tolist() == [0]
    assert report.counts == {"mine": 1}
    start, expected = f"{path}: line ", "expected 206 columns, numbers for every point"
    assert report.problems == [
        f"{tmp_path / 'gone.png'}: expected a picture, found No such file or directory; left out",
        f"{start}5: {expected}, found 'x'; left out",
        f"{start}6: {expected}, found no 'x5'; left out",
        f"{start}7: expected points with a width and a height, found all in one line; left out",
    ]


@pytest.mark.parametrize("points", [[36, 45], [*range(36, 48)]], ids=["corners", "eyes"])
def test_a_face_whose_eyes_are_one_point_is_named_and_left_out(tmp_path: Path, face: Shape, points: list[int]) -> None:
    """Its error would be infinite: it was counted as missed."""
    shape = face * 9
    shape[points] = shape[36]
    put(tmp_path, "a", shape)
    put(tmp_path, "b", face * 9)
    samples, report = read_plain(tmp_path)
    assert [sample.path.stem for sample in samples] == ["b"]
    assert report.problems == [f"{tmp_path / 'a.pts'}: expected two eyes, found both at one point; left out"]


def test_a_table_of_names_that_are_not_utf_8(tmp_path: Path, face: Shape) -> None:
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / f"{name}.png").write_bytes(encode_image(PIXELS, ".png"))
    values = {"picture": f"{name}.png"} | {
        f"{axis}{i}": f"{value:.3f}"
        for i, point in enumerate(face * 9)
        for axis, value in zip("xy", point, strict=True)
    }
    columns = ",".join(f'"{name}"' for name in values)  # as R writes them
    (tmp_path / "t.csv").write_bytes(os.fsencode(f"{columns}\n{','.join(values.values())}\n"))
    samples, report = read_plain(tmp_path)
    assert [sample.path.name for sample in samples] == [f"{name}.png"]
    assert report.problems == []


@pytest.mark.parametrize("name", ["../a.png", "{folder}/a.png", "x/../../a.png", "..\\\\a.png", ""])
@pytest.mark.parametrize("column", ["picture", "subset"])
def test_names_that_lead_out_of_the_folder(tmp_path: Path, face: Shape, name: str, column: str) -> None:
    write_image(tmp_path / "a.png", PIXELS)
    write_image(tmp_path / "in" / "a.png", PIXELS)
    name = name.format(folder=tmp_path)
    values = {"picture": "a.png", "subset": "mine"} | {f"{axis}{i}": "1" for i in range(68) for axis in "xy"}
    points = {f"{axis}{i}": f"{v:.3f}" for i, point in enumerate(face * 9) for axis, v in zip("xy", point, strict=True)}
    values |= points | {column: name}
    (tmp_path / "in" / "t.csv").write_text(f"{','.join(values)}\n{','.join(values.values())}\n")
    report = ReadingReport()
    samples = read_table(tmp_path / "in" / "t.csv", IBUG_68, report)
    if column == "subset" and not name:
        assert samples[0].subset == "t"
    else:
        assert samples == []
        assert report.problems[0].startswith(f"{tmp_path / 'in' / 't.csv'}: line 2: expected a name inside the dataset")


@pytest.mark.parametrize("name", [r"in\é.png", "in/é.png"])
@pytest.mark.parametrize(("listed", "stored"), [("NFC", "NFC"), ("NFC", "NFD"), ("NFD", "NFC")])
def test_names_of_other_systems(tmp_path: Path, face: Shape, name: str, listed: Form, stored: Form) -> None:
    """Separators of Windows; accents as macOS or as all others write them. In tables and COCO files."""
    name, picture = unicodedata.normalize(listed, name), tmp_path / "in" / unicodedata.normalize(stored, "é.png")
    write_image(picture, PIXELS)
    rows = table_of(face * 9)
    (tmp_path / "t.csv").write_text("\n".join(",".join(row) for row in [rows[0], [name, *rows[1][1:]]]))
    points = [value for x, y in (face * 9).tolist() for value in (x, y, 2)]
    content = {"images": [{"id": 1, "file_name": name}], "annotations": [{"image_id": 1, "keypoints": points}]}
    (tmp_path / "c.json").write_text(json.dumps(content))
    report = ReadingReport()
    found = read_table(tmp_path / "t.csv", IBUG_68, report) + read_coco(tmp_path / "c.json", IBUG_68, report)
    assert report.problems == []
    assert [sample.path for sample in found] == [picture, picture]


def test_a_table_that_lacks_a_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("picture,x0,y0\n")
    with pytest.raises(DataError, match=r"a\.csv: expected the columns picture, x0, y0 \.\.\. x67, y67, found no x1"):
        read_table(tmp_path / "a.csv", IBUG_68, ReadingReport())


def table_of(shape: Shape) -> list[list[str]]:
    header = [f"{axis}{i}" for i in range(len(shape)) for axis in "xy"]
    return [["picture", *header], ["a.png", *(f"{value:.2f}" for value in shape.ravel())]]


def test_a_comma_in_a_number_moves_no_value_into_another_column(tmp_path: Path, face: Shape) -> None:
    write_image(tmp_path / "a.png", PIXELS)
    header, row = table_of(face * 5)
    lines = [header, [*row[:2], row[1], *row[2:]], [*row, ""], row]  # a value too many; an empty one; the same face
    (tmp_path / "a.csv").write_text("\n".join(",".join(line) for line in lines))
    report = ReadingReport()
    samples = read_table(tmp_path / "a.csv", IBUG_68, report)
    assert len(samples) == 2
    assert report.problems == [
        f"{tmp_path / 'a.csv'}: line 2: expected 137 values, one for each column, found 138; left out"
    ]
    (tmp_path / "a.csv").write_text(",".join(["x0", *header]) + "\n")
    with pytest.raises(DataError, match="expected each column once, found 'x0' 2 times"):
        read_table(tmp_path / "a.csv", IBUG_68, report)


def test_a_broken_file_beside_a_whole_one_is_named(tmp_path: Path, face: Shape) -> None:
    put(tmp_path, "a", face * 5)
    (tmp_path / "more.json").write_text('{"images": [], "annotations": [{"keypoints": [1, 2')
    samples, report = read_plain(tmp_path)
    assert len(samples) == 1
    message = f"{tmp_path / 'more.json'}: expected COCO annotations, JSON, found a mistake in line 1, column 51"
    assert report.problems == [f"{message}; left out"]


def test_a_face_that_is_listed_twice_counts_once(tmp_path: Path, face: Shape) -> None:
    write_image(tmp_path / "a.png", PIXELS)
    header, row = table_of(face * 5)
    (tmp_path / "a.csv").write_text("\n".join(",".join(line) for line in (header, row, row)))
    found = open_faces(tmp_path)
    assert (len(found.samples), found.report.counts) == (1, {"a": 1})
    assert found.report.problems == [f"{tmp_path}: faces that are annotated twice, point for point: 1; taken once"]
    joined = open_faces([tmp_path, tmp_path])
    assert (len(joined.samples), joined.report.counts) == (1, {"a": 1})
    assert "faces that stand in two of the folders: 1; taken once" in joined.report.notes


def test_what_looks_like_annotations_is_named_where_nothing_is_found(tmp_path: Path, face: Shape) -> None:
    (tmp_path / "a.csv").write_text("\n".join(";".join(line) for line in table_of(face)))
    with pytest.raises(DataError, match=r"found none of them; .*a\.csv, which has no columns picture, x0, y0 with com"):
        open_faces(tmp_path)
    (tmp_path / "b.json").write_text('{"annotations": [')
    with pytest.raises(DataError, match=r"found none of them; .*b\.json: expected COCO annotations, JSON, found a "):
        open_faces(tmp_path)


def coco_file(path: Path, pictures: list[str], shape: Shape) -> None:
    """Write a COCO file; the face in each picture lies a pixel further right than the last."""
    points = [[value for x, y in (shape + [k, 0]).tolist() for value in (x, y, 2)] for k in range(len(pictures))]
    images = [{"id": k, "file_name": name} for k, name in enumerate(pictures)]
    annotations = [{"id": k, "image_id": k, "keypoints": one} for k, one in enumerate(points)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"images": images, "annotations": annotations}))


def annotate(path: Path, pictures: list[str], shape: Shape) -> None:
    """Write a COCO file or a table, by the suffix, as `coco_file` does."""
    if path.suffix == ".json":
        coco_file(path, pictures, shape)
        return
    rows = [table_of(shape + [k, 0]) for k in range(len(pictures))]
    lines = [rows[0][0], *([name, *row[1:]] for name, (_, row) in zip(pictures, rows, strict=True))]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(",".join(line) for line in lines))


def test_folders_of_pictures_tell_the_split_where_the_name_of_the_file_does_not(tmp_path: Path, face: Shape) -> None:
    names = ["train/a.png", r"test_hard\b.png", "other/c.png"]
    for name in names:
        write_image(tmp_path / name.replace("\\", "/"), PIXELS)
    header, row = table_of(face * 5)
    lines = [header, *([name, *row[1:]] for name in names)]
    expected = ["train", "test_hard", "faces"]

    coco_file(tmp_path / "faces.json", names, face * 9)
    assert [sample.subset for sample in read_plain(tmp_path)[0]] == expected
    assert {split: len(open_faces(tmp_path).part(split)) for split in ("train", "test")} == {"train": 1, "test": 1}
    (tmp_path / "faces.json").rename(tmp_path / "my_test.json")
    assert {sample.subset for sample in read_plain(tmp_path)[0]} == {"my_test"}
    (tmp_path / "my_test.json").unlink()
    (tmp_path / "faces.csv").write_text("\n".join(",".join(line) for line in lines))
    assert [sample.subset for sample in read_plain(tmp_path)[0]] == expected


@pytest.mark.parametrize("home", ["", "images"])
def test_the_layout_of_coco_itself(tmp_path: Path, face: Shape, home: str) -> None:
    """Bare names in files beside the folders of their splits: no picture was found."""
    for number, split in enumerate(("train2017", "val2017", "test2017")):
        write_image(tmp_path / home / split / "1.png", np.full((9, 9, 3), 50 * number, np.uint8))
        coco_file(tmp_path / "annotations" / f"person_keypoints_{split}.json", ["1.png", "2.png"], face * 9)
    samples, report = read_plain(tmp_path)
    assert {(sample.subset, str(sample.path.relative_to(tmp_path / home))) for sample in samples} == {
        (f"person_keypoints_{split}", str(Path(split, "1.png"))) for split in ("train2017", "val2017", "test2017")
    }
    assert len(report.problems) == 3  # the pictures that are missing everywhere
    assert {split: len(open_faces(tmp_path).part(split)) for split in ("train", "test")} == {"train": 1, "test": 1}


@pytest.mark.parametrize(
    ("file", "folder", "subset"),
    [
        ("train", "train2017", "train"),
        ("instances_Train-2017", "train_2017", "instances_Train-2017"),
        ("faces_val", "validation", "faces_val"),
        ("image_info_test-dev2017", "test2017", "image_info_test-dev2017"),
        ("faces", "train2017", "train2017"),  # the one folder that has such a picture
        ("default", "default", "default"),
    ],
)
@pytest.mark.parametrize("suffix", [".json", ".csv"])
@pytest.mark.parametrize("place", ["", "annotations"])
def test_the_name_of_a_file_tells_the_folder_of_its_pictures(
    tmp_path: Path, face: Shape, place: str, file: str, suffix: str, folder: str, subset: str
) -> None:
    """Of a table only the pictures beside it were found."""
    write_image(tmp_path / folder / "1.png", PIXELS)
    write_image(tmp_path / "others" / "2.png", PIXELS)
    annotate(tmp_path / place / f"{file}{suffix}", ["1.png"], face * 9)
    (sample,) = read_plain(tmp_path)[0]
    assert (sample.path, sample.subset) == (tmp_path / folder / "1.png", subset)
    write_image(tmp_path / place / "1.png", PIXELS)  # nearer
    (sample,) = read_plain(tmp_path)[0]
    assert sample.path == tmp_path / place / "1.png"


@pytest.mark.parametrize("file", ["faces.csv", "annotations/faces.csv", "images/faces.csv"])
@pytest.mark.parametrize("name", ["1.png", "train/1.png"])
def test_the_pictures_of_a_table_may_lie_in_images(tmp_path: Path, face: Shape, file: str, name: str) -> None:
    write_image(tmp_path / "images" / name, PIXELS)
    annotate(tmp_path / file, [name], face * 9)
    report = ReadingReport()
    (sample,) = read_table(tmp_path / file, IBUG_68, report)
    assert (sample.path, report.problems) == (tmp_path / "images" / name, [])


def test_a_folder_of_another_split_is_not_taken(tmp_path: Path, face: Shape) -> None:
    write_image(tmp_path / "train2017" / "1.png", PIXELS)
    coco_file(tmp_path / "annotations" / "person_keypoints_val2017.json", ["1.png"], face * 9)
    samples, report = read_plain(tmp_path)
    assert samples == []
    assert report.problems == [
        f"{tmp_path / 'annotations' / '1.png'}: expected a picture, found No such file or directory; left out"
    ]


@pytest.mark.parametrize(
    ("file", "folders"),
    [
        ("faces.json", ["train2017", "val2017"]),
        ("faces.csv", ["train2017", "val2017"]),
        ("trainval.json", ["train2017", "val2017"]),
        ("train2017.json", ["images/train2017", "train2017"]),
    ],
)
def test_a_name_that_several_folders_have_is_one_error(
    tmp_path: Path, face: Shape, file: str, folders: list[str]
) -> None:
    for folder in folders:
        write_image(tmp_path / folder / "1.png", PIXELS)
    annotate(tmp_path / "annotations" / file, ["1.png"] * 3, face * 9)
    with pytest.raises(DataError) as caught:
        read_plain(tmp_path)
    where = " and in ".join(str(tmp_path / folder) for folder in folders)
    assert str(caught.value) == (
        f"{tmp_path / 'annotations' / file}: expected a name that tells the folder of its pictures,"
        f" found 1.png in {where}"
    )
    for folder in folders[1:]:  # one picture by two names
        (tmp_path / folder / "1.png").unlink()
        (tmp_path / folder / "1.png").symlink_to(tmp_path / folders[0] / "1.png")
    assert len(read_plain(tmp_path)[0]) == 3


def test_folders_with_a_file_each_are_one_dataset(tmp_path: Path, face: Shape) -> None:
    for folder in ("train", "test"):
        coco_file(tmp_path / folder / "_annotations.coco.json", ["a.png"], face * 9)
        write_image(tmp_path / folder / "a.png", PIXELS)
    coco_file(tmp_path / "more" / "annotations" / "x.json", ["b.png"], face * 9)
    write_image(tmp_path / "more" / "images" / "b.png", PIXELS)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "y.json").write_text('{"annotations": [')

    found = open_faces(tmp_path)
    assert found.report.counts == {"more/x": 1, "test/_annotations.coco": 1, "train/_annotations.coco": 1}
    assert [len(found.part(split)) for split in ("train", "test")] == [1, 1]
    assert [line.split(":")[0] for line in found.report.problems] == [str(tmp_path / "broken" / "y.json")]

    coco_file(tmp_path / "all.json", ["train/a.png"], face * 9)  # what the folder itself holds is all of it
    assert open_faces(tmp_path).report.counts == {"train": 1}


def test_a_name_twice_in_a_file_is_refused(tmp_path: Path, face: Shape) -> None:
    """Python would keep the last value alone."""
    put(tmp_path, "a", face * 9)
    (tmp_path / "b.json").write_text('{"images": [], "annotations": [{"keypoints": [], "keypoints": []}]}')
    assert read_plain(tmp_path)[1].problems == [
        f"{tmp_path / 'b.json'}: expected COCO annotations, JSON, found the name 'keypoints' twice; left out"
    ]
    with pytest.raises(DataError, match=r"b\.json: expected COCO annotations .*, found the name 'keypoints' twice"):
        read_coco(tmp_path / "b.json", IBUG_68, ReadingReport())


def test_nothing_to_read(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", PIXELS)
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "other.csv").write_text("a,b\n")
    with pytest.raises(DataError, match=r"expected pictures with \.pts files, COCO key points .*, found none of them"):
        read_plain(tmp_path)
    with pytest.raises(DataError, match="expected a folder of annotated pictures, found no such folder"):
        read_plain(tmp_path / "nowhere")
    write_pts(tmp_path / "a.pts", np.eye(2))
    (tmp_path / "a.pts").write_text("broken")
    with pytest.raises(
        DataError, match=r"expected an annotation that can be read, found .*a\.pts: expected 'n_points: N'"
    ):
        read_plain(tmp_path)


def test_real_folders(shared_data: Path) -> None:
    samples, report = read_plain(shared_data / "extra" / "dlib_faces")
    assert report.counts == {"dlib_faces": 43}
    assert report.problems == []
    assert report.notes == []
    samples, report = read_plain(shared_data / "300W" / "ibug")
    assert report.counts == {"ibug": 135}
    assert all(sample.detector_box is not None for sample in samples)

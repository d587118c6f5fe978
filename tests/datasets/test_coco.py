"""COCO key-point files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.coco import is_coco, read_coco
from srn.datasets.report import ReadingReport
from srn.errors import DataError
from srn.face.geometry import Box
from srn.face.scheme import COFW_29, IBUG_68, WFLW_98
from srn.media.pictures import write_image
from srn.media.pts import read_pts
from srn.media.result_reading import read_results

Shape = npt.NDArray[np.float64]


def keypoints(shape: Shape, flags: int | list[int] = 2) -> list[float]:
    return np.column_stack([shape, np.broadcast_to(flags, len(shape))]).ravel().tolist()


def annotation(number: int, image: int, shape: Shape, flags: int | list[int] = 2, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "keypoints": keypoints(shape, flags), **more}


def write(path: Path, annotations: list[dict[str, Any]], images: int = 2) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = [{"id": k, "file_name": f"{k}.png"} for k in range(images)]
    path.write_text(json.dumps({"images": listed, "annotations": annotations}))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(2):
        write_image(tmp_path / "images" / f"{number}.png", np.full((90, 90, 3), number, np.uint8))
    return tmp_path / "images"


@pytest.mark.parametrize("place", ["a.json", "annotations/a.json", "images/a.json"])
def test_faces_in_order_with_boxes_and_flags(tmp_path: Path, pictures: Path, face: Shape, place: str) -> None:
    flags = [2] * 60 + [1] * 8
    faces = [
        annotation(7, 1, face * 50 + 60, flags, bbox=[10, 20, 30, 40]),
        annotation(8, 0, face * 40 + 50, iscrowd=0),
        annotation(9, 0, face, iscrowd=1),  # a crowd is no face
    ]
    report = ReadingReport()
    first, second = read_coco(write(tmp_path / place, faces), IBUG_68, report)
    np.testing.assert_allclose(first.landmarks, face * 50 + 60)
    assert first.path.name == "1.png"
    assert first.load().max() == 1
    assert first.detector_box == Box(10, 20, 40, 60)
    assert first.occluded is not None
    assert np.flatnonzero(first.occluded).tolist() == list(range(60, 68))
    assert second.detector_box is None
    assert second.occluded is not None
    assert not second.occluded.any()
    assert report.counts == {"a": 2}
    assert report.problems == []


def test_flags_that_are_all_one_say_nothing(tmp_path: Path, pictures: Path, face: Shape) -> None:
    (sample,) = read_coco(write(tmp_path / "a.json", [annotation(0, 0, face, 1)]), IBUG_68, ReadingReport())
    assert sample.occluded is None


def test_one_based_files(tmp_path: Path, pictures: Path, face: Shape) -> None:
    file = write(tmp_path / "a.json", [annotation(0, 0, face * 9, bbox=[1, 1, 5, 5])])
    (sample,) = read_coco(file, IBUG_68, ReadingReport(), first_pixel=1, subset="mine")
    np.testing.assert_allclose(sample.landmarks, face * 9 - 1)
    assert sample.detector_box == Box(0, 0, 5, 5)
    assert sample.subset == "mine"
    (sample,) = read_coco(file, IBUG_68, ReadingReport(), boxes=False)
    assert sample.detector_box is None


def test_every_broken_annotation_has_a_line(tmp_path: Path, pictures: Path, face: Shape) -> None:
    faces = [
        annotation(1, 5, face),
        annotation(2, 0, face[:67]),
        annotation(3, 0, face, [0] + [2] * 67),
        annotation(4, 0, face * [1, 0]),
        annotation(5, 0, face * np.nan),
        {"id": 6, "image_id": 0},
        {"id": 7, "image_id": 0, "keypoints": ["a"] * 204},
        annotation(8, 2, face),
        annotation(9, 0, face, bbox=[1, 2, 0, 4]),
    ]
    report = ReadingReport()
    (kept,) = read_coco(write(tmp_path / "a.json", faces, images=3), IBUG_68, report)
    assert kept.detector_box is None
    start = f"{tmp_path / 'a.json'}: annotation "
    expected = [
        f"{start}1: expected an 'image_id' of the file's images, found 5; left out",
        f"{start}2: expected 204 'keypoints' numbers (ibug68), found 201; left out",
        f"{start}3: expected a position for every landmark, found 1 without one (flag 0); left out",
        f"{start}4: expected points with a width and a height, found all in one line; left out",
        f"{start}5: expected finite coordinates, found nan; left out",
        f"{start}6: expected 204 'keypoints' numbers (ibug68), found 0; left out",
        f"{start}7: expected numbers as 'keypoints', found 'a'; left out",
        f"{tmp_path / '2.png'}: expected a picture, found No such file or directory; left out",
        f"{start}9: bbox: expected a box: x, y, width > 0, height > 0, found 1 2 0 4",
    ]
    assert report.problems == expected


def test_two_pictures_of_one_id_are_told(tmp_path: Path, pictures: Path, face: Shape) -> None:
    path = write(tmp_path / "a.json", [annotation(7, 1, face * 50 + 60)])
    content = json.loads(path.read_text())
    same = dict(content["images"][1])
    path.write_text(json.dumps(content | {"images": [*content["images"], same]}))
    assert len(read_coco(path, IBUG_68, ReadingReport())) == 1
    path.write_text(json.dumps(content | {"images": [*content["images"], same | {"file_name": "0.png"}]}))
    for read in (lambda: read_coco(path, IBUG_68, ReadingReport()), lambda: read_results(path)):
        with pytest.raises(DataError, match="found another picture of the id 1"):
            read()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"images": [], "annotations": 3}', '{"images": [{}], "annotations": []}']
)
def test_what_is_no_coco_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    assert not is_coco(tmp_path / "a.json")
    with pytest.raises(DataError, match=r"a\.json: expected COCO annotations"):
        read_coco(tmp_path / "a.json", IBUG_68, ReadingReport())


def test_real_files(shared_data: Path) -> None:
    samples = shared_data / "samples"
    report = ReadingReport()
    wflw = read_coco(samples / "WFLW" / "test_wflw.json", WFLW_98, report)
    assert len(wflw) == 4  # three of them in one picture
    assert len({sample.path for sample in wflw}) == 2
    assert all(sample.occluded is None for sample in wflw)
    np.testing.assert_array_equal(wflw[0].landmarks[0], [440.696106, 132.732559])
    cofw = read_coco(samples / "COFW29" / "test_cofw.json", COFW_29, report)
    assert [int(s.occluded.sum()) for s in cofw if s.occluded is not None] == [6, 9]
    # This one was made from the .pts files beside it and kept their 1-based numbers.
    video = read_coco(samples / "300VW" / "anno_300vw.json", IBUG_68, report, first_pixel=1)
    for sample in video:
        annotated = sample.path.parent.parent / "annot" / f"{sample.path.stem}.pts"
        np.testing.assert_allclose(sample.landmarks, read_pts(annotated), atol=1e-9)
    assert report.problems == []


def test_absolute_names_lie_beside_the_file(tmp_path: Path, face: Shape) -> None:
    inside, outside = tmp_path / "set" / "in" / "0.png", tmp_path / "set two" / "1.png"
    for path in (inside, outside):
        write_image(path, np.zeros((9, 9, 3), np.uint8))
    listed = [{"id": number, "file_name": str(path)} for number, path in enumerate((inside, outside))]
    file = tmp_path / "set" / "a.json"
    file.write_text(json.dumps({"images": listed, "annotations": [annotation(1, 0, face), annotation(2, 1, face)]}))
    report = ReadingReport()
    (kept,) = read_coco(file, IBUG_68, report)
    assert kept.path == inside
    assert report.problems == [
        f"{file}: annotation 2: expected a picture in {file.parent}: the COCO file belongs beside its pictures,"
        f" found '{outside}'; left out"
    ]

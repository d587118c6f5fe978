"""A folder that holds several datasets."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.catalogue import Dataset
from srn.datasets.folder import DataFolder
from srn.datasets.kinds import KINDS
from srn.errors import DataError
from srn.media.pictures import write_image
from srn.media.pts import write_pts

Shape = npt.NDArray[np.float64]


@pytest.fixture
def data(tmp_path: Path, face: Shape) -> Path:
    """300W's test sets with two, one and one face, one of them masked, and a video."""
    names = ("ibug/a", "ibug/b", "helen/testset/c", "lfpw/testset/d")
    for name in (*(f"300W/{name}" for name in names), "masked_300W/ibug/a"):
        write_image(tmp_path / f"{name}.png", np.zeros((8, 8, 3), np.uint8))
        write_pts(tmp_path / f"{name}.pts", face * 4 + 4)
    write_image(tmp_path / "CK_plus" / "S001" / "imgs" / "000001.png", np.zeros((8, 8, 3), np.uint8))
    write_pts(tmp_path / "CK_plus" / "S001" / "annot" / "000001.pts", face * 4 + 4)
    (tmp_path / "notes").mkdir()
    return tmp_path


def versions(folder: DataFolder, name: str) -> list[Dataset]:
    found = folder.sets(name)
    assert not isinstance(found, str), found
    return found


def test_a_dataset_that_cannot_be_read_is_named(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, locked = os.listdir, data / "CK_plus"

    def forbidding(path: Any = ".") -> Any:  # root may read everything, so it is pretended
        if Path(path) == locked:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "listdir", forbidding)
    with pytest.raises(DataError, match=f"^{locked}: expected a folder that can be read, found Permission denied"):
        DataFolder(data).sets("300w")


def test_folders_are_recognized_by_layout_and_name(data: Path) -> None:
    folder = DataFolder(data)
    assert {kind: path.name for kind, path in folder.folders.items()} == {
        "300w": "300W", "masked-300w": "masked_300W", "300vw": "CK_plus",
    }  # fmt: skip
    (videos,) = versions(folder, "300vw")
    assert "category 1" not in videos.parts  # videos in its layout are not its test videos
    with pytest.raises(DataError, match="expected a folder that holds datasets"):
        DataFolder(data / "nowhere").sets("300w")


def test_a_dataset_is_no_folder_of_datasets(data: Path) -> None:
    """`srn reproduce 300W table4` made tables without a number."""
    with pytest.raises(
        DataError, match=r"300W: expected a folder that holds datasets .*, found 300W itself: name the "
    ):
        DataFolder(data / "300W").sets("300w")
    assert DataFolder(data / "300W" / "ibug").sets("300w") == "no data: 300W"


def test_of_two_folders_the_one_with_the_datasets_name_is_taken(data: Path) -> None:
    (data / "300W").rename(data / "my_300w_copy")
    (data / "300w_part" / "ibug").mkdir(parents=True)
    assert DataFolder(data).folders["300w"].name == "300w_part"


def test_a_limit_takes_faces_evenly(data: Path) -> None:
    (limited,) = versions(DataFolder(data, limit=2), "300w")
    assert [sample.path.stem for sample in limited.samples] == ["c", "b"]
    assert [sample.path.stem for sample in limited.part("Challenging")] == ["b"]
    assert limited.parts["Full"] == (0, 1)


def test_what_is_missing_is_named(data: Path) -> None:
    folder = DataFolder(data)
    assert folder.sets("cofw68") == "no data: COFW68"
    assert folder.sets("masked-300vw") == "no data: masked 300VW"
    (data / "300W" / "ibug" / "a.pts").unlink()
    (data / "masked_300W" / "ibug" / "a.pts").write_text("broken")
    assert str(folder.sets("masked-300w")).startswith("no data: Masked 300W (")


def test_the_masked_version_stands_after_the_authors_pictures_and_is_made_once(data: Path) -> None:
    made: list[Dataset] = []

    def mask(dataset: Dataset) -> Dataset:
        made.append(dataset)
        return dataclasses.replace(dataset, kind=KINDS["masked-300w"], label="ours")

    folder = DataFolder(data, mask=mask)
    for _ in range(2):
        theirs, ours = versions(folder, "masked-300w")
        assert [(one.label, len(one.samples)) for one in (theirs, ours)] == [("the authors' pictures", 1), ("ours", 4)]
    assert [dataset.kind.name for dataset in made] == ["300w"]
    assert "Full" not in theirs.parts  # challenging faces alone
    assert folder.sets("masked-300vw") == "no data: masked 300VW; no data: 300VW test set"


def test_messages_name_no_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = DataFolder(Path("data"))
    assert data.relative(f"{tmp_path}/data/COFW: none; data/WFLW: 3") == "COFW: none; WFLW: 3"

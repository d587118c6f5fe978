"""Faces are labelled by the shipped weights, and only those that hold still are kept."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import label_faces
from srn.face.metrics import interocular
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image
from srn.media.pts import read_pts


def test_a_face_is_labelled_and_noise_is_not(
    tmp_path: Path, portraits: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    pictures, labelled = tmp_path / "pictures", tmp_path / "labelled"
    image = portraits[1].image
    (pictures / "some").mkdir(parents=True)
    write_image(pictures / "some" / "face.png", image)
    write_image(pictures / "noise.png", np.random.default_rng(0).integers(0, 256, (96, 96, 3), dtype=np.uint8))
    arguments = [str(pictures), "--labelled", str(labelled), "--weights", "robust", "robust-int8"]

    assert label_faces.main(arguments) == 0
    (points,) = labelled.rglob("*.pts")
    assert points == labelled / "some" / "face.pts"
    shape = read_pts(points)
    assert np.linalg.norm(shape - portraits[1].landmarks, axis=1).mean() < 0.02 * interocular(shape, IBUG_68)
    with (labelled / label_faces.TABLE).open(newline="") as file:
        assert {row["path"]: row["kept"] for row in csv.DictReader(file)} == {"noise.png": "0", "some/face.png": "1"}

    points.unlink()
    assert label_faces.main(arguments) == 0
    assert not points.exists()  # what is in the table is not done again
    assert label_faces.main([str(tmp_path / "nowhere"), "--labelled", str(labelled)]) == 2
    assert "nowhere: expected pictures, found none" in capsys.readouterr().err

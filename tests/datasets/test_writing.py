"""Annotated pictures and frames are written and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from srn.datasets.catalogue import open_faces
from srn.datasets.writing import AnnotationWriter
from srn.media.pictures import read_image

Shape = npt.NDArray[np.float64]


def test_pictures_with_their_manifest(tmp_path: Path, face: Shape) -> None:
    image, visible = np.full((40, 50, 3), 90, np.uint8), np.arange(68) % 3 > 0
    writer = AnnotationWriter(tmp_path / "manifest.csv", ["subset", "stem", "seed"])
    writer.picture(tmp_path / "mine" / "a.b", image, face * 20 + 20, visible, ["mine", "a.b", 7])
    assert not (tmp_path / "manifest.csv").exists()
    writer.write_table()
    flags = "".join("1" if seen else "0" for seen in visible)
    assert (tmp_path / "manifest.csv").read_bytes() == f"subset,stem,seed,visible\nmine,a.b,7,{flags}\n".encode()
    (sample,) = open_faces(tmp_path).samples
    assert (sample.subset, sample.path.name) == ("mine", "a.b.jpg")
    np.testing.assert_allclose(sample.landmarks, face * 20 + 20, atol=5e-4)
    assert sample.occluded is not None
    np.testing.assert_array_equal(sample.occluded, ~visible)
    assert np.abs(sample.load().astype(int) - image).max() < 3


def test_frames_of_a_video(tmp_path: Path, face: Shape) -> None:
    writer = AnnotationWriter(tmp_path / "clip" / "table.csv", ["frame"])
    for number in (2, 5):
        image = np.full((40, 50, 3), 20 * number, np.uint8)
        writer.frame(tmp_path / "clip", number, image, face * 20 + number, np.ones(68, bool), [number])
    writer.write_table()
    (clip,) = open_faces(tmp_path).clips
    assert (clip.name, clip.numbers.tolist()) == ("clip", [2, 5])
    np.testing.assert_allclose(clip.landmarks[1], face * 20 + 5, atol=5e-4)
    assert read_image(tmp_path / "clip" / "imgs" / "000005.jpg").mean() == 100
    assert (tmp_path / "clip" / "table.csv").read_text() == f"frame,visible\n2,{'1' * 68}\n5,{'1' * 68}\n"

"""The pack for self-training: whose labels change, by how much, and which photographs are left out."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pack_self_training
from srn.datasets.pack import FacePack, pack_faces
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import photograph_of
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image


@pytest.fixture
def face_pack(tmp_path: Path, portraits: list[Any]) -> Path:
    """Two people as 300W's, each with a masked copy and a rendering, and fillers for the validation."""
    samples = []
    for stem, portrait in (("11_1", portraits[0]), ("22_1", portraits[1])):
        for folder, name in (("300W/afw", stem), ("masked/afw", stem), ("300W_LP_AFW", f"AFW_{stem}_3")):
            path = tmp_path / folder / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_image(path, portrait.image)
            samples.append(Sample(path, portrait.landmarks, IBUG_68, folder))
    pack, problems = pack_faces(samples)
    assert not problems
    pack.save(tmp_path / "faces.npz")
    return tmp_path / "faces.npz"


def test_labels_are_softened_and_renderings_get_a_visible_outline(
    face_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(pack_self_training, "VALIDATION", 1)  # the first face, and all of its photograph
    pack = FacePack.load(face_pack)
    landmarks = pack.landmarks.copy()
    landmarks[4] += 6  # the masked copy's own label is off
    turned = landmarks[5].copy()
    turned[:, 0] = np.where(np.arange(68) == pack_self_training.NOSE_TIP, turned[:3, 0].mean() + 5, turned[:, 0])
    landmarks[5] = turned
    landmarks[5, :8, 0] -= 9
    dataclasses.replace(pack, landmarks=landmarks).save(face_pack)
    arguments = [str(face_pack), "--soften", "masked", "--outline", "300W_LP_AFW", "--weights", "robust"]
    new = tmp_path / "new.npz"
    assert pack_self_training.main([*arguments, "--add", f"{face_pack}:2", "--file", str(new)]) == 0
    made = FacePack.load(new)
    assert made.names.tolist() == [*pack.names[[3, 4, 5]], *pack.names[[3, 5]]]
    assert {photograph_of(str(name)) for name in made.names} == {"afw/22"}
    assert made.digest() in capsys.readouterr().out

    size = pack.spec.face_size
    np.testing.assert_array_equal(made.landmarks[0], landmarks[3])
    np.testing.assert_allclose(made.landmarks[1], landmarks[3] + 3, atol=0.02 * size)  # halfway to the network's
    np.testing.assert_array_equal(made.landmarks[2, 8:], turned[8:])
    assert np.abs(made.landmarks[2, :8] - landmarks[3, :8]).max() < 0.06 * size  # where the network sees them
    np.testing.assert_array_equal(made.landmarks[3:], landmarks[[3, 5]])

    assert pack_self_training.main([*arguments, "--add", f"{face_pack}:0", "--file", str(new)]) == 2
    assert pack_self_training.main([str(face_pack), "--soften", "nothing", "--file", str(new)]) == 2
    messages = capsys.readouterr().err.splitlines()
    assert messages[0].endswith(": expected a step of at least 1, found 0")
    assert messages[1].endswith("faces.npz: expected faces of the folder nothing, found 300W, 300W_LP_AFW, masked")

"""`srn export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from srn.datasets.pack import FacePack, pack_faces
from srn.datasets.sample import Sample
from srn.face.scheme import COFW_29, IBUG_68
from srn.media.pictures import write_image
from srn.media.pts import write_pts

pytest.importorskip("torch")
Run = Callable[..., Any]


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    """Twenty faces on noise."""
    rng, samples = np.random.default_rng(0), []
    for k in range(20):
        coarse = rng.integers(0, 256, (15, 15, 3), dtype=np.uint8)
        write_image(tmp_path / f"{k}.png", coarse.repeat(8, axis=0).repeat(8, axis=1))
        samples.append(Sample(tmp_path / f"{k}.png", rng.uniform(20, 100, (68, 2)), IBUG_68, "toy"))
    pack_faces(samples)[0].save(tmp_path / "faces.npz")
    return tmp_path / "faces.npz"


def kinds(path: Path) -> set[str]:
    return {node.op_type for node in onnx.load(str(path)).graph.node}


def test_halves_integers_and_what_is_said(srn: Run, tiny_weights: Path, pack: Path, tmp_path: Path) -> None:
    half, integers = tmp_path / "half.onnx", tmp_path / "int8.onnx"

    ran = srn("export", tiny_weights, "--out", half)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"{half}: {half.stat().st_size / 1e6:.1f} MB, landmarks within ")
    assert "QuantizeLinear" not in kinds(half)

    ran = srn("export", tiny_weights, pack, "--precision", "int8", "--out", integers)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"{integers}: {integers.stat().st_size / 1e6:.1f} MB, landmarks move by 0.")
    assert "QuantizeLinear" in kinds(integers)


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--precision", "int8"), "none"),
        (("faces.npz",), "--precision half"),
        (("--data", "faces.npz"), "--precision half"),  # the old spelling
    ],
)
def test_integers_and_a_pack_go_together(
    srn: Run, tiny_weights: Path, tmp_path: Path, arguments: tuple[str, ...], found: str
) -> None:
    ran = srn("export", tiny_weights, "--out", tmp_path / "x.onnx", *arguments)
    expected = "training faces with --precision int8, and with it alone"
    assert ran.mistake == f"DATA: expected {expected}, found {found}"
    assert not (tmp_path / "x.onnx").exists()


def test_iterations_that_were_never_trained_are_refused(srn: Run, tiny_weights: Path, tmp_path: Path) -> None:
    ran = srn("export", tiny_weights, "--iterations", "2", "--out", tmp_path / "x.onnx")
    assert ran.mistake == "--iterations: expected at most 1, as the weights were trained, found 2"
    assert not (tmp_path / "x.onnx").exists()


def test_fewer_iterations_tell_nothing_that_is_learned_after_the_last_one(
    srn: Run, robust_weights: Path, tmp_path: Path
) -> None:
    """The confidence of a sure face was 0.24, so that `srn detect` left nearly every face out."""
    faster, astronaut = tmp_path / "faster.onnx", Path(__file__).parents[1] / "data" / "astronaut.jpg"
    ran = srn("export", robust_weights, "--iterations", "2", "--out", faster)
    assert "the file will tell no visibility and no confidence, only after 3 iterations\n" in ran.err
    session = onnxruntime.InferenceSession(faster, providers=["CPUExecutionProvider"])
    assert [(one.name, one.shape[1]) for one in session.get_outputs()] == [("shapes", 2), ("hidden_out", 256)]
    assert "visibility" not in metadata(faster)["usage"]
    found = [
        json.loads(srn("detect", astronaut, *more).out)["images"][0]["faces"] for more in ((), ("--weights", faster))
    ]
    (exact,), (near,) = found
    assert near["visibility"] is near["confidence"] is None
    apart = np.linalg.norm(np.subtract(near["landmarks"], exact["landmarks"]), axis=1)
    assert apart.mean() < 0.01 * 85  # of the face's size

    again = tmp_path / "again.onnx"
    ran = srn("export", faster, "--iterations", "1", "--out", again)
    assert (ran.code, "confidence" in ran.out) == (0, False)


def metadata(path: Path) -> dict[str, str]:
    """As a program without the package reads it."""
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return dict(session.get_modelmeta().custom_metadata_map)


def test_the_licence_is_what_was_said_and_stays_with_the_file(srn: Run, tiny_weights: Path, tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.onnx" for name in ("first", "second", "third"))
    assert metadata(tiny_weights)["license"] == "unstated"
    assert srn("export", tiny_weights, "--license", " CC-BY-4.0 ", "--out", first).code == 0
    assert srn("export", first, "--iterations", "1", "--out", second).code == 0
    assert srn("export", second, "--license", "MIT", "--out", third).code == 0
    assert [metadata(path)["license"] for path in (first, second, third)] == ["CC-BY-4.0", "CC-BY-4.0", "MIT"]
    assert json.loads(metadata(third)["provenance"]) == {"data": "nothing"}
    mistake = srn("export", tiny_weights, "--license", " ", "--out", tmp_path / "x.onnx").mistake
    assert mistake == "--license: expected a licence's name, such as MIT, found an empty text"


def test_the_shipped_weights_keep_their_licence(srn: Run, robust_weights: Path, tmp_path: Path) -> None:
    assert srn("export", robust_weights, "--iterations", "1", "--out", tmp_path / "one.onnx").code == 0
    assert metadata(tmp_path / "one.onnx")["license"] == "LicenseRef-srn-weights: non-commercial research only"
    licenses = Path(__file__).parents[2] / "licenses"
    assert (licenses / f"{metadata(tmp_path / 'one.onnx')['license'].partition(':')[0]}.txt").is_file()


def test_integers_by_a_dataset_that_is_not_packed(srn: Run, tiny_weights: Path, pack: Path, tmp_path: Path) -> None:
    """Training and averaging take a folder; for the export it had to be packed first."""
    for number, sample in enumerate(FacePack.load(pack).samples(pack)):
        write_image(tmp_path / "train" / f"{number}.png", sample.load())
        write_pts(tmp_path / "train" / f"{number}.pts", sample.landmarks)
    ran = srn("export", tiny_weights, tmp_path / "train", "--precision", "int8", "--out", tmp_path / "int8.onnx")
    assert ran.code == 0, ran.err
    assert "QuantizeLinear" in kinds(tmp_path / "int8.onnx")


def test_integers_by_faces_with_other_landmarks_are_refused(srn: Run, tiny_weights: Path, tmp_path: Path) -> None:
    """The crops would show the faces in another place and size than the network ever sees."""
    write_image(tmp_path / "0.png", np.zeros((120, 120, 3), np.uint8))
    face = Sample(tmp_path / "0.png", np.random.default_rng(0).uniform(20, 100, (29, 2)), COFW_29, "toy")
    pack_faces([face])[0].save(tmp_path / "faces.npz")
    ran = srn("export", tiny_weights, tmp_path / "faces.npz", "--precision", "int8", "--out", tmp_path / "x.onnx")
    expected = "faces with ibug68 landmarks, as the weights have"
    assert ran.mistake == f"{tmp_path / 'faces.npz'}: expected {expected}, found cofw29"
    assert not (tmp_path / "x.onnx").exists()

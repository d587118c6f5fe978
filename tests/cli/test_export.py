"""`srn export`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from srn.datasets.pack import pack_faces
from srn.datasets.sample import Sample
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image

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

    ran = srn("export", tiny_weights, "--precision", "int8", "--data", pack, "--out", integers)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"{integers}: {integers.stat().st_size / 1e6:.1f} MB, landmarks move by 0.")
    assert "QuantizeLinear" in kinds(integers)


@pytest.mark.parametrize(
    ("arguments", "found"), [(("--precision", "int8"), "none"), (("--data", "faces.npz"), "--precision half")]
)
def test_integers_and_a_pack_go_together(
    srn: Run, tiny_weights: Path, tmp_path: Path, arguments: tuple[str, ...], found: str
) -> None:
    ran = srn("export", tiny_weights, "--out", tmp_path / "x.onnx", *arguments)
    expected = "a pack of training faces with --precision int8, and with it alone"
    assert ran.mistake == f"--data: expected {expected}, found {found}"
    assert not (tmp_path / "x.onnx").exists()

"""What is no file in the place of an input, for every command."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.cli.data import load_faces
from srn.datasets.pack import pack_faces
from srn.datasets.sample import Sample
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="makes a named pipe")
@pytest.mark.parametrize(
    "command",
    [
        "detect a.jpg --boxes pipe",
        "detect a.jpg --weights /dev/zero",
        "detect a.jpg --yunet pipe",
        "evaluate set --predictions set --predictions pipe",
        "mask set out --templates pipe",
        "train set --out run --initial pipe",
        "hofs train set --out run --weights pipe",
        "export pipe --out a.onnx",
        "average set pipe --run run --out a.safetensors",
    ],
)
def test_a_pipe_or_device_in_the_place_of_a_file_is_named_at_once(
    srn: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    named = "/dev/zero" if "/dev/zero" in command else "pipe"
    assert srn(*command.split()).mistake == f"{named}: expected a file or a folder, found a pipe or a device"
    assert os.listdir() == ["pipe"]


def test_boxes_from_another_command(srn: Callable[..., Any], tmp_path: Path, knowing: Any) -> None:
    """The shell gives what `<(command)` prints a name below /dev/fd."""
    if not os.path.isdir("/dev/fd"):
        pytest.skip("no /dev/fd here")
    y, x = np.mgrid[:256, :256]
    picture = tmp_path / "a.png"
    write_image(picture, np.stack([x, y, 0 * x], -1).astype(np.uint8))
    out, into = os.pipe()
    os.write(into, f"{picture},60,60,200,200\n".encode())
    os.close(into)
    try:
        ran = srn("detect", picture, "--boxes", f"/dev/fd/{out}", "--json", tmp_path / "faces.json")
    finally:
        os.close(out)
    assert (ran.code, ran.err) == (0, "1 face in 1 picture\n")


def test_a_run_goes_on_with_its_own_faces_and_says_so(
    tmp_path: Path, face: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    write_image(tmp_path / "a.png", np.zeros((99, 99, 3), np.uint8))
    kept, _ = pack_faces([Sample(tmp_path / "a.png", face * 50 + 50, IBUG_68, "mine")])
    kept.save(tmp_path / "faces.npz")
    pack, problems = load_faces([tmp_path / "others"], tmp_path / "faces.npz", reuse=True)
    assert (pack.digest(), problems) == (kept.digest(), [])
    assert capsys.readouterr().err == f"{tmp_path / 'faces.npz'}: the faces of the run, as it began, are used\n"
    load_faces([], tmp_path / "faces.npz", reuse=True)
    assert capsys.readouterr().err == ""

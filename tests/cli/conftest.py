"""Running `srn` as a user does, in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from srn.cli import main as command_line
from srn.cli import options
from srn.media.pictures import write_image
from srn.media.pts import write_pts
from srn.media.video_writing import VideoWriter

from ..conftest import coordinate_picture


@dataclass(frozen=True)
class Ran:
    """How a command ended: exit code, standard output, standard error."""

    code: int
    out: str
    err: str

    @property
    def mistake(self) -> str:
        """The one line of a user's mistake, without its `srn: `."""
        assert self.code == 2, self
        assert self.out == ""
        assert self.err.startswith("srn: ")
        assert self.err.count("\n") == 1
        return self.err.removeprefix("srn: ").rstrip("\n")


@pytest.fixture
def srn(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """`srn("detect", path, ...)`: the very function of the console script.

    It prints no line of progress, however slow the machine is.
    """
    monkeypatch.setattr(options, "LINE_EVERY", 1e9)

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["srn", *map(str, arguments)])
        capsys.readouterr()
        code = 0
        try:
            command_line.main()
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else int(error.code is not None)
        written = capsys.readouterr()
        return Ran(code, written.out, written.err)

    return run


@pytest.fixture
def use_localizer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Makes every command localize with the given localizer, whatever weights it is told."""

    def use(localizer: Any) -> None:
        monkeypatch.setattr("srn.inference.landmarker.open_localizer", lambda weights, **options: localizer)

    return use


@pytest.fixture
def truths(face: npt.NDArray[np.float64]) -> dict[int, npt.NDArray[np.float64]]:
    """Where the faces lie in the pictures of `coordinate_file`, by their blue."""
    return {0: face * 100 + [120, 130], 100: face * 110 + [128, 120], 200: face * 105 + [125, 128]}


@pytest.fixture
def knowing(
    use_localizer: Callable[[Any], None], true_localizer: Any, truths: dict[int, npt.NDArray[np.float64]]
) -> Any:
    """Commands localize with one that knows `truths`."""
    localizer = true_localizer(truths)
    use_localizer(localizer)
    return localizer


def coordinate_file(path: Path, blue: int = 0, size: tuple[int, int] = (256, 256)) -> Path:
    """Write a `coordinate_picture`, whose blue says which it is."""
    write_image(path, coordinate_picture(*size, blue), quality=100)
    return path


@pytest.fixture
def annotated_file(truths: dict[int, npt.NDArray[np.float64]]) -> Callable[[Path, int], Path]:
    """Writes a picture of `coordinate_file` and, beside it, the landmarks of its face."""

    def write(path: Path, blue: int) -> Path:
        coordinate_file(path, blue)
        write_pts(path.with_suffix(".pts"), truths[blue])
        return path

    return write


def grey_video(path: Path, frames: int, rate: float = 30.0, size: tuple[int, int] = (160, 120)) -> Path:
    """A video in which nothing happens."""
    with VideoWriter(path, rate) as video:
        for k in range(frames):
            video.write(np.full((size[1], size[0], 3), 90, np.uint8), k / rate)
    return path

"""Plots: a picture is written, and the curve in it is the distribution."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.errors import MissingDependencyError
from srn.evaluation.report.plots import plot_ced
from srn.media.pictures import read_image

ERRORS = {"half": np.array([0.02, 0.04, 0.06, np.inf]), "all": np.array([0.01])}


def test_the_picture_shows_something(tmp_path: Path) -> None:
    plot_ced(ERRORS, tmp_path / "in" / "ced.png", label="interocular")
    picture = read_image(tmp_path / "in" / "ced.png")
    assert picture.shape == (660, 960, 3)
    assert 0.005 < (picture < 200).any(-1).mean() < 0.2


@pytest.mark.parametrize(("name", "start"), [("c.pdf", b"%PDF"), ("c.svg", b"<?xml"), ("c", b"\x89PNG")])
def test_the_suffix_chooses_the_format(tmp_path: Path, name: str, start: bytes) -> None:
    plot_ced(ERRORS, tmp_path / name, label="interocular")
    assert (tmp_path / name).read_bytes().startswith(start)


def test_the_curve_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.axes import Axes

    drawn: list[tuple[Any, Any, str]] = []
    original = Axes.plot

    def record(self: Axes, x: Any, y: Any, *args: Any, label: str, **options: Any) -> Any:
        drawn.append((x, y, label))
        return original(self, x, y, *args, label=label, **options)

    monkeypatch.setattr(Axes, "plot", record)
    plot_ced(ERRORS, tmp_path / "c.png", threshold=0.08, label="interocular")
    (x, y, label), (_, y_all, label_all) = drawn
    assert label == "half (n = 4, AUC 0.375)"  # (0.06 + 0.04 + 0.02) / 4 / 0.08
    assert label_all == "all (n = 1, AUC 0.875)"
    for position, share in ((0.0, 0), (1.9, 0), (2.1, 25), (4.1, 50), (7.9, 75)):
        assert np.interp(position, x, y) == pytest.approx(share, abs=1e-9)
    assert y_all[-1] == 100
    assert (x[0], x[-1]) == (0, 8)


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"srn\[eval\]"):
        plot_ced(ERRORS, tmp_path / "c.png", label="interocular")
    assert not (tmp_path / "c.png").exists()

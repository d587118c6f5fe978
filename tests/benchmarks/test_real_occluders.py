"""What weights say of people in masks is told apart from what they say of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import measure_real_occluders
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image


def test_covered_mouths_and_eyes(tmp_path: Path, portraits: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    portrait = portraits[1]
    scheme = IBUG_68
    for name, (folder, part) in measure_real_occluders.SETS.items():
        image = portrait.image.copy()
        if part is not None:  # a blue rectangle over mouth or eyes
            points = portrait.landmarks[list(scheme.part(part))]
            margin = 0.25 * np.ptp(points, axis=0).max()
            (x0, y0), (x1, y1) = (points.min(axis=0) - margin).astype(int), (points.max(axis=0) + margin).astype(int)
            image[y0:y1, x0:x1] = (60, 100, 170)
        write_image(tmp_path / folder / f"{name[:4]}.png", image)

    assert measure_real_occluders.main([str(tmp_path), "--out", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "real_occluders.json").read_text())
    values = content["measures"]["robust"]
    assert values["masks"]["flagged"][0] > 0.8 > 0.2 > values["masks"]["flagged in others"][0]
    assert values["sunglasses"]["AUC"] == [1, 1, 1]
    assert values["others (LFW)"]["disagreement"][0] < 0.02 < content["disagreement of the mean shape"]
    page = (tmp_path / "real_occluders.md").read_text()
    assert "| calls every point hidden | 100% | 100% | 0.500 |" in page

    assert measure_real_occluders.main([str(tmp_path / "nowhere")]) == 2
    assert "masks: expected pictures, found none" in capsys.readouterr().err

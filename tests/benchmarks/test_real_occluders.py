"""What weights say of people in masks is told apart from what they say of others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cut_masks
import measure_real_occluders
from srn.face.geometry import Box, CropGeometry, CropSpec, flip_points
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image


def test_the_mean_shape_follows_the_box(face: np.ndarray) -> None:
    """Its disagreement is that of a localizer that puts it into every box."""
    mean = (face + face[IBUG_68.mirror] * [-1, 1]) / 2 + [0, 0.1]  # its middle is not that of the box
    spec, box = CropSpec(160, 120.0), Box(100, 120, 180, 215)
    shift = measure_real_occluders.SHIFT * box.size
    boxes = [box.adjusted((shift, shift)), box.adjusted((0, 0), (measure_real_occluders.GROWTH,) * 2)]
    own, *others = (CropGeometry.from_box(one, spec).to_picture(spec.place(mean)) for one in (box, *boxes))
    mirrored = CropGeometry.from_box(Box(400 - 1 - box.x1, box.y0, 400 - 1 - box.x0, box.y1), spec)
    back = flip_points(mirrored.to_picture(spec.place(mean)), 400, IBUG_68.mirror)
    expected = measure_real_occluders.disagree(own, [*others, back], IBUG_68)
    assert measure_real_occluders.of_boxes_alone(mean, IBUG_68) == pytest.approx(expected)


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
    assert measure_real_occluders.main([str(tmp_path), "--without", str(tmp_path / "nowhere")]) == 2
    assert "--without: expected templates cut from pictures of" in capsys.readouterr().err


def test_wearers_of_the_masks_are_left_out(tmp_path: Path) -> None:
    """Networks were trained on their masks."""

    class Blind:
        def detect(self, image: np.ndarray) -> list[Any]:
            return []

    for name in ("m00000", "m_00001", "m00002", "m00003"):
        write_image(tmp_path / "people" / f"{name}.png", np.zeros((9, 9, 3), np.uint8))
    for name in ("m00000_17", "m_00001", "m00003_3"):  # the second by an older version
        write_image(tmp_path / "masks" / f"{name}.png", np.zeros((9, 9, 3), np.uint8))
    without = cut_masks.wearers(tmp_path / "masks")
    assert {"m00000", "m_00001", "m00003"} <= without
    found = measure_real_occluders.find(tmp_path / "people", None, Blind(), without)  # type: ignore[arg-type]
    assert found.missed == 1  # m00002 alone was searched

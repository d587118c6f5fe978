"""A mask that is cut from a photograph is the mask that its wearer wears."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cut_masks
from srn.face.scheme import IBUG_68
from srn.media.pictures import write_image
from srn.synthesis.masks import MaskTemplate, fit_mask, skin_light
from srn.synthesis.wardrobe import MaskWardrobe

BLUE = (40, 90, 200)


def test_a_painted_mask_is_cut_out_again(
    tmp_path: Path, portraits: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    portrait = portraits[1]
    cloth = np.full((101, 201, 4), 255, np.uint8)
    cloth[:, :, :3] = BLUE
    corners = np.array([[0.0, 0], [100, 0], [200, 0], [0, 100], [100, 100], [200, 100]])
    worn = portrait.image.copy()
    covered = fit_mask(worn, portrait.landmarks, IBUG_68, MaskTemplate("blue", cloth, corners))
    write_image(tmp_path / "people" / "worn.png", worn)
    write_image(tmp_path / "people" / "bare.png", portrait.image)

    assert cut_masks.main([str(tmp_path / "people"), "--templates", str(tmp_path / "cut")]) == 0
    assert capsys.readouterr().out.endswith("1 masks of 2 pictures\n")
    (views,) = MaskWardrobe.load(tmp_path / "cut").kinds.values()
    template = views["front"]
    assert template.name == "worn_1"  # the second picture
    assert template.skin == pytest.approx(skin_light(worn, portrait.landmarks, IBUG_68), rel=0.1)
    opaque = template.image[:, :, 3] > 200
    assert (np.abs(template.image[opaque][:, :3].astype(int) - BLUE).max(axis=1) < 10).mean() > 0.85
    again = fit_mask(portrait.image.copy(), portrait.landmarks, IBUG_68, template)
    assert (again & covered).sum() / (again | covered).sum() > 0.8

    assert cut_masks.main([str(tmp_path / "nowhere"), "--templates", str(tmp_path / "cut")]) == 2
    assert "nowhere: expected pictures, found none" in capsys.readouterr().err

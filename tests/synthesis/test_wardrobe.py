"""Mask templates by kind and side."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from srn.errors import DataError, InputError
from srn.synthesis.wardrobe import KEY_POINT_NAMES, PATTERNED, MaskWardrobe


def test_the_wardrobe_sorts_templates_into_kinds_and_sides(shared_data: Path) -> None:
    wardrobe = MaskWardrobe.load(shared_data / "occluders" / "masks")
    assert set(wardrobe.kinds) == {
        "KN95", "N95", "cloth", "gas", "surgical", "surgical_blue", "surgical_green",
    }  # fmt: skip
    assert all(set(views) == {"front", "left", "right"} for views in wardrobe.kinds.values())
    assert len(wardrobe.textures) == 26
    assert wardrobe.template("cloth", "left", np.random.default_rng(0)).name == "cloth_left"
    name = wardrobe.template(PATTERNED, "front", np.random.default_rng(0)).name
    assert name.split("+")[0] in {"cloth", "surgical"}
    assert name.split("+")[1] in wardrobe.textures
    with pytest.raises(InputError, match=r"one of .*gas"):
        wardrobe.template("veil", "front", np.random.default_rng(0))


def test_broken_tables_are_named_with_their_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"key_points\.csv"):
        MaskWardrobe.load(tmp_path)
    (tmp_path / "key_points.csv").write_text("file,left_top_x\nmask.png,1\n")
    with pytest.raises(DataError, match="line 2"):
        MaskWardrobe.load(tmp_path)


@pytest.mark.parametrize("bits", [8, 16])
def test_templates_of_8_and_16_bits(bits: int, tmp_path: Path) -> None:
    """A template of 16 bits was said to be without alpha."""
    template = np.full((40, 40, 4), [10, 20, 30, 255], np.uint8)
    cv2.imwrite(str(tmp_path / "mask.png"), template if bits == 8 else template.astype(np.uint16) * 257)
    columns = [f"{point}_{axis}" for point in KEY_POINT_NAMES for axis in "xy"]
    (tmp_path / "key_points.csv").write_text(f"file,{','.join(columns)}\nmask.png,{','.join('9' * 12)}\n")
    read = MaskWardrobe.load(tmp_path).template("mask", "front", np.random.default_rng(0)).image
    assert read.dtype == np.uint8
    assert read[0, 0].tolist() == [30, 20, 10, 255]
    cv2.imwrite(str(tmp_path / "mask.png"), template[..., :3])
    with pytest.raises(DataError, match=r"mask\.png: expected a PNG with alpha, found none"):
        MaskWardrobe.load(tmp_path)

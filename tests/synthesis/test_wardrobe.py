"""Mask templates by kind and side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srn.errors import DataError, InputError
from srn.synthesis.wardrobe import PATTERNED, MaskWardrobe


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

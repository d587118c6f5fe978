"""Masked versions of annotated sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from srn.data.masked import DRAWN, MIXED, PATTERNED, MaskWardrobe, mask_dataset, read_visible
from srn.data.media import read_image
from srn.data.pts import read_pts
from srn.data.three_hundred_w import ReadingReport, read_annotated_folder
from srn.errors import DataError, InputError


@pytest.fixture(scope="session")
def wardrobe(shared_data: Path) -> MaskWardrobe:
    return MaskWardrobe.load(shared_data / "occluders" / "masks")


def test_the_wardrobe_sorts_templates_into_kinds_and_sides(wardrobe: MaskWardrobe) -> None:
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


@pytest.mark.parametrize("kind", [DRAWN, MIXED])
def test_a_masked_set_has_the_same_points_and_is_the_same_bytes_each_time(
    kind: str, shared_data: Path, wardrobe: MaskWardrobe, tmp_path: Path
) -> None:
    samples = read_annotated_folder(shared_data / "300W" / "ibug", ReadingReport(), root=shared_data / "300W")[:4]
    for name in ("a", "b"):
        assert mask_dataset(samples, tmp_path / name, kind=kind, wardrobe=wardrobe, seed=3) == []
    files = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert len(files) == 2 * len(samples) + 1
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    visible = read_visible(tmp_path / "a")
    for sample in samples:
        stem = tmp_path / "a" / "ibug" / sample.path.stem
        np.testing.assert_allclose(read_pts(f"{stem}.pts"), sample.landmarks, atol=5e-4)
        changed = np.abs(read_image(f"{stem}.jpg").astype(int) - sample.load()).max(axis=2) > 60
        assert changed.any()
        flags = visible[f"ibug/{sample.path.stem}"]
        mouth = list(sample.scheme.components["mouth"])
        assert flags.shape == (68,)
        assert not flags[mouth].all()
        assert flags[list(sample.scheme.components["brows"])].mean() > 0.5


def test_a_part_of_a_set_gets_the_masks_of_the_whole(shared_data: Path, wardrobe: MaskWardrobe, tmp_path: Path) -> None:
    samples = read_annotated_folder(shared_data / "300W" / "ibug", ReadingReport(), root=shared_data / "300W")[:3]
    mask_dataset(samples, tmp_path / "all", kind=MIXED, wardrobe=wardrobe)
    mask_dataset(samples[2:], tmp_path / "last", kind=MIXED, wardrobe=wardrobe)
    name = f"ibug/{samples[2].path.stem}.jpg"
    assert (tmp_path / "all" / name).read_bytes() == (tmp_path / "last" / name).read_bytes()


def test_our_masks_hide_what_the_authors_masks_hide(shared_data: Path, wardrobe: MaskWardrobe) -> None:
    """On the authors' own 30 pictures, with the same kind of template: the covered pixels agree by more than half."""
    from srn.face.masks import fit_mask, turned_side

    root = shared_data / "masked_300W"
    agreement = []
    for sample in read_annotated_folder(root / "ibug", ReadingReport(), root=root):
        clean = read_image(shared_data / "300W" / "ibug" / sample.path.name)
        theirs = np.abs(clean.astype(int) - sample.load()).max(axis=2) > 40
        template = wardrobe.kinds["surgical_blue"][turned_side(sample.landmarks, sample.scheme)]
        ours = fit_mask(clean.copy(), sample.landmarks, sample.scheme, template)
        agreement.append((ours & theirs).sum() / (ours | theirs).sum())
    assert len(agreement) == 30
    assert np.mean(agreement) > 0.68


def test_templates_are_asked_for_where_they_are_needed(shared_data: Path, tmp_path: Path) -> None:
    samples = read_annotated_folder(shared_data / "300W" / "ibug", ReadingReport(), root=shared_data / "300W")[:1]
    with pytest.raises(InputError, match="templates"):
        mask_dataset(samples, tmp_path, kind="surgical")
    with pytest.raises(DataError, match=r"key_points\.csv"):
        MaskWardrobe.load(tmp_path)


def test_broken_tables_are_named_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "key_points.csv").write_text("file,left_top_x\nmask.png,1\n")
    with pytest.raises(DataError, match="line 2"):
        MaskWardrobe.load(tmp_path)
    (tmp_path / "manifest.csv").write_text("subset,stem,mask,seed,visible\nibug,a,drawn,0,01x\n")
    with pytest.raises(DataError, match="line 2"):
        read_visible(tmp_path)
    assert read_visible(tmp_path / "nowhere") == {}

"""The regions proposed for a close search: they cover the likely cells, overlap in context only, and stay bounded."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from matplotlib.cbook import get_sample_data

from srn.face.geometry import Box
from srn.inference.proposals import BLOCK, CELL, LONGEST_REGION, ProposalNetwork, region_of_box, regions_of
from srn.media.pictures import read_image


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
@pytest.mark.parametrize("scale", [0.25, 0.1])
def test_regions_cover_every_likely_cell_once(share: float, scale: float) -> None:
    likely = np.random.default_rng(3).uniform(size=(37, 58)) < share
    shape = (round(37 * CELL / scale), round(58 * CELL / scale), 3)
    covered = np.zeros(shape[:2], int)
    for region in regions_of(likely, scale, shape):
        x0, y0, x1, y1 = region.core
        covered[y0:y1, x0:x1] += 1
        assert region.scale == 4 * scale
        assert (x1 - x0) * scale <= LONGEST_REGION * BLOCK * CELL + 1
        assert region.around[0] <= x0
        assert region.around[1] <= y0
        assert region.around[2] >= x1
        assert region.around[3] >= y1
    for row, column in np.argwhere(likely):
        assert covered[int((row + 0.5) * CELL / scale), int((column + 0.5) * CELL / scale)] == 1
    assert (covered.sum() == 0) == (not likely.any())


@pytest.mark.parametrize("box", [Box(10, 20, 30, 50), Box(-40, -40, -5, -5), Box(190, 90, 260, 170)])
def test_the_region_of_a_box_lies_in_the_picture(box: Box) -> None:
    region = region_of_box(box, 2.0, (100, 200, 3))
    x0, y0, x1, y1 = region.around
    assert 0 <= x0 < x1 <= 200
    assert 0 <= y0 < y1 <= 100


@pytest.mark.parametrize("height", [6, 8, 11])
def test_the_network_sees_small_faces_and_no_noise(height: int) -> None:
    portrait = read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    small = cv2.resize(portrait, None, fx=height / 215, fy=height / 215, interpolation=cv2.INTER_AREA)
    image = np.full((61, 90, 3), 120, np.uint8)
    image[20 : 20 + small.shape[0], 40 : 40 + small.shape[1]] = small
    heat = ProposalNetwork(threads=1)(image)
    assert heat.shape == (16, 23)
    assert heat.max() > 0.5
    row, column = np.unravel_index(int(heat.argmax()), heat.shape)
    face = np.array([20, 40]) + np.array([225, 250]) * height / 215  # row and column of its centre
    assert np.abs(np.array([row, column]) * CELL + 2 - face).max() <= 2 * CELL
    assert ProposalNetwork(threads=1)(np.full((61, 90, 3), 120, np.uint8)).max() < 0.15

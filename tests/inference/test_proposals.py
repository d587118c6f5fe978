"""Proposals of small faces, and the regions of a close search: they hold all parts, cheaply, and stay bounded."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from matplotlib.cbook import get_sample_data

from srn.inference.found_boxes import Found
from srn.inference.proposals import CELL, LARGEST_COST, RUN_COST, ProposalNetwork, joined
from srn.media.pictures import read_image

SHAPE = (600, 800, 3)


@pytest.mark.parametrize("count", [0, 1, 7, 60, 400])
@pytest.mark.parametrize("scale", [0.25, 1.0])
def test_regions_hold_every_part_and_cost_no_more(count: int, scale: float) -> None:
    rng = np.random.default_rng(count)
    center, reach = rng.uniform(0, [800, 600], (count, 2)), 30 / scale
    parts = np.hstack([center - reach, center + reach])
    regions = np.array(joined(parts, scale, SHAPE), float).reshape(-1, 4)
    assert (regions[:, :2] >= 0).all()
    assert (regions[:, 2:] <= [800, 600]).all()
    inside = np.clip(np.hstack([np.floor(parts[:, :2]), np.ceil(parts[:, 2:])]), 0, [800, 600, 800, 600])
    for part in inside:
        assert ((regions[:, :2] <= part[:2]) & (regions[:, 2:] >= part[2:])).all(axis=1).any()

    def cost(boxes: npt.NDArray[np.float64]) -> float:
        return float((boxes[:, 2:] - boxes[:, :2]).prod(axis=1).sum() * scale**2 + RUN_COST * len(boxes))

    assert cost(regions) <= cost(inside) + 1e-6
    assert len(regions) <= count


def test_a_full_picture_is_one_region_and_far_parts_stay_apart() -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(30.0, 800, 60), np.arange(30.0, 600, 60)))
    parts = np.stack([x - 30, y - 30, x + 30, y + 30], axis=1)
    assert joined(parts, 1.0, SHAPE) == [(0, 0, 780, 600)]
    assert sorted(joined(parts[[0, -1]], 1.0, SHAPE)) == [(0, 0, 60, 60), (720, 540, 780, 600)]


def test_parts_outside_the_picture_are_left_out() -> None:
    assert joined(np.array([[-50.0, -50, -1, -1], [810, 0, 900, 50], [790, 590, 820, 640]]), 1.0, SHAPE) == [
        (790, 590, 800, 600)
    ]


def test_no_search_exceeds_the_bound() -> None:
    x, y = (axis.ravel() for axis in np.meshgrid(np.arange(50.0, 4000, 100), np.arange(50.0, 3000, 100)))
    regions = np.array(joined(np.stack([x - 50, y - 50, x + 50, y + 50], axis=1), 1.0, (3000, 4000, 3)))
    assert (regions[:, 2:] - regions[:, :2]).prod(axis=1).max() <= LARGEST_COST


def test_nothing_is_proposed_within_a_larger_face() -> None:
    portrait = read_image(str(get_sample_data("grace_hopper.jpg", asfileobj=False)))
    nothing = np.empty((0, 4)), np.empty(0), np.empty(0, np.intp), np.empty(0, complex)
    searched = Found(0.1, *nothing, np.ones((15, 13), np.float32))
    network = ProposalNetwork(threads=1)
    face = np.array([[0.0, 300.0, 300.0, 600.0]])
    (scale, parts), *_ = network.parts(portrait, 24, 100, searched, np.empty((0, 4)))
    assert scale == 1
    (_, outside), *_ = network.parts(portrait, 24, 100, searched, face)
    center = (parts[:, :2] + parts[:, 2:]) / 2
    within = ((center > face[0, :2]) & (center < face[0, 2:])).all(axis=1)
    assert within.any()
    np.testing.assert_array_equal(outside, parts[~within])


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

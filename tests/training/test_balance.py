"""Balanced sampling: rare shapes come more often, and how often is what the weights say."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest

from srn.datasets.pack import FacePack
from srn.face.geometry import fit_similarity, transform_points
from srn.training.balance import LEAST, MOST, NEIGHBOURS, aligned_shapes, balance_weights, shape_rarity
from srn.training.stream import FaceOrder


@pytest.fixture
def shapes(rng: np.random.Generator, pack: FacePack) -> npt.NDArray[np.float64]:
    """(60, 68, 2): variations of one face, each turned, scaled and moved at random."""
    base = pack.landmarks[0].astype(float)
    varied = base + rng.normal(0, 0.5, (60, *base.shape))
    angles, sizes = rng.uniform(-0.6, 0.6, 60), rng.uniform(0.5, 2, 60)
    turns = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], 1).reshape(60, 2, 2)
    return np.einsum("fij,fnj->fni", turns * sizes[:, None, None], varied) + rng.normal(0, 20, (60, 1, 2))


def pack_of(pack: FacePack, shapes: npt.NDArray[np.float64]) -> FacePack:
    """A pack with these landmarks; its pictures are never looked at."""
    names = np.array([f"face/{i}" for i in range(len(shapes))])
    return dataclasses.replace(pack, landmarks=shapes.astype(np.float32), names=names)


def test_alignment_takes_position_size_and_turn_away(shapes: npt.NDArray[np.float64]) -> None:
    aligned = aligned_shapes(shapes)
    mean = np.stack([aligned.mean(0).real, aligned.mean(0).imag], 1)
    unit = mean / np.linalg.norm(mean)

    for shape, z in zip(shapes[:5], aligned[:5], strict=True):
        expected = transform_points(fit_similarity(shape, unit), shape)
        np.testing.assert_allclose(np.stack([z.real, z.imag], 1), expected, atol=2e-4)


def test_rarity_is_the_distance_to_a_near_neighbour_or_to_its_mirror_image(
    pack: FacePack, shapes: npt.NDArray[np.float64]
) -> None:
    faces = pack_of(pack, shapes)
    z = aligned_shapes(faces.landmarks)
    mirrored = -z[:, faces.scheme.mirror].conj()
    naive = []
    for one in z:
        distances = [min(np.linalg.norm(one - a), np.linalg.norm(one - b)) for a, b in zip(z, mirrored, strict=True)]
        naive.append(sorted(distances)[NEIGHBOURS])

    np.testing.assert_allclose(shape_rarity(faces), np.array(naive) / np.median(naive), rtol=1e-5)


def test_the_odd_face_is_drawn_most_and_never_more_than_the_bound(
    pack: FacePack, shapes: npt.NDArray[np.float64], rng: np.random.Generator
) -> None:
    shapes[7, :17] += 30 * rng.random((17, 2))
    weights = balance_weights(pack_of(pack, shapes), 2.0)

    assert weights.argmax() == 7
    assert weights.mean() == pytest.approx(1)
    assert weights.max() / weights.min() <= MOST / LEAST + 1e-9


def test_no_balance_is_every_face_once(pack: FacePack) -> None:
    np.testing.assert_array_equal(balance_weights(pack, 0.0), np.ones(len(pack)))


def test_a_stream_draws_each_face_as_often_as_its_weight_says(pack: FacePack) -> None:
    weights = np.ones(len(pack))
    weights[:4] = [3.0, 0.25, 1.5, 0.5]
    weights *= len(pack) / weights.sum()
    order = FaceOrder(len(pack), 0, weights)
    passes = [np.bincount(order._permutation(e), minlength=len(pack)) for e in range(400)]

    assert all(p.sum() == len(pack) for p in passes)
    for counts in passes:
        assert (np.abs(counts - weights) < 1).all()  # floor or ceiling
    np.testing.assert_allclose(np.mean(passes, axis=0), weights, atol=0.08)


def test_equal_weights_still_draw_every_face_once_in_another_order_each_pass(pack: FacePack) -> None:
    order = FaceOrder(len(pack), 0, np.ones(len(pack)))
    first, second = order._permutation(0), order._permutation(1)

    assert sorted(first) == sorted(second) == list(range(len(pack)))
    assert list(first) != list(second)

"""Smoothing: against a naive loop, less noise at rest, no lag on the way, hidden points held."""

from __future__ import annotations

import cmath
import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pytest

from srn.errors import InputError
from srn.face.geometry import Box, fit_similarity, similarity, transform_points
from srn.inference.flow import Carried
from srn.inference.smoothing import OneEuroShape, ShapeMemory, SmoothingConfig, similar_part, smoothing_factor

Shape = npt.NDArray[np.float64]
Clip = npt.NDArray[np.float64]
RATE = 30.0


def run(filtered: OneEuroShape, clip: Iterable[Shape], times: Iterable[float] | None = None) -> Clip:
    shapes = list(clip)
    moments = [k / RATE for k in range(len(shapes))] if times is None else list(times)
    return np.stack([filtered(shape, moment) for shape, moment in zip(shapes, moments, strict=True)])


@pytest.fixture
def placed(face: Shape) -> Shape:
    """A face of 200 pixels."""
    return face * 200 + [300, 250]


def similarity_by_hand(points: Shape, values: Shape, weights: list[float]) -> list[complex]:
    """v = a u + b by the normal equations, term by term."""
    u, v = [complex(*p) for p in points], [complex(*p) for p in values]
    total = sum(weights)
    um = sum(w * p for w, p in zip(weights, u, strict=True)) / total
    vm = sum(w * p for w, p in zip(weights, v, strict=True)) / total
    top = sum(w * (p - um).conjugate() * (q - vm) for w, p, q in zip(weights, u, v, strict=True))
    bottom = sum(w * abs(p - um) ** 2 for w, p in zip(weights, u, strict=True))
    return [top / bottom * (p - um) + vm for p in u]


# --- the similar part


def test_similar_part_is_the_least_squares_similarity(placed: Shape, rng: np.random.Generator) -> None:
    other = transform_points(similarity(0.7, 0.4, np.zeros(2), np.array([9, -4])), placed) + rng.normal(0, 5, (68, 2))
    expected = transform_points(fit_similarity(placed, other), placed)
    np.testing.assert_allclose(similar_part(placed, other, np.ones(68)), expected, atol=1e-9)


def test_similar_part_heeds_weights(placed: Shape) -> None:
    other = placed + [5, 0]
    other[10] += [400, 300]
    weights = np.ones(68)
    weights[10] = 0
    np.testing.assert_allclose(similar_part(placed, other, weights), placed + [5, 0], atol=1e-9)
    # Nothing is trusted: everything is, equally.
    np.testing.assert_allclose(
        similar_part(placed, other, np.zeros(68)), similar_part(placed, other, np.ones(68)), atol=1e-9
    )


def test_similar_part_of_points_in_one_place() -> None:
    values = np.arange(6.0).reshape(3, 2)
    np.testing.assert_allclose(similar_part(np.full((3, 2), 7.0), values, np.ones(3)), np.tile([2.0, 3.0], (3, 1)))


@pytest.mark.parametrize(("cutoff", "dt"), [(1.0, 1 / 30), (0.3, 0.5), (20.0, 1 / 60)])
def test_smoothing_factor_is_the_papers(cutoff: float, dt: float) -> None:
    tau = 1 / (2 * math.pi * cutoff)
    assert float(smoothing_factor(cutoff, dt)) == pytest.approx(1 / (1 + tau / dt))


# --- One-Euro


@pytest.mark.parametrize("by_pixels", [False, True])
def test_equals_a_naive_loop(placed: Shape, rng: np.random.Generator, by_pixels: bool) -> None:
    """The docstring's equations, number by number, at uneven times."""
    config = SmoothingConfig()
    times = np.cumsum(rng.choice([1 / 60, 1 / 30, 1 / 15, 0.3], 15))
    clip = placed + np.cumsum(rng.normal(0, 4, (15, 1, 2)), axis=0) + rng.normal(0, 1, (15, 68, 2))
    trust = rng.random((15, 68))
    filtered = OneEuroShape(config)
    carried = [None if not by_pixels else Carried(x + rng.normal(0, 2, (68, 2)), rng.random(68)) for x in clip]
    got = np.stack([filtered(x, t, w, c) for x, t, w, c in zip(clip, times, trust, carried, strict=True)])

    def factor(cutoff: float, dt: float) -> float:
        return 1 / (1 + 1 / (2 * math.pi * cutoff * dt))

    smooth = [complex(*p) for p in clip[0]]
    rigid, own = [0j] * 68, [0j] * 68
    np.testing.assert_array_equal(got[0], clip[0])
    for k in range(1, 15):
        dt = float(times[k] - times[k - 1])
        x = [complex(*p) for p in clip[k]]
        speed = [(x[i] - complex(*clip[k - 1, i])) / dt for i in range(68)]
        weight = [config.least_weight + (1 - config.least_weight) * float(w) for w in trust[k]]
        pairs = np.array([[s.real, s.imag] for s in speed])
        common = similarity_by_hand(clip[k], pairs, weight)
        (x0, y0), (x1, y1) = clip[k].min(axis=0), clip[k].max(axis=0)
        side = math.hypot(x1 - x0, y1 - y0) / math.sqrt(2)
        for i in range(68):
            rigid[i] += factor(config.rigid_speed_cutoff, dt) * (common[i] - rigid[i])
            own[i] += factor(config.speed_cutoff, dt) * (speed[i] - common[i] - own[i])
        foreseen = [smooth[i] + rigid[i] * min(dt, 0.1) for i in range(68)]
        by = carried[k]
        share = [0.0] * 68 if by is None else by.trust.tolist()
        if by is not None:
            foreseen = [(1 - share[i]) * foreseen[i] + share[i] * complex(*by.points[i]) for i in range(68)]
        rest = [x[i] - foreseen[i] for i in range(68)]
        jump = similarity_by_hand(clip[k], np.array([[e.real, e.imag] for e in rest]), weight)
        mean_jump = math.sqrt(sum(abs(j) ** 2 for j in jump) / 68)
        for i in range(68):
            moving = config.rigid_beta * abs(rigid[i]) / side
            floor = (1 - share[i]) * config.shock_floor + share[i] * config.carried_shock_floor
            shock = config.shock_beta * max(mean_jump / dt / side - floor, 0)
            cutoff = (1 - share[i]) * (config.min_cutoff + moving) + share[i] * config.rigid_carried_cutoff
            of_all = factor(cutoff + shock, dt)
            alone = weight[i] * config.min_cutoff + moving + config.beta * weight[i] * abs(own[i]) / side
            of_each = factor((1 - share[i]) * alone + share[i] * weight[i] * config.carried_cutoff, dt)
            smooth[i] = foreseen[i] + of_all * jump[i] + of_each * (rest[i] - jump[i])
        np.testing.assert_allclose(got[k], [[s.real, s.imag] for s in smooth], atol=1e-8)


def test_a_still_face_is_told_with_less_than_half_of_the_noise(placed: Shape, rng: np.random.Generator) -> None:
    noise = rng.normal(0, 0.004 * 200, (150, 68, 2))  # what the shipped weights do: about 0.4 % of the face
    smooth = run(OneEuroShape(), placed + noise)[30:]
    assert (smooth - placed).std() < 0.45 * noise.std()
    assert np.abs(np.diff(smooth, 2, axis=0)).mean() < 0.2 * np.abs(np.diff(noise, 2, axis=0)).mean()


def test_a_trusted_point_is_smoothed_less_than_one_that_is_not(placed: Shape, rng: np.random.Generator) -> None:
    clip = placed + rng.normal(0, 1.0, (200, 68, 2))
    trust = np.where(np.arange(68) % 2, 1.0, 0.0)
    filtered = OneEuroShape()
    smooth = np.stack([filtered(x, k / RATE, trust) for k, x in enumerate(clip)])[50:]
    jumps = np.abs(np.diff(smooth, axis=0)).mean(axis=(0, 2))
    assert jumps[trust == 0].max() < jumps[trust == 1].min()
    assert jumps[trust == 0].mean() < 0.6 * jumps[trust == 1].mean()


@pytest.mark.parametrize("speed", [0.2, 1.0, 5.0])
def test_a_face_that_moves_evenly_is_not_dragged_behind(placed: Shape, speed: float) -> None:
    """Face sides a second; after half a second nothing of the lag is left."""
    side = Box.around(placed).size
    clip = placed + (np.arange(60) / RATE * speed * side)[:, None, None] * np.array([0.8, 0.6])
    lag = np.linalg.norm(run(OneEuroShape(), clip) - clip, axis=2).max(axis=1) / side
    assert lag.max() < 0.03  # while it speeds up, from rest to full speed in one frame
    assert lag[20:].max() < 0.002
    assert lag[-1] < 1e-4


@pytest.mark.parametrize("speed", [0.02, 0.05, 0.09])
def test_a_point_that_moves_on_its_own_lags_by_less_than_stated(placed: Shape, speed: float) -> None:
    """Two points of the lips go apart, which no similarity explains, for three seconds."""
    config = SmoothingConfig()
    side = Box.around(placed).size
    clip = np.repeat(placed[None], 90, axis=0)
    way = np.arange(90) / RATE * speed * side
    clip[:, 62, 1] -= way
    clip[:, 66, 1] += way
    lag = (run(OneEuroShape(config), clip) - clip)[:, 62, 1] / side
    assert (lag > -1e-3).all()  # behind, never ahead
    assert lag[30:].max() < 1 / (2 * math.pi * config.beta)


def test_times_count_and_not_frames(placed: Shape) -> None:
    """The same motion, told at 30 and at uneven times, comes out alike."""
    side = Box.around(placed).size

    def at(moments: npt.NDArray[np.float64]) -> Clip:
        return placed + (0.5 * side * np.sin(2 * np.pi * 0.5 * moments))[:, None, None] * np.array([1.0, 0.0])

    even, uneven = np.arange(61) / RATE, np.sort(np.concatenate([np.arange(61) / RATE, np.arange(20) / 10 + 0.011]))
    first = run(OneEuroShape(), at(even), even)
    second = run(OneEuroShape(), at(uneven), uneven)[np.searchsorted(uneven, even)]
    assert np.abs(first - second)[30:].max() / side < 0.01


def test_what_the_pixels_follow_is_followed_and_its_noise_is_not(placed: Shape, rng: np.random.Generator) -> None:
    """A face that is shaken by a tenth of its side from frame to frame, seen with errors of half a per cent."""
    way = np.cumsum(rng.normal(0, 0.1 * 200, (120, 1, 2)), axis=0)
    truth, noise = placed + way, rng.normal(0, 0.005 * 200, (120, 68, 2))
    filtered = OneEuroShape()
    told = [filtered((truth + noise)[0], 0.0)]
    for k in range(1, 120):
        carried = Carried(told[-1] + way[k] - way[k - 1], np.ones(68))
        told.append(filtered((truth + noise)[k], k / RATE, None, carried))
    error = (np.stack(told) - truth)[30:]
    assert error.std() < 0.5 * noise.std()
    assert np.abs(np.diff(error, 2, axis=0)).mean() < 0.25 * np.abs(np.diff(noise, 2, axis=0)).mean()


def test_units_are_the_faces(placed: Shape, rng: np.random.Generator) -> None:
    clip = placed + np.cumsum(rng.normal(0, 2, (20, 68, 2)), axis=0)
    np.testing.assert_allclose(run(OneEuroShape(), 3 * clip + 50), 3 * run(OneEuroShape(), clip) + 50, rtol=1e-9)


def test_a_turned_picture_gives_turned_points(placed: Shape, rng: np.random.Generator) -> None:
    clip = placed + np.cumsum(rng.normal(0, 2, (20, 68, 2)), axis=0)
    quarter = np.array([[0.0, 1.0], [-1.0, 0.0]])
    np.testing.assert_allclose(run(OneEuroShape(), clip @ quarter), run(OneEuroShape(), clip) @ quarter, atol=1e-8)


def test_a_long_gap_is_no_smear(placed: Shape) -> None:
    """After five seconds without a frame the new shape counts, not where an old speed would have led."""
    filtered = OneEuroShape()
    for k in range(10):
        filtered(placed + [20 * k, 0], k / RATE)
    after = filtered(placed - [500, 0], 5.0)
    assert np.abs(after - (placed - [500, 0])).max() < 0.2 * 680


def test_equal_times_and_reset(placed: Shape) -> None:
    filtered = OneEuroShape()
    filtered(placed, 1.0)
    assert np.isfinite(filtered(placed + 3, 1.0)).all()
    filtered.reset()
    np.testing.assert_array_equal(filtered(placed + 50, 1.5), placed + 50)


def test_a_shaking_camera_is_followed_and_the_noise_of_points_is_not(placed: Shape, rng: np.random.Generator) -> None:
    """All points jump alike by 2 % of the face from frame to frame, and each of them by 0.4 % on its own."""
    side = Box.around(placed).size
    shake = rng.normal(0, 0.02 * side, (200, 1, 2))
    noise = rng.normal(0, 0.004 * side, (200, 68, 2))
    error = (run(OneEuroShape(), placed + shake + noise) - (placed + shake))[30:]
    whole = error.mean(axis=1)
    assert np.sqrt((whole**2).sum(axis=1).mean()) < 0.15 * 0.02 * side * np.sqrt(2)
    assert (error - whole[:, None]).std() < 0.6 * noise.std()


# --- hidden points


def test_seen_points_pass_and_hidden_ones_are_held(placed: Shape) -> None:
    memory = ShapeMemory(SmoothingConfig(hold=0.8, forget_s=0.5))
    seen = np.ones(68)
    np.testing.assert_array_equal(memory(placed, 0.0, seen, seen), placed)
    hidden = seen.copy()
    hidden[48:] = 0  # the mouth
    # The head turns and comes nearer, and the hidden mouth is guessed 30 pixels too low.
    turn = similarity(1.3, 0.3, np.array([300.0, 250.0]), np.array([340.0, 260.0]))
    truth = transform_points(turn, placed)
    guessed = truth.copy()
    guessed[48:] += [0, 30]
    held = memory(guessed, 1 / RATE, hidden, hidden)
    np.testing.assert_array_equal(held[:48], guessed[:48])
    np.testing.assert_allclose(held[48:], truth[48:] + [0, (1 - 0.8 * math.exp(-1 / RATE / 0.5)) * 30], atol=1e-6)
    # Two seconds later nobody can tell what the mouth does: the guess is as good as any.
    np.testing.assert_allclose(memory(guessed, 2.0, hidden, hidden)[48:], guessed[48:], atol=0.5)


def test_points_that_were_never_seen_are_not_held(placed: Shape, rng: np.random.Generator) -> None:
    """Under a mask from the first frame on: the first guess is no better than the later ones."""
    memory = ShapeMemory()
    hidden = np.ones(68)
    hidden[48:] = 0
    for k in range(10):
        guess = placed + rng.normal(0, 5, (68, 2))
        np.testing.assert_array_equal(memory(guess, k / RATE, hidden, hidden), guess)


def test_a_sure_point_is_not_held_though_hidden(placed: Shape) -> None:
    memory = ShapeMemory()
    memory(placed, 0.0, np.ones(68), np.ones(68))
    moved = placed.copy()
    moved[48:] += 20
    np.testing.assert_allclose(memory(moved, 0.1, np.zeros(68), np.ones(68)), moved)
    np.testing.assert_allclose(memory(moved, 0.2, None, None), moved)


def test_the_recent_shape_follows_an_expression(placed: Shape) -> None:
    """A mouth that opened while it was seen is remembered open."""
    memory = ShapeMemory(SmoothingConfig(hold=1.0, memory_s=0.1))
    opened = placed.copy()
    opened[55:60] += [0, 25]
    memory(placed, 0.0, np.ones(68), np.ones(68))
    for k in range(1, 40):
        memory(opened, k / RATE, np.ones(68), np.ones(68))
    hidden = np.ones(68)
    hidden[48:] = 0
    np.testing.assert_allclose(memory(placed, 40 / RATE, hidden, hidden)[55:60], opened[55:60], atol=1.0)
    memory.reset()
    np.testing.assert_array_equal(memory(placed, 2.0, hidden, hidden), placed)


@pytest.mark.parametrize(
    "wrong", [{"min_cutoff": 0}, {"beta": -1}, {"hold": 1.5}, {"least_weight": -0.1}, {"memory_s": math.nan}]
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        SmoothingConfig(**wrong)


def test_the_reference_itself(placed: Shape) -> None:
    turned = [cmath.exp(0.5j) * complex(*p) for p in placed]
    pairs = np.array([[z.real, z.imag] for z in turned])
    np.testing.assert_allclose(similarity_by_hand(placed, pairs, [1.0] * 68), turned)

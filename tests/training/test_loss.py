"""The cascade loss in numbers worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from srn.face.scheme import COFW_29, IBUG_68, WFLW_98
from srn.model.config import ModelConfig, preset
from srn.model.network import CascadeOutput
from srn.training.loss import (
    MINIMAL_INTEROCULAR,
    cascade_loss,
    directed_lengths,
    interocular_normalizer,
    point_distances,
)

FACE_SIZE = 100.0

PLAIN = preset("robust", face_size=FACE_SIZE, coarse_shape=False, point_heads=False)
COARSE = preset("robust", face_size=FACE_SIZE, point_heads=False)
HEADS = preset("robust", face_size=FACE_SIZE, coarse_shape=False)


def target(*eye_distances: float) -> torch.Tensor:
    """(B, 68, 2): everything in one place but the right eye's outer corner."""
    shape = torch.full((len(eye_distances), 68, 2), 40.0)
    for face, distance in zip(shape, eye_distances, strict=True):
        face[45, 0] += distance
    return shape


def moved(shape: torch.Tensor, x: float, y: float, points: slice = slice(None)) -> torch.Tensor:
    result = shape.clone()
    result[:, points] += torch.tensor([x, y])
    return result


def said(shapes: list[torch.Tensor], coarse: torch.Tensor, **heads: torch.Tensor) -> CascadeOutput:
    stacked = torch.stack(shapes, dim=1)
    return CascadeOutput(stacked, torch.zeros(len(coarse), 1), coarse, heads.get("visibility"), heads.get("log_scale"))


def loss(output: CascadeOutput, truth: torch.Tensor, config: ModelConfig, **options: Any) -> dict[str, float]:
    visible = options.pop("visible", torch.ones(truth.shape[:2], dtype=torch.bool))
    return {name: float(v) for name, v in cascade_loss(output, truth, visible, config, **options)._asdict().items()}


def test_distance_by_hand() -> None:
    """Two iterations; 50 pixels between the eye corners. First 5 pixels off everywhere, then 10 at half the points."""
    truth = target(50.0)
    output = said([moved(truth, 3, 4), moved(truth, 0, 10, slice(0, 34))], moved(truth, 20, 0))

    terms = loss(output, truth, PLAIN)

    assert terms["total"] == pytest.approx(5 / 50 + 5 / 50, rel=1e-3)
    assert terms["nme"] == pytest.approx(5 / 50, rel=1e-3)
    assert terms["coarse"] == pytest.approx(20 / 50, rel=1e-3)
    assert terms["visibility"] == terms["scale"] == 0


def test_squared_by_hand() -> None:
    truth = target(50.0)
    output = said([moved(truth, 3, 4), moved(truth, 0, 10, slice(0, 34))], moved(truth, 20, 0))

    terms = loss(output, truth, PLAIN, kind="squared")

    assert terms["total"] == pytest.approx(0.1**2 + (0.2**2 + 0) / 2, rel=1e-3)
    # Reports keep their unit whatever is minimized.
    assert terms["nme"] == pytest.approx(0.1, rel=1e-3)
    assert terms["coarse"] == pytest.approx(0.4, rel=1e-3)


@pytest.mark.parametrize(("kind", "expected"), [("distance", 0.1 + 0.4 / 2), ("squared", 0.1**2 + 0.4**2 / 2)])
def test_the_coarse_shape_counts_half(kind: str, expected: float) -> None:
    truth = target(50.0)
    output = said([moved(truth, 3, 4)], moved(truth, 20, 0))

    assert loss(output, truth, COARSE, kind=kind)["total"] == pytest.approx(expected, rel=1e-3)


def test_faces_count_alike_and_each_by_its_own_eyes() -> None:
    """5 pixels at 50 between the eyes and 5 pixels at 80."""
    truth = target(50.0, 80.0)
    output = said([moved(truth, 3, 4)], truth)

    assert loss(output, truth, PLAIN)["total"] == pytest.approx((5 / 50 + 5 / 80) / 2, rel=1e-3)


@pytest.mark.parametrize(
    ("distance", "divisor"), [(0.0, 40.0), (39.0, 40.0), (41.0, 41.0)], ids=["profile", "below", "above"]
)
def test_a_profile_does_not_outweigh_the_others(distance: float, divisor: float) -> None:
    truth = target(distance)

    assert MINIMAL_INTEROCULAR * FACE_SIZE == 40
    assert interocular_normalizer(truth, IBUG_68, FACE_SIZE).tolist() == pytest.approx([divisor])
    assert loss(said([moved(truth, 3, 4)], truth), truth, PLAIN)["total"] == pytest.approx(5 / divisor, rel=1e-3)


@pytest.mark.parametrize(("scheme", "corners"), [(IBUG_68, (36, 45)), (COFW_29, (8, 9)), (WFLW_98, (60, 72))])
def test_the_normalizer_knows_the_schemes(scheme: Any, corners: tuple[int, int]) -> None:
    shape = torch.zeros(1, scheme.n_points, 2)
    shape[0, corners[0]] = torch.tensor([-30.0, -40.0])
    shape[0, corners[1]] = torch.tensor([30.0, 40.0])

    assert interocular_normalizer(shape, scheme, 1.0).tolist() == pytest.approx([100.0])


def test_visibility_is_a_cross_entropy_by_hand() -> None:
    truth = target(50.0)
    logits = torch.full((1, 68), 2.0)
    visible = torch.ones(1, 68, dtype=torch.bool)
    visible[0, :17] = False
    output = said([truth], truth, visibility=logits, log_scale=torch.zeros(1, 68))

    terms = loss(output, truth, HEADS, visible=visible)

    p = 1 / (1 + math.exp(-2))
    assert terms["visibility"] == pytest.approx(-(51 * math.log(p) + 17 * math.log(1 - p)) / 68, rel=1e-5)


def test_the_expected_error_is_a_likelihood_by_hand() -> None:
    """Half of the points 10 pixels off, a tenth of the face; b = 0.05 everywhere. Minus log of exp(-e / b) / b^2."""
    truth = target(50.0)
    log_scale = torch.full((1, 68), math.log(0.05))
    output = said(
        [moved(truth, 1, 1), moved(truth, 0, 10, slice(0, 34))],
        truth,
        visibility=torch.zeros(1, 68),
        log_scale=log_scale,
    )

    terms = loss(output, truth, HEADS)

    expected = (0.1 / 0.05 + 0) / 2 + 2 * math.log(0.05)
    assert terms["scale"] == pytest.approx(expected, rel=1e-3)
    assert terms["visibility"] == pytest.approx(math.log(2), rel=1e-5)
    position = math.sqrt(2) / 50 + 0.1
    assert terms["total"] == pytest.approx(position + 0.02 * (math.log(2) + expected), rel=1e-3)


def test_the_weight_of_the_heads_is_a_weight() -> None:
    truth = target(50.0)
    output = said([moved(truth, 3, 4)], truth, visibility=torch.zeros(1, 68), log_scale=torch.zeros(1, 68))

    totals = [loss(output, truth, HEADS, heads_weight=weight)["total"] for weight in (0.0, 1.0, 2.0)]

    assert totals[0] == pytest.approx(0.1, rel=1e-3)
    assert totals[2] - totals[1] == pytest.approx(totals[1] - totals[0])
    assert totals[1] - totals[0] == pytest.approx(math.log(2) + 0.05, rel=1e-3)  # b = 1: e / b is the error, 5 of 100


def gradients(config: ModelConfig, heads_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
    """With respect to the last shape and the scales; half of the points 10 pixels off, b = 0.05."""
    truth = target(50.0)
    shape = moved(truth, 0, 10, slice(0, 34)).requires_grad_()
    log_scale = torch.full((1, 68), math.log(0.05)).requires_grad_()
    output = said([shape], truth, visibility=torch.zeros(1, 68), log_scale=log_scale)
    visible = torch.ones(1, 68, dtype=torch.bool)
    cascade_loss(output, truth, visible, config, heads_weight=heads_weight).total.backward()
    assert shape.grad is not None
    assert log_scale.grad is not None
    return shape.grad, log_scale.grad


def test_the_expected_error_does_not_move_the_shape() -> None:
    without, _ = gradients(HEADS, 0.0)
    with_heads, _ = gradients(HEADS, 10.0)

    torch.testing.assert_close(with_heads, without, atol=0, rtol=0)
    # 1 / (68 points x 50 pixels) straight down at each point that is off; nothing where there is nothing to gain.
    torch.testing.assert_close(with_heads[0, :34, 1], torch.full((34,), 1 / (68 * 50)))
    assert float(with_heads[0, 34:].abs().max()) == 0


def test_the_gradient_of_the_scale_by_hand() -> None:
    """2 - e / b for each point: zero where b is half of the error, which is then the mean of the model."""
    _, gradient = gradients(HEADS, 68.0)

    torch.testing.assert_close(gradient[0, :34], torch.full((34,), 2 - 0.1 / 0.05), atol=1e-5, rtol=0)
    torch.testing.assert_close(gradient[0, 34:], torch.full((34,), 2.0), atol=1e-4, rtol=0)


def test_scales_out_of_their_range_neither_explode_nor_learn() -> None:
    truth = target(50.0)
    wild = torch.tensor([-100.0, 100.0]).repeat(34)[None].requires_grad_()
    output = said([moved(truth, 3, 4)], truth, visibility=torch.zeros(1, 68), log_scale=wild)

    terms = cascade_loss(output, truth, torch.ones(1, 68, dtype=torch.bool), HEADS)
    terms.total.backward()

    # e = 0.05 of the face at b = exp(-8) and exp(2)
    expected = (0.05 * math.exp(8) - 16 + 0.05 * math.exp(-2) + 4) / 2
    assert float(terms.scale) == pytest.approx(expected, rel=1e-3)
    assert wild.grad is not None
    assert float(wild.grad.abs().max()) == 0


def test_a_perfect_shape_has_a_gradient_that_is_a_number() -> None:
    truth = target(50.0)
    shape = truth.clone().requires_grad_()

    cascade_loss(said([shape], truth), truth, torch.ones(1, 68, dtype=torch.bool), PLAIN).total.backward()

    assert shape.grad is not None
    assert float(shape.grad.abs().max()) == 0


def test_point_distances_by_hand() -> None:
    shape = torch.tensor([[0.0, 0.0], [3.0, 4.0], [-5.0, 12.0]])

    torch.testing.assert_close(point_distances(shape, torch.zeros(3, 2)), torch.tensor([1e-4, 5.0, 13.0]))


def test_the_paper_has_neither_coarse_shape_nor_heads() -> None:
    truth = target(70.0) + 20
    output = said([moved(truth, 3, 4)] * 3, moved(truth, 50, 50))

    terms = loss(output, truth, preset("paper"))

    assert terms["total"] == pytest.approx(3 * 5 / 70, rel=1e-3)  # 140 pixels of face: the floor is 56


def test_heat_maps_are_taught_beside_the_shapes() -> None:
    truth = target(50.0)
    output = said([moved(truth, 3, 4)], truth)
    flat = torch.zeros(1, 68, 30, 30)
    without, with_maps = loss(output, truth, PLAIN), loss(output._replace(heatmaps=flat), truth, PLAIN)
    # A flat map of 900 cells beside a Gaussian of one cell, whose entropy is log(2 pi e) where no edge cuts it.
    divergence = math.log(900) - math.log(2 * math.pi * math.e)
    assert with_maps["total"] - without["total"] == pytest.approx(0.02 * divergence, rel=1e-2)


def test_the_length_of_an_error_is_that_of_the_matrix() -> None:
    """|M^(-1/2) e| with M = exp(V), by eigenvalues."""
    tendency = torch.tensor([[0.0, 0.0], [0.9, -0.4], [-2.0, 1.0]], dtype=torch.float64)
    error = torch.tensor([[0.03, 0.04], [0.1, -0.2], [0.01, 0.0]], dtype=torch.float64)
    got = directed_lengths(tendency, error)
    for (one, other), e, length in zip(tendency.tolist(), error, got, strict=True):
        values, vectors = torch.linalg.eigh(torch.tensor([[one, other], [other, -one]], dtype=torch.float64))
        assert float(length) == pytest.approx(float((vectors.T @ e * torch.exp(-values / 2)).norm()), rel=1e-4)
    assert float(got[0]) == pytest.approx(0.05, rel=1e-4)


def test_the_direction_learns_the_shape_of_errors_whatever_their_scale() -> None:
    """Errors three times as long along a slope, and expected errors that are twice too large: the best v is found."""
    generator = torch.Generator().manual_seed(0)
    angle, ratio = 0.5, 3.0
    long = torch.tensor([math.cos(angle), math.sin(angle)])
    across = torch.tensor([-math.sin(angle), math.cos(angle)])
    draws = torch.randn(2, 4000, generator=generator)
    error = 0.02 * (draws[0, :, None] * long * ratio + draws[1, :, None] * across)
    tendency = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.Adam([tendency], lr=0.1)
    for _ in range(80):
        optimizer.zero_grad()
        (directed_lengths(tendency.expand(4000, 2), error) / 0.1).mean().backward()
        optimizer.step()
    expected = math.log(ratio) * torch.tensor([math.cos(2 * angle), math.sin(2 * angle)])
    torch.testing.assert_close(tendency.detach(), expected, atol=0.05, rtol=0)


def test_a_direction_adds_its_lengths_and_teaches_nothing_else() -> None:
    truth = target(50.0)
    shapes = [moved(truth, 3, 4)]
    heads = {"visibility": torch.zeros(1, 68), "log_scale": torch.full((1, 68), -3.0, requires_grad=True)}
    plain = said(shapes, moved(truth, 20, 0), **heads)
    tendency = torch.tensor([0.6, -0.3]).expand(1, 68, 2).clone().requires_grad_()
    visible = torch.ones(1, 68, dtype=torch.bool)
    before = cascade_loss(plain, truth, visible, HEADS).total
    after = cascade_loss(plain._replace(tendency=tendency), truth, visible, HEADS).total
    length = float(directed_lengths(tendency.detach()[0, 0], torch.tensor([-0.03, -0.04])))
    assert float((after - before).detach()) == pytest.approx(0.02 * length * math.exp(3), rel=1e-3)
    (grad_before,) = torch.autograd.grad(before, heads["log_scale"])
    grad_after, grad_tendency = torch.autograd.grad(after, (heads["log_scale"], tendency))
    torch.testing.assert_close(grad_before, grad_after)
    assert grad_tendency.any()

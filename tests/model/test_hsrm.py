"""The hierarchical structural relation module: who reads whom, in which order, and how large each variant is."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from srn.face.scheme import COMPONENTS, REGIONS, SCHEMES, LandmarkScheme, register_scheme
from srn.model.config import HIERARCHIES, ModelConfig, preset
from srn.model.hsrm import HierarchicalStructuralRelation

SMALL: dict[str, Any] = {"landmark_features": 6, "hidden_size": 5, "region_size": 9, "component_size": 7}

READS = {
    "brows": {"ocular", "snout"},
    "eyes": {"ocular", "snout"},
    "nose": {"ocular", "snout", "cheek"},
    "mouth": {"ocular", "snout", "cheek"},
    "left_cheek": {"snout", "cheek"},
    "right_cheek": {"snout", "cheek"},
}
"""Read off the layer table: the regions that each component's landmarks depend on, all of them through h as well."""

every_scheme = pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda s: s.name)
every_variant = pytest.mark.parametrize(
    "without",
    [parts for count in range(5) for parts in itertools.combinations(HIERARCHIES, count)],
    ids=lambda parts: "without " + "+".join(parts) if parts else "whole",
)


def small(scheme: LandmarkScheme | str = "ibug68", **changes: Any) -> ModelConfig:
    name = scheme if isinstance(scheme, str) else scheme.name
    return preset("robust", scheme_name=name, **{**SMALL, **changes})


def inputs(config: ModelConfig, batch: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    relational = torch.randn(batch, config.scheme.n_points, config.landmark_features, generator=generator)
    return relational.requires_grad_(), torch.randn(batch, config.hidden_size, generator=generator).requires_grad_()


def build(config: ModelConfig) -> Any:
    torch.manual_seed(4)
    return HierarchicalStructuralRelation(config)


def count(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


# --- every scheme, every variant


@every_scheme
@every_variant
def test_it_builds_runs_and_learns_with_all_of_its_weights(scheme: LandmarkScheme, without: tuple[str, ...]) -> None:
    module = build(small(scheme, without=without))
    relational, hidden = inputs(small(scheme))

    residual = module(relational, hidden)
    target = torch.randn(residual.shape, generator=torch.Generator().manual_seed(5))
    before = (residual - target).square().mean()
    before.backward()

    assert residual.shape == (2, scheme.n_points, 2)
    assert not module.has_idle_layer
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.abs().sum() > 0), name
    with torch.no_grad():
        for parameter in module.parameters():
            assert parameter.grad is not None
            parameter.sub_(1e-3 * parameter.grad)
    assert (module(relational, hidden) - target).square().mean() < before


@pytest.mark.parametrize("without", [(), ("g",)])
def test_of_the_eyes_alone_nobody_reads_the_cheeks(without: tuple[str, ...]) -> None:
    """Processes that train together would wait for gradients that never come."""
    parts = dict.fromkeys(COMPONENTS, ()) | {"eyes": (0, 1, 2, 3)}
    register_scheme(LandmarkScheme("eyes4", 4, parts, ((0, 3), (1, 2)), (0, 3), ((0, 1), (2, 3))))
    module = build(small("eyes4", without=without))
    module(*inputs(small("eyes4"))).sum().backward()
    idle = {name for name, parameter in module.named_parameters() if parameter.grad is None}
    assert idle == ({"g.cheek.weight", "g.cheek.bias"} if module.has_idle_layer else set())
    assert module.has_idle_layer == (not without)


@every_scheme
@every_variant
def test_a_batch_is_its_faces(scheme: LandmarkScheme, without: tuple[str, ...]) -> None:
    module = build(small(scheme, without=without))
    relational, hidden = inputs(small(scheme), batch=3)

    together = module(relational, hidden)

    for i in range(3):
        torch.testing.assert_close(together[i], module(relational[i : i + 1], hidden[i : i + 1])[0])


@pytest.mark.parametrize("without", [("g",), ("f",), ("d",), ("mu",)], ids=lambda parts: parts[0])
def test_a_part_left_out_has_no_weights(without: tuple[str, ...]) -> None:
    module = build(small(without=without))

    parts = {name.split(".")[0] for name, _ in module.named_parameters()}

    assert parts == set(HIERARCHIES) - set(without)


# --- who reads whom


@every_scheme
@pytest.mark.parametrize("without", [("mu",), ("g", "mu"), ("f", "mu"), ("g", "f", "mu")], ids="+".join)
def test_components_read_the_regions_of_the_layer_table_and_the_state(
    scheme: LandmarkScheme, without: tuple[str, ...]
) -> None:
    """Before mu, which joins everything: a gradient arrives exactly where the hierarchy has a path."""
    module = build(small(scheme, without=without))
    # tanh and ReLU are kept off their flat parts, so that a path that exists carries a gradient.
    for name, parameter in module.named_parameters():
        if name.startswith("f.") and name.endswith("bias"):
            torch.nn.init.constant_(parameter, 5.0)
    relational, hidden = inputs(small(scheme))
    residual = module(relational, hidden)

    for component in COMPONENTS:
        points = list(scheme.components[component])
        if not points:
            continue
        for point in points:
            seen, state = torch.autograd.grad(residual[:, point].sum(), (relational, hidden), retain_graph=True)
            assert bool((state.abs() > 0).any(dim=1).all()), f"{component} does not read h"
            reached = {r for r in REGIONS if bool(seen[:, list(scheme.region(r))].abs().sum() > 0)}
            assert reached == READS[component], component
        everyone = seen.abs().sum(dim=(0, 2)) > 0
        for region in READS[component]:
            assert bool(everyone[list(scheme.region(region))].all()), f"{component} reads only a part of {region}"


def test_d_reads_both_components_of_a_region_and_no_other() -> None:
    """Zeroing a component's f moves its own landmarks and its partner's, and nobody else's."""
    scheme = SCHEMES["ibug68"]
    partners = {"brows": "eyes", "nose": "mouth", "left_cheek": "right_cheek"}
    partners |= {b: a for a, b in partners.items()}
    module = build(small(without=("mu",)))
    for name, parameter in module.named_parameters():
        if name.startswith("f.") and name.endswith("bias"):
            torch.nn.init.constant_(parameter, 5.0)
    relational, hidden = inputs(small())
    residual = module(relational, hidden).detach()

    for component in COMPONENTS:
        saved = module.f[component].bias.detach().clone()
        with torch.no_grad():
            module.f[component].bias.fill_(-1e6)  # the ReLU closes
        moved = (module(relational, hidden) - residual).abs().sum(dim=(0, 2)) > 0
        with torch.no_grad():
            module.f[component].bias.copy_(saved)
        names = {scheme.component_of(i) for i in torch.nonzero(moved).flatten().tolist()}
        assert names == {component, partners[component]}


def test_mu_reads_every_landmark() -> None:
    module = build(small())
    torch.nn.init.normal_(module.mu.weight)
    relational, hidden = inputs(small())

    (seen,) = torch.autograd.grad(module(relational, hidden)[:, 20].sum(), relational)

    assert bool((seen.abs().sum(dim=(0, 2)) > 0).all())


# --- the order of the landmarks


def numbered(module: Any, value: Callable[[int], list[float]]) -> None:
    """Make d answer `value(landmark)` whatever it is asked."""
    config_scheme = next(s for s in SCHEMES.values() if s.n_points == module._n_points)
    with torch.no_grad():
        for name, layer in module.d.items():
            layer.weight.zero_()
            layer.bias.copy_(torch.tensor([v for i in config_scheme.components[name] for v in value(i)]))


@every_scheme
@pytest.mark.parametrize("changes", [{"without": ("mu",)}, {"offsets_per_landmark": 2}], ids=["no mu", "mu as made"])
def test_each_landmark_gets_its_own_two_numbers(scheme: LandmarkScheme, changes: dict[str, Any]) -> None:
    """Without mu, and with one that gets both coordinates: it starts as the identity."""
    module = build(small(scheme, **changes))
    numbered(module, lambda i: [float(i), 1000.0 + i])

    residual = module(*inputs(small(scheme)))

    expected = torch.tensor([[float(i), 1000.0 + i] for i in range(scheme.n_points)])
    torch.testing.assert_close(residual, expected.expand(2, -1, -1))


@every_scheme
def test_mu_gets_the_papers_one_number_a_landmark_in_the_order_of_the_landmarks(scheme: LandmarkScheme) -> None:
    module = build(small(scheme, offsets_per_landmark=1))
    numbered(module, lambda i: [float(i)])
    with torch.no_grad():
        module.mu.bias.zero_()
        module.mu.weight.zero_()
        for i in range(scheme.n_points):
            module.mu.weight[2 * i, i] = 1.0  # x
            module.mu.weight[2 * i + 1, i] = -1.0  # y

    residual = module(*inputs(small(scheme)))

    order = torch.arange(scheme.n_points, dtype=torch.float32)
    torch.testing.assert_close(residual, torch.stack([order, -order], dim=1).expand(2, -1, -1))


# --- sizes


def linear(inside: int, outside: int) -> int:
    return inside * outside + outside


G = linear(22 * 256, 512) + linear(29 * 256, 512) + linear(17 * 256, 512)
F = 4 * linear(512 * 3, 256) + 2 * linear(512 * 4, 256)
D = linear(512, 10) + linear(512, 12) + linear(512, 9) + linear(512, 20) + linear(512, 9) + linear(512, 8)
MU = linear(68, 136)


@pytest.mark.parametrize(
    ("without", "expected"),
    [
        ((), G + F + D + MU),
        # f reads the regions' features instead of their codes: 51, 68 or 46 landmarks of 256.
        (
            ("g",),
            2 * linear(51 * 256 + 512, 256)
            + 2 * linear(68 * 256 + 512, 256)
            + 2 * linear(46 * 256 + 512, 256)
            + D
            + MU,
        ),
        # d reads the codes of two or three regions and the state, once for each component.
        (
            ("f",),
            G + sum(linear(1536, n) for n in (10, 12, 9, 8)) + linear(2048, 9) + linear(2048, 20) + MU,
        ),
        # mu reads six codes.
        (("d",), G + F + linear(6 * 256, 136)),
        # d gives two numbers for each landmark.
        (("mu",), G + F + 2 * D),
    ],
    ids=["whole", "without g", "without f", "without d", "without mu"],
)
def test_sizes_of_table_7s_variants_by_hand(without: tuple[str, ...], expected: int) -> None:
    with torch.device("meta"):
        module = HierarchicalStructuralRelation(preset("paper", without=without))

    assert count(module) == expected


def test_layers_of_the_paper() -> None:
    with torch.device("meta"):
        module = HierarchicalStructuralRelation(preset("paper"))

    def sizes(part: Any) -> dict[str, tuple[int, int]]:
        return {name: (layer.in_features, layer.out_features) for name, layer in part.items()}

    assert sizes(module.g) == {"ocular": (5632, 512), "snout": (7424, 512), "cheek": (4352, 512)}
    assert sizes(module.f) == {
        "brows": (1536, 256),
        "eyes": (1536, 256),
        "nose": (2048, 256),
        "mouth": (2048, 256),
        "left_cheek": (1536, 256),
        "right_cheek": (1536, 256),
    }
    assert sizes(module.d) == {
        "brows": (512, 10),
        "eyes": (512, 12),
        "nose": (512, 9),
        "mouth": (512, 20),
        "left_cheek": (512, 9),
        "right_cheek": (512, 8),
    }
    assert module.mu is not None
    assert (module.mu.in_features, module.mu.out_features) == (68, 136)
    assert (count(module.g), count(module.f), count(module.d), count(module.mu)) == (G, F, D, MU)


def test_cofw_has_no_layers_for_its_empty_cheek() -> None:
    module = build(small("cofw29"))

    assert list(module.d) == ["brows", "eyes", "nose", "mouth", "left_cheek"]
    assert module.d["left_cheek"].in_features == SMALL["component_size"]

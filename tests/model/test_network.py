"""The whole cascade: sizes against the layer table, relations, and equations 5 and 13 unrolled by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from srn.errors import InputError
from srn.model.config import ModelConfig, preset
from srn.model.network import StructuralRelationNetwork

from .conftest import make_network, small_config

both = pytest.mark.parametrize("name", ["paper", "robust"])


def pictures(config: ModelConfig, batch: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, 3, config.crop_size, config.crop_size, generator=generator)


def shapes_near(network: StructuralRelationNetwork, batch: int, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return network.mean_initial_shape(batch) + 4 * torch.randn(
        batch, network.config.scheme.n_points, 2, generator=generator
    )


def zero_face(config: ModelConfig) -> np.ndarray:
    return np.zeros((config.scheme.n_points, 2))


def count(module: torch.nn.Module | None) -> int:
    assert module is not None
    return sum(p.numel() for p in module.parameters())


# --- sizes


@pytest.fixture(scope="module")
def paper() -> StructuralRelationNetwork:
    """The published network, without memory for its weights: sizes only."""
    with torch.device("meta"):
        return StructuralRelationNetwork(preset("paper"), zero_face(preset("paper")))


def test_the_paper_has_20_834_028_parameters(paper: StructuralRelationNetwork) -> None:
    assert count(paper) == 20_834_028


def test_the_paper_layer_by_layer(paper: StructuralRelationNetwork) -> None:
    """Weights times inputs plus biases, worked out from the layer table by hand."""
    sizes = {name: count(part) for name, part in paper.named_children()}

    assert sizes == {
        "encoder": (7 * 7 * 3 * 32 + 32) + (3 * 3 * 32 * 64 + 64) + (3 * 3 * 64 * 64 + 64),
        "non_local": 4 * (64 * 64 + 64),
        "recurrent": (17_408 + 512) * 512 + 512,
        "hsrm": 8_914_432 + 2_622_976 + 34_884 + 9_384,  # g, f, d, mu
    }


def test_shapes_of_the_layer_table_flow_through_the_paper() -> None:
    """The real widths, one face, one iteration: what every layer gets and gives."""
    config = preset("paper", iterations=1)
    torch.manual_seed(0)
    network = StructuralRelationNetwork(config, zero_face(config)).eval()
    seen: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}

    def note(name: str) -> Any:
        def hook(_module: torch.nn.Module, given: tuple[torch.Tensor, ...], result: torch.Tensor) -> None:
            seen[name] = (tuple(given[0].shape), tuple(result.shape))

        return hook

    for name, module in network.named_modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear) or name == "non_local":
            module.register_forward_hook(note(name))

    with torch.no_grad():
        output = network(pictures(config, 1))

    assert seen["encoder.conv1"] == ((68, 3, 36, 36), (68, 32, 30, 30))
    assert seen["encoder.conv2"] == ((68, 32, 15, 15), (68, 64, 13, 13))
    assert seen["encoder.conv3"] == ((68, 64, 6, 6), (68, 64, 4, 4))
    assert seen["non_local"] == ((1, 272, 64), (1, 272, 64))
    assert seen["recurrent"] == ((1, 17_408 + 512), (1, 512))
    assert seen["hsrm.g.ocular"] == ((1, 22 * 256), (1, 512))
    assert seen["hsrm.g.snout"] == ((1, 29 * 256), (1, 512))
    assert seen["hsrm.g.cheek"] == ((1, 17 * 256), (1, 512))
    for component, regions in {"brows": 2, "eyes": 2, "nose": 3, "mouth": 3, "left_cheek": 2, "right_cheek": 2}.items():
        assert seen[f"hsrm.f.{component}"] == ((1, 512 * regions + 512), (1, 256))
    for component, points in {
        "brows": 10, "eyes": 12, "nose": 9, "mouth": 20, "left_cheek": 9, "right_cheek": 8,
    }.items():  # fmt: skip
        assert seen[f"hsrm.d.{component}"] == ((1, 512), (1, points))
    assert seen["hsrm.mu"] == ((1, 68), (1, 136))
    assert output.shapes.shape == (1, 1, 68, 2)
    assert output.visibility is None
    assert output.log_scale is None


@pytest.mark.parametrize("scheme", ["ibug68", "cofw29", "wflw98"])
def test_the_same_network_for_every_scheme(scheme: str) -> None:
    for name in ("paper", "robust"):
        config = small_config(name, scheme_name=scheme)
        network = make_network(config)
        n = config.scheme.n_points

        with torch.no_grad():
            output = network(pictures(config, 2))

        assert output.shapes.shape == (2, 3, n, 2)
        assert output.hidden.shape == (2, config.hidden_size)
        assert output.coarse.shape == (2, n, 2)
        if name == "robust":
            assert output.visibility is not None
            assert output.log_scale is not None
            assert output.visibility.shape == output.log_scale.shape == (2, n)


@pytest.mark.parametrize(("name", "parameters", "multiply_adds"), [("robust", 6e6, 0.4e9), ("fast", 1.5e6, 0.09e9)])
def test_what_a_preset_may_cost(name: str, parameters: float, multiply_adds: float) -> None:
    config = preset(name)
    network = StructuralRelationNetwork(config, zero_face(config)).eval()

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(pictures(config, 1))

    assert count(network) <= parameters
    assert 0.05e9 < counter.get_total_flops() / 2 <= multiply_adds


# --- relations


@both
def test_a_batch_is_its_faces(name: str) -> None:
    config = small_config(name)
    network = make_network(config)
    image, shape = pictures(config, 4), shapes_near(network, 4)
    hidden, weight = torch.rand(4, config.hidden_size), torch.tensor([1.0, 0, 1, 0])

    with torch.no_grad():
        together = network(image, shape, hidden, weight)
        for i in range(4):
            alone = network(image[i : i + 1], shape[i : i + 1], hidden[i : i + 1], weight[i : i + 1])
            torch.testing.assert_close(together.shapes[i], alone.shapes[0], atol=1e-3, rtol=0)
            torch.testing.assert_close(together.hidden[i], alone.hidden[0], atol=1e-5, rtol=0)
            if together.visibility is not None:
                torch.testing.assert_close(together.visibility[i], alone.visibility[0], atol=1e-4, rtol=0)
                torch.testing.assert_close(together.log_scale[i], alone.log_scale[0], atol=1e-4, rtol=0)


def test_the_mean_shape_lies_in_the_face_box() -> None:
    """Face units count from the centre of the box, which is the centre of the crop."""
    config = small_config("paper", crop_size=65, face_size=40.0)
    mean = zero_face(config)
    mean[3], mean[4] = [0.5, -0.25], [-0.5, 0.125]
    network = StructuralRelationNetwork(config, mean)

    start = network.mean_initial_shape(2)

    assert start.shape == (2, 68, 2)
    assert start[1, 0].tolist() == [32, 32]
    assert start[1, 3].tolist() == [52, 22]
    assert start[0, 4].tolist() == [12, 37]
    np.testing.assert_allclose(start[0], config.crop_spec.place(mean))


def test_the_paper_starts_from_the_mean_shape() -> None:
    config = small_config("paper")
    network = make_network(config)

    with torch.no_grad():
        by_itself = network(pictures(config, 2))
        told = network(pictures(config, 2), network.mean_initial_shape(2), network.initial_hidden(2))

    torch.testing.assert_close(by_itself.coarse, network.mean_initial_shape(2))
    torch.testing.assert_close(by_itself.shapes, told.shapes, atol=1e-4, rtol=0)


def test_robust_starts_from_a_shape_it_reads_off_the_face() -> None:
    config = small_config("robust")
    network: Any = make_network(config)
    with torch.no_grad():
        start = network(pictures(config, 2)).coarse
        assert not torch.allclose(start[0], start[1])

        # A coarse head that says (0.1, -0.2) for every point moves the mean shape by that much of the face.
        network.coarse[-1].weight.zero_()
        network.coarse[-1].bias.copy_(torch.tensor([0.1, -0.2]).repeat(68))
        start = network(pictures(config, 2)).coarse

    moved = network.mean_initial_shape(2) + torch.tensor([0.1, -0.2]) * 44
    torch.testing.assert_close(start, moved)


@both
def test_the_initial_weight_chooses_between_the_two_starts(name: str) -> None:
    config = small_config(name)
    network = make_network(config)
    image, shape = pictures(config, 3), shapes_near(network, 3)

    with torch.no_grad():
        mixed = network(image, shape, None, torch.tensor([1.0, 0.0, 0.5]))
        own = network(image)
        given = network(image, shape)
        halfway = network(image, (shape + own.coarse) / 2)

    assert not torch.allclose(own.shapes, given.shapes, atol=0.1)
    torch.testing.assert_close(mixed.shapes[0], given.shapes[0], atol=1e-3, rtol=0)
    torch.testing.assert_close(mixed.shapes[1], own.shapes[1], atol=1e-3, rtol=0)
    torch.testing.assert_close(mixed.shapes[2], halfway.shapes[2], atol=1e-3, rtol=0)
    # What the network would have started from by itself is reported in any case.
    torch.testing.assert_close(mixed.coarse, own.coarse)


def test_no_state_is_a_state_of_zeros() -> None:
    config = small_config("paper")
    network = make_network(config)

    with torch.no_grad():
        none = network(pictures(config, 1))
        zeros = network(pictures(config, 1), hidden=torch.zeros(1, 16))
        other = network(pictures(config, 1), hidden=torch.ones(1, 16))

    torch.testing.assert_close(none.shapes, zeros.shapes, atol=0, rtol=0)
    assert not torch.allclose(none.shapes, other.shapes, atol=1e-3)


# --- the equations, unrolled


@torch.no_grad()
def unrolled(
    network: StructuralRelationNetwork, image: torch.Tensor, shape: torch.Tensor, hidden: torch.Tensor, video: bool
) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Equations 1 to 7 with equation 5 (pictures) or 13 (video), face by face and step by step."""
    config = network.config
    left_by_the_previous_frame = state = hidden
    shapes = []
    for _ in range(config.iterations):
        x = network.encoder(network.encoder.prepare(image), shape)
        read = left_by_the_previous_frame if video else state
        weight, bias = network.recurrent.weight, network.recurrent.bias
        n_features = x[0].numel()
        state = torch.tanh(x.flatten(1) @ weight[:, :n_features].T + read @ weight[:, n_features:].T + bias)
        positions = torch.cat([x[:, n] for n in range(x.shape[1])], dim=1)  # landmark after landmark
        relational = positions if network.non_local is None else network.non_local(positions)
        relational = relational.reshape(x.shape[0], x.shape[1], -1)
        residual = network.hsrm(relational, state)
        if network.local_weight is not None:
            for n in range(x.shape[1]):
                residual[:, n] += relational[:, n] @ network.local_weight[n]
        shape = shape + residual * config.face_size
        shapes.append(shape)
    return shapes, state


@both
@pytest.mark.parametrize("recurrence", ["iteration", "frame"])
@pytest.mark.parametrize("non_local", [True, False], ids=["non-local", "no non-local"])
def test_forward_is_the_equations(name: str, recurrence: str, non_local: bool) -> None:
    config = small_config(name, recurrence=recurrence, non_local=non_local)
    network = make_network(config)
    hidden = torch.randn(2, config.hidden_size, generator=torch.Generator().manual_seed(7))
    image, shape = pictures(config, 2), shapes_near(network, 2)

    with torch.no_grad():
        output = network(image, shape, hidden)
    shapes, state = unrolled(network, image, shape, hidden, video=recurrence == "frame")

    torch.testing.assert_close(output.shapes, torch.stack(shapes, dim=1), atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(output.hidden, state, atol=1e-5, rtol=0)


def test_pictures_and_video_share_their_first_iteration_only() -> None:
    """Both read the same state at first; after that a picture reads its own, a frame its predecessor's."""
    config = small_config("paper")
    picture, video = make_network(config), make_network(small_config("paper", recurrence="frame"))
    image, hidden = pictures(config, 1), torch.rand(1, 16)

    with torch.no_grad():
        one, other = picture(image, hidden=hidden), video(image, hidden=hidden)

    torch.testing.assert_close(one.shapes[:, 0], other.shapes[:, 0], atol=0, rtol=0)
    assert not torch.allclose(one.shapes[:, 1], other.shapes[:, 1], atol=1e-4)


def test_point_heads_by_hand() -> None:
    """Both answers of each point come from its own relational features and the last state."""
    config = small_config("robust", iterations=1, non_local=False, visibility_width=0)
    network: Any = make_network(config)
    image, shape = pictures(config, 1), shapes_near(network, 1)

    with torch.no_grad():
        output = network(image, shape)
        x = network.encoder(network.encoder.prepare(image), shape)[0, :, 0]
        heads = network.point_heads
        for n in (0, 30, 67):
            code = torch.relu(heads.local(x[n]) + heads.whole(output.hidden[0]))
            visible, log_scale = (code @ heads.weight[n] + heads.bias[n]).tolist()
            assert float(output.visibility[0, n]) == pytest.approx(visible, abs=1e-4)
            assert float(output.log_scale[0, n]) == pytest.approx(log_scale, abs=1e-4)


# --- gradients


@both
def test_the_last_loss_reaches_every_residual_and_no_coordinates(name: str) -> None:
    """Through the sum of residuals each arrives whole; a path through coordinates would add to it."""
    config = small_config(name)
    network = make_network(config)
    residuals: list[torch.Tensor] = []

    def keep(_module: torch.nn.Module, _given: Any, result: torch.Tensor) -> None:
        result.retain_grad()
        residuals.append(result)

    network.hsrm.register_forward_hook(keep)
    network(pictures(config, 2)).shapes[:, -1].sum().backward()

    assert len(residuals) == 3
    for residual in residuals:
        torch.testing.assert_close(residual.grad, torch.full_like(residual, config.face_size), atol=0, rtol=0)


@both
def test_every_weight_learns(name: str) -> None:
    config = small_config(name)
    network = make_network(config).train()

    output = network(pictures(config, 3))
    total = output.shapes.square().mean()
    if output.visibility is not None:
        total = total + output.visibility.square().mean() + output.log_scale.square().mean()
    total.backward()

    idle = [n for n, p in network.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    # A shift of both sides of the softmax by the query's part cancels: the key's bias never learns (nor matters).
    assert [n for n in idle if not (config.non_local_softmax and n == "non_local.phi.bias")] == []


def test_the_first_shape_gets_no_gradient_where_it_is_given() -> None:
    config = small_config("paper")
    network = make_network(config)
    shape = shapes_near(network, 1).requires_grad_()

    network(pictures(config, 1), shape).shapes[:, -1].sum().backward()

    # Only the sum of residuals starts there: one for each coordinate, nothing through the sampling.
    torch.testing.assert_close(shape.grad, torch.ones_like(shape), atol=0, rtol=0)


def test_the_visibility_head_by_hand() -> None:
    """What each point reads of the maps, of R and of the state, one point at a time."""
    network: Any = make_network(small_config("robust", visibility_width=5, iterations=1))
    head, image = network.visibility_head, torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps, start, _ = network.encode(image)
        output = network.refine(maps, start)
        sampled = network.encoder.sample(maps, start)
        x = network.encoder.describe(sampled)
        relational = network.non_local(x.flatten(1, 2))
        for point in (0, 40, 67):
            code = head.look.weight @ sampled[0, point] + head.local.weight @ relational[0, point] + head.local.bias
            code = torch.relu(code + head.whole.weight @ output.hidden[0] + head.place[point])
            expected = code @ head.weight[point] + head.bias[point]
            torch.testing.assert_close(output.visibility[0, point], expected)


def test_samples_of_a_map_of_columns_lie_where_the_grid_says() -> None:
    network = make_network(small_config("robust"))
    fine, middle = (torch.arange(size).float().expand(1, channels, size, size) for channels, size in ((4, 16), (6, 8)))
    sampled = network.encoder.sample((fine, middle), torch.full((1, 68, 2), 31.5))[0, 0]
    # Pixel p lies in column (p + 0.5) / stride - 0.5 of a map.
    for read, size, spacing, stride in ((sampled[: 4 * 16], 4, 4.0, 4), (sampled[4 * 16 :], 3, 10.0, 8)):
        places = (32.0 + (torch.arange(size) - (size - 1) / 2) * spacing) / stride - 0.5
        torch.testing.assert_close(read.view(-1, size, size)[:, 0], places.expand(len(read) // size**2, -1))


@pytest.mark.parametrize("changes", [{"point_heads": False}, {"encoder": "patches", "coarse_shape": False}])
def test_a_visibility_head_needs_point_heads_and_the_shared_map(changes: dict[str, Any]) -> None:
    if "encoder" in changes:
        changes = {**changes, "landmark_features": 256}
    with pytest.raises(InputError, match="visibility_width"):
        small_config("robust", visibility_width=4, **changes)

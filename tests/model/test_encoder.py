"""From pixels to landmark features: against a computation landmark by landmark."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from srn.face.patches import extract_patches
from srn.model.encoder import PATCH_SIZE, PatchEncoder, ResidualBlock, SharedMapEncoder

from .conftest import small_config


@pytest.fixture
def patch_encoder() -> PatchEncoder:
    torch.manual_seed(0)
    return PatchEncoder().eval()


def test_patches_are_encoded_landmark_by_landmark(patch_encoder: PatchEncoder, rng: np.random.Generator) -> None:
    pictures = rng.random((2, 60, 60, 3), dtype=np.float32)
    shapes = rng.uniform(-10, 70, size=(2, 5, 2))

    with torch.no_grad():
        x = patch_encoder(
            patch_encoder.prepare(torch.from_numpy(pictures).permute(0, 3, 1, 2)), torch.from_numpy(shapes).float()
        )

        assert x.shape == (2, 5, 4, 64)
        for b, n in np.ndindex(2, 5):
            patch = extract_patches(pictures[b], shapes[b, n : n + 1], 36)[0]
            features = torch.from_numpy(patch).permute(2, 0, 1)[None]
            sizes = [features.shape[-1]]
            for conv in (patch_encoder.conv1, patch_encoder.conv2, patch_encoder.conv3):
                features = torch.relu(functional.conv2d(features, conv.weight, conv.bias))
                sizes.append(features.shape[-1])
                features = functional.max_pool2d(features, 2)
                sizes.append(features.shape[-1])
            assert sizes == [36, 30, 15, 13, 6, 4, 2]
            by_position = torch.stack([features[0, :, row, column] for row in range(2) for column in range(2)])
            torch.testing.assert_close(x[b, n], by_position, atol=1e-5, rtol=1e-4)


def test_layers_of_the_papers_encoder(patch_encoder: PatchEncoder) -> None:
    sizes = {name: tuple(p.shape) for name, p in patch_encoder.named_parameters()}

    assert PATCH_SIZE == 36
    assert sizes == {
        "conv1.weight": (32, 3, 7, 7),
        "conv1.bias": (32,),
        "conv2.weight": (64, 32, 3, 3),
        "conv2.bias": (64,),
        "conv3.weight": (64, 64, 3, 3),
        "conv3.bias": (64,),
    }
    for conv in (patch_encoder.conv1, patch_encoder.conv2, patch_encoder.conv3):
        assert (conv.stride, conv.padding, conv.dilation, conv.groups) == ((1, 1), (0, 0), (1, 1), 1)


def test_patches_with_batch_norm_are_those_without_scaled_and_shifted(patch_encoder: PatchEncoder) -> None:
    """A batch norm that has seen nothing divides by sqrt(1 + eps); scale and shift are put in by hand."""
    torch.manual_seed(2)
    normed = PatchEncoder(batch_norm=True).eval()
    picture, shape = torch.rand(1, 3, 60, 60), torch.rand(1, 4, 2) * 60
    pairs = ((patch_encoder.conv1, normed.conv1, normed.norm1), (patch_encoder.conv2, normed.conv2, normed.norm2),
             (patch_encoder.conv3, normed.conv3, normed.norm3))  # fmt: skip
    for plain, conv, norm in pairs:
        assert isinstance(norm, torch.nn.BatchNorm2d)
        assert conv.bias is None
        assert plain.bias is not None
        torch.nn.init.uniform_(norm.weight, 0.5, 2.0)
        plain.weight.data = conv.weight.data * (norm.weight / (1 + norm.eps) ** 0.5).data[:, None, None, None]
        norm.bias.data = plain.bias.data
    with torch.no_grad():
        torch.testing.assert_close(normed((picture,), shape), patch_encoder((picture,), shape), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_blocks_that_keep_their_size_begin_as_the_identity(batch_norm: bool) -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 5, 8, 8)  # past a ReLU, as in the network
    same, wider = (ResidualBlock(5, channels, 1, batch_norm).eval() for channels in (5, 6))
    assert torch.equal(same(x), x)
    assert wider(x).shape == (2, 6, 8, 8)
    norms = [m for m in same.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == (2 if batch_norm else 0)
    assert (same.conv1.bias is None) == batch_norm


def test_a_patch_ends_where_it_ends(patch_encoder: PatchEncoder) -> None:
    """What lies outside the 36 x 36 pixels around a landmark changes nothing; what lies inside does."""
    torch.manual_seed(1)
    picture = torch.rand(1, 3, 80, 80)
    shape = torch.tensor([[[40.5, 39.5]]])  # pixels 23 .. 58 and 22 .. 57
    x = patch_encoder((picture,), shape)
    outside, inside = torch.zeros_like(picture), picture.clone()
    outside[:, :, 22:58, 23:59] = picture[:, :, 22:58, 23:59]
    inside[:, :, 40, 40] = 7.0

    torch.testing.assert_close(patch_encoder((outside,), shape), x)
    assert not torch.allclose(patch_encoder((inside,), shape), x)


def test_a_shared_map_has_the_strides_4_8_and_16() -> None:
    encoder = SharedMapEncoder(small_config("robust", crop_size=96)).eval()

    maps = encoder.prepare(torch.rand(2, 3, 96, 96))

    assert (maps.fine.shape, maps.middle.shape, maps.coarse.shape) == ((2, 4, 24, 24), (2, 6, 12, 12), (2, 8, 6, 6))


def test_a_shared_map_goes_without_batch_norm() -> None:
    encoder = SharedMapEncoder(small_config("robust", batch_norm=False))
    assert not [m for m in encoder.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert all(conv.bias is not None for conv in encoder.modules() if isinstance(conv, torch.nn.Conv2d))
    assert all(map(torch.isfinite, (m.sum() for m in encoder.prepare(torch.rand(1, 3, 64, 64)))))


def test_a_shared_map_is_sampled_landmark_by_landmark(rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    encoder = SharedMapEncoder(small_config("robust")).eval()
    shapes = rng.uniform(-5, 70, size=(2, 6, 2))

    with torch.no_grad():
        maps = encoder.prepare(torch.rand(2, 3, 64, 64))
        x = encoder(maps, torch.from_numpy(shapes).float())

        assert x.shape == (2, 6, 1, 8)
        for b in range(2):
            fine, middle = (m[b].permute(1, 2, 0).numpy() for m in (maps.fine, maps.middle))
            # Cell k of a map lies at the pixel (stride - 1) / 2 + k * stride.
            four = extract_patches(fine, (shapes[b] - 1.5) / 4, 4, 4.0 / 4)
            three = extract_patches(middle, (shapes[b] - 3.5) / 8, 3, 10.0 / 8)
            for n in range(6):
                read = [patch[n].reshape(-1, patch.shape[-1]).T.ravel() for patch in (four, three)]
                features = encoder.squeeze(torch.from_numpy(np.concatenate(read)))
                centered = features - features.mean()
                normal = centered / (centered.square().mean() + 1e-5).sqrt()
                expected = torch.relu(normal * encoder.norm.weight + encoder.norm.bias)
                torch.testing.assert_close(x[b, n, 0], expected, atol=1e-4, rtol=1e-4)


def test_a_landmark_moved_by_a_cell_reads_what_the_cell_beside_it_read() -> None:
    torch.manual_seed(0)
    encoder = SharedMapEncoder(small_config("robust")).eval()
    maps = encoder.prepare(torch.rand(1, 3, 64, 64))
    moved = maps._replace(fine=torch.roll(maps.fine, 2, dims=3), middle=torch.roll(maps.middle, 1, dims=3))
    shape = torch.tensor([[[30.0, 33.3]]])

    torch.testing.assert_close(encoder(moved, shape + torch.tensor([8.0, 0.0])), encoder(maps, shape))

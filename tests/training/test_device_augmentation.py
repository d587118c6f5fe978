"""Augmentation on the device and on the processor: the same pixels where nothing is random, else like distributions."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from rich.console import Console
from torch import Tensor

from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.face.geometry import CropSpec
from srn.model.checkpoint import load_tensors
from srn.synthesis.augment import augment
from srn.synthesis.config import NO_AUGMENTATION, PAPER_AUGMENTATION, AugmentConfig
from srn.training.device_augmentation import DeviceAugmentation
from srn.training.loop import Schedule, train

from .conftest import toy_config

SPEC = CropSpec(64, 44.0)
CPU = torch.device("cpu")


def batch_of(pack: FacePack, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """The pack's faces over and over, with two hidden points each."""
    index = np.arange(count) % len(pack)
    pictures = np.stack([pack.image(i) for i in range(len(pack))])[index]
    visible = torch.ones(count, 68, dtype=torch.bool)
    visible[:, [0, 40]] = False
    return torch.from_numpy(pictures).permute(0, 3, 1, 2), torch.from_numpy(pack.landmarks[index]), visible


def on_device(config: AugmentConfig, pack: FacePack, count: int, position: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    return DeviceAugmentation(SPEC, pack.scheme, config, 7, CPU)(*batch_of(pack, count), position)


def on_processor(config: AugmentConfig, pack: FacePack, count: int) -> tuple[Tensor, Tensor, Tensor]:
    hidden = np.isin(np.arange(68), [0, 40])
    faces = []
    for k in range(count):
        i, rng = k % len(pack), np.random.default_rng([3, k])
        faces.append(augment(pack.image(i), pack.landmarks[i], SPEC, pack.scheme, config, rng, occluded=hidden))
    images, landmarks, visible = (torch.from_numpy(np.stack(part)) for part in zip(*faces, strict=True))
    return images.permute(0, 3, 1, 2).float(), landmarks, visible


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_without_chance_the_pixels_and_points_are_the_same(pack: FacePack, flip: float) -> None:
    config = dataclasses.replace(NO_AUGMENTATION, flip=flip)
    (images, points, visible), (expected, places, seen) = (f(config, pack, 12) for f in (on_device, on_processor))
    assert float((images - expected).abs().max()) < 4  # OpenCV samples at 32nds of a pixel
    assert float((images - expected).abs().mean()) < 0.4
    torch.testing.assert_close(points, places, atol=1e-3, rtol=0)
    assert torch.equal(visible, seen)


def statistics(images: Tensor, points: Tensor, visible: Tensor) -> dict[str, npt.NDArray[np.float64]]:
    """One number a face for each kind of change."""
    across = points[:, 45] - points[:, 36]
    channels = images.mean((2, 3))
    values = {
        "size": torch.linalg.vector_norm(across, dim=1).log(),
        "tilt": torch.atan2(across[:, 1], across[:, 0]),
        "x": points[..., 0].mean(1),
        "y": points[..., 1].mean(1),
        "light": channels.mean(1),
        "contrast": images.std((1, 2, 3)),
        "saturation": images.std(1).mean((1, 2)),
        "grain": images.diff(dim=3).abs().median(3).values.median(2).values.mean(1),
        "seen": visible.float().mean(1),
    }
    return {name: value.double().numpy() for name, value in values.items()}


@pytest.mark.parametrize(
    "changes",
    [{}, {"color": 0.0, "sensor_noise": 0.0, "wide_rotation": 0.4, "box_shift": 0.03, "box_scale": 0.07, "grey": 0.3}],
    ids=["paper", "wider"],
)
def test_the_distributions_are_those_of_the_processor(pack: FacePack, changes: dict[str, Any]) -> None:
    config, count = dataclasses.replace(PAPER_AUGMENTATION, **changes), 480
    device, processor = (statistics(*f(config, pack, count)) for f in (on_device, on_processor))
    for name, values in device.items():
        other, error = processor[name], np.sqrt((values.var() + processor[name].var()) / count)
        rounded = {"light": 1.0, "contrast": 1.0, "grain": 0.1}.get(name, 0.01)  # grey levels, or less than a pixel
        assert abs(values.mean() - other.mean()) < 4 * error + rounded, name
        assert values.std() == pytest.approx(other.std(), rel=0.15, abs=rounded), name


def test_a_patch_hides_the_landmarks_under_it(pack: FacePack) -> None:
    config = dataclasses.replace(NO_AUGMENTATION, noise_patch=1.0)
    side = round(SPEC.face_size * config.noise_patch_size)
    images, points, visible = on_device(config, pack, 24)
    plain = on_device(NO_AUGMENTATION, pack, 24)[0]
    for image, before, shape, seen in zip(images, plain, points, visible, strict=True):
        rows, columns = np.nonzero((image != before).any(0).numpy())
        assert columns.max() - columns.min() + 1 == rows.max() - rows.min() + 1 == side
        x, y = torch.floor(shape + 0.5).T.numpy()
        under = (x >= columns.min()) & (x <= columns.max()) & (y >= rows.min()) & (y <= rows.max())
        assert under.any()
        np.testing.assert_array_equal(seen.numpy(), ~under & ~np.isin(np.arange(68), [0, 40]))


def test_the_place_in_the_stream_is_the_only_source_of_chance(pack: FacePack) -> None:
    one, again, other = (on_device(PAPER_AUGMENTATION, pack, 4, position)[0] for position in (8, 8, 12))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_what_is_drawn_face_by_face_stays_on_the_processor(pack: FacePack, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^augment_on='device': expected .*, found occluders=0.4, masks=0.25$"):
        on_device(dataclasses.replace(AugmentConfig(), blur=0, low_resolution=0), pack, 1)
    config = toy_config(augment_on="device", augmentation=AugmentConfig(masks=0.5))
    with pytest.raises(InputError, match=r"found .*masks=0\.5"):
        train(config, pack, tmp_path / "run", schedule=Schedule(device="cpu", tensorboard=False))


def test_a_run_augments_on_its_device(pack: FacePack, tmp_path: Path) -> None:
    config = toy_config(augment_on="device", augmentation=PAPER_AUGMENTATION, faces=16)
    schedule = Schedule(log_every=2, workers=0, device="cpu", precision="float32", tensorboard=False)
    runs = [
        train(config, pack, tmp_path / name, schedule=schedule, console=Console(file=io.StringIO()))
        for name in ("one", "again")
    ]
    one, again = (load_tensors(path)[0] for path in runs)
    assert all(torch.equal(tensor, again[name]) for name, tensor in one.items())

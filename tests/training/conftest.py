"""A toy to train on: twelve drawn faces and a network that takes a few milliseconds a step."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console

from srn.datasets.pack import FacePack
from srn.face.geometry import Box, CropGeometry, CropSpec
from srn.face.scheme import COFW_29, IBUG_68, LandmarkScheme
from srn.media.pictures import encode_image
from srn.model.config import preset
from srn.synthesis.config import NO_AUGMENTATION
from srn.training.config import TrainConfig
from srn.training.loop import Schedule, train

PACK_SPEC = CropSpec(size=96, face_size=48.0)


@pytest.fixture(scope="module", autouse=True)
def repeatable(one_thread: None) -> None:
    """Every test here runs on one thread."""


def ellipse(x: float, y: float, width: float, height: float, degrees: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    angles = np.deg2rad(degrees)
    return np.stack([x + width * np.cos(angles), y + height * np.sin(angles)], axis=1)


def drawn_shape() -> npt.NDArray[np.float64]:
    """(68, 2): a face of ellipses and lines about the origin, y downwards."""
    outline = ellipse(0, -0.1, 0.5, 0.6, np.linspace(180, 0, 17))
    brows = [ellipse(side * 0.25, -0.1, 0.15, 0.1, np.linspace(200, 340, 5)) for side in (-1, 1)]
    bridge = np.stack([np.zeros(4), np.linspace(-0.1, 0.1, 4)], axis=1)
    nostrils = ellipse(0, 0.12, 0.08, 0.03, np.linspace(180, 0, 5))
    left_eye = ellipse(-0.22, -0.06, 0.09, 0.04, np.array([180, 240, 300, 0, 60, 120]))
    right_eye = ellipse(0.22, -0.06, 0.09, 0.04, np.array([180, 240, 300, 0, 60, 120]))
    lips = ellipse(0, 0.28, 0.18, 0.08, np.arange(180.0, 540.0, 30.0))
    inner_lips = ellipse(0, 0.28, 0.13, 0.03, np.arange(180.0, 540.0, 45.0))
    return np.concatenate([outline, *brows, bridge, nostrils, left_eye, right_eye, lips, inner_lips])


def draw(shape: npt.NDArray[np.float64], scheme: LandmarkScheme, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    image = np.full((PACK_SPEC.size, PACK_SPEC.size, 3), rng.integers(0, 90, 3), np.uint8)
    cv2.fillPoly(image, [np.round(cv2.convexHull(shape.astype(np.float32))).astype(np.int32)], (224, 180, 150))
    for component, points, closed in scheme.contours:
        color = {"brows": (60, 40, 20), "eyes": (20, 60, 160), "mouth": (190, 30, 40)}.get(component, (120, 90, 70))
        line = np.round(shape[list(points)] * 8).astype(np.int32)
        cv2.polylines(image, [line], closed, color, 2, cv2.LINE_AA, shift=3)
    return image


def make_pack(seed: int = 0, count: int = 12, scheme: LandmarkScheme = IBUG_68) -> FacePack:
    rng = np.random.default_rng(seed)
    landmarks, parts = [], []
    for _ in range(count):
        shape = (
            drawn_shape()[: scheme.n_points] * [rng.uniform(0.85, 1.15), 1]
            + rng.normal(0, 0.005, (68, 2))[: scheme.n_points]
        )
        angle = np.deg2rad(rng.normal(0, 15))
        shape = shape @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        shape = CropGeometry.from_box(Box.around(shape), PACK_SPEC).to_crop(shape)
        landmarks.append(shape.astype(np.float32))
        parts.append(np.frombuffer(encode_image(draw(shape, scheme, rng), ".png"), np.uint8))
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    names = np.array([f"toy/{i:02d}" for i in range(count)])
    return FacePack(scheme, np.stack(landmarks), names, PACK_SPEC, np.concatenate(parts), offsets)


@pytest.fixture(scope="session")
def pack() -> FacePack:
    """Twelve drawn faces with 68 landmarks."""
    return make_pack()


@pytest.fixture(scope="session")
def other_pack() -> FacePack:
    """Twelve other faces."""
    return make_pack(seed=1)


@pytest.fixture(scope="session")
def cofw_pack() -> FacePack:
    """Faces with landmarks of another scheme."""
    return make_pack(count=3, scheme=COFW_29)


def toy_config(name: str = "robust", *, model: dict[str, Any] | None = None, **changes: Any) -> TrainConfig:
    """`toy_config("robust", faces=48)`: a run of a few steps, without augmentation."""
    sizes: dict[str, Any] = {"crop_size": 64, "face_size": 44.0, "hidden_size": 16, "region_size": 16}
    sizes["component_size"] = 12
    if name == "robust":
        sizes |= {"stem_channels": 4, "map_channels": (8, 8, 8), "landmark_features": 8}
    values: dict[str, Any] = {
        "augmentation": NO_AUGMENTATION, "faces": 48, "batch_size": 4, "learning_rate": 3e-3, "warm_up": 8,
        "validation": 2, "averaging": 0.9,
    }  # fmt: skip
    return TrainConfig(model=preset(name, **{**sizes, **(model or {})}), **{**values, **changes})


SCHEDULE = Schedule(
    log_every=2, save_every=4, validate_every=4, workers=0, device="cpu", precision="float32", tensorboard=False
)


def run(config: TrainConfig, pack: FacePack, out: Path, **options: Any) -> Path:
    """Train without a word."""
    schedule = options.pop("schedule", SCHEDULE)
    return train(config, pack, out, schedule=schedule, console=Console(file=io.StringIO()), **options)


def log_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def without_speed(folder: Path) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in ("faces_per_s", "waiting_share")} for row in log_of(folder)]

"""What an exported file says of itself is enough to use it: ONNX Runtime and NumPy follow its words."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from srn.face.ellipse import covariance
from srn.face.geometry import Box, CropGeometry, CropSpec
from srn.face.localizer import confidence_from_error
from srn.inference.runtime import OnnxLocalizer
from srn.model.config import preset
from srn.model.usage import usage

BOX = Box(31.5, 20.0, 97.25, 110.0)
POINTS = np.array([[31.5, 20.0], [64.375, 65.0], [80.0, -7.5]])


@pytest.fixture(scope="module")
def session(tiny_weights: Path) -> Any:
    return onnxruntime.InferenceSession(tiny_weights, providers=["CPUExecutionProvider"])


def follow(words: str, **values: Any) -> dict[str, Any]:
    """Compute the lines of the text that are formulas."""
    known = {name: getattr(np, name) for name in ("sqrt", "hypot", "exp", "maximum")} | values
    for line in words.splitlines():
        if match := re.fullmatch(r"(\w+) = (.*)", line):
            known[match[1]] = eval(match[2], {"__builtins__": {}}, known)
    return known


def test_the_words_give_the_packages_crop_and_confidence(session: Any, tiny_weights: Path) -> None:
    words = session.get_modelmeta().custom_metadata_map["usage"]
    error = np.array([0.0, 0.01, 0.04, 0.3], np.float32)
    x0, y0, x1, y1 = BOX.as_array()
    picture = dict(zip(("picture_x", "picture_y"), POINTS.T, strict=True))

    got = follow(words, x0=x0, y0=y0, x1=x1, y1=y1, expected_error=error, **picture)

    geometry = CropGeometry.from_box(BOX, OnnxLocalizer(tiny_weights, threads=1).crop_spec)
    np.testing.assert_allclose(np.stack([got["crop_x"], got["crop_y"]], 1), geometry.to_crop(POINTS), atol=1e-9)
    np.testing.assert_allclose(got["confidence"], confidence_from_error(error), atol=1e-6)


def test_the_words_give_the_packages_covariance() -> None:
    config = preset("robust", error_direction=True)
    words = usage(config, ["shapes", "hidden_out", "visibility", "expected_error", "error_direction"])
    error, direction = np.array([0.01, 0.04, 0.3]), np.array([[0.5, -0.2], [0.0, 0.0], [-0.1, 0.9]])
    values = {"x0": 0, "y0": 0, "x1": 10, "y1": 10, "picture_x": 5, "picture_y": 5, "expected_error": error}
    got = follow(words, **values, d1=direction[:, 0], d2=direction[:, 1])
    cov = covariance(error * config.face_size, direction)  # crop pixels^2
    for name, (i, j) in {"xx": (0, 0), "xy": (0, 1), "yy": (1, 1)}.items():
        np.testing.assert_allclose(got[f"covariance_{name}"], cov[:, i, j])


def test_the_words_name_each_input_and_output_with_its_shape(session: Any) -> None:
    words = session.get_modelmeta().custom_metadata_map["usage"]
    said = {
        name: [int(size) for size in re.findall(r"\d+", sizes)]
        for name, sizes in re.findall(r"^(\w+) \(B(.*?)\):", words, re.MULTILINE)
    }
    inputs = {value.name: value.shape[1:] for value in session.get_inputs()}
    feeds = {name: np.zeros((2, *shape), np.float32) for name, shape in inputs.items()}
    outputs = zip((value.name for value in session.get_outputs()), session.run(None, feeds), strict=True)
    assert said == inputs | {name: list(value.shape[1:]) for name, value in outputs}


def test_the_papers_network_has_neither_visibility_nor_confidence() -> None:
    config = preset("paper")
    words = usage(config, ["shapes", "hidden_out"])
    assert "visibility" not in words
    assert "confidence" not in words.lower()
    got = follow(words, x0=0, y0=0, x1=10, y1=10, picture_x=5, picture_y=5)
    assert got["crop_x"] == CropSpec(config.crop_size, config.face_size).center

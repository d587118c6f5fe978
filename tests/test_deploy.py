"""The example without the package: it gives the package's numbers, and the guide shows it as it is."""

import runpy
from pathlib import Path

import numpy as np

from srn import Box, FaceLandmarker, read_image
from srn.face.weights import find_weights

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "onnx_only.py"


def test_the_example_gives_the_points_visibility_and_confidence_of_the_package() -> None:
    image, box = read_image(ROOT / "tests" / "data" / "astronaut.jpg"), Box(73, 83, 159, 166)
    (face,) = FaceLandmarker(accuracy="fast", threads=1).detect(image, boxes=[box])
    landmarks = runpy.run_path(str(EXAMPLE))["landmarks"]
    points, visibility, confidence = landmarks(str(find_weights("robust")), image, box.as_array())
    assert face.visibility is not None
    assert face.confidence is not None
    assert np.abs(points - face.landmarks).max() < 0.05
    np.testing.assert_allclose(visibility, face.visibility, atol=1e-3)
    np.testing.assert_allclose(confidence, face.confidence, atol=1e-3)


def test_the_guide_shows_the_example_of_at_most_40_lines() -> None:
    source = EXAMPLE.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 40
    assert f"```python\n{source}```" in (ROOT / "docs" / "guide" / "deploy.md").read_text(encoding="utf-8")

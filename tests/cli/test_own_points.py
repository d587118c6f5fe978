"""Own points from annotation to detection, as `docs/guide/points.md` tells it, in small."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn.face.geometry import Box
from srn.media.pictures import write_image

pytest.importorskip("torch")
PAGE = Path(__file__).parents[2] / "docs" / "guide" / "points.md"
SMALL = (
    "batch_size=4", "validation=0", "model.crop_size=64", "model.face_size=40", "model.iterations=1",
    "model.landmark_features=8", "model.hidden_size=8", "model.region_size=8", "model.component_size=8",
    "model.stem_channels=8", "model.map_channels=8,8,8",
)  # fmt: skip


def five_of(shape: Any) -> Any:
    return np.stack([shape[36:42].mean(axis=0), shape[42:48].mean(axis=0), shape[30], shape[48], shape[54]])


@pytest.fixture
def mine(tmp_path: Path, portraits: Any) -> Path:
    """Two portraits to train with and one to test, annotated with five points, and the page's scheme."""
    folder = tmp_path / "mine"
    scheme = re.search(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert scheme is not None
    for name, some in (("train", portraits[:2]), ("test", portraits[1:2])):
        images, annotations = [], []
        for number, portrait in enumerate(some, 1):
            file = f"{name}{number}.jpg"
            write_image(folder / "images" / file, portrait.image)
            triples = [v for x, y in five_of(portrait.landmarks).tolist() for v in (x, y, 2)]
            images.append({"id": number, "file_name": file})
            annotations.append({"id": number, "image_id": number, "category_id": 1, "keypoints": triples})
        content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "face"}]}
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "scheme.toml").write_text(scheme[1])
    return folder


def test_from_annotations_to_points(srn: Callable[..., Any], mine: Path, portraits: Any, tmp_path: Path) -> None:
    checked = srn("data", "check", mine)
    assert checked.code == 0
    assert "3 faces: test 1, train 2" in checked.out
    run = tmp_path / "run"
    changes = [word for change in SMALL for word in ("--set", change)]
    settings = ("--workers", 0, "--device", "cpu", "--precision", "float32")
    trained = srn("train", mine, "--out", run, "--faces", 8, *settings, *changes)
    assert trained.code == 0, trained.err
    assert srn("export", run / "weights.safetensors", "--out", tmp_path / "five.onnx").code == 0

    boxes = {str(mine / "images" / "test1.jpg"): [Box.around(five_of(portraits[1].landmarks)).as_array().tolist()]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    common = ("--weights", tmp_path / "five.onnx", "--all")
    for words in (("--boxes", tmp_path / "boxes.json"), ()):  # without boxes the face finder finds the face
        ran = srn("detect", mine / "images" / "test1.jpg", *common, *words, "--json", tmp_path / "faces.json")
        assert ran.code == 0, ran.err
        (face,) = json.loads((tmp_path / "faces.json").read_text())["images"][0]["faces"]
        assert np.shape(face["landmarks"]) == (5, 2)
        overlap = Box(*face["box"]).iou(Box(*boxes[str(mine / "images" / "test1.jpg")][0]))
        # Even a network that has learned nothing is shown the right part of the picture, or one 1.3 times as large.
        assert overlap > 0.4
    scored = srn("evaluate", mine, "--predictions", tmp_path / "faces.json")
    assert scored.code == 0, scored.err
    assert "test" in scored.out

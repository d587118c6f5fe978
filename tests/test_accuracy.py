"""The accuracy of the shipped weights: a change of half a point does not pass unnoticed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from srn import IBUG_68, FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.evaluation.protocol import evaluate
from srn.face.metrics import interocular, nme

WEIGHTS = Path(__file__).parents[1] / "docs" / "results" / "weights.json"


def test_portraits_have_the_landmarks_that_were_checked_by_eye(robust_weights: Path, portraits: list[Any]) -> None:
    landmarker = FaceLandmarker(robust_weights, accuracy="best", threads=1)

    for portrait in portraits:
        (face,) = landmarker.detect(portrait.image)
        error = nme(face.landmarks, portrait.landmarks, interocular(portrait.landmarks, IBUG_68))
        assert error < 0.001, portrait.name


def test_a_mask_moves_the_landmarks_little_and_is_noticed(robust_weights: Path, portraits: list[Any]) -> None:
    landmarker = FaceLandmarker(robust_weights, threads=1)
    clear, _, masked = portraits

    (face,) = landmarker.detect(masked.image)

    assert nme(face.landmarks, clear.landmarks, interocular(clear.landmarks, IBUG_68)) < 0.06
    mouth = list(IBUG_68.components["mouth"])
    assert face.visibility is not None
    assert (face.visibility[mouth] < 0.5).all()


def test_sixty_test_faces_have_the_documented_error(robust_weights: Path, shared_data: Path) -> None:
    documented = json.loads(WEIGHTS.read_text(encoding="utf-8"))["table"]["300W, ground-truth box: Full"]["nme"]
    samples = open_faces(shared_data / "300W", split="test").samples
    some = [samples[index] for index in np.linspace(0, len(samples) - 1, 60).round().astype(int)]

    measured = evaluate(FaceLandmarker(robust_weights, accuracy="best", flip_average=True, threads=1), some)

    assert measured.nme == pytest.approx(documented, abs=0.001)  # 0.1 points of per cent

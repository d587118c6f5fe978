"""The pool: common batches, errors to their own callers, an orderly end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from srn.inference.face import Faces
from srn.inference.landmarker import FaceLandmarker

pytest.importorskip("fastapi", reason="the service needs FastAPI: pip install 'srn[serve]'")

from srn.serve.limits import Limits
from srn.serve.pool import BATCH_PIXELS, TOGETHER, DetectionPool, Wish


class Recorder(FaceLandmarker):
    """Notes the pictures of each batch by their first pixel; those of 13 fail."""

    def __init__(self, localizer: Any) -> None:
        super().__init__(localizer=localizer, face_finder=type("Nothing", (), {"find": lambda self, image: []})())
        self.batches: list[tuple[str, list[int]]] = []

    def detect_batch(self, images: Iterable[Any], boxes: Any = None, **options: Any) -> list[Faces]:
        numbers = [int(image[0, 0, 0]) for image in images]
        self.batches.append((self.accuracy, numbers))
        if 13 in numbers:
            raise ValueError("unlucky")
        return [Faces([]) for _ in numbers]


@pytest.fixture
def recorder(fake_localizer: Any, face: np.ndarray) -> Recorder:
    return Recorder(fake_localizer(lambda crop: (face * 60 + 47.5, None, None)))


def image(number: int, shape: Sequence[int] = (8, 8, 3)) -> np.ndarray:
    return np.full(shape, number, np.uint8)


def batches_of(recorder: Recorder, wishes: Sequence[Wish]) -> list[tuple[str, list[int]]]:
    """Submit wishes while the pool is busy with a first one, and return how the others were put together."""
    pool = DetectionPool(recorder)
    with pool._changed:  # the thread cannot take any before all are there
        pool._waiting.extend(wishes)
        pool._changed.notify()
    pool.close()
    return recorder.batches


def test_what_waits_is_detected_together(recorder: Recorder) -> None:
    wishes = [Wish(image(n), "balanced") for n in range(TOGETHER + 3) if n != 13]
    batches = batches_of(recorder, wishes)
    assert [len(numbers) for _, numbers in batches] == [TOGETHER, 2]
    assert all(wish.answer.result() == Faces([]) for wish in wishes)


def test_batches_have_one_accuracy_and_bounded_pixels(recorder: Recorder) -> None:
    side = int((BATCH_PIXELS / 2) ** 0.5) + 1
    large = [Wish(image(n, (side, side, 3)), "best") for n in (1, 2)]
    batches = batches_of(recorder, [Wish(image(0), "fast"), *large])
    assert batches == [("fast", [0]), ("best", [1]), ("best", [2])]


def test_an_error_reaches_its_own_caller_alone(recorder: Recorder) -> None:
    wishes = [Wish(image(n), "balanced") for n in (11, 12, 13, 14)]
    batches_of(recorder, wishes)
    with pytest.raises(ValueError, match="unlucky"):
        wishes[2].answer.result()
    assert [wish.answer.result() for wish in (*wishes[:2], wishes[3])] == [Faces([])] * 3


def test_who_has_gone_is_passed_over(recorder: Recorder) -> None:
    wishes = [Wish(image(n), "balanced") for n in (1, 2)]
    wishes[0].answer.cancel()
    assert batches_of(recorder, wishes) == [("balanced", [2])]


def test_a_closed_pool_takes_no_more(recorder: Recorder) -> None:
    pool = DetectionPool(recorder)
    pool.close()
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(Wish(image(0), "fast"))


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_limits_are_positive(value: float) -> None:
    from srn.errors import InputError

    with pytest.raises(InputError, match="limits: seconds: expected a number above 0"):
        Limits(seconds=value)

"""Requests that wait together are detected together: one thread, common batches."""

from __future__ import annotations

import copy
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from srn.face.geometry import ImageArray
from srn.inference.face import Faces
from srn.inference.face_boxes import BoxLike
from srn.inference.landmarker import FaceLandmarker
from srn.inference.views import Accuracy

TOGETHER = 16
"""Pictures of a batch at most."""
BATCH_PIXELS = 24_000_000
"""Pixels of a batch at most; a larger picture is alone. They bound how long a small picture waits for others."""


@dataclass(eq=False)
class Wish:
    """A picture (H, W, 3) uint8 RGB whose faces are wanted, with boxes of its own or the face finder's."""

    image: ImageArray
    accuracy: Accuracy
    boxes: Sequence[BoxLike] | None = None
    answer: Future[Faces] = field(default_factory=Future)

    @property
    def kind(self) -> tuple[Accuracy, bool]:
        """What the pictures of a batch have in common."""
        return self.accuracy, self.boxes is not None


class DetectionPool:
    """Detects pictures for many callers in one thread, those that wait in common batches.

    A batch never waits to become full: it takes what is there. An error reaches the caller of its picture alone.

    Args:
        landmarker: finds faces and landmarks; it is used by the pool's thread alone.
        batched: called with the number of pictures of each batch.
    """

    def __init__(self, landmarker: FaceLandmarker, batched: Callable[[int], object] = lambda count: None) -> None:
        landmarker.find(np.zeros((32, 32, 3), np.uint8))  # opens the face finder, which the copies share
        self._landmarkers: dict[Accuracy, FaceLandmarker] = {landmarker.accuracy: landmarker}
        self._landmarker, self._batched = landmarker, batched
        self._waiting: deque[Wish] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="srn detection", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """Count the pictures that wait."""
        return len(self._waiting)

    def submit(self, wish: Wish) -> Future[Faces]:
        """Queue a picture; the future gives its faces, or the error of its detection.

        Raises:
            RuntimeError: the pool is closed.
        """
        with self._changed:
            if self._closing:
                raise RuntimeError("the pool is closed")
            self._waiting.append(wish)
            self._changed.notify()
        return wish.answer

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()

    def _work(self) -> None:
        while (batch := self._next_batch()) is not None:
            if batch:
                self._batched(len(batch))
                self._detect(batch)
            del batch  # the memory of the pictures

    def _next_batch(self) -> list[Wish] | None:
        """Take the pictures that wait and can be detected together, except those whose callers have gone.

        None where the pool closes and nothing waits any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if not self._waiting:
                return None
            taken: list[Wish] = []
            pixels = 0
            while self._waiting and len(taken) < TOGETHER:
                first = self._waiting[0]
                pixels += first.image.shape[0] * first.image.shape[1]
                if taken and (first.kind != taken[0].kind or pixels > BATCH_PIXELS):
                    break
                taken.append(self._waiting.popleft())
        return [wish for wish in taken if wish.answer.set_running_or_notify_cancel()]

    def _detect(self, batch: Sequence[Wish]) -> None:
        try:
            found = self._faces(batch)
        except Exception as error:
            if len(batch) > 1:  # one of them cannot be detected; the others can
                for wish in batch:
                    self._detect([wish])
            else:
                batch[0].answer.set_exception(error)
            return
        for wish, faces in zip(batch, found, strict=True):
            wish.answer.set_result(faces)

    def _faces(self, batch: Sequence[Wish]) -> list[Faces]:
        accuracy, _ = batch[0].kind
        if accuracy not in self._landmarkers:
            other = copy.copy(self._landmarker)  # with the same network and face finder
            other.accuracy = accuracy
            self._landmarkers[accuracy] = other
        boxes = [wish.boxes for wish in batch if wish.boxes is not None]
        return self._landmarkers[accuracy].detect_batch([wish.image for wish in batch], boxes or None)

"""Encoder features of occluded frames: computed on demand, or once for each place."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from srn.hofs.qnet import QNet
from srn.hofs.scenes import Place, Scenes


def place_features(qnet: QNet, scenes: Scenes, places: Sequence[Place]) -> Tensor:
    """Encode the occluded frame at each place: (B, N * F), with gradient where it is enabled."""
    images, shapes = scenes.render(places)
    image = qnet.images(images)
    return qnet.features(image, torch.from_numpy(shapes).to(image.device))


class FeatureMemory:
    """Features by place for a frozen encoder, so that each place is encoded once.

    The memory is a ring of rows, as many as fit into 512 MiB if not given: when it is full, the oldest row is
    overwritten. A resumed run encodes places in other batches than the run before it, which may change the last bit of
    a feature.
    """

    def __init__(self, qnet: QNet, scenes: Scenes, rows: int | None = None, batch_size: int = 96) -> None:
        self._qnet, self._scenes, self._batch_size = qnet, scenes, batch_size
        size = qnet.config.model.scheme.n_points * qnet.config.landmark_features
        rows = rows or max(2**29 // (2 * size), 1024)
        # Half precision is enough: the head normalizes its input.
        self._features = torch.empty(rows, size, dtype=torch.float16, device=qnet.device)
        self._owners: list[Place | None] = [None] * rows
        self._rows: dict[Place, int] = {}
        self._next = 0

    @torch.no_grad()
    def __call__(self, places: Sequence[Place]) -> Tensor:
        """Get features (B, N * F), float32. A call takes at most as many places as there are rows."""
        missing = list(dict.fromkeys(place for place in places if place not in self._rows))
        if self._next + len(missing) > len(self._owners):
            # Starting over could overwrite rows that this call needs, so all of its places are encoded again.
            self._next = 0
            for place in places:
                self._forget(self._rows.get(place))
            missing = list(dict.fromkeys(places))
        for first in range(0, len(missing), self._batch_size):
            batch = missing[first : first + self._batch_size]
            self._features[self._next : self._next + len(batch)] = place_features(self._qnet, self._scenes, batch)
            for place in batch:
                self._forget(self._next)
                self._owners[self._next], self._rows[place] = place, self._next
                self._next += 1
        return self._features[[self._rows[place] for place in places]].float()

    def __len__(self) -> int:
        return len(self._rows)

    def _forget(self, row: int | None) -> None:
        if row is not None and (owner := self._owners[row]) is not None:
            del self._rows[owner]
            self._owners[row] = None

"""Encoder features of occluded frames: computed on demand, or once for each place."""

from __future__ import annotations

from collections import OrderedDict
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

    The memory has a row for each place, as many as fit into 512 MiB if not given: when it is full, the place that was
    asked for longest ago is forgotten. A resumed run encodes places in other batches than the run before it, which may
    change the last bit of a feature.
    """

    def __init__(self, qnet: QNet, scenes: Scenes, rows: int | None = None, batch_size: int = 96) -> None:
        self._qnet, self._scenes, self._batch_size = qnet, scenes, batch_size
        size = qnet.config.model.scheme.n_points * qnet.config.landmark_features
        rows = rows or max(2**29 // (2 * size), 1024)
        # Half precision is enough: the head normalizes its input.
        self._features = torch.empty(rows, size, dtype=torch.float16, device=qnet.device)
        self._rows: OrderedDict[Place, int] = OrderedDict()  # the one asked for longest ago comes first

    @torch.no_grad()
    def __call__(self, places: Sequence[Place]) -> Tensor:
        """Get features (B, N * F), float32. A call takes at most as many places as there are rows."""
        missing = []
        for place in dict.fromkeys(places):
            if place in self._rows:
                self._rows.move_to_end(place)  # so that none of this call is forgotten for another of it
            else:
                missing.append(place)
        for first in range(0, len(missing), self._batch_size):
            batch = missing[first : first + self._batch_size]
            encoded = place_features(self._qnet, self._scenes, batch)
            self._features[[self._new_row(place) for place in batch]] = encoded.to(self._features.dtype)
        return self._features[[self._rows[place] for place in places]].float()

    def __len__(self) -> int:
        return len(self._rows)

    def _new_row(self, place: Place) -> int:
        full = len(self._rows) == len(self._features)
        row = self._rows.popitem(last=False)[1] if full else len(self._rows)
        self._rows[place] = row
        return row

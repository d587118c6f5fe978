"""The reward (equation 10): the error of the frozen network on an occluded frame."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from srn.errors import InputError
from srn.face.localizer import Localizer
from srn.face.metrics import interocular
from srn.hofs.scenes import NOWHERE, Place, Scenes
from srn.inference.engines import check_choice
from srn.training.loss import MINIMAL_INTEROCULAR

RewardKind = Literal["nme", "squared", "degradation"]

_MOST_KEPT = 2_000_000
"""Errors held in memory: a long run must not grow without end, and old places hardly come again."""


class OcclusionWorld:
    """Scenes and the frozen network that is to fail on them.

    Every frame is localized on its own, so a reward depends on the place alone, and the process has the Markov
    property. A carried state would depend on all earlier places, which the agent cannot see.

    Args:
        scenes: the occluded frames.
        localizer: the frozen network; its crops must be those of the scenes.
        reward: `nme`: mean point-to-point distance over the inter-ocular distance. `squared`: eq. 10 to the letter, the
            mean squared distance over the inter-ocular distance, lengths in face units. `degradation`: the NME minus
            that of the frame without occlusion. It has the same best policy, without the spread between faces.
        batch_size: frames that the network processes at once.
    """

    def __init__(
        self, scenes: Scenes, localizer: Localizer, *, reward: RewardKind = "nme", batch_size: int = 64
    ) -> None:
        check_choice("reward", reward, RewardKind)
        for name, own, given in (
            ("landmarks", scenes.source.scheme.name, localizer.scheme.name),
            ("crops", str(scenes.source.spec), str(localizer.crop_spec)),
        ):
            if own != given:
                raise InputError.at(f"clips: {name}", f"the frozen network's {given}", own)
        self.scenes, self.localizer, self.reward, self.batch_size = scenes, localizer, reward, batch_size
        self.network_seconds = 0.0
        """Time spent inside the frozen network so far."""
        self._known: dict[Place, float] = {}

    def errors(self, places: Sequence[Place]) -> npt.NDArray[np.float64]:
        """Compute the frozen network's error at each place (B,), once for each place, in batches over all clips."""
        missing = list(dict.fromkeys(place for place in places if place not in self._known))
        if len(self._known) > _MOST_KEPT:
            self._known.clear()
            missing = list(dict.fromkeys(places))
        for first in range(0, len(missing), self.batch_size):
            batch = missing[first : first + self.batch_size]
            images, shapes = self.scenes.render(batch)
            begin = time.perf_counter()
            predicted = self.localizer(images).shapes[:, -1]
            self.network_seconds += time.perf_counter() - begin
            self._known.update(zip(batch, self._error(predicted, shapes), strict=True))
        return np.array([self._known[place] for place in places])

    def _error(self, predicted: npt.NDArray[np.float32], shapes: npt.NDArray[np.float32]) -> list[float]:
        size, scheme = self.scenes.source.spec.face_size, self.scenes.source.scheme
        distances = np.linalg.norm(predicted - shapes, axis=-1).astype(np.float64) / size  # (B, N)
        eyes = np.array([max(interocular(shape, scheme) / size, MINIMAL_INTEROCULAR) for shape in shapes])
        if self.reward == "squared":
            distances = distances**2
        return list((distances.mean(axis=1) / eyes).tolist())

    def rewards(self, places: Sequence[Place]) -> npt.NDArray[np.float64]:
        """Compute the reward of moving the patch to each place (equation 10), (B,)."""
        if self.reward != "degradation":
            return self.errors(places)
        both = self.errors([*places, *(place._replace(landmark=NOWHERE, noise_seed=0) for place in places)])
        return both[: len(places)] - both[len(places) :]

    def table(self, clip: int, noise_seed: int) -> npt.NDArray[np.float64]:
        """Compute the reward of every landmark in every frame of a clip, (T, N): the knowledge of an oracle."""
        frames, n_points = self.scenes.length(clip), self.scenes.n_points
        places = [Place(clip, t, landmark, noise_seed) for t in range(frames) for landmark in range(n_points)]
        return self.rewards(places).reshape(frames, n_points)

    def known_errors(self) -> npt.NDArray[np.float64]:
        """Give all errors computed so far, (n, 5): clip, frame, landmark, noise seed, error.

        The last bit of an error depends on the batch it was computed in, so a resumed run needs the same ones.
        """
        return np.array([(*place, error) for place, error in self._known.items()], np.float64).reshape(-1, 5)

    def keep_errors(self, table: npt.NDArray[np.float64]) -> None:
        """Keep the errors that `known_errors` gave."""
        for *address, error in table.tolist():
            self._known[Place(*map(int, address))] = error

"""The agent: a Q-net that moves an occlusion through clips, one clip or many side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from srn.errors import WeightsError
from srn.face.weights import find_weights
from srn.hofs.features import place_features
from srn.hofs.qnet import QNet, QNetConfig
from srn.hofs.scenes import ACTIONS, PAPER_PATCH_SIZE, Place, Scenes, Trajectory
from srn.model.checkpoint import load_tensors, save_tensors
from srn.model.precision import Precision

FORMAT = "srn hofs agent 1"


@dataclass
class Agent:
    """A trained policy. `patch_size` is that of its training (see `Scenes`), `batch_size` places are valued at once."""

    qnet: QNet
    patch_size: float = PAPER_PATCH_SIZE
    batch_size: int = 96

    @torch.no_grad()
    def values(self, scenes: Scenes, places: Sequence[Place]) -> npt.NDArray[np.float32]:
        """Compute Q of the occluded frame at each place, (B,)."""
        parts = [places[i : i + self.batch_size] for i in range(0, len(places), self.batch_size)]
        values = [self.qnet.value(place_features(self.qnet, scenes, part)) for part in parts]
        return torch.cat(values).float().cpu().numpy()

    def follow(
        self, scenes: Scenes, clips: Sequence[int], starts: Sequence[int], noise_seeds: Sequence[int]
    ) -> list[Trajectory]:
        """Move an occlusion through clips, given by their numbers and played side by side, without exploration.

        Each clip has its landmark before the first frame and its noise; clips may differ in length.
        """
        visited: list[list[int]] = [[] for _ in clips]
        places = [Place(clip, 0, start, noise) for clip, start, noise in zip(clips, starts, noise_seeds, strict=True)]
        lengths = [scenes.length(clip) for clip in clips]
        for frame in range(max(lengths, default=0)):
            playing = [k for k, length in enumerate(lengths) if frame < length]
            candidates = [c for k in playing for c in scenes.candidates(places[k]._replace(frame=frame))]
            best = self.values(scenes, candidates).reshape(-1, ACTIONS).argmax(axis=1)
            for row, k in enumerate(playing):
                places[k] = candidates[row * ACTIONS + int(best[row])]
                visited[k].append(places[k].landmark)
        return [np.array(landmarks, dtype=np.int64) for landmarks in visited]

    def save(
        self, path: str | os.PathLike[str], provenance: Mapping[str, str] | None = None, *, half: bool = False
    ) -> None:
        """Write the agent as safetensors, in half precision if wanted, with its description and provenance."""
        own = {"format": FORMAT, "qnet": self.qnet.config.to_json(), "patch_size": repr(self.patch_size)}
        save_tensors(path, self.qnet.state_dict(), {**(provenance or {}), **own}, half=half)

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], device: torch.device | str = "cpu", precision: Precision = "float32"
    ) -> Agent:
        """Read an agent, given by path or name (`srn weights`).

        Raises:
            WeightsError: there is none, or it does not fit its own description.
        """
        path = find_weights(path, agent=True)
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != FORMAT:
            raise WeightsError.at(path, FORMAT, metadata.get("format", "a file without a format entry"))
        qnet = QNet(QNetConfig.from_json(metadata.get("qnet", ""), path))
        try:
            qnet.load_state_dict(tensors)
            patch_size = float(metadata["patch_size"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise WeightsError.at(path, "the weights of its own description", " ".join(str(error).split())) from error
        qnet.precision = precision
        return cls(qnet.eval().to(device, memory_format=torch.channels_last), patch_size)  # type: ignore[call-overload]

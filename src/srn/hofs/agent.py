"""The agent: a Q-net that leads an occlusion through clips, alone or many clips at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from srn.errors import WeightsError
from srn.hofs.paths import Path
from srn.hofs.qnet import QNet, QNetConfig
from srn.hofs.scenes import ACTIONS, PAPER_PATCH_SIZE, Place, Scenes
from srn.model.checkpoint import load_tensors, save_tensors
from srn.model.precision import Precision

FORMAT = "srn hofs agent 1"


def candidate_features(qnet: QNet, scenes: Scenes, places: Sequence[Place]) -> Tensor:
    """What the Q-net's encoder sees at each place: (B, N * F); with gradient where it is enabled."""
    images, shapes = scenes.pictures(places)
    image = qnet.images(images)
    return qnet.features(image, torch.from_numpy(shapes).to(image.device))


@dataclass
class Agent:
    """A trained policy.

    Attributes:
        qnet: the values it goes by.
        patch_size: side of the noise patch that it was trained with, in units of the face's side.
        batch_size: candidates that the Q-net sees at once.
    """

    qnet: QNet
    patch_size: float = PAPER_PATCH_SIZE
    batch_size: int = 96

    @torch.no_grad()
    def values(self, scenes: Scenes, places: Sequence[Place]) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        """(B,): Q of each occluded frame, in batches over all clips."""
        parts = [places[i : i + self.batch_size] for i in range(0, len(places), self.batch_size)]
        values = [self.qnet.value(candidate_features(self.qnet, scenes, part)) for part in parts]
        return torch.cat(values).float().cpu().numpy()

    def follow(
        self, scenes: Scenes, clips: Sequence[int], starts: Sequence[int], noise_seeds: Sequence[int]
    ) -> list[Path]:
        """The paths (T,) that the agent takes through clips, all played side by side; no exploration.

        Args:
            scenes: where the clips come from.
            clips: numbers of the clips; they may differ in length.
            starts: the landmark before each clip's first frame.
            noise_seeds: the noise of each.
        """
        paths: list[list[int]] = [[] for _ in clips]
        places = [Place(clip, 0, start, noise) for clip, start, noise in zip(clips, starts, noise_seeds, strict=True)]
        lengths = [scenes.frames(clip) for clip in clips]
        for frame in range(max(lengths, default=0)):
            playing = [k for k, length in enumerate(lengths) if frame < length]
            candidates = [c for k in playing for c in scenes.candidates(places[k]._replace(frame=frame))]
            best = self.values(scenes, candidates).reshape(-1, ACTIONS).argmax(axis=1)
            for row, k in enumerate(playing):
                places[k] = candidates[row * ACTIONS + int(best[row])]
                paths[k].append(places[k].landmark)
        return [np.array(path, dtype=np.int64) for path in paths]

    def save(self, path: str | os.PathLike[str], provenance: Mapping[str, str] | None = None) -> None:
        """Write the agent: safetensors, with its description and where it came from inside."""
        own = {"format": FORMAT, "qnet": self.qnet.config.to_json(), "patch_size": repr(self.patch_size)}
        save_tensors(path, self.qnet.state_dict(), {**(provenance or {}), **own})

    @classmethod
    def load(
        cls, path: str | os.PathLike[str], device: torch.device | str = "cpu", precision: Precision = "float32"
    ) -> Agent:
        """Read an agent; `precision` is that of its encoder's passes.

        Raises:
            WeightsError: the file is missing, no agent's, or does not fit its own description.
        """
        tensors, metadata = load_tensors(path)
        if metadata.get("format") != FORMAT:
            raise WeightsError.at(path, FORMAT, metadata.get("format", "a file without a format entry"))
        qnet = QNet(QNetConfig.from_json(metadata.get("qnet", "")))
        try:
            qnet.load_state_dict(tensors)
            patch_size = float(metadata["patch_size"])
        except (RuntimeError, KeyError, ValueError) as error:
            raise WeightsError.at(path, "the weights of its own description", " ".join(str(error).split())) from error
        qnet.precision = precision
        return cls(qnet.eval().to(device, memory_format=torch.channels_last), patch_size)  # type: ignore[call-overload]

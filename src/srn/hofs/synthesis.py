"""Hard occluded faces, made by an agent: as clips for files, and as a step of the training stream."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from srn.errors import DataError, InputError
from srn.files import write_csv
from srn.hofs.agent import Agent
from srn.hofs.clips import ClipSource, GivenClips
from srn.hofs.scenes import Place, Scenes
from srn.media.pictures import write_image
from srn.media.pts import write_pts
from srn.synthesis.animate import MovingFace
from srn.synthesis.augment import TrainingFace

NOISE_SEEDS = 2**31


class HardClip(NamedTuple):
    """A clip with a moving occlusion.

    Attributes:
        name: of the clip.
        face: the occluded frames, their landmarks, and which of them can be seen.
        path: (T,) the landmark under the patch in each frame.
        noise_seed: the patch's noise.
    """

    name: str
    face: MovingFace
    path: Trajectory
    noise_seed: int


def occluded_clip(scenes: Scenes, clip: int, path: Trajectory, noise_seed: int) -> MovingFace:
    """A clip with the patch led along a path (T,)."""
    frames = [scenes.occluded(Place(clip, frame, landmark, noise_seed)) for frame, landmark in enumerate(path.tolist())]
    images, visible = zip(*frames, strict=True)
    return MovingFace(np.stack(images), scenes.clip(clip).landmarks.copy(), np.stack(visible))


def hard_clips(
    agent: Agent,
    source: ClipSource,
    numbers: Sequence[int],
    *,
    seed: int = 0,
    together: int = 16,
    problems: list[str] | None = None,
) -> Iterator[HardClip]:
    """Lead the occlusion through clips; where it starts and its noise depend on the seed and the clip's number alone.

    Args:
        agent: the policy.
        source: where the clips come from.
        numbers: which of them.
        seed: of starts and noise.
        together: clips that are played side by side.
        problems: gets a line for each clip that cannot be read and is left out; without it such a clip is an error.

    Raises:
        DataError: a clip cannot be read.
        InputError: the clips have another scheme or frame than the faces the agent knows.
    """
    model = agent.qnet.config.model
    if (source.scheme.name, source.spec) != (model.scheme_name, model.crop_spec):
        expected = f"{model.scheme_name} in a frame of {model.crop_spec.size} pixels"
        raise InputError.at("clips", expected, f"{source.scheme.name} in one of {source.spec.size}")
    scenes = Scenes(source, agent.patch_size, clips_kept=2 * together)
    for first in range(0, len(numbers), together):
        batch = _readable(scenes, numbers[first : first + together], problems)
        chances = [np.random.default_rng([seed, number]) for number in batch]
        starts = [int(rng.integers(scenes.n_points)) for rng in chances]
        seeds = [int(rng.integers(NOISE_SEEDS)) for rng in chances]
        for number, path, noise in zip(batch, agent.follow(scenes, batch, starts, seeds), seeds, strict=True):
            yield HardClip(f"{number:05d}", occluded_clip(scenes, number, path, noise), path, noise)


def _readable(scenes: Scenes, numbers: Sequence[int], problems: list[str] | None) -> list[int]:
    """Those of the clips that can be read."""
    found = []
    for number in numbers:
        try:
            scenes.clip(number)
        except DataError as error:
            if problems is None:
                raise
            problems.append(f"{error}; left out")
        else:
            found.append(number)
    return found


def write_clips(clips: Iterable[HardClip], out: str | os.PathLike[str]) -> Iterator[HardClip]:
    """Write clips in the layout of extracted 300VW, and give each on when it is written.

    `OUT/<clip>/imgs/000001.jpg` and `OUT/<clip>/annot/000001.pts`, and one `OUT/manifest.csv` with the landmark under
    the patch, the noise seed and each landmark's visibility, a row a frame; its columns `subset`, `stem` and `visible`
    are those of a masked set. The manifest is complete for what is written at any moment.
    """
    folder = Path(out)
    rows: list[list[object]] = []
    for clip in clips:
        for index, (image, landmarks, visible) in enumerate(zip(*clip.face, strict=True)):
            stem = f"{index + 1:06d}"
            write_image(folder / clip.name / "imgs" / f"{stem}.jpg", image, quality=95)
            write_pts(folder / clip.name / "annot" / f"{stem}.pts", landmarks)
            flags = "".join("1" if seen else "0" for seen in visible)
            rows.append([clip.name, stem, int(clip.path[index]), clip.noise_seed, flags])
        write_csv(folder / "manifest.csv", [["subset", "stem", "landmark", "seed", "visible"], *rows])
        yield clip


@dataclass(frozen=True)
class HardOcclusion:
    """An agent as a step of a training stream: hides part of the clips or faces that it is given.

    Attributes:
        agent: the policy, on the CPU (worker processes run it).
        choices: on a still there is nothing to move along, so the agent takes the best of this many random landmarks.
    """

    agent: Agent
    choices: int = 4

    def __post_init__(self) -> None:
        if self.choices < 1:
            raise InputError.at("choices", "at least 1", str(self.choices))

    def __call__(self, clip: MovingFace, rng: np.random.Generator) -> MovingFace:
        """A training clip with an occlusion that moves over it; the given one stays as it is."""
        scenes = self._scenes(clip)
        start, noise = int(rng.integers(scenes.n_points)), int(rng.integers(NOISE_SEEDS))
        return occluded_clip(scenes, 0, self.agent.follow(scenes, [0], [start], [noise])[0], noise)

    def face(self, face: TrainingFace, rng: np.random.Generator) -> TrainingFace:
        """A training face with an occlusion; the given one stays as it is."""
        scenes = self._scenes(MovingFace(face.image[None], face.landmarks[None], face.visible[None]))
        noise = int(rng.integers(NOISE_SEEDS))
        landmarks = rng.choice(scenes.n_points, min(self.choices, scenes.n_points), replace=False).tolist()
        places = [Place(0, 0, landmark, noise) for landmark in landmarks]
        image, visible = scenes.occluded(places[int(self.agent.values(scenes, places).argmax())])
        return TrainingFace(image, face.landmarks, visible)

    def _scenes(self, face: MovingFace) -> Scenes:
        model = self.agent.qnet.config.model
        expected: tuple[int, ...] = (model.crop_size, model.crop_size, 3)
        if face.images.shape[1:] != expected or face.landmarks.shape[1] != model.scheme.n_points:
            found = f"{face.images.shape[1:]} and {face.landmarks.shape[1]}"
            raise InputError.at("training faces", f"{expected} and {model.scheme.n_points} landmarks", found)
        return Scenes(GivenClips([face], model.crop_spec, model.scheme), self.agent.patch_size)

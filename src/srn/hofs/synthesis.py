"""Clips and faces that an agent occludes: for files, and in the training stream."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from srn.datasets.manifest import MANIFEST
from srn.datasets.writing import AnnotationWriter, frame_name
from srn.errors import DataError, InputError
from srn.evaluation.run_folder import KEPT_AGENT, STATE_FILE
from srn.face.geometry import CropSpec
from srn.face.localizer import Localizer
from srn.face.scheme import LandmarkScheme
from srn.files import held_folder
from srn.hofs.agent import Agent
from srn.hofs.baselines import best_trajectory, random_landmarks
from srn.hofs.clips import ClipSource, GivenClips
from srn.hofs.scenes import PAPER_PATCH_SIZE, Place, Scenes, Trajectory
from srn.hofs.world import OcclusionWorld
from srn.synthesis.animate import MovingFace
from srn.synthesis.augment import TrainingFace

NOISE_SEEDS = 2**31


class HardClip(NamedTuple):
    """A clip with a moving occlusion; `origin` is that of `ClipSource`."""

    name: str
    origin: str
    face: MovingFace
    trajectory: Trajectory
    noise_seed: int


def hard_clips(
    agent: Agent,
    source: ClipSource,
    numbers: Sequence[int],
    *,
    seed: int = 0,
    together: int = 16,
    problems: list[str] | None = None,
) -> Iterator[HardClip]:
    """Let an agent occlude clips, `together` side by side. Start and noise depend on seed and clip number alone.

    Unreadable clips are an error, or skipped where `problems` is given, which receives a line for each.

    Raises:
        DataError: a clip cannot be read.
        InputError: the clips have another scheme or crop than the agent's faces.
    """
    model = agent.qnet.config.model
    if (source.scheme.name, source.spec) != (model.scheme_name, model.crop_spec):
        expected = f"{model.scheme_name} in crops of {model.crop_spec.size} pixels"
        raise InputError.at("clips", expected, f"{source.scheme.name} in crops of {source.spec.size}")
    scenes = Scenes(source, agent.patch_size, clips_kept=2 * together)
    for first in range(0, len(numbers), together):
        batch = _readable(scenes, numbers[first : first + together], problems)
        generators = [np.random.default_rng([seed, number]) for number in batch]
        starts = [int(rng.integers(scenes.n_points)) for rng in generators]
        noises = [int(rng.integers(NOISE_SEEDS)) for rng in generators]
        trajectories = agent.follow(scenes, batch, starts, noises)
        for number, trajectory, noise in zip(batch, trajectories, noises, strict=True):
            face = scenes.occluded_clip(number, trajectory, noise)
            yield HardClip(f"{number:05d}", source.origin(number), face, trajectory, noise)


def _readable(scenes: Scenes, numbers: Sequence[int], problems: list[str] | None) -> list[int]:
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


def check_clip_folder(folder: str | os.PathLike[str]) -> None:
    """Raise `InputError` where clips were already written."""
    if (Path(folder) / MANIFEST).exists():
        raise InputError.at(folder, "an empty or new folder", "clips that were already written there")


def write_clips(clips: Iterable[HardClip], out: str | os.PathLike[str]) -> Iterator[HardClip]:
    """Write clips in the layout of extracted 300VW, and yield each once it is written.

    The files are `OUT/<clip>/imgs/000001.jpg`, `OUT/<clip>/annot/000001.pts` and one `OUT/manifest.csv` as of a masked
    set, with the landmark under the patch, the noise seed, and the photograph or the first frame of the video that the
    clip was made of (`origin`). It always covers all clips written so far.
    """
    folder = Path(out)
    writer = AnnotationWriter(folder / MANIFEST, ["subset", "stem", "landmark", "seed", "origin"])
    with held_folder(folder, "clips", (MANIFEST, "00000"), stays=False):
        for clip in clips:
            for number, (image, landmarks, visible) in enumerate(zip(*clip.face, strict=True), 1):
                row = [clip.name, frame_name(number), int(clip.trajectory[number - 1]), clip.noise_seed, clip.origin]
                writer.frame(folder / clip.name, number, image, landmarks, visible, row)
            writer.write_table()
            yield clip


@dataclass(frozen=True)
class HardOcclusion:
    """An agent in a training stream: an `Occluder` (HOFS).

    Attributes:
        agent: the policy, on the CPU, because worker processes run it.
        choices: random landmarks of a still among which the agent takes the one of the highest value.
    """

    agent: Agent
    choices: int = 4

    def __post_init__(self) -> None:
        if self.choices < 1:
            raise InputError.at("choices", "at least 1", str(self.choices))

    @classmethod
    def of_run(cls, folder: Path, agent: Path | None, *, resume: bool) -> HardOcclusion | None:
        """Open the agent of a training run: the file given at its start, or the one that its folder keeps."""
        if resume and (folder / STATE_FILE).exists():
            kept = folder / KEPT_AGENT
            if agent is not None and not kept.exists():
                raise InputError.at("--hofs", "a run that was started with an agent", "one without")
            agent = kept if kept.exists() else None
        return None if agent is None else cls(Agent.load(agent, precision="auto"))

    def keep(self, folder: Path) -> None:
        self.agent.save(folder / KEPT_AGENT)

    def __call__(self, clip: MovingFace, rng: np.random.Generator) -> MovingFace:
        scenes = self._scenes(clip)
        start, noise = int(rng.integers(scenes.n_points)), int(rng.integers(NOISE_SEEDS))
        (trajectory,) = self.agent.follow(scenes, [0], [start], [noise])
        return scenes.occluded_clip(0, trajectory, noise)

    def face(self, face: TrainingFace, rng: np.random.Generator) -> TrainingFace:
        scenes = self._scenes(_still(face))
        noise = int(rng.integers(NOISE_SEEDS))
        landmarks = rng.choice(scenes.n_points, min(self.choices, scenes.n_points), replace=False).tolist()
        places = [Place(0, 0, landmark, noise) for landmark in landmarks]
        image, visible = scenes.occluded(places[int(self.agent.values(scenes, places).argmax())])
        return TrainingFace(image, face.landmarks, visible)

    def _scenes(self, face: MovingFace) -> Scenes:
        model = self.agent.qnet.config.model
        return _scenes_of(face, model.crop_spec, model.scheme, self.agent.patch_size)


Policy = Callable[[Scenes, int, int, np.random.Generator], Trajectory]
"""(scenes of one clip, landmark before the first frame, noise seed, generator) -> the landmarks to hide, (T,)."""


def random_policy(scenes: Scenes, start: int, noise: int, rng: np.random.Generator) -> Trajectory:
    """Draw a random landmark in every frame: the paper's randomly synthesized occlusion (RSF, table 9)."""
    return random_landmarks(scenes.length(0), scenes.n_points, rng)


@dataclass(frozen=True)
class MapPolicy:
    """The best path over one map of all faces, `costs` (N,): what hiding each landmark costs on average."""

    costs: npt.NDArray[np.float64]

    def __call__(self, scenes: Scenes, start: int, noise: int, rng: np.random.Generator) -> Trajectory:
        return best_trajectory(np.repeat(self.costs[None], scenes.length(0), axis=0), start)


@dataclass(frozen=True)
class GreedyPolicy:
    """The action of the largest error in every frame: it asks the frozen network itself, and looks one step ahead."""

    localizer: Localizer

    def __call__(self, scenes: Scenes, start: int, noise: int, rng: np.random.Generator) -> Trajectory:
        world, place, visited = OcclusionWorld(scenes, self.localizer), Place(0, 0, start, noise), []
        for frame in range(scenes.length(0)):
            candidates = scenes.candidates(place._replace(frame=frame))
            place = candidates[int(world.errors(candidates).argmax())]
            visited.append(place.landmark)
        return np.array(visited, dtype=np.int64)


@dataclass(frozen=True)
class PolicyOcclusion:
    """An `Occluder` whose patch follows a policy that learns nothing: what an agent is compared with."""

    spec: CropSpec
    scheme: LandmarkScheme
    policy: Policy
    patch_size: float = PAPER_PATCH_SIZE

    def __call__(self, clip: MovingFace, rng: np.random.Generator) -> MovingFace:
        scenes = _scenes_of(clip, self.spec, self.scheme, self.patch_size)
        start, noise = int(rng.integers(scenes.n_points)), int(rng.integers(NOISE_SEEDS))
        return scenes.occluded_clip(0, self.policy(scenes, start, noise, rng), noise)

    def face(self, face: TrainingFace, rng: np.random.Generator) -> TrainingFace:
        clip = self(_still(face), rng)
        return TrainingFace(clip.images[0], face.landmarks, clip.visible[0])


def _still(face: TrainingFace) -> MovingFace:
    return MovingFace(face.image[None], face.landmarks[None], face.visible[None])


def _scenes_of(face: MovingFace, spec: CropSpec, scheme: LandmarkScheme, patch_size: float) -> Scenes:
    expected: tuple[int, ...] = (spec.size, spec.size, 3)
    if face.images.shape[1:] != expected or face.landmarks.shape[1] != scheme.n_points:
        found = f"{face.images.shape[1:]} and {face.landmarks.shape[1]}"
        raise InputError.at("training faces", f"{expected} and {scheme.n_points} landmarks", found)
    return Scenes(GivenClips([face], spec, scheme), patch_size)

"""Shared parts of the HOFS benchmarks: the frozen network, held-out clips with all their rewards, and baselines."""

from __future__ import annotations

import argparse
import csv
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from results import argument_parser
from srn.datasets.catalogue import open_faces
from srn.datasets.pack import FacePack, pack_faces
from srn.datasets.sample import Sample
from srn.errors import InputError
from srn.face.localizer import Localizer
from srn.face.scheme import IBUG_68
from srn.files import write_json
from srn.hofs.baselines import (
    Rewards,
    best_trajectory,
    full_search,
    greedy_trajectory,
    random_landmarks,
    random_walk,
    trajectory_reward,
)
from srn.hofs.clips import ClipSource, GivenClips, cropped
from srn.hofs.run import network_digest
from srn.hofs.scenes import NOWHERE, Place, Scenes, Trajectory
from srn.hofs.world import OcclusionWorld
from srn.media.pictures import read_image
from srn.media.pts import read_pts
from srn.model.export import load_weights
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork

FACES = 40
"""Test faces of 300W that are animated, spread evenly over Common and Challenging."""
STARTS = 2
"""Starting landmarks of each test clip."""
DRAWS = 25
"""Random trajectories for each start."""
NOISE = 0
"""Noise seed of the test clips."""

WALK, BEST = "random walk", "best path"
"""Names of the two baselines between which a policy is placed."""

Policy = Callable[[int, Rewards, int], Trajectory]
"""(clip, its rewards (T, N), landmark before the first frame) -> trajectory (T,)."""


@dataclass(frozen=True)
class Study:
    """What all HOFS benchmarks start from.

    Attributes:
        network: the frozen network.
        localizer: computes the rewards, as in the training of agents.
        pack: faces to train agents on.
        samples: 300W's test faces.
        held_out: some of them, to animate.
    """

    network: StructuralRelationNetwork
    localizer: Localizer
    pack: FacePack
    samples: list[Sample]
    held_out: FacePack


def study_parser(description: str | None) -> argparse.ArgumentParser:
    """Make a parser with the options of every HOFS benchmark."""
    parser = argument_parser(description)
    parser.add_argument("data", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="of the frozen network")
    parser.add_argument("--work", type=Path, required=True, help="folder that keeps agents and rewards")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--note", default="", help="sentence for the page")
    return parser


def open_study(arguments: argparse.Namespace) -> Study:
    """Open the files that the options of `study_parser` name, and set the number of threads."""
    torch.set_num_threads(arguments.threads)
    network, _ = load_weights(arguments.weights)
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    localizer = TorchLocalizer(network, arguments.weights.name, precision="auto")
    samples = open_faces(arguments.data / "300W", split="test").samples
    held_out, _ = pack_faces([samples[i] for i in np.linspace(0, len(samples) - 1, FACES).astype(int)])
    pack = FacePack.load(arguments.pack)
    _keep_facts(arguments.work, {"weights": network_digest(network), "faces": [pack.digest(), held_out.digest()]})
    return Study(network, localizer, pack, samples, held_out)


def _keep_facts(work: Path, facts: dict[str, Any]) -> None:
    """Write what a folder of kept results is about; raise `InputError` where that is something else."""
    path = work / "study.json"
    if not path.exists():
        write_json(path, facts)
    elif json.loads(path.read_text(encoding="utf-8")) != facts:
        raise InputError.at("--work", "a new folder, or one of the same weights and faces", str(work))


@dataclass(frozen=True)
class KnownClips:
    """Held-out clips with the frozen network's errors at every place.

    Attributes:
        name: name of the set.
        scenes: renders the clips.
        starts: landmarks before the first frame, for each clip.
        tables: (T, N) rewards of each clip.
        clean: (T,) errors of each clip without occlusion.
    """

    name: str
    scenes: Scenes
    starts: list[list[int]]
    tables: list[Rewards]
    clean: list[npt.NDArray[np.float64]]

    @property
    def identity(self) -> str:
        """Source and number of the clips: results of other clips are kept apart."""
        return f"{self.scenes.source.name}, {len(self.tables)}"


def short_hash(text: str) -> str:
    """Return a short hash of a text for the name of a file that is kept."""
    return f"{zlib.crc32(text.encode()):08x}"


def known_clips(name: str, source: ClipSource, count: int, localizer: Localizer, work: Path) -> KnownClips:
    """Compute the rewards of the first clips of a source; each clip's are kept in `work`, under the source's name."""
    world = OcclusionWorld(Scenes(source, clips_kept=count), localizer)
    known = KnownClips(name, world.scenes, [], [], [])
    for number in range(min(count, len(source))):
        path = work / "tables" / f"{name}_{number:03d}_{short_hash(source.name)}.npz"
        if path.exists():
            with np.load(path) as kept:
                table, clean = kept["table"], kept["clean"]
        else:
            table = world.table(number, NOISE)
            clean = world.errors([Place(number, frame, NOWHERE, 0) for frame in range(len(table))])
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, table=table, clean=clean)
            print(f"{path.name}: clean {clean.mean():.4f}, mean over landmarks {table.mean():.4f}", flush=True)
        known.tables.append(table)
        known.clean.append(clean)
        known.starts.append(np.random.default_rng([7, number]).integers(table.shape[1], size=STARTS).tolist())
    return known


def youtube_clips(folder: Path, network: StructuralRelationNetwork, count: int) -> GivenClips:
    """Read sequences of three labelled frames, spread evenly over the folder."""
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sequences: dict[str, list[str]] = {}
    for row in rows:
        sequences.setdefault(row["sequence"], []).append(row["stem"])
    names = sorted(sequences)
    chosen = [names[index] for index in np.linspace(0, len(names) - 1, count).astype(int)]
    clips = []
    for stems in (sequences[name] for name in chosen):
        images = [read_image(folder / f"{stem}.jpg") for stem in stems]
        landmarks = np.stack([read_pts(folder / f"{stem}.pts") for stem in stems])
        clips.append(cropped(images, landmarks, network.config.crop_spec))
    return GivenClips(clips, network.config.crop_spec, IBUG_68, f"youtube_faces, {' '.join(chosen)}")


# --- policies


def clip_rewards(clips: KnownClips, policy: Policy, draws: int = 1) -> list[float]:
    """Compute the mean reward of each clip, over its starts and `draws` calls of the policy for each."""
    return [
        float(np.mean([trajectory_reward(table, policy(k, table, start)) for start in starts for _ in range(draws)]))
        for k, (table, starts) in enumerate(zip(clips.tables, clips.starts, strict=True))
    ]


def walk_policy(rng: np.random.Generator) -> Policy:
    """Make the policy of random actions."""
    return lambda _, table, start: random_walk(len(table), table.shape[1], start, rng)


def map_policy(clips: KnownClips) -> Policy:
    """Make the policy that knows the mean reward of each landmark in the other clips, and nothing of the face."""

    def policy(clip: int, table: Rewards, start: int) -> Trajectory:
        mean = np.mean([t.mean(axis=0) for k, t in enumerate(clips.tables) if k != clip], axis=0)
        return best_trajectory(np.repeat(mean[None], len(table), axis=0), start)

    return policy


def baselines(clips: KnownClips) -> dict[str, list[float]]:
    """Compute the mean reward of each clip under every policy that needs no learning."""
    rng = np.random.default_rng(11)
    with_rewards: dict[str, Callable[[Rewards, int], Trajectory]] = {
        "greedy oracle, one step": greedy_trajectory,
        "best path, gamma 0.9": partial(best_trajectory, discount=0.9),
        BEST: best_trajectory,
        "full search, 68 places": lambda table, _: full_search(table),
    }
    return {
        "no occlusion": [float(clean.mean()) for clean in clips.clean],
        "random landmark (RSF)": clip_rewards(
            clips, lambda _, table, __: random_landmarks(len(table), table.shape[1], rng), DRAWS
        ),
        WALK: clip_rewards(clips, walk_policy(rng), DRAWS),
        **{
            name: clip_rewards(clips, lambda _, table, start, oracle=oracle: oracle(table, start))  # type: ignore[misc]
            for name, oracle in with_rewards.items()
        },
    }


def reached(value: float, walk: float, best: float) -> float:
    """Give the share of the way from the random walk to the best trajectory of actions."""
    return (value - walk) / (best - walk)

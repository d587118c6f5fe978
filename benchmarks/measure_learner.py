"""Compare variants of the agent's learner on the same experience; write `docs/results/hofs_learner.md`.

    python benchmarks/measure_learner.py DATA PACK --weights WEIGHTS --work RUNS [--seeds 3]

DATA, PACK and WEIGHTS are as in `measure_hofs.py`. Experience is played once, at random, and all learners learn from
it. So a variant costs a minute, and variants differ in their one change alone. The influence of an agent on its own
experience is left out. RUNS keeps the frozen network's errors on the test clips.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from hofs_clips import (
    NOISE,
    KnownClips,
    Policy,
    clip_rewards,
    known_clips,
    map_policy,
    open_study,
    reached,
    study_parser,
    walk_policy,
)
from results import markdown_page, markdown_table, program, provenance, write_results
from srn.hofs.baselines import best_trajectory, greedy_trajectory
from srn.hofs.clips import AnimatedClips
from srn.hofs.config import AgentConfig
from srn.hofs.features import place_features
from srn.hofs.learner import Learner, new_qnet
from srn.hofs.qnet import QNet
from srn.hofs.scenes import ACTIONS, Place, Scenes, Trajectory, next_landmark
from srn.hofs.world import OcclusionWorld
from srn.model.network import StructuralRelationNetwork

LETTER: dict[str, Any] = {
    "target_every": 0, "double_q": False, "dropout": 0.0, "loss": "squared", "clip_end": "terminal",
}  # fmt: skip
RAW = "the same, values in units of the error"
VARIANTS: dict[str, dict[str, Any]] = {
    "the default": {},
    "no double Q": {"double_q": False},
    "no target network, no double Q": {"target_every": 0, "double_q": False},
    "no dropout": {"dropout": 0.0},
    "squared loss": {"loss": "squared"},
    "a clip's end ends the return": {"clip_end": "terminal"},
    "gamma 0: the next step alone": {"discount": 0.0},
    "eq. 12 to the letter": LETTER,
    RAW: LETTER,
}
"""Changes of the recipe. In RAW the head has no unit of its own."""

STEP = 4
"""Trajectories start from every fourth landmark."""


def all_features(qnet: QNet, clips: KnownClips) -> list[list[Tensor]]:
    """Encode every place: features (N, F) of each frame of each clip, in half precision."""
    with torch.no_grad():
        return [
            [
                place_features(qnet, clips.scenes, [Place(clip, frame, k, NOISE) for k in range(table.shape[1])]).half()
                for frame in range(len(table))
            ]
            for clip, table in enumerate(clips.tables)
        ]


def greedy_in(values: Sequence[npt.NDArray[np.float32]]) -> Policy:
    """Make the policy of an agent with the values (T, N) of each clip."""

    def policy(clip: int, _: npt.NDArray[np.float64], start: int) -> Trajectory:
        trajectory = []
        for row in values[clip]:
            candidates = [next_landmark(start, action, len(row)) for action in range(ACTIONS)]
            start = candidates[int(np.argmax(row[candidates]))]
            trajectory.append(start)
        return np.array(trajectory)

    return policy


def played(config: AgentConfig, world: OcclusionWorld, network: StructuralRelationNetwork) -> Learner:
    """Play all of the experience at random."""
    player = Learner(config, world, new_qnet(config, network))
    while player.transitions < config.transitions:
        player.play()
        if player.rounds % 50 == 0:
            print(f"{player.transitions} transitions", flush=True)
    return player


def learned(config: AgentConfig, player: Learner, network: StructuralRelationNetwork, updates: int, raw: bool) -> QNet:
    """Learn from the experience of another learner."""
    learner = Learner(config, player.world, new_qnet(config, network), player.memory)
    learner.replay = player.replay
    learner.learn()
    if raw:
        last = learner.qnet.head[-1]
        assert isinstance(last, nn.Linear)
        learner.qnet.start_from(float((last.bias * learner.qnet.scale).detach()), 1.0)
    for _ in range(updates - 1):
        learner.learn()
    return learner.qnet


def measure(arguments: argparse.Namespace) -> tuple[list[list[str]], list[str]]:
    """Run the study; give the table's rows and the notes."""
    study = open_study(arguments)
    source = AnimatedClips(study.held_out, study.network.config.crop_spec, arguments.test_frames, seed=1)
    clips = known_clips("animated", source, arguments.test_clips, study.localizer, arguments.work)
    starts = list(range(0, clips.scenes.n_points, STEP))
    clips = dataclasses.replace(clips, starts=[starts] * len(clips.tables))
    base = AgentConfig(
        transitions=arguments.transitions, warm_up=arguments.transitions, replay="single-queue",
        capacity=arguments.transitions, train_encoder=False, precision="auto",
    )  # fmt: skip
    count = arguments.transitions // arguments.frames
    training = AnimatedClips(study.pack, study.network.config.crop_spec, arguments.frames, seed=0, count=count)
    player = played(base, OcclusionWorld(Scenes(training), study.localizer, reward=base.reward), study.network)
    features = all_features(player.qnet, clips)
    walk = float(np.mean(clip_rewards(clips, walk_policy(np.random.default_rng(0)), 10)))
    best = float(np.mean(clip_rewards(clips, lambda _, table, start: best_trajectory(table, start))))

    def way(policy: Policy) -> float:
        return reached(float(np.mean(clip_rewards(clips, policy))), walk, best)

    rows = [
        ["greedy oracle, one step", f"{way(lambda _, table, start: greedy_trajectory(table, start)):.0%}"],
        ["best path over the mean cost of each landmark in the other clips", f"{way(map_policy(clips)):.0%}"],
    ]
    for name, changes in VARIANTS.items():
        ways = []
        for seed in range(arguments.seeds):
            config = dataclasses.replace(base, **changes, seed=seed)
            qnet = learned(config, player, study.network, arguments.updates, name == RAW)
            with torch.no_grad():
                values = [torch.stack([qnet.value(f.float()) for f in frames]).numpy() for frames in features]
            ways.append(way(greedy_in(values)))
        spread = f" +- {np.std(ways, ddof=1) * 100:.0f}" if len(ways) > 1 else ""
        rows.append([name, f"{np.mean(ways) * 100:.0f}{spread}%"])
        print(*rows[-1], flush=True)
    notes = [
        f"Every learner trains the head alone, on the same {arguments.transitions} transitions of random walks in "
        f"{count} clips of {arguments.frames} frames.",
        f"`reached`: share of the way from a random walk to the best path, on {len(clips.tables)} animated clips of "
        f"test faces from {len(starts)} starts each; mean and standard deviation over {arguments.seeds} seeds.",
    ]
    return rows, notes


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    result = study_parser(__doc__)
    result.add_argument("--transitions", type=int, default=9216)
    result.add_argument("--frames", type=int, default=2, help="of the clips to learn from")
    result.add_argument("--updates", type=int, default=1200)
    result.add_argument("--test-clips", type=int, default=16)
    result.add_argument("--test-frames", type=int, default=16)
    return result


def run(options: argparse.Namespace) -> None:
    """Measure, and write the page."""
    rows, notes = measure(options)
    content = {**provenance(options.threads), "weights": options.weights.name}
    notes += [options.note] if options.note else []
    page = markdown_page("HOFS: variants of the learner", content, notes, markdown_table(("learner", "reached"), rows))
    write_results(options.out, "hofs_learner", None, page)


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

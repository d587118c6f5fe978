"""Measure the agents of HOFS against baselines; write `docs/results/hofs.md`, `hofs.json` and two pictures.

    python benchmarks/measure_hofs.py DATA PACK --weights WEIGHTS --work RUNS [--transitions 2400] [--seeds 3]

DATA holds `300W`, whose test faces are animated, and the real videos `CK_plus` and `youtube_faces`; all three are for
tests only. PACK holds the training faces (`srn data pack`). RUNS keeps agents and rewards. So an interrupted command
can be repeated, also with more transitions. `--fine-tune FACES` adds table 9 in small.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from hofs_clips import (
    NOISE,
    STARTS,
    WALK,
    KnownClips,
    Study,
    baselines,
    known_clips,
    open_study,
    short_hash,
    study_parser,
    youtube_clips,
)
from hofs_page import page, plot_heat_maps, plot_learning
from hofs_table9 import ARMS, table_9
from results import program, provenance, write_results
from srn.datasets.pack import mean_shape
from srn.datasets.three_hundred_vw import read_300vw
from srn.evaluation.run_folder import AGENT_FILE, LOG_FILE
from srn.evaluation.statistics import ratio_intervals
from srn.files import write_json
from srn.hofs.agent import Agent
from srn.hofs.baselines import trajectory_reward
from srn.hofs.clips import AnimatedClips, ClipSource, RecordedClips
from srn.hofs.config import AgentConfig
from srn.hofs.run import train_agent
from srn.model.network import StructuralRelationNetwork

CURVE_STARTS = 1
"""Starts of each clip for the learning curve and its baselines."""

TO_THE_LETTER = {
    "lanes": 1, "updates": 1, "loss": "squared", "dropout": 0.0, "clip_end": "terminal", "target_every": 0,
    "double_q": False,
}  # fmt: skip
"""Of equations 11 and 12 (`AgentConfig`)."""

VARIANTS: dict[str, dict[str, Any]] = {
    "multi-queue": {},
    "single-queue": {"replay": "single-queue"},
    "random-start": {"pretrained": False},
    "single-q": {"double_q": False},
    "no-target": {"target_every": 0},
    "no-dropout": {"dropout": 0.0},
    "clip-ends": {"clip_end": "terminal"},
    "squared-loss": {"loss": "squared"},
    "nme": {"reward": "nme"},
    "trained-encoder": {"train_encoder": True},
    "paper's multi-queue": {**TO_THE_LETTER, "replay": "multi-queue"},
    "paper's single-queue": {**TO_THE_LETTER, "replay": "single-queue"},
}


def follow(agent: Agent, clips: KnownClips, starts: int = STARTS) -> tuple[list[float], npt.NDArray[np.int64]]:
    """Give the mean reward of each clip, and the visits of each landmark (N,)."""
    numbers = [number for number in range(len(clips.tables)) for _ in range(starts)]
    first = [start for some in clips.starts for start in some[:starts]]
    trajectories = agent.follow(clips.scenes, numbers, first, [NOISE] * len(numbers))
    rewards = [trajectory_reward(clips.tables[k], path) for k, path in zip(numbers, trajectories, strict=True)]
    visits = np.bincount(np.concatenate(trajectories), minlength=clips.scenes.n_points)
    return np.array(rewards).reshape(-1, starts).mean(axis=1).tolist(), visits


def train_and_follow(
    config: AgentConfig, source: ClipSource, network: StructuralRelationNetwork, run: Path, sets: Sequence[KnownClips],
    points: int,
) -> dict[str, Any]:  # fmt: skip
    """Train an agent in stretches; measure it on the first set after each, and on all sets at the end."""
    told = short_hash("; ".join(clips.identity for clips in sets))
    curve_path, final_path = run / f"curve_{told}.json", run / f"final_{config.transitions}_{told}.json"
    curve: dict[str, list[float]] = json.loads(curve_path.read_text()) if curve_path.exists() else {}
    for mark in (round(config.transitions * (k + 1) / points) for k in range(points)):
        stretch = dataclasses.replace(config, transitions=mark)
        path = train_agent(stretch, source, network, run, resume=True, save_every=20)
        if str(mark) not in curve:
            curve[str(mark)] = follow(Agent.load(path, precision="auto"), sets[0], CURVE_STARTS)[0]
            write_json(curve_path, curve)
            print(f"{run.name}: {mark} transitions, reward {np.mean(curve[str(mark)]):.4f}", flush=True)
    if not final_path.exists():
        agent = Agent.load(run / AGENT_FILE, precision="auto")
        final = {clips.name: follow(agent, clips) for clips in sets}
        write_json(final_path, {n: {"rewards": r, "visits": visits.tolist()} for n, (r, visits) in final.items()})
    with (run / LOG_FILE).open(newline="") as file:
        log = list(csv.DictReader(file))
    speed = {name: float(np.median([float(r[name]) for r in log])) for name in ("transitions_per_s", "network_share")}
    return {"curve": curve, "final": json.loads(final_path.read_text()), **speed}


def open_sets(options: argparse.Namespace, study: Study) -> list[KnownClips]:
    """Open the test clips with all their rewards: animated faces first, then real videos."""
    spec, frames, real = study.network.config.crop_spec, options.frames, options.real_clips
    videos, _ = read_300vw(options.data / "CK_plus")
    beginnings = [dataclasses.replace(v, numbers=v.numbers[:frames], landmarks=v.landmarks[:frames]) for v in videos]
    sources: dict[str, tuple[ClipSource, int]] = {
        "animated": (AnimatedClips(study.held_out, spec, frames, seed=1), options.test_clips),
        "CK_plus": (RecordedClips(beginnings, spec, frames), min(real, len(videos))),
        "youtube_faces": (youtube_clips(options.data / "youtube_faces", study.network, real), real),
    }
    return [
        known_clips(name, source, count, study.localizer, options.work) for name, (source, count) in sources.items()
    ]


def measure(options: argparse.Namespace, study: Study, sets: Sequence[KnownClips]) -> dict[str, Any]:
    """Train and measure all agents; give the content of the JSON file."""
    spec = study.network.config.crop_spec
    source = AnimatedClips(study.pack, spec, options.training_frames, seed=0, count=options.training_clips)
    base = AgentConfig(
        transitions=options.transitions, learning_rate=options.learning_rate, updates=options.updates,
        train_encoder=False, precision="auto",
    )  # fmt: skip
    variants: dict[str, list[dict[str, Any]]] = {name: [] for name in options.variants}
    for name in options.variants:
        for seed in range(options.seeds):
            config = dataclasses.replace(base, **{**VARIANTS[name], "seed": seed})
            run = options.work / f"{name}-{seed}"
            variants[name].append(train_and_follow(config, source, study.network, run, sets, options.points))
    rewards = {clips.name: baselines(clips) for clips in sets}
    found = np.mean([run["final"]["animated"]["rewards"] for run in variants[options.variants[0]]], axis=0)
    gain = (found - np.array(rewards["animated"][WALK])) * 100
    (interval,) = ratio_intervals(gain[None], np.ones((1, len(gain))))
    of_curve = dataclasses.replace(sets[0], starts=[some[:CURVE_STARTS] for some in sets[0].starts])
    return {
        **provenance(options.threads),
        "weights": options.weights.name,
        "note": options.note,
        "name": options.name,
        "seeds": list(range(options.seeds)),
        "transitions": options.transitions,
        "training": source.name,
        "config": base.to_dict(),
        "sets": {
            name: {policy: {"mean": float(np.mean(values)), "clips": len(values)} for policy, values in rows.items()}
            for name, rows in rewards.items()
        },
        "levels_of_the_curve": {name: float(np.mean(values)) for name, values in baselines(of_curve).items()},
        "variants": variants,
        "paired": f"{gain.mean():+.3f} [{interval.low:+.3f}, {interval.high:+.3f}] points of %",
    }


def plot(options: argparse.Namespace, study: Study, clips: KnownClips, content: dict[str, Any]) -> None:
    """Plot the learning curve, the places of the agents, and the costs of the landmarks."""
    runs = content["variants"][options.variants[0]]
    visits = np.sum([run["final"]["animated"]["visits"] for run in runs], axis=0)
    costs = [(table - clean[:, None]).mean(axis=0) for table, clean in zip(clips.tables, clips.clean, strict=True)]
    maps = {
        "places of the agent\n(share of frames, %)": visits / visits.sum() * 100,
        "cost of hiding a landmark\n(NME, points of %)": np.mean(costs, axis=0) * 100,
    }
    options.out.mkdir(parents=True, exist_ok=True)
    plot_heat_maps(mean_shape(study.pack), maps, options.out / f"{options.name}_heat_map.png")
    plot_learning(content, options.out / f"{options.name}_learning.png")


def parser() -> argparse.ArgumentParser:
    """Make the parser of the command."""
    result = study_parser(__doc__)
    result.add_argument("--transitions", type=int, default=2400)
    result.add_argument("--frames", type=int, default=16, help="of the test clips")
    result.add_argument("--training-frames", type=int, default=8, help="short clips show more faces")
    result.add_argument("--training-clips", type=int, default=3000)
    result.add_argument("--test-clips", type=int, default=10)
    result.add_argument("--real-clips", type=int, default=8, help="of each of the two sets of real videos")
    result.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["multi-queue"])
    result.add_argument("--learning-rate", type=float, default=1e-4)
    result.add_argument("--updates", type=int, default=2)
    result.add_argument("--points", type=int, default=3, help="of the learning curve")
    result.add_argument("--fine-tune", type=int, default=0, metavar="FACES")
    result.add_argument("--arm-seeds", type=int, default=0, help="runs of each arm; as many as --seeds if left out")
    result.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="of table 9")
    result.add_argument("--name", default="hofs", help="of the files that are written")
    return result


def run(options: argparse.Namespace) -> None:
    """Measure, and write the page."""
    study = open_study(options)
    sets = open_sets(options, study)
    content = measure(options, study, sets)
    if options.fine_tune:
        runs = [options.work / f"{options.variants[0]}-{seed}" for seed in range(options.seeds)]
        agents = [Agent.load(run / AGENT_FILE, precision="auto") for run in runs]
        content["table_9"] = table_9(
            study, agents, options.data / "occluders" / "masks", options.work,
            faces=options.fine_tune, seeds=options.arm_seeds or options.seeds, arms=options.arms,
        )  # fmt: skip
    plot(options, study, sets[0], content)
    write_results(options.out, options.name, content, page(content))


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

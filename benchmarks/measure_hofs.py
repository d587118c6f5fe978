"""Measure the agents of HOFS against the baselines, and write `docs/results/hofs.md`, `hofs.json` and two pictures.

    python tools/measure_hofs.py DATA PACK --weights WEIGHTS --work RUNS [--transitions 2400] [--seeds 3]

DATA: a folder with `300W`, whose test faces are brought to life, and `CK_plus` and `youtube_faces`, real videos; all
three only to test on. PACK: the training faces, a pack of `srn data pack`. RUNS keeps the agents and what the oracles
know, so that the command can be interrupted, given again, and given a larger --transitions. --fine-tune FACES adds
table 9 in small.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import datetime
import itertools
import json
import platform
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from results import commit

from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.pack import FacePack, mean_shape, pack_faces
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_vw import read_300vw
from srn.evaluation.protocol import evaluate
from srn.evaluation.statistics import ratio_intervals
from srn.face.localizer import Localizer
from srn.face.metrics import interocular
from srn.face.scheme import IBUG_68
from srn.files import write_atomically
from srn.hofs.agent import Agent
from srn.hofs.baselines import (
    best_trajectory,
    full_search,
    greedy_trajectory,
    random_landmarks,
    random_walk,
    trajectory_reward,
)
from srn.hofs.clips import AnimatedClips, ClipSource, GivenClips, RecordedClips, cropped
from srn.hofs.config import AgentConfig
from srn.hofs.run import LOG_FILE, train_agent
from srn.hofs.scenes import NOWHERE, Place, Scenes
from srn.hofs.synthesis import HardOcclusion, occluded_clip
from srn.hofs.world import OcclusionWorld
from srn.media.pictures import read_image
from srn.media.pts import read_pts
from srn.model.checkpoint import adapted
from srn.model.export import load_weights
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.animate import animate_placed
from srn.synthesis.config import RANDOM_PATCH_MOTION, UNOCCLUDED_MOTION, MotionConfig
from srn.synthesis.masked import DRAWN, MIXED, mask_samples
from srn.synthesis.wardrobe import MaskWardrobe

OUT = Path(__file__).parents[1] / "docs" / "results"
FACES = 40
"""Test faces of 300W, spread evenly over Common and Challenging."""
STILLS = 170
"""Test faces of 300W that get masks for table 9, about so many, spread evenly."""
STARTS = 2
"""Starting landmarks of each test clip."""
CURVE_STARTS = 1
"""Of them for the learning curve, and for the lines that it is drawn beside."""
NOISE = 0
"""The noise of the test clips."""

ARMS = ["w/o OFA", "RSF", "HOFS", "RSF + HOFS"]
"""Ways to fine-tune (table 9)."""

VARIANTS: dict[str, dict[str, Any]] = {
    "multi-queue": {},
    "single-queue": {"replay": "single-queue"},
    "random-start": {"pretrained": False},
    "single-q": {"double_q": False},
    "no-target": {"double_q": False, "target_every": 0},
    "no-dropout": {"dropout": 0.0},
    "clip-ends": {"clip_end": "terminal"},
    "squared-loss": {"loss": "squared"},
    "nme": {"reward": "nme"},
    "trained-encoder": {"train_encoder": True},
}


@dataclasses.dataclass
class TestSet:
    """Clips with everything an oracle knows about them: `tables` (T, N) and `clean` (T,) errors of each clip."""

    name: str
    scenes: Scenes
    starts: list[list[int]]
    tables: list[npt.NDArray[np.float64]]
    clean: list[npt.NDArray[np.float64]]


def youtube_clips(folder: Path, network: StructuralRelationNetwork, count: int) -> GivenClips:
    """Sequences of three labelled frames, spread evenly over the folder's."""
    with (folder / "manifest.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    sequences: dict[str, list[str]] = {}
    for row in rows:
        sequences.setdefault(row["sequence"], []).append(row["stem"])
    names = sorted(sequences)
    chosen = [names[i] for i in np.linspace(0, len(names) - 1, count).astype(int)]
    clips = []
    for name in chosen:
        images = [read_image(folder / f"{stem}.jpg") for stem in sequences[name]]
        landmarks = np.stack([read_pts(folder / f"{stem}.pts") for stem in sequences[name]])
        clips.append(cropped(images, landmarks, network.config.crop_spec))
    return GivenClips(clips, network.config.crop_spec, IBUG_68, "youtube_faces")


def make_test_set(name: str, source: ClipSource, count: int, localizer: Localizer, work: Path) -> TestSet:
    """Ask the frozen network about every landmark of every frame; kept in `work` clip by clip."""
    world = OcclusionWorld(Scenes(source, clips_kept=count), localizer)
    tables, clean, starts = [], [], []
    for number in range(min(count, len(source))):
        path = work / "tables" / f"{name}_{number:03d}_{len(world.scenes.clip(number).images)}.npz"
        if path.exists():
            with np.load(path) as kept:
                table, alone = kept["table"], kept["clean"]
        else:
            table = world.table(number, NOISE)
            alone = world.errors([Place(number, frame, NOWHERE, 0) for frame in range(len(table))])
            path.parent.mkdir(parents=True, exist_ok=True)
            np.savez(path, table=table, clean=alone)
            print(f"{path.name}: clean {alone.mean():.4f}, mean over landmarks {table.mean():.4f}", flush=True)
        tables.append(table)
        clean.append(alone)
        starts.append(np.random.default_rng([7, number]).integers(table.shape[1], size=STARTS).tolist())
    return TestSet(name, world.scenes, starts, tables, clean)


def follow(agent: Agent, test: TestSet, starts: int = STARTS) -> tuple[list[float], npt.NDArray[np.int64]]:
    """Mean reward of each clip, and how often each landmark was hidden (N,)."""
    clips = [number for number in range(len(test.tables)) for _ in range(starts)]
    first = [start for some in test.starts for start in some[:starts]]
    paths = agent.follow(test.scenes, clips, first, [NOISE] * len(clips))
    rewards = np.array([trajectory_reward(test.tables[clip], path) for clip, path in zip(clips, paths, strict=True)])
    visits = np.bincount(np.concatenate(paths), minlength=test.scenes.n_points)
    return rewards.reshape(-1, starts).mean(axis=1).tolist(), visits


def baselines(test: TestSet) -> dict[str, list[float]]:
    """Mean reward of each clip under every policy that needs no learning."""
    rng = np.random.default_rng(11)
    rows: dict[str, list[float]] = {"no occlusion": [float(c.mean()) for c in test.clean]}

    def over_starts(path: Any) -> list[float]:
        return [
            float(np.mean([trajectory_reward(table, path(table, start)) for start in starts]))
            for table, starts in zip(test.tables, test.starts, strict=True)
        ]

    def many(path: Any) -> Any:
        """A random policy's reward, averaged over 25 draws a start."""
        return [
            float(np.mean([trajectory_reward(table, path(table, start)) for start in starts for _ in range(25)]))
            for table, starts in zip(test.tables, test.starts, strict=True)
        ]

    rows["random landmark (RSF)"] = many(lambda table, start: random_landmarks(len(table), table.shape[1], rng))
    rows["random walk"] = many(lambda table, start: random_walk(len(table), table.shape[1], start, rng))
    rows["greedy oracle, one step"] = over_starts(greedy_trajectory)
    rows["best path, gamma 0.9"] = over_starts(lambda table, start: best_trajectory(table, start, 0.9))
    rows["best path"] = over_starts(best_trajectory)
    rows["full search, 68 places"] = over_starts(lambda table, start: full_search(table))
    return rows


def train_and_follow(
    config: AgentConfig, source: ClipSource, network: StructuralRelationNetwork, run: Path, tests: Sequence[TestSet],
    points: int,
) -> dict[str, Any]:  # fmt: skip
    """Train an agent in stretches; after each its reward on the first test set, at the end on all."""
    marks = [round(config.transitions * (k + 1) / points) for k in range(points)]
    curve_path = run / "curve.json"
    curve: dict[str, list[float]] = json.loads(curve_path.read_text()) if curve_path.exists() else {}
    for mark in marks:
        stretch = dataclasses.replace(config, transitions=mark)
        path = train_agent(stretch, source, network, run, resume=True, save_every=20)
        if str(mark) not in curve:
            curve[str(mark)] = follow(Agent.load(path, precision="auto"), tests[0], CURVE_STARTS)[0]
            curve_path.write_text(json.dumps(curve))
            print(f"{run.name}: {mark} transitions, reward {np.mean(curve[str(mark)]):.4f}", flush=True)
    agent = Agent.load(run / "agent.safetensors", precision="auto")
    final_path = run / f"final_{config.transitions}.json"
    if not final_path.exists():
        final = {test.name: follow(agent, test) for test in tests}
        content = {name: {"rewards": rewards, "visits": visits.tolist()} for name, (rewards, visits) in final.items()}
        final_path.write_text(json.dumps(content))
    with (run / LOG_FILE).open(newline="") as file:
        log = list(csv.DictReader(file))
    speed = {name: float(np.median([float(r[name]) for r in log])) for name in ("transitions_per_s", "network_share")}
    return {"curve": curve, "final": json.loads(final_path.read_text()), **speed}


# --- table 9 in small


def tracking_error(network: StructuralRelationNetwork, framed: Sequence[Any]) -> list[float]:
    """NME of each clip, every frame started as a picture is, the state carried (equation 13)."""
    from srn.training.clips import track_clips

    shapes = track_clips(network.eval(), framed, np.zeros(len(framed), bool), torch.device("cpu"))
    errors = []
    for one, predicted in zip(framed, shapes, strict=True):
        target = one.face.landmarks.astype(np.float64)
        size = np.array([max(interocular(s, IBUG_68), 0.4 * network.config.face_size) for s in target])
        errors.append(float((np.linalg.norm(predicted - target, axis=-1).mean(axis=1) / size).mean()))
    return errors


def stills_error(network: StructuralRelationNetwork, samples: Sequence[Sample]) -> list[float]:
    """NME of each picture, taken for the first frame of a video; ground-truth boxes, one pass."""
    landmarker = FaceLandmarker(localizer=TorchLocalizer(network), passes=1)
    return [result.nme for result in evaluate(landmarker, samples).results]


def masked_stills(samples: Sequence[Sample], templates: Path, work: Path) -> list[Sample]:
    """The samples with masks on, of templates that no training sees where they are there; made once, kept in `work`."""
    folder = work / "masked"
    if not (folder / "manifest.csv").exists():
        wardrobe = MaskWardrobe.load(templates) if templates.is_dir() else None
        mask_samples(samples, folder, kind=DRAWN if wardrobe is None else MIXED, wardrobe=wardrobe, seed=1)
    return open_faces(folder, split="test").samples


def table_9(
    pack: FacePack, held_out: FacePack, stills: Sequence[Sample], network: StructuralRelationNetwork, agent: Agent,
    faces: int, seeds: int, work: Path, chosen: Sequence[str],
) -> dict[str, dict[str, list[float]]]:  # fmt: skip
    """Fine-tune the tracker without occlusion, with RSF, with HOFS, the same faces seen; NME on four kinds of clips and
    on masked stills. The first row is the network before it."""
    from srn.training.clips import fine_tune
    from srn.training.config import ClipConfig, tracker_config
    from srn.training.loop import Schedule

    spec, frames = network.config.crop_spec, 12

    def clips(motion: MotionConfig) -> list[Any]:
        return [
            animate_placed(
                held_out.image(i), held_out.landmarks[i], spec, held_out.scheme, motion,
                np.random.default_rng([5, i]), frames,
            )
            for i in range(min(len(held_out), 40))
        ]  # fmt: skip

    clean = clips(UNOCCLUDED_MOTION)
    scenes = Scenes(GivenClips([one.face for one in clean], spec, held_out.scheme), agent.patch_size, len(clean))
    starts = np.random.default_rng(6).integers(held_out.scheme.n_points, size=len(clean)).tolist()
    paths = agent.follow(scenes, range(len(clean)), starts, [NOISE] * len(clean))
    hard = [
        one._replace(face=occluded_clip(scenes, k, path, NOISE))
        for k, (one, path) in enumerate(zip(clean, paths, strict=True))
    ]
    tests = {
        "clean": clean,
        "masked": clips(dataclasses.replace(UNOCCLUDED_MOTION, masks=1.0)),
        "random patch": clips(RANDOM_PATCH_MOTION),
        "hard (agent)": hard,
    }
    half_random = dataclasses.replace(UNOCCLUDED_MOTION, noise_patch=0.5)
    arms: dict[str, tuple[MotionConfig, float, HardOcclusion | None]] = {
        "w/o OFA": (UNOCCLUDED_MOTION, 0.0, None),
        "RSF": (half_random, 0.0, None),
        "HOFS": (UNOCCLUDED_MOTION, 0.5, HardOcclusion(agent)),
        "RSF + HOFS": (half_random, 0.5, HardOcclusion(agent)),
    }

    def scores_of(tracker: StructuralRelationNetwork) -> dict[str, list[float]]:
        scores = {test: tracking_error(tracker, some) for test, some in tests.items()}
        return {**scores, "masked stills": stills_error(tracker, stills)}

    before = work / "fine-tuned" / "before.json"
    if not before.exists():
        untrained = adapted(network, tracker_config(network.config).model)
        write_atomically(before, json.dumps(scores_of(untrained)).encode())
    kept = {test: [float(np.mean(errors))] for test, errors in json.loads(before.read_text()).items()}
    table: dict[str, dict[str, list[float]]] = {"not at all": kept}
    for seed, name in itertools.product(range(seeds), chosen):  # an interrupted study has whole seeds
        motion, share, occluder = arms[name]
        run = work / "fine-tuned" / f"{name.replace('/', '').replace(' ', '-')}-{seed}-{faces}"
        scores = run / "scores.json"
        if not scores.exists():
            config = tracker_config(
                network.config, clips=ClipConfig(motion=motion, frames=8, hard_share=share), faces=faces, seed=seed,
                validation=0,
            )  # fmt: skip
            path = fine_tune(
                config, pack, run, initial=load_copy(network), occluder=occluder, resume=True,
                schedule=Schedule(workers=0, tensorboard=False),
            )  # fmt: skip
            tuned = load_weights(path)[0]
            write_atomically(scores, json.dumps(scores_of(tuned)).encode())
            print(f"{run.name}: {scores.read_text()[:60]} ...", flush=True)
        for test, errors in json.loads(scores.read_text()).items():
            table.setdefault(name, {}).setdefault(test, []).append(float(np.mean(errors)))
    return table


def load_copy(network: StructuralRelationNetwork) -> StructuralRelationNetwork:
    """The same network anew: a run trains the one it is given."""
    copy = StructuralRelationNetwork(network.config, network.mean_shape.cpu().numpy())
    copy.load_state_dict(network.state_dict())
    return copy


# --- what is written


def summary(rewards: Sequence[float]) -> dict[str, float]:
    return {"mean": float(np.mean(rewards)), "clips": len(rewards)}


def reached(value: float, walk: float, best: float) -> float:
    """Share of the way from the random walk to the best path that obeys the same rules."""
    return (value - walk) / (best - walk)


def plot_learning(content: dict[str, Any], path: Path) -> None:
    """Reward on held-out clips against transitions: each variant's mean over seeds and its range."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.add_subplot()
    for name, runs in content["variants"].items():
        marks = sorted({int(mark) for run in runs for mark in run["curve"]})
        values = np.array([[np.mean(run["curve"][str(mark)]) for mark in marks] for run in runs]) * 100
        (line,) = axes.plot(marks, values.mean(axis=0), marker="o", label=name)
        axes.fill_between(marks, values.min(axis=0), values.max(axis=0), alpha=0.2, color=line.get_color())
    for name in ("random walk", "greedy oracle, one step", "best path"):
        level = content["levels_of_the_curve"][name] * 100
        axes.axhline(level, color="0.5", linestyle="--", linewidth=0.8)
        axes.annotate(name, (0, level), xytext=(2, 2), textcoords="offset points", fontsize=8, color="0.3")
    axes.set(xlabel="transitions", ylabel="mean reward on held-out clips, first start (NME, %)", xlim=(0, None))
    axes.legend(frameon=False, fontsize=8)
    figure.savefig(path, dpi=130)


def plot_heat_map(shape: npt.NDArray[np.floating], maps: dict[str, npt.NDArray[np.float64]], path: Path) -> None:
    """Values of the landmarks (N,), drawn where a mean face (N, 2) has them; one face a map."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2 * len(maps), 4.4), layout="constrained")
    for axes, (title, values) in zip(np.atleast_1d(figure.subplots(1, len(maps))), maps.items(), strict=True):
        for _, points, closed in IBUG_68.contours:
            line = shape[[*points, *points[:1]] if closed else list(points)]
            axes.plot(line[:, 0], line[:, 1], color="0.8", linewidth=1, zorder=1)
        spots = axes.scatter(shape[:, 0], shape[:, 1], c=values, s=90, cmap="inferno_r", edgecolors="0.4", zorder=2)
        named: list[int] = []
        for index in np.argsort(values)[::-1]:
            if len(named) < 5 and all(np.linalg.norm(shape[index] - shape[other]) > 0.1 for other in named):
                named.append(int(index))  # the highest ones, as far as their numbers find room
                axes.annotate(str(index), shape[index], xytext=(6, 4), textcoords="offset points", fontsize=8)
        axes.set(aspect="equal", xticks=[], yticks=[])
        axes.set_title(title, fontsize=10)
        axes.invert_yaxis()
        figure.colorbar(spots, ax=axes, shrink=0.7)
    figure.savefig(path, dpi=130)


def report(content: dict[str, Any]) -> str:
    """The Markdown page."""
    first = next(iter(content["sets"]))
    lines = [
        "# HOFS: what the agents find",
        "",
        f"`{content['command']}` on {content['date']}, {content['hardware']}, commit {content['commit']}; frozen "
        f"network `{content['weights']}`; seeds {content['seeds']}."
        + (f" {content['note']}" if content["note"] else ""),
        "",
        f"Agents: {content['transitions']} transitions each on {content['training']}; encoder "
        f"{'trained' if content['config']['train_encoder'] else 'frozen, only the head learns'}. Reward: the frozen "
        "network's NME (inter-ocular, at least 0.4 of the face), in %, mean over the frames. `reached`: the share of "
        "the way from the random walk to the best path that obeys the same rules. `+-`: standard deviation over seeds.",
    ]
    for name, rows in content["sets"].items():
        walk, best = rows["random walk"]["mean"], rows["best path"]["mean"]
        lines += [
            "",
            f"## {name}: {rows['random walk']['clips']} clips",
            "",
            "| policy | reward % | reached |",
            "|---|---|---|",
        ]
        for policy, row in rows.items():
            lines.append(f"| {policy} | {row['mean'] * 100:.3f} | {reached(row['mean'], walk, best):.0%} |")
        for variant, runs in content["variants"].items():
            means = [float(np.mean(run["final"][name]["rewards"])) for run in runs]
            spread = f" +- {np.std(means, ddof=1) * 100:.3f}" if len(means) > 1 else ""
            way = reached(float(np.mean(means)), walk, best)
            lines.append(f"| agent, {variant} | {np.mean(means) * 100:.3f}{spread} | {way:.0%} |")
        if name == first:
            lines += ["", "Agent less random walk, clip by clip, with a 95 % bootstrap interval: " + content["paired"]]
    lines += [
        "",
        f"![learning curve]({content['name']}_learning.png)",
        "",
        f"![where the agent goes]({content['name']}_heat_map.png)",
        "",
        "## Speed",
        "",
        "| variant | transitions a second | share of the time inside the networks |",
        "|---|---|---|",
    ]
    for variant, runs in content["variants"].items():
        speeds, shares = (np.median([run[key] for run in runs]) for key in ("transitions_per_s", "network_share"))
        lines.append(f"| {variant} | {speeds:.1f} | {shares:.0%} |")
    lines.append("\nThe rest is painting: clips brought to life, patches, and moving the pictures to the network.")
    if content.get("table_9"):
        table = content["table_9"]
        tests = list(next(iter(table["nme"].values())))
        lines += ["", f"## Table 9 in small: {table['faces']} faces seen by each, NME % of held-out clips", ""]
        lines += [f"| fine-tuned with | {' | '.join(tests)} |", f"|---|{'---|' * len(tests)}"]
        for arm, scores in table["nme"].items():
            cells = []
            for test in tests:
                spread = f" +- {np.std(scores[test], ddof=1) * 100:.3f}" if len(scores[test]) > 1 else ""
                cells.append(f"{np.mean(scores[test]) * 100:.3f}{spread}")
            lines.append(f"| {arm} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def study_parser(description: str | None) -> argparse.ArgumentParser:
    """What every study of agents is told: where the data, the frozen network and its own folder are."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--note", default="", help="a sentence for the page: what else ran on the machine, ...")
    parser.add_argument("--out", type=Path, default=OUT)
    return parser


def frozen_network(weights: Path) -> tuple[StructuralRelationNetwork, TorchLocalizer]:
    """The network that is to be made fail, and the localizer of the rewards: as in the agents' training."""
    network, _ = load_weights(weights)
    network.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network, TorchLocalizer(network, weights.name, precision="auto")


def test_faces(data: Path) -> tuple[list[Sample], FacePack]:
    """300W's test faces, and some of them, spread evenly, to be brought to life."""
    samples = open_faces(data / "300W", split="test").samples
    held_out, _ = pack_faces([samples[i] for i in np.linspace(0, len(samples) - 1, FACES).astype(int)])
    return samples, held_out


def main() -> None:
    parser = study_parser(__doc__)
    parser.add_argument("--transitions", type=int, default=2400)
    parser.add_argument("--frames", type=int, default=16, help="of the test clips")
    parser.add_argument("--training-frames", type=int, default=8, help="short clips show more faces")
    parser.add_argument("--training-clips", type=int, default=3000)
    parser.add_argument("--test-clips", type=int, default=10)
    parser.add_argument("--real-clips", type=int, default=8, help="of each of the two sets of real videos")
    parser.add_argument("--variants", nargs="+", choices=list(VARIANTS), default=["multi-queue"])
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--updates", type=int, default=2)
    parser.add_argument("--points", type=int, default=3, help="of the learning curve")
    parser.add_argument("--fine-tune", type=int, default=0, metavar="FACES")
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS, help="of table 9")
    parser.add_argument("--name", default="hofs", help="of the files that are written")
    arguments = parser.parse_args()
    work: Path = arguments.work
    network, localizer = frozen_network(arguments.weights)
    pack = FacePack.load(arguments.pack)
    samples, held_out = test_faces(arguments.data)
    spec, frames = network.config.crop_spec, arguments.frames
    count, real = arguments.test_clips, arguments.real_clips
    videos, _ = read_300vw(arguments.data / "CK_plus")
    beginnings = [dataclasses.replace(v, numbers=v.numbers[:frames], landmarks=v.landmarks[:frames]) for v in videos]
    sources: dict[str, tuple[ClipSource, int]] = {
        "animated": (AnimatedClips(held_out, spec, frames, seed=1), count),
        "CK_plus": (RecordedClips(beginnings, spec, frames), min(real, len(videos))),
        "youtube_faces": (youtube_clips(arguments.data / "youtube_faces", network, real), real),
    }
    tests = [make_test_set(name, source, n, localizer, work) for name, (source, n) in sources.items()]
    sets = {test.name: {name: summary(rewards) for name, rewards in baselines(test).items()} for test in tests}
    source = AnimatedClips(pack, spec, arguments.training_frames, seed=0, count=arguments.training_clips)
    base = AgentConfig(
        transitions=arguments.transitions,
        learning_rate=arguments.learning_rate,
        updates=arguments.updates,
        train_encoder=False,
        precision="auto",
    )
    variants: dict[str, list[dict[str, Any]]] = {}
    for name in arguments.variants:
        for seed in range(arguments.seeds):
            config = dataclasses.replace(base, **{**VARIANTS[name], "seed": seed})
            result = train_and_follow(config, source, network, work / f"{name}-{seed}", tests, arguments.points)
            variants.setdefault(name, []).append(result)
    main_runs = variants[arguments.variants[0]]
    rewards = np.mean([run["final"]["animated"]["rewards"] for run in main_runs], axis=0)
    gain = (rewards - np.array(baselines(tests[0])["random walk"])) * 100
    (interval,) = ratio_intervals(gain[None], np.ones((1, len(gain))))
    of_curve = dataclasses.replace(tests[0], starts=[some[:CURVE_STARTS] for some in tests[0].starts])
    content: dict[str, Any] = {
        "command": f"python tools/measure_hofs.py DATA PACK --weights WEIGHTS --work RUNS --variants "
        f"{' '.join(arguments.variants)} --transitions {arguments.transitions} --seeds {arguments.seeds} --frames "
        f"{frames} --training-frames {arguments.training_frames} --training-clips {arguments.training_clips} "
        f"--test-clips {count} --real-clips {real} "
        f"--learning-rate {arguments.learning_rate:g} --updates {arguments.updates} --fine-tune {arguments.fine_tune}"
        + (f" --arms {shlex.join(arguments.arms)}" if arguments.arms != ARMS else ""),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "hardware": f"{torch.get_num_threads()} thread(s), {platform.machine()}, "
        f"{torch.cuda.get_device_name() if torch.cuda.is_available() else 'no GPU'}",
        "commit": commit(),
        "weights": arguments.weights.name,
        "note": arguments.note,
        "name": arguments.name,
        "seeds": list(range(arguments.seeds)),
        "transitions": arguments.transitions,
        "training": source.name,
        "config": dataclasses.asdict(base),
        "sets": sets,
        "levels_of_the_curve": {name: float(np.mean(values)) for name, values in baselines(of_curve).items()},
        "variants": variants,
        "paired": f"{gain.mean():+.3f} [{interval.low:+.3f}, {interval.high:+.3f}] points of %",
    }
    if arguments.fine_tune:
        agent = Agent.load(work / f"{arguments.variants[0]}-0" / "agent.safetensors", precision="auto")
        step = max(len(samples) // STILLS, 1)
        stills = masked_stills(samples[::step], arguments.data / "occluders" / "masks", work)
        nme = table_9(
            pack, held_out, stills, network, agent, arguments.fine_tune, arguments.seeds, work, arguments.arms
        )
        content["table_9"] = {"faces": arguments.fine_tune, "nme": nme}
    out: Path = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    visits = np.sum([run["final"]["animated"]["visits"] for run in main_runs], axis=0)
    costs = np.mean(
        [(t - c[:, None]).mean(axis=0) for t, c in zip(tests[0].tables, tests[0].clean, strict=True)], axis=0
    )
    maps = {"where the agent hides the face\n(share of frames, %)": visits / visits.sum() * 100}
    maps["what hiding a landmark costs the network\n(NME, points of %)"] = costs * 100
    plot_heat_map(mean_shape(pack), maps, out / f"{arguments.name}_heat_map.png")
    plot_learning(content, out / f"{arguments.name}_learning.png")
    (out / f"{arguments.name}.json").write_text(json.dumps(content, indent=1) + "\n")
    (out / f"{arguments.name}.md").write_text(report(content))
    print(report(content))


if __name__ == "__main__":
    main()

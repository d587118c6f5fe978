"""`srn hofs`: train an agent that hides faces where the network fails, and make hard clips with it."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from srn.cli import options
from srn.cli.data import load_faces
from srn.errors import InputError

app = typer.Typer(help="Hard occluded faces, by reinforcement learning.", no_args_is_help=True)

Frames = Annotated[int, typer.Option(min=1, help="Frames of a clip.")]
Faces = Annotated[
    Path | None,
    typer.Option(help="Faces to bring to life: 300W's root, or a pack made by `srn data pack`."),
]


class ReplayName(StrEnum):
    """Memories of experience."""

    MULTI_QUEUE = "multi-queue"
    SINGLE_QUEUE = "single-queue"


class RewardName(StrEnum):
    """What the agent is paid (equation 10)."""

    NME = "nme"
    SQUARED = "squared"
    DEGRADATION = "degradation"


class LossName(StrEnum):
    """Losses of the Q-net (equation 12)."""

    SQUARED = "squared"
    HUBER = "huber"


class ClipEndName(StrEnum):
    """What follows a clip's last frame."""

    TERMINAL = "terminal"
    TIME_LIMIT = "time-limit"


class EncoderChoice(StrEnum):
    """Encoders of the Q-net."""

    PATCHES = "patches"
    SHARED_MAP = "shared-map"


@app.command("train")
def train(
    out: Annotated[Path, typer.Option(help="Folder of the run: agent, state, log.")],
    data: Faces = None,
    weights: options.Weights = None,
    transitions: Annotated[
        int | None, typer.Option(min=1, help="Steps to play in all; 20,000 if left out. May be changed on --resume.")
    ] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames of a clip; short ones show more faces.")] = 8,
    lanes: Annotated[int, typer.Option(min=1, help="Clips played side by side, in one batch.")] = 16,
    clips: Annotated[int | None, typer.Option(min=1, help="Different clips; one for each face if left out.")] = None,
    discount: Annotated[float, typer.Option(min=0, max=1, help="What the future counts (gamma).")] = 0.9,
    exploration: Annotated[float, typer.Option(min=0, max=1, help="Share of random actions (epsilon).")] = 0.1,
    replay: Annotated[ReplayName, typer.Option(help="The paper's memory, or DQN's.")] = ReplayName.MULTI_QUEUE,
    replay_clips: Annotated[int, typer.Option(min=1, help="Clips that a lane's multi-queue remembers (K).")] = 3,
    capacity: Annotated[int, typer.Option(min=1, help="Transitions that the single queue remembers.")] = 10_000,
    reward: Annotated[
        RewardName, typer.Option(help="The error, eq. 10's squared form, or the error less the clean frame's.")
    ] = RewardName.DEGRADATION,
    loss: Annotated[LossName, typer.Option(help="Eq. 12's squared error, or one that outliers pull less.")] = (
        LossName.HUBER
    ),
    dropout: Annotated[float, typer.Option(min=0, max=0.99, help="Of the head; 0 in the paper.")] = 0.5,
    clip_end: Annotated[
        ClipEndName, typer.Option(help="A clip's end ends the return, as in the paper, or only cuts it short.")
    ] = ClipEndName.TIME_LIMIT,
    learning_rate: Annotated[float, typer.Option(min=0, help="Of Adam.")] = 1e-4,
    batch_size: Annotated[int, typer.Option(min=1, help="Transitions of an update.")] = 64,
    updates: Annotated[int, typer.Option(min=1, help="Updates after each step of all lanes.")] = 2,
    target_every: Annotated[
        int, typer.Option(min=0, help="Renew a target network after so many updates; 0: none, as in the paper.")
    ] = 100,
    double_q: Annotated[
        bool | None,
        typer.Option("--double-q/--single-q", help="Double Q-learning; where there is a target network if left out."),
    ] = None,
    random_start: Annotated[
        bool, typer.Option("--random-start", help="Start the encoder at random instead of from the weights.")
    ] = False,
    freeze_encoder: Annotated[
        bool, typer.Option("--freeze-encoder", help="Learn the head only: many times faster on a CPU.")
    ] = False,
    encoder: Annotated[
        EncoderChoice | None, typer.Option(help="The Q-net's encoder; that of the weights if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of weights, clips, exploration and sampling.")] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out; give the same --data.")
    ] = False,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, ...")] = "auto",
    precision: Annotated[
        options.PrecisionName,
        typer.Option(help="Of the networks' passes. `auto`: bf16 where the hardware has it, twice as fast."),
    ] = options.PrecisionName.FLOAT32,
) -> None:
    """Train an agent: it learns where to move an occlusion so that the network fails most.

    A run can be killed at any moment; `--resume` goes on from its last save with the numbers that an uninterrupted run
    gives.

    Example: `srn hofs train --data faces.npz --out runs/agent --freeze-encoder`
    """
    with options.needs_extra("train", "training an agent"):
        from srn.hofs.clips import AnimatedClips
        from srn.hofs.config import AgentConfig
        from srn.hofs.run import CONFIG_FILE, check_agent_folder, train_agent
        from srn.inference.runtime import shipped_weights
        from srn.model.export import load_weights

    check_agent_folder(out, resume)
    if resume and (out / CONFIG_FILE).exists():
        config = AgentConfig.load(out / CONFIG_FILE)
        if transitions is not None:
            config = dataclasses.replace(config, transitions=transitions)
    else:
        config = AgentConfig(
            transitions=20_000 if transitions is None else transitions,
            lanes=lanes,
            discount=discount,
            exploration_rate=exploration,
            replay=replay.value,
            replay_clips=replay_clips,
            capacity=capacity,
            reward=reward.value,
            learning_rate=learning_rate,
            updates=updates,
            target_every=target_every,
            double_q=target_every > 0 if double_q is None else double_q,
            loss=loss.value,
            dropout=dropout,
            clip_end=clip_end.value,
            batch_size=batch_size,
            pretrained=not random_start,
            train_encoder=not freeze_encoder,
            encoder=None if encoder is None else encoder.value,
            precision=precision.value,
            seed=seed,
        )
    frozen = shipped_weights() if weights is None else weights
    network = load_weights(frozen)[0]
    pack, _ = load_faces(data, [])
    source = AnimatedClips(pack, network.config.crop_spec, frames, seed=config.seed, count=clips)
    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("transitions"), TextColumn("{task.fields[status]}"),
        TimeRemainingColumn(compact=True),
    )  # fmt: skip
    terminal = options.messages.is_terminal
    with Progress(*columns, console=options.messages, disable=not terminal) as bar:
        task = bar.add_task("training", total=config.transitions, status="")

        def show(done: int, row: dict[str, str]) -> None:
            status = f"reward {float(row['reward']):.4f}  {float(row['transitions_per_s']):.0f} transitions/s"
            bar.update(task, completed=min(done, config.transitions), status=status)
            if not terminal:
                options.messages.print(f"{done}/{config.transitions}  {status}", highlight=False, soft_wrap=True)

        facts = {"data": data.name if data else "", "frozen": frozen.name}
        path = train_agent(config, source, network, out, resume=resume, device=device, progress=show, provenance=facts)
    options.console.print(f"agent: {path}", highlight=False, markup=False, soft_wrap=True)


@app.command("synthesize")
def synthesize(
    agent: Annotated[Path, typer.Argument(help="An agent: `agent.safetensors` of a run of `srn hofs train`.")],
    out: Annotated[Path, typer.Option(help="Folder for the clips.")],
    data: Faces = None,
    videos: Annotated[
        Path | None, typer.Option(help="Real videos instead, in 300VW's layout: folders with frames and `annot`.")
    ] = None,
    clips: Annotated[int | None, typer.Option(min=1, help="How many clips; all if left out.")] = None,
    frames: Frames = 24,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same bytes.")] = 0,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, ...")] = "auto",
) -> None:
    """Write clips of faces that the agent hides as they move, with each landmark's visibility.

    The layout is that of extracted 300VW, so every command that reads videos reads them; `manifest.csv` holds the
    landmark under the patch and the visibility of all, frame by frame.

    Example: `srn hofs synthesize runs/agent/agent.safetensors --data faces.npz --clips 20 --out hard`
    """
    with options.needs_extra("train", "running an agent"):
        from srn.hofs.agent import Agent
        from srn.hofs.clips import AnimatedClips, RecordedClips
        from srn.hofs.run import choose_device
        from srn.hofs.synthesis import hard_clips, write_clips

    if (data is None) == (videos is None):
        raise InputError.at("clips", "one of --data and --videos", "neither" if data is None else "both")
    if (out / "manifest.csv").exists():
        raise InputError.at(out, "an empty or new folder", "clips that were already written there")
    policy = Agent.load(agent, choose_device(device))
    spec = policy.qnet.config.model.crop_spec
    source: Any
    problems: list[str] = []
    if videos is not None:
        from srn.datasets.three_hundred_vw import read_300vw

        recorded, report = read_300vw(videos)
        problems += report.problems
        source = RecordedClips(recorded, spec, frames)
    else:
        pack, problems = load_faces(data, [])
        source = AnimatedClips(pack, spec, frames, seed=seed, count=clips)
    numbers = range(len(source) if clips is None else min(clips, len(source)))
    written = 0
    with options.progress_bar("clips") as bar:
        task = bar.add_task("hiding faces", total=len(numbers))
        for _ in write_clips(hard_clips(policy, source, numbers, seed=seed, problems=problems), out):
            written += 1
            bar.advance(task)
    options.console.print(f"{written} clips in {out}", highlight=False, markup=False, soft_wrap=True)
    for line in problems:
        options.messages.print(f"failed: {line}", highlight=False, markup=False, soft_wrap=True)
    if problems:
        raise typer.Exit(1)

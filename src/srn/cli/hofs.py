"""`srn hofs`: train an agent that occludes faces where the network fails, and write hard clips with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.cli.command import command
from srn.cli.data import load_faces
from srn.errors import InputError, MissingDependencyError

app = typer.Typer(help="Hard occluded faces, by reinforcement learning.", no_args_is_help=True)

Device = Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, ...")]


@app.command("train")
@command
def train(
    out: Annotated[Path, typer.Option(help="Folder of the run: agent, state, log."), options.Folder()],
    data: options.Faces = None,
    weights: options.Weights = None,
    transitions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Steps to play, of all `lanes` (16) at a time; 20,000 if left out. May be changed on --resume.",
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, help="Frames of a clip; short clips show more faces. 8 if left out.")
    ] = None,
    clips: Annotated[int | None, typer.Option(min=1, help="Number of clips; one for each face if left out.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="The same seed gives the same result; 0 if left out.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Change another value of the recipe (`AgentConfig`), such as `lanes=8` or `replay=single-queue`."
            " Repeatable.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out, with the same faces.")] = False,
    device: Device = "auto",
    save_every: Annotated[int, typer.Option(min=1, help="Steps of all clips played side by side between saves.")] = 200,
    old_data: options.OldData = None,
) -> None:
    """Train an agent that moves an occlusion to where the network fails most.

    A run can be killed at any moment; `--resume` continues from its last save. Ctrl-C and SIGTERM save it first.
    `--set train_encoder=false` trains the head of the Q-net only, which is many times faster on a CPU.

    Example: `srn hofs train faces.npz --out runs/agent --set train_encoder=false`
    """
    with MissingDependencyError.importing("hofs", "training an agent"):
        from srn.hofs.clips import AnimatedClips
        from srn.hofs.run import agent_config, train_agent
        from srn.inference.runtime import shipped_weights
        from srn.model.export import load_weights
        from srn.training.runs import continues

    faces = options.joined_data(data, old_data)
    continues(out, resume, options.messages)
    config = agent_config(
        out, resume=resume, transitions=transitions, seed=seed, frames=frames, clips=clips, changes=set_ or []
    )
    frozen = weights or shipped_weights()
    network = load_weights(frozen)[0]
    pack, _ = load_faces(faces)
    spec = network.config.crop_spec
    source = AnimatedClips(pack, spec, config.clip_frames, seed=config.seed, count=config.clips)
    facts = {"data": ", ".join(path.name for path in faces), "frozen": frozen.name}
    agent = train_agent(
        config, source, network, out, resume=resume, device=device, save_every=save_every, console=options.messages,
        provenance=facts,
    )  # fmt: skip
    options.say(f"agent: {agent}")


@app.command("synthesize")
@command
def synthesize(
    agent: Annotated[
        Path, typer.Argument(help="An agent: `agent.safetensors` of a run of `srn hofs train`, or a name.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the clips."), options.Folder(apart=True)],
    data: options.Faces = None,
    videos: Annotated[
        Path | None,
        typer.Option(
            help="Real videos instead, in 300VW's layout: folders with frames and `annot`; 300VW's training videos."
        ),
    ] = None,
    clips: Annotated[int | None, typer.Option(min=1, help="Number of clips; all if left out.")] = None,
    frames: Annotated[int, typer.Option(min=1, help="Frames of a clip.")] = 24,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same result.")] = 0,
    device: Device = "auto",
    old_data: options.OldData = None,
) -> None:
    """Write clips of faces that the agent occludes as they move, with each landmark's visibility.

    The layout is that of extracted 300VW, so every command that reads videos reads them. `manifest.csv` holds the
    landmark under the patch, the visibility of all landmarks, and what the clip was made of, for each frame.

    Example: `srn hofs synthesize runs/agent/agent.safetensors faces.npz --clips 20 --out hard`
    """
    with MissingDependencyError.importing("hofs", "running an agent"):
        from srn.hofs.agent import Agent
        from srn.hofs.clips import AnimatedClips, ClipSource, recorded_clips
        from srn.hofs.synthesis import check_clip_folder, hard_clips, write_clips
        from srn.training.runs import choose_device

    given = bool(data or old_data)
    if given == (videos is not None):
        raise InputError.at("clips", "one of DATA and --videos", "both" if given else "neither")
    check_clip_folder(out)
    policy = Agent.load(agent, choose_device(device))
    spec = policy.qnet.config.model.crop_spec
    source: ClipSource
    if videos is not None:
        source, problems = recorded_clips(videos, spec, frames, count=clips)
    else:
        pack, problems = load_faces(options.joined_data(data, old_data))
        source = AnimatedClips(pack, spec, frames, seed=seed, count=clips)
    written = 0
    with options.progress("clips") as begin:
        step = begin("occluding", len(source))
        for _ in write_clips(hard_clips(policy, source, range(len(source)), seed=seed, problems=problems), out):
            written += 1
            step()
    options.say(f"{options.counted(written, 'clip')} in {out}")
    options.exit_if_failed(problems)

"""`srn train`."""

from __future__ import annotations

import dataclasses
import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from srn.cli import options
from srn.cli.data import load_faces
from srn.errors import InputError
from srn.inference.runtime import shipped_weights
from srn.settings import with_settings


class PresetName(StrEnum):
    """Networks with their recipes."""

    ROBUST = "robust"
    PAPER = "paper"
    ROBUST_HG = "robust-hg"
    PAPER_HG = "paper-hg"


class Part(StrEnum):
    """What can be left out of the network (tables 7 and 8).

    `coarse-shape` is what `robust` reads from the whole face first; without it the cascade starts from the mean shape,
    as the paper's does.
    """

    G = "g"
    F = "f"
    D = "d"
    MU = "mu"
    NON_LOCAL = "non-local"
    COARSE_SHAPE = "coarse-shape"


def train(
    out: Annotated[Path, typer.Option(help="Folder of the run: weights, state, log, sheets of predictions.")],
    data: Annotated[
        Path | None,
        typer.Option(help="300W's root, or a pack made by `srn data pack`. Needed unless resuming a packed run."),
    ] = None,
    extra: Annotated[
        list[Path] | None, typer.Option(help="Further folders of pictures with .pts files. Repeatable.")
    ] = None,
    preset: Annotated[
        PresetName | None, typer.Option(help="Network and recipe; `robust` if left out. With --clips: --initial's.")
    ] = None,
    faces: Annotated[
        int | None, typer.Option(min=1, help="Training faces to see in all. May be changed on --resume.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Faces a step, over all devices.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")] = None,
    validation: Annotated[
        int | None, typer.Option(min=0, help="Faces kept from training to follow the run with.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help="Anything else of the recipe (`TrainConfig`), such as `weight_decay=0.05` or "
            "`augmentation.turned=0.2`. Repeatable.",
        ),
    ] = None,
    without: Annotated[list[Part] | None, typer.Option(help="Leave a part of the network out. Repeatable.")] = None,
    initial: Annotated[
        Path | None,
        typer.Option(help="Weights (.safetensors or .onnx) to start from. With --clips the shipped ones if left out."),
    ] = None,
    clips: Annotated[
        bool,
        typer.Option("--clips", help="Fine-tune the video tracker (eq. 13): faces brought to life, frame after frame."),
    ] = False,
    frames: Annotated[
        int | None, typer.Option(min=2, help="With --clips: frames of a clip; --batch-size is a multiple of it.")
    ] = None,
    previous_start: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="With --clips: share of clips that start from the previous shape."),
    ] = None,
    videos: Annotated[
        bool, typer.Option("--videos", help="With --clips: --data holds videos (300VW), whose frames are the clips.")
    ] = False,
    steadiness: Annotated[
        float | None, typer.Option(min=0, help="With --clips: weight of the shaking of the error; the paper has 0.")
    ] = None,
    hofs: Annotated[
        Path | None, typer.Option(help="An agent of `srn hofs train`: it hides a share of the faces or clips.")
    ] = None,
    hofs_share: Annotated[
        float, typer.Option(min=0, max=1, help="With --hofs: that share; the others are hidden at random.")
    ] = 0.5,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, ...")] = "auto",
    precision: Annotated[
        options.PrecisionName, typer.Option(help="`auto`: bf16 where the hardware has it.")
    ] = options.PrecisionName.AUTO,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that prepare faces.")] = None,
) -> None:
    """Train a network on annotated faces.

    A run can be killed at any moment; `--resume` goes on from its last save with the numbers that an uninterrupted run
    gives. Several GPUs: `torchrun --nproc-per-node 4 -m srn.cli.main train ...`.

    `--clips` makes the tracker of a picture model: it sees annotated faces as short videos, in which heads turn, the
    camera shakes and things pass in front; every frame counts as a face.

    `--hofs` lets an agent choose what to hide, where the network that it was trained against fails most.

    Example: `srn train --data 300W --out runs/first`

    Example: `srn train --clips --data 300W --initial runs/first/weights.safetensors --out runs/tracker`
    """
    with options.needs_extra("train", "training"):
        from srn.hofs.agent import Agent
        from srn.hofs.synthesis import HardOcclusion
        from srn.model.config import HIERARCHIES, PRESETS
        from srn.model.export import load_weights
        from srn.training.clips import fine_tune
        from srn.training.config import ClipConfig, TrainConfig, tracker_config, train_config
        from srn.training.loop import FaceTask, Schedule, check_run_folder, default_workers
        from srn.training.loop import train as run

    of_clips = {
        "frames": frames, "previous_start": previous_start, "steadiness": steadiness, "videos": videos or None,
    }  # fmt: skip
    _check_options(clips, preset, without or [], of_clips)
    check_run_folder(out, resume)  # before anything is packed into it
    run_config, packed = out / "config.json", out / "faces.npz"
    resumed = resume and run_config.exists()
    if clips and initial is None and not resumed:
        initial = shipped_weights()
    network = None if initial is None else load_weights(initial)[0]
    changes = {
        name: value
        for name, value in (
            ("faces", faces), ("batch_size", batch_size), ("learning_rate", learning_rate), ("validation", validation)
        )
        if value is not None
    }  # fmt: skip
    kept_agent = out / "hofs.safetensors"
    if resumed:
        if hofs is not None and not kept_agent.exists():
            raise InputError.at("--hofs", "a run that was started with an agent", "one without")
        hofs = kept_agent if kept_agent.exists() else None
    agent = None if hofs is None else Agent.load(hofs, precision="auto")
    if resumed:
        if set_:
            raise InputError.at("--set", "a run that begins", "one that is resumed, whose recipe is in its folder")
        config = TrainConfig.load(run_config)
        if faces is not None:
            config = dataclasses.replace(config, faces=faces)
    elif clips and network is not None:
        chosen: dict[str, Any] = {name: value for name, value in of_clips.items() if value is not None}
        if hofs is not None:
            chosen["hard_share"] = hofs_share
        config = tracker_config(network.config, clips=ClipConfig(**chosen), seed=seed, **changes)
    else:
        parts = without or []
        name = (preset or PresetName.ROBUST).value
        config = train_config(
            name,
            model_changes={
                "without": tuple(part.value for part in parts if part.value in HIERARCHIES),
                "non_local": Part.NON_LOCAL not in parts,
                "coarse_shape": Part.COARSE_SHAPE not in parts and PRESETS[name].coarse_shape,
            },
            seed=seed,
            hard_share=0.0 if hofs is None else hofs_share,
            **changes,
        )
    config = with_settings(config, set_ or [])  # before the pictures are packed: that takes minutes
    pack, _ = load_faces(data, extra or [], keep=packed, reuse=resume)
    if config.clips is None and not resumed:
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, scheme_name=pack.scheme.name))
    schedule = Schedule(
        device=device, precision=precision.value, workers=default_workers() if workers is None else workers
    )
    hard = None if agent is None else HardOcclusion(agent)
    if agent is not None and hofs != kept_agent and os.environ.get("RANK", "0") == "0":
        agent.save(kept_agent)  # so that --resume needs no more than the folder
    provenance = {"data": ", ".join(p.name for p in [data or packed, *(extra or [])])}
    common: dict[str, Any] = {
        "resume": resume, "schedule": schedule, "console": options.messages, "initial": network,
        "provenance": provenance if hofs is None else {**provenance, "hofs": hofs.name},
    }  # fmt: skip
    if config.clips is None:
        task = FaceTask(config, occluder=None if hard is None else hard.face)
        weights = run(config, pack, out, task=task, **common)
    else:
        weights = fine_tune(config, pack, out, occluder=hard, **common)
    options.console.print(f"weights: {weights}", highlight=False, markup=False, soft_wrap=True)


def _check_options(
    clips: bool, preset: PresetName | None, without: list[Part], of_clips: dict[str, int | float | None]
) -> None:
    """Raise `InputError` for options that go only with --clips, or only without it."""
    if not clips:
        for name, value in of_clips.items():
            if value is not None:
                raise InputError.at(f"--{name.replace('_', '-')}", "--clips beside it", "none")
    elif preset is not None or without:
        given = "--preset" if preset is not None else "--without"
        raise InputError.at(given, "no such option with --clips, which starts from the network of --initial", given)

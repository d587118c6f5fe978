"""`srn train`."""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.cli.data import load_faces


class PresetName(StrEnum):
    """Networks with their recipes."""

    ROBUST = "robust"
    PAPER = "paper"
    ROBUST_HG = "robust-hg"
    PAPER_HG = "paper-hg"


class Part(StrEnum):
    """What can be left out of the network (tables 7 and 8)."""

    G = "g"
    F = "f"
    D = "d"
    MU = "mu"
    NON_LOCAL = "non-local"


class PrecisionName(StrEnum):
    """Arithmetic of the forward pass."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


def train(
    out: Annotated[Path, typer.Option(help="Folder of the run: weights, state, log, sheets of predictions.")],
    data: Annotated[
        Path | None,
        typer.Option(help="300W's root, or a pack made by `srn data pack`. Needed unless resuming a packed run."),
    ] = None,
    extra: Annotated[
        list[Path] | None, typer.Option(help="Further folders of pictures with .pts files. Repeatable.")
    ] = None,
    preset: Annotated[PresetName, typer.Option(help="Network and recipe.")] = PresetName.ROBUST,
    faces: Annotated[
        int | None, typer.Option(min=1, help="Training faces to see in all. May be changed on --resume.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Faces a step, over all devices.")] = None,
    learning_rate: Annotated[float | None, typer.Option(min=0, help="Peak learning rate.")] = None,
    validation: Annotated[
        int | None, typer.Option(min=0, help="Faces kept from training to follow the run with.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and augmentation.")] = 0,
    without: Annotated[list[Part] | None, typer.Option(help="Leave a part of the network out. Repeatable.")] = None,
    initial: Annotated[Path | None, typer.Option(help="Weights (.safetensors or .onnx) to start from.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, ...")] = "auto",
    precision: Annotated[
        PrecisionName, typer.Option(help="`auto`: bf16 where the hardware has it.")
    ] = PrecisionName.AUTO,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that prepare faces.")] = None,
) -> None:
    """Train a network on annotated faces.

    A run can be killed at any moment; `--resume` goes on from its last save with the numbers that an uninterrupted run
    gives. Several GPUs: `torchrun --nproc-per-node 4 -m srn.cli.main train ...`.

    Example: `srn train --data 300W --out runs/first`
    """
    with options.needs_extra("train", "training"):
        from srn.export import load_weights
        from srn.training.config import TrainConfig, train_config
        from srn.training.loop import Schedule, check_run_folder, default_workers
        from srn.training.loop import train as run

    check_run_folder(out, resume)  # before anything is packed into it
    run_config, packed = out / "config.json", out / "faces.npz"
    if resume and run_config.exists():
        config = TrainConfig.load(run_config)
        if faces is not None:
            config = dataclasses.replace(config, faces=faces)
    else:
        parts = [part.value for part in without or []]
        changes = {
            "faces": faces, "batch_size": batch_size, "learning_rate": learning_rate, "validation": validation,
        }  # fmt: skip
        config = train_config(
            preset.value,
            model_changes={
                "without": tuple(part for part in parts if part != Part.NON_LOCAL),
                "non_local": Part.NON_LOCAL not in parts,
            },
            seed=seed,
            **{name: value for name, value in changes.items() if value is not None},
        )
    pack, _ = load_faces(data, extra or [], keep=packed, reuse=resume)
    network = None if initial is None else load_weights(initial)[0]
    schedule = Schedule(
        device=device, precision=precision.value, workers=default_workers() if workers is None else workers
    )
    weights = run(
        config, pack, out, resume=resume, schedule=schedule, console=options.messages, initial=network,
        provenance={"data": ", ".join(str(p) for p in [data or packed, *(extra or [])])},
    )  # fmt: skip
    options.console.print(f"weights: {weights}", highlight=False, markup=False, soft_wrap=True)

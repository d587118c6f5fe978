"""`srn train` and `srn average`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from srn.cli import options
from srn.cli.data import load_faces
from srn.errors import InputError, MissingDependencyError
from srn.evaluation.run_folder import CONFIG_FILE, FACES_FILE, KEPT_AGENT, STATE_FILE
from srn.files import WEIGHTS

Preset = Annotated[
    Literal["robust", "fast", "robust-hg", "paper"] | None,
    typer.Option(help="Network and recipe; `robust` if left out. With --clips: --initial's."),
]
Count = Annotated[int | None, typer.Option(min=1, help="Training faces to see in all. May be changed on --resume.")]
Changes = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change a value of the recipe (`TrainConfig`), such as `batch_size=64`, `augmentation.turned=0.2`, "
        "`model.without=g,mu` or `clips.frames=4`. Repeatable.",
    ),
]
Initial = Annotated[
    Path | None,
    typer.Option(help="Weights (.safetensors or .onnx) to start from. With --clips the shipped ones if left out."),
]
Clips = Annotated[
    bool, typer.Option("--clips", help="Fine-tune the video tracker (eq. 13) on animated faces, frame after frame.")
]
Hofs = Annotated[
    Path | None,
    typer.Option(help="An agent of `srn hofs train`, or its name: it occludes a share of the faces or clips."),
]

Seed = Annotated[int | None, typer.Option(min=0, help="Seed of weights, order and augmentation; 0 if left out.")]


def train(
    out: Annotated[
        Path, typer.Option(help="Folder of the run: weights, state, log, sheets of predictions."), options.Folder()
    ],
    data: options.Faces = None,
    preset: Preset = None,
    faces: Count = None,
    seed: Seed = None,
    set_: Changes = None,
    initial: Initial = None,
    clips: Clips = False,
    hofs: Hofs = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    device: Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, ...")] = "auto",
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"], typer.Option(help="`auto`: bf16 where the hardware is faster in it.")
    ] = "auto",
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that prepare faces.")] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between saves: what a killed run may lose.")] = 500,
    old_data: options.OldData = None,
    old_extra: options.OldExtra = None,
) -> None:
    """Train a network on annotated faces.

    Points of your own, from a first picture to weights: docs/guide/points.md.

    A run can be killed at any moment (Ctrl-C and SIGTERM save it first); `--resume` goes on from its last save with the
    numbers of an uninterrupted run; a pack is named again. GPUs: `torchrun --nproc-per-node 4 -m srn train ...`.

    `--clips` makes a tracker of a picture model. It trains on annotated faces animated to short videos, in which heads
    turn, the camera shakes and things pass in front; every frame counts as a face. `--set clips.videos=true` takes the
    frames of real videos (300VW) instead.

    `--hofs` lets an agent choose the occlusions, where the network that it was trained against fails most.

    Example: `srn train 300W --out runs/first`

    Example: `srn train 300W --clips --initial runs/first/weights.safetensors --out runs/tracker`
    """
    with MissingDependencyError.importing("train", "training"):
        from srn.hofs.synthesis import HardOcclusion
        from srn.training.loop import Schedule
        from srn.training.runs import hold_run
        from srn.training.start import start_run

    _settle_process()
    packed = out / FACES_FILE
    given = options.joined_data(data, old_data, old_extra, needed=False)  # a run that goes on has its faces
    occluder = HardOcclusion.of_run(out, hofs, resume=resume)
    provenance = {"data": ", ".join(path.name for path in given or [packed])}
    if occluder is not None:
        provenance["hofs"] = KEPT_AGENT if hofs is None else hofs.name
    reuse = resume and (out / STATE_FILE).exists()
    weights = start_run(
        out, lambda: load_faces(given, packed, reuse=reuse, hold=hold_run)[0],
        preset=preset, clips=clips, initial=initial, count=faces, seed=seed, changes=set_ or [], occluder=occluder,
        resume=resume, schedule=Schedule(device=device, precision=precision, workers=workers, save_every=save_every),
        console=options.messages, provenance=provenance,
    )  # fmt: skip
    options.say(f"weights: {weights}")


def _settle_process() -> None:
    """Set what holds for the whole process, which a training has for itself."""
    from srn.inference.cores import limit_opencv
    from srn.training.memory import keep_memory

    keep_memory()
    limit_opencv(1)  # where no worker prepares the faces, OpenCV's threads would wait for those of the network


def average(
    words: Annotated[
        list[Path],
        typer.Argument(
            metavar="DATA WEIGHTS...",
            help="DATA: the runs' training faces, a dataset's root or a pack. WEIGHTS: of runs that began from the same"
            " ones. One named twice counts twice.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The averaged weights (.safetensors)."), WEIGHTS],
    run: Annotated[Path, typer.Option(help="Folder of one of the runs, for its recipe.")],
    faces_seen: Annotated[
        int | None, typer.Option(min=0, help="Faces that all the runs have seen, for the record.")
    ] = None,
    old_data: options.OldData = None,
) -> None:
    """Average the weights of several runs, and calibrate the expected errors of the mean.

    Example: `srn average faces.npz runs/a/weights.safetensors runs/b/weights.safetensors --run runs/a --out
    mean.safetensors`
    """
    data, *weights = words if old_data is None else [old_data, *words]
    if data.suffix in (".safetensors", ".onnx"):
        raise InputError.at("DATA", "the training faces before the weights", str(data))
    if not weights:
        raise InputError.at("DATA WEIGHTS", "training faces and weights", f"only {data}")
    with MissingDependencyError.importing("train", "averaging weights"):
        from srn.training.averaging import average_runs
        from srn.training.config import TrainConfig

    config = TrainConfig.load(run / CONFIG_FILE)
    pack, _ = load_faces([data])
    provenance = {"data": data.name} | ({} if faces_seen is None else {"faces_seen": str(faces_seen)})
    facts = average_runs(weights, out, config=config, pack=pack, provenance=provenance)
    options.say(f"{out}: {', '.join(f'{name} {value}' for name, value in facts.items())}")

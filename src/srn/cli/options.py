"""Options that several commands share, and how they become objects."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from srn.errors import InputError
from srn.evaluation import cache
from srn.evaluation.cache import EvaluationCache, default_folder
from srn.face.localizer import Localizer
from srn.inference.face_finder import FaceFinder, YuNetFinder
from srn.inference.landmarker import FaceLandmarker
from srn.inference.runtime import OnnxLocalizer

console = Console()
messages = Console(stderr=True)

Weights = Annotated[
    Path | None,
    typer.Option(
        help="Weights: an exported `.onnx`, or a training run's `.safetensors`. The shipped ones if left out."
    ),
]
Passes = Annotated[
    int,
    typer.Option(
        min=1,
        help="How often each face is looked at; from the second time on upright and tight. From two on, up to two looks"
        " more where the crop turns out to be misplaced.",
    ),
]
Flip = Annotated[
    bool, typer.Option("--flip-average/--no-flip-average", help="Average with the mirrored picture: twice the cost.")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores if left out.")]
YuNet = Annotated[Path | None, typer.Option(help="A YuNet `.onnx` file, to find faces with it instead.")]


class PrecisionName(StrEnum):
    """Arithmetic of the forward pass."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


CacheFolder = Annotated[
    Path | None, typer.Option("--cache", help="Folder that keeps results; the user's cache folder if left out.")
]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Measure anew, and keep nothing.")]


class Suffix(StrEnum):
    """File kinds that hold weights."""

    ONNX = ".onnx"
    SAFETENSORS = ".safetensors"


def open_localizer(weights: Path | None, threads: int | None) -> Localizer:
    """The network of a weights file. Only a training run's file needs PyTorch."""
    if weights is None or weights.suffix == Suffix.ONNX:
        return OnnxLocalizer(weights, threads=threads)
    if weights.suffix != Suffix.SAFETENSORS:
        raise InputError.at(weights, "weights as .onnx or .safetensors", weights.suffix or "no suffix")
    with needs_extra("train", "reading .safetensors weights"):
        import torch

        from srn.model.checkpoint import load_network
        from srn.model.localizer import TorchLocalizer
    if threads is not None:
        torch.set_num_threads(threads)
    network, metadata = load_network(weights)
    return TorchLocalizer(network, f"{weights.name}@{metadata.get('faces_seen', '?')} faces")


def open_landmarker(
    weights: Path | None, passes: int, flip: bool, threads: int | None, yunet: Path | None
) -> FaceLandmarker:
    """A landmarker from the shared options."""
    finder: FaceFinder | None = None if yunet is None else YuNetFinder(yunet)
    localizer = open_localizer(weights, threads)
    return FaceLandmarker(localizer=localizer, face_finder=finder, passes=passes, flip_average=flip, threads=threads)


def open_cache(folder: Path | None, none: bool) -> EvaluationCache | None:
    """Where results are kept; None where they are not to be."""
    return None if none else EvaluationCache(folder or default_folder())


def weights_digest(landmarker: FaceLandmarker, weights: Path | None) -> str | None:
    """Hash of the weights that a landmarker runs, read from their file."""
    trained = weights is not None and weights.suffix == Suffix.SAFETENSORS
    return cache.weights_digest(landmarker, weights if trained else None)


def counted(number: int, noun: str) -> str:
    """`1 face`, `2 faces`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def escaped(text: str) -> str:
    """Text that Rich prints as it is."""
    return text.replace("[", "\\[")


class needs_extra:
    """Turns the ImportError of an optional package into the line that says what to install."""

    def __init__(self, extra: str, what: str) -> None:
        self.extra, self.what = extra, what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ImportError) and error.name and not error.name.startswith("srn"):
            from srn.errors import MissingDependencyError

            raise MissingDependencyError.for_extra(error.name, self.extra, self.what) from error


def progress_bar(unit: str) -> Progress:
    """A bar on the standard error stream; nothing where that is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TaskProgressColumn(show_speed=True),
        TimeRemainingColumn(compact=True),
        console=messages,
        transient=True,
        disable=not messages.is_terminal,
    )

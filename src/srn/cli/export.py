"""`srn export`."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options
from srn.files import NETWORK


def export(
    weights: Annotated[Path, typer.Argument(help="A training run's `weights.safetensors`, or an exported `.onnx`.")],
    out: Annotated[Path, typer.Option(help="The ONNX file."), NETWORK],
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Cascade steps, as trained if left out; fewer are faster.")
    ] = None,
    half: Annotated[bool, typer.Option("--half/--full", help="Store weights in half precision.")] = True,
) -> None:
    """Write a network as one ONNX file for the runtime and compare its output with PyTorch's.

    Example: `srn export runs/first/weights.safetensors --out robust.onnx`
    """
    with options.needs_extra("train", "exporting"):
        from srn.model.checkpoint import adapted
        from srn.model.export import export_onnx, load_weights
    network, provenance = load_weights(weights, older=True)
    if iterations is not None:
        network = adapted(network, dataclasses.replace(network.config, iterations=iterations))
    difference = export_onnx(network, out, provenance=provenance, half=half)
    size = out.stat().st_size / 1e6
    options.say(f"{out}: {size:.1f} MB, landmarks within {difference:.1e} px of PyTorch")

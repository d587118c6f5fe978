"""`srn export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from srn.cli import options


def export(
    weights: Annotated[Path, typer.Argument(help="A training run's `weights.safetensors`, or an exported `.onnx`.")],
    out: Annotated[Path, typer.Option(help="The ONNX file.")],
    half: Annotated[bool, typer.Option("--half/--full", help="Store weights in half precision.")] = True,
) -> None:
    """Write a network as one ONNX file for the light runtime, its numbers checked against PyTorch.

    Example: `srn export runs/first/weights.safetensors --out robust.onnx`
    """
    with options.needs_extra("train", "exporting"):
        from srn.export import export_onnx, load_weights
    network, provenance = load_weights(weights)
    difference = export_onnx(network, out, provenance=provenance, half=half)
    size = out.stat().st_size / 1e6
    options.console.print(
        f"{out}: {size:.1f} MB, landmarks within {difference:.1e} px of PyTorch",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )

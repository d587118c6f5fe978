"""`srn export`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from srn.cli import options
from srn.errors import InputError, MissingDependencyError
from srn.files import NETWORK

if TYPE_CHECKING:
    from srn.face.geometry import ImageArray
    from srn.model.config import ModelConfig
    from srn.model.network import StructuralRelationNetwork

CALIBRATION_FACES = 128
"""Training faces that set the ranges of integers, drawn from the pack."""


def export(
    weights: Annotated[
        Path, typer.Argument(help="A training run's `weights.safetensors`, an exported `.onnx`, or a name.")
    ],
    out: Annotated[Path, typer.Option(help="The ONNX file."), NETWORK],
    data: Annotated[
        Path | None,
        typer.Argument(
            metavar="[DATA]",
            help="With `int8`: training faces, which set the ranges of the integers: a dataset's root, or a pack.",
        ),
    ] = None,
    iterations: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Cascade steps, as trained if left out. Fewer are faster, and tell no visibility and no confidence.",
        ),
    ] = None,
    precision: Annotated[
        Literal["half", "float32", "int8"],
        typer.Option(
            help="`half` and `float32`: how large weights are stored; both compute in float32. `int8`: compute in 8-bit"
            " integers, about twice as fast; needs DATA, and cannot be trained further."
        ),
    ] = "half",
    license_: Annotated[
        str | None,
        typer.Option(
            "--license",
            help="Licence of the weights, kept in the file; if left out, that of WEIGHTS, or `unstated`.",
        ),
    ] = None,
    old_data: options.OldData = None,
) -> None:
    """Write a network as one ONNX file for the runtime and compare its output with PyTorch's.

    The file's metadata say what goes in, what comes out, how a crop is cut, what it was trained on, and its licence.

    Example: `srn export runs/first/weights.safetensors --out robust.onnx`

    Example: `srn export robust faces.npz --precision int8 --out small.onnx`
    """
    data = data or old_data
    if (precision == "int8") != (data is not None):
        expected = "training faces with --precision int8, and with it alone"
        raise InputError.at("DATA", expected, "none" if data is None else f"--precision {precision}")
    if license_ is not None and not license_.strip():
        raise InputError.at("--license", "a licence's name, such as MIT", "an empty text")
    with MissingDependencyError.importing("train", "exporting"):
        from srn.model.export import export_int8, export_onnx
    network, provenance = _loaded(weights, iterations)
    provenance = provenance if license_ is None else {**provenance, "license": license_.strip()}
    if data is None:
        difference = export_onnx(network, out, provenance=provenance, half=precision == "half")
        compared = f"landmarks within {difference:.1e} px of PyTorch"
    else:
        difference = export_int8(network, out, _crops(data, network.config), provenance=provenance)
        compared = f"landmarks move by {difference:.2f} px on average"
    options.say(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {compared}")


def _loaded(weights: Path, iterations: int | None) -> tuple[StructuralRelationNetwork, dict[str, str]]:
    """Load a network and its metadata, with as many iterations as wanted."""
    from srn.model.checkpoint import shortened
    from srn.model.export import load_weights

    network, provenance = load_weights(weights, older=True)
    if iterations is None:
        return network, provenance
    short = shortened(network, iterations)
    if network.config.point_heads and not short.config.point_heads:
        options.note(
            f"the file will tell no visibility and no confidence, only after {network.config.iterations} iterations"
        )
    return short, provenance


def _crops(data: Path, config: ModelConfig) -> ImageArray:
    """Cut some faces as a network of this config sees them: (B, S, S, 3) uint8."""
    import numpy as np

    from srn.cli.data import load_faces
    from srn.face.geometry import CropGeometry

    pack, _ = load_faces([data])
    if pack.scheme.name != config.scheme_name:
        raise InputError.at(data, f"faces with {config.scheme_name} landmarks, as the weights have", pack.scheme.name)
    chosen = pack.subset(np.random.default_rng(0).permutation(len(pack))[:CALIBRATION_FACES])
    boxes = [sample.box for sample in chosen.samples(data)]
    return np.stack([CropGeometry.from_box(box, config.crop_spec).crop(chosen.image(k)) for k, box in enumerate(boxes)])

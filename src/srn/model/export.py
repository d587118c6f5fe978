"""Export of a torch network to one ONNX file for the runtime, and the way back to a torch network."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from onnx import helper, numpy_helper
from torch import Tensor

from srn.errors import InputError, SrnError, WeightsError
from srn.face.geometry import ImageArray
from srn.face.onnx_file import check_model, read_model, sealed
from srn.face.weights import find_weights, license_of
from srn.files import write_atomically
from srn.model.checkpoint import load_network, network_from
from srn.model.config import ModelConfig
from srn.model.graph import stored
from srn.model.network import StructuralRelationNetwork, direction_of
from srn.model.network_graph import NetworkGraph
from srn.model.quantize import quantized
from srn.model.usage import usage

FORMAT = "srn onnx 1"
INTEGERS = "int8"  # entry `precision` of a quantized file's metadata
UNSTATED = "unstated"  # entry `license` of the metadata where nobody said one
INPUTS = ("image", "initial_shape", "hidden", "initial_weight")

_BATCH = 16  # crops at a time


class ParityError(SrnError):
    """The outputs of the exported network and of the torch network differ."""


def _outputs(network: StructuralRelationNetwork, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Run a torch network as the runtime does, on all `INPUTS`: outputs as of a `Prediction`."""
    output = network(*inputs)
    if output.visibility is None or output.log_scale is None:
        return output.shapes, output.hidden
    # The density of the error vector is exp(-|e| / b) / (2 pi b^2); its mean length is 2 b.
    known = (output.shapes, output.hidden, torch.sigmoid(output.visibility), 2 * torch.exp(output.log_scale))
    return known if output.tendency is None else (*known, direction_of(output.tendency))


def _inputs(network: StructuralRelationNetwork, batch: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make inputs that exercise every path: random crops, every other face with an initial shape of its own."""
    generator = torch.Generator().manual_seed(seed)
    config = network.config
    image = torch.rand(batch, 3, config.crop_size, config.crop_size, generator=generator)
    shape = network.mean_initial_shape(batch) + torch.randn(batch, config.scheme.n_points, 2, generator=generator) * 3
    hidden = torch.rand(batch, config.hidden_size, generator=generator) - 0.5
    return image, shape, hidden, (torch.arange(batch) % 2).float()


def export_onnx(
    network: StructuralRelationNetwork,
    path: str | os.PathLike[str],
    *,
    provenance: Mapping[str, str] | None = None,
    half: bool = True,
) -> float:
    """Write a network as ONNX after checking it against PyTorch; return their `parity`.

    Parameters keep their names. Metadata hold the config, the scheme, the mean shape, the provenance, the licence and
    how the file is used.

    Args:
        network: the network.
        path: the `.onnx` file.
        provenance: text by name (data, recipe, faces seen, ...), kept in the file. `license` becomes an entry of its
            own; without it that says `unstated`.
        half: store large weights in half precision. The torch network of the comparison is rounded too, so that the
            check covers the graph alone.

    Raises:
        InputError: the path has another suffix, by which it could not be opened; or it cannot be written.
        ParityError: the two differ by more than 0.01 pixel anywhere; nothing is written.
    """
    _check_suffix(path)
    state = {name: stored(tensor, half=half) for name, tensor in network.state_dict().items()}
    rounded = network_from(state, network.config, "network").eval()
    model = NetworkGraph(rounded, half=half).model()
    content = _file(model, network, provenance)
    difference = parity(rounded, content)
    if not difference <= 0.01:  # so that a NaN is a difference, too
        raise ParityError(f"{path}: ONNX Runtime and PyTorch differ by {difference:.3g} pixels; nothing was written")
    write_atomically(path, content)
    return difference


def export_int8(
    network: StructuralRelationNetwork,
    path: str | os.PathLike[str],
    crops: ImageArray,
    *,
    provenance: Mapping[str, str] | None = None,
) -> float:
    """Write a network as ONNX that computes in 8-bit integers where that is faster (`quantized`).

    It cannot be trained further: the file does not hold the network's parameters.

    Args:
        network, path, provenance: as of `export_onnx`.
        crops: (B, S, S, 3) uint8 RGB, training faces. They set the range of each layer's values.

    Returns:
        The mean distance, in pixels of these crops, by which the last shape moves.

    Raises:
        InputError: as of `export_onnx`.
        ParityError: they move by more than a pixel; nothing is written.
    """
    _check_suffix(path)
    model = NetworkGraph(network.eval(), half=False).model()
    batches = [_feeds(network, crops[k : k + _BATCH]) for k in range(0, len(crops), _BATCH)]
    content = _file(quantized(model, batches), network, provenance, precision=INTEGERS)
    before, after = (_session(c) for c in (model.SerializeToString(), content))
    moved = [after.run(["shapes"], feeds)[0] - before.run(["shapes"], feeds)[0] for feeds in batches]
    distance = float(np.linalg.norm(np.concatenate(moved)[:, -1], axis=2).mean())
    if not distance <= 1:
        raise ParityError(f"{path}: integers move the landmarks by {distance:.3g} pixels; nothing was written")
    write_atomically(path, content)
    return distance


def _check_suffix(path: str | os.PathLike[str]) -> None:
    suffix = Path(path).suffix
    if suffix != ".onnx":
        raise InputError.at(path, "a file that ends in .onnx", suffix or "no suffix")


def _file(
    model: onnx.ModelProto, network: StructuralRelationNetwork, provenance: Mapping[str, str] | None, **facts: str
) -> bytes:
    """Return a model's file: with its description and its digest."""
    mean_shape = json.dumps(np.round(network.mean_shape.numpy().astype(float), 6).tolist())
    record = dict(provenance or {})
    words = usage(network.config, [output.name for output in model.graph.output])
    texts = {"mean_shape": mean_shape, "license": record.pop("license", UNSTATED), "usage": words}
    texts["provenance"] = json.dumps(record, sort_keys=True)
    helper.set_model_props(model, {"format": FORMAT, "config": network.config.to_json(), **texts, **facts})
    onnx.checker.check_model(model)
    return sealed(model.SerializeToString())


def _feeds(network: StructuralRelationNetwork, crops: ImageArray) -> dict[str, npt.NDArray[np.float32]]:
    """Return the runtime's inputs for crops without an initial shape."""
    batch, n = len(crops), network.config.scheme.n_points
    image = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32) / np.float32(255)
    shapes = {"initial_shape": (batch, n, 2), "hidden": (batch, network.config.hidden_size), "initial_weight": (batch,)}
    return {"image": image} | {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def _session(content: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def parity(network: StructuralRelationNetwork, content: bytes) -> float:
    """Largest difference of a landmark (crop pixels) between a torch network and ONNX bytes, in two batches."""
    session = _session(content)
    worst = 0.0
    for batch in (1, 3):
        example = _inputs(network, batch, seed=batch)
        got = session.run(None, {name: t.numpy() for name, t in zip(INPUTS, example, strict=True)})
        for ours, theirs in zip(_outputs(network, example), got, strict=True):
            worst = float(np.maximum(worst, np.abs(ours.numpy() - theirs).max()))
    return worst


def load_onnx(path: str | os.PathLike[str], *, older: bool = False) -> tuple[StructuralRelationNetwork, dict[str, Any]]:
    """Read a torch network, in evaluation mode, and its provenance; raise `WeightsError` unless exported here.

    The provenance has an entry `license` where the file states one, or is of the catalogue.
    With `older` a file without a digest is accepted, as versions before 0.9 wrote it.
    """
    expected = f"a network exported by 'srn export' ({FORMAT})"
    path = find_weights(path)
    with WeightsError.reading(path, expected):
        content = read_model(path, expected)
        check_model(content, path, expected, own=not older)
        model = onnx.load_model_from_string(content)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        if metadata.get("format") != FORMAT:
            raise WeightsError.at(path, expected, "another ONNX file")
        if metadata.get("precision") == INTEGERS:
            raise WeightsError.at(path, "a network with its parameters", "one in integers, which has none")
        config = ModelConfig.from_json(metadata["config"], path)
        mean = np.array(json.loads(metadata["mean_shape"]), np.float32)
        provenance = dict(json.loads(metadata["provenance"]))
        license = metadata.get("license", UNSTATED)
        known = license_of(content) if license == UNSTATED else license
        provenance |= {} if known is None else {"license": known}
        tensors = StructuralRelationNetwork(config, mean).state_dict()
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    # The graph does not use the counters of seen batches, so the file lacks them.
    missing = [name for name in tensors if name not in stored and not name.endswith("num_batches_tracked")]
    if missing:
        raise WeightsError.at(path, f"a tensor '{missing[0]}'", f"none ({len(missing)} are missing)")
    for name in tensors.keys() & stored.keys():
        tensors[name] = torch.from_numpy(numpy_helper.to_array(stored[name]).astype(np.float32))
    return network_from(tensors, config, path).eval(), provenance


def load_weights(
    path: str | os.PathLike[str], *, older: bool = False
) -> tuple[StructuralRelationNetwork, dict[str, str]]:
    """Read a network and its provenance from a run's `.safetensors` or an exported `.onnx` file (see `load_onnx`)."""
    path = find_weights(path)
    if path.suffix == ".onnx":
        return load_onnx(path, older=older)
    network, metadata = load_network(path)
    return network, {key: value for key, value in metadata.items() if key not in {"config", "format"}}

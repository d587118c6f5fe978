"""Export of a torch network to one ONNX file for the runtime, and the way back to a torch network."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from srn.errors import SrnError, WeightsError
from srn.face.onnx_file import check_model, sealed
from srn.files import write_atomically
from srn.model.checkpoint import load_network, network_from
from srn.model.config import ModelConfig
from srn.model.network import StructuralRelationNetwork

FORMAT = "srn onnx 1"
OPSET = 18
"""`GridSample` needs 16; the exporter writes 18 without a conversion."""

INPUTS = ("image", "initial_shape", "hidden", "initial_weight")

_HALF_FROM = 1024
"""Tensors of at least this many numbers are stored in half precision."""


class ParityError(SrnError):
    """The outputs of the exported network and of the torch network differ."""


class _Deployed(nn.Module):
    """The network as the runtime calls it: all `INPUTS` given, outputs as of a `Prediction`."""

    def __init__(self, network: StructuralRelationNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, shape: Tensor, hidden: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        output = self.network(image, shape, hidden, weight)
        if output.visibility is None or output.log_scale is None:
            return output.shapes, output.hidden
        # The density of the error vector is exp(-|e| / b) / (2 pi b^2); its mean length is 2 b.
        return output.shapes, output.hidden, torch.sigmoid(output.visibility), 2 * torch.exp(output.log_scale)


def _inputs(network: StructuralRelationNetwork, batch: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Make inputs that exercise every path: random crops, every other face with an initial shape of its own."""
    generator = torch.Generator().manual_seed(seed)
    config = network.config
    image = torch.rand(batch, 3, config.crop_size, config.crop_size, generator=generator)
    shape = network.mean_initial_shape(batch) + torch.randn(batch, config.scheme.n_points, 2, generator=generator) * 3
    hidden = torch.rand(batch, config.hidden_size, generator=generator) - 0.5
    return image, shape, hidden, (torch.arange(batch) % 2).float()


def _halve(model: onnx.ModelProto) -> None:
    """Store large initializers as float16 behind a cast back to float32, which ONNX Runtime folds when it loads."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < _HALF_FROM:
            continue
        name, values = tensor.name, numpy_helper.to_array(tensor)
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name))
        _rename_uses(model, name, f"{name}.float32")
        casts.append(helper.make_node("Cast", [name], [f"{name}.float32"], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _fold_batch_norms(model: onnx.ModelProto) -> None:
    """Multiply batch norms into the convolutions before them, by nodes on constants.

    The file keeps every parameter. ONNX Runtime computes the nodes once when it loads, and can then choose its fast
    layout of convolutions, which a batch norm behind them prevents.
    """
    graph = model.graph
    if all(node.op_type != "BatchNormalization" for node in graph.node):
        return
    convolutions = {node.output[0]: node for node in graph.node if node.op_type == "Conv"}
    graph.initializer.append(numpy_helper.from_array(np.array([-1, 1, 1, 1], np.int64), "fold.shape"))
    nodes: list[onnx.NodeProto] = []
    for norm in graph.node:
        if norm.op_type != "BatchNormalization":
            nodes.append(norm)
            continue
        source, gamma, beta, mean, variance = norm.input
        epsilon = next(attribute.f for attribute in norm.attribute if attribute.name == "epsilon")
        name = gamma.removesuffix(".weight")
        graph.initializer.append(numpy_helper.from_array(np.array(epsilon, np.float32), f"{name}.epsilon"))
        convolution = convolutions[source]
        weight = convolution.input[1]
        steps = (
            ("Add", (variance, f"{name}.epsilon"), f"{name}.power"),
            ("Sqrt", (f"{name}.power",), f"{name}.deviation"),
            ("Div", (gamma, f"{name}.deviation"), f"{name}.scale"),
            ("Reshape", (f"{name}.scale", "fold.shape"), f"{name}.scales"),
            ("Mul", (weight, f"{name}.scales"), f"{name}.folded_weight"),
            ("Mul", (mean, f"{name}.scale"), f"{name}.shift"),
            ("Sub", (beta, f"{name}.shift"), f"{name}.folded_bias"),
        )
        nodes.remove(convolution)
        nodes += [helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps]
        folded = [convolution.input[0], f"{name}.folded_weight", f"{name}.folded_bias"]
        nodes.append(convolution)
        del convolution.input[:]
        convolution.input.extend(folded)  # batch norm stands in place of a bias
        convolution.output[0] = norm.output[0]
    del graph.node[:]
    graph.node.extend(nodes)


def _strip(model: onnx.ModelProto) -> None:
    """Drop source locations, which name the exporting machine, and unused intermediate shapes."""
    del model.graph.value_info[:]
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    model.producer_name, model.producer_version, model.doc_string = "srn", "", ""


def _graph(network: StructuralRelationNetwork) -> onnx.ModelProto:
    """Trace a network; initializers keep the names of its parameters."""
    deployed = _Deployed(network).eval()
    example = _inputs(network, 2)
    outputs = ["shapes", "hidden_out", "visibility", "expected_error"][: len(deployed(*example))]
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations: nothing a user could act on
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            deployed, example, dynamo=True, opset_version=OPSET, optimize=False, verbose=False,
            input_names=INPUTS, output_names=outputs, dynamic_shapes=tuple({0: batch} for _ in INPUTS),
        )  # fmt: skip
    if program is None:
        raise ParityError("torch.onnx.export returned no program")
    model: onnx.ModelProto = program.model_proto
    for tensor in model.graph.initializer:
        if tensor.name.startswith("network."):
            old, tensor.name = tensor.name, tensor.name.removeprefix("network.")
            _rename_uses(model, old, tensor.name)
    missing = set(dict(network.named_parameters())) - {tensor.name for tensor in model.graph.initializer}
    if missing:
        raise ParityError(f"the exporter changed {len(missing)} parameters, e.g. {sorted(missing)[0]}")
    return model


def export_onnx(
    network: StructuralRelationNetwork,
    path: str | os.PathLike[str],
    *,
    provenance: Mapping[str, str] | None = None,
    half: bool = True,
) -> float:
    """Write a network as ONNX after checking it against PyTorch; return their `parity`.

    Parameters keep their names. Metadata hold the config, the scheme, the mean shape and the provenance.

    Args:
        network: the network.
        path: the `.onnx` file.
        provenance: text by name (data, recipe, faces seen, ...), kept in the file.
        half: store large weights in half precision. The torch network of the comparison is rounded too, so that the
            check covers the graph alone.

    Raises:
        ParityError: the two differ by more than 0.01 pixel anywhere; nothing is written.
    """
    state = {
        name: t.half().float() if half and t.is_floating_point() and t.numel() >= _HALF_FROM else t
        for name, t in network.state_dict().items()
    }
    rounded = network_from(state, network.config, "network").eval()
    model = _graph(rounded)
    _fold_batch_norms(model)
    _strip(model)
    if half:
        _halve(model)
    mean_shape = json.dumps(np.round(network.mean_shape.numpy().astype(float), 6).tolist())
    texts = {"mean_shape": mean_shape, "provenance": json.dumps(dict(provenance or {}), sort_keys=True)}
    del model.metadata_props[:]
    helper.set_model_props(model, {"format": FORMAT, "config": network.config.to_json(), **texts})
    onnx.checker.check_model(model)
    content = sealed(model.SerializeToString())
    difference = parity(rounded, content)
    if not difference <= 0.01:  # so that a NaN is a difference, too
        raise ParityError(f"{path}: ONNX Runtime and PyTorch differ by {difference:.3g} pixels; nothing was written")
    write_atomically(path, content)
    return difference


def _rename_uses(model: onnx.ModelProto, old: str, new: str) -> None:
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = new


@torch.no_grad()
def parity(network: StructuralRelationNetwork, content: bytes, batches: tuple[int, ...] = (1, 3)) -> float:
    """Largest difference of a landmark (crop pixels) between a torch network and ONNX bytes, over some batch sizes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in batches:
        example = _inputs(network, batch, seed=batch)
        got = session.run(None, {name: t.numpy() for name, t in zip(INPUTS, example, strict=True)})
        for ours, theirs in zip(_Deployed(network)(*example), got, strict=True):
            worst = float(np.maximum(worst, np.abs(ours.numpy() - theirs).max()))
    return worst


def load_onnx(path: str | os.PathLike[str], *, older: bool = False) -> tuple[StructuralRelationNetwork, dict[str, Any]]:
    """Read a torch network, in evaluation mode, and its provenance; raise `WeightsError` unless exported here.

    With `older` a file without a digest is accepted, as versions before 0.9 wrote it.
    """
    expected = f"a network exported by 'srn export' ({FORMAT})"
    with WeightsError.reading(path, expected):
        content = Path(path).read_bytes()
        check_model(content, path, expected, own=not older)
        model = onnx.load_model_from_string(content)
        metadata = {entry.key: entry.value for entry in model.metadata_props}
        if metadata.get("format") != FORMAT:
            raise WeightsError.at(path, expected, "another ONNX file")
        config = ModelConfig.from_json(metadata["config"], path)
        mean = np.array(json.loads(metadata["mean_shape"]), np.float32)
        provenance = dict(json.loads(metadata["provenance"]))
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
    if Path(path).suffix == ".onnx":
        return load_onnx(path, older=older)
    network, metadata = load_network(path)
    return network, {key: value for key, value in metadata.items() if key not in {"config", "format"}}

"""Checkpoints: safetensors files that contain the network's config. No pickle anywhere."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors import safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from srn.errors import InputError, WeightsError
from srn.files import write_atomically
from srn.model.config import ModelConfig
from srn.model.network import StructuralRelationNetwork

FORMAT = "srn weights 1"
DIGEST = "sha256"  # entry of the file's text


def save_tensors(
    path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str], *, half: bool = False
) -> None:
    """Write named tensors, floats in half precision if wanted, and text with their digest.

    The file is complete and on the disk before it gets its name.
    """
    stored = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    if half:
        stored = {name: t.half() if t.is_floating_point() else t for name, t in stored.items()}
    texts = {**metadata, DIGEST: _digest(stored, metadata)}
    write_atomically(path, _in_order(safetensors_bytes(stored, texts)), durable=True)


def _in_order(content: bytes) -> bytes:
    """Sort the text in the header of a safetensors file: as it is written, its order differs from process to process.

    So the same tensors and text are the same bytes.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8
    return b"".join([len(text).to_bytes(8, "little"), text, memoryview(content)[start:]])


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors and text by name.

    Raises:
        WeightsError: the file is missing, broken, or does not have the digest stored in it. Older files have none.
    """
    expected = "a safetensors file"
    if os.path.exists(path) and not os.path.isfile(path):  # a pipe would hold the process in foreign code
        raise WeightsError.at(path, expected, "a folder, a pipe or a device")
    with WeightsError.reading(path, expected):
        with safe_open(os.fspath(path), framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
        digest = metadata.pop(DIGEST, None)
        if digest is not None and digest != _digest(tensors, metadata):
            raise WeightsError.at(path, "tensors with the SHA-256 stored beside them", "a damaged file")
        return tensors, metadata


def _digest(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """Return the SHA-256 of tensors, with their names and shapes, and of text."""
    digest = hashlib.sha256(repr(sorted(metadata.items())).encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def save_network(
    path: str | os.PathLike[str],
    network: StructuralRelationNetwork,
    *,
    provenance: Mapping[str, str] | None = None,
    half: bool = False,
) -> None:
    """Write a network, in half precision if wanted, with its config and provenance (free text by name)."""
    metadata = {**(provenance or {}), "format": FORMAT, "config": network.config.to_json()}
    save_tensors(path, network.state_dict(), metadata, half=half)


def network_from(tensors: Mapping[str, Tensor], config: ModelConfig, where: Any) -> StructuralRelationNetwork:
    """Build a network of a config from tensors; raise `WeightsError` if those of `where` do not fit."""
    if "mean_shape" not in tensors:
        raise WeightsError.at(where, "a tensor 'mean_shape'", "none")
    if tensors["mean_shape"].shape != (config.scheme.n_points, 2):
        found = str(tuple(tensors["mean_shape"].shape))
        raise WeightsError.at(where, f"a mean shape of {config.scheme.n_points} points", found)
    mean_shape = tensors["mean_shape"].float().numpy()
    with torch.device("meta"):  # takes no memory, whatever sizes a config names
        wanted = StructuralRelationNetwork(config, mean_shape).state_dict()
    for name, tensor in tensors.items():
        if name in wanted and wanted[name].shape != tensor.shape:
            expected = f"{name} {tuple(wanted[name].shape)}, as of {config.to_json()}"
            raise WeightsError.at(where, expected, str(tuple(tensor.shape)))
    network = StructuralRelationNetwork(config, mean_shape)
    try:
        network.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        raise WeightsError.at(where, f"the weights of {config.to_json()}", " ".join(str(error).split())) from error
    return network


def load_network(path: str | os.PathLike[str]) -> tuple[StructuralRelationNetwork, dict[str, str]]:
    """Read a network, in evaluation mode and full precision, and the file's text entries, else raise `WeightsError`."""
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise WeightsError.at(path, FORMAT, metadata.get("format", "a file without a format entry"))
    return network_from(tensors, ModelConfig.from_json(metadata.get("config", ""), path), path).eval(), metadata


def adapted(
    network: StructuralRelationNetwork, config: ModelConfig, mean_shape: npt.NDArray[np.floating] | None = None
) -> StructuralRelationNetwork:
    """Carry weights over to a network of another config.

    The size of the face in the crop, the number of iterations and the recurrence (equation 13) may differ without
    changing any weight. Additional residual blocks begin as identities. With another initial shape (`coarse_shape`,
    `hourglass`), other landmarks, a visibility head or an error direction, the layers made for the old ones begin anew,
    and the rest is kept, expected errors included. Without point heads theirs are left out. Other landmarks need their
    mean shape (N, 2), normalized as for `StructuralRelationNetwork`.

    Raises:
        InputError: `config` differs in more than that, or other landmarks come without a mean shape.
    """
    old = network.config
    deeper = all(new >= now for new, now in zip(config.blocks, old.blocks, strict=True))
    names = (
        "preset", "face_size", "iterations", "recurrence", "blocks", "coarse_shape", "hourglass", "scheme_name",
        "visibility_width", "error_direction", *["point_heads"] * old.point_heads,
    )  # fmt: skip
    if not deeper or dataclasses.replace(config, **{name: getattr(old, name) for name in names}) != old:
        raise InputError.at("initial weights", f"the network {config.to_json()}", old.to_json())
    state = network.state_dict()
    if config.visibility_width and not old.visibility_width:
        state |= {name: t[..., -1:] for name, t in state.items() if name in ("point_heads.weight", "point_heads.bias")}
    if config.scheme_name == old.scheme_name:
        mean_shape = network.mean_shape.cpu().numpy()
    elif mean_shape is None:
        raise InputError.at("initial weights", f"{config.scheme_name} landmarks, or a mean shape", old.scheme_name)
    else:
        del state["mean_shape"]
    result = StructuralRelationNetwork(config, mean_shape)
    wanted = result.state_dict()
    kept = {name: tensor for name, tensor in state.items() if name in wanted and wanted[name].shape == tensor.shape}
    result.load_state_dict(kept, strict=False)
    return result.train(network.training)


def shortened(network: StructuralRelationNetwork, iterations: int) -> StructuralRelationNetwork:
    """Leave out the last iterations of a network.

    What is told of the points, their visibility and expected error, is learned from the features of the last iteration
    alone. Of earlier ones it is wrong: sure points are taken for doubtful. So it is left out as well.

    Raises:
        InputError: the network was trained for fewer iterations.
    """
    old = network.config
    if iterations > old.iterations:  # further ones move the points away
        raise InputError.at("--iterations", f"at most {old.iterations}, as the weights were trained", str(iterations))
    if iterations == old.iterations:
        return network
    config = dataclasses.replace(
        old, iterations=iterations, point_heads=False, visibility_width=0, error_direction=False
    )
    return adapted(network, config)

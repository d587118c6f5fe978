"""Checkpoints: safetensors files with the network's description inside. No pickle anywhere."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as safetensors_bytes
from torch import Tensor

from srn.errors import InputError, WeightsError
from srn.model.config import ModelConfig
from srn.model.network import StructuralRelationNetwork

FORMAT = "srn weights 1"


def save_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write named tensors and text: beside the file first, then renamed into place and flushed to the disk."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    content = safetensors_bytes({name: t.detach().cpu().contiguous() for name, t in tensors.items()}, dict(metadata))
    beside = target.with_name(f".{target.name}.partial")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    finally:
        beside.unlink(missing_ok=True)


def load_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `save_tensors` wrote.

    Raises:
        WeightsError: the file is missing or is not a safetensors file.
    """
    try:
        with safe_open(os.fspath(path), framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise WeightsError.at(path, "a safetensors file", f"{error}") from error


def save_network(
    path: str | os.PathLike[str],
    network: StructuralRelationNetwork,
    *,
    provenance: Mapping[str, str] | None = None,
    half: bool = False,
) -> None:
    """Write a network: weights, mean shape, config and scheme, and where it came from.

    Args:
        path: the `.safetensors` file.
        network: what to write.
        provenance: free text by name (recipe, faces seen, data, ...), kept in the file.
        half: store floating-point weights in half precision.
    """
    tensors: dict[str, Tensor] = dict(network.state_dict())
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    metadata = {**(provenance or {}), "format": FORMAT, "config": network.config.to_json()}
    save_tensors(path, tensors, metadata)


def network_from(tensors: Mapping[str, Tensor], config: ModelConfig, where: Any) -> StructuralRelationNetwork:
    """Build a network of that config and fill it.

    Raises:
        WeightsError: names or sizes of the tensors do not fit; `where` is what the message calls them.
    """
    if "mean_shape" not in tensors:
        raise WeightsError.at(where, "a tensor 'mean_shape'", "none")
    if tensors["mean_shape"].shape != (config.scheme.n_points, 2):
        found = str(tuple(tensors["mean_shape"].shape))
        raise WeightsError.at(where, f"a mean shape of {config.scheme.n_points} points", found)
    network = StructuralRelationNetwork(config, tensors["mean_shape"].float().numpy())
    try:
        network.load_state_dict({name: t.float() if t.is_floating_point() else t for name, t in tensors.items()})
    except RuntimeError as error:
        raise WeightsError.at(where, f"the weights of {config.to_json()}", " ".join(str(error).split())) from error
    return network


def load_network(path: str | os.PathLike[str]) -> tuple[StructuralRelationNetwork, dict[str, str]]:
    """Read a network, in evaluation mode and full precision, and the file's text entries.

    Raises:
        WeightsError: the file is missing, not ours, or does not fit its own description.
    """
    tensors, metadata = load_tensors(path)
    if metadata.get("format") != FORMAT:
        raise WeightsError.at(path, FORMAT, metadata.get("format", "a file without a format entry"))
    return network_from(tensors, ModelConfig.from_json(metadata.get("config", "")), path).eval(), metadata


def adapted(network: StructuralRelationNetwork, config: ModelConfig) -> StructuralRelationNetwork:
    """The same weights at another task: crops that show the face in another size, more or fewer iterations, the state
    carried from frame to frame (equation 13); or with more to learn: further residual blocks, which begin as
    identities, so that they change no answer.

    Raises:
        InputError: `config` differs in more than that.
    """
    old = network.config
    deeper = all(new >= now for new, now in zip(config.blocks, old.blocks, strict=True))
    free = {name: getattr(old, name) for name in ("preset", "face_size", "iterations", "recurrence", "blocks")}
    if not deeper or dataclasses.replace(config, **free) != old:
        raise InputError.at("initial weights", f"the network {config.to_json()}", old.to_json())
    result = StructuralRelationNetwork(config, network.mean_shape.cpu().numpy())
    result.load_state_dict(network.state_dict(), strict=False)
    return result.train(network.training)

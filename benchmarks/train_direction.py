"""Add the direction of each point's error to any weights; no point, visibility or expected error moves.

    python benchmarks/train_direction.py PACK --initial WEIGHTS --out directed.safetensors
    srn export directed.safetensors --out directed.onnx

PACK is made by `srn data pack 300W --quality 90`. The frozen network runs once over augmented crops of its training
faces, in bf16 where the processor has it; the head (`DirectionHead`) then learns from what it read of them. The
network knows these faces, so its errors on them are too small, but their shape is what counts. `--validation` faces are
kept apart, as in a training; at the end the gain in log-likelihood on them is told.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from head_training import fit, head_parser, prepare, shuffled, steps_of, watched
from results import program
from srn.datasets.pack import FacePack
from srn.face.weights import find_weights
from srn.model.checkpoint import adapted, save_network
from srn.model.export import load_weights
from srn.model.network import DirectionHead, StructuralRelationNetwork
from srn.synthesis.config import AugmentConfig
from srn.training.loss import directed_lengths
from srn.training.stream import FaceStream, split_validation

AUGMENTATION = AugmentConfig(second_pass=0.5)
VALIDATION_CROPS = 4
"""Of each validation face."""

PEAK, WEIGHT_DECAY, DROPOUT = 2e-3, 1e-2, 0.2


class Read(NamedTuple):
    """What a head reads of F crops, and the errors there.

    Attributes:
        relational: (F, N, C), half precision.
        hidden: (F, H), half precision.
        placed: (F, N, 2) shape in face units.
        error: (F, N, 2) truth minus shape, face units.
        scale: (F, N) b, half of the expected error, face units.
    """

    relational: Tensor
    hidden: Tensor
    placed: Tensor
    error: Tensor
    scale: Tensor

    def rows(self, rows: npt.NDArray[np.integer]) -> Read:
        """Return some crops, in full precision."""
        return Read(*(part[torch.from_numpy(rows)].float() for part in self))


def read_crops(network: StructuralRelationNetwork, pack: FacePack, count: int, seed: int) -> Read:
    """Run a network over `count` augmented crops of a pack."""
    head, config = network.direction_head, network.config
    assert head is not None
    stream, parts = FaceStream(pack, config.crop_spec, AUGMENTATION, seed), list[list[Tensor]]()
    for batch in watched(network, head, [stream], count):
        relational, hidden, placed = batch.inputs
        error = (batch.landmarks[0] - batch.output.shapes[:, -1].float()) / config.face_size
        assert batch.output.log_scale is not None
        scale = torch.exp(batch.output.log_scale.float())
        parts.append([relational.half(), hidden.half(), placed.float(), error, scale])
    return Read(*(torch.cat(part) for part in zip(*parts, strict=True)))


def train_head(head: DirectionHead, read: Read, epochs: int, seed: int) -> None:
    """Learn the directions of errors, weighted by what was expected of them."""

    def cost(_: int, rows: npt.NDArray[np.int64]) -> Tensor:
        some = read.rows(rows)
        relational, hidden = (functional.dropout(part, DROPOUT) for part in (some.relational, some.hidden))
        return (directed_lengths(head(relational, hidden, some.placed), some.error) / some.scale).mean()

    sizes = [len(read.error)]
    batches = shuffled(sizes, epochs, np.random.default_rng(seed))
    fit(head, batches, cost, steps_of(sizes, epochs), peak=PEAK, weight_decay=WEIGHT_DECAY)


@torch.no_grad()
def gain(head: DirectionHead, read: Read) -> float:
    """Return by how much the direction raises the mean log-likelihood of an error, with the ellipses of the faces."""
    some = read.rows(np.arange(len(read.error)))
    tendency = head(some.relational, some.hidden, some.placed)
    wide = torch.cosh(tendency.norm(dim=-1))  # A = M / wide
    lengths = directed_lengths(tendency, some.error) * wide.sqrt()
    return float(((some.error.norm(dim=-1) - lengths) / some.scale + torch.log(wide)).mean())


def with_head(network: StructuralRelationNetwork) -> StructuralRelationNetwork:
    """Return a network with a new head for directions; all else is that of the given one."""
    config = dataclasses.replace(network.config, error_direction=False)
    network = adapted(network, config)  # without the head that it may have
    config = dataclasses.replace(config, error_direction=True)
    return adapted(network, config).eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def train(options: argparse.Namespace) -> None:
    """Read the crops, train the head and save the network."""
    prepare(options)
    network, record = load_weights(find_weights(options.initial), older=True)
    network = with_head(network)
    head = network.direction_head
    assert head is not None
    training, validation = split_validation(FacePack.load(options.pack), options.validation)
    train_head(head, read_crops(network, training, options.crops, options.seed), options.epochs, options.seed)
    facts = {
        "direction_crops": str(options.crops),
        "direction_epochs": str(options.epochs),
        "direction_faces": str(len(training)),
        "direction_seed": str(options.seed),
    }
    if validation is not None:
        held_out = read_crops(network, validation, VALIDATION_CROPS * len(validation), options.seed + 1)
        facts["direction_gain"] = f"{gain(head, held_out):.4f}"
        print(f"log-likelihood of an error on {len(validation)} validation faces: +{facts['direction_gain']}")
    save_network(options.out, network, provenance={**record, **facts})


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = head_parser(__doc__, epochs=12)
    made.add_argument("--crops", type=int, default=12000, help="crops to learn from (default: 12000)")
    made.add_argument("--validation", type=int, default=96, help="faces that are kept apart (default: 96)")
    return made


main = program(train, parser)

if __name__ == "__main__":
    sys.exit(main())

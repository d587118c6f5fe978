"""Train one head of a network whose other weights stay: what it reads of crops, and the steps of learning from that."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from srn.model.network import CascadeOutput, StructuralRelationNetwork

BATCH = 32
AVERAGING = 0.99


def head_parser(description: str | None, *, epochs: int) -> argparse.ArgumentParser:
    """Describe what every training of a head takes: the pack, the network, the file, epochs, seed and threads."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("pack", type=Path, help="training faces, made by srn data pack")
    made.add_argument("--out", type=Path, required=True, metavar="FILE", help="the .safetensors file to write")
    made.add_argument("--initial", default="robust", help="network whose other weights stay (default: the shipped one)")
    made.add_argument("--epochs", type=int, default=epochs, help=f"of the head over all crops (default: {epochs})")
    made.add_argument("--seed", type=int, default=0, help="of weights, order and augmentation (default: 0)")
    made.add_argument("--threads", type=int, default=1, help="CPU threads (default: 1)")
    return made


def prepare(options: argparse.Namespace) -> None:
    """Set the seed and the threads of a training."""
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(0)


class Watched(NamedTuple):
    """A batch of crops through a network.

    Attributes:
        images: (B, 3, S, S), the crops, float in [0, 1].
        landmarks, visible: (B, N, 2) crop pixels and (B, N) of the crops of each stream.
        inputs: what the watched module read.
        output: of the network.
    """

    images: Tensor
    landmarks: list[Tensor]
    visible: list[Tensor]
    inputs: list[Tensor]
    output: CascadeOutput


@torch.no_grad()
def output_of(network: StructuralRelationNetwork, images: Tensor) -> CascadeOutput:
    """Run a network on crops (B, 3, S, S), in bf16 where the processor has it."""
    with torch.autocast("cpu", torch.bfloat16):
        output: CascadeOutput = network(images.contiguous(memory_format=torch.channels_last))
    return output


def watched(
    network: StructuralRelationNetwork, module: nn.Module, streams: Sequence[Dataset[tuple[Tensor, ...]]], count: int
) -> Iterator[Watched]:
    """Run a network once over the first `count` crops of the first stream.

    The other streams have the same crops with other truths.
    """
    begin, inputs = time.monotonic(), list[Tensor]()
    hook = module.register_forward_pre_hook(lambda _, read: inputs.extend(read))
    try:
        for first in range(0, count, BATCH):
            faces = [[stream[i] for i in range(first, min(first + BATCH, count))] for stream in streams]
            images = torch.stack([face[0] for face in faces[0]]).float() / 255
            inputs.clear()
            output = output_of(network, images)
            landmarks, visible = ([torch.stack([face[k] for face in some]) for some in faces] for k in (1, 2))
            yield Watched(images, landmarks, visible, list(inputs), output)
            if first // BATCH % 20 == 0:
                print(f"crop {first} of {count}, {time.monotonic() - begin:.0f} s", flush=True)
    finally:
        hook.remove()


def steps_of(sizes: Sequence[int], epochs: int, batch: int = BATCH) -> int:
    """Return how many batches `shuffled` gives."""
    return epochs * sum(max(size // batch, 1) for size in sizes)


def shuffled(
    sizes: Sequence[int], epochs: int, rng: np.random.Generator, batch: int = BATCH
) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
    """Yield the batches of all epochs over parts of some sizes: the part, and its rows, each once an epoch."""
    for _ in range(epochs):
        batches = [
            (part, np.sort(rows))
            for part, size in enumerate(sizes)
            for rows in np.array_split(rng.permutation(size), max(size // batch, 1))
        ]
        yield from (batches[k] for k in rng.permutation(len(batches)))


def fit(
    head: nn.Module,
    batches: Iterator[tuple[int, npt.NDArray[np.int64]]],
    cost: Callable[[int, npt.NDArray[np.int64]], Tensor],
    steps: int,
    *,
    peak: float,
    weight_decay: float,
) -> None:
    """Minimize the cost of the batches by AdamW, and leave the averaged weights in the head."""
    optimizer = torch.optim.AdamW(head.parameters(), lr=peak, weight_decay=weight_decay)
    average = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    for step, (part, rows) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = peak * min((step + 1) / 50, (steps - step) / (0.6 * steps), 1.0)
        loss = cost(part, rows)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for name, tensor in head.state_dict().items():
            average[name].lerp_(tensor, 1 - min(AVERAGING, (step + 1) / (step + 10)))
        if step % 100 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.4f}", flush=True)
    head.load_state_dict(average)

"""Train a visibility head on real and drawn occlusion; all other weights stay, so that no landmark moves.

    python benchmarks/train_visibility.py PACK FLAGS --out visibility.safetensors [--initial FILE]

PACK is made by `srn data pack 300W --quality 90`, FLAGS by hand (`occlusion_flags.py`). The network runs once over
augmented crops, in bf16 where the processor has it; the head then learns from what it read of them:

- faces of the part `training`, `--repeats` times, without occluders: real occlusion;
- the same faces, a third as often, with drawn occluders;
- `--others` faces without flags, once, with drawn occluders.

With `--patterns FILE` (`measure_occlusion_patterns.py`) a share of the drawn occluders hides what real ones hide.

No face of the yardstick's photographs is learned from.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from head_training import BATCH, fit, head_parser, prepare, shuffled, steps_of, watched
from occlusion_flags import TRAINING, Flags, read_flags, stacked
from results import program
from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.face.weights import find_weights
from srn.model.checkpoint import adapted, save_network
from srn.model.export import load_weights
from srn.model.network import StructuralRelationNetwork, VisibilityHead
from srn.synthesis.config import AugmentConfig
from srn.training.stream import FaceStream

UNCOVERED = 0.3
"""Weight of the uncovered points of faces without flags: about one in a hundred is hidden by something real."""

CLEAN = AugmentConfig(second_pass=0.5, occluders=0, masks=0, noise_patch=0)
OCCLUDED = AugmentConfig(second_pass=0.5)
MORE_OCCLUDED = dataclasses.replace(OCCLUDED, masks=0.4, occluders=0.8)

PEAK, WEIGHT_DECAY, DROPOUT = 2e-3, 1e-2, 0.2


class Read(NamedTuple):
    """What a head reads of F crops, in half precision, and what it should answer.

    Attributes:
        samples: (F, N, S).
        relational: (F, N, C).
        hidden: (F, H).
        visible, weight: (F, N): the answer, and its weight in the loss.
    """

    samples: Tensor
    relational: Tensor
    hidden: Tensor
    visible: Tensor
    weight: Tensor


@torch.no_grad()
def read_crops(
    network: StructuralRelationNetwork,
    pack: FacePack,
    flags: tuple[Flags, Flags],
    config: AugmentConfig,
    count: int,
    seed: int,
    uncovered: float = 1.0,
) -> Read:
    """Run a network over `count` augmented crops of a pack whose hidden and doubtful points (F, N) are known."""
    head = network.visibility_head
    assert head is not None
    hidden, doubtful = flags
    spec, parts = network.config.crop_spec, list[list[Tensor]]()
    # Two streams of the same crops: doubtful points are those whose visibility differs.
    truths = (hidden, hidden | doubtful) if doubtful.any() else (hidden,)
    streams = [FaceStream(dataclasses.replace(pack, occluded=points), spec, config, seed) for points in truths]
    for batch in watched(network, head, streams, count):
        visible, certain = batch.visible[0], batch.visible[-1]
        weight = (visible == certain).float() * torch.where(visible, uncovered, 1.0)
        parts.append([*(t.half() for t in batch.inputs), visible.float(), weight])
    return Read(*(torch.cat(part) for part in zip(*parts, strict=True)))


class Learner:
    """Fit a head to what it reads; samples are scaled to unit variance while it learns."""

    def __init__(self, head: VisibilityHead, reads: Sequence[Read], epochs: int, seed: int) -> None:
        self.head, self.reads, self.rng = head, reads, np.random.default_rng(seed)
        some = torch.cat([read.samples[:: max(len(read.samples) // 150, 1)].flatten(0, 1) for read in reads]).float()
        self.mean, self.deviation = some.mean(0), some.std(0) + 0.05
        self.epochs = epochs

    def logits(self, read: Read, rows: npt.NDArray[np.integer]) -> Tensor:
        """Answer some crops in training: the head's own computation, with dropout."""
        head, index = self.head, torch.from_numpy(rows)
        samples, relational, hidden = (part[index].float() for part in read[:3])
        scale = functional.dropout(torch.ones_like(self.mean), DROPOUT) / self.deviation
        look = head.look.weight * scale
        code = functional.linear(samples, look, -(look @ self.mean)) + head.place
        code = code + head.local(functional.dropout(relational, DROPOUT))
        code = torch.relu(code + head.whole(functional.dropout(hidden, DROPOUT))[:, None])
        return (functional.dropout(code, DROPOUT) * head.weight).sum(-1) + head.bias

    def fit(self) -> None:
        """Learn, and leave the averaged weights in the head, for samples as they are."""
        head, sizes = self.head, [len(read.visible) for read in self.reads]

        def cost(part: int, rows: npt.NDArray[np.int64]) -> Tensor:
            read = self.reads[part]
            losses = functional.binary_cross_entropy_with_logits(
                self.logits(read, rows), read.visible[rows], reduction="none"
            )
            return (losses * read.weight[rows]).mean()

        batches, steps = shuffled(sizes, self.epochs, self.rng, BATCH), steps_of(sizes, self.epochs, BATCH)
        fit(head, batches, cost, steps, peak=PEAK, weight_decay=WEIGHT_DECAY)
        with torch.no_grad():
            head.look.weight.div_(self.deviation)
            head.local.bias.sub_(head.look.weight @ self.mean)


def with_head(network: StructuralRelationNetwork, width: int, *, anew: bool = False) -> StructuralRelationNetwork:
    """Return a network with a visibility head; its points and expected errors are those of the given one.

    The head is new unless the network has one of this width, which goes on learning but where `anew` is true.
    """
    config = dataclasses.replace(network.config, visibility_width=width)
    made = adapted(network, config)
    if anew:
        made.visibility_head = VisibilityHead(config)
    return made.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def train(options: argparse.Namespace) -> None:
    """Read the crops, train the head and save the network."""
    pack, flags = FacePack.load(options.pack), read_flags(options.flags)
    prepare(options)
    network, provenance = load_weights(find_weights(options.initial))
    network = with_head(network, options.width, anew=options.new_head)
    assert network.visibility_head is not None
    names = [str(name) for name in pack.names]
    flagged = [i for i, name in enumerate(names) if name in flags and flags[name].part == TRAINING]
    crop_seed = options.seed if options.crop_seed is None else options.crop_seed
    others = np.random.default_rng(crop_seed).permutation([i for i, name in enumerate(names) if name not in flags])
    if not flagged or len(others) < options.others:
        raise InputError.at(options.flags, f"flagged faces of {options.pack} and {options.others} others", "too few")
    parts: tuple[tuple[Sequence[int], AugmentConfig, int, float], ...] = (
        (flagged, CLEAN, options.repeats * len(flagged), 1.0),
        (flagged, OCCLUDED, math.ceil(options.repeats * len(flagged) / 3), 1.0),
        (others[: options.others].tolist(), MORE_OCCLUDED, options.others, UNCOVERED),
    )
    reads = list[Read]()
    for number, (faces, config, count, uncovered) in enumerate(parts):
        if count:
            part = pack.subset(faces)
            known = stacked(flags, [str(name) for name in part.names])
            config = dataclasses.replace(config, own=options.own)
            if options.patterns is not None and config.occluders:
                share, file = options.pattern_share, str(options.patterns)
                config = dataclasses.replace(config, patterns=share, pattern_file=file)
            reads.append(read_crops(network, part, known, config, count, crop_seed + number, uncovered))
    Learner(network.visibility_head, reads, options.epochs, options.seed).fit()
    facts = {
        "visibility_crops": str(sum(len(read.visible) for read in reads)),
        "visibility_epochs": str(options.epochs),
        "visibility_faces": f"{len(flagged)} flagged, {options.others} others",
        "visibility_seed": str(options.seed),
    }
    if options.patterns is not None:
        facts["visibility_patterns"] = f"{options.patterns.name}, {options.pattern_share:g}"
    save_network(options.out, network, provenance={**provenance, **facts})


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = head_parser(__doc__, epochs=6)
    made.add_argument("flags", type=Path, help="hand-made flags as JSON")
    made.add_argument("--width", type=int, default=48, help="width of the head (default: 48)")
    made.add_argument("--new-head", action="store_true", help="begin anew where the network has a head of this width, "
                      "such as the shipped one's, which knows the flags (default: go on with that)")  # fmt: skip
    made.add_argument("--repeats", type=int, default=9, help="crops of a flagged face (default: 9)")
    made.add_argument("--others", type=int, default=2000, help="faces without flags (default: 2000)")
    made.add_argument("--own", type=float, default=0.5, help="share of the drawn occluders that have the picture's own "
                      "colours (default: 0.5)")  # fmt: skip
    made.add_argument("--patterns", type=Path, metavar="FILE", help="patterns of hidden points, for drawn occluders")
    made.add_argument("--pattern-share", type=float, default=0.5, help="share of the crops with drawn occluders that "
                      "have a pattern of these instead (default: 0.5)")  # fmt: skip
    made.add_argument("--crop-seed", type=int, help="of augmentation and the choice of others (default: --seed)")
    return made


main = program(train, parser)

if __name__ == "__main__":
    sys.exit(main())

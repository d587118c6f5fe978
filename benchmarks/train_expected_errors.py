"""Teach a network to expect what another one expects of faces that it has not seen; no point moves.

    python benchmarks/train_expected_errors.py PACK --teacher LEFT_OUT --initial WEIGHTS --level VALIDATION --out FILE

A network that has seen its faces a thousand times knows them: its errors on them are small also where a face is hard,
and the head that learned from these errors takes new hard faces for easy ones. The teacher was trained for a short time
without the faces of PACK, so what it expects of them is what it expects of any new face. The head for expected errors
learns the logarithms of the teacher's, times a factor: on the clean faces of the pack VALIDATION they are, in the
geometric mean, those of the weights `--level-of`, which were calibrated. Of pictures without a face, on which none
was trained, it learns what these weights expect. Nothing else depends on this head.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from head_training import fit, head_parser, output_of, prepare, shuffled, steps_of, watched
from results import program
from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.evaluation.cache import name_and_digest
from srn.face.weights import find_weights
from srn.model.checkpoint import save_network
from srn.model.export import load_weights
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.config import AugmentConfig
from srn.training.stream import FaceStream

AUGMENTATION = AugmentConfig(second_pass=0.5, own=0.4, behind=0.08)
CLEAN = AugmentConfig(second_pass=0.5, occluders=0, masks=0, noise_patch=0)
NO_FACES = 0.15  # crops without a face, for each with one
CORNER, PLAIN = 0.24, 0.4  # side of a corner, in sides of a packed picture; share of plain colours
PEAK, WEIGHT_DECAY = 2e-3, 1e-3


class NoFaces(Dataset[tuple[Tensor, ...]]):
    """Crops in which there is no face, like those of a `FaceStream`: corners of packed pictures, and plain colours."""

    def __init__(self, pack: FacePack, side: int, seed: int) -> None:
        self.pack, self.side, self.seed = pack, side, seed

    def __getitem__(self, position: int) -> tuple[Tensor, ...]:
        rng = np.random.default_rng([self.seed, 2, position])
        index = int(rng.integers(len(self.pack)))
        picture, part = self.pack.image(index), int(CORNER * self.pack.spec.size)
        if rng.random() < PLAIN:
            picture = np.clip(rng.uniform(0, 255, 3) + rng.normal(0, 3, (part, part, 3)), 0, 255).astype(np.uint8)
        down, right = rng.integers(0, 2, 2)
        corner = picture[:: -1 if down else 1, :: -1 if right else 1][:part, :part]
        image = cv2.resize(np.ascontiguousarray(corner), (self.side, self.side), interpolation=cv2.INTER_LINEAR)
        points = torch.zeros(self.pack.scheme.n_points, 2)
        return torch.from_numpy(image).permute(2, 0, 1), points, points[:, 0] > 0


class Read(NamedTuple):
    """Crops through a network and a teacher.

    Attributes:
        inputs: what the network's head for expected errors read, in half precision.
        own, told: (F, N), the logarithms of what the network and the teacher expect.
    """

    inputs: tuple[Tensor, ...]
    own: Tensor
    told: Tensor


def read(
    network: StructuralRelationNetwork, teacher: StructuralRelationNetwork, crops: Dataset[tuple[Tensor, ...]],
    count: int,
) -> Read:  # fmt: skip
    """Draw the first crops, once for both networks."""
    assert network.point_heads is not None
    inputs, own, told = list[list[Tensor]](), list[Tensor](), list[Tensor]()
    for batch in watched(network, network.point_heads, [crops], count):
        inputs.append([part.half() for part in batch.inputs])
        for output, parts in ((batch.output, own), (output_of(teacher, batch.images), told)):
            assert output.log_scale is not None
            parts.append(output.log_scale.float())
    return Read(tuple(torch.cat(part) for part in zip(*inputs, strict=True)), torch.cat(own), torch.cat(told))


def learn(
    network: StructuralRelationNetwork,
    inputs: Sequence[tuple[Tensor, ...]],
    targets: Sequence[Tensor],
    epochs: int,
    seed: int,
) -> None:
    """Fit the head for expected errors to targets (F, N), one tensor for what it read of each kind of crops."""
    head = network.point_heads
    assert head is not None

    def cost(kind: int, rows: npt.NDArray[np.int64]) -> Tensor:
        index = torch.from_numpy(rows)
        relational, hidden = (part[index].float() for part in inputs[kind])
        return (head(relational, hidden)[..., -1] - targets[kind][index]).square().mean()

    sizes = [len(target) for target in targets]
    batches = shuffled(sizes, epochs, np.random.default_rng(seed))
    fit(head, batches, cost, steps_of(sizes, epochs), peak=PEAK, weight_decay=WEIGHT_DECAY)


def train(options: argparse.Namespace) -> None:
    """Read the teacher's expectations, teach them, set their level and save the network."""
    prepare(options)
    pack, level = FacePack.load(options.pack), FacePack.load(options.level)
    names = (options.teacher, options.initial, options.level_of)
    (teacher, _), (network, record), (reference, _) = (load_weights(name, older=True) for name in names)
    for name, one in zip(names, (teacher, network, reference), strict=True):
        one.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if one.point_heads is None or one.config.crop_spec != network.config.crop_spec:
            raise InputError.at(name, f"a network with expected errors, on crops like {options.initial}'s", "another")
    if not network.config.visibility_width:
        raise InputError.at(options.initial, "a network whose visibility has a head of its own", "one without")
    spec = network.config.crop_spec
    faces, clean = FaceStream(pack, spec, AUGMENTATION, options.seed), FaceStream(level, spec, CLEAN, 0)
    none = NoFaces(pack, spec.size, options.seed)
    of_level = read(reference, teacher, clean, len(level))
    of_faces = read(network, teacher, faces, options.crops)
    of_none = read(network, reference, none, int(NO_FACES * options.crops))
    targets = [of_faces.told + float(of_level.own.mean()) - float(of_level.told.mean()), of_none.told]
    learn(network, [of_faces.inputs, of_none.inputs], targets, options.epochs, options.seed)
    taught_by = find_weights(options.teacher)
    facts = {
        "expected_error_crops": str(options.crops),
        "expected_error_epochs": str(options.epochs),
        "expected_error_seed": str(options.seed),
        "expected_error_teacher": name_and_digest(taught_by),
    }
    kept = {key: value for key, value in record.items() if key != "expected_error_times"}
    save_network(options.out, network, provenance={**kept, **facts})


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = head_parser(__doc__, epochs=8)
    made.add_argument("--teacher", required=True, help="weights trained without the faces of the pack")
    made.add_argument("--level", type=Path, required=True, metavar="PACK", help="faces on which the level is set")
    made.add_argument("--level-of", default="robust", help="weights of this level there (default: robust)")
    made.add_argument("--crops", type=int, default=10000, help="crops to learn from (default: 10000)")
    return made


main = program(train, parser)

if __name__ == "__main__":
    sys.exit(main())

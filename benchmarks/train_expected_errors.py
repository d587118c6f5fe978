"""Teach a network to expect what another one expects of faces that it has not seen; no point moves.

    python benchmarks/train_expected_errors.py PACK --teacher LEFT_OUT --initial WEIGHTS --level VALIDATION --out FILE

A network that has seen its faces a thousand times knows them: its errors on them are small also where a face is hard,
and the head that learned from these errors takes new hard faces for easy ones. The teacher was trained for a short time
without the faces of PACK, so what it expects of them is what it expects of any new face. The head for expected errors,
of which all else is independent, learns the logarithms of the teacher's, up to a factor: on the clean faces of the pack
VALIDATION the expected errors are, in the geometric mean, those of the weights `--level-of`, which were calibrated.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from head_training import fit, head_parser, prepare, shuffled, steps_of, watched
from results import program
from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.face.weights import find_weights
from srn.model.checkpoint import save_network
from srn.model.export import load_weights
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.config import AugmentConfig
from srn.training.stream import FaceStream

AUGMENTATION = AugmentConfig(second_pass=0.5, own=0.4, behind=0.08)
CLEAN = AugmentConfig(second_pass=0.5, occluders=0, masks=0, noise_patch=0)
PEAK, WEIGHT_DECAY = 2e-3, 1e-3


def expected(
    network: StructuralRelationNetwork, pack: FacePack, config: AugmentConfig, count: int, seed: int
) -> Tensor:
    """Return the logarithms (F, N) of a network's expected errors on augmented crops of a pack."""
    assert network.point_heads is not None
    stream, parts = FaceStream(pack, network.config.crop_spec, config, seed), list[Tensor]()
    for batch in watched(network, network.point_heads, [stream], count):
        assert batch.output.log_scale is not None
        parts.append(batch.output.log_scale.float())
    return torch.cat(parts)


def learn(network: StructuralRelationNetwork, pack: FacePack, target: Tensor, epochs: int, seed: int) -> None:
    """Fit the head for expected errors to a target (F, N) on the crops of `expected`."""
    head, parts = network.point_heads, list[list[Tensor]]()
    assert head is not None
    stream = FaceStream(pack, network.config.crop_spec, AUGMENTATION, seed)
    for batch in watched(network, head, [stream], len(target)):
        relational, hidden = batch.inputs
        parts.append([relational.half(), hidden.half()])
    relational, hidden = (torch.cat(part) for part in zip(*parts, strict=True))

    def cost(_: int, rows: npt.NDArray[np.int64]) -> Tensor:
        index = torch.from_numpy(rows)
        found = head(relational[index].float(), hidden[index].float())[..., -1]
        return (found - target[index]).square().mean()

    batches = shuffled([len(target)], epochs, np.random.default_rng(seed))
    fit(head, batches, cost, steps_of([len(target)], epochs), peak=PEAK, weight_decay=WEIGHT_DECAY)


def train(options: argparse.Namespace) -> None:
    """Read the teacher's expectations, teach them, set their level and save the network."""
    prepare(options)
    pack, level = FacePack.load(options.pack), FacePack.load(options.level)
    names = (options.teacher, options.initial, options.level_of)
    (teacher, _), (network, record), (reference, _) = (load_weights(find_weights(n), older=True) for n in names)
    for name, one in zip(names, (teacher, network, reference), strict=True):
        one.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if one.point_heads is None or one.config.crop_spec != network.config.crop_spec:
            raise InputError.at(name, f"a network with expected errors, on crops like {options.initial}'s", "another")
    assert network.point_heads is not None
    if not network.config.visibility_width:
        raise InputError.at(options.initial, "a network whose visibility has a head of its own", "one without")
    target = expected(teacher, pack, AUGMENTATION, options.crops, options.seed)
    learn(network, pack, target, options.epochs, options.seed)
    before, after = (float(expected(one, level, CLEAN, len(level), 0).mean()) for one in (reference, network))
    with torch.no_grad():
        network.point_heads.bias.add_(before - after)
    facts = {
        "expected_error_crops": str(options.crops),
        "expected_error_epochs": str(options.epochs),
        "expected_error_seed": str(options.seed),
        "expected_error_teacher": Path(options.teacher).name,
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

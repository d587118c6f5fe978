"""Ablate HSRM and the non-local block over one frozen encoder; write `docs/results/hierarchy.json` and `hierarchy.md`.

    python benchmarks/measure_ablation.py DATA PACK --encoder ENCODER --work RUNS [--faces 12800] [--seeds 5]

What stands around HSRM in the preset `robust` can do its work: a linear readout of each landmark's own features
(`local_offsets`) and a start read from the whole face (`coarse_shape`). Here both are left out, as in the paper. Every
arm has the encoder of trained weights (ENCODER), frozen, and learns the rest anew, so that an arm takes minutes and
arms differ in nothing but the part left out. All arms of a seed see the same faces. RUNS keeps the runs: a second
call continues where the first one ended.

DATA holds `300W`, `masked_300W` and `occluders`; PACK is a `srn data pack` of 300W's training faces. Sets: 300W's test
faces, their masked version (kind `mixed`, seed 1), and the authors' masked pictures; ground-truth boxes, one view.
Differences from the whole network are paired by face and seed; their intervals are bootstrapped over faces and seeds.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from measure_weights import masked_version
from results import (
    argument_parser,
    markdown_page,
    markdown_table,
    paired_difference,
    program,
    provenance,
    write_results,
)
from srn import FaceLandmarker
from srn.datasets.catalogue import open_faces
from srn.datasets.pack import FacePack
from srn.datasets.sample import Sample
from srn.evaluation.protocol import evaluate
from srn.model.checkpoint import load_network
from srn.model.export import load_weights
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork
from srn.settings import with_settings
from srn.training.config import TrainConfig, train_config
from srn.training.loop import Schedule, train

NOISE = ("augmentation.masks=0", "augmentation.occluders=0", "augmentation.noise_patch=1")
BARE = {"local_offsets": False, "coarse_shape": False, "point_heads": False}
"""The network of all arms: what the paper has no counterpart of is left out."""

SETS = ("300W", "our masks", "the authors' 30")


@dataclass(frozen=True)
class Arm:
    """What an arm changes in network and recipe; `published` is the paper's NME on Masked 300W, Full."""

    model: dict[str, Any] = field(default_factory=dict)
    settings: tuple[str, ...] = NOISE
    published: float | None = None


WHOLE = "whole"
NO_HSRM = {"without": ("g", "f", "d", "mu")}
ARMS: dict[str, Arm] = {
    WHOLE: Arm(published=6.46),
    "without g": Arm({"without": ("g",)}, published=7.49),
    "without f": Arm({"without": ("f",)}, published=6.92),
    "without d": Arm({"without": ("d",)}, published=7.86),
    "without mu": Arm({"without": ("mu",)}, published=6.69),
    "without non-local": Arm({"non_local": False}, published=6.52),
    "one linear layer for HSRM": Arm(NO_HSRM),
    "whole, with masks in training": Arm(settings=()),
    "one linear layer, with masks in training": Arm(NO_HSRM, settings=()),
}

Errors = npt.NDArray[np.float64]
"""(seeds, faces): NME in % of every face in every seed."""


def arm_config(arm: Arm, faces: int, seed: int) -> TrainConfig:
    """Make the recipe of an arm: the preset's, with the encoder frozen and no validation faces."""
    changes = {**BARE, **arm.model}
    recipe = train_config("robust", faces=faces, seed=seed, validation=0, frozen=("encoder",), model_changes=changes)
    return with_settings(recipe, arm.settings)


def begin(config: TrainConfig, donor: StructuralRelationNetwork) -> StructuralRelationNetwork:
    """Make the network that an arm starts from: the donor's encoder, and the rest from the seed."""
    torch.manual_seed(config.seed)
    network = StructuralRelationNetwork(config.model, donor.mean_shape.numpy())
    network.encoder.load_state_dict(donor.encoder.state_dict())
    if config.model.without == NO_HSRM["without"] and network.hsrm.mu is not None:
        # The one layer reads unbounded features: from PyTorch's usual start its first shapes lie far off the face.
        torch.nn.init.zeros_(network.hsrm.mu.weight)
    return network


def train_arm(
    name: str, seed: int, pack: FacePack, donor: StructuralRelationNetwork, options: argparse.Namespace
) -> StructuralRelationNetwork:
    """Train an arm with a seed, or continue its run."""
    config = arm_config(ARMS[name], options.faces, seed)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, blocks=donor.config.blocks))
    folder = options.work / f"{name.replace(',', '').replace(' ', '_')}-{seed}"
    schedule = Schedule(log_every=100, save_every=400, workers=0, tensorboard=False)
    return load_network(train(config, pack, folder, resume=True, schedule=schedule, initial=begin(config, donor)))[0]


def errors_of(network: StructuralRelationNetwork, sets: Mapping[str, Sequence[Sample]]) -> dict[str, Errors]:
    """Measure a network on every set: (F,) NME in %."""
    landmarker = FaceLandmarker(localizer=TorchLocalizer(network), accuracy="fast")
    return {name: evaluate(landmarker, samples).errors * 100 for name, samples in sets.items()}


def summary(errors: Mapping[str, Mapping[str, Errors]]) -> dict[str, Any]:
    """Summarize each arm on each set: mean, spread over seeds, and the difference from the whole network."""
    made: dict[str, Any] = {}
    for name, by_set in errors.items():
        base = "whole, with masks in training" if name.endswith("in training") else WHOLE
        made[name] = {
            key: {
                "nme": float(values.mean()),
                "over_seeds": float(values.mean(axis=1).std(ddof=1)) if len(values) > 1 else None,
                "difference": paired_difference(values, errors[base][key], np.random.default_rng(0))
                if name != base
                else None,
            }
            for key, values in by_set.items()
        }
    return made


def row(name: str, result: Mapping[str, Any]) -> list[str]:
    """Format one line of the table."""
    cells = [name, "–" if ARMS[name].published is None else f"{ARMS[name].published:.2f}"]
    for values in result.values():
        spread = "" if values["over_seeds"] is None else f" +- {values['over_seeds']:.2f}"
        gap = values["difference"]
        cells.append(f"{values['nme']:.2f}{spread}")
        cells.append("–" if gap is None else f"{gap[0]:+.2f} ({gap[1]:+.2f} to {gap[2]:+.2f})")
    return cells


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    made = argument_parser(__doc__)
    made.add_argument("data", type=Path, help="folder that holds 300W/, masked_300W/ and occluders/")
    made.add_argument("pack", type=Path, help="pack of the training faces")
    made.add_argument("--encoder", type=Path, required=True, help="trained weights of the preset robust")
    made.add_argument("--work", type=Path, required=True, help="folder of the runs")
    made.add_argument("--faces", type=int, default=12_800, help="faces that each arm sees (default: %(default)s)")
    made.add_argument("--seeds", type=int, default=5)
    made.add_argument("--limit", type=int, help="measure on at most so many faces of each set")
    return made


def run(options: argparse.Namespace) -> None:
    """Train and measure every arm with every seed."""
    torch.set_num_threads(options.threads)
    pack, (donor, _) = FacePack.load(options.pack), load_weights(options.encoder)
    errors: dict[str, dict[str, list[Errors]]] = {name: {key: [] for key in SETS} for name in ARMS}
    with tempfile.TemporaryDirectory() as folder:
        clean = list(open_faces(options.data / "300W", split="test").samples)[: options.limit]
        authors = list(open_faces(options.data / "masked_300W" / "ibug", split="test").samples)[: options.limit]
        sets = dict(zip(SETS, (clean, masked_version(clean, options.data, folder), authors), strict=True))
        for seed in range(options.seeds):
            for name in ARMS:
                found = errors_of(train_arm(name, seed, pack, donor, options), sets)
                for key, values in found.items():
                    errors[name][key].append(values)
                print(name, seed, {key: round(float(v.mean()), 2) for key, v in found.items()}, flush=True)
    results = summary({n: {key: np.stack(v) for key, v in by_set.items()} for n, by_set in errors.items()})
    content = {
        **provenance(options.threads), "encoder": options.encoder.name, "faces": options.faces, "seeds": options.seeds,
        "pack": pack.digest(), "results": results,
    }  # fmt: skip
    notes = (
        f"encoder of {options.encoder.name}, frozen; {options.faces:,} faces an arm; {options.seeds} seeds",
        f"training faces {pack.digest()}; inter-ocular NME in %, ground-truth boxes, one view",
        "+-: standard deviation over seeds; differences from the whole network (with masks in training: from that one) "
        "with 95 % intervals over faces and seeds",
    )
    columns = ["arm", "the paper, masked Full", *(cell for key in SETS for cell in (key, "difference"))]
    table = markdown_table(columns, [row(name, result) for name, result in results.items()])
    write_results(options.out, "hierarchy", content, markdown_page("The hierarchy, ablated", content, notes, table))


main = program(run, parser)

if __name__ == "__main__":
    sys.exit(main())

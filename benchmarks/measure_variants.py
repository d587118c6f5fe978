"""Measure networks that were trained alike, side by side, and write `docs/results/variants.json` and `.md`.

    python tools/measure_variants.py DATA RUN...

DATA holds `300W`, `masked_300W` and `occluders`. RUN: folders of `srn train`, named as the rows are to be called. One
pass, not mirrored, ground-truth boxes: what the networks themselves do. The masked faces are those of the model card
(kind `mixed`, seed 1).
"""

from __future__ import annotations

import argparse
import datetime
import tempfile
from pathlib import Path
from typing import Any

import torch
from results import commit, markdown, write_results
from torch.utils.flop_counter import FlopCounterMode

from srn import FaceLandmarker
from srn.cli.options import progress_bar
from srn.datasets.sample import Sample
from srn.datasets.three_hundred_w import CHALLENGING_SUBSETS, COMMON_SUBSETS
from srn.evaluation.protocol import evaluate, read_test_faces
from srn.evaluation.speed import processor
from srn.face.scheme import IBUG_68
from srn.model.checkpoint import load_network
from srn.model.localizer import TorchLocalizer
from srn.model.network import StructuralRelationNetwork
from srn.synthesis.masked import MaskWardrobe, mask_dataset
from srn.training.config import TrainConfig

OUT = Path(__file__).parents[1] / "docs" / "results"
COLUMNS = ("Common", "Challenging", "Full", "masked Full", "authors' 30")


def cost(network: StructuralRelationNetwork) -> tuple[float, float]:
    """Millions of parameters, and 10^9 multiply-adds a face."""
    size = network.config.crop_size
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(torch.zeros(1, 3, size, size))
    return sum(p.numel() for p in network.parameters()) / 1e6, counter.get_total_flops() / 2e9


def measure(network: StructuralRelationNetwork, sets: dict[str, list[Sample]]) -> dict[str, float]:
    """NME in per cent by column."""
    landmarker = FaceLandmarker(localizer=TorchLocalizer(network), passes=1)
    errors: dict[str, float] = {}
    for name, samples in sets.items():
        whole = evaluate(landmarker, samples)
        if name != "Full":
            errors[name] = whole.nme * 100
            continue
        for part, subsets in (("Common", COMMON_SUBSETS), ("Challenging", CHALLENGING_SUBSETS)):
            errors[part] = whole.subset(*subsets).nme * 100
        errors["Full"] = whole.nme * 100
    return errors


def cells(row: dict[str, Any]) -> list[str]:
    """A network's line of the table."""
    about = [row["name"], f"{row['faces_seen']:,}", str(row["batch"]), f"{row['rate']:g}"]
    size = [f"{row['parameters_m']:.1f}", f"{row['gmac']:.2f}"]
    return [*about, *size, *(f"{row['nme'][column]:.2f}" for column in COLUMNS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    data: Path = arguments.data
    sets = {"Full": read_test_faces([data / "300W"], IBUG_68)[0]}
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, progress_bar("networks") as progress:
        wardrobe = MaskWardrobe.load(data / "occluders" / "masks")
        mask_dataset(sets["Full"], folder, kind="mixed", wardrobe=wardrobe, seed=1)
        sets["masked Full"] = read_test_faces([Path(folder)], IBUG_68)[0]
        sets["authors' 30"] = read_test_faces([data / "masked_300W" / "ibug"], IBUG_68)[0]
        task = progress.add_task("measuring", total=len(arguments.runs))
        for run in arguments.runs:
            network, facts = load_network(run / "weights.safetensors")
            config = TrainConfig.load(run / "config.json")
            parameters, multiply_adds = cost(network)
            recipe = {"batch": config.batch_size, "rate": config.learning_rate, "seed": config.seed}
            about = {"name": run.name, "parameters_m": parameters, "gmac": multiply_adds, **recipe}
            rows.append({**about, "faces_seen": int(facts["faces_seen"]), "nme": measure(network, sets)})
            progress.advance(task)
    content = {
        "command": "python tools/measure_variants.py DATA " + " ".join(run.name for run in arguments.runs),
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "hardware": f"{processor()}, {arguments.threads} threads",
        "commit": commit(),
        "rows": rows,
    }
    notes = ["inter-ocular NME in %, ground-truth boxes, one pass, not mirrored"]
    columns = ("run", "faces seen", "batch", "rate", "M parameters", "GMAC", *COLUMNS)
    about = ("command", "date", "hardware", "commit")
    page = markdown("Networks side by side", content, about, notes, columns, map(cells, rows))
    write_results(OUT, "variants", content, page)
    print(page, end="")


if __name__ == "__main__":
    main()

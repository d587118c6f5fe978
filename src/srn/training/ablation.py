"""The trainings of the ablation (tables 7 to 9): one network per variant, with the same budget and seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from srn.datasets.folder import DataFolder
from srn.datasets.pack import FacePack
from srn.errors import InputError
from srn.evaluation.paper.published import published
from srn.evaluation.run_folder import CONFIG_FILE, STATE_FILE, WEIGHTS_FILE
from srn.model.checkpoint import load_network
from srn.model.config import HIERARCHIES
from srn.training import loop
from srn.training.config import TrainConfig, train_config

ABLATED = ("full", "without-g", "without-f", "without-d", "without-mu", "without-non-local", "without-occlusion")


def ablated_variants(tables: Sequence[str]) -> list[str]:
    """Return the variants to train for tables, by name; raise `InputError` if none of them is an ablation."""
    known = [published().tables[name] for name in tables if name in published().tables]
    ablations = [table for table in known if table.ablation]
    if not ablations:
        found = ", ".join(table.name for table in known) or "a figure"
        raise InputError.at("--train", "one of table7, table8, table9", found)
    return [variant for variant in ABLATED if any(variant in table.variants for table in ablations)]


def _config(variant: str, preset: str, faces: int, seed: int) -> TrainConfig:
    """Return the recipe of a variant: that of the preset except for the part left out."""
    part = variant.removeprefix("without-")
    changes: dict[str, object] = {"without": (part,)} if part in HIERARCHIES else {}
    changes |= {"non_local": False} if part == "non-local" else {}
    config = train_config(preset, model_changes=changes, faces=faces, seed=seed, validation=0)
    if part == "occlusion":
        config = replace(config, augmentation=config.augmentation.unoccluded())
    return config


def train_variants(
    variants: Sequence[str],
    data: Path,
    runs: Path,
    pack: Callable[[Path], FacePack],
    *,
    preset: str,
    faces: int,
    seed: int,
    device: str,
    console: Console,
) -> None:
    """Train variants on 300W; complete runs are left as they are, interrupted ones are resumed.

    Args:
        variants: some of `ABLATED`.
        data: folder that holds 300W.
        runs: folder of the runs, each named by its variant.
        pack: packs the training faces of a dataset.
        preset, faces, seed, device, console: recipe and budget of each variant, and where to train and show progress.

    Raises:
        InputError: 300W is missing, or a folder holds another run.
    """
    configs = {variant: _config(variant, preset, faces, seed) for variant in variants}
    missing = [variant for variant in variants if not _is_complete(runs / variant, configs[variant])]
    if not missing:
        return
    root = DataFolder(data).folders.get("300w")
    if root is None:
        raise InputError.at(data, "300W to train with", "none")
    packed = pack(root)
    for variant in missing:
        console.print(f"training {variant}, {faces} faces", highlight=False)
        loop.train(
            configs[variant], packed, runs / variant, resume=(runs / variant / STATE_FILE).exists(),
            schedule=loop.Schedule(device=device), console=console,
            provenance={"data": str(root), "variant": variant},
        )  # fmt: skip


def _is_complete(folder: Path, config: TrainConfig) -> bool:
    """Tell whether the run of a config is complete; raise `InputError` if the folder holds another run."""
    path, weights = folder / CONFIG_FILE, folder / WEIGHTS_FILE
    if path.exists() and TrainConfig.load(path) != config:
        raise InputError.at(folder, "no run, or one of the same budget, seed and preset", "another run")
    if not (path.exists() and weights.exists()):
        return False
    _, metadata = load_network(weights)
    return int(metadata.get("faces_seen", "0")) >= config.steps * config.batch_size
